//! A record as one line of text, the form in which files and key-value engines keep it.
//!
//! The line is specified in `docs/format.md`. Checksums are chained: each covers the one before
//! it, so that a line that was lost, moved or put in is noticed as well as one that was changed.

use std::borrow::Cow;
use std::fmt;
use std::io::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::head::{Head, HeadFields, Incarnation, VersionToken};
use super::record::{BatchId, Body, Record, Revision};
use crate::error::{Error, Result};
use crate::id::TurnId;

/// The checksum of a line: CRC-32 (ISO-HDLC) over the checksum before it and the line itself.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Checksum(u32);

impl Checksum {
    /// Before the first line.
    pub(crate) const START: Self = Self(0);

    fn after(self, line: &[u8]) -> Self {
        let mut hasher = crc32fast::Hasher::new();
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        // The number in hexadecimal, without memory of its own.
        let digit = |place: u32| DIGITS[(self.0 >> (28 - 4 * place) & 15) as usize];
        hasher.update(&[0, 1, 2, 3, 4, 5, 6, 7].map(digit));
        hasher.update(line);
        Self(hasher.finalize())
    }

    /// The checksum that a line should end in, whatever it does end in.
    pub(crate) fn of_line(before: Self, line: &[u8]) -> Self {
        before.after(&line[..line.len().saturating_sub(SUM_BYTES)])
    }

    /// Reads the checksum that a line ends in, without looking at the rest of it.
    pub(crate) fn at_end_of(line: &[u8]) -> Option<Self> {
        let digits = line.strip_suffix(b"\"}")?;
        let digits = std::str::from_utf8(digits.get(digits.len().checked_sub(8)?..)?).ok()?;
        u32::from_str_radix(digits, 16).ok().map(Self)
    }
}

impl fmt::Display for Checksum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", self.0)
    }
}

/// The most bytes before a line's checksum. Readers give up on what is much longer: a line that
/// was written must be one that is found again.
const LONGEST: usize = 48 << 20;

const SUM: &str = ",\"sum\":\"";
/// What follows the checksummed bytes: `,"sum":"89abcdef"}`.
const SUM_BYTES: usize = SUM.len() + 8 + 2;

/// What a line adds to its record.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Line {
    pub(crate) record: Record,
    /// How many records of the same batch follow this one.
    pub(crate) more: u64,
    /// The head after this record, on the last record of a batch that changes it.
    pub(crate) head: Option<LineHead>,
}

/// The head as a line carries it: what writers set, and what of the storage's own a reader of the
/// tail could not know otherwise.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct LineHead {
    #[serde(default = "first", skip_serializing_if = "is_first")]
    pub(crate) incarnation: Incarnation,
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(crate) base: Revision,
    /// The log's revision where compaction dropped the records that bore it; zero where the line's
    /// own revision is the log's.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(crate) through: Revision,
    #[serde(flatten)]
    pub(crate) fields: HeadFields,
}

fn first() -> Incarnation {
    Incarnation::FIRST
}

fn is_first(incarnation: &Incarnation) -> bool {
    *incarnation == Incarnation::FIRST
}

fn is_zero(revision: &Revision) -> bool {
    *revision == Revision::ZERO
}

