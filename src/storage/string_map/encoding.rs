//! Bytes as text: keys, values, and the intent.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::error::{Error, ErrorKind, Result};

const NAME: &str = "chatkeep.";
const PREFIX: &str = "chatkeep.1/";
/// No encoded key has a plus sign in it.
pub(super) const INTENT: &str = "chatkeep.1/+intent";

pub(super) fn key(bytes: &[u8]) -> String {
    let mut text = PREFIX.to_owned();
    for &byte in bytes {
        if is_plain(byte) {
            text.push(char::from(byte));
        } else {
            // Writing to a `String` cannot fail.
            let _ = write!(text, "%{byte:02x}");
        }
    }
    text
}

fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.')
}

/// The bytes of a key; `None` if it is none of ours, or the intent's.
pub(super) fn read_key(text: &str) -> Result<Option<Bytes>> {
    let Some(encoded) = text.strip_prefix(PREFIX) else {
        if is_of_a_version(text) {
            let message = "another version of this library has keys here";
            return Err(Error::new(ErrorKind::UnsupportedVersion, message).with("key", text));
        }
        return Ok(None);
    };
    if text == INTENT {
        return Ok(None);
    }
    let bytes = decode(encoded.as_bytes()).filter(|bytes| key(bytes) == text);
    let wrong = || Error::corrupt("a key is not one that was written").with("key", text);
    bytes.map(|bytes| Some(bytes.into())).ok_or_else(wrong)
}

/// Whether a key begins like one of this library's, of any version: hosts may have others that
/// begin with its name.
fn is_of_a_version(text: &str) -> bool {
    let version = text.strip_prefix(NAME).and_then(|rest| rest.split_once('/'));
    version.is_some_and(|(version, _)| {
        !version.is_empty() && version.bytes().all(|byte| byte.is_ascii_digit())
    })
}

fn decode(mut text: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len());
    loop {
        match text {
            [] => return Some(bytes),
            [b'%', high, low, rest @ ..] => {
                let digits = [*high, *low];
                bytes.push(u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?);
                text = rest;
            }
            [byte, rest @ ..] => {
                bytes.push(*byte);
                text = rest;
            }
        }
    }
}

fn value(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) if !text.chars().any(|c| c.is_control() && c != '\n') => format!("t{text}"),
        _ => format!("b{}", BASE64.encode(bytes)),
    }
}

pub(super) fn read_value(text: String) -> Result<Bytes> {
    let wrong = || Error::corrupt("a value is not one that was written");
    if let Some(encoded) = text.strip_prefix('b') {
        return BASE64.decode(encoded).map(Bytes::from).map_err(|e| wrong().caused_by(e));
    }
    if !text.starts_with('t') {
        return Err(wrong());
    }
    Ok(Bytes::from(text).slice(1..))
}

/// The changes of a commit, as the keys and values of the map.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Intent {
    pub(super) deletes: Vec<String>,
    pub(super) puts: Vec<(String, String)>,
}

const SUM_DIGITS: usize = 8;

impl Intent {
    pub(super) fn new<'a>(
        deletes: impl Iterator<Item = &'a Bytes>,
        puts: &[(Bytes, Bytes)],
    ) -> Self {
        Self {
            deletes: deletes.map(|bytes| key(bytes)).collect(),
            puts: puts.iter().map(|(bytes, content)| (key(bytes), value(content))).collect(),
        }
    }

    pub(super) fn changes(&self) -> usize {
        self.deletes.len() + self.puts.len()
    }

    pub(super) fn write(&self) -> Result<String> {
        let json = serde_json::to_string(self)
            .map_err(|e| Error::invalid("the changes cannot be written").caused_by(e))?;
        Ok(format!("{:08x}{json}", crc32fast::hash(json.as_bytes())))
    }

    pub(super) fn read(text: &str) -> Result<Self> {
        let wrong = || Error::corrupt("the changes of an interrupted commit cannot be read");
        let (sum, json) = text.split_at_checked(SUM_DIGITS).ok_or_else(wrong)?;
        if format!("{:08x}", crc32fast::hash(json.as_bytes())) != sum {
            return Err(wrong());
        }
        serde_json::from_str(json).map_err(|e| wrong().caused_by(e))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn keys_and_values_look_like_this() {
        assert_eq!(key(b"ho-1_.\0\x01/%+\xff"), "chatkeep.1/ho-1_.%00%01%2f%25%2b%ff");
        assert_eq!(value("{\"é\":1}\nx".as_bytes()), "t{\"é\":1}\nx");
        assert_eq!(value(b"\0"), "bAA==");
        assert_eq!(value(b"\xff"), "b/w==");
    }

    #[test]
    fn what_was_not_written_is_refused() {
        for text in ["chatkeep.1/a b", "chatkeep.1/%2F", "chatkeep.1/%6a", "chatkeep.1/%2"] {
            assert_eq!(read_key(text).unwrap_err().kind(), ErrorKind::Corrupt, "{text}");
        }
        let newer = read_key("chatkeep.2/a").unwrap_err();
        assert_eq!(newer.kind(), ErrorKind::UnsupportedVersion);
        assert_eq!(read_key("theme").unwrap(), None);
        for text in ["", "x", "b!"] {
            assert_eq!(read_value(text.to_owned()).unwrap_err().kind(), ErrorKind::Corrupt);
        }
        let whole = Intent { deletes: vec!["a".to_owned()], puts: Vec::new() }.write().unwrap();
        assert!(Intent::read(&whole).is_ok());
        for cut in 0..whole.len() {
            let error = Intent::read(&whole[..cut]).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Corrupt, "{cut} bytes");
        }
    }

    proptest! {
        #[test]
        fn bytes_come_back(bytes: Vec<u8>) {
            prop_assert_eq!(read_key(&key(&bytes)).unwrap().unwrap(), bytes.clone());
            prop_assert_eq!(read_value(value(&bytes)).unwrap(), bytes);
        }
    }
}
