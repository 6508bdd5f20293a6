//! Full text: every class of question, newest first, of a small owner, and by relevance.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use chatkeep::storage::{Term, TextHits, TextOrder, TextQuery};
use chatkeep::{OwnerId, Storage, blocking};
use pollster::block_on;
use rusqlite::{Connection, params};

use crate::bulk::{Bulk, Open};
use crate::data::{self, Class, Data, Rng};
use crate::harness::{Bench, Result, Samples, remove};
use crate::ours::{self, Engine, FILES};
use crate::peers;
use crate::report::{Report, Row};

const GROUP: &str = "search";
const KEYS: [&str; 3] =
    ["search.newest.p99_vs_scan", "search.owner.p99_ms", "search.relevance.p99_ms"];
/// Sessions that are written to in turn before the next ones begin.
const AT_ONCE: u64 = 20;
/// Turns of a session that come one after the other.
const PORTION: u64 = 5;
/// The owner of one of 1,000 sessions.
const VISITOR: &str = "visitor";
const SHOWN: usize = 20;
const SCANS: usize = 5;

pub(crate) fn run(bench: &Bench, report: &mut Report) -> Result<()> {
    let [few, _] = bench.sizes.messages;
    for (messages, questions) in bench.sizes.messages.into_iter().zip(bench.sizes.questions) {
        eprintln!("-- search: {messages} messages");
        let data = Data::new(messages);
        let folder = bench.folder("search")?;
        let scan = Scan::new(bench, &data, &folder, messages)?;
        let mut searched = Vec::new();
        for engine in ours::engines() {
            searched.extend(Searched::new(bench, &data, &folder, engine, messages)?);
        }
        let scanned = measure(&scan, &mut searched, questions)?;
        if messages == few {
            others(bench, report, &data, &folder, messages, scanned.p50())?;
        }
        say(report, messages, questions, &scanned, &searched)?;
        for one in searched {
            drop(one.store);
            ours::close(one.storage)?;
        }
        remove(&folder)?;
    }
    Ok(())
}

/// Some turns of a session that are written together.
struct Portion {
    owner: &'static str,
    session: u64,
    first: u64,
    turns: u64,
}

/// All turns in the order in which they come, some sessions at a time.
fn portions(bench: &Bench, messages: u64) -> impl Iterator<Item = Portion> {
    let each = bench.sizes.session_turns;
    let (sessions, rounds) = (messages / 2 / each, each / PORTION);
    let places = (0..sessions / AT_ONCE).flat_map(move |group| {
        (0..rounds).flat_map(move |_| (0..AT_ONCE).map(move |place| group * AT_ONCE + place))
    });
    places.zip(0_u64..).map(|(session, number)| Portion {
        owner: if session % 1_000 == 7 { VISITOR } else { "local" },
        session,
        first: number * PORTION,
        turns: PORTION,
    })
}

/// The same text in one table, without any index.
struct Scan(Connection);

impl Scan {
    fn new(bench: &Bench, data: &Data, folder: &Path, messages: u64) -> Result<Self> {
        let mut database = Connection::open(folder.join("scan.db"))?;
        database.execute_batch(
            "CREATE TABLE messages (turn INTEGER, owner TEXT NOT NULL, text TEXT NOT NULL)",
        )?;
        let all = database.transaction()?;
        for portion in portions(bench, messages) {
            let mut insert = all.prepare_cached("INSERT INTO messages VALUES (?1, ?2, ?3)")?;
            for number in portion.first..portion.first + portion.turns {
                let turn = data.turn(number);
                insert.execute(params![number as i64, portion.owner, turn.request])?;
                insert.execute(params![number as i64, portion.owner, turn.response])?;
            }
        }
        all.commit()?;
        Ok(Self(database))
    }

