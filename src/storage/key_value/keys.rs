//! The keys. Each begins with a letter for what it holds; names in them are escaped and ended, so
//! that no name is the beginning of another and no id reaches another's keys.

use std::ops::Range;

use bytes::Bytes;

use crate::error::{Error, Result};
use crate::id::{OwnerId, SessionId};
use crate::storage::{BlobId, DocumentScope, Revision, SessionKey};

const HEAD: u8 = b'h';
const BLOBS: u8 = b'm';
const LINE: u8 = b'r';
const DAMAGED: u8 = b'q';
const BLOB: u8 = b'b';
const CHUNK: u8 = b'c';
const TOMBSTONE: u8 = b't';
const DOCUMENT: u8 = b'd';
const SALT: &[u8] = b"salt";

pub(super) fn salt() -> Bytes {
    Bytes::from_static(SALT)
}

pub(super) fn tombstone(grave: &[u8; 32]) -> Bytes {
    [&[TOMBSTONE][..], grave].concat().into()
}

pub(super) fn head(key: &SessionKey) -> Bytes {
    of_session(HEAD, key).into()
}

/// All heads of an owner.
pub(super) fn heads(owner: &OwnerId) -> Range<Bytes> {
    within(name(vec![HEAD], owner.as_str()))
}

/// The heads of all owners that come after this one.
pub(super) fn heads_after(owner: Option<&OwnerId>) -> Range<Bytes> {
    let all = within(vec![HEAD]);
    let start = owner.map_or(all.start, |owner| heads(owner).end);
    start..all.end
}

/// Reads whose head a key is for.
pub(super) fn session_of_head(key: &[u8]) -> Result<SessionKey> {
    let wrong = || Error::corrupt("a key among the heads does not name a session");
    let rest = key.strip_prefix(&[HEAD]).ok_or_else(wrong)?;
    let (owner, rest) = read_name(rest).ok_or_else(wrong)?;
    let (id, _) = read_name(rest).ok_or_else(wrong)?;
    let owner = OwnerId::new(owner).map_err(|e| wrong().caused_by(e))?;
    let id = SessionId::new(id).map_err(|e| wrong().caused_by(e))?;
    Ok(SessionKey::new(owner, id))
}

/// The key that says that the session lives and counts its blobs.
pub(super) fn blobs(key: &SessionKey) -> Bytes {
    of_session(BLOBS, key).into()
}

pub(super) fn line(key: &SessionKey, revision: Revision) -> Bytes {
    numbered(LINE, key, revision)
}

/// The lines from one revision to before another.
pub(super) fn lines(key: &SessionKey, range: Range<Revision>) -> Range<Bytes> {
    line(key, range.start)..line(key, range.end)
}

pub(super) fn revision_of_line(key: &[u8]) -> Result<Revision> {
    let digits = key.last_chunk().ok_or_else(|| Error::corrupt("a line's key has no revision"))?;
    Ok(Revision::new(u64::from_be_bytes(*digits)))
}

/// Where a line that could not be read is kept when a session is repaired.
pub(super) fn damaged(key: &SessionKey, revision: Revision) -> Bytes {
    numbered(DAMAGED, key, revision)
}

pub(super) fn all_damaged(key: &SessionKey) -> Range<Bytes> {
    within(of_session(DAMAGED, key))
}

fn numbered(what: u8, key: &SessionKey, revision: Revision) -> Bytes {
    let mut bytes = of_session(what, key);
    bytes.extend_from_slice(&revision.get().to_be_bytes());
    bytes.into()
}

pub(super) fn blob(key: &SessionKey, id: &BlobId) -> Bytes {
    let mut bytes = of_session(BLOB, key);
    bytes.extend_from_slice(id.to_string().as_bytes());
    bytes.into()
}

pub(super) fn all_blobs(key: &SessionKey) -> Range<Bytes> {
    within(of_session(BLOB, key))
}

/// The chunk of the blob that this key names.
pub(super) fn chunk_of(blob: &[u8], number: u32) -> Bytes {
    let mut bytes = blob.to_vec();
    bytes[0] = CHUNK;
    bytes.extend_from_slice(&number.to_be_bytes());
    bytes.into()
}

pub(super) fn all_chunks(key: &SessionKey) -> Range<Bytes> {
    within(of_session(CHUNK, key))
}

