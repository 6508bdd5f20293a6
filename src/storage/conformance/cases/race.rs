//! Several threads over two handles: one winner, nothing lost.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Barrier};
use std::thread;

use crate::error::{Error, ErrorKind};
use crate::storage::conformance::bench::{
    Bench, Draft, Stop, Verdict, at, at_revision, ensure, ensure_eq, key, revisions, title,
};
use crate::storage::{
    Batch, BatchId, Expected, Head, HeadFields, ReadRange, Record, Revision, SessionKey, Storage,
    StorageExt,
};

const WRITERS: usize = 8;

type Outcomes<T> = Vec<Result<T, Error>>;

/// Runs one writer per thread, half of them on a second handle, all at the same moment.
async fn together<T: Send + 'static>(
    bench: &Bench,
    write: impl Fn(usize, &dyn Storage) -> Result<T, Error> + Send + Sync + 'static,
) -> Result<Outcomes<T>, Stop> {
    let handles = [Arc::clone(&bench.storage), bench.second().await?];
    let (write, barrier) = (Arc::new(write), Arc::new(Barrier::new(WRITERS)));
    let threads: Vec<_> = (0..WRITERS)
        .map(|number| {
            let storage = Arc::clone(&handles[number % 2]);
            let (write, barrier) = (Arc::clone(&write), Arc::clone(&barrier));
            thread::spawn(move || {
                barrier.wait();
                write(number, &*storage)
            })
        })
        .collect();
    threads
        .into_iter()
        .map(|thread| thread.join().map_err(|_| Stop::Failed("a writer panicked".to_owned())))
        .collect()
}

/// Whether a writer that lost reads again and goes on.
fn may_go_on(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::Conflict | ErrorKind::Busy)
}

/// The batches that landed, each with the revision that it followed, and those that were refused.
type Attempts = (Vec<(BatchId, Revision)>, Vec<BatchId>);

/// Appends so many batches where the session stands, reading it again after each conflict.
fn keep_appending(
    storage: &dyn Storage,
    key: &SessionKey,
    count: usize,
) -> Result<Attempts, Error> {
    let (mut landed, mut lost) = (Vec::new(), Vec::new());
    while landed.len() < count {
        let head = pollster::block_on(storage.existing_head(key))?;
        let batch = Draft::new(head.revision.get()).texts(2).batch();
        let id = batch.id;
        match pollster::block_on(storage.append(key, at(&head), batch)) {
            Ok(_) => landed.push((id, head.revision)),
            Err(error) if may_go_on(&error) => lost.push(id),
            Err(error) => return Err(error),
        }
    }
    Ok((landed, lost))
}

pub(in super::super) async fn one_winner_per_revision(bench: &Bench) -> Verdict {
    const EACH: usize = 12;
    let key = key("s")?;
    bench.begin(&key, &["session"]).await?;
    let written = key.clone();
    let outcomes =
        together(bench, move |_, storage| keep_appending(storage, &written, EACH)).await?;
    let log = bench.log(&key).await?;
    let last = 1 + (WRITERS * EACH * 2) as u64;
    ensure_eq!(revisions(&log), (1..=last).collect::<Vec<u64>>(), "the log");
    for outcome in outcomes {
        let (landed, lost) = outcome?;
        for (batch, after) in landed {
            let places = places(&log, batch);
            let expected = vec![after.get() + 1, after.get() + 2];
            ensure_eq!(places, expected, "the records of batch {batch}");
        }
        for batch in lost {
            ensure_eq!(places(&log, batch), Vec::<u64>::new(), "records of a refused batch");
        }
    }
    Ok(())
}

fn places(log: &[Record], batch: BatchId) -> Vec<u64> {
    log.iter().filter(|record| record.batch == batch).map(|record| record.revision.get()).collect()
}

pub(in super::super) async fn one_session_of_one_id(bench: &Bench) -> Verdict {
    for round in 0..32 {
        let key = key(&format!("s{round}"))?;
        let written = key.clone();
        let outcomes = together(bench, move |number, storage| {
            let batch = Draft::new(0).texts(1 + number).head(title(&number.to_string())).batch();
            let id = batch.id;
            let append = storage.append(&written, Expected::New, batch);
            pollster::block_on(append).map(|appended| (id, appended.head))
        })
        .await?;
        let (winners, losers) = parted(outcomes);
        ensure_eq!(winners.len(), 1, "the number of winners");
        for loser in losers {
            ensure_eq!(loser.kind(), ErrorKind::AlreadyExists, "what a loser is told");
        }
        let (batch, head) = &winners[0];
        let log = bench.log(&key).await?;
        ensure_eq!(log.len() as u64, head.revision.get(), "the length of the log");
        ensure!(log.iter().all(|record| record.batch == *batch), "a loser's records are there");
        ensure_eq!(bench.storage.existing_head(&key).await?.fields, head.fields, "the fields");
    }
    Ok(())
}

