//! What the index costs, and what group commit makes of an append.

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
use crate::harness::{Bench, Result, Rounds, Samples, remove, written};
use crate::ours::{self, Engine, FILES, UNINDEXED};
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

/// The texts that wait at the end have been written, but not their tokens.
const NOT_ALL: &str = "what still waits at the end is not tokenised";

/// Bytes that go to the index while exchanges are added at a steady pace, until it is closed.
fn index_ratio(bench: &Bench, report: &mut Report) -> Result<()> {
    const KEY: &str = "append.file.index_ratio";
    if !cfg!(feature = "sqlite") {
        return report.lacks(KEY, "the file storage was built without its index");
    }
    let seconds = bench.sizes.paced.as_secs();
    eprintln!("-- append: bytes of index, {PACE} appends/s for {seconds} s");
    let appends = bench.sizes.paced.as_millis() as usize * PACE as usize / 1_000;
    let payload = PAYLOAD * appends as f64;
    let [mut index, mut logs, mut scrubbed] = [const { Rounds::new() }; 3];
    for round in 0..bench.sizes.samples {
        let folder = bench.folder("append-index")?;
        let (of_logs, of_all) = paced_exchanges(&folder, round * appends, appends)?;
        logs.push(of_logs as f64 / payload);
        index.push(of_all.saturating_sub(of_logs) as f64 / payload);
        scrubbed.push(scrub(&folder)? as f64 / payload);
        remove(&folder)?;
    }
    let at = format!(
        "{appends} exchanges of 2 × {MESSAGE} bytes in {seconds} s, {}; {NOT_ALL}",
        index.spread()
    );
    report.set(KEY, index.median(), at)?;
    report.note(format!(
        "{KEY}: the log {:.2} times the payload beside it; to have all of it tokenised at the end, \
         and the full text put in order (`scrub`), {:.2} times more",
        logs.median(),
        scrubbed.median()
    ));
    Ok(())
}

/// Returns how many bytes went to the logs, and how many in all.
fn paced_exchanges(folder: &Path, first: usize, appends: usize) -> Result<(u64, u64)> {
    let data = Data::new(1_000_000);
    let files = Arc::new(CountingFileSystem::new(Arc::new(RealFileSystem)));
    let counted = Arc::<CountingFileSystem>::clone(&files);
    let storage: Arc<dyn Storage> =
        Arc::new(FileStorage::with_files(folder.join("chats"), counted)?);
    let store = ours::store_on(&storage)?;
    let chats = create(&store, SESSIONS)?;
    let (all_before, logs_before) = (written()?, files.counts().written);
    let start = Instant::now();
    for (number, chat) in (0..appends).zip(chats.iter().cycle()) {
        pace(start, number, PACE);
        record(chat, &data, first + number)?;
    }
    drop((chats, store));
    ours::close(storage)?;
    Ok((files.counts().written - logs_before, written()? - all_before))
}

/// Settles whatever waits. Returns how many bytes that takes.
fn scrub(folder: &Path) -> Result<u64> {
    let storage = (FILES.open)(folder)?;
    let before = written()?;
    block_on(storage.maintenance().scrub())?;
    ours::close(storage)?;
    Ok(written()? - before)
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
    let at = format!("{appends} exchanges on {SESSIONS} sessions, {rounds} rounds; {NOT_ALL}");
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
