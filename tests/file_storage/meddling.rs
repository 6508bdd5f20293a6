//! What others do between two steps of one call: each test stops a storage just before it touches
//! a file, and lets another one act there.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use chatkeep::storage::file::{
    FileSystem, Listed, LockFile, Metadata, OpenFile, OpenHow, RealFileSystem,
};
use chatkeep::storage::{
    BatchId, Body, Expected, FileStorage, Incarnation, Revision, Storage, StorageExt,
};
use chatkeep::{ErrorKind, ListQuery, OwnerId};

use crate::common::*;

type Action = Box<dyn FnOnce() + Send>;

/// The machine's disk, with something done once just before a path is opened or made, or looked at
/// for the nth time.
#[derive(Clone, Default)]
struct Meddled(Arc<Mutex<Option<(PathBuf, Step, Action)>>>);

#[derive(PartialEq)]
enum Step {
    Open,
    Look(u32),
}

impl std::fmt::Debug for Meddled {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Meddled")
    }
}

impl Meddled {
    fn before(&self, path: PathBuf, action: impl FnOnce() + Send + 'static) {
        *self.0.lock().unwrap() = Some((path, Step::Open, Box::new(action)));
    }

    fn before_look(&self, path: PathBuf, number: u32, action: impl FnOnce() + Send + 'static) {
        *self.0.lock().unwrap() = Some((path, Step::Look(number), Box::new(action)));
    }

    fn is_done(&self) -> bool {
        self.0.lock().unwrap().is_none()
    }

    fn meddle(&self, at: &Path, with: Step) {
        let due = self.0.lock().unwrap().take_if(|(path, step, _)| match step {
            Step::Look(left) if path == at && with != Step::Open => {
                *left -= 1;
                *left == 0
            }
            step => path == at && *step == with,
        });
        if let Some((.., action)) = due {
            action();
        }
    }
}

impl FileSystem for Meddled {
    fn metadata(&self, path: &Path) -> io::Result<Option<Metadata>> {
        self.meddle(path, Step::Look(0));
        RealFileSystem.metadata(path)
    }

