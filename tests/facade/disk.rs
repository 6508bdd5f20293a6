//! A disk whose syncs fail, below the file storage.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use chatkeep::storage::SessionKey;
use chatkeep::storage::file::{
    FileSystem, Listed, LockFile, Metadata, OpenFile, OpenHow, RealFileSystem,
};
use chatkeep::{
    ChatStore, ErrorKind, FileStorage, NewSession, OwnerId, ResponseState, SessionStatus,
};

use crate::common::*;

#[derive(Debug, Clone, Default)]
struct Failing(Arc<AtomicBool>);

impl Failing {
    fn set(&self, fails: bool) {
        self.0.store(fails, Ordering::SeqCst);
    }

    fn check(&self) -> io::Result<()> {
        match self.0.load(Ordering::SeqCst) {
            true => Err(io::Error::other("the disk is gone")),
            false => Ok(()),
        }
    }
}

impl FileSystem for Failing {
    fn metadata(&self, path: &Path) -> io::Result<Option<Metadata>> {
        RealFileSystem.metadata(path)
    }

    fn open(&self, path: &Path, how: OpenHow) -> io::Result<Arc<dyn OpenFile>> {
        Ok(Arc::new(File(RealFileSystem.open(path, how)?, self.clone())))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        RealFileSystem.rename(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        RealFileSystem.remove_file(path)
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        RealFileSystem.create_dir(path)
    }

    fn remove_dir(&self, path: &Path) -> io::Result<()> {
        RealFileSystem.remove_dir(path)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<Listed>> {
        RealFileSystem.list(dir)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.check()?;
        RealFileSystem.sync_dir(dir)
    }

    fn lock_file(&self, path: &Path) -> io::Result<Box<dyn LockFile>> {
        RealFileSystem.lock_file(path)
    }

    fn is_native(&self) -> bool {
        false
    }
}

#[derive(Debug)]
struct File(Arc<dyn OpenFile>, Failing);

impl OpenFile for File {
    fn metadata(&self) -> io::Result<Metadata> {
        self.0.metadata()
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.0.read_at(buffer, offset)
    }

    fn append(&self, bytes: &[u8]) -> io::Result<usize> {
        self.0.append(bytes)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.1.check()?;
        self.0.sync_data()
    }
}

#[test]
fn after_a_failed_sync_nothing_is_claimed_until_it_is_repaired_and_nothing_is_lost() {
    let dir = tempfile::tempdir().unwrap();
    let disk = Failing::default();
    let storage = FileStorage::with_files(dir.path(), Arc::new(disk.clone())).unwrap();
    let builder = ChatStore::builder(storage).flush_delay(Duration::from_millis(5));
    let store = block(builder.build());
    let chat = block(store.local().create(NewSession::new().id(id("s1"))));
    let mut answer = block(chat.ask("why?"));
    block(answer.append_text("one "));
    block(chat.flush());

    block(answer.append_text("two "));
    disk.set(true);
    let error = pollster::block_on(chat.flush()).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Indeterminate | ErrorKind::Unavailable), "{error}");
    assert!(pollster::block_on(chat.archive()).is_err());
    disk.set(false);
    // The disk works again, but what it holds is not known: no success is reported.
    let error = pollster::block_on(chat.archive()).unwrap_err();
    assert!(chat.failure().is_some(), "{error}");
    assert_eq!(last_text(&chat), "one two ");

    let key = SessionKey::new(OwnerId::local(), id("s1"));
    block(store.storage().maintenance().repair(&key));
    block(chat.archive());
    block(answer.append_text("three"));
    block(answer.complete());
    assert_eq!(chat.failure(), None);
    let again = block(block(ChatStore::open(dir.path())).local().open(id("s1")));
    assert_eq!(last_text(&again), "one two three");
    assert_eq!(last_state(&again), ResponseState::Complete);
    assert_eq!(again.model().session().status, SessionStatus::Archived);
    assert!(again.model() == chat.model());
}
