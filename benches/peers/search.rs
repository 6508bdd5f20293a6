//! Full text: every class of question, newest first, of a small owner, and by relevance; and how
//! others look through everything.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use chatkeep::storage::TextOrder;
use chatkeep::{Hits, Query, Storage, blocking};

use crate::corpus::{Corpus, LOCAL, Scan, VISITOR};
use crate::data::{self, Class, Question, Rng};
use crate::harness::{Bench, Result, Samples, remove};
use crate::ours::{self, Engine, FILES};
use crate::peers::{self, Entry, System};
use crate::report::{Report, Row};

const GROUP: &str = "search";
const KEYS: [&str; 3] =
    ["search.newest.p99_vs_scan", "search.owner.p99_ms", "search.relevance.p99_ms"];
/// The class that takes a system longest, newest first.
pub(crate) const SLOWEST: &str = "newest, slowest class";
const SCAN: &str = "LIKE scan, SQLite";
const SHOWN: usize = 20;
/// In so many rounds, out of all, everything is scanned and looked through.
const SCANS: usize = 5;

pub(crate) fn run(bench: &Bench, report: &mut Report) -> Result<()> {
    let [few, _] = bench.sizes.messages;
    for (messages, questions) in bench.sizes.messages.into_iter().zip(bench.sizes.questions) {
        eprintln!("-- search: {messages} messages");
        let folder = bench.folder("search")?;
        let corpus = Corpus::new(messages, bench.sizes.session_turns);
        let mut all = All::new(&corpus, &folder, messages == few)?;
        for round in 0..questions {
            all.round(round, questions)?;
        }
        all.say(report, messages, questions)?;
        all.close()?;
        remove(&folder)?;
    }
    Ok(())
}

/// How a question is put.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    Newest,
    Owner,
    Relevance,
}

pub(crate) const WAYS: [Way; 3] = [Way::Newest, Way::Owner, Way::Relevance];

impl Way {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Newest => "newest first",
            Self::Owner => "small owner",
            Self::Relevance => "by relevance",
        }
    }

    /// What its rows are called.
    pub(crate) fn asks(self, class: Class) -> String {
        format!("{}: {}", self.name(), class.name())
    }

    /// Asks as a host does: from what was typed to the hits with their snippets.
    fn ask(self, store: &blocking::ChatStore, text: &str, limit: usize) -> Result<Hits> {
        let (owner, order) = match self {
            Self::Newest => (LOCAL, TextOrder::default()),
            Self::Owner => (VISITOR, TextOrder::default()),
            Self::Relevance => (LOCAL, TextOrder::Relevance),
        };
        let query = Query::parse(text)?.order(order).limit(limit);
        Ok(store.owner(chatkeep::OwnerId::new(owner)?).search(query)?)
    }
}

/// How long each class of question took.
struct Times(Vec<(Class, Samples)>);

impl Times {
    fn new() -> Self {
        Self(Class::ALL.map(|class| (class, Samples::default())).to_vec())
    }

    fn of(&mut self, class: Class) -> Result<&mut Samples> {
        let found = self.0.iter_mut().find(|(of, _)| *of == class);
        Ok(found.map(|(_, times)| times).ok_or("there is no such class")?)
    }

    /// The class that takes longest, by one figure of each.
    fn slowest(&self, figure: impl Fn(&Samples) -> f64) -> Option<&Samples> {
        let times = self.0.iter().map(|(_, times)| times).filter(|times| times.len() > 0);
        times.max_by(|a, b| figure(a).total_cmp(&figure(b)))
    }

    fn all(&self) -> Samples {
        let mut all = Samples::default();
        self.0.iter().for_each(|(_, times)| all.extend(times));
        all
    }

