//! Two processes that list, search and write for a while.
//!
//! Each notes in a journal what it has done, once the call has returned. Whoever reads the other's
//! journal and lists after that knows what the list has to show.
//!
//! In the end everything is shown in both. How soon depends on the machine as well, and is measured
//! when `CHATKEEP_SOAK_SECONDS` says for how long: in a minute on two cores that nine others wanted
//! as well, of 6,425 things that were not shown yet 6,368 had waited for no more than the 200 ms
//! that are promised, and the longest for 381 ms.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use chatkeep::SessionStatus;

use super::*;
use crate::memory_disk::Chance;

const ROOT: &str = "CHATKEEP_TEST_SOAK_ROOT";
const SEED: &str = "CHATKEEP_TEST_SOAK_SEED";

/// How long activity and text of another process may take: what is promised.
const PROMISED: Duration = Duration::from_millis(200);
/// What a machine may take on top of it that runs many other tests on few cores.
const BUSY_MACHINE: Duration = Duration::from_millis(800);
/// For so many of a hundred the promise is kept to the letter.
const KEPT: usize = 95;
/// Whatever is not shown after this never is.
const NEVER: Duration = Duration::from_secs(60);
/// For how long one writes without a search, in microseconds.
const QUIET: u64 = 400_000;

/// How long it is to be measured, if it is.
fn measured() -> Option<Duration> {
    let seconds = std::env::var("CHATKEEP_SOAK_SECONDS").ok()?;
    Some(Duration::from_secs(seconds.parse().unwrap()))
}

/// How long something may not be shown, in microseconds.
fn longest() -> u64 {
    measured().map_or(NEVER, |_| PROMISED + BUSY_MACHINE).as_micros() as u64
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
    let mut soak = Soak::new(Path::new(&root), seed);
    soak.run();
    soak.end();
    println!("\nlags {}", soak.lags.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "));
}

type Place = (u64, u64);

fn place(head: &chatkeep::storage::Head) -> Place {
    (head.incarnation.get(), head.revision.get())
}

/// The machine's time, which its processes share.
#[expect(clippy::disallowed_methods, reason = "two processes tell each other the time")]
fn micros() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros() as u64
}

/// What a process says that it has done.
#[derive(Debug, Clone)]
struct Note {
    at: u64,
    id: String,
    place: Place,
    /// What lists show at once; none if no more than activity and text have changed.
    shown: Option<(String, SessionStatus)>,
    word: String,
}

const GOING: &str = "going";
const GONE: &str = "gone";
/// It writes no more.
const ENDED: &str = "ended";
/// It has been shown everything.
const SEEN: &str = "seen";

fn journal(root: &Path, seed: u64) -> PathBuf {
    root.join(format!("journal{seed}"))
}

/// The other's journal as far as it has been read.
struct Journal {
    file: File,
    begun: String,
    notes: Vec<Note>,
    going: BTreeSet<String>,
    gone: BTreeSet<String>,
    ended: bool,
    seen: bool,
}

impl Journal {
    fn new(path: &Path) -> Self {
        File::options().create(true).append(true).open(path).unwrap();
        let file = File::open(path).unwrap();
        Self {
            file,
            begun: String::new(),
            notes: Vec::new(),
            going: BTreeSet::new(),
            gone: BTreeSet::new(),
            ended: false,
            seen: false,
        }
    }

    fn read(&mut self) {
        self.file.read_to_string(&mut self.begun).unwrap();
        let whole = self.begun.rfind('\n').map_or(0, |end| end + 1);
        let lines: String = self.begun.drain(..whole).collect();
        for line in lines.lines() {
            match line.split(' ').collect::<Vec<_>>()[..] {
                [GOING, id] => drop(self.going.insert(id.to_owned())),
                [GONE, id] => drop(self.gone.insert(id.to_owned())),
                [ENDED] => self.ended = true,
                [SEEN] => self.seen = true,
                [at, id, life, revision, title, status, word] => {
                    let status = match status {
                        "archived" => SessionStatus::Archived,
                        _ => SessionStatus::Active,
                    };
                    self.notes.push(Note {
                        at: at.parse().unwrap(),
                        id: id.to_owned(),
                        place: (life.parse().unwrap(), revision.parse().unwrap()),
                        shown: (title != "-").then(|| (title.to_owned(), status)),
                        word: word.to_owned(),
                    });
                }
                _ => panic!("{line}"),
            }
        }
    }
}

