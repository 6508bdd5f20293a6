//! One durable request added to a session, however long it is.

use std::path::Path;
use std::sync::Arc;

use chatkeep::storage::FileStorage;
use chatkeep::storage::file::{CountingFileSystem, RealFileSystem};
use chatkeep::{ChatSession, NewSession, SessionId, Storage, blocking};
use pollster::block_on;

use crate::data::{Data, MESSAGE};
use crate::harness::{Bench, Result, Samples, remove, syncs_of_child, written};
use crate::ours::{self, FILES};
use crate::peers::limit::{Bare, Tail};
use crate::peers::{self, Entry, System};
use crate::report::{Report, Row};

const GROUP: &str = "append";
const SESSION: &str = "session";

pub(crate) fn run(bench: &Bench, report: &mut Report) -> Result<()> {
    for turns in &bench.sizes.turns {
        growth(bench, report, *turns)?;
    }
    files_and_limit(bench, report)?;
    log_ratio(bench, report)?;
    Ok(())
}

/// A system while it is measured.
struct Running {
    entry: Entry,
    system: Box<dyn System>,
    asks: Samples,
    written: u64,
}

/// Every system at one size, in turn, beside the limit.
fn growth(bench: &Bench, report: &mut Report, turns: u64) -> Result<()> {
    eprintln!("-- append: every system, {turns} turns");
    let data = Data::new(1_000_000);
    let folder = bench.folder("append")?;
    let mut running = Vec::new();
    for entry in peers::all() {
        let own = folder.join(entry.name);
        std::fs::create_dir_all(&own)?;
        let mut system = (entry.open)(&own)?;
        system.seed(&mut std::iter::once(data.session(SESSION.to_owned(), 0, turns)))?;
        running.push(Running { entry, system, asks: Samples::default(), written: 0 });
    }
    let limit = in_turn(bench, &folder, &data, &mut running)?;
    report.row(Row::new(GROUP, "add a request", "bare write + fdatasync", turns).times(&limit));
    for one in running {
        let mut row = Row::new(GROUP, "add a request", one.entry.name, turns);
        row = row.times(&one.asks).over(limit.p50());
        row.written = Some(one.written as f64 / one.asks.len() as f64);
        drop(one.system);
        if turns == bench.sizes.small() {
            row.syncs = syncs_per_ask(&folder, one.entry.name)?;
        }
        report.row(row);
    }
    remove(&folder)
}

/// Asks each system in turn, each as often the first, until its time is over.
fn in_turn(bench: &Bench, folder: &Path, data: &Data, running: &mut [Running]) -> Result<Samples> {
    let mut tail = Tail::new(&log_of(&folder.join(FILES.name)))?;
    let mut bare = Bare::new(&folder.join("bare"))?;
    let (mut limit, mut line) = (Samples::default(), vec![b'x'; MESSAGE + 400]);
    let systems = running.len();
    for round in 0..bench.sizes.calls {
        let text = data.message(round as u64);
        for step in 0..systems {
            let one = &mut running[(step + round) % systems];
            let used = one.asks.sum();
            if used > bench.sizes.budget && one.asks.len() >= 3 {
                continue;
            }
            let before = written()?;
            one.asks.time(|| one.system.ask(SESSION, &text))?;
            one.written += written()? - before;
            if one.entry.name == FILES.name {
                line = tail.fresh()?;
            }
            one.system.answer(SESSION, &text)?;
            if one.entry.name == FILES.name {
                tail.fresh()?;
            }
        }
        limit.time(|| bare.write(&line))?;
    }
    Ok(limit)
}

/// Where a file storage keeps the session.
fn log_of(folder: &Path) -> std::path::PathBuf {
    folder.join("chats/sessions/local").join(format!("{SESSION}.jsonl"))
}

/// How many syncs a request costs, as a tracer sees it: some requests more over some requests.
fn syncs_per_ask(folder: &Path, system: &str) -> Result<Option<f64>> {
    const MORE: u64 = 20;
    let (own, trace) = (folder.join(system), folder.join("trace"));
    let own = own.to_str().ok_or("the folder's name is not UTF-8")?;
    let count = |asks: &str| syncs_of_child(&trace, &["ask", system, own, asks]);
    let (Some(few), Some(many)) = (count("1")?, count(&(1 + MORE).to_string())?) else {
        return Ok(None);
    };
    Ok(Some(many.saturating_sub(few) as f64 / MORE as f64 / 2.0))
}

/// In a process of its own: so many requests with their answers.
pub(crate) fn ask_in_child(system: &str, folder: &Path, asks: u64) -> Result<()> {
    let data = Data::new(1_000_000);
    let mut system = (peers::entry(system)?.open)(folder)?;
    for number in 0..asks {
        system.ask(SESSION, &data.message(number))?;
        system.answer(SESSION, &data.message(number))?;
    }
    Ok(())
}

