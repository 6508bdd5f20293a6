//! What the index costs, and what SQLite and group commit make of an append.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use chatkeep::part::Markdown;
use chatkeep::storage::FileStorage;
use chatkeep::storage::file::{CountingFileSystem, RealFileSystem};
use chatkeep::{NewSession, Storage, blocking};
use futures_util::future::try_join_all;
use pollster::block_on;

use crate::data::{Data, MESSAGE};
use crate::harness::{Bench, Result, Samples, remove, written};
use crate::ours::{self, Engine, FILES, UNINDEXED};
use crate::peers::limit::RawInsert;
use crate::report::{Report, Row};

const GROUP: &str = "append";
/// Appends of a paced writer per second.
const PACE: u32 = 100;
/// Sessions that are written to in turn, or at once.
const SESSIONS: usize = 10;
const AT_ONCE: usize = 64;

pub(crate) fn run(bench: &Bench, report: &mut Report) -> Result<()> {
    index_ratio(bench, report)?;
    index_cost(bench, report)?;
    sqlite_and_limit(bench, report)?;
    group_commit(bench, report)
}

fn create(store: &blocking::ChatStore, count: usize) -> Result<Vec<blocking::ChatSession>> {
    let new = |number| NewSession::titled(format!("Session {number}"));
    (0..count).map(|number| Ok(store.local().create(new(number))?)).collect()
}

/// The bytes of an exchange without anything around them.
const PAYLOAD: f64 = (2 * MESSAGE) as f64;

fn record(chat: &blocking::ChatSession, data: &Data, number: usize) -> Result<()> {
    let turn = data.turn(number as u64);
    chat.record(turn.request, [Markdown::new(turn.response)])?;
    Ok(())
}

/// Bytes that go to the index while exchanges are added at a steady pace, until it is closed.
fn index_ratio(bench: &Bench, report: &mut Report) -> Result<()> {
    const KEY: &str = "append.file.index_ratio";
    let seconds = bench.sizes.paced.as_secs();
    eprintln!("-- append: bytes of index, {PACE} appends/s for {seconds} s");
    let data = Data::new(1_000_000);
    let folder = bench.folder("append-index")?;
    let files = Arc::new(CountingFileSystem::new(Arc::new(RealFileSystem)));
    let counted = Arc::<CountingFileSystem>::clone(&files);
    let storage: Arc<dyn Storage> =
        Arc::new(FileStorage::with_files(folder.join("chats"), counted)?);
    if storage.full_text().is_none() {
        return report.lacks(KEY, "the file storage was built without its index");
    }
    let store = ours::store_on(&storage)?;
    let chats = create(&store, SESSIONS)?;
    let appends = bench.sizes.paced.as_millis() as usize * PACE as usize / 1_000;
    let (all_before, logs_before) = (written()?, files.counts().written);
    let start = Instant::now();
    for (number, chat) in (0..appends).zip(chats.iter().cycle()) {
        pace(start, number, PACE);
        record(chat, &data, number)?;
    }
    drop((chats, store));
    ours::close(storage)?;
    let all = written()? - all_before;
    let logs = files.counts().written - logs_before;
    let ratio = all.saturating_sub(logs) as f64 / (PAYLOAD * appends as f64);
    report.set(KEY, ratio, format!("{appends} exchanges of 2 × {MESSAGE} bytes in {seconds} s"))?;
    report.note(format!("append.file.index_ratio: {logs} bytes of log, {all} bytes in all"));
    remove(&folder)
}

/// Waits until the call of this number is due.
pub(crate) fn pace(start: Instant, number: usize, per_second: u32) {
    let due = Duration::from_secs(number as u64) / per_second;
    std::thread::sleep(due.saturating_sub(start.elapsed()));
}

/// Exchanges as fast as they can be added, with and without the index, its end included.
fn index_cost(bench: &Bench, report: &mut Report) -> Result<()> {
    const KEY: &str = "index.cost";
    if !cfg!(feature = "sqlite") {
        return report.lacks(KEY, "the file storage was built without its index");
    }
    let (rounds, appends) = if bench.sizes.calls < 1_000 { (3, 400) } else { (5, 5_000) };
    eprintln!("-- append: {appends} exchanges with and without the index");
    let mut times = [Samples::default(), Samples::default()];
    for round in 0..rounds {
        for step in 0..2 {
            let which = (step + round) % 2;
            let engine = [FILES, UNINDEXED][which];
            times[which].push(sustained(bench, engine, appends)?);
        }
    }
    let [with, without] = &times;
    let at = format!("{appends} exchanges on {SESSIONS} sessions, {rounds} rounds");
    report.set(KEY, with.p50() / without.p50(), at)?;
    let each = |samples: &Samples| samples.p50() / appends as f64;
    report.note(format!(
        "index.cost: {:.0} and {:.0} µs per exchange with and without the index",
        each(with),
        each(without)
    ));
    Ok(())
}

