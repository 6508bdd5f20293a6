//! Several processes with one index.

use std::io::{BufRead, BufReader, Lines, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use super::*;

const ROOT: &str = "CHATKEEP_TEST_INDEX_ROOT";

/// Another process that does what it is told, a line at a time.
pub(super) struct Other {
    child: Child,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
}

impl Other {
    pub(super) fn start(root: &Path) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["index::processes::in_a_child", "--exact", "--nocapture", "--test-threads=1"])
            .env(ROOT, root)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let (input, output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        Self { child, input, output: BufReader::new(output).lines() }
    }

    /// Has a command done; what it answers.
    pub(super) fn tell(&mut self, command: &str) -> String {
        writeln!(self.input, "{command}").unwrap();
        loop {
            let line = self.output.next().expect("the child ended by itself").unwrap();
            if let Some(answer) = line.strip_prefix("done ") {
                return answer.to_owned();
            }
        }
    }
}

/// Kills it.
impl Drop for Other {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Not a test by itself: what the other tests' child processes run.
#[test]
fn in_a_child() {
    let Ok(root) = std::env::var(ROOT) else { return };
    let (storage, _reader) = open_reading(Path::new(&root));
    println!();
    for line in std::io::stdin().lines() {
        let line = line.unwrap();
        let words: Vec<&str> = line.split(' ').collect();
        let answer = match *words {
            ["say", id, text] => {
                say(&storage, id, text);
                String::new()
            }
            ["title", id, title] => {
                say_with(&storage, id, "x", |fields| title.clone_into(&mut fields.title));
                String::new()
            }
            ["archive", id] => {
                say_with(&storage, id, "x", |fields| {
                    fields.status = chatkeep::SessionStatus::Archived;
                });
                String::new()
            }
            ["unwritable", id] => {
                say_with(&storage, id, "x", |fields| fields.turns = u64::MAX);
                String::new()
            }
            ["purge", id] => {
                wait(storage.purge(&key(id))).unwrap();
                String::new()
            }
            ["titles"] => {
                let titles = all(&storage).into_iter();
                let titles: Vec<String> =
                    titles.map(|s| format!("{}={}={:?}", s.id(), s.title(), s.status())).collect();
                titles.join(",")
            }
            ["found", word] => {
                let hits = search(&storage, word).page.items.len();
                hits.to_string()
            }
            _ => panic!("{line}"),
        };
        println!("\ndone {answer}");
    }
}

fn titles(storage: &FileStorage) -> String {
    let titles = all(storage).into_iter();
    let titles: Vec<String> =
        titles.map(|s| format!("{}={}={:?}", s.id(), s.title(), s.status())).collect();
    titles.join(",")
}

#[test]
fn what_lists_show_is_seen_by_another_process_as_soon_as_the_call_returned() {
    let dir = tempdir();
    let storage = open(dir.path());
    let mut other = Other::start(dir.path());
    for round in 0..10 {
        let id = format!("s{round}");
        other.tell(&format!("say {id} hello"));
        assert_eq!(titles(&storage), format!("{id}==Active"));
        other.tell(&format!("title {id} one"));
        assert_eq!(titles(&storage), format!("{id}=one=Active"));
        say_with(&storage, &id, "x", |fields| "two".clone_into(&mut fields.title));
        assert_eq!(other.tell("titles"), format!("{id}=two=Active"));
        other.tell(&format!("archive {id}"));
        assert_eq!(titles(&storage), format!("{id}=two=Archived"));
        wait(storage.purge(&key(&id))).unwrap();
        assert_eq!(other.tell("titles"), "");
    }
}

#[test]
fn activity_and_text_reach_another_process_by_themselves() {
    let dir = tempdir();
    let storage = open(dir.path());
    let mut other = Other::start(dir.path());
    other.tell("say s hello");
    for round in 0..5 {
        other.tell(&format!("say s word{round}"));
        let begun = Instant::now();
        let word = format!("word{round}");
        // Nothing is done here that makes it come; the promise is far shorter than this.
        while search(&storage, &word).page.items.is_empty() {
            assert!(begun.elapsed() < Duration::from_secs(10), "it did not come");
            std::thread::yield_now();
        }
        let head = wait(storage.head(&key("s"))).unwrap().unwrap();
        assert_eq!(all(&storage)[0].head, head);
    }
}

#[test]
fn text_of_one_session_that_two_processes_write_in_turn_is_all_found() {
    let dir = tempdir();
    let (storage, _reader) = open_reading(dir.path());
    let mut other = Other::start(dir.path());
    for round in 0..40 {
        say(&storage, "s", &format!("mine{round} both"));
        other.tell(&format!("say s theirs{round}"));
        if round % 7 == 0 {
            // Writes what is dirty here before what came earlier there.
            search(&storage, "both");
        }
    }
    // Writes what waits here, so that the other one has it.
    search(&storage, "both");
    assert_eq!(other.tell("found both"), "40");
    wait(storage.verify_index()).unwrap();
    assert_eq!(found(&storage, "both").len(), 40);
    for round in 0..40 {
        assert_eq!(found(&storage, &format!("theirs{round}")).len(), 1, "{round}");
    }
}

#[test]
fn what_a_killed_process_had_not_indexed_is_found_in_its_log() {
    let dir = tempdir();
    for round in 0..5 {
        let mut other = Other::start(dir.path());
        other.tell(&format!("say s{round} first"));
        other.tell(&format!("say s{round} last{round}"));
        other.child.kill().unwrap();
        other.child.wait().unwrap();
        let (storage, _reader) = open_reading(dir.path());
        wait(storage.verify_index()).unwrap();
        assert_eq!(all(&storage), all(&plain(dir.path())));
        assert_eq!(found(&storage, &format!("last{round}")), [format!("s{round}:1")]);
        // What it leaves is told in the next round from what the others wrote.
        drop(storage);
    }
}

#[test]
fn a_process_notices_that_another_has_built_the_index_anew() {
    let dir = tempdir();
    let (storage, _reader) = open_reading(dir.path());
    let mut other = Other::start(dir.path());
    other.tell("say a apple");
    for round in 0..5 {
        wait(storage.maintenance().rebuild_index(&|_| {})).unwrap();
        other.tell(&format!("title a title{round}"));
        assert_eq!(titles(&storage), format!("a=title{round}=Active"));
        assert_eq!(other.tell("titles"), format!("a=title{round}=Active"));
        other.tell(&format!("say b{round} pear{round}"));
        assert_eq!(search(&storage, &format!("pear{round}")).page.items.len(), 1);
        other.tell(&format!("purge b{round}"));
        assert_eq!(titles(&storage), format!("a=title{round}=Active"));
    }
}

/// Those who have the old one open and those who come later would lock each other out of nothing.
#[cfg(unix)]
#[test]
fn processes_go_on_with_one_index_when_its_shared_memory_is_deleted() {
    let dir = tempdir();
    let storage = open(dir.path());
    say(&storage, "a", "apple");
    let mut before = Other::start(dir.path());
    before.tell("say b pear");
    let mut shared = database(dir.path()).into_os_string();
    shared.push("-shm");
    std::fs::remove_file(shared).unwrap();
    let mut after = Other::start(dir.path());
    for round in 0..3 {
        after.tell(&format!("say after{round} plum"));
        before.tell(&format!("say before{round} plum"));
        say(&storage, &format!("own{round}"), "plum");
        let mut expected = vec!["a".to_owned(), "b".to_owned()];
        for name in ["after", "before", "own"] {
            expected.extend((0..=round).map(|round| format!("{name}{round}")));
        }
        expected.sort();
        let mut lists = vec![titles(&storage), before.tell("titles"), after.tell("titles")];
        for list in &mut lists {
            let mut ids: Vec<&str> =
                list.split(',').map(|one| &one[..one.find('=').unwrap()]).collect();
            ids.sort_unstable();
            assert_eq!(ids, expected);
        }
    }
}
