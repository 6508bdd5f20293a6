//! What ranking asks of a turn's text, in a tenth of its bytes: nearly all words are in a turn once,
//! which the index says, and those that are there more often are noted here.
//!
//! A byte for the version, the length of the text of each role in bytes, in LEB128, and the hashes
//! of all words that are there more than once, ascending: CRC-32, four bytes each, the lowest first.

use super::passages::{decode_length, encode_length};
use super::{ROLES, Result};
use crate::storage::sqlite::SqliteError;
use crate::storage::text::scan::Counted;
use crate::storage::{Passage, Term, TextOrder, TextQuery};

const VERSION: u8 = 1;

/// Notes the words of a turn as they are cut.
#[derive(Debug, Default)]
pub(super) struct Words(Vec<u32>);

impl Words {
    pub(super) fn add(&mut self, word: &str) {
        self.0.push(crc32fast::hash(word.as_bytes()));
    }

    /// The digest of the turn that all words of these passages were added of.
    pub(super) fn digest(mut self, passages: &[Passage]) -> Vec<u8> {
        self.0.sort_unstable();
        let repeated = self.0.chunk_by(|a, b| a == b).filter(|same| same.len() > 1);
        let mut out = vec![VERSION];
        for role in ROLES {
            let of_role = passages.iter().filter(|passage| passage.role == role);
            encode_length(of_role.map(|passage| passage.text.len()).sum(), &mut out);
        }
        repeated.flat_map(|same| same.first()).for_each(|hash| out.extend(hash.to_le_bytes()));
        out
    }
}

/// The words that a search ranks by, where digests can tell all that it asks of a turn.
#[derive(Debug)]
pub(super) struct Asked<'q> {
    query: &'q TextQuery,
    hashes: Vec<u32>,
}

impl<'q> Asked<'q> {
    /// None where texts must be read: for the kinds of parts, and to rank by phrases or by words
    /// that begin so.
    pub(super) fn of(query: &'q TextQuery) -> Option<Self> {
        if query.kind.is_some() {
            return None;
        }
        if query.order == TextOrder::Newest {
            return Some(Self { query, hashes: Vec::new() });
        }
        let hash = |term: &Term| match term.tokens() {
            [word] if !term.is_prefix() => Some(crc32fast::hash(word.as_bytes())),
            _ => None,
        };
        let hashes = query.all.iter().map(hash).collect::<Option<_>>()?;
        Some(Self { query, hashes })
    }

    /// How often the words are in a turn that has all of them; none if its text must be read to know.
    /// Of the newest turns nobody asks.
    pub(super) fn count(&self, digest: &[u8]) -> Result<Option<Counted>> {
        let damaged = || SqliteError::damaged("a turn's digest is not what was written");
        let Some((&VERSION, mut rest)) = digest.split_first() else { return Err(damaged()) };
        let mut length = 0_u64;
        for role in ROLES {
            let (of_role, after) = decode_length(rest).ok_or_else(damaged)?;
            rest = after;
            if self.query.role.is_none_or(|asked| asked == role) {
                length = length.checked_add(of_role as u64).ok_or_else(damaged)?;
            }
        }
        let (repeated, []) = rest.as_chunks() else { return Err(damaged()) };
        let is_repeated = |hash: &u32| {
            repeated.binary_search_by(|other| u32::from_le_bytes(*other).cmp(hash)).is_ok()
        };
        let once = !self.hashes.iter().any(is_repeated);
        Ok(once.then(|| Counted::once(self.hashes.len(), length)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::PassageRole;

    fn digest_of(texts: &[(PassageRole, &str)]) -> Vec<u8> {
        let mut words = Words::default();
        let passage = |(role, text): &(PassageRole, &str)| {
            text.split(' ').for_each(|word| words.add(word));
            Passage { role: *role, kind: "k".to_owned(), text: (*text).to_owned() }
        };
        let passages: Vec<_> = texts.iter().map(passage).collect();
        words.digest(&passages)
    }

    fn count(digest: &[u8], words: &[&str], role: Option<PassageRole>) -> Option<Counted> {
        let all = words.iter().map(|word| Term::new(word).unwrap()).collect();
        let query = TextQuery { role, order: TextOrder::Relevance, ..TextQuery::new(all) };
        Asked::of(&query).unwrap().count(digest).unwrap()
    }

    #[test]
    fn a_word_that_is_there_once_is_known_to_be() {
        use PassageRole::{Assistant, User};
        let digest = digest_of(&[(User, "alpha beta"), (Assistant, "beta gamma delta")]);
        assert_eq!(digest.len(), 1 + 4 + 4);
        assert_eq!(count(&digest, &["alpha", "gamma"], None), Some(Counted::once(2, 26)));
        assert_eq!(count(&digest, &["alpha"], Some(User)), Some(Counted::once(1, 10)));
        assert_eq!(count(&digest, &["alpha", "beta"], None), None);
        assert_eq!(count(&digest, &["beta"], Some(User)), None);
    }

    #[test]
    fn only_whole_words_of_any_kind_can_be_asked_for() {
        let order = TextOrder::Relevance;
        let query = |term: Term| TextQuery { order, ..TextQuery::new(vec![term]) };
        assert!(Asked::of(&query(Term::new("alpha").unwrap())).is_some());
        assert!(Asked::of(&query(Term::new("alpha beta").unwrap())).is_none());
        assert!(Asked::of(&query(Term::prefix("alpha").unwrap())).is_none());
        let kind = Some("k".to_owned());
        assert!(Asked::of(&TextQuery { kind, ..query(Term::new("a").unwrap()) }).is_none());
    }

    #[test]
    fn a_digest_that_was_cut_or_changed_is_damage() {
        let digest = digest_of(&[(PassageRole::User, "alpha alpha")]);
        let query = TextQuery::new(vec![Term::new("alpha").unwrap()]);
        let asked = Asked::of(&query).unwrap();
        for end in 0..digest.len() {
            // Without any hash it is the digest of other words.
            assert_eq!(asked.count(&digest[..end]).is_err(), end != 5, "{end}");
        }
        let mut newer = digest;
        newer[0] = VERSION + 1;
        let error = crate::Error::from(asked.count(&newer).unwrap_err());
        assert_eq!(error.kind(), crate::ErrorKind::Corrupt);
    }
}