fn parted<T>(outcomes: Outcomes<T>) -> (Vec<T>, Vec<Error>) {
    let (mut winners, mut losers) = (Vec::new(), Vec::new());
    for outcome in outcomes {
        match outcome {
            Ok(value) => winners.push(value),
            Err(error) => losers.push(error),
        }
    }
    (winners, losers)
}

pub(in super::super) async fn deletion_against_writers(bench: &Bench) -> Verdict {
    for round in 0..8 {
        let key = key(&format!("s{round}"))?;
        bench.begin(&key, &["session"]).await?;
        let written = key.clone();
        let outcomes = together(bench, move |number, storage| {
            if number == 0 {
                return delete(storage, &written);
            }
            // Whoever is done before the deletion has done nothing wrong.
            keep_appending(storage, &written, 200).map(|_| ())
        })
        .await?;
        for (number, outcome) in outcomes.into_iter().enumerate() {
            match outcome {
                Ok(()) => {}
                Err(error) if number > 0 => {
                    ensure_eq!(error.kind(), ErrorKind::NotFound, "what a writer is told");
                }
                Err(error) => return Err(error.into()),
            }
        }
        ensure_eq!(bench.storage.head(&key).await?, None, "the head after the deletion");
    }
    Ok(())
}

fn delete(storage: &dyn Storage, key: &SessionKey) -> Result<(), Error> {
    loop {
        match pollster::block_on(storage.purge(key)) {
            Ok(_) => return Ok(()),
            Err(error) if may_go_on(&error) => {}
            Err(error) => return Err(error),
        }
    }
}

pub(in super::super) async fn fences_let_one_writer_through(bench: &Bench) -> Verdict {
    let key = key("s")?;
    bench.begin(&key, &["session"]).await?;
    let written = key.clone();
    let outcomes = together(bench, move |number, storage| {
        let (batch, expected) = takeover(1, 1);
        let taken: Head = pollster::block_on(storage.append(&written, expected, batch))?.head;
        let batch = Draft::new(taken.revision.get()).texts(1 + number).epoch(1).batch();
        pollster::block_on(storage.append(&written, at(&taken), batch)).map(|_| ())
    })
    .await?;
    let (winners, losers) = parted(outcomes);
    ensure_eq!(winners.len(), 1, "the number of winners");
    ensure!(losers.iter().all(|error| error.kind() == ErrorKind::Conflict), "{losers:?}");
    let head = bench.storage.existing_head(&key).await?;
    let (batch, expected) = takeover(head.revision.get(), 2);
    bench.storage.append(&key, expected, batch).await?;
    let late = Draft::new(head.revision.get()).texts(1).epoch(1).batch();
    let outcome = bench.storage.append(&key, at(&head), late).await;
    ensure_eq!(outcome.map_err(|e| e.kind()).err(), Some(ErrorKind::Fenced), "the first writer");
    Ok(())
}

/// The append by which a writer takes the response over.
fn takeover(after: u64, epoch: u64) -> (Batch, Expected) {
    let fields = HeadFields { epoch, ..title("taken") };
    (Draft::new(after).texts(1).head(fields).batch(), at_revision(after))
}

pub(in super::super) async fn every_read_is_a_prefix(bench: &Bench) -> Verdict {
    let key = key("s")?;
    bench.begin(&key, &["session"]).await?;
    let written = key.clone();
    let is_done = AtomicBool::new(false);
    let outcomes = together(bench, move |number, storage| {
        if number == 0 {
            let outcome = append_tens(storage, &written);
            is_done.store(true, Ordering::Release);
            return outcome.map(|()| None);
        }
        // As long as there is something to come between, and once after that.
        loop {
            let is_last = is_done.load(Ordering::Acquire);
            let range = match number % 2 {
                0 => ReadRange::After(Revision::ZERO),
                _ => ReadRange::Newest { turns: 1 },
            };
            let page = pollster::block_on(storage.read(&written, range))?;
            let whole: Vec<u64> = (1..=page.head.revision.get()).collect();
            // Batches are whole: the first record, and ten more with each of them.
            if revisions(&page.records) != whole || whole.len() % 10 != 1 || page.later {
                return Ok(Some((page.head.revision, page.records.len(), page.damage)));
            }
            if is_last {
                return Ok(None);
            }
        }
    })
    .await?;
    for outcome in outcomes {
        ensure_eq!(outcome?, None, "a read during appends was no prefix (revision, records)");
    }
    Ok(())
}

fn append_tens(storage: &dyn Storage, key: &SessionKey) -> Result<(), Error> {
    for _ in 0..20 {
        let head = pollster::block_on(storage.existing_head(key))?;
        let batch = Draft::new(head.revision.get()).texts(10).batch();
        pollster::block_on(storage.append(key, at(&head), batch))?;
    }
    Ok(())
}
