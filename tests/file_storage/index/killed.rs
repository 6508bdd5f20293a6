//! A process that is killed again and again while it works, and one that looks at what it did.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Stdio};

use super::*;
use crate::memory_disk::Chance;

const ROOT: &str = "CHATKEEP_TEST_KILLED_ROOT";
const SEED: &str = "CHATKEEP_TEST_KILLED_SEED";

/// Not a test by itself: works until it is killed, and says what it begins and what it has done.
#[test]
fn in_a_child() {
    let Ok(root) = std::env::var(ROOT) else { return };
    let seed: u64 = std::env::var(SEED).unwrap().parse().unwrap();
    let (storage, _reader) = open_reading(Path::new(&root));
    let mut chance = Chance::new(seed);
    let mut own: BTreeSet<String> = ids(&storage).into_iter().collect();
    println!();
    for number in 0_u64.. {
        let id = own.iter().nth(chance.below(own.len().max(1) as u64) as usize).cloned();
        let (word, title) = (format!("n{seed}x{number}"), format!("{seed:06}{number:06}"));
        let said = format!("{word} common");
        match (chance.below(10), id) {
            (0..=1, _) | (_, None) => {
                let id = format!("s{seed}x{number}");
                say_with(&storage, &id, &said, |fields| fields.title.clone_from(&title));
                println!("titled {id} {title} {word}");
                own.insert(id);
            }
            (2, Some(id)) if own.len() > 4 => {
                println!("deleting {id}");
                wait(storage.purge(&key(&id))).unwrap();
                println!("deleted {id}");
                own.remove(&id);
            }
            (3..=4, Some(id)) => {
                say_with(&storage, &id, &said, |fields| fields.title.clone_from(&title));
                println!("titled {id} {title} {word}");
            }
            (5..=6, Some(_)) => drop(search(&storage, "common")),
            (_, Some(id)) => {
                say(&storage, &id, &said);
                println!("said {id} {word}");
            }
        }
    }
}

/// What it said before it was killed.
fn lines_of_a_killed_process(root: &Path, seed: u64) -> Vec<String> {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["index::killed::in_a_child", "--exact", "--nocapture", "--test-threads=1"])
        .env(ROOT, root)
        .env(SEED, seed.to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut said = BufReader::new(child.stdout.take().unwrap());
    let wanted = 10 + (seed * 37) % 120;
    let mut seen = String::new();
    for _ in 0..wanted {
        assert_ne!(said.read_line(&mut seen).unwrap(), 0, "the child ended by itself");
    }
    child.kill().unwrap();
    said.read_to_string(&mut seen).unwrap();
    child.wait().unwrap();
    // The last may be cut off; a whole one may say what was being deleted.
    seen.split_inclusive('\n')
        .filter_map(|line| line.strip_suffix('\n'))
        .map(str::to_owned)
        .collect()
}

/// What was acknowledged.
#[derive(Default)]
struct Told {
    titles: BTreeMap<String, String>,
    words: BTreeMap<String, Vec<String>>,
    deleting: BTreeSet<String>,
    deleted: BTreeSet<String>,
}

impl Told {
    fn add(&mut self, line: &str) {
        let words: Vec<&str> = line.split(' ').collect();
        match words[..] {
            ["titled", id, title, word] => {
                self.titles.insert(id.to_owned(), title.to_owned());
                self.words.entry(id.to_owned()).or_default().push(word.to_owned());
            }
            ["said", id, word] => {
                self.words.entry(id.to_owned()).or_default().push(word.to_owned());
            }
            ["deleting", id] => drop(self.deleting.insert(id.to_owned())),
            ["deleted", id] => drop(self.deleted.insert(id.to_owned())),
            _ => {}
        }
    }

    /// What lists show as soon as the call has returned is shown, whoever was killed since.
    fn check_list(&self, listed: &[SessionHead]) {
        let listed: BTreeMap<&str, &str> =
            listed.iter().map(|session| (session.id().as_str(), session.title())).collect();
        for (id, title) in self.titles.iter().filter(|(id, _)| !self.deleting.contains(*id)) {
            let now = listed.get(id.as_str()).unwrap_or_else(|| panic!("{id} is lost"));
            assert!(*now >= title.as_str(), "{id} is {now}, and was {title}");
        }
        let back = self.deleted.iter().find(|id| listed.contains_key(id.as_str()));
        assert_eq!(back, None, "a deleted session is listed");
    }
}

#[test]
fn a_process_that_is_killed_over_and_over_loses_nothing_and_brings_nothing_back() {
    let rounds = std::env::var("CHATKEEP_KILLS").map_or(7, |rounds| rounds.parse().unwrap());
    let dir = tempdir();
    let (storage, _reader) = open_reading(dir.path());
    let mut told = Told::default();
    for round in 1..=rounds {
        let lines = lines_of_a_killed_process(dir.path(), round);
        lines.iter().for_each(|line| told.add(line));
        told.check_list(&all(&storage));
        for hit in search(&storage, "common").page.items {
            assert!(!told.deleted.contains(hit.key.id.as_str()), "{} was deleted", hit.key);
        }
        wait(storage.verify_index()).unwrap();
        let listed = all(&storage);
        told.check_list(&listed);
        assert_eq!(listed, all(&plain(dir.path())));
        for session in listed {
            // One that was begun in the end was not told of.
            let words = told.words.get(session.id().as_str()).into_iter().flatten();
            for word in words.rev().take(5) {
                assert_eq!(found(&storage, word).len(), 1, "{word} of {}", session.key);
            }
        }
    }
}
