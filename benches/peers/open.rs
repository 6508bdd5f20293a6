//! A session opened: its newest turns, and all of them.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use chatkeep::storage::FileStorage;
use chatkeep::storage::file::{CountingFileSystem, RealFileSystem};
use chatkeep::{SessionId, Storage};

use crate::data::Data;
use crate::harness::{Bench, Found, Result, Rounds, Samples, child, cpu_ticks, peak_mb, remove};
use crate::ours::{self, FILES};
use crate::peers::{self, Entry, limit};
use crate::report::{Report, Row, shown};

const GROUP: &str = "open";
const SESSION: &str = "session";
/// What is shown of a session that is opened.
const NEWEST: usize = 20;

pub(crate) fn run(bench: &Bench, report: &mut Report) -> Result<()> {
    let folder = bench.folder("open")?;
    for turns in &bench.sizes.turns {
        systems(bench, report, &folder, *turns)?;
    }
    flatness(bench, report, &folder)?;
    whole(bench, report, &folder)?;
    remove(&folder)
}

fn home(folder: &Path, turns: u64, entry: &str) -> std::path::PathBuf {
    folder.join(turns.to_string()).join(entry)
}

/// Every system at one size, in turn. What later measurements need of it stays.
fn systems(bench: &Bench, report: &mut Report, folder: &Path, turns: u64) -> Result<()> {
    eprintln!("-- open: every system, {turns} turns");
    let data = Data::new(1_000_000);
    let entries = peers::all();
    for entry in &entries {
        let own = home(folder, turns, entry.name);
        std::fs::create_dir_all(&own)?;
        let mut system = (entry.open)(&own)?;
        system.seed(&mut std::iter::once(data.session(SESSION.to_owned(), 0, turns)))?;
    }
    let mut times = vec![Samples::default(); entries.len()];
    for round in 0..bench.sizes.rounds {
        for step in 0..entries.len() {
            let place = (step + round) % entries.len();
            let (entry, times) = (&entries[place], &mut times[place]);
            if times.sum() > bench.sizes.budget && times.len() >= 3 {
                continue;
            }
            times.push(newest(entry, &home(folder, turns, entry.name))?.0);
        }
    }
    let files = times.first().map_or(f64::NAN, Samples::p50);
    for (entry, times) in entries.iter().zip(&times) {
        let mut row = Row::new(GROUP, "open the newest 20", entry.name, turns);
        row = row.times(times).over(files);
        if turns == bench.sizes.large() {
            let grown = peaks(bench, entry.name, &home(folder, turns, entry.name))?;
            row.peak_mb = Some(grown.median());
            if entry.name == FILES.name {
                let at = format!("{turns} turns, {}", grown.spread());
                report.set("open.newest20.peak_mb", grown.median(), at)?;
            }
        }
        report.row(row);
    }
    for entry in entries.iter().filter(|entry| entry.name != FILES.name) {
        remove(&home(folder, turns, entry.name))?;
    }
    Ok(())
}

/// Opens a system, and times how long it takes to have its newest turns.
fn newest(entry: &Entry, folder: &Path) -> Result<(Duration, usize)> {
    let mut system = (entry.open)(folder)?;
    let start = Instant::now();
    let bytes = system.newest(SESSION, NEWEST)?;
    Ok((start.elapsed(), bytes))
}

/// By how many megabytes peak memory grows, in new processes.
fn peaks(bench: &Bench, system: &str, folder: &Path) -> Result<Rounds> {
    let folder = folder.to_str().ok_or("the folder's name is not UTF-8")?;
    let mut peaks = Rounds::default();
    for _ in 0..bench.sizes.samples {
        let found = child(&["newest", system, folder])?;
        peaks.push(*found.get("grown_mb").ok_or("the child says no peak")?);
    }
    Ok(peaks)
}

/// In a process of its own: how much the most memory in use grows.
pub(crate) fn newest_in_child(system: &str, folder: &Path) -> Result<Found> {
    let mut system = (peers::entry(system)?.open)(folder)?;
    let before = peak_mb()?;
    let bytes = system.newest(SESSION, NEWEST)?;
    let grown = peak_mb()? - before;
    Ok([("grown_mb".to_owned(), grown), ("bytes".to_owned(), bytes as f64)].into())
}