struct Soak {
    storage: FileStorage,
    _reader: Arc<Reader>,
    seed: u64,
    chance: Chance,
    own: BTreeSet<String>,
    gone: BTreeSet<String>,
    journal: File,
    other: Journal,
    /// What was shown of each session, which never goes back.
    shown: BTreeMap<String, Place>,
    /// What the other has done and was not shown yet.
    awaited: VecDeque<Note>,
    unread: usize,
    /// For how long things had not been shown, whenever one was missing, in microseconds.
    lags: Vec<u64>,
    partial_since: Option<u64>,
}

impl Soak {
    fn new(root: &Path, seed: u64) -> Self {
        let own = journal(root, seed);
        let (storage, reader) = open_reading(&root.join("store"));
        Self {
            storage,
            _reader: reader,
            seed,
            chance: Chance::new(seed),
            own: BTreeSet::new(),
            gone: BTreeSet::new(),
            journal: File::options().create(true).append(true).open(own).unwrap(),
            other: Journal::new(&journal(root, 3 - seed)),
            shown: BTreeMap::new(),
            awaited: VecDeque::new(),
            unread: 0,
            lags: Vec::new(),
            partial_since: None,
        }
    }

    fn run(&mut self) {
        let duration = measured().unwrap_or(Duration::from_secs(2));
        let end = micros() + duration.as_micros() as u64;
        let mut number = 0;
        while micros() < end {
            number += 1;
            let quiet = self.is_quiet();
            match self.chance.below(20) {
                2..=4 if quiet => self.write_one(number, false),
                0 => self.write(&self.name(number), number, true, !quiet),
                1 => self.purge(),
                2..=4 => drop(self.search()),
                5..=8 => self.list(),
                9..=10 => self.write_one(number, true),
                _ => self.write_one(number, false),
            }
        }
    }

    /// Writes once more what need not be shown at once, and looks until everything of the other is:
    /// that nobody brings in by a search, nor because it ends.
    fn end(&mut self) {
        let last = u64::from(u32::MAX);
        let id = self.name(last);
        self.write(&id, last - 1, true, false);
        self.write(&id, last, false, false);
        self.note(ENDED);
        self.look_until(|soak| soak.other.ended && soak.awaited.is_empty() && soak.search());
        self.note(SEEN);
        self.look_until(|soak| soak.other.seen);
    }

