//! A turn's passages as bytes.
//!
//! A byte for the version, then of each passage: a byte for its role, the length of its kind, its
//! kind, the length of its text, its text. Lengths are in LEB128.

use super::Result;
use crate::storage::sqlite::SqliteError;
use crate::storage::text::scan::Looked;
use crate::storage::{Passage, PassageRole};

const VERSION: u8 = 1;

pub(in super::super) fn encode(passages: &[Passage]) -> Vec<u8> {
    let text: usize = passages.iter().map(|p| p.kind.len() + p.text.len() + 5).sum();
    let mut out = Vec::with_capacity(1 + text);
    out.push(VERSION);
    for passage in passages {
        out.push(match passage.role {
            PassageRole::Title => 0,
            PassageRole::User => 1,
            PassageRole::Assistant => 2,
            PassageRole::Tool => 3,
        });
        for text in [&passage.kind, &passage.text] {
            encode_length(text.len(), &mut out);
            out.extend_from_slice(text.as_bytes());
        }
    }
    out
}

pub(super) fn encode_length(mut length: usize, out: &mut Vec<u8>) {
    while length >= 0x80 {
        out.push((length & 0x7f) as u8 | 0x80);
        length >>= 7;
    }
    out.push(length as u8);
}

pub(in super::super) fn decode(bytes: &[u8]) -> Result<Vec<Passage>> {
    let own = |passage: Looked<'_>| Passage {
        role: passage.role,
        kind: passage.kind.to_owned(),
        text: passage.text.to_owned(),
    };
    look_at(bytes).map(|passage| passage.map(own)).collect()
}

/// The passages without copies.
pub(super) fn look_at(bytes: &[u8]) -> LookAt<'_> {
    match bytes.split_first() {
        Some((&VERSION, rest)) => LookAt { rest: Some(rest) },
        _ => LookAt { rest: None },
    }
}

/// Passage after passage. It ends with the first damage.
pub(super) struct LookAt<'t> {
    /// None where it is damaged.
    rest: Option<&'t [u8]>,
}

impl<'t> Iterator for LookAt<'t> {
    type Item = Result<Looked<'t>>;

    fn next(&mut self) -> Option<Self::Item> {
        let next = match self.rest {
            Some([]) => return None,
            Some(rest) => decode_passage(rest),
            None => None,
        };
        // After damage there is nothing.
        self.rest = Some(next.map_or(&[], |(_, rest)| rest));
        let damaged = || SqliteError::damaged("a turn's text is not what was written");
        Some(next.map(|(passage, _)| passage).ok_or_else(damaged))
    }
}

fn decode_passage(bytes: &[u8]) -> Option<(Looked<'_>, &[u8])> {
    let (role, rest) = bytes.split_first()?;
    let role = match role {
        0 => PassageRole::Title,
        1 => PassageRole::User,
        2 => PassageRole::Assistant,
        3 => PassageRole::Tool,
        _ => return None,
    };
    let (kind, rest) = decode_text(rest)?;
    let (text, rest) = decode_text(rest)?;
    Some((Looked { role, kind, text }, rest))
}

fn decode_text(bytes: &[u8]) -> Option<(&str, &[u8])> {
    let (length, rest) = decode_length(bytes)?;
    let (text, rest) = rest.split_at_checked(length)?;
    Some((std::str::from_utf8(text).ok()?, rest))
}

pub(super) fn decode_length(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let (mut length, mut shift, mut rest) = (0_usize, 0, bytes);
    loop {
        let (byte, after) = rest.split_first()?;
        rest = after;
        let part = usize::from(byte & 0x7f);
        let placed = part.checked_shl(shift)?;
        if placed >> shift != part {
            return None;
        }
        length |= placed;
        shift += 7;
        if byte & 0x80 == 0 {
            return Some((length, rest));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn passage(role: PassageRole, kind: &str, text: &str) -> Passage {
        Passage { role, kind: kind.to_owned(), text: text.to_owned() }
    }

    #[test]
    fn passages_read_back_as_they_were() {
        let long = "世界\0 ".repeat(40_000);
        let passages = [
            passage(PassageRole::Title, "title", ""),
            passage(PassageRole::User, "", "a\0b"),
            passage(PassageRole::Assistant, "acme.chart", &long),
            passage(PassageRole::Tool, "tool", &"x".repeat(127)),
            passage(PassageRole::Tool, "tool", &"x".repeat(128)),
        ];
        assert_eq!(decode(&encode(&passages)).unwrap(), passages);
        assert_eq!(decode(&encode(&[])).unwrap(), []);
    }

    #[test]
    fn what_was_cut_or_changed_is_damage() {
        let bytes = encode(&[passage(PassageRole::User, "request", "hello")]);
        for end in 0..bytes.len() {
            // One byte is the version of no passages.
            assert_eq!(decode(&bytes[..end]).is_err(), end != 1, "{end}");
        }
        for wrong in [
            &b"\x02"[..],
            b"\x01\x04\x00\x00",
            b"\x01\x01\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
        ] {
            let error = crate::Error::from(decode(wrong).unwrap_err());
            assert_eq!(error.kind(), crate::ErrorKind::Corrupt);
        }
    }
}
