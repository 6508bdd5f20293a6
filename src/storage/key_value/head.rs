//! A session's head as it is stored.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{KeyValue, KeyValueStorage, keys};
use crate::error::{Error, Result};
use crate::storage::ext::session_not_found;
use crate::storage::line::{Checksum, LineHead};
use crate::storage::{BatchId, Head, Revision, SessionKey, VersionToken};

/// What the `h` key holds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct StoredHead {
    pub(super) revision: Revision,
    /// Counts the changes to this key.
    pub(super) version: u64,
    /// Counts the compactions and repairs: a reader that sees it change begins again.
    pub(super) rewrites: u64,
    /// The checksum of the last line, which the next one continues.
    pub(super) sum: Checksum,
    /// The checksum that the first line after the base continues.
    pub(super) base_sum: Checksum,
    /// The last batch, which is known even when compaction dropped its lines.
    pub(super) batch: String,
    /// The revision that the last batch followed.
    pub(super) batch_after: Revision,
    /// The bytes of all lines.
    pub(super) bytes: u64,
    pub(super) head: LineHead,
}

const SUM_DIGITS: usize = 8;

impl StoredHead {
    pub(super) fn begin(head: LineHead) -> Self {
        Self {
            revision: Revision::ZERO,
            version: 0,
            rewrites: 0,
            sum: Checksum::START,
            base_sum: Checksum::START,
            batch: String::new(),
            batch_after: Revision::ZERO,
            bytes: 0,
            head,
        }
    }

    pub(super) fn base(&self) -> Revision {
        self.head.base
    }

    pub(super) fn is_last_batch(&self, after: Revision, batch: BatchId) -> bool {
        self.batch_after == after && self.batch == batch.to_string()
    }

    pub(super) fn to_head(&self) -> Head {
        let token = VersionToken(format!("{}.{}", self.head.incarnation, self.version));
        self.head.clone().into_head(self.revision, token)
    }

    pub(super) fn encode(&self) -> Result<Bytes> {
        let mut bytes = vec![b'0'; SUM_DIGITS];
        serde_json::to_writer(&mut bytes, self)
            .map_err(|e| Error::invalid("the head cannot be written as JSON").caused_by(e))?;
        let sum = format!("{:08x}", crc32fast::hash(&bytes[SUM_DIGITS..]));
        bytes[..SUM_DIGITS].copy_from_slice(sum.as_bytes());
        Ok(bytes.into())
    }

    pub(super) fn decode(key: &SessionKey, bytes: &[u8]) -> Result<Self> {
        let corrupt = |problem: &'static str| Error::corrupt(problem).with("session", &key.id);
        let (sum, json) =
            bytes.split_at_checked(SUM_DIGITS).ok_or_else(|| corrupt("the head is cut off"))?;
        if format!("{:08x}", crc32fast::hash(json)).as_bytes() != sum {
            return Err(corrupt("the head's checksum does not match"));
        }
        serde_json::from_slice(json).map_err(|e| corrupt("the head is not a head").caused_by(e))
    }
}

/// A head with the exact bytes that a change of it requires to be there still.
#[derive(Debug, Clone)]
pub(super) struct Present {
    pub(super) stored: StoredHead,
    pub(super) bytes: Bytes,
}

impl<K: KeyValue> KeyValueStorage<K> {
    pub(super) async fn present(&self, key: &SessionKey) -> Result<Option<Present>> {
        let Some(bytes) = self.engine().get(&keys::head(key)).await? else { return Ok(None) };
        let stored = StoredHead::decode(key, &bytes)?;
        Ok(Some(Present { stored, bytes }))
    }

    pub(super) async fn existing(&self, key: &SessionKey) -> Result<Present> {
        self.present(key).await?.ok_or_else(|| session_not_found(key))
    }
}