/// The largest session beside the smallest, in turn, each time in a store that knows nothing yet.
fn flatness(bench: &Bench, report: &mut Report, folder: &Path) -> Result<()> {
    let (small, large) = (bench.sizes.small(), bench.sizes.large());
    let rounds = bench.sizes.rounds * 5;
    let mut times = [Samples::default(), Samples::default()];
    for round in 0..rounds {
        for step in 0..2 {
            let which = (step + round) % 2;
            let storage = (FILES.open)(&home(folder, [small, large][which], FILES.name))?;
            let store = ours::store_on(&storage)?;
            let id = SessionId::new(SESSION)?;
            let chat = times[which].time(|| Ok(store.local().open(id)?))?;
            if ours::touch(&chat.model(), NEWEST)? == 0 {
                return Err("nothing was opened".into());
            }
            drop((chat, store));
            ours::close(storage)?;
        }
    }
    let [few, many] = &times;
    let at = format!("{large} over {small} turns, {rounds} rounds");
    report.set("open.newest20.flatness", many.p50() / few.p50(), at)?;
    let read = |turns| bytes_read(&home(folder, turns, FILES.name));
    report.note(format!(
        "open.newest20.flatness: {} and {} bytes read of {large} and {small} turns",
        read(large)?,
        read(small)?
    ));
    Ok(())
}

/// How many bytes are read of a session's files to open it.
fn bytes_read(folder: &Path) -> Result<u64> {
    let files = Arc::new(CountingFileSystem::new(Arc::new(RealFileSystem)));
    let counted = Arc::<CountingFileSystem>::clone(&files);
    let storage: Arc<dyn Storage> =
        Arc::new(FileStorage::with_files(folder.join("chats"), counted)?);
    let store = ours::store_on(&storage)?;
    let before = files.counts();
    let chat = store.local().open(SessionId::new(SESSION)?)?;
    let read = (files.counts() - before).read;
    drop((chat, store));
    ours::close(storage)?;
    Ok(read)
}

/// One way to read a whole session, and what it took of the clock and of the processors.
#[derive(Default)]
struct Reading {
    times: Samples,
    cpu: u64,
}

impl Reading {
    /// Returns how many bytes of text were read.
    fn time(&mut self, read: impl FnOnce() -> Result<usize>) -> Result<usize> {
        let before = cpu_ticks()?;
        let text = self.times.time(read)?;
        self.cpu += cpu_ticks()? - before;
        Ok(text)
    }
}

/// All turns, beside parsing the same bytes; each as often the first.
fn whole(bench: &Bench, report: &mut Report, folder: &Path) -> Result<()> {
    let turns = bench.sizes.large();
    eprintln!("-- open: all of {turns} turns, and the parser alone");
    let own = home(folder, turns, FILES.name);
    let log = own.join("chats/sessions/local").join(format!("{SESSION}.jsonl"));
    let rounds = bench.sizes.rounds.min(7);
    // Brings the log into the page cache.
    let there = limit::parse(&log)?.text();
    let (mut restored, mut parsed) = (Reading::default(), Reading::default());
    for round in 0..rounds {
        for step in 0..2 {
            let text = match (step + round) % 2 {
                0 => restore(&own, &mut restored)?,
                _ => parse(&log, &mut parsed)?,
            };
            if text != there {
                return Err(format!("{text} bytes of text were read of {there}").into());
            }
        }
    }
    let ratio = restored.times.p50() / parsed.times.p50();
    report.set("open.full.vs_limit", ratio, format!("{turns} turns, {rounds} rounds"))?;
    report.note(format!(
        "open.full.vs_limit: the restore decodes on all processors, of which there are {}, the \
         parser on one; in time of processors the ratio is {}",
        std::thread::available_parallelism()?,
        shown(restored.cpu as f64 / parsed.cpu as f64)
    ));
    let row = |what, system| Row::new(GROUP, what, system, turns);
    report.row(row("restore all", FILES.name).times(&restored.times).over(parsed.times.p50()));
    report.row(row("parse the same", "serde_json, plain structs").times(&parsed.times));
    Ok(())
}

/// What either way made is let go of untimed.
fn parse(log: &Path, reading: &mut Reading) -> Result<usize> {
    let mut parsed = None;
    reading.time(|| Ok(parsed.insert(limit::parse(log)?).text()))
}

fn restore(folder: &Path, reading: &mut Reading) -> Result<usize> {
    let storage = (FILES.open)(folder)?;
    let store = ours::store_on(&storage)?;
    let mut opened = None;
    let text = reading.time(|| {
        let chat = store.local().open(SessionId::new(SESSION)?)?;
        while chat.load_earlier(4_096)? > 0 {}
        let model = opened.insert(chat).model();
        ours::touch(&model, usize::MAX)
    })?;
    drop((opened, store));
    ours::close(storage)?;
    Ok(text)
}
