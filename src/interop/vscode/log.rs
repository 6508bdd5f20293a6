//! The operation log: one JSON object a line, a snapshot first.

use serde_json::value::RawValue;

use super::super::node::{MAX_DEPTH, Node};
use super::super::path::Path;
use super::super::reader::{Fields, Reader};
use super::super::report::Outcome;
use super::super::{Imported, blank, text};
use crate::error::{Error, Result};
use crate::json::RawJson;
use crate::model::DataEntry;

/// How many fields an object may have that operations look into: each look-up is linear, and a log
/// may hold millions of them.
const MOST_FIELDS: usize = 4096;

/// A log that has been read to its end.
#[derive(Debug)]
pub(super) struct Replayed {
    pub(super) document: Node,
    /// The text of a last line that was not written to its end.
    pub(super) torn: Option<String>,
}

/// Whether a line is an operation.
pub(in crate::interop) fn is_operation(line: &Node) -> bool {
    line.get("kind").and_then(Node::as_u64).is_some() && line.get("requests").is_none()
}

/// Applies all operations of a log.
pub(super) fn replay(bytes: &[u8], reader: &mut Reader<'_>) -> Result<Replayed> {
    let mut state = None;
    let mut torn = None;
    let last = bytes.trim_ascii_end().iter().filter(|byte| **byte == b'\n').count() + 1;
    for (index, line) in bytes.split(|byte| *byte == b'\n').enumerate() {
        if blank(line) {
            continue;
        }
        let number = index + 1;
        match text(line, number).and_then(|line| Node::parse(line, number)) {
            Ok(operation) => apply(&mut state, operation, number, reader)
                .map_err(|error| error.with("line", number))?,
            Err(_) if number == last && state.is_some() && is_cut_off(line) => {
                let detail = "it ends in the middle; kept as data `vscode.torn_line`";
                reader.report.note_line(Outcome::Kept, number, detail);
                torn = Some(String::from_utf8_lossy(line).into_owned());
            }
            Err(error) => return Err(error.with("line", number)),
        }
    }
    let document = state.ok_or_else(|| Error::invalid("the log holds no snapshot"))?;
    Ok(Replayed { document, torn })
}

/// Whether a line is the beginning of something longer, not something else.
fn is_cut_off(line: &[u8]) -> bool {
    match std::str::from_utf8(line) {
        Ok(text) => serde_json::from_str::<&RawValue>(text).is_err_and(|error| error.is_eof()),
        Err(error) => error.error_len().is_none(),
    }
}

/// Keeps the text of a torn line with the session.
pub(super) fn keep_torn(imported: &mut Imported, torn: &str) -> Result<()> {
    let entry = DataEntry::new(semver::Version::new(1, 0, 0), RawJson::of(torn)?);
    let meta = std::sync::Arc::make_mut(&mut imported.model.meta);
    meta.data.set("vscode.torn_line", Some(entry));
    Ok(())
}

fn apply(
    state: &mut Option<Node>,
    operation: Node,
    line: usize,
    reader: &mut Reader<'_>,
) -> Result<()> {
    let mut fields = Fields::of(operation, &Path::ROOT)?;
    let kind = fields.number(&["kind"]);
    let keys = fields.take("k").map(keys).transpose()?;
    let (value, cut) = (fields.take("v"), fields.take("i"));
    if fields.node().as_object().is_some_and(|left| !left.is_empty()) {
        reader.report.note_line(Outcome::Dropped, line, "fields that no operation has");
    }
    if kind == Some(0) {
        *state = Some(value.ok_or_else(|| Error::invalid("the snapshot holds nothing"))?);
        return Ok(());
    }
    let root = state.as_mut().ok_or_else(|| Error::invalid("no snapshot comes before it"))?;
    let keys = keys.ok_or_else(|| Error::invalid("the operation names no path"))?;
    change(root, kind, &keys, value, cut).map_err(|error| error.with("path", shown(&keys)))
}

fn change(
    root: &mut Node,
    kind: Option<u64>,
    keys: &[Key],
    value: Option<Node>,
    cut: Option<Node>,
) -> Result<()> {
    let depth = keys.len() + 1 + value.as_ref().map_or(0, Node::depth);
    if depth > MAX_DEPTH {
        return Err(Error::limit_exceeded(format!("JSON is nested more than {MAX_DEPTH} deep")));
    }
    match kind {
        Some(1) => set(root, keys, value),
        Some(2) => push(root, keys, cut, value),
        Some(3) => delete(root, keys),
        _ => Err(Error::invalid("the operation is of no known kind")),
    }
}

#[derive(Debug)]
enum Key {
    Field(String),
    Item(usize),
}