pub(super) fn document(scope: &DocumentScope, document: &str) -> Bytes {
    name(of_scope(scope), document).into()
}

/// The documents whose names begin with a prefix.
pub(super) fn documents(scope: &DocumentScope, prefix: &str) -> Range<Bytes> {
    within(escape(of_scope(scope), prefix))
}

/// Where the documents that follow this one begin.
pub(super) fn after_document(scope: &DocumentScope, document: &str) -> Bytes {
    within(name(of_scope(scope), document)).end
}

pub(super) fn name_of_document(scope: &DocumentScope, key: &[u8]) -> Result<String> {
    key.strip_prefix(&of_scope(scope)[..])
        .and_then(read_name)
        .map(|(name, _)| name)
        .ok_or_else(|| Error::corrupt("a key among the documents has no name"))
}

fn of_scope(scope: &DocumentScope) -> Vec<u8> {
    match scope {
        DocumentScope::Owner(owner) => name(vec![DOCUMENT, b'o'], owner.as_str()),
        DocumentScope::Store => vec![DOCUMENT, b's'],
    }
}

fn of_session(what: u8, key: &SessionKey) -> Vec<u8> {
    name(name(vec![what], key.owner.as_str()), key.id.as_str())
}

/// A zero byte in a name becomes 00 FF. The end is 00 01, which is smaller than any escaped
/// character: names keep their order.
fn name(bytes: Vec<u8>, name: &str) -> Vec<u8> {
    let mut bytes = escape(bytes, name);
    bytes.extend_from_slice(&[0, 1]);
    bytes
}

fn escape(mut bytes: Vec<u8>, name: &str) -> Vec<u8> {
    for byte in name.bytes() {
        bytes.push(byte);
        if byte == 0 {
            bytes.push(0xff);
        }
    }
    bytes
}

fn read_name(bytes: &[u8]) -> Option<(String, &[u8])> {
    let mut name = Vec::new();
    let mut rest = bytes;
    loop {
        match rest {
            [0, 1, rest @ ..] => return Some((String::from_utf8(name).ok()?, rest)),
            [0, 0xff, after @ ..] => {
                name.push(0);
                rest = after;
            }
            [0, ..] | [] => return None,
            [byte, after @ ..] => {
                name.push(*byte);
                rest = after;
            }
        }
    }
}

/// All keys that begin so. The beginning is never empty and never all FF.
fn within(start: Vec<u8>) -> Range<Bytes> {
    let mut end = start.clone();
    while end.last() == Some(&0xff) {
        end.pop();
    }
    if let Some(last) = end.last_mut() {
        *last += 1;
    }
    start.into()..end.into()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn store(name: &str) -> Bytes {
        document(&DocumentScope::Store, name)
    }

    #[test]
    fn an_id_that_begins_like_another_has_other_keys() {
        let key = |owner, id| SessionKey::new(OwnerId::new(owner).unwrap(), id);
        let (a, ab) = (SessionId::new("a").unwrap(), SessionId::new("ab").unwrap());
        let all = Revision::ZERO..Revision::new(u64::MAX);
        let lines = lines(&key("o", a.clone()), all);
        assert!(lines.contains(&line(&key("o", a.clone()), Revision::new(u64::MAX - 1))));
        assert!(!lines.contains(&line(&key("o", ab), Revision::new(1))));
        assert!(!heads(&OwnerId::new("o").unwrap()).contains(&head(&key("oo", a.clone()))));
        assert_eq!(session_of_head(&head(&key("o", a.clone()))).unwrap(), key("o", a));
    }

    proptest! {
        #[test]
        fn names_keep_their_order_and_read_back(a in "[\u{0}\u{1}a-zé]{0,6}", b in "[\u{0}\u{1}a-zé]{0,6}") {
            prop_assert_eq!(a.cmp(&b), store(&a).cmp(&store(&b)));
            prop_assert_eq!(name_of_document(&DocumentScope::Store, &store(&a)).unwrap(), &*a);
            prop_assert!(a == b || !store(&b).starts_with(&store(&a)));
            let in_range = documents(&DocumentScope::Store, &a).contains(&store(&b));
            prop_assert_eq!(in_range, b.starts_with(&*a));
        }
    }
}
