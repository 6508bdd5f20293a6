//! A key-value engine of one's own, one file that is rewritten on each commit, and the suite that
//! tells whether it keeps what the storage on it promises.
//!
//! ```sh
//! cargo run --example custom_storage --features conformance
//! ```
#![expect(clippy::expect_used, reason = "an example stops at what it does not expect")]

use std::collections::BTreeMap;
use std::io::Write as _;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use chatkeep::part::Markdown;
use chatkeep::storage::conformance;
use chatkeep::storage::key_value::{Committed, KeyValue, KeyValueStorage, Order, WriteBatch};
use chatkeep::storage::{Capabilities, Durability};
use chatkeep::{ChatStore, Error, ErrorKind, NewSession, Result};

/// All pairs in memory, and the same pairs in one JSON file.
#[derive(Clone)]
struct OneFile {
    path: Arc<PathBuf>,
    pairs: Arc<Mutex<BTreeMap<Bytes, Bytes>>>,
}

impl OneFile {
    fn open(path: &Path) -> Result<Self> {
        let pairs: Vec<(Vec<u8>, Vec<u8>)> = match std::fs::read(path) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(|e| {
                Error::new(ErrorKind::Corrupt, "the file is not one of ours").caused_by(e)
            })?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(unavailable(error)),
        };
        let pairs = pairs.into_iter().map(|(key, value)| (key.into(), value.into())).collect();
        Ok(Self { path: Arc::new(path.to_owned()), pairs: Arc::new(Mutex::new(pairs)) })
    }

    /// Written beside the old file, synced, and moved into its place.
    fn save(&self, pairs: &BTreeMap<Bytes, Bytes>) -> std::io::Result<()> {
        let pairs: Vec<(&[u8], &[u8])> = pairs.iter().map(|(k, v)| (&**k, &**v)).collect();
        let folder = self.path.parent().unwrap_or(Path::new("."));
        let mut file = tempfile::NamedTempFile::new_in(folder)?;
        file.write_all(&serde_json::to_vec(&pairs)?)?;
        file.as_file().sync_all()?;
        file.persist(&*self.path)?;
        std::fs::File::open(folder)?.sync_all()
    }
}

fn unavailable(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::new(ErrorKind::Unavailable, "the file cannot be used").caused_by(error)
}

#[async_trait]
impl KeyValue for OneFile {
    async fn get(&self, key: &[u8]) -> Result<Option<Bytes>> {
        let pairs = self.pairs.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(pairs.get(key).cloned())
    }

    async fn scan(
        &self,
        range: Range<Bytes>,
        limit: usize,
        order: Order,
    ) -> Result<Vec<(Bytes, Bytes)>> {
        if range.start >= range.end {
            return Ok(Vec::new());
        }
        let pairs = self.pairs.lock().unwrap_or_else(PoisonError::into_inner);
        let found = pairs.range(range).map(|(key, value)| (key.clone(), value.clone()));
        Ok(match order {
            Order::Ascending => found.take(limit).collect(),
            Order::Descending => found.rev().take(limit).collect(),
        })
    }

    async fn commit(&self, batch: WriteBatch) -> Result<Committed> {
        let mut pairs = self.pairs.lock().unwrap_or_else(PoisonError::into_inner);
        for (place, condition) in batch.conditions.iter().enumerate() {
            if pairs.get(&condition.key) != condition.value.as_ref() {
                return Ok(Committed::Failed(place));
            }
        }
        let mut changed = pairs.clone();
        for key in &batch.deletes {
            changed.remove(key);
        }
        changed.extend(batch.puts);
        self.save(&changed).map_err(|error| {
            // The old file may or may not have been replaced already.
            Error::new(ErrorKind::Indeterminate, "the file was not written").caused_by(error)
        })?;
        *pairs = changed;
        Ok(Committed::Done)
    }
}

fn main() -> Result<()> {
    let folder = tempfile::tempdir().map_err(unavailable)?;
    pollster::block_on(chat(&folder.path().join("chats.json")))?;

    // The suite makes a fresh engine for each of its cases.
    let next = std::sync::atomic::AtomicU64::new(0);
    let report = conformance::run(|| {
        let number = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let engine = OneFile::open(&folder.path().join(format!("case-{number}.json")));
        conformance::of_key_value(engine.expect("a new file"), Some(capabilities()))
    });
    println!("{report}");
    assert!(report.is_passed());
    Ok(())
}

fn capabilities() -> Capabilities {
    let mut capabilities = Capabilities::new("one file");
    capabilities.persistent = true;
    capabilities.durability = Durability::Synced;
    capabilities
}

async fn chat(path: &Path) -> Result<()> {
    let storage = KeyValueStorage::new(OneFile::open(path)?).with_capabilities(capabilities());
    let store = ChatStore::builder(storage).build().await?;
    let chat = store.local().create(NewSession::titled("Parser")).await?;
    chat.record("Why does it loop?", [Markdown::new("The sentinel is never reached.")]).await?;

    let storage = KeyValueStorage::new(OneFile::open(path)?).with_capabilities(capabilities());
    let store = ChatStore::builder(storage).build().await?;
    let chat = store.local().open(chat.id()).await?;
    println!("restored from one file: {} turn(s)\n", chat.model().turns().len());
    assert_eq!(chat.model().turns().len(), 1);
    Ok(())
}
