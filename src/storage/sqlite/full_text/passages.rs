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

fn encode_length(mut length: usize, out: &mut Vec<u8>) {
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
    Ok(look_at(bytes)?.into_iter().map(own).collect())
}

/// The passages without copies.
pub(super) fn look_at(bytes: &[u8]) -> Result<Vec<Looked<'_>>> {
    let damaged = || SqliteError::damaged("a turn's text is not what was written");
    let Some((&VERSION, mut rest)) = bytes.split_first() else { return Err(damaged()) };
    let mut passages = Vec::new();
    while let Some((role, after)) = rest.split_first() {
        let role = match role {
            0 => PassageRole::Title,
            1 => PassageRole::User,
            2 => PassageRole::Assistant,
            3 => PassageRole::Tool,
            _ => return Err(damaged()),
        };
        let (kind, after) = decode_text(after).ok_or_else(damaged)?;
        let (text, after) = decode_text(after).ok_or_else(damaged)?;
        passages.push(Looked { role, kind, text });
        rest = after;
    }
    Ok(passages)
}

fn decode_text(bytes: &[u8]) -> Option<(&str, &[u8])> {
    let (mut length, mut shift, mut rest) = (0_usize, 0, bytes);
    loop {
        let (byte, after) = rest.split_first()?;
        rest = after;
        length |= usize::from(byte & 0x7f).checked_shl(shift)?;
        shift += 7;
        if byte & 0x80 == 0 {
            break;
        }
    }
    let (text, rest) = rest.split_at_checked(length)?;
    Some((std::str::from_utf8(text).ok()?, rest))
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