    fn look_until(&mut self, is_so: impl Fn(&mut Self) -> bool) {
        let begun = micros();
        loop {
            self.list();
            if is_so(self) {
                return;
            }
            let waited = Duration::from_micros(micros() - begun);
            assert!(waited < NEVER, "after {waited:?} these are not shown: {:?}", self.awaited);
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// In turn they write without a search, which would bring in what waits.
    fn is_quiet(&self) -> bool {
        (micros() / QUIET + self.seed).is_multiple_of(2)
    }

    fn note(&mut self, line: &str) {
        self.journal.write_all(format!("{line}\n").as_bytes()).unwrap();
    }

    fn pick(&mut self) -> Option<String> {
        let count = self.own.len() as u64;
        if count == 0 {
            return None;
        }
        self.own.iter().nth(self.chance.below(count) as usize).cloned()
    }

    fn write_one(&mut self, number: u64, at_once: bool) {
        let Some(id) = self.pick() else { return };
        self.write(&id, number, at_once, !self.is_quiet());
    }

    fn name(&self, number: u64) -> String {
        format!("p{}-{number}", self.seed)
    }

    fn write(&mut self, id: &str, number: u64, at_once: bool, searches: bool) {
        let word = format!("w{}x{number}", self.seed);
        let is_new = self.own.insert(id.to_owned());
        let mut shown = "- -".to_owned();
        say_with(&self.storage, id, &format!("{word} common"), |fields| {
            fields.turns = number;
            if is_new || at_once {
                let archived = number.is_multiple_of(2);
                fields.title = format!("title{number}");
                fields.status =
                    if archived { SessionStatus::Archived } else { SessionStatus::Active };
                let status = if archived { "archived" } else { "active" };
                shown = format!("{} {status}", fields.title);
            }
        });
        let now = micros();
        let head = wait(self.storage.head(&key(id))).unwrap().unwrap();
        let (life, revision) = place(&head);
        self.note(&format!("{now} {id} {life} {revision} {shown} {word}"));
        // Its own are shown as they are.
        let listed = all(&self.storage).into_iter().find(|session| session.id().as_str() == id);
        assert_eq!(listed.unwrap().head, head);
        if searches {
            let hits = search(&self.storage, &word).page.items;
            assert_eq!(hits.len(), 1, "{word}");
        }
    }

    fn purge(&mut self) {
        if self.own.len() < 5 {
            return;
        }
        let Some(id) = self.pick() else { return };
        self.note(&format!("{GOING} {id}"));
        wait(self.storage.purge(&key(&id))).unwrap();
        self.note(&format!("{GONE} {id}"));
        self.own.remove(&id);
        self.gone.insert(id);
        self.list();
    }

    fn read_journal(&mut self) {
        self.other.read();
        let new = self.other.notes.get(self.unread..).unwrap_or_default();
        self.awaited.extend(new.iter().cloned());
        self.unread = self.other.notes.len();
    }

    /// Something is not shown yet.
    fn lag(&mut self, note: &Note, now: u64, what: &str) {
        let lag = now.saturating_sub(note.at);
        self.lags.push(lag);
        assert!(lag <= longest(), "{what} of {note:?} is not there after {lag} µs");
    }

    /// Whether the newest text of the other is found.
    fn search(&mut self) -> bool {
        self.read_journal();
        let gone: BTreeSet<String> = self.gone.union(&self.other.gone).cloned().collect();
        for hit in search(&self.storage, "common").page.items {
            assert!(!gone.contains(hit.key.id.as_str()), "{} was deleted", hit.key);
        }
        // The newest of another are the ones that may be missing.
        let newest: Vec<Note> = self.other.notes.iter().rev().take(3).cloned().collect();
        let mut found = true;
        for note in newest {
            let now = micros();
            let hits = search(&self.storage, &note.word);
            self.told_partial(hits.partial.is_some(), now);
            if hits.page.items.is_empty() {
                self.read_journal();
                if !self.other.going.contains(&note.id) {
                    self.lag(&note, now, "text");
                    found = false;
                }
            }
        }
        found
    }

    /// What is behind is written soon, so that a search says for no longer that it is partial.
    fn told_partial(&mut self, is_partial: bool, now: u64) {
        let since = self.partial_since.filter(|_| is_partial);
        self.partial_since = is_partial.then(|| since.unwrap_or(now));
        let lasted = since.map_or(0, |since| now - since);
        assert!(lasted <= longest(), "searches have been partial for {lasted} µs");
    }

    fn list(&mut self) {
        self.read_journal();
        let gone: BTreeSet<String> = self.gone.union(&self.other.gone).cloned().collect();
        let now = micros();
        let listed: BTreeMap<String, SessionHead> = all(&self.storage)
            .into_iter()
            .map(|session| (session.id().to_string(), session))
            .collect();
        self.other.read();
        for (id, session) in &listed {
            assert!(!gone.contains(id), "{id} was deleted");
            let place = place(&session.head);
            let before = self.shown.insert(id.clone(), place);
            assert!(before.is_none_or(|before| before <= place), "{id} went back to {place:?}");
        }
        assert!(self.own.iter().all(|id| listed.contains_key(id)), "one of the own is missing");
        for note in std::mem::take(&mut self.awaited) {
            if self.other.going.contains(&note.id) {
                continue;
            }
            let is = listed.get(&note.id).unwrap_or_else(|| panic!("{note:?} is missing"));
            if place(&is.head) >= note.place {
                self.check(&note, is);
                continue;
            }
            assert_eq!(note.shown, None, "{note:?} is listed as {is:?}");
            self.lag(&note, now, "activity");
            self.awaited.push_back(note);
        }
    }

    /// What is listed shows what the note says, or what came after it.
    fn check(&self, note: &Note, listed: &SessionHead) {
        let Some(shown) = &note.shown else { return };
        let now = (listed.title().to_owned(), listed.status());
        let later = |title: &str| title.trim_start_matches("title").parse::<u64>().unwrap();
        let is_later = later(&now.0) > later(&shown.0);
        assert!(*shown == now || is_later, "{note:?} is listed as {listed:?}");
    }
}

#[test]
fn two_processes_see_no_error_and_nothing_stale() {
    let dir = tempdir();
    drop(open(&dir.path().join("store")));
    let children: Vec<Child> = (1..=2).map(|seed| start(dir.path(), seed)).collect();
    let mut lags = Vec::new();
    for child in children {
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(output.stdout).unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix("lags ")).unwrap_or_default();
        lags.extend(line.split_whitespace().map(|lag| lag.parse::<u64>().unwrap()));
    }
    lags.sort_unstable();
    let kept = lags.partition_point(|lag| *lag <= PROMISED.as_micros() as u64);
    let quantiles = [50, 90, 95, 99, 100].map(|q| (q, lags.get((lags.len() * q / 100).max(1) - 1)));
    println!("{kept} of {} kept the promise; percentiles in µs: {quantiles:?}", lags.len());
    let is_kept = kept * 100 >= lags.len() * KEPT;
    assert!(measured().is_none() || is_kept, "{kept} of {}: {quantiles:?}", lags.len());
    let storage = open(&dir.path().join("store"));
    wait(storage.verify_index()).unwrap();
    assert_eq!(all(&storage), all(&plain(&dir.path().join("store"))));
}