    /// How many of the user's turns have this word.
    fn turns_with(&self, word: &str) -> Result<usize> {
        let mut count = self.0.prepare_cached(
            "SELECT count(DISTINCT turn) FROM messages
             WHERE text LIKE '%' || ?1 || '%' AND owner = 'local'",
        )?;
        let count: i64 = count.query_row([word], |row| row.get(0))?;
        Ok(usize::try_from(count)?)
    }
}

/// How a question is put.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Newest,
    Owner,
    Relevance,
}

const WAYS: [Way; 3] = [Way::Newest, Way::Owner, Way::Relevance];

impl Way {
    fn name(self) -> &'static str {
        match self {
            Self::Newest => "newest",
            Self::Owner => "small owner",
            Self::Relevance => "relevance",
        }
    }

    fn question(self, terms: Vec<Term>) -> Result<(OwnerId, TextQuery)> {
        let mut query = TextQuery::new(terms);
        query.limit = SHOWN;
        if self == Self::Relevance {
            query.order = TextOrder::Relevance;
        }
        let owner = if self == Self::Owner { VISITOR } else { "local" };
        Ok((OwnerId::new(owner)?, query))
    }
}

/// A storage with full text, and how long its answers took.
struct Searched {
    engine: Engine,
    storage: Arc<dyn Storage>,
    store: blocking::ChatStore,
    times: Vec<(Way, Class, Samples)>,
}

impl Searched {
    /// Writes everything, and opens it anew; `None` if the engine has no full text.
    fn new(
        bench: &Bench,
        data: &Data,
        folder: &Path,
        engine: Engine,
        messages: u64,
    ) -> Result<Option<Self>> {
        let own = folder.join(engine.name);
        std::fs::create_dir_all(&own)?;
        let storage = (engine.open)(&own)?;
        if storage.full_text().is_none() {
            return Ok(None);
        }
        let start = Instant::now();
        fill(bench, data, &storage, messages)?;
        ours::close(storage)?;
        let storage = (engine.open)(&own)?;
        let store = ours::store_on(&storage)?;
        let pairs = WAYS.into_iter().flat_map(|way| Class::ALL.map(|class| (way, class)));
        let times = pairs.map(|(way, class)| (way, class, Samples::default())).collect();
        let searched = Self { engine, storage, store, times };
        searched.wait_for_index()?;
        eprintln!("   {} written in {:.1} s", engine.name, start.elapsed().as_secs_f64());
        Ok(Some(searched))
    }

    fn ask(&self, way: Way, terms: Vec<Term>) -> Result<TextHits> {
        let (owner, query) = way.question(terms)?;
        self.put(&owner, &query)
    }

    fn put(&self, owner: &OwnerId, query: &TextQuery) -> Result<TextHits> {
        let full_text = self.storage.full_text().ok_or("the storage has no full text")?;
        Ok(block_on(full_text.search(owner, query, None))?)
    }

    fn wait_for_index(&self) -> Result<()> {
        let deadline = Instant::now() + Duration::from_secs(1_800);
        while self.ask(Way::Newest, vec![Term::new("the")?])?.partial.is_some() {
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
            let (owner, mut query) = Way::Newest.question(vec![Term::new(&word)?])?;
            query.limit = 1_000;
            let found = self.put(&owner, &query)?.page.items.len();
            let there = scan.turns_with(&word)?;
            if found != there {
                let name = self.engine.name;
                return Err(format!("{name} finds {found} of {there} turns with {word}").into());
            }
        }
        Ok(())
    }

    /// The p99 of the class that takes longest, in microseconds.
    fn worst(&self, way: Way) -> f64 {
        let of_way = self.times.iter().filter(|(asked, ..)| *asked == way);
        of_way.map(|(.., times)| times.p99()).fold(0.0, f64::max)
    }
}

