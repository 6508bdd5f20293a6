//! Random operations, compared one by one with the same on [`MemoryStorage`].

use bytes::Bytes;

use crate::error::{ErrorKind, Result};
use crate::storage::conformance::bench::{
    Bench, Draft, Stop, Verdict, ensure_eq, key_of, plain, time, title,
};
use crate::storage::{
    Batch, BlobId, DocumentScope, Expected, ExpectedDocument, Head, HeadFields, Incarnation,
    ListQuery, LogPage, MemoryStorage, ReadRange, Record, Revision, SessionKey, Storage,
    StorageExt,
};

pub(in super::super) async fn seed_1(bench: &Bench) -> Verdict {
    agrees(bench, 0x1234_5678).await
}

pub(in super::super) async fn seed_2(bench: &Bench) -> Verdict {
    agrees(bench, 0xdead_beef_cafe).await
}

pub(in super::super) async fn seed_3(bench: &Bench) -> Verdict {
    agrees(bench, 0x0042_4242_4242_4242).await
}

pub(in super::super) async fn seed_4(bench: &Bench) -> Verdict {
    agrees(bench, 0x7fff_ffff_0000_0001).await
}

/// What one operation did, in a form that two storages can be compared by.
type Seen = std::result::Result<String, ErrorKind>;

const STEPS: usize = 250;

async fn agrees(bench: &Bench, seed: u64) -> Verdict {
    let model = MemoryStorage::new();
    let handles = [bench.second().await?, bench.second().await?];
    let mut random = Random(seed);
    let mut earlier: Vec<(SessionKey, Expected, Batch)> = Vec::new();
    for step in 0..STEPS {
        let operation = Operation::any(&mut random, &model, &mut earlier).await?;
        let expected = operation.run(&model).await;
        let got = operation.run(&*handles[random.below(2)]).await;
        ensure_eq!(got, expected, "step {step} of seed {seed:#x}, {operation:?}");
        if let Operation::Append(key, ..) | Operation::Purge(key) | Operation::Compact(key, ..) =
            &operation
        {
            let read = Operation::Read(key.clone(), ReadRange::After(Revision::ZERO));
            let (got, expected) = (read.run(&*bench.storage).await, read.run(&model).await);
            ensure_eq!(got, expected, "the log after step {step} of seed {seed:#x}");
        }
    }
    Ok(())
}

/// Xorshift: small, and the same everywhere.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as usize % end.max(1)
    }

    fn of<T: Clone>(&mut self, values: &[T]) -> T {
        values[self.below(values.len())].clone()
    }
}

#[derive(Debug)]
enum Operation {
    Append(SessionKey, Expected, Batch),
    Read(SessionKey, ReadRange),
    Compact(SessionKey, Revision, Vec<Record>, Head),
    Purge(SessionKey),
    PutBlob(SessionKey, Bytes),
    GetBlob(SessionKey, Bytes),
    List(SessionKey, ListQuery),
    PutDocument(String, bool, Bytes),
    GetDocument(String),
    DeleteDocument(String),
}

impl Operation {
    async fn any(
        random: &mut Random,
        model: &MemoryStorage,
        earlier: &mut Vec<(SessionKey, Expected, Batch)>,
    ) -> Result<Self, Stop> {
        let key = key_of(random.of(&["a", "b"]), random.of(&["s", "t", "ss"]))?;
        let head = model.head(&key).await?;
        let blob = Bytes::from(random.of(&["", "one", "two"]));
        let name = random.of(&["d", "dd", "e"]).to_owned();
        Ok(match random.below(24) {
            0..=9 => {
                let (expected, batch) = append(random, head.as_ref());
                earlier.push((key.clone(), expected, batch.clone()));
                Self::Append(key, expected, batch)
            }
            10..=11 if !earlier.is_empty() => {
                let (key, expected, batch) = random.of(earlier);
                Self::Append(key, expected, batch)
            }
            12..=14 => Self::Read(key, range(random)),
            15 => match head {
                Some(head) => compaction(random, model, key, head).await?,
                None => Self::Purge(key),
            },
            16 => Self::Purge(key),
            17 => Self::PutBlob(key, blob),
            18 => Self::GetBlob(key, blob),
            19 => Self::PutDocument(name, random.below(2) == 0, blob),
            20 => Self::GetDocument(name),
            21 => Self::DeleteDocument(name),
            _ => Self::List(key, ListQuery::new().pinned(random.below(2) == 0).limit(2)),
        })
    }

    async fn run(&self, storage: &dyn Storage) -> Seen {
        self.try_run(storage).await.map_err(|error| error.kind())
    }