fn keys(node: Node) -> Result<Vec<Key>> {
    let wrong = || Error::invalid("the path is no array of names and numbers");
    let Node::Array(items) = node else { return Err(wrong()) };
    let key = |item: &Node| match item.as_string() {
        Some(name) => Ok(Key::Field(name)),
        None => item
            .as_u64()
            .and_then(|index| usize::try_from(index).ok())
            .map(Key::Item)
            .ok_or_else(wrong),
    };
    items.iter().map(key).collect()
}

fn shown(keys: &[Key]) -> String {
    fn step(path: &Path<'_>, keys: &[Key]) -> String {
        match keys {
            [] => path.to_string(),
            [Key::Field(name), rest @ ..] => step(&path.field(name), rest),
            [Key::Item(index), rest @ ..] => step(&path.item(*index), rest),
        }
    }
    step(&Path::ROOT, keys.get(..MAX_DEPTH).unwrap_or(keys))
}

/// The place that a path leads to.
fn find<'a>(root: &'a mut Node, keys: &[Key]) -> Result<&'a mut Node> {
    keys.iter().try_fold(root, |node, key| {
        let found = match (node, key) {
            (Node::Object(fields), Key::Field(name)) => {
                check_width(fields, 0)?;
                fields.iter_mut().find(|(known, _)| known == name).map(|(_, value)| value)
            }
            (Node::Array(items), Key::Item(index)) => items.get_mut(*index),
            _ => None,
        };
        found.ok_or_else(|| Error::invalid("the path leads nowhere"))
    })
}

/// Sets a value. One that is missing is JavaScript's `undefined`, which JSON leaves out of objects
/// and writes as `null` into arrays.
fn set(root: &mut Node, keys: &[Key], value: Option<Node>) -> Result<()> {
    let Some((key, parents)) = keys.split_last() else {
        *root = value.ok_or_else(|| Error::invalid("the session would be gone"))?;
        return Ok(());
    };
    match (find(root, parents)?, key, value) {
        (Node::Object(fields), Key::Field(name), None) => {
            check_width(fields, 0)?;
            fields.retain(|(known, _)| known != name);
        }
        (Node::Object(fields), Key::Field(name), Some(value)) => put(fields, name, value)?,
        (Node::Array(items), Key::Item(index), value) if *index <= items.len() => {
            let value = value.unwrap_or_else(|| Node::Scalar("null".into()));
            match items.get_mut(*index) {
                Some(item) => *item = value,
                None => items.push(value),
            }
        }
        (Node::Array(_), Key::Item(_), _) => {
            return Err(Error::invalid("the place lies beyond the array's end"));
        }
        _ => return Err(Error::invalid("the path leads nowhere")),
    }
    Ok(())
}

fn put(fields: &mut Vec<(String, Node)>, name: &str, value: Node) -> Result<()> {
    check_width(fields, 0)?;
    match fields.iter_mut().find(|(known, _)| known == name) {
        Some((_, known)) => *known = value,
        None => {
            check_width(fields, 1)?;
            fields.push((name.to_owned(), value));
        }
    }
    Ok(())
}

fn check_width(fields: &[(String, Node)], added: usize) -> Result<()> {
    if fields.len() + added <= MOST_FIELDS {
        return Ok(());
    }
    Err(Error::limit_exceeded(format!("an object has more than {MOST_FIELDS} fields")))
}

/// Cuts an array if a length is given, then adds to its end. One that is missing is made.
fn push(root: &mut Node, keys: &[Key], cut: Option<Node>, value: Option<Node>) -> Result<()> {
    let added = match value {
        None => Vec::new(),
        Some(Node::Array(items)) => items,
        Some(_) => return Err(Error::invalid("what is added is no array")),
    };
    if let Some((Key::Field(name), parents)) = keys.split_last()
        && let Node::Object(fields) = find(root, parents)?
        && fields.iter().all(|(known, value)| known != name || value.is_null())
    {
        put(fields, name, Node::Array(Vec::new()))?;
    }
    let Node::Array(items) = find(root, keys)? else {
        return Err(Error::invalid("the path leads to no array"));
    };
    if let Some(cut) = cut.filter(|cut| !cut.is_null()) {
        let length = cut.as_u64().and_then(|length| usize::try_from(length).ok());
        match length {
            Some(length) if length <= items.len() => items.truncate(length),
            _ => return Err(Error::invalid("the array cannot be cut to that length")),
        }
    }
    items.extend(added);
    Ok(())
}

fn delete(root: &mut Node, keys: &[Key]) -> Result<()> {
    let Some((Key::Field(name), parents)) = keys.split_last() else {
        return Err(Error::invalid("only a field can be deleted"));
    };
    let Node::Object(fields) = find(root, parents)? else {
        return Err(Error::invalid("the path leads nowhere"));
    };
    check_width(fields, 0)?;
    fields.retain(|(known, _)| known != name);
    Ok(())
}
