//! Two processes that list, search and write for a while.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::*;
use crate::memory_disk::Chance;

const ROOT: &str = "CHATKEEP_TEST_SOAK_ROOT";
const SEED: &str = "CHATKEEP_TEST_SOAK_SEED";

/// How long a change of another process may take to be listed. The promise is 200 ms; the rest is
/// for a machine that lets nobody run for a while.
const FRESH: Duration = Duration::from_millis(2_000);

fn duration() -> Duration {
    let seconds = std::env::var("CHATKEEP_SOAK_SECONDS").ok();
    Duration::from_secs(seconds.map_or(2, |seconds| seconds.parse().unwrap()))
}

fn start(root: &Path, seed: u64) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["index::soak::in_a_child", "--exact", "--nocapture", "--test-threads=1"])
        .env(ROOT, root)
        .env(SEED, seed.to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Not a test by itself.
#[test]
fn in_a_child() {
    let Ok(root) = std::env::var(ROOT) else { return };
    let seed: u64 = std::env::var(SEED).unwrap().parse().unwrap();
    Soak::new(Path::new(&root), seed).run();
}

type Place = (u64, u64);

struct Soak {
    storage: FileStorage,
    seed: u64,
    chance: Chance,
    /// What was shown of each session, which never goes back.
    shown: BTreeMap<String, Place>,
    /// Where sessions stood at some time, to be shown by lists soon.
    stood: VecDeque<(Instant, String, Place)>,
    gone: BTreeSet<String>,
    own: BTreeSet<String>,
}

fn place(head: &chatkeep::storage::Head) -> Place {
    (head.incarnation.get(), head.revision.get())
}

impl Soak {
    fn new(root: &Path, seed: u64) -> Self {
        Self {
            storage: open(root),
            seed,
            chance: Chance::new(seed),
            shown: BTreeMap::new(),
            stood: VecDeque::new(),
            gone: BTreeSet::new(),
            own: BTreeSet::new(),
        }
    }

    fn run(&mut self) {
        let end = Instant::now() + duration();
        let mut number = 0;
        while Instant::now() < end {
            number += 1;
            match self.chance.below(20) {
                0 => self.begin(number),
                1 => self.purge(),
                2..=3 => self.search(),
                4..=6 => self.list(),
                7 => self.look_at_another(),
                8..=9 => self.write(number, |fields| fields.title = format!("title {number}")),
                _ => self.write(number, |fields| fields.turns = number),
            }
        }
    }

    fn begin(&mut self, number: u64) {
        let id = format!("p{}-{number}", self.seed);
        say(&self.storage, &id, &format!("begun{number} common"));
        self.own.insert(id);
    }

    fn pick(&mut self) -> Option<String> {
        let count = self.own.len() as u64;
        if count == 0 {
            return None;
        }
        self.own.iter().nth(self.chance.below(count) as usize).cloned()
    }

    fn write(&mut self, number: u64, change: impl FnOnce(&mut HeadFields)) {
        let Some(id) = self.pick() else { return };
        let word = format!("w{}x{number}", self.seed);
        say_with(&self.storage, &id, &format!("{word} common"), change);
        let head = wait(self.storage.head(&key(&id))).unwrap().unwrap();
        // Its own are shown as they are.
        let listed = all(&self.storage).into_iter().find(|session| session.id().as_str() == id);
        assert_eq!(listed.unwrap().head, head);
        let hits = search(&self.storage, &word).page.items;
        assert_eq!(hits.len(), 1, "{word}");
    }

    fn purge(&mut self) {
        if self.own.len() < 5 {
            return;
        }
        let Some(id) = self.pick() else { return };
        wait(self.storage.purge(&key(&id))).unwrap();
        self.own.remove(&id);
        self.gone.insert(id);
        self.list();
    }

    fn search(&mut self) {
        for hit in search(&self.storage, "common").page.items {
            assert!(!self.gone.contains(hit.key.id.as_str()), "{} was deleted", hit.key);
        }
    }

    fn look_at_another(&mut self) {
        let others: Vec<String> =
            self.shown.keys().filter(|id| !self.own.contains(*id)).cloned().collect();
        if others.is_empty() {
            return;
        }
        let id = &others[self.chance.below(others.len() as u64) as usize];
        if let Some(head) = wait(self.storage.head(&key(id))).unwrap() {
            self.stood.push_back((Instant::now(), id.clone(), place(&head)));
        }
    }

    fn list(&mut self) {
        let begun = Instant::now();
        let listed: BTreeMap<String, Place> = all(&self.storage)
            .into_iter()
            .map(|session| (session.id().to_string(), place(&session.head)))
            .collect();
        for (id, now) in &listed {
            assert!(!self.gone.contains(id), "{id} was deleted");
            let before = self.shown.insert(id.clone(), *now);
            assert!(before.is_none_or(|before| before <= *now), "{id} went back to {now:?}");
        }
        assert!(self.own.iter().all(|id| listed.contains_key(id)), "one of the own is missing");
        while let Some((then, ..)) = self.stood.front() {
            if begun - *then < FRESH {
                break;
            }
            let (_, id, stood) = self.stood.pop_front().unwrap();
            let fresh = listed.get(&id).is_none_or(|now| *now >= stood);
            assert!(fresh, "{id} stood at {stood:?} and is listed at {:?}", listed.get(&id));
        }
    }
}

#[test]
fn two_processes_see_no_error_and_nothing_stale() {
    let dir = tempdir();
    let children: Vec<Child> = (1..=2).map(|seed| start(dir.path(), seed)).collect();
    for child in children {
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    let storage = open(dir.path());
    wait(storage.verify_index()).unwrap();
    assert_eq!(all(&storage), all(&plain(dir.path())));
}
