//! The marks of writers, and whether they are gone.

use crate::storage::WriterId;
use crate::storage::conformance::bench::{Bench, Stop, Verdict, ensure, ensure_eq};

pub(in super::super) async fn handles_have_marks(bench: &Bench) -> Verdict {
    let mark = bench.storage.writer();
    ensure!(!mark.0.is_empty(), "the writer's mark is empty");
    ensure_eq!(bench.storage.writer(), mark, "the mark asked for again");
    ensure!(!bench.storage.is_gone(&mark).await?, "the present writer counts as gone");
    let unknown = WriterId("nobody-knows".into());
    // Not knowing a writer is no knowledge that it is gone; only its engine can tell.
    if !bench.capabilities.knows_writers {
        ensure!(!bench.storage.is_gone(&unknown).await?, "an unknown writer counts as gone");
    }
    Ok(())
}

pub(in super::super) async fn lives_until_dropped(bench: &Bench) -> Verdict {
    if !bench.capabilities.knows_writers {
        return Err(Stop::Skipped("it does not know its writers"));
    }
    let second = bench.second().await?;
    let mark = second.writer();
    if mark == bench.storage.writer() {
        return Err(Stop::Skipped("the fixture's handles are one writer"));
    }
    ensure!(!bench.storage.is_gone(&mark).await?, "a living writer counts as gone");
    ensure!(!second.is_gone(&bench.storage.writer()).await?, "the first writer counts as gone");
    drop(second);
    ensure!(bench.storage.is_gone(&mark).await?, "a dropped writer counts as living");
    Ok(())
}
