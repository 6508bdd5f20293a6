//! What adapters check in the same way: batches, appends, compactions, tombstones.

use sha2::{Digest, Sha256};

use super::batch::{Batch, Durability, Expected};
use super::document::{BlobId, ExpectedDocument};
use super::ext::session_not_found;
use super::head::{Head, Incarnation, SessionKey, VersionToken};
use super::record::{Record, Revision};
use super::{Capabilities, line};
use crate::environment::{IdSource, RandomIds};
use crate::error::{Error, ErrorKind, Result};

/// The revision that a batch follows.
pub(crate) fn place_of(expected: Expected) -> Revision {
    match expected {
        Expected::New | Expected::NewIncarnation => Revision::ZERO,
        Expected::At { revision, .. } => revision,
    }
}

/// The highest base that a session may begin with: half of all revisions come after it.
const LAST_BASE: Revision = Revision::new(u64::MAX >> 1);

/// Checks a batch by itself, before anything is read.
pub(crate) fn check_batch(
    expected: Expected,
    batch: &Batch,
    capabilities: &Capabilities,
) -> Result<()> {
    if batch.records.is_empty() {
        return Err(Error::invalid("a batch has at least one record"));
    }
    if batch.head.is_none() && !matches!(expected, Expected::At { .. }) {
        return Err(Error::invalid("a session's first batch carries its head"));
    }
    if batch.base > Revision::ZERO && matches!(expected, Expected::At { .. }) {
        return Err(Error::invalid("only a session's first batch has a base"));
    }
    if batch.base > LAST_BASE {
        return Err(
            Error::invalid("a base leaves no room for what follows it").with("base", batch.base)
        );
    }
    let mut last = place_of(expected);
    for record in &batch.records {
        let compacted = record.revision > last && record.revision <= batch.base;
        if last < batch.base && !compacted && record.revision != batch.base.next() {
            return Err(Error::invalid("a batch's revisions do not fit its base")
                .with("record", record.revision)
                .with("base", batch.base));
        }
        if last >= batch.base && record.revision != last.next() {
            return Err(Error::invalid("a batch's revisions are not dense")
                .with("record", record.revision)
                .with("expected", last.next()));
        }
        if record.batch != batch.id {
            return Err(Error::invalid("a record names another batch than its own")
                .with("record", record.revision));
        }
        check_record(record, capabilities)?;
        last = record.revision;
    }
    Ok(())
}

fn check_record(record: &Record, capabilities: &Capabilities) -> Result<()> {
    line::check_kind(&record.kind)?;
    let bytes = record.body.bytes();
    if bytes.len() > capabilities.max_record {
        return Err(Error::limit_exceeded(format!(
            "a record's body has {} bytes, at most {} are allowed",
            bytes.len(),
            capabilities.max_record
        ))
        .with("record", record.revision));
    }
    line::check_body(&record.body).map_err(|error| error.with("record", record.revision))
}

/// Where a session stands, as far as an append asks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Standing {
    pub(crate) incarnation: Incarnation,
    pub(crate) revision: Revision,
    pub(crate) epoch: u64,
}

impl From<&Head> for Standing {
    fn from(head: &Head) -> Self {
        let (incarnation, revision) = (head.incarnation, head.revision);
        Self { incarnation, revision, epoch: head.fields.epoch }
    }
}

/// Decides an append that has not landed yet: which life it belongs to, or why it may not.
///
/// `buried` is the last life that the id's tombstone names.
pub(crate) fn decide(
    key: &SessionKey,
    expected: Expected,
    epoch: Option<u64>,
    stands: Option<Standing>,
    buried: Option<Incarnation>,
) -> Result<Incarnation> {
    let (incarnation, revision) = match (expected, stands, buried) {
        (Expected::New | Expected::NewIncarnation, Some(_), _) => {
            return Err(
                Error::already_exists("the session's id is in use").with("session", &key.id)
            );
        }
        (Expected::New, None, Some(_)) => {
            return Err(Error::new(
                ErrorKind::Deleted,
                "the session was deleted, and its id stays deleted",
            )
            .with("session", &key.id));
        }
        (Expected::New | Expected::NewIncarnation, None, None) => return Ok(Incarnation::FIRST),
        (Expected::NewIncarnation, None, Some(buried)) => return Ok(buried.next()),
        (Expected::At { incarnation, revision }, ..) => (incarnation, revision),
    };
    let stands = stands
        .filter(|stands| stands.incarnation == incarnation)
        .ok_or_else(|| session_not_found(key))?;
    if epoch.is_some_and(|epoch| epoch < stands.epoch) {
        return Err(Error::fenced("another writer has taken the response over")
            .with("session", &key.id)
            .with("epoch", stands.epoch));
    }
    if stands.revision != revision {
        return Err(Error::conflict("the session has moved on")
            .with("session", &key.id)
            .with("expected", revision)
            .with("revision", stands.revision));
    }
    Ok(incarnation)
}

