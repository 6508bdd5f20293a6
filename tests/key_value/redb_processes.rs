//! Processes that have the database open, and are killed.

use std::io::{BufRead, BufReader, Lines};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

use chatkeep::storage::{ReadRange, RedbStorage, Revision, Storage, StorageExt};
use chatkeep::{ChatStore, ErrorKind, NewSession, ResponseState};
use pollster::block_on;

use crate::common::{add, key};

const ROLE: &str = "CHATKEEP_REDB_ROLE";
const ROOT: &str = "CHATKEEP_REDB_ROOT";

struct Other {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Other {
    fn start(role: &str, path: &Path) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["redb_processes::in_a_child", "--exact", "--nocapture", "--test-threads=1"])
            .env(ROLE, role)
            .env(ROOT, path)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, lines }
    }

    fn line(&mut self, word: &str) -> String {
        loop {
            let line = self.lines.next().expect("the child ended").unwrap();
            if let Some(rest) = line.strip_prefix(word) {
                return rest.trim().to_owned();
            }
        }
    }

    fn kill(mut self) -> Vec<String> {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        let mut rest: Vec<_> = self.lines.map_while(Result::ok).collect();
        // The last may be cut off.
        rest.pop();
        rest
    }
}

/// Not a test by itself: what the other tests' child processes run.
#[test]
fn in_a_child() {
    let Ok(role) = std::env::var(ROLE) else { return };
    let storage = block_on(RedbStorage::open(std::env::var(ROOT).unwrap())).unwrap();
    if role == "answer" {
        return answer(storage);
    }
    let head = block_on(storage.head(&key("s"))).unwrap();
    let mut after = head.map_or(0, |head| head.revision.get());
    loop {
        let count = 1 + after % 3;
        after = add(&storage, "s", after, count).unwrap().revision.get();
        println!("\nack {after}");
    }
}

fn answer(storage: RedbStorage) {
    block_on(async {
        let store = ChatStore::builder(storage).build().await.unwrap();
        let chat = store.local().create(NewSession::titled("t").id(key("s").id)).await.unwrap();
        let mut answer = chat.ask("Why?").await.unwrap();
        answer.append_text("Because").await.unwrap();
        store.flush().await.unwrap();
        println!("\nanswering");
        std::thread::park();
        drop(answer);
    });
}

#[test]
fn what_a_killed_process_was_told_is_there_is_there() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("chats.redb");
    for round in 0..6 {
        let mut child = Other::start("append", &path);
        for _ in 0..round * 7 {
            child.line("ack ");
        }
        let mut told: u64 = child.line("ack ").parse().unwrap();
        let rest = child.kill();
        told =
            rest.iter().filter_map(|l| l.strip_prefix("ack ")?.parse().ok()).fold(told, u64::max);
        let storage = block_on(RedbStorage::open(&path)).unwrap();
        let page = block_on(storage.read_after(&key("s"), Revision::ZERO)).unwrap();
        assert!(page.head.revision.get() >= told, "{} after {told}", page.head.revision);
        assert_eq!(page.damage, []);
        let revisions: Vec<u64> = page.records.iter().map(|r| r.revision.get()).collect();
        assert_eq!(revisions, (1..=page.head.revision.get()).collect::<Vec<_>>());
    }
}

#[test]
fn another_process_is_refused_as_long_as_the_first_lives() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("chats.redb");
    let mut child = Other::start("append", &path);
    child.line("ack ");
    let error = block_on(RedbStorage::open(&path)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Busy);
    child.kill();
    let storage = block_on(RedbStorage::open(&path)).unwrap();
    block_on(storage.read(&key("s"), ReadRange::Newest { turns: 1 })).unwrap();
}

#[test]
fn an_answer_of_a_killed_process_is_ended_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("chats.redb");
    let mut child = Other::start("answer", &path);
    child.line("answering");
    child.kill();
    let store = block_on(async {
        ChatStore::builder(RedbStorage::open(&path).await.unwrap()).build().await.unwrap()
    });
    // Its claim would hold for another half a minute.
    let chat = block_on(store.local().open(key("s").id)).unwrap();
    let model = chat.model();
    let turn = model.turns().next().unwrap();
    assert_eq!(turn.response().state, ResponseState::Interrupted);
    assert_eq!(turn.response().text(), "Because");
}
