//! Hints: they may come without need, they do not fail to come.

use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use futures_core::stream::BoxStream;
use futures_util::StreamExt;

use crate::storage::conformance::bench::{Bench, Stop, Verdict, ensure, ensure_eq, key, key_of};
use crate::storage::{Hint, SessionKey, Storage, WatchFilter};

/// A hint that takes longer has failed to come.
const PATIENCE: Duration = Duration::from_secs(10);

/// Waits for a hint about a session, on a thread of its own so that the wait can be given up.
fn hint(
    mut hints: BoxStream<'static, Hint>,
    key: &SessionKey,
) -> Result<BoxStream<'static, Hint>, Stop> {
    let (tell, told) = mpsc::channel();
    let wanted = key.clone();
    thread::spawn(move || {
        while let Some(hint) = pollster::block_on(hints.next()) {
            if hint.key == wanted {
                // Nobody listens any more if the wait was given up.
                let _ = tell.send(hints);
                return;
            }
        }
    });
    told.recv_timeout(PATIENCE).map_err(|_| Stop::Failed(format!("no hint about {key} came")))
}

async fn every_change_is_heard(
    bench: &Bench,
    listener: &dyn Storage,
    filter: fn(&SessionKey) -> WatchFilter,
) -> Verdict {
    let key = key("s")?;
    let hints = listener.watch(filter(&key)).await?;
    bench.begin(&key, &["session"]).await?;
    let hints = hint(hints, &key)?;
    let head = bench.add(&key, &["text"]).await?;
    let hints = hint(hints, &key)?;
    let log = bench.log(&key).await?;
    bench.storage.compact(&key, head.revision, log, &head).await?;
    let hints = hint(hints, &key)?;
    bench.storage.purge(&key).await?;
    hint(hints, &key).map(drop)
}

fn session(key: &SessionKey) -> WatchFilter {
    WatchFilter::Session(key.clone())
}

fn owner(key: &SessionKey) -> WatchFilter {
    WatchFilter::Owner(key.owner.clone())
}

pub(in super::super) async fn hears_of_own_handle(bench: &Bench) -> Verdict {
    every_change_is_heard(bench, &*bench.storage, session).await?;
    let other = Bench::open(std::sync::Arc::clone(&bench.fixture)).await?;
    let key = key("t")?;
    let hints = other.storage.watch(owner(&key)).await?;
    other.begin(&key, &["session"]).await?;
    hint(hints, &key).map(drop)
}

pub(in super::super) async fn hears_of_other_handles(bench: &Bench) -> Verdict {
    if !bench.capabilities.watches_processes {
        return Err(Stop::Skipped("it does not hear of other processes"));
    }
    let second = bench.second().await?;
    every_change_is_heard(bench, &*second, owner).await
}

pub(in super::super) async fn hears_only_what_it_asked_for(bench: &Bench) -> Verdict {
    let (mine, other, foreign) = (key("s")?, key("t")?, key_of("other", "s")?);
    let mut of_session = bench.storage.watch(session(&mine)).await?;
    let mut of_owner = bench.storage.watch(owner(&mine)).await?;
    for key in [&foreign, &other, &mine] {
        bench.begin(key, &["session"]).await?;
    }
    // What comes first would be what was changed first.
    of_session = hint(of_session, &mine)?;
    of_owner = hint(of_owner, &mine)?;
    bench.add(&foreign, &["text"]).await?;
    bench.add(&mine, &["text"]).await?;
    for (hints, what) in [(of_session, "the session"), (of_owner, "the owner")] {
        let (tell, told) = mpsc::channel();
        thread::spawn(move || tell.send(pollster::block_on(hints.into_future()).0));
        let hint = told.recv_timeout(PATIENCE).ok().flatten();
        ensure!(hint.is_some(), "no hint about {what} came");
        let owner = hint.map(|hint| hint.key.owner);
        ensure_eq!(owner, Some(mine.owner.clone()), "whose hint came to {what}");
    }
    Ok(())
}
