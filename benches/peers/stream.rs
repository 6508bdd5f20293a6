//! Chunks of an answer: what the caller spends on each, and what reaches the disk.

use std::sync::Arc;
use std::time::{Duration, Instant};

use chatkeep::storage::FileStorage;
use chatkeep::storage::file::{CountingFileSystem, RealFileSystem};
use chatkeep::{ChatSession, Storage};
use pollster::block_on;

use crate::cost::pace;
use crate::data::Data;
use crate::harness::{Bench, Result, Rounds, Samples, remove, written};
use crate::ours;
use crate::report::{Report, Row, shown};

const CHUNK: &str = "chunk";
/// A burst's bytes.
const BURST: usize = 100_000;
const PER_SECOND: u32 = 50;

pub(crate) fn run(bench: &Bench, report: &mut Report) -> Result<()> {
    let turns = bench.sizes.large();
    eprintln!("-- stream: a session of {turns} turns");
    let data = Data::new(1_000_000);
    let folder = bench.folder("stream")?;
    let files = Arc::new(CountingFileSystem::new(Arc::new(RealFileSystem)));
    let counted = Arc::<CountingFileSystem>::clone(&files);
    let storage: Arc<dyn Storage> =
        Arc::new(FileStorage::with_files(folder.join("chats"), counted)?);
    let store = ours::store_on(&storage)?;
    let session = data.session("session".to_owned(), 0, turns);
    let chat = store.local().import(&ours::model_of(&session)?)?;
    drop(session);
    block_on(burst(bench, report, chat.as_async(), &files))?;
    paced(bench, report, chat.as_async(), &files)?;
    drop((chat, store));
    ours::close(storage)?;
    remove(&folder)
}

/// All bytes that this process has written, once the index has followed the log: it does so within
/// a fifth of a second, but for a session that was imported.
fn all_written() -> Result<u64> {
    let deadline = Instant::now() + Duration::from_secs(600);
    let mut all = written()?;
    loop {
        std::thread::sleep(Duration::from_millis(300));
        let before = std::mem::replace(&mut all, written()?);
        if all == before {
            return Ok(all);
        }
        if Instant::now() > deadline {
            return Err("the index never comes to rest".into());
        }
    }
}

async fn burst(
    bench: &Bench,
    report: &mut Report,
    chat: &ChatSession,
    files: &CountingFileSystem,
) -> Result<()> {
    let (chunks, rounds) = (BURST / CHUNK.len(), bench.sizes.rounds);
    let mut changes = chat.subscribe();
    let (mut times, mut log, mut all) = (Samples::default(), 0, 0);
    for _ in 0..rounds {
        let mut answer = chat.ask("Tell me all of it").await?;
        let (all_before, before) = (all_written()?, files.counts());
        for _ in 0..chunks {
            let start = Instant::now();
            answer.append_text(CHUNK).await?;
            times.push(start.elapsed());
            while changes.try_next().is_some() {}
        }
        answer.complete().await?;
        log += (files.counts() - before).written;
        all += all_written()? - all_before;
    }
    let turns = bench.sizes.large();
    let at = format!("{chunks} chunks, {rounds} rounds, {turns} turns");
    let ratio = |bytes: u64| bytes as f64 / (BURST * rounds) as f64;
    report.set("stream.burst.bytes_ratio", ratio(log), &*at)?;
    report.note(format!(
        "stream.burst.bytes_ratio: all bytes that were written, those of the index included, {} \
         times the payload",
        shown(ratio(all))
    ));
    report.set("stream.chunk_us_mean", times.mean(), &*at)?;
    report.set("stream.chunk_us_p99", times.p99(), &*at)?;
    report.row(Row::new("stream", "a chunk of a burst", ours::FILES.name, turns).times(&times));
    Ok(())
}

/// What one answer at a steady pace brings to the disk.
struct Paced {
    /// Of the log, over payload.
    log: f64,
    /// Of everything.
    all: f64,
    syncs_per_second: f64,
}

fn paced(
    bench: &Bench,
    report: &mut Report,
    chat: &ChatSession,
    files: &CountingFileSystem,
) -> Result<()> {
    let seconds = bench.sizes.paced.as_secs_f64();
    let chunks = (seconds * f64::from(PER_SECOND)) as usize;
    let mut times = Samples::default();
    let [mut log, mut all, mut syncs] = [const { Rounds::new() }; 3];
    for _ in 0..bench.sizes.samples {
        let paced = block_on(one_paced(chunks, chat, files, &mut times))?;
        log.push(paced.log);
        all.push(paced.all);
        syncs.push(paced.syncs_per_second);
    }
    let turns = bench.sizes.large();
    let at = format!("{chunks} chunks of {} bytes in {seconds:.1} s, {turns} turns", CHUNK.len());
    let with_spread = |rounds: &Rounds| format!("{at}, {}", rounds.spread());
    report.set("stream.paced.bytes_ratio", log.median(), with_spread(&log))?;
    report.set("stream.paced.fsyncs_per_s", syncs.median(), with_spread(&syncs))?;
    report.note(format!(
        "stream.paced.bytes_ratio: all bytes that were written, those of the index included, {} \
         times the payload, {}",
        shown(all.median()),
        all.spread()
    ));
    report.row(Row::new("stream", "a chunk at 50/s", ours::FILES.name, turns).times(&times));
    Ok(())
}

async fn one_paced(
    chunks: usize,
    chat: &ChatSession,
    files: &CountingFileSystem,
    times: &mut Samples,
) -> Result<Paced> {
    let mut changes = chat.subscribe();
    let mut answer = chat.ask("Tell me all of it, slowly").await?;
    let (all_before, before) = (all_written()?, files.counts());
    let start = Instant::now();
    for number in 0..chunks {
        pace(start, number, PER_SECOND);
        let call = Instant::now();
        answer.append_text(CHUNK).await?;
        times.push(call.elapsed());
        while changes.try_next().is_some() {}
    }
    pace(start, chunks, PER_SECOND);
    let streamed = files.counts() - before;
    let took = start.elapsed().as_secs_f64();
    answer.complete().await?;
    let payload = (chunks * CHUNK.len()) as f64;
    Ok(Paced {
        log: (files.counts() - before).written as f64 / payload,
        all: (all_written()? - all_before) as f64 / payload,
        syncs_per_second: streamed.syncs as f64 / took,
    })
}