fn fill(bench: &Bench, data: &Data, storage: &Arc<dyn Storage>, messages: u64) -> Result<()> {
    let mut bulk = Bulk::new(storage);
    let mut open: Vec<(u64, Open)> = Vec::new();
    for portion in portions(bench, messages) {
        let place = usize::try_from(portion.session % AT_ONCE)?;
        if open.get(place).is_none_or(|(session, _)| *session != portion.session) {
            let id = format!("session-{:06}", portion.session);
            let new = bulk.session(OwnerId::new(portion.owner)?, &id, &format!("Session {id}"))?;
            open.truncate(place);
            open.push((portion.session, new));
        }
        let turns: Vec<_> = (portion.first..portion.first + portion.turns)
            .map(|number| data.turn(number))
            .collect();
        let (_, session) = open.get_mut(place).ok_or("the session is not open")?;
        bulk.append(session, &turns)?;
    }
    Ok(())
}

/// Puts every question to every storage, in turn, with some scans in between.
fn measure(scan: &Scan, searched: &mut [Searched], questions: usize) -> Result<Samples> {
    for one in &*searched {
        one.check(scan)?;
    }
    let mut scanned = Samples::default();
    let mut rng = Rng::new(7);
    for round in 0..questions {
        if round.is_multiple_of(questions / SCANS) {
            scanned.time(|| scan.turns_with(&data::common(rng.below(8))))?;
        }
        for pair in 0..WAYS.len() * Class::ALL.len() {
            let seed = rng.next();
            for one in &mut *searched {
                let (way, class) = (one.times[pair].0, one.times[pair].1);
                let (owner, query) = way.question(class.terms(&mut Rng::new(seed))?)?;
                let start = Instant::now();
                let hits = one.put(&owner, &query)?;
                one.times[pair].2.push(start.elapsed());
                if class == Class::NoHit && !hits.page.items.is_empty() {
                    return Err("what stands nowhere was found".into());
                }
            }
        }
    }
    Ok(scanned)
}

/// What people do instead: they look through everything.
fn others(
    bench: &Bench,
    report: &mut Report,
    data: &Data,
    folder: &Path,
    messages: u64,
    scanned: f64,
) -> Result<()> {
    let each = bench.sizes.session_turns;
    for entry in peers::all().into_iter().filter(|entry| ours::engine(entry.name).is_none()) {
        let own = folder.join(entry.name);
        std::fs::create_dir_all(&own)?;
        let mut system = (entry.open)(&own)?;
        let sessions = 0..messages / 2 / each;
        let session = |n| data.session(format!("session-{n:06}"), n * each, each);
        system.seed(&mut sessions.map(session))?;
        let mut times = Samples::default();
        for number in 0..SCANS as u64 {
            let word = if number % 2 == 0 { data::rare(number) } else { data::common(number) };
            if times.time(|| system.search(&word, SHOWN))? == 0 {
                return Err(format!("{} does not find {word}", entry.name).into());
            }
        }
        let row = Row::new(GROUP, "newest, looked through", entry.name, messages);
        report.row(row.times(&times).over(scanned));
        remove(&own)?;
    }
    Ok(())
}

fn say(
    report: &mut Report,
    messages: u64,
    questions: usize,
    scanned: &Samples,
    searched: &[Searched],
) -> Result<()> {
    report.row(Row::new(GROUP, "LIKE scan", "SQLite, one table", messages).times(scanned));
    for one in searched {
        for (way, class, times) in &one.times {
            let what = format!("{}: {}", way.name(), class.name());
            let row = Row::new(GROUP, &what, one.engine.name, messages);
            report.row(row.times(times).over(scanned.p50()));
        }
    }
    let files = searched.iter().find(|one| one.engine.name == FILES.name);
    let Some(files) = files else {
        let why = "the file storage was built without its index";
        return KEYS.iter().try_for_each(|key| report.lacks(key, why));
    };
    let at = format!("{messages} messages, {questions} questions of each of 7 classes");
    let [newest, owner, relevance] = KEYS;
    report.set(newest, files.worst(Way::Newest) / scanned.p50(), &*at)?;
    report.set(owner, files.worst(Way::Owner) / 1e3, &*at)?;
    report.set(relevance, files.worst(Way::Relevance) / 1e3, at)
}
