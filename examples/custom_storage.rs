//! A key-value engine of one's own, one file to which each commit adds a line, and the suite that
//! tells whether it keeps what the storage on it promises.
//!
//! ```sh
//! cargo run --example custom_storage --features conformance
//! ```
#![expect(clippy::expect_used, reason = "an example stops at what it does not expect")]

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write as _;
use std::ops::Range;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use chatkeep::part::Markdown;
use chatkeep::storage::conformance;
use chatkeep::storage::key_value::{Committed, KeyValue, KeyValueStorage, Order, WriteBatch};
use chatkeep::storage::{Capabilities, Durability};
use chatkeep::{ChatStore, Error, ErrorKind, NewSession, Result};

/// All pairs in memory, and in a file all the commits that led to them.
#[derive(Clone)]
struct OneFile(Arc<Mutex<State>>);

struct State {
    pairs: BTreeMap<Bytes, Bytes>,
    file: File,
    /// Where the last whole commit ends.
    end: u64,
}

impl OneFile {
    fn open(path: &Path) -> Result<Self> {
        let mut options = File::options();
        let options = options.read(true).append(true).create(true);
        let file = options.open(path).map_err(unavailable)?;
        let text = std::fs::read_to_string(path).map_err(unavailable)?;
        let mut state = State { pairs: BTreeMap::new(), file, end: 0 };
        for line in text.split_inclusive('\n') {
            // A line that was cut off is a commit that did not come to its end.
            let Some(line) = line.strip_suffix('\n') else { break };
            for change in line.split(' ') {
                state.read(change).ok_or_else(|| {
                    let message = "the file is not one of ours";
                    Error::new(ErrorKind::Corrupt, message).with("byte", state.end)
                })?;
            }
            state.end += line.len() as u64 + 1;
        }
        state.file.set_len(state.end).map_err(unavailable)?;
        Ok(Self(Arc::new(Mutex::new(state))))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Makes one change: `key:value`, or `key` for one that goes.
    fn read(&mut self, change: &str) -> Option<()> {
        let (key, value) = change.split_once(':').map_or((change, None), |(k, v)| (k, Some(v)));
        let key = Bytes::from(BASE64.decode(key).ok()?);
        match value {
            Some(value) => self.pairs.insert(key, BASE64.decode(value).ok()?.into()),
            None => self.pairs.remove(&key),
        };
        Some(())
    }

    /// One line, one write, one sync if it is asked for.
    fn write(&mut self, batch: &WriteBatch) -> std::io::Result<()> {
        let puts = batch.puts.iter().map(|(key, value)| {
            let (key, value) = (BASE64.encode(key), BASE64.encode(value));
            format!("{key}:{value}")
        });
        let deletes = batch.deletes.iter().map(|key| BASE64.encode(key));
        let line = deletes.chain(puts).collect::<Vec<_>>().join(" ") + "\n";
        // What an earlier write that failed has left.
        self.file.set_len(self.end)?;
        self.file.write_all(line.as_bytes())?;
        if batch.durability > Durability::Buffered {
            self.file.sync_data()?;
        }
        self.end += line.len() as u64;
        Ok(())
    }
}

fn unavailable(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::new(ErrorKind::Unavailable, "the file cannot be used").caused_by(error)
}

#[async_trait]
impl KeyValue for OneFile {
    async fn get(&self, key: &[u8]) -> Result<Option<Bytes>> {
        Ok(self.state().pairs.get(key).cloned())
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
        let state = self.state();
        let found = state.pairs.range(range).map(|(key, value)| (key.clone(), value.clone()));
        Ok(match order {
            Order::Ascending => found.take(limit).collect(),
            Order::Descending => found.rev().take(limit).collect(),
        })
    }

    async fn commit(&self, batch: WriteBatch) -> Result<Committed> {
        let mut state = self.state();
        for (place, condition) in batch.conditions.iter().enumerate() {
            if state.pairs.get(&condition.key) != condition.value.as_ref() {
                return Ok(Committed::Failed(place));
            }
        }
        if batch.puts.is_empty() && batch.deletes.is_empty() {
            return Ok(Committed::Done);
        }
        state.write(&batch).map_err(|error| {
            // It may or may not be on the disk.
            Error::new(ErrorKind::Indeterminate, "the file was not written").caused_by(error)
        })?;
        for key in &batch.deletes {
            state.pairs.remove(key);
        }
        state.pairs.extend(batch.puts);
        Ok(Committed::Done)
    }
}

fn main() -> Result<()> {
    let folder = tempfile::tempdir().map_err(unavailable)?;
    pollster::block_on(chat(&folder.path().join("chats.log")))?;

    // The suite makes a fresh engine for each of its cases.
    let next = std::sync::atomic::AtomicU64::new(0);
    let report = conformance::run(|| {
        let number = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let engine = OneFile::open(&folder.path().join(format!("case-{number}.log")));
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
