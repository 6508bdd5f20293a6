//! Chunks of an answer: what the caller spends on each, and what reaches the disk.

use std::sync::Arc;
use std::time::Instant;

use chatkeep::storage::FileStorage;
use chatkeep::storage::file::{CountingFileSystem, RealFileSystem};
use chatkeep::{ChatSession, Storage};
use pollster::block_on;

use crate::cost::pace;
use crate::data::Data;
use crate::harness::{Bench, Result, Samples, remove};
use crate::ours;
use crate::report::{Report, Row};

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
    block_on(paced(bench, report, chat.as_async(), &files))?;
    drop((chat, store));
    ours::close(storage)?;
    remove(&folder)
}

async fn burst(
    bench: &Bench,
    report: &mut Report,
    chat: &ChatSession,
    files: &CountingFileSystem,
) -> Result<()> {
    let (chunks, rounds) = (BURST / CHUNK.len(), bench.sizes.rounds);
    let mut changes = chat.subscribe();
    let (mut times, mut written) = (Samples::default(), 0);
    for _ in 0..rounds {
        let mut answer = chat.ask("Tell me all of it").await?;
        let before = files.counts();
        for _ in 0..chunks {
            let start = Instant::now();
            answer.append_text(CHUNK).await?;
            times.push(start.elapsed());
            while changes.try_next().is_some() {}
        }
        answer.complete().await?;
        written += (files.counts() - before).written;
    }
    let turns = bench.sizes.large();
    let at = format!("{chunks} chunks, {rounds} rounds, {turns} turns");
    let ratio = written as f64 / (BURST * rounds) as f64;
    report.set("stream.burst.bytes_ratio", ratio, &*at)?;
    report.set("stream.chunk_us_mean", times.mean(), &*at)?;
    report.set("stream.chunk_us_p99", times.p99(), &*at)?;
    report.row(Row::new("stream", "a chunk of a burst", ours::FILES.name, turns).times(&times));
    Ok(())
}

async fn paced(
    bench: &Bench,
    report: &mut Report,
    chat: &ChatSession,
    files: &CountingFileSystem,
) -> Result<()> {
    let seconds = bench.sizes.paced.as_secs_f64();
    let chunks = (seconds * f64::from(PER_SECOND)) as usize;
    let mut changes = chat.subscribe();
    let mut answer = chat.ask("Tell me all of it, slowly").await?;
    let (before, start) = (files.counts(), Instant::now());
    let mut times = Samples::default();
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
    let written = (files.counts() - before).written;
    let turns = bench.sizes.large();
    let at = format!("{chunks} chunks of {} bytes in {took:.1} s, {turns} turns", CHUNK.len());
    let ratio = written as f64 / (chunks * CHUNK.len()) as f64;
    report.set("stream.paced.bytes_ratio", ratio, &*at)?;
    report.set("stream.paced.fsyncs_per_s", streamed.syncs as f64 / took, &*at)?;
    report.row(Row::new("stream", "a chunk at 50/s", ours::FILES.name, turns).times(&times));
    Ok(())
}