    fn rows(&self, report: &mut Report, way: Way, system: &str, messages: u64, scan: f64) {
        for (class, times) in self.0.iter().filter(|(_, times)| times.len() > 0) {
            let row = Row::new(GROUP, &way.asks(*class), system, messages);
            report.row(row.times(times).over(scan));
        }
        if let Some(times) = self.slowest(Samples::p50).filter(|_| way == Way::Newest) {
            report.row(Row::new(GROUP, SLOWEST, system, messages).times(times).over(scan));
        }
    }
}

/// Everything that answers, at one size.
struct All {
    rng: Rng,
    scan: Scan,
    scanned: Times,
    searched: Vec<Searched>,
    looking: Vec<Looking>,
}

impl All {
    /// Writes everything; with those that look through it, if they are wanted.
    fn new(corpus: &Corpus, folder: &Path, with_others: bool) -> Result<Self> {
        let scan = Scan::new(corpus, folder)?;
        let mut searched = Vec::new();
        for engine in ours::engines() {
            searched.extend(Searched::new(corpus, folder, engine)?);
        }
        let mut looking = Vec::new();
        let has_full_text =
            |entry: &Entry| searched.iter().any(|one: &Searched| one.engine.name == entry.name);
        for entry in peers::all().iter().filter(|entry| with_others && !has_full_text(entry)) {
            looking.push(Looking::new(corpus, folder, entry)?);
        }
        for one in &searched {
            one.check(&scan)?;
        }
        Ok(Self { rng: Rng::new(7), scan, scanned: Times::new(), searched, looking })
    }

    /// A question of every class in every way to everyone, in turn.
    fn round(&mut self, round: usize, rounds: usize) -> Result<()> {
        let every = (rounds / SCANS).max(1);
        for (way, class) in pairs() {
            let question = class.question(&mut self.rng);
            let scans = way == Way::Newest && round.is_multiple_of(every);
            let places = self.searched.len() + self.looking.len() + 1;
            for step in 0..places {
                // Somebody else begins with every round, and with every one that has scans in it.
                let place = (step + round + round / every) % places;
                if let Some(one) = self.searched.get_mut(place) {
                    one.round(way, class, &question)?;
                } else if let Some(one) = self.looking.get_mut(place - self.searched.len()) {
                    if scans {
                        one.round(class, &question)?;
                    }
                } else if scans {
                    let found = self.scanned.of(class)?.time(|| self.scan.count(&question))?;
                    check_count(SCAN, class, usize::try_from(found)?)?;
                }
            }
        }
        Ok(())
    }

    fn say(&self, report: &mut Report, messages: u64, questions: usize) -> Result<()> {
        let scan = self.scanned.all().p50();
        self.scanned.rows(report, Way::Newest, SCAN, messages, scan);
        for one in &self.searched {
            for (way, times) in WAYS.into_iter().zip(&one.times) {
                times.rows(report, way, one.engine.name, messages, scan);
            }
        }
        for one in &self.looking {
            one.times.rows(report, Way::Newest, one.name, messages, scan);
        }
        let files = self.searched.iter().find(|one| one.engine.name == FILES.name);
        let Some(files) = files else {
            let why = "the file storage was built without its index";
            return KEYS.iter().try_for_each(|key| report.lacks(key, why));
        };
        let worst = |times: &Times| times.slowest(Samples::p99).map_or(f64::NAN, Samples::p99);
        let [newest, owner, relevance] = files.times.each_ref().map(worst);
        let figures = [newest / scan, owner / 1e3, relevance / 1e3];
        let at = format!("{messages} messages, {questions} questions of each of 7 classes");
        KEYS.iter().zip(figures).try_for_each(|(key, figure)| report.set(key, figure, &*at))
    }

    fn close(self) -> Result<()> {
        for one in self.searched {
            drop(one.store);
            ours::close(one.storage)?;
        }
        self.looking.into_iter().try_for_each(|one| one.system.close())
    }
}

fn pairs() -> impl Iterator<Item = (Way, Class)> {
    WAYS.into_iter().flat_map(|way| Class::ALL.map(|class| (way, class)))
}