impl LineHead {
    pub(crate) fn into_head(self, revision: Revision, token: VersionToken) -> Head {
        Head {
            incarnation: self.incarnation,
            revision,
            base: self.base,
            token,
            fields: self.fields,
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Parsed<'a> {
    rev: Revision,
    turn: TurnId,
    #[serde(borrow)]
    kind: Cow<'a, str>,
    at: Timestamp,
    #[serde(borrow)]
    batch: Cow<'a, str>,
    #[serde(default)]
    more: u64,
    head: Option<LineHead>,
    #[serde(borrow, default, deserialize_with = "even_null")]
    body: Option<&'a RawValue>,
    #[serde(borrow)]
    base64: Option<Cow<'a, str>>,
    #[serde(borrow, rename = "sum")]
    _sum: Cow<'a, str>,
}

/// A body that is `null` is a body, and not the absence of one.
fn even_null<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(from).map(Some)
}

/// Adds a record that was [checked](check_body) to `out` as one line with its line break, and
/// returns the line's checksum.
pub(crate) fn encode(
    record: &Record,
    more: u64,
    head: Option<&LineHead>,
    before: Checksum,
    out: &mut Vec<u8>,
) -> Result<Checksum> {
    let start = out.len();
    // The rest of a line is shorter than this, and so is nearly every head.
    let rest = if head.is_some() { 1_024 } else { 256 };
    out.reserve(record.body.bytes().len() + rest);
    // Writing to a `Vec` cannot fail.
    let _ = write!(
        out,
        "{{\"rev\":{},\"turn\":{},\"kind\":\"{}\",\"at\":\"{:.3}\",\"batch\":\"{}\"",
        record.revision, record.turn, record.kind, record.at, record.batch
    );
    if more > 0 {
        let _ = write!(out, ",\"more\":{more}");
    }
    if let Some(head) = head {
        out.extend_from_slice(b",\"head\":");
        serde_json::to_writer(&mut *out, head)
            .map_err(|e| Error::invalid("the head cannot be written as JSON").caused_by(e))?;
    }
    match &record.body {
        Body::Json(json) => {
            out.extend_from_slice(b",\"body\":");
            out.extend_from_slice(json);
        }
        Body::Binary(bytes) => {
            out.extend_from_slice(b",\"base64\":\"");
            out.extend_from_slice(BASE64.encode(bytes).as_bytes());
            out.push(b'"');
        }
    }
    if out.len() - start > LONGEST {
        let bytes = out.len() - start;
        out.truncate(start);
        return Err(Error::limit_exceeded(format!(
            "a record with its head takes {bytes} bytes, at most {LONGEST} are allowed"
        ))
        .with("record", record.revision));
    }
    let sum = before.after(&out[start..]);
    let _ = writeln!(out, "{SUM}{:08x}\"}}", sum.0);
    Ok(sum)
}

pub(crate) fn check_kind(kind: &str) -> Result<()> {
    let fits = |b| matches!(b, b'a'..=b'z' | b'.' | b'_');
    if kind.is_empty() || kind.len() > 32 || !kind.bytes().all(fits) {
        return Err(Error::invalid(format!("{kind:?} is not a kind of record")));
    }
    Ok(())
}

/// Checks that a body is what it says: anything but one JSON value would make its line unreadable,
/// or change what else the line says.
pub(crate) fn check_body(body: &Body) -> Result<()> {
    let Body::Json(json) = body else { return Ok(()) };
    if json.contains(&b'\n') {
        return Err(Error::invalid("a record's body contains a line break"));
    }
    let value: &RawValue = serde_json::from_slice(json)
        .map_err(|e| Error::invalid("a record's body is not one JSON value").caused_by(e))?;
    if value.get().len() != json.len() {
        return Err(Error::invalid("a record's body has white space around it"));
    }
    Ok(())
}

/// Reads one line, given without its line break. With `before` the checksum is compared.
///
/// The record's body shares the line's memory.
pub(crate) fn decode(line: &Bytes, before: Option<Checksum>) -> Result<(Line, Checksum)> {
    let sum =
        Checksum::at_end_of(line).ok_or_else(|| Error::corrupt("the line has no checksum"))?;
    if let Some(before) = before {
        let covered = &line[..line.len().saturating_sub(SUM_BYTES)];
        if before.after(covered) != sum {
            return Err(Error::corrupt("the checksum does not match"));
        }
    }
    if before.is_some()
        && let Some(line) = as_written(line)
    {
        return Ok((line, sum));
    }
    let parsed: Parsed<'_> = serde_json::from_slice(line)
        .map_err(|e| Error::corrupt("the line is not a record").caused_by(e))?;
    let body = match (parsed.body, parsed.base64) {
        (Some(json), None) => Body::Json(line.slice_ref(json.get().as_bytes())),
        (None, Some(text)) => Body::Binary(
            BASE64
                .decode(text.as_bytes())
                .map_err(|e| Error::corrupt("the body is not base64").caused_by(e))?
                .into(),
        ),
        _ => return Err(Error::corrupt("the line has no body, or two")),
    };
    check_kind(&parsed.kind).map_err(|e| Error::corrupt(e.message().to_owned()))?;
    let batch: BatchId =
        parsed.batch.parse().map_err(|e: Error| Error::corrupt(e.message().to_owned()))?;
    let record = Record {
        revision: parsed.rev,
        turn: parsed.turn,
        kind: intern(parsed.kind),
        at: parsed.at,
        batch,
        body,
    };
    Ok((Line { record, more: parsed.more, head: parsed.head }, sum))
}

/// Reads a line whose fields stand as [`encode`] writes them; `None` if they do not. Its checksum
/// says that it is as it was written, so that a body of JSON need not be looked through to find its
/// end.
fn as_written(line: &Bytes) -> Option<Line> {
    let text = std::str::from_utf8(line).ok()?;
    let (written, rest) = Written::start(text)?;
    let (head, rest) = match rest.strip_prefix(",\"head\":") {
        None => (None, rest),
        Some(rest) => {
            let mut heads = serde_json::Deserializer::from_str(rest).into_iter::<LineHead>();
            let head = heads.next()?.ok()?;
            (Some(head), rest.get(heads.byte_offset()..)?)
        }
    };
    let rest = rest.strip_prefix(",\"body\":")?;
    let (body, sum) = rest.split_at_checked(rest.len().checked_sub(SUM_BYTES)?)?;
    if body.is_empty() || !sum.starts_with(SUM) {
        return None;
    }
    check_kind(written.kind).ok()?;
    let record = Record {
        revision: Revision::new(written.rev),
        turn: TurnId::new(written.turn),
        kind: intern(Cow::Borrowed(written.kind)),
        at: written.at.parse().ok()?,
        batch: written.batch.parse().ok()?,
        body: Body::Json(line.slice_ref(body.as_bytes())),
    };
    Some(Line { record, more: written.more, head })
}

/// A line's first fields.
struct Written<'a> {
    rev: u64,
    turn: u64,
    kind: &'a str,
    at: &'a str,
    batch: &'a str,
    more: u64,
}

