//! A JSON document as a tree whose scalars keep their tokens.

use std::borrow::Cow;
use std::collections::HashSet;

use serde_json::value::RawValue;

use super::path::Path;
use crate::error::{Error, Result};
use crate::json::RawJson;

/// How deep a document may be nested. Less than what this crate stores, since what is read is put
/// into records and envelopes of its own.
pub(super) const MAX_DEPTH: usize = 100;

/// A JSON value: scalars as they were written, arrays and objects in their order.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Node {
    Scalar(Box<str>),
    Array(Vec<Self>),
    Object(Vec<(String, Self)>),
}

impl Node {
    /// Reads a JSON text whose first line has this number in its file.
    pub(super) fn parse(text: &str, first_line: usize) -> Result<Self> {
        let raw: &RawValue =
            serde_json::from_str(text).map_err(|error| not_json(error, first_line))?;
        let checked = RawJson::from_raw(raw)?;
        Builder { text: checked.get(), at: 0 }.value(&Path::ROOT)
    }

    pub(super) fn string(text: &str) -> Result<Self> {
        Ok(Self::Scalar(RawJson::of(text)?.get().into()))
    }

    /// The text of a string.
    pub(super) fn as_string(&self) -> Option<String> {
        match self {
            Self::Scalar(token) if token.starts_with('"') => serde_json::from_str(token).ok(),
            _ => None,
        }
    }

    pub(super) fn as_u64(&self) -> Option<u64> {
        match self {
            Self::Scalar(token) => token.parse().ok(),
            _ => None,
        }
    }

    pub(super) fn as_bool(&self) -> Option<bool> {
        match self {
            Self::Scalar(token) => token.parse().ok(),
            _ => None,
        }
    }

    pub(super) fn is_null(&self) -> bool {
        matches!(self, Self::Scalar(token) if &**token == "null")
    }

    pub(super) fn is_object(&self) -> bool {
        matches!(self, Self::Object(_))
    }

    pub(super) fn as_object(&self) -> Option<&[(String, Self)]> {
        match self {
            Self::Object(fields) => Some(fields),
            _ => None,
        }
    }

    pub(super) fn items(&self) -> &[Self] {
        match self {
            Self::Array(items) => items,
            _ => &[],
        }
    }

    /// A field's value, if this is an object that has it.
    pub(super) fn get(&self, name: &str) -> Option<&Self> {
        match self {
            Self::Object(fields) => {
                fields.iter().find(|(known, _)| known == name).map(|(_, value)| value)
            }
            _ => None,
        }
    }

    /// The value that is reached through these fields.
    pub(super) fn at(&self, names: &[&str]) -> Option<&Self> {
        names.iter().try_fold(self, |node, name| node.get(name))
    }

    /// Takes the value that is reached through these fields if it passes the test. Objects that are
    /// empty then go with it.
    pub(super) fn take(&mut self, names: &[&str], fits: impl Fn(&Self) -> bool) -> Option<Self> {
        let (name, rest) = names.split_first()?;
        let Self::Object(fields) = self else { return None };
        let at = fields.iter().position(|(known, _)| known == name)?;
        if rest.is_empty() {
            return fits(&fields[at].1).then(|| fields.remove(at).1);
        }
        let taken = fields[at].1.take(rest, fits)?;
        if matches!(&fields[at].1, Self::Object(left) if left.is_empty()) {
            fields.remove(at);
        }
        Some(taken)
    }

    /// How many arrays and objects lie inside one another.
    pub(super) fn depth(&self) -> usize {
        match self {
            Self::Scalar(_) => 0,
            Self::Array(items) => 1 + items.iter().map(Self::depth).max().unwrap_or(0),
            Self::Object(fields) => {
                1 + fields.iter().map(|(_, value)| value.depth()).max().unwrap_or(0)
            }
        }
    }

    /// The value as JSON, token for token.
    pub(super) fn to_raw(&self) -> Result<RawJson> {
        let mut text = String::new();
        self.write(&mut text)?;
        RawJson::parse(&text)
    }

    fn write(&self, out: &mut String) -> Result<()> {
        match self {
            Self::Scalar(token) => out.push_str(token),
            Self::Array(items) => {
                out.push('[');
                for (index, item) in items.iter().enumerate() {
                    out.push_str(if index == 0 { "" } else { "," });
                    item.write(out)?;
                }
                out.push(']');
            }
            Self::Object(fields) => {
                out.push('{');
                for (index, (name, value)) in fields.iter().enumerate() {
                    out.push_str(if index == 0 { "" } else { "," });
                    out.push_str(RawJson::of(name)?.get());
                    out.push(':');
                    value.write(out)?;
                }
                out.push('}');
            }
        }
        Ok(())
    }
}

fn not_json(error: serde_json::Error, first_line: usize) -> Error {
    let message = if error.is_eof() { "the JSON ends too early" } else { "it is not JSON" };
    Error::invalid(message)
        .with("line", first_line + error.line().saturating_sub(1))
        .with("column", error.column())
        .caused_by(error)
}

