//! Reading: from a revision, the newest turns, the turns before.

use crate::error::ErrorKind::Invalid;
use crate::storage::conformance::bench::{
    Bench, Draft, Verdict, at, ensure, ensure_eq, key, refused, revisions,
};
use crate::storage::{LogPage, ReadRange, Revision, StorageExt};

pub(in super::super) async fn after_every_revision(bench: &Bench) -> Verdict {
    let key = key("s")?;
    bench.begin(&key, &["session", "request", "text", "text", "request", "text"]).await?;
    for after in 0..=8_u64 {
        let page = bench.storage.read(&key, ReadRange::After(Revision::new(after))).await?;
        let expected: Vec<u64> = (after + 1..=6).collect();
        ensure_eq!(revisions(&page.records), expected, "the page after {after}");
        ensure_eq!(page.later, false, "later of the page after {after}");
        ensure_eq!(page.restarted, false, "restarted of the page after {after}");
        ensure_eq!(page.damage, vec![], "the damage of the page after {after}");
        if !page.records.is_empty() {
            ensure_eq!(page.earlier, after > 0, "earlier of the page after {after}");
        }
        ensure_eq!(page.head.revision, Revision::new(6), "the head of the page");
    }
    Ok(())
}

/// A page's first and last revision, and whether there is more before and after it.
fn shape(page: &LogPage) -> (Vec<u64>, bool, bool) {
    (revisions(&page.records), page.earlier, page.later)
}

/// Turns begin at 3, 5, 8 and 10; checkpoints stand at 1 and 6.
const KINDS: [&str; 11] = [
    "checkpoint",
    "session",
    "request",
    "text",
    "request",
    "checkpoint",
    "text",
    "request",
    "text",
    "request",
    "text",
];

pub(in super::super) async fn newest_turns(bench: &Bench) -> Verdict {
    let key = key("s")?;
    bench.begin(&key, &KINDS).await?;
    let starts = [(0, 6), (1, 6), (2, 6), (3, 5), (4, 3), (5, 1), (1000, 1), (u64::MAX, 1)];
    for (turns, start) in starts {
        let page = bench.storage.read(&key, ReadRange::Newest { turns }).await?;
        let expected = ((start..=11).collect::<Vec<u64>>(), start > 1, false);
        ensure_eq!(shape(&page), expected, "the newest {turns} turns");
    }
    Ok(())
}

pub(in super::super) async fn newest_reaches_the_checkpoint(bench: &Bench) -> Verdict {
    let (with, without) = (key("with")?, key("without")?);
    bench.begin(&with, &["session", "checkpoint", "request", "text", "request"]).await?;
    bench.begin(&without, &["session", "text", "request", "text", "request"]).await?;
    for (key, turns, start) in
        [(&with, 1, 2), (&with, 2, 2), (&with, 3, 1), (&without, 0, 1), (&without, 1, 1)]
    {
        let page = bench.storage.read(key, ReadRange::Newest { turns }).await?;
        let expected = ((start..=5).collect::<Vec<u64>>(), start > 1, false);
        ensure_eq!(shape(&page), expected, "the newest {turns} turns of {}", key.id);
    }
    // A checkpoint as the last record of all is enough for reading no turns.
    bench.add(&with, &["checkpoint"]).await?;
    let page = bench.storage.read(&with, ReadRange::Newest { turns: 0 }).await?;
    ensure_eq!(shape(&page), (vec![6], true, false), "no turns");
    Ok(())
}

pub(in super::super) async fn before_pages_back_to_the_beginning(bench: &Bench) -> Verdict {
    let key = key("s")?;
    bench.begin(&key, &KINDS).await?;
    let cases =
        [(10, 1, 8, 9), (8, 1, 5, 7), (8, 2, 3, 7), (5, 9, 1, 4), (3, 1, 1, 2), (6, 1, 5, 5)];
    for (revision, turns, start, end) in cases {
        let range = ReadRange::Before { revision: Revision::new(revision), turns };
        let page = bench.storage.read(&key, range).await?;
        let expected = ((start..=end).collect::<Vec<u64>>(), start > 1, true);
        ensure_eq!(shape(&page), expected, "{turns} turns before {revision}");
    }
    let range = ReadRange::Before { revision: Revision::new(1), turns: 1 };
    let page = bench.storage.read(&key, range).await?;
    ensure_eq!(shape(&page), (vec![], false, true), "the page before the first record");
    let range = ReadRange::Before { revision: Revision::new(5), turns: 0 };
    refused(bench.storage.read(&key, range).await, Invalid, "no turns before")
}

pub(in super::super) async fn a_long_log_comes_in_pages(bench: &Bench) -> Verdict {
    let key = key("s")?;
    let mut head = bench.begin(&key, &["session"]).await?;
    let size = (1 << 20).min(bench.capabilities.max_record);
    for _ in 0..6 {
        let mut draft = Draft::new(head.revision.get());
        for _ in 0..4 {
            draft = draft.sized("text", size);
        }
        head = bench.storage.append(&key, at(&head), draft.batch()).await?.head;
    }
    let (mut after, mut seen, mut pages) = (Revision::ZERO, Vec::new(), 0);
    loop {
        let page = bench.storage.read(&key, ReadRange::After(after)).await?;
        pages += 1;
        ensure!(!page.records.is_empty(), "an empty page after {after}, where more was promised");
        ensure_eq!(page.earlier, pages > 1, "earlier of page {pages}");
        after = page.records.last().map_or(after, |record| record.revision);
        seen.extend(revisions(&page.records));
        if !page.later {
            break;
        }
    }
    ensure_eq!(seen, (1..=25).collect::<Vec<u64>>(), "the revisions of all pages");
    let size = size as u64;
    ensure!(pages > 1 || size < 1 << 20, "a log of 24 MiB came as one page");
    ensure_eq!(bench.log(&key).await?.len(), 25, "the records read together");
    Ok(())
}

pub(in super::super) async fn many_small_records(bench: &Bench) -> Verdict {
    let key = key("s")?;
    let mut head = bench.begin(&key, &["session"]).await?;
    for _ in 0..8 {
        let draft = Draft::new(head.revision.get()).kinds(&["request"]).texts(399);
        head = bench.storage.append(&key, at(&head), draft.batch()).await?.head;
    }
    let all: Vec<u64> = (1..=3201).collect();
    ensure_eq!(revisions(&bench.log(&key).await?), all, "the log");
    let page = bench.storage.read(&key, ReadRange::Newest { turns: 5 }).await?;
    ensure_eq!(revisions(&page.records), all, "the newest turns back to the beginning");
    let range = ReadRange::Before { revision: Revision::new(3000), turns: 3 };
    let page = bench.storage.read(&key, range).await?;
    ensure_eq!(shape(&page), ((2002..3000).collect(), true, true), "three turns before 3000");
    let head_read = bench.storage.existing_head(&key).await?;
    ensure_eq!(head_read, head, "the head");
    Ok(())
}
