//! What the readers of all formats share: fields that are taken out one by one, ids, times, and
//! the report.

use std::collections::HashSet;

use jiff::Timestamp;
use semver::Version;

use super::ReadOptions;
use super::node::Node;
use super::path::{Path, shown};
use super::report::{Format, ImportReport, Outcome};
use crate::environment::to_millis;
use crate::error::Result;
use crate::id::{RequestId, ResponseId};
use crate::json::{Extra, RawJson};
use crate::model::{DataEntry, DataMap};
use crate::part::{Part, ResponsePart};

/// The version under which an importer keeps raw fields and parts.
const RAW_VERSION: Version = Version::new(1, 0, 0);

/// One import: its options, what it has seen, and its report.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    pub(super) options: &'a ReadOptions<'a>,
    pub(super) report: ImportReport,
    /// The prefix of the ids and kinds under which raw things are kept.
    pub(super) prefix: &'static str,
    requests: HashSet<String>,
    responses: HashSet<String>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(format: Format, options: &'a ReadOptions<'a>) -> Self {
        Self {
            options,
            report: ImportReport::new(format),
            prefix: format.prefix(),
            requests: HashSet::new(),
            responses: HashSet::new(),
        }
    }

    pub(super) fn note(&mut self, outcome: Outcome, path: &Path<'_>, detail: &str) {
        self.report.note(outcome, path, detail);
    }

    /// The moment that stands for one that nothing is known of.
    pub(super) fn now(&self) -> Timestamp {
        to_millis(self.options.now)
    }

    /// A request's id out of a field; a new one if there is none or it is taken.
    pub(super) fn request_id(
        &mut self,
        fields: &mut Fields,
        name: &str,
        path: &Path<'_>,
    ) -> Result<RequestId> {
        let place = path.field(name);
        if let Some(id) = self.free_id(fields, name, &place, true) {
            return RequestId::new(id).map_err(|e| e.with("field", place));
        }
        RequestId::new(self.options.ids.next_id())
    }

    /// A response's id out of a field; a new one if there is none or it is taken.
    pub(super) fn response_id(
        &mut self,
        fields: &mut Fields,
        name: &str,
        path: &Path<'_>,
    ) -> Result<ResponseId> {
        let place = path.field(name);
        if let Some(id) = self.free_id(fields, name, &place, false) {
            return ResponseId::new(id).map_err(|e| e.with("field", place));
        }
        ResponseId::new(self.options.ids.next_id())
    }

    fn free_id(
        &mut self,
        fields: &mut Fields,
        name: &str,
        place: &Path<'_>,
        request: bool,
    ) -> Option<String> {
        let seen = if request { &mut self.requests } else { &mut self.responses };
        match fields.peek(name).and_then(Node::as_string) {
            Some(id) if seen.insert(id.clone()) => {
                let _taken = fields.take(name);
                Some(id)
            }
            Some(id) => {
                let detail = format!("the id {:?} was there already; a new one", shown(&id));
                self.note(Outcome::Repaired, place, &detail);
                None
            }
            None => {
                self.note(Outcome::Assumed, place, "a new id");
                None
            }
        }
    }

    /// Keeps the fields that nobody took as data of a session, request or response.
    pub(super) fn keep_data(
        &mut self,
        data: &mut DataMap,
        what: &str,
        fields: Fields,
        path: &Path<'_>,
    ) -> Result<()> {
        let id = format!("{}.{what}", self.prefix);
        if let Some(raw) = fields.finish(self, path, &format!("data `{id}`"))? {
            data.set(id, Some(DataEntry::new(RAW_VERSION, raw)));
        }
        Ok(())
    }

    /// Keeps the fields that nobody took as one field beside the known ones.
    pub(super) fn keep_extra(
        &mut self,
        extra: &mut Extra,
        fields: Fields,
        path: &Path<'_>,
    ) -> Result<()> {
        let prefix = self.prefix;
        if let Some(raw) = fields.finish(self, path, &format!("field `{prefix}`"))? {
            extra.set(prefix, Some(raw));
        }
        Ok(())
    }

    /// A part of a built-in kind.
    pub(super) fn part<P: Part>(
        &mut self,
        source: &str,
        part: P,
        path: &Path<'_>,
    ) -> Result<ResponsePart> {
        self.note(Outcome::Mapped, path, &format!("{} to part `{}`", shown(source), P::KIND));
        ResponsePart::new(part)
    }

    /// A part that is kept as it is, under a kind of its own.
    pub(super) fn raw_part(
        &mut self,
        kind: &str,
        fallback: &str,
        data: Option<Node>,
        rest: Option<RawJson>,
        path: &Path<'_>,
    ) -> Result<ResponsePart> {
        self.note(Outcome::Kept, path, &format!("part `{}`", shown(kind)));
        let version = RAW_VERSION.to_string();
        let mut envelope = vec![
            ("kind".to_owned(), Node::string(kind)?),
            ("version".to_owned(), Node::string(&version)?),
            ("fallback".to_owned(), Node::string(fallback)?),
        ];
        if let Some(data) = data {
            envelope.push(("data".to_owned(), data));
        }
        if let Some(rest) = rest {
            envelope.push((self.prefix.to_owned(), Node::Scalar(rest.get().into())));
        }
        ResponsePart::from_envelope(&Node::Object(envelope).to_raw()?, &self.options.parts)
    }
}