/// Makes the tree of a text whose grammar has been checked and that has no white space.
struct Builder<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Builder<'a> {
    fn value(&mut self, path: &Path<'_>) -> Result<Node> {
        match self.peek() {
            Some(b'{') => self.object(path),
            Some(b'[') => self.array(path),
            Some(b'"') => Ok(Node::Scalar(self.quoted()?.into())),
            _ => Ok(Node::Scalar(self.bare()?.into())),
        }
    }

    fn array(&mut self, path: &Path<'_>) -> Result<Node> {
        check_depth(path)?;
        let mut items = Vec::new();
        self.at += 1;
        while !self.closes(b']')? {
            items.push(self.value(&path.item(items.len()))?);
        }
        Ok(Node::Array(items))
    }

    fn object(&mut self, path: &Path<'_>) -> Result<Node> {
        check_depth(path)?;
        let mut fields = Vec::new();
        self.at += 1;
        while !self.closes(b'}')? {
            let name = match serde_json::from_str::<Cow<'_, str>>(self.quoted()?) {
                Ok(name) => name.into_owned(),
                Err(error) => return Err(path.invalid("a name is not text").caused_by(error)),
            };
            self.at += 1;
            let value = self.value(&path.field(&name))?;
            fields.push((name, value));
        }
        match duplicate(&fields) {
            Some(name) => Err(path.field(name).invalid("the field occurs twice")),
            None => Ok(Node::Object(fields)),
        }
    }

    /// Steps over a closing bracket, or over the comma before the next element.
    fn closes(&mut self, bracket: u8) -> Result<bool> {
        match self.peek() {
            Some(byte) if byte == bracket => {
                self.at += 1;
                return Ok(true);
            }
            Some(b',') => self.at += 1,
            Some(_) => {}
            None => return Err(ended()),
        }
        Ok(false)
    }

    fn quoted(&mut self) -> Result<&'a str> {
        let (start, bytes) = (self.at, self.text.as_bytes());
        let mut at = start + 1;
        loop {
            match bytes.get(at).ok_or_else(ended)? {
                b'"' => break,
                b'\\' => at += 2,
                _ => at += 1,
            }
        }
        self.at = at + 1;
        self.text.get(start..self.at).ok_or_else(ended)
    }

    fn bare(&mut self) -> Result<&'a str> {
        let rest = self.text.get(self.at..).ok_or_else(ended)?;
        let token = rest.split([',', ']', '}']).next().unwrap_or(rest);
        if token.is_empty() {
            return Err(ended());
        }
        self.at += token.len();
        Ok(token)
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }
}

fn ended() -> Error {
    Error::invalid("the JSON ends too early")
}

fn check_depth(path: &Path<'_>) -> Result<()> {
    if path.depth() < MAX_DEPTH {
        return Ok(());
    }
    Err(Error::limit_exceeded(format!("JSON is nested more than {MAX_DEPTH} deep")))
}

/// A name that occurs twice.
fn duplicate(fields: &[(String, Node)]) -> Option<&str> {
    /// Up to here comparing all pairs is faster than hashing.
    const FEW: usize = 16;
    if fields.len() <= FEW {
        let twice = |(at, (name, _)): (usize, &'_ (String, Node))| {
            fields[..at].iter().any(|(known, _)| known == name).then_some(at)
        };
        let at = fields.iter().enumerate().find_map(twice)?;
        return Some(&fields[at].0);
    }
    let mut seen = HashSet::with_capacity(fields.len());
    fields.iter().map(|(name, _)| name.as_str()).find(|name| !seen.insert(*name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorKind;

    #[test]
    fn tokens_and_order_stay() {
        let text = r#"{ "b" : [1e3, 123456789012345678901234567890, -0.0 , "\u00e9\"", {}, []],
            "__proto__" : {"a": null} }"#;
        let node = Node::parse(text, 1).unwrap();
        assert_eq!(
            node.to_raw().unwrap().get(),
            r#"{"b":[1e3,123456789012345678901234567890,-0.0,"\u00e9\"",{},[]],"__proto__":{"a":null}}"#
        );
    }

    #[test]
    fn taking_prunes_what_is_left_empty() {
        let mut node = Node::parse(r#"{"a":{"b":{"c":"x"}},"d":{"e":1,"f":"y"}}"#, 1).unwrap();
        let string = |node: &Node| node.as_string().is_some();
        assert!(node.take(&["a", "b", "c"], string).is_some());
        assert!(node.take(&["d", "e"], string).is_none());
        assert!(node.take(&["d", "f"], string).is_some());
        assert_eq!(node.to_raw().unwrap().get(), r#"{"d":{"e":1}}"#);
    }

    #[test]
    fn bad_input_is_named() {
        let kind = |text: &str| Node::parse(text, 7).unwrap_err();
        assert_eq!(kind(&"[".repeat(100_000)).kind(), ErrorKind::Invalid);
        let deep = |n: usize| "[".repeat(n) + &"]".repeat(n);
        assert_eq!(kind(&deep(100_000)).kind(), ErrorKind::LimitExceeded);
        assert_eq!(kind(&deep(MAX_DEPTH + 1)).kind(), ErrorKind::LimitExceeded);
        assert!(Node::parse(&deep(MAX_DEPTH), 1).is_ok());
        let twice = kind(r#"{"a":{"b":1,"b":2}}"#);
        assert_eq!(twice.context("field"), Some("a.b"));
        assert_eq!(kind(r#"{"a":"\ud800"}"#).kind(), ErrorKind::Invalid);
        assert_eq!(kind("{\n\"a\":NaN}").context("line"), Some("8"));
        assert_eq!(kind(r#"{"a":"#).message(), "the JSON ends too early");
    }
}