/// What is common is found, and what stands nowhere is not.
fn check_count(name: &str, class: Class, found: usize) -> Result<()> {
    match (class, found) {
        (Class::Common, 0) => Err(format!("{name} does not find what is common").into()),
        (Class::NoHit, 1..) => Err(format!("{name} finds what stands nowhere").into()),
        _ => Ok(()),
    }
}

/// A storage with full text.
struct Searched {
    engine: Engine,
    storage: Arc<dyn Storage>,
    store: blocking::ChatStore,
    /// Of each way.
    times: [Times; 3],
}

impl Searched {
    /// Writes everything, and opens it anew; `None` if the engine has no full text.
    fn new(corpus: &Corpus, folder: &Path, engine: Engine) -> Result<Option<Self>> {
        let own = folder.join(engine.name);
        std::fs::create_dir_all(&own)?;
        let storage = (engine.open)(&own)?;
        if storage.full_text().is_none() {
            ours::close(storage)?;
            remove(&own)?;
            return Ok(None);
        }
        let start = Instant::now();
        corpus.fill(&storage)?;
        ours::close(storage)?;
        let storage = (engine.open)(&own)?;
        let store = ours::store_on(&storage)?;
        let searched = Self { engine, storage, store, times: WAYS.map(|_| Times::new()) };
        searched.wait_for_index()?;
        eprintln!("   {} written in {:.1} s", engine.name, start.elapsed().as_secs_f64());
        Ok(Some(searched))
    }

    fn wait_for_index(&self) -> Result<()> {
        let deadline = Instant::now() + Duration::from_secs(1_800);
        while Way::Newest.ask(&self.store, "the", SHOWN)?.partial.is_some() {
            if Instant::now() > deadline {
                return Err(format!("the index of {} is never complete", self.engine.name).into());
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        Ok(())
    }

    /// Checks that what is found is what is there.
    fn check(&self, scan: &Scan) -> Result<()> {
        for number in 0..3 {
            let word = data::rare(number);
            let found = Way::Newest.ask(&self.store, &word, 1_000)?.hits.len();
            let there = scan.turns_with(&word)?;
            if found != there {
                let name = self.engine.name;
                return Err(format!("{name} finds {found} of {there} turns with {word}").into());
            }
        }
        Ok(())
    }

    fn round(&mut self, way: Way, class: Class, question: &Question) -> Result<()> {
        let [newest, owner, relevance] = &mut self.times;
        let times = match way {
            Way::Newest => newest,
            Way::Owner => owner,
            Way::Relevance => relevance,
        };
        let hits = times.of(class)?.time(|| way.ask(&self.store, &question.text, SHOWN))?;
        match way {
            // A small owner need not have everything.
            Way::Owner => Ok(()),
            _ => check_count(self.engine.name, class, hits.hits.len()),
        }
    }
}

/// A system that looks through everything: what people do instead, and the engine of this crate
/// that has no full text.
struct Looking {
    name: &'static str,
    system: Box<dyn System>,
    times: Times,
}

impl Looking {
    /// Writes everything, and opens it anew.
    fn new(corpus: &Corpus, folder: &Path, entry: &Entry) -> Result<Self> {
        let start = Instant::now();
        let own = folder.join(entry.name);
        std::fs::create_dir_all(&own)?;
        let mut system = (entry.open)(&own)?;
        system.seed(&mut corpus.sessions())?;
        system.close()?;
        let system = (entry.open)(&own)?;
        eprintln!("   {} written in {:.1} s", entry.name, start.elapsed().as_secs_f64());
        Ok(Self { name: entry.name, system, times: Times::new() })
    }

    fn round(&mut self, class: Class, question: &Question) -> Result<()> {
        let found = self.times.of(class)?.time(|| self.system.search(question, SHOWN))?;
        check_count(self.name, class, found)
    }
}