    async fn try_run(&self, storage: &dyn Storage) -> Result<String> {
        let (any, absent) = (ExpectedDocument::Any, ExpectedDocument::Absent);
        let (scope, now) = (DocumentScope::Store, time(0));
        Ok(match self {
            Self::Append(key, expected, batch) => {
                let appended = storage.append(key, *expected, batch.clone()).await?;
                format!("{:?}", plain(&appended.head))
            }
            Self::Read(key, range) => shown(&storage.read(key, *range).await?),
            Self::Compact(key, through, records, guard) => {
                let head = storage.compact(key, *through, records.clone(), guard).await?;
                format!("{:?}", plain(&head))
            }
            Self::Purge(key) => format!("{:?}", storage.purge(key).await?.incarnation),
            Self::PutBlob(key, blob) => {
                storage.put_blob(key, &BlobId::of(blob), blob.clone()).await?;
                String::new()
            }
            Self::GetBlob(key, blob) => {
                format!("{:?}", storage.get_blob(key, &BlobId::of(blob)).await?)
            }
            Self::List(key, query) => {
                let all = storage.list_all(&key.owner, query).await?;
                let all: Vec<_> = all.iter().map(|one| (&one.key, plain(&one.head))).collect();
                format!("{all:?}")
            }
            Self::PutDocument(name, replace, content) => {
                let expected = if *replace { any } else { absent };
                let content = content.clone();
                storage.put_document(&scope, name, expected, content, None, now).await?;
                String::new()
            }
            Self::GetDocument(name) => {
                let document = storage.get_document(&scope, name, now).await?;
                format!("{:?}", document.map(|document| document.content))
            }
            Self::DeleteDocument(name) => {
                storage.delete_document(&scope, name, any, now).await?;
                String::new()
            }
        })
    }
}

fn append(random: &mut Random, head: Option<&Head>) -> (Expected, Batch) {
    let revision = head.map_or(0, |head| head.revision.get());
    let incarnation = head.map_or(Incarnation::FIRST, |head| head.incarnation);
    let at = |revision| Expected::At { incarnation, revision: Revision::new(revision) };
    let (expected, after) = match (random.below(10), head) {
        (0, _) => (Expected::New, 0),
        (1, _) => (Expected::NewIncarnation, 0),
        (2, _) => (at(revision + 1), revision + 1),
        (3, _) => (at(revision / 2), revision / 2),
        (_, Some(_)) => (at(revision), revision),
        (4..=6, None) => (Expected::NewIncarnation, 0),
        (_, None) => (Expected::New, 0),
    };
    let kinds: Vec<&str> = (0..=random.below(5))
        .map(|_| random.of(&["text", "text", Record::REQUEST, Record::CHECKPOINT, "part"]))
        .collect();
    let mut draft = Draft::new(after).kinds(&kinds);
    if after == 0 || random.below(3) == 0 {
        let fields = HeadFields {
            pinned: random.below(2) == 0,
            active: time(random.below(100) as i64),
            epoch: random.below(3) as u64,
            ..title(random.of(&["x", "y"]))
        };
        draft = draft.head(fields);
    }
    if random.below(3) == 0 {
        draft = draft.epoch(random.below(3) as u64);
    }
    (expected, draft.batch())
}

fn range(random: &mut Random) -> ReadRange {
    let (revision, turns) = (Revision::new(random.below(30) as u64), random.below(5) as u64);
    match random.below(3) {
        0 => ReadRange::After(revision),
        1 => ReadRange::Newest { turns },
        _ => ReadRange::Before { revision, turns },
    }
}

/// A compaction of the session's beginning to some of its records, its guard mostly right.
async fn compaction(
    random: &mut Random,
    model: &MemoryStorage,
    key: SessionKey,
    head: Head,
) -> Result<Operation, Stop> {
    let (base, last) = (head.base.get(), head.revision.get());
    let through = base.max(1) + random.below((last - base + 1) as usize) as u64;
    let log = model.read_after(&key, Revision::ZERO).await?.records;
    let mut kept = Vec::new();
    for record in log.into_iter().filter(|record| record.revision.get() <= through) {
        if random.below(3) > 0 {
            kept.push(record);
        }
    }
    let mut guard = head;
    if random.below(5) == 0 {
        guard.revision = guard.revision.next();
    }
    Ok(Operation::Compact(key, Revision::new(through), kept, guard))
}

fn shown(page: &LogPage) -> String {
    let LogPage { head, records, earlier, later, restarted, damage } = page;
    let bodies: Vec<_> = records.iter().map(|record| record.body.bytes()).collect();
    let head = plain(head);
    format!("{head:?} {records:?} {bodies:?} {earlier} {later} {restarted} {damage:?}")
}
