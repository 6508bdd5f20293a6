//! A copy whose process is killed goes on in another process.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use chatkeep::storage::{FileStorage, copy_store};
use pollster::block_on;

use crate::common::*;

const ROOT: &str = "CHATKEEP_COPY_ROOT";

fn open(root: &Path, name: &str) -> FileStorage {
    block_on(FileStorage::open(root.join(name))).unwrap()
}

/// Not a test by itself: what the other test's child processes run.
#[test]
fn in_a_child() {
    let Ok(root) = std::env::var(ROOT) else { return };
    let (from, to) = (open(Path::new(&root), "from"), open(Path::new(&root), "to"));
    let copy = copy_store(&from, &to).on_progress(|p| println!("\ndone {}", p.done));
    let _ = block_on(copy.into_future()).unwrap();
}

#[test]
fn a_killed_copy_goes_on_in_another_process() {
    let root = tempfile::tempdir().unwrap();
    let from = open(root.path(), "from");
    fill(&from);
    for number in 0..60 {
        let key = key("many", &format!("{number:02}"));
        begin(&from, &key, 1 + number % 9);
        blob(&from, &key, format!("blob {number}").as_bytes());
    }
    for kills_after in [1, 12, 25, 37, 55] {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["killed::in_a_child", "--exact", "--nocapture", "--test-threads=1"])
            .env(ROOT, root.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let goal = format!("done {kills_after}");
        assert!(lines.any(|line| line.unwrap() == goal), "the child ended before {goal}");
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let to = open(root.path(), "to");
    let report = copy(&from, &to);
    assert!(report.is_complete(), "{:#?}", report.failed);
    assert!(report.already_there >= 55, "{report}");
    assert_eq!(everything(&to), everything(&from));
}
