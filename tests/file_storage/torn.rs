//! Logs whose last append was cut off.

use chatkeep::storage::{Revision, Storage};

use crate::common::*;

#[test]
fn a_batch_cut_anywhere_is_absent_and_kept_aside() {
    let (dir, storage) = store();
    let key = key("s1");
    add(&storage, &key, 1, 0, 2).unwrap();
    let path = log_path(dir.path(), "s1");
    let whole = std::fs::read(&path).unwrap().len();
    add(&storage, &key, 2, 2, 3).unwrap();
    let log = std::fs::read(&path).unwrap();
    drop(storage);
    for cut in (whole..log.len()).filter(|cut| is_tried(&log, *cut)) {
        std::fs::write(&path, &log[..cut]).unwrap();
        let storage = open(dir.path());
        let page = read_all(&storage, &key).unwrap();
        assert_eq!((revisions(&page), page.damage.len()), (vec![1, 2], 0), "cut at {cut}");
        let report = wait(storage.maintenance().verify(&key)).unwrap();
        assert_eq!((report.records, report.revision), (2, Revision::new(2)));
        assert_eq!(std::fs::read(&path).unwrap(), &log[..cut], "reading changed the log");
        add(&storage, &key, 3, 2, 1).unwrap();
        assert_eq!(revisions(&read_all(&open(dir.path()), &key).unwrap()), [1, 2, 3]);
        let kept = quarantine(dir.path(), "s1");
        assert!(cut == whole || kept.contains(&log[whole..cut].to_vec()), "cut at {cut}");
    }
}

#[test]
fn what_a_power_cut_leaves_behind_the_last_batch_is_set_aside() {
    let (dir, storage) = store();
    let key = key("s1");
    add(&storage, &key, 1, 0, 2).unwrap();
    let path = log_path(dir.path(), "s1");
    let log = std::fs::read(&path).unwrap();
    let ends = [vec![0; 5000], b"\n\n\n".to_vec(), b"{\"rev\":3}\n".to_vec(), vec![0xff; 40_000]];
    for end in ends {
        std::fs::write(&path, [&log[..], &end].concat()).unwrap();
        let storage = open(dir.path());
        assert_eq!(wait(storage.head(&key)).unwrap().unwrap().revision, Revision::new(2));
        add(&storage, &key, 7, 2, 1).unwrap();
        assert!(quarantine(dir.path(), "s1").contains(&end));
        std::fs::write(&path, &log).unwrap();
    }
}

#[test]
fn a_living_storage_cuts_what_another_left_unfinished() {
    let (dir, storage) = store();
    let key = key("s1");
    add(&storage, &key, 1, 0, 2).unwrap();
    let path = log_path(dir.path(), "s1");
    let mut log = std::fs::read(&path).unwrap();
    let half = log[..40].to_vec();
    log.extend(&half);
    std::fs::write(&path, &log).unwrap();
    add(&storage, &key, 2, 2, 2).unwrap();
    assert_eq!(revisions(&read_all(&open(dir.path()), &key).unwrap()), [1, 2, 3, 4]);
    assert_eq!(quarantine(dir.path(), "s1"), [half]);
}