    fn open(&self, path: &Path, how: OpenHow) -> io::Result<Arc<dyn OpenFile>> {
        self.meddle(path, Step::Open);
        RealFileSystem.open(path, how)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        RealFileSystem.rename(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        RealFileSystem.remove_file(path)
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.meddle(path, Step::Open);
        RealFileSystem.create_dir(path)
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        RealFileSystem.remove_dir(path)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<Listed>> {
        RealFileSystem.list(dir)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        RealFileSystem.sync_dir(dir)
    }

    fn lock_file(&self, path: &Path) -> io::Result<Box<dyn LockFile>> {
        RealFileSystem.lock_file(path)
    }

    fn is_native(&self) -> bool {
        false
    }
}

/// A store with a session of five records, a storage that can be meddled with, and another.
fn meddled() -> (tempfile::TempDir, Meddled, FileStorage, FileStorage) {
    let (dir, other) = store();
    add(&other, &key("s1"), 1, 0, 5).unwrap();
    let files = Meddled::default();
    let storage = FileStorage::with_files(dir.path(), Arc::new(files.clone())).unwrap();
    (dir, files, storage, other)
}

#[test]
fn a_list_during_a_compaction_shows_the_session_as_it_is() {
    let (dir, files, storage, other) = meddled();
    files.before(log_path(dir.path(), "s1"), move || {
        let head = wait(other.existing_head(&key("s1"))).unwrap();
        let mut checkpoint = batch(1, 0, 5).records[4].clone();
        // Longer than all that it replaces.
        checkpoint.body = Body::Json(format!("\"{}\"", "x".repeat(5_000)).into());
        wait(other.compact(&key("s1"), Revision::new(5), vec![checkpoint], &head)).unwrap();
    });
    let listed = wait(storage.list_all(&OwnerId::local(), &ListQuery::new())).unwrap();
    assert!(files.is_done());
    assert_eq!(listed.len(), 1);
    assert_eq!(listed[0].head.revision, Revision::new(5), "{:?}", listed[0].head.fields.extra);
}

#[test]
fn a_list_during_a_deletion_does_not_show_a_ghost() {
    let (dir, files, storage, other) = meddled();
    files.before(log_path(dir.path(), "s1"), move || {
        wait(other.purge(&key("s1"))).unwrap();
    });
    let listed = wait(storage.list_all(&OwnerId::local(), &ListQuery::new())).unwrap();
    assert!(files.is_done());
    assert_eq!(listed, []);
}

#[test]
fn a_copy_of_damage_is_not_left_by_a_reader_that_a_deletion_overtakes() {
    let (dir, files, storage, other) = meddled();
    let path = log_path(dir.path(), "s1");
    let mut log = std::fs::read(&path).unwrap();
    let middle = log.len() / 2;
    log[middle] ^= 1;
    std::fs::write(&path, log).unwrap();
    files.before(dir.path().join("quarantine/local/s1"), move || {
        wait(other.purge(&key("s1"))).unwrap();
    });
    let _either = read_all(&storage, &key("s1"));
    assert!(files.is_done());
    assert_eq!(quarantine(dir.path(), "s1"), Vec::<Vec<u8>>::new());
    assert!(!dir.path().join("quarantine/local/s1").exists());
}

#[test]
fn an_append_of_the_same_length_as_what_was_torn_is_noticed_and_not_cut() {
    let (dir, storage) = store();
    let key = key("s1");
    add(&storage, &key, 1, 0, 2).unwrap();
    let path = log_path(dir.path(), "s1");
    let before = std::fs::read(&path).unwrap();
    add(&storage, &key, 2, 2, 1).unwrap();
    let mut torn = std::fs::read(&path).unwrap();
    // The line is there but for its line break.
    *torn.last_mut().unwrap() = b' ';
    std::fs::write(&path, &torn).unwrap();
    let watcher = open(dir.path());
    assert_eq!(wait(watcher.existing_head(&key)).unwrap().revision, Revision::new(2));
    // Another one finds the torn line, cuts it off and writes its own.
    add(&open(dir.path()), &key, 2, 2, 1).unwrap();
    let after = std::fs::read(&path).unwrap();
    assert!(after.len() == torn.len() && after.starts_with(&before));
    assert_eq!(add(&watcher, &key, 3, 2, 1).unwrap_err().kind(), ErrorKind::Conflict);
    assert_eq!(std::fs::read(&path).unwrap(), after);
    assert_eq!(revisions(&read_all(&watcher, &key).unwrap()), [1, 2, 3]);
}

#[test]
fn a_deletion_that_cannot_be_finished_does_not_keep_the_store_from_opening() {
    let (dir, storage) = store();
    for id in ["s1", "s2"] {
        add(&storage, &key(id), 1, 0, 1).unwrap();
    }
    let planted = dir.path().join("quarantine/local/s1/planted");
    std::fs::create_dir_all(&planted).unwrap();
    assert!(wait(storage.purge(&key("s1"))).is_err());
    let storage = open(dir.path());
    assert_eq!(wait(storage.head(&key("s1"))).unwrap(), None);
    assert_eq!(revisions(&read_all(&storage, &key("s2")).unwrap()), [1]);
    assert!(wait(storage.maintenance().scrub()).is_err(), "it says that something is left");
    std::fs::remove_dir(&planted).unwrap();
    wait(storage.maintenance().scrub()).unwrap();
    assert!(!dir.path().join("quarantine/local/s1").exists());
}

#[test]
fn a_log_that_the_disk_refuses_does_not_hide_the_others() {
    let (dir, files, storage, other) = meddled();
    add(&other, &key("s2"), 1, 0, 1).unwrap();
    let path = log_path(dir.path(), "s1");
    let planted = path.clone();
    files.before(path, move || {
        std::fs::remove_file(&planted).unwrap();
        std::fs::create_dir(&planted).unwrap();
    });
    let listed = wait(storage.list_all(&OwnerId::local(), &ListQuery::new())).unwrap();
    assert!(files.is_done());
    let unreadable = |id: &str| {
        let session = listed.iter().find(|session| *session.id() == *id).unwrap();
        session.head.fields.extra.contains_key("unreadable")
    };
    assert!(unreadable("s1") && !unreadable("s2"));
}

#[test]
fn two_lives_do_not_mix_in_one_reading_of_several_pages() {
    let (dir, files, storage, other) = meddled();
    let key = key("s1");
    for number in 5..15 {
        let mut large = batch(number, number, 1);
        large.records[0].body = Body::Json(format!("\"{}\"", "y".repeat(600_000)).into());
        wait(other.append(&key, expected(number), large)).unwrap();
    }
    assert!(read_all(&storage, &key).unwrap().later, "it has several pages");
    files.before_look(log_path(dir.path(), "s1"), 2, move || {
        let key = crate::common::key("s1");
        wait(other.purge(&key)).unwrap();
        wait(other.append(&key, Expected::NewIncarnation, batch(99, 0, 20))).unwrap();
    });
    let page = wait(storage.read_after(&key, Revision::ZERO)).unwrap();
    assert!(files.is_done());
    assert_eq!(page.head.incarnation, Incarnation::new(2));
    assert_eq!(revisions(&page), (1..=20).collect::<Vec<_>>());
    assert!(page.records.iter().all(|record| record.batch == BatchId::new(99)));
}