/// An object's fields. What has a field of its own is taken; what is left is kept raw.
#[derive(Debug)]
pub(super) struct Fields {
    left: Node,
    taken: Vec<String>,
}

impl Fields {
    /// The fields of an object.
    ///
    /// # Errors
    ///
    /// `Invalid`, naming the place, if it is not an object.
    pub(super) fn of(node: Node, path: &Path<'_>) -> Result<Self> {
        if node.is_object() {
            return Ok(Self { left: node, taken: Vec::new() });
        }
        Err(path.invalid("an object is expected"))
    }

    pub(super) fn node(&self) -> &Node {
        &self.left
    }

    pub(super) fn peek(&self, name: &str) -> Option<&Node> {
        self.left.get(name)
    }

    pub(super) fn at(&self, names: &[&str]) -> Option<&Node> {
        self.left.at(names)
    }

    pub(super) fn take(&mut self, name: &str) -> Option<Node> {
        self.take_if(&[name], |_| true)
    }

    pub(super) fn take_if(&mut self, names: &[&str], fits: impl Fn(&Node) -> bool) -> Option<Node> {
        let taken = self.left.take(names, fits)?;
        self.taken.push(names.join("."));
        Some(taken)
    }

    /// Takes a string; anything else stays.
    pub(super) fn string(&mut self, name: &str) -> Option<String> {
        self.string_at(&[name])
    }

    pub(super) fn string_at(&mut self, names: &[&str]) -> Option<String> {
        self.take_if(names, |node| node.as_string().is_some())?.as_string()
    }

    /// Takes a whole number; anything else stays.
    pub(super) fn number(&mut self, names: &[&str]) -> Option<u64> {
        self.take_if(names, |node| node.as_u64().is_some())?.as_u64()
    }

    /// Takes the items of an array that has some; anything else stays.
    pub(super) fn array(&mut self, name: &str) -> Vec<Node> {
        self.array_at(&[name])
    }

    pub(super) fn array_at(&mut self, names: &[&str]) -> Vec<Node> {
        match self.take_if(names, |node| !node.items().is_empty()) {
            Some(Node::Array(items)) => items,
            _ => Vec::new(),
        }
    }

    /// Takes an array all of whose items, of which there are some, are objects; anything else stays.
    pub(super) fn objects(&mut self, names: &[&str]) -> Vec<Node> {
        let fits =
            |node: &Node| !node.items().is_empty() && node.items().iter().all(Node::is_object);
        match self.take_if(names, fits) {
            Some(Node::Array(items)) => items,
            _ => Vec::new(),
        }
    }

    /// Takes any value but `null` as raw JSON.
    pub(super) fn raw(&mut self, names: &[&str]) -> Result<Option<RawJson>> {
        self.take_if(names, |node| !node.is_null()).map(|node| node.to_raw()).transpose()
    }

    /// Takes a moment; `null` and -1 stay and count as none.
    ///
    /// # Errors
    ///
    /// `Invalid`, naming the field, if it is not a whole number of milliseconds since 1970.
    pub(super) fn time(&mut self, name: &str, path: &Path<'_>) -> Result<Option<Timestamp>> {
        let time = self.peek(name).map(|node| read_time(node, &path.field(name))).transpose()?;
        if let Some(Some(_)) = time {
            let _taken = self.take(name);
        }
        Ok(time.flatten())
    }

    /// Takes a field to another set of fields, which will report it.
    pub(super) fn move_out(&mut self, name: &str) -> Option<Node> {
        self.left.take(&[name], |_| true)
    }

    /// Puts a field back, or adds one.
    pub(super) fn put(&mut self, name: &str, value: Node) {
        if let Node::Object(fields) = &mut self.left {
            fields.retain(|(known, _)| known != name);
            fields.push((name.to_owned(), value));
        }
        self.taken.retain(|taken| taken != name);
    }

    /// Reports all fields and returns those that nobody took.
    pub(super) fn finish(
        self,
        reader: &mut Reader<'_>,
        path: &Path<'_>,
        kept_in: &str,
    ) -> Result<Option<RawJson>> {
        for name in &self.taken {
            reader.note(Outcome::Mapped, &path.field(name), "");
        }
        let left = self.left.as_object().unwrap_or_default();
        for (name, _) in left {
            reader.note(Outcome::Kept, &path.field(name), kept_in);
        }
        if left.is_empty() { Ok(None) } else { self.left.to_raw().map(Some) }
    }
}

/// A moment in milliseconds since 1970; `null` is none, and so is -1, which an editor writes for a
/// moment that it does not know.
pub(super) fn read_time(node: &Node, path: &Path<'_>) -> Result<Option<Timestamp>> {
    let millis = match node {
        Node::Scalar(token) if matches!(&**token, "null" | "-1") => return Ok(None),
        Node::Scalar(token) => token.parse::<i64>().ok(),
        _ => None,
    };
    let time = millis.and_then(|millis| Timestamp::from_millisecond(millis).ok());
    time.map(Some)
        .ok_or_else(|| path.invalid("a time is expected, in whole milliseconds since 1970"))
}

/// The range of a piece of text, `{"start":…,"endExclusive":…}`; anything else stays.
pub(super) fn take_range(fields: &mut Fields) -> Option<std::ops::Range<u64>> {
    let number = |name| fields.at(&["range", name]).and_then(Node::as_u64);
    let range = number("start")?..number("endExclusive")?;
    let _start = fields.number(&["range", "start"]);
    let _end = fields.number(&["range", "endExclusive"]);
    Some(range)
}