fn sustained(bench: &Bench, engine: Engine, appends: usize) -> Result<Duration> {
    let data = Data::new(1_000_000);
    let folder = bench.folder("append-sustained")?;
    let storage = (engine.open)(&folder)?;
    let store = ours::store_on(&storage)?;
    let chats = create(&store, SESSIONS)?;
    let turns: Vec<_> = (0..appends as u64).map(|number| data.turn(number)).collect();
    let start = Instant::now();
    for (turn, chat) in turns.into_iter().zip(chats.iter().cycle()) {
        chat.record(turn.request, [Markdown::new(turn.response)])?;
    }
    drop((chats, store));
    ours::close(storage)?;
    let time = start.elapsed();
    remove(&folder)?;
    Ok(time)
}

/// One request in SQLite, beside one row.
fn sqlite_and_limit(bench: &Bench, report: &mut Report) -> Result<()> {
    const KEY: &str = "append.sqlite.vs_limit";
    let Some(engine) = ours::engine("chatkeep SQLite") else {
        return report.lacks(KEY, "the SQLite storage was not built in");
    };
    let turns = bench.sizes.large();
    eprintln!("-- append: SQLite and one row, {turns} turns");
    let data = Data::new(1_000_000);
    let folder = bench.folder("append-sqlite")?;
    let storage = (engine.open)(&folder)?;
    let store = ours::store_on(&storage)?;
    let session = data.session("session".to_owned(), 0, turns);
    let chat = store.local().import(&ours::model_of(&session)?)?;
    drop(session);
    let raw = RawInsert::new(&folder.join("raw.db"))?;
    let line = line_of_request(bench)?;
    let (mut asks, mut inserts) = (Samples::default(), Samples::default());
    for round in 0..bench.sizes.calls {
        let text = data.message(round as u64);
        if round % 2 == 0 {
            inserts.time(|| raw.insert(&line))?;
        }
        let mut answer = asks.time(|| Ok(chat.ask(&text)?))?;
        answer.append_text(&text)?;
        answer.complete()?;
        if round % 2 == 1 {
            inserts.time(|| raw.insert(&line))?;
        }
    }
    let at = format!("{turns} turns, {} calls", bench.sizes.calls);
    report.set(KEY, asks.p50() / inserts.p50(), at)?;
    let row = Row::new(GROUP, "ask, blocking", engine.name, turns);
    report.row(row.times(&asks).over(inserts.p50()));
    report.row(Row::new(GROUP, "the same line", "raw row, SQLite FULL", turns).times(&inserts));
    drop((chat, store));
    ours::close(storage)?;
    remove(&folder)
}

/// The bytes that a request is in a log of lines.
fn line_of_request(bench: &Bench) -> Result<Vec<u8>> {
    let folder = bench.folder("line")?;
    let storage = (FILES.open)(&folder)?;
    let store = ours::store_on(&storage)?;
    let chat =
        store.local().create(NewSession::titled("Line").id(chatkeep::SessionId::new("line")?))?;
    let answer = chat.ask(Data::new(1_000_000).message(0))?;
    let log = std::fs::read(folder.join("chats/sessions/local/line.jsonl"))?;
    drop((answer, chat, store));
    let line = log.trim_ascii_end().rsplit(|byte| *byte == b'\n').next();
    let line = line.ok_or("the log is empty")?.to_vec();
    ours::close(storage)?;
    remove(&folder)?;
    Ok(line)
}

/// An append of each of 64 sessions at once, over an append alone, on every engine.
fn group_commit(bench: &Bench, report: &mut Report) -> Result<()> {
    const KEY: &str = "append.sqlite.group_commit";
    let rounds = (bench.sizes.calls / 10).max(10);
    eprintln!("-- append: {AT_ONCE} sessions at once");
    let folder = bench.folder("append-group")?;
    for engine in ours::engines() {
        let own = folder.join(engine.name);
        std::fs::create_dir_all(&own)?;
        let (alone, each) = at_once(&own, engine, rounds)?;
        let row = |what| Row::new(GROUP, what, engine.name, AT_ONCE as u64);
        report.row(row("one session alone").times(&alone));
        report.row(row("64 at once, each").times(&each).over(alone.p50()));
        if engine.name == "chatkeep SQLite" {
            let at = format!("{AT_ONCE} sessions, {rounds} rounds");
            report.set(KEY, each.p50() / alone.p50(), at)?;
        }
    }
    if ours::engine("chatkeep SQLite").is_none() {
        report.lacks(KEY, "the SQLite storage was not built in")?;
    }
    remove(&folder)
}

fn at_once(folder: &Path, engine: Engine, rounds: usize) -> Result<(Samples, Samples)> {
    let data = Data::new(1_000_000);
    let storage = (engine.open)(folder)?;
    let store = ours::store_on(&storage)?;
    let chats = create(&store, AT_ONCE)?;
    let (mut alone, mut each) = (Samples::default(), Samples::default());
    let first = chats.first().ok_or("there is no session")?;
    for round in 0..rounds {
        let text = data.message(round as u64);
        alone.time(|| {
            block_on(first.as_async().record(&*text, [Markdown::new(&text)]))?;
            Ok(())
        })?;
        let start = Instant::now();
        let all = chats.iter().map(|chat| chat.as_async().record(&*text, [Markdown::new(&text)]));
        block_on(try_join_all(all))?;
        each.push(start.elapsed() / AT_ONCE as u32);
    }
    drop((chats, store));
    ours::close(storage)?;
    Ok((alone, each))
}