/// Checks a compaction against where the session stands.
pub(crate) fn check_compaction(
    key: &SessionKey,
    head: &Head,
    guard: &Head,
    through: Revision,
    records: &[Record],
    capabilities: &Capabilities,
) -> Result<()> {
    let same = |a: &Head| (a.incarnation, a.base, a.revision);
    if same(head) != same(guard) {
        return Err(Error::conflict("the session changed since it was read for compaction")
            .with("session", &key.id)
            .with("revision", head.revision)
            .with("base", head.base));
    }
    if through < head.base || through > head.revision || through == Revision::ZERO {
        return Err(Error::invalid("a compaction ends between the base and the last revision")
            .with("session", &key.id)
            .with("through", through));
    }
    let mut last = Revision::ZERO;
    for record in records {
        if record.revision <= last || record.revision > through {
            return Err(Error::invalid("the compacted records are not in order up to its end")
                .with("session", &key.id)
                .with("record", record.revision));
        }
        check_record(record, capabilities)?;
        last = record.revision;
    }
    Ok(())
}

/// The durability that is achieved when `asked` is asked of an engine that can do `best`.
pub(crate) fn achieved(asked: Durability, best: Durability) -> Durability {
    asked.min(best)
}

/// A store's own random bytes, so that its tombstones do not give away which ids they are for.
#[derive(Clone, Copy)]
pub(crate) struct Salt([u8; 16]);

impl Salt {
    pub(crate) fn random() -> Self {
        let mut salt = [0; 16];
        salt[..8].copy_from_slice(&RandomIds.next_u64().to_be_bytes());
        salt[8..].copy_from_slice(&RandomIds.next_u64().to_be_bytes());
        Self(salt)
    }

    pub(crate) fn bytes(&self) -> &[u8; 16] {
        &self.0
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    /// The name of a session's tombstone.
    pub(crate) fn grave(&self, key: &SessionKey) -> [u8; 32] {
        grave(&self.0, key)
    }
}

/// The name of a session's tombstone, under a store's salt.
pub(crate) fn grave(salt: &[u8], key: &SessionKey) -> [u8; 32] {
    let mut hasher = Sha256::new();
    // Each with its length, so that no two sessions run together into the same bytes.
    for part in [salt, key.owner.as_str().as_bytes(), key.id.as_str().as_bytes()] {
        hasher.update((part.len() as u64).to_le_bytes());
        hasher.update(part);
    }
    hasher.finalize().into()
}

/// Checks a blob by itself.
pub(crate) fn check_blob(id: &BlobId, content: &[u8], capabilities: &Capabilities) -> Result<()> {
    if content.len() > capabilities.max_blob {
        return Err(Error::limit_exceeded(format!(
            "a blob has {} bytes, at most {} are allowed",
            content.len(),
            capabilities.max_blob
        )));
    }
    if BlobId::of(content) != *id {
        return Err(Error::invalid("the content has another hash").with("blob", id));
    }
    Ok(())
}

/// The longest name of a document, in bytes.
const MAX_DOCUMENT_NAME: usize = 200;

/// Checks a document's name.
pub(crate) fn check_document_name(name: &str) -> Result<()> {
    if name.is_empty() || name.len() > MAX_DOCUMENT_NAME {
        return Err(Error::invalid(format!(
            "a document's name is {} bytes long, it must be 1 to {MAX_DOCUMENT_NAME}",
            name.len()
        )));
    }
    Ok(())
}

/// Checks a document's version before it is written or removed.
pub(crate) fn check_version(
    name: &str,
    expected: &ExpectedDocument,
    actual: Option<&VersionToken>,
) -> Result<()> {
    let fits = match expected {
        ExpectedDocument::Any => true,
        ExpectedDocument::Absent => actual.is_none(),
        ExpectedDocument::Version(version) => actual == Some(version),
    };
    if fits {
        return Ok(());
    }
    Err(Error::conflict("the document is in another version").with("document", name))
}
