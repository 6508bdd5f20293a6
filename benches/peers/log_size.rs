//! How large a log becomes while answers are streamed into it, are sealed, and it is compacted.

use std::path::Path;
use std::sync::Arc;

use chatkeep::storage::FileStorage;
use chatkeep::storage::file::{CountingFileSystem, RealFileSystem};
use chatkeep::{NewSession, SessionId, Storage, blocking};

use crate::append::log_of;
use crate::data::{Data, MESSAGE};
use crate::harness::{Bench, Result, Rounds, remove};
use crate::ours;
use crate::report::Report;

const SESSION: &str = "session";
const CHUNK: usize = 5;
/// What comes in within the default delay at 50 chunks a second.
const FLUSHED: usize = 25;

/// What is said of each round.
#[derive(Default)]
struct Found {
    mean: Rounds,
    worst: Rounds,
    last: Rounds,
    ever: Rounds,
    compactions: Rounds,
}

pub(crate) fn run(bench: &Bench, report: &mut Report) -> Result<()> {
    const KEY: &str = "append.file.log_ratio";
    let turns = bench.sizes.streamed;
    eprintln!("-- append: bytes of log, {turns} streamed turns");
    let data = Data::new(1_000_000);
    let mut found = Found::default();
    for round in 0..bench.sizes.samples as u64 {
        let folder = bench.folder("append-log")?;
        one_life(&folder, &data, round * turns, turns, &mut found)?;
        remove(&folder)?;
    }
    let at = format!(
        "{turns} turns of {MESSAGE} + {MESSAGE} bytes in {CHUNK}-byte chunks, written every \
         {FLUSHED} bytes, {:.0} compactions; the log's size, mean over their second half, {}",
        found.compactions.median(),
        found.mean.spread()
    );
    report.set(KEY, found.mean.median(), at)?;
    report.note(format!(
        "{KEY}: in the second half at worst {:.2}, at the end {:.2}; all bytes ever written to the \
         log {:.2}",
        found.worst.greatest(),
        found.last.median(),
        found.ever.median()
    ));
    Ok(())
}

/// A session from its beginning.
fn one_life(folder: &Path, data: &Data, first: u64, turns: u64, found: &mut Found) -> Result<()> {
    let files = Arc::new(CountingFileSystem::new(Arc::new(RealFileSystem)));
    let counted = Arc::<CountingFileSystem>::clone(&files);
    let storage: Arc<dyn Storage> =
        Arc::new(FileStorage::with_files(folder.join("chats"), counted)?);
    let store = ours::store_on(&storage)?;
    let chat = store.local().create(NewSession::titled("Streamed").id(SessionId::new(SESSION)?))?;
    let log = log_of(folder, SESSION);
    let (mut payload, mut ratios, mut compactions, mut last) = (0, Vec::new(), 0_u32, 0);
    for turn in first..first + turns {
        payload += streamed(&chat, data, turn)?;
        let size = std::fs::metadata(&log)?.len();
        compactions += u32::from(size < last);
        last = size;
        if turn >= first + turns / 2 {
            ratios.push(size as f64 / payload as f64);
        }
    }
    found.mean.push(ratios.iter().sum::<f64>() / ratios.len() as f64);
    found.worst.push(ratios.iter().copied().fold(0.0, f64::max));
    found.last.push(last as f64 / payload as f64);
    found.ever.push(files.counts().written as f64 / payload as f64);
    found.compactions.push(f64::from(compactions));
    drop((chat, store));
    ours::close(storage)
}

/// One turn whose answer comes in chunks. Returns how many bytes were said.
fn streamed(chat: &blocking::ChatSession, data: &Data, turn: u64) -> Result<usize> {
    let turn = data.turn(turn);
    let mut answer = chat.ask(&*turn.request)?;
    // The timer that writes what has come in is taken out of it: it would only make it slower.
    for (number, chunk) in (1..).zip(turn.response.as_bytes().chunks(CHUNK)) {
        answer.append_text(std::str::from_utf8(chunk)?)?;
        if (number * CHUNK).is_multiple_of(FLUSHED) {
            chat.flush()?;
        }
    }
    answer.complete()?;
    Ok(turn.request.len() + turn.response.len())
}
