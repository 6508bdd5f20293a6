//! What the write path and the read path cost, beside the limit that the disk sets.
//!
//! ```sh
//! cargo bench --bench core                # prints a table
//! cargo bench --bench core -- --quick     # smaller sizes
//! cargo bench --bench core -- --check     # fails if a ratio is over its bound
//! ```
//!
//! Everything is measured in one run on one disk, in turn; medians of many calls. The figures of
//! another machine, or another hour, compare with nothing but their own limit.
#![expect(clippy::expect_used, reason = "a benchmark stops at what it does not expect")]

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use chatkeep::model::{ChatModel, ChatRequest, ChatResponse, SessionMeta};
use chatkeep::part::Markdown;
use chatkeep::storage::file::{CountingFileSystem, RealFileSystem};
use chatkeep::{
    ChatSession, ChatStore, Clock as _, FileStorage, OwnerId, RequestId, ResponseId, ResponsePart,
    ResponseState, Result, SessionId, SystemClock, Turn, TurnId,
};

/// The length of a message.
const MESSAGE: usize = 540;

struct Row {
    what: String,
    value: String,
    bound: Option<(f64, f64)>,
}

fn main() {
    let quick = std::env::args().any(|argument| argument == "--quick");
    let check = std::env::args().any(|argument| argument == "--check");
    let rows = pollster::block_on(measure(quick)).expect("the benchmark runs");
    println!("{:<58} {:>22} {:>10}", "what", "measured", "at most");
    let mut failed = Vec::new();
    for row in rows {
        let bound = row.bound.map(|(_, bound)| format!("{bound:.1}")).unwrap_or_default();
        println!("{:<58} {:>22} {:>10}", row.what, row.value, bound);
        if row.bound.is_some_and(|(value, bound)| value > bound) {
            failed.push(row.what);
        }
    }
    if !failed.is_empty() {
        println!("\nover the bound: {}", failed.join("; "));
        std::process::exit(i32::from(check));
    }
}

async fn measure(quick: bool) -> Result<Vec<Row>> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let files = Arc::new(CountingFileSystem::new(Arc::new(RealFileSystem)));
    let storage = FileStorage::with_files(
        folder.path().join("chats"),
        Arc::<CountingFileSystem>::clone(&files),
    )?;
    let store = ChatStore::builder(storage).build().await?;
    let (small, large) = (100, if quick { 5_000 } else { 100_000 });
    let rounds = if quick { 200 } else { 2_000 };
    let mut rows = Vec::new();

    let mut chats = Vec::new();
    for turns in [small, large] {
        let model = model_of(turns)?;
        chats.push((turns, store.local().import(&model).await?));
    }
    append(&mut rows, &chats, folder.path(), &files, rounds).await?;
    stream(&mut rows, &chats[1].1, &files, rounds).await?;
    let ids: Vec<_> = chats.iter().map(|(turns, chat)| (*turns, chat.id().clone())).collect();
    drop((chats, store));
    open(&mut rows, &ids, folder.path(), quick).await?;
    Ok(rows)
}

/// One durable exchange, beside a bare write and sync of as many bytes.
async fn append(
    rows: &mut Vec<Row>,
    chats: &[(u64, ChatSession)],
    folder: &Path,
    files: &CountingFileSystem,
    rounds: usize,
) -> Result<()> {
    let mut bare = OpenOptions::new()
        .create(true)
        .append(true)
        .open(folder.join("bare"))
        .expect("a file to compare with");
    let mut times = vec![Vec::new(); chats.len() + 1];
    let (mut written, mut syncs) = (0, 0);
    for round in 0..rounds {
        let before = files.counts();
        // In turn, and each as often the first.
        for step in 0..chats.len() {
            let place = (step + round) % chats.len();
            let chat = &chats[place].1;
            let start = Instant::now();
            chat.record(message(), [Markdown::new(message())]).await?;
            times[place].push(start.elapsed());
        }
        let counts = files.counts() - before;
        written += counts.written;
        syncs += counts.syncs;
        let line = vec![b'x'; usize::try_from(counts.written).unwrap_or(0) / chats.len()];
        let start = Instant::now();
        write_and_sync(&mut bare, &line);
        times[chats.len()].push(start.elapsed());
    }
    let limit = median(&mut times[chats.len()]);
    let medians: Vec<_> = times.iter_mut().take(chats.len()).map(|times| median(times)).collect();
    rows.push(plain("bare write + fdatasync of the same bytes, p50", micros(limit)));
    for ((turns, _), median) in chats.iter().zip(&medians) {
        let what = format!("append a whole exchange to {turns} turns, p50");
        rows.push(ratio(what, *median, limit, None));
    }
    let what = "append: the large session over the small one";
    rows.push(ratio(what.to_owned(), medians[1], medians[0], Some(1.3)));
    let appends = (rounds * chats.len()) as f64;
    let payload = (2 * MESSAGE) as f64 * appends;
    rows.push(bounded("append: bytes written over payload", written as f64 / payload, 2.0));
    rows.push(bounded("append: syncs per exchange", syncs as f64 / appends, 1.1));
    Ok(())
}

fn write_and_sync(file: &mut File, line: &[u8]) {
    file.write_all(line).and_then(|()| file.sync_data()).expect("the disk takes it");
}