/// This crate on files, through both façades, beside the limit.
fn files_and_limit(bench: &Bench, report: &mut Report) -> Result<()> {
    let (small, large) = (bench.sizes.small(), bench.sizes.large());
    eprintln!("-- append: files and the bare disk, {small} and {large} turns");
    let data = Data::new(1_000_000);
    let folder = bench.folder("append-files")?;
    let storage = (FILES.open)(&folder)?;
    let store = ours::store_on(&storage)?;
    let import = |turns: u64| -> Result<blocking::ChatSession> {
        let session = data.session(format!("session-{turns}"), 0, turns);
        Ok(store.local().import(&ours::model_of(&session)?)?)
    };
    let chats = [import(large)?, import(small)?];
    let log = folder.join(format!("chats/sessions/local/session-{large}.jsonl"));
    let mut tail = Tail::new(&log)?;
    let mut bare = Bare::new(&folder.join("bare"))?;
    let mut line = vec![b'x'; MESSAGE + 400];
    let mut times = vec![Samples::default(); 4];
    for round in 0..bench.sizes.calls {
        let text = data.message(round as u64);
        for step in 0..3 {
            match (step + round) % 3 {
                0 => {
                    tail.fresh()?;
                    let answer = times[0].time(|| Ok(chats[0].ask(&text)?))?;
                    line = tail.fresh()?;
                    end(answer, &text)?;
                }
                1 => end(times[1].time(|| Ok(chats[1].ask(&text)?))?, &text)?,
                _ => times[2].time(|| bare.write(&line))?,
            }
        }
    }
    // Apart: it writes from a thread of its own, and a host calls one façade or the other.
    for round in 0..bench.sizes.calls {
        ask_async(chats[0].as_async(), &mut times[3], &data.message(round as u64))?;
    }
    let [large_times, small_times, limit, asynchronous] = &times[..] else {
        return Err("four ways were measured".into());
    };
    let at = format!("{large} turns, {} calls", bench.sizes.calls);
    report.set("append.file.vs_limit", large_times.p50() / limit.p50(), &*at)?;
    let at = format!("{large} over {small} turns, {} calls", bench.sizes.calls);
    report.set("append.file.flatness", large_times.p50() / small_times.p50(), at)?;
    let row = |what, turns, times: &Samples| {
        Row::new(GROUP, what, FILES.name, turns).times(times).over(limit.p50())
    };
    report.row(row("ask, blocking", large, large_times));
    report.row(row("ask, blocking", small, small_times));
    report.row(row("ask, async", large, asynchronous));
    report.row(Row::new(GROUP, "the same line", "bare write + fdatasync", large).times(limit));
    drop((chats, store));
    ours::close(storage)?;
    remove(&folder)
}

/// Ends an answer, which is not timed.
fn end(mut answer: blocking::Answer, text: &str) -> Result<()> {
    answer.append_text(text)?;
    Ok(answer.complete()?)
}

fn ask_async(chat: &ChatSession, times: &mut Samples, text: &str) -> Result<()> {
    let mut answer = times.time(|| Ok(block_on(chat.ask(text))?))?;
    block_on(answer.append_text(text))?;
    Ok(block_on(answer.complete())?)
}

/// The length of a streamed answer, and of its chunks.
const ANSWER: usize = 2 << 10;
const CHUNK: usize = 5;
/// What a model says within the default delay.
const FLUSHED: usize = 40;

/// Answers that are streamed for so long that they are sealed, and the log compacted.
fn log_ratio(bench: &Bench, report: &mut Report) -> Result<()> {
    let turns = (bench.sizes.calls / 2).max(400) as u64;
    eprintln!("-- append: bytes of log, {turns} streamed turns");
    let data = Data::new(1_000_000);
    let folder = bench.folder("append-log")?;
    let files = Arc::new(CountingFileSystem::new(Arc::new(RealFileSystem)));
    let counted = Arc::<CountingFileSystem>::clone(&files);
    let storage: Arc<dyn Storage> =
        Arc::new(FileStorage::with_files(folder.join("chats"), counted)?);
    let store = ours::store_on(&storage)?;
    let chat = store.local().create(NewSession::titled("Streamed").id(SessionId::new(SESSION)?))?;
    let log = log_of(&folder);
    let (mut payload, mut ratios, mut compactions, mut last) = (0, Vec::new(), 0, 0);
    for turn in 0..turns {
        payload += streamed(&chat, &data, turn)?;
        let size = std::fs::metadata(&log)?.len();
        compactions += u64::from(size < last);
        last = size;
        if turn >= turns / 2 {
            ratios.push(size as f64 / payload as f64);
        }
    }
    let worst = ratios.iter().copied().fold(0.0, f64::max);
    let mean = ratios.iter().sum::<f64>() / ratios.len() as f64;
    let ever = files.counts().written as f64 / payload as f64;
    let at = format!(
        "{turns} turns of {MESSAGE} + {ANSWER} bytes in {CHUNK}-byte chunks, written every \
         {FLUSHED} bytes, {compactions} compactions; the log's size, mean over their second half"
    );
    report.set("append.file.log_ratio", mean, at)?;
    report.note(format!(
        "append.file.log_ratio: at worst {worst:.2}; all bytes ever written to the log {ever:.2}"
    ));
    drop((chat, store));
    ours::close(storage)?;
    remove(&folder)
}

/// One turn whose answer comes in chunks. Returns how many bytes were said.
fn streamed(chat: &blocking::ChatSession, data: &Data, turn: u64) -> Result<usize> {
    let request = data.message(turn);
    let pieces = (ANSWER / MESSAGE + 1) as u64;
    let text: String = (0..pieces).map(|piece| data.message(turn * pieces + piece)).collect();
    let text = text.get(..ANSWER).ok_or("the answer is too short")?;
    // The timer that writes what has come in is taken out of it: it would only make it slower.
    let mut answer = chat.ask(&request)?;
    for (number, chunk) in (1..).zip(text.as_bytes().chunks(CHUNK)) {
        answer.append_text(std::str::from_utf8(chunk)?)?;
        if (number * CHUNK).is_multiple_of(FLUSHED) {
            chat.flush()?;
        }
    }
    answer.complete()?;
    Ok(request.len() + text.len())
}