impl<'a> Written<'a> {
    /// The fields before the head, and what follows them.
    fn start(line: &'a str) -> Option<(Self, &'a str)> {
        let (rev, rest) = number(line.strip_prefix("{\"rev\":")?)?;
        let (turn, rest) = number(rest.strip_prefix(",\"turn\":")?)?;
        let (kind, rest) = rest.strip_prefix(",\"kind\":\"")?.split_once('"')?;
        let (at, rest) = rest.strip_prefix(",\"at\":\"")?.split_once('"')?;
        let (batch, rest) = rest.strip_prefix(",\"batch\":\"")?.split_once('"')?;
        let (more, rest) = match rest.strip_prefix(",\"more\":") {
            Some(rest) => number(rest)?,
            None => (0, rest),
        };
        Some((Self { rev, turn, kind, at, batch, more }, rest))
    }
}

/// The number at the beginning of a text, and what follows it.
fn number(text: &str) -> Option<(u64, &str)> {
    let end = text.bytes().position(|byte| !byte.is_ascii_digit())?;
    let (digits, rest) = text.split_at_checked(end)?;
    // JSON has no leading zeros.
    let plain = digits == "0" || !digits.starts_with('0');
    Some((digits.parse().ok().filter(|_| plain)?, rest))
}

/// Kinds that occur in every log are not allocated for each record.
pub(crate) fn intern(kind: Cow<'_, str>) -> Cow<'static, str> {
    const KNOWN: [&str; 6] =
        ["text", "part", Record::REQUEST, "response", Record::CHECKPOINT, "response.set"];
    KNOWN
        .into_iter()
        .find(|known| *known == kind)
        .map_or_else(|| Cow::Owned(kind.into_owned()), Cow::Borrowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(body: Body) -> Record {
        Record {
            revision: Revision::new(7),
            turn: TurnId::new(2),
            kind: "text".into(),
            at: Timestamp::from_millisecond(1_767_225_600_000).unwrap(),
            batch: BatchId::new(0xabc),
            body,
        }
    }

    #[test]
    fn a_line_is_what_the_format_says_and_reads_back() {
        let head = LineHead {
            incarnation: Incarnation::new(2),
            base: Revision::ZERO,
            through: Revision::ZERO,
            fields: HeadFields::new(Timestamp::from_millisecond(0).unwrap()),
        };
        let record = record(Body::Json(Bytes::from_static(br#"{"part":0,"text":"hi"}"#)));
        let mut out = Vec::new();
        let sum = encode(&record, 1, Some(&head), Checksum::START, &mut out).unwrap();
        insta::assert_snapshot!(String::from_utf8(out.clone()).unwrap().trim_end(), @r#"{"rev":7,"turn":2,"kind":"text","at":"2026-01-01T00:00:00.000Z","batch":"0000000000000abc","more":1,"head":{"incarnation":2,"created":"1970-01-01T00:00:00Z","active":"1970-01-01T00:00:00Z"},"body":{"part":0,"text":"hi"},"sum":"7c390ddc"}"#);
        out.pop();
        let (line, read) = decode(&out.into(), Some(Checksum::START)).unwrap();
        assert_eq!(line, Line { record, more: 1, head: Some(head) });
        assert_eq!(read, sum);
    }

    #[test]
    fn a_binary_body_is_marked_and_reads_back() {
        let record = record(Body::Binary(Bytes::from_static(b"\0\xff\n")));
        let mut out = Vec::new();
        encode(&record, 0, None, Checksum::START, &mut out).unwrap();
        assert!(String::from_utf8(out.clone()).unwrap().contains(r#""base64":"AP8K""#));
        out.pop();
        assert_eq!(decode(&out.into(), Some(Checksum::START)).unwrap().0.record, record);
    }

    #[test]
    fn every_changed_byte_and_every_other_predecessor_is_noticed() {
        let record = record(Body::Json(Bytes::from_static(br#"{"text":"hello"}"#)));
        let mut out = Vec::new();
        encode(&record, 0, None, Checksum::START, &mut out).unwrap();
        out.pop();
        for index in 0..out.len() {
            let mut changed = out.clone();
            changed[index] ^= 1;
            assert!(decode(&changed.into(), Some(Checksum::START)).is_err(), "byte {index}");
        }
        assert!(decode(&out.into(), Some(Checksum(1))).is_err());
    }

    #[test]
    fn a_null_body_reads_back() {
        let record = record(Body::Json(Bytes::from_static(b"null")));
        let mut out = Vec::new();
        encode(&record, 0, None, Checksum::START, &mut out).unwrap();
        out.pop();
        assert_eq!(decode(&out.into(), Some(Checksum::START)).unwrap().0.record, record);
    }

    #[test]
    fn what_is_not_one_json_value_cannot_get_into_a_line() {
        for body in ["{\n}", "", "{", "1 2", "1,\"sum\":\"00000000\"", " 1", "1\t"] {
            let error = check_body(&Body::Json(Bytes::from_static(body.as_bytes()))).unwrap_err();
            assert_eq!(error.kind(), crate::ErrorKind::Invalid, "{body:?}");
        }
    }
}