/// What the caller spends for a chunk of five characters, with somebody subscribed.
async fn stream(
    rows: &mut Vec<Row>,
    chat: &ChatSession,
    files: &CountingFileSystem,
    rounds: usize,
) -> Result<()> {
    let mut changes = chat.subscribe();
    let mut answer = chat.ask("Tell me all of it").await?;
    let before = files.counts();
    let mut times = Vec::new();
    let chunks = rounds * 10;
    for _ in 0..chunks {
        let start = Instant::now();
        answer.append_text("chunk").await?;
        times.push(start.elapsed());
        while changes.try_next().is_some() {}
    }
    answer.complete().await?;
    let written = (files.counts() - before).written as f64;
    let mean = times.iter().sum::<Duration>().as_secs_f64() * 1e6 / times.len() as f64;
    times.sort_unstable();
    let p99 = times[times.len() * 99 / 100].as_secs_f64() * 1e6;
    rows.push(bounded("stream: microseconds per chunk, mean", mean, 5.0));
    rows.push(bounded("stream: microseconds per chunk, p99", p99, 50.0));
    let payload = (chunks * "chunk".len()) as f64;
    rows.push(bounded("stream: bytes written over payload, in a burst", written / payload, 3.0));
    Ok(())
}

/// The newest turns, and all of them, beside parsing the same document.
async fn open(
    rows: &mut Vec<Row>,
    ids: &[(u64, SessionId)],
    folder: &Path,
    quick: bool,
) -> Result<()> {
    let rounds = if quick { 5 } else { 21 };
    let mut medians = Vec::new();
    let mut read = Vec::new();
    for (turns, id) in ids {
        let mut times = Vec::new();
        for _ in 0..rounds {
            let files = Arc::new(CountingFileSystem::new(Arc::new(RealFileSystem)));
            let storage = FileStorage::with_files(
                folder.join("chats"),
                Arc::<CountingFileSystem>::clone(&files),
            )?;
            let store = ChatStore::builder(storage).build().await?;
            let before = files.counts();
            let start = Instant::now();
            let chat = store.local().open(id).await?;
            times.push(start.elapsed());
            assert!(chat.model().turns().len() >= 20);
            read.push((files.counts() - before).read as f64);
        }
        medians.push(median(&mut times));
        rows.push(plain(
            &format!("open the newest 20 of {turns} turns, p50"),
            micros(medians[medians.len() - 1]),
        ));
    }
    rows.push(ratio(
        "open: the large session over the small one".to_owned(),
        medians[1],
        medians[0],
        Some(2.0),
    ));
    let bytes = read[read.len() - 1] / read[0];
    rows.push(bounded("open: bytes read, the large session over the small one", bytes, 2.0));

    let store = ChatStore::open(folder.join("chats")).await?;
    let (turns, id) = &ids[ids.len() - 1];
    let start = Instant::now();
    let chat = store.local().open(id).await?;
    while chat.load_earlier(4_096).await? > 0 {}
    let model = chat.model();
    let characters: usize = model.turns().map(|turn| turn.response().text().len()).sum();
    let whole = start.elapsed();
    assert!(characters > 0);
    let document = chat.to_document().await?;
    let start = Instant::now();
    let value: serde_json::Value = serde_json::from_str(document.get()).expect("it is JSON");
    let parsed = start.elapsed();
    assert!(value.is_object());
    let what = format!("restore {turns} turns whole, over parsing as a Value");
    rows.push(ratio(what, whole, parsed, None));
    Ok(())
}

fn model_of(turns: u64) -> Result<ChatModel> {
    let now = SystemClock.now();
    let id = SessionId::new(format!("bench-{turns}"))?;
    let mut model = ChatModel::new(SessionMeta::new(OwnerId::local(), id, now));
    for number in 1..=turns {
        let mut request = ChatRequest::new(RequestId::new(format!("request-{number}"))?, now);
        request.message.push(message().into());
        let mut response = ChatResponse::new(ResponseId::new(format!("response-{number}"))?);
        response.state = ResponseState::Complete;
        response.parts.push(ResponsePart::new(Markdown::new(message()))?);
        let parent = (number > 1).then(|| TurnId::new(number - 1));
        model.add_turn(Turn::new(TurnId::new(number), parent, request, response))?;
    }
    Ok(model)
}

fn message() -> String {
    "The sentinel is never reached, so that the loop goes on. "
        .chars()
        .cycle()
        .take(MESSAGE)
        .collect()
}

fn median(times: &mut [Duration]) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

fn micros(time: Duration) -> String {
    format!("{:.1} µs", time.as_secs_f64() * 1e6)
}

fn plain(what: &str, value: String) -> Row {
    Row { what: what.to_owned(), value, bound: None }
}

fn bounded(what: &str, value: f64, bound: f64) -> Row {
    Row { what: what.to_owned(), value: format!("{value:.2}"), bound: Some((value, bound)) }
}

fn ratio(what: String, time: Duration, limit: Duration, bound: Option<f64>) -> Row {
    let ratio = time.as_secs_f64() / limit.as_secs_f64();
    let value = format!("{} ({ratio:.2} ×)", micros(time));
    Row { what, value, bound: bound.map(|bound| (ratio, bound)) }
}
