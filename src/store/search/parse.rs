//! From a query's text to the query.

use std::ops::Range;

use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use super::mistake::{self, Mistake, Problem};
use super::query::{Query, ROLES, STATES, STATUSES, Words};
use crate::error::{Error, Result};
use crate::id::WorkspaceId;
use crate::storage::PassageRole;
use crate::storage::text::{MAX_TOKENS, tokens};

/// The filters' names, in the order of the alphabet.
const FILTERS: [&str; 11] =
    ["after", "agent", "before", "in", "is", "kind", "role", "state", "status", "tag", "workspace"];

/// What there may be one of in a query.
const ROLE: &str = "`role:` or `in:`";
const PINNED: &str = "`is:pinned` or `is:unpinned`";

const PLACES: [(&str, PassageRole); 1] = [("title", PassageRole::Title)];

/// What `is:` says of a session.
#[derive(Clone, Copy)]
enum Is {
    Pinned(bool),
    Global,
}

const IS: [(&str, Is); 3] =
    [("pinned", Is::Pinned(true)), ("unpinned", Is::Pinned(false)), ("global", Is::Global)];

pub(super) fn parse(text: &str) -> Result<Query> {
    let parser = Parser { text, at: 0, query: Query::default(), tokens: 0 };
    parser.run().map_err(|mistake| mistake.in_query(text))
}

struct Parser<'t> {
    text: &'t str,
    at: usize,
    query: Query,
    tokens: usize,
}

/// A filter's value, and where the whole filter stands.
struct Value {
    text: String,
    place: Range<usize>,
    filter: Range<usize>,
}

fn mistake<T>(problem: Problem, place: Range<usize>) -> Result<T, Mistake> {
    Err(Mistake { problem, place })
}

impl<'t> Parser<'t> {
    fn run(mut self) -> Result<Query, Mistake> {
        let start = self.text.len() - self.text.trim_start().len();
        let end = self.text.trim_end().len().max(start);
        while let Some(ahead) = self.rest().find(|c: char| !c.is_whitespace()) {
            self.at += ahead;
            self.item()?;
        }
        match () {
            () if start == end => mistake(Problem::Empty, 0..0),
            () if self.query.all.is_empty() => mistake(Problem::NoWord, start..end),
            () => Ok(self.query),
        }
    }

    fn rest(&self) -> &'t str {
        self.text.get(self.at..).unwrap_or_default()
    }

    /// What stands here up to the next white space.
    fn word(&self) -> &'t str {
        let rest = self.rest();
        rest.find(char::is_whitespace).and_then(|end| rest.get(..end)).unwrap_or(rest)
    }

    fn item(&mut self) -> Result<(), Mistake> {
        let start = self.at;
        // More than one minus is an option of a command, which is searched for as text.
        let excluded = self.word().starts_with('-') && !self.word().starts_with("--");
        self.at += usize::from(excluded);
        let word = self.word();
        if word.is_empty() {
            return mistake(Problem::Minus, start..self.at);
        }
        if word.starts_with('"') {
            let text = self.quoted()?;
            let prefix = self.rest().starts_with('*');
            self.at += usize::from(prefix);
            self.end_of_quoted()?;
            return self.words(&text, prefix, excluded, start);
        }
        if let Some(name) = filter_name(word) {
            self.at += name.len() + 1;
            return self.filter(name, excluded, start);
        }
        self.at += word.len();
        // A star after anything but a word's beginning is a character of the text: `**bold**`.
        let beginning = word.strip_suffix('*').filter(|beginning| {
            tokens(beginning).last().is_some_and(|token| token.end == beginning.len())
        });
        match beginning {
            Some(beginning) => self.words(beginning, true, excluded, start),
            None => self.words(word, false, excluded, start),
        }
    }

    /// What is quoted here, without the quotes.
    fn quoted(&mut self) -> Result<String, Mistake> {
        let (start, mut text) = (self.at, String::new());
        let mut characters = self.rest().char_indices().skip(1).peekable();
        while let Some((at, c)) = characters.next() {
            match (c, characters.peek()) {
                ('"', _) => {
                    self.at += at + 1;
                    return Ok(text);
                }
                ('\\', Some((_, escaped @ ('"' | '\\')))) => {
                    text.push(*escaped);
                    characters.next();
                }
                _ => text.push(c),
            }
        }
        mistake(Problem::OpenQuote, start..self.text.trim_end().len())
    }

    fn end_of_quoted(&self) -> Result<(), Mistake> {
        match self.word() {
            "" => Ok(()),
            more => mistake(Problem::AfterQuote, self.at..self.at + more.len()),
        }
    }

    /// Adds what stands from `start` to here.
    fn words(
        &mut self,
        text: &str,
        prefix: bool,
        excluded: bool,
        start: usize,
    ) -> Result<(), Mistake> {
        let place = start..self.at;
        let Ok(words) = Words::new(text, prefix) else {
            let is_star = !text.is_empty() && text.chars().all(|c| c == '*');
            return mistake(if is_star { Problem::Star } else { Problem::NoToken }, place);
        };
        self.tokens += words.term.tokens().len();
        if self.tokens > MAX_TOKENS {
            return mistake(Problem::TooMany(MAX_TOKENS), place);
        }
        let terms = if excluded { &mut self.query.none } else { &mut self.query.all };
        terms.push(words);
        Ok(())
    }

    fn filter(&mut self, name: &str, excluded: bool, start: usize) -> Result<(), Mistake> {
        let place = start..start + usize::from(excluded) + name.len() + 1;
        let known = FILTERS.into_iter().find(|known| known.eq_ignore_ascii_case(name));
        let Some(key) = known else {
            let problem = Problem::UnknownFilter {
                name: mistake::beginning(name),
                known: FILTERS.join(", "),
            };
            return mistake(problem, place);
        };
        if excluded {
            return mistake(Problem::ExcludedFilter, place);
        }
        let from = self.at;
        let text = if self.rest().starts_with('"') {
            let text = self.quoted()?;
            self.end_of_quoted()?;
            text
        } else {
            let word = self.word();
            self.at += word.len();
            word.to_owned()
        };
        if text.is_empty() {
            return mistake(Problem::NoValue(key), place);
        }
        self.set(key, Value { text, place: from..self.at, filter: start..self.at })
    }

    fn set(&mut self, key: &'static str, value: Value) -> Result<(), Mistake> {
        let query = &mut self.query;
        match key {
            "after" => once(&mut query.from, moment(key, &value)?, "`after:`", value),
            "before" => once(&mut query.before, moment(key, &value)?, "`before:`", value),
            "role" => once(&mut query.role, one_of(key, &ROLES, &value)?, ROLE, value),
            "in" => once(&mut query.role, one_of(key, &PLACES, &value)?, ROLE, value),
            "kind" => once(&mut query.kind, value.text.clone(), "`kind:`", value),
            "agent" => once(&mut query.filters.agent, value.text.clone(), "`agent:`", value),
            "tag" => {
                query.filters.tags.push(value.text);
                Ok(())
            }
            "status" => {
                query.filters.statuses.push(one_of(key, &STATUSES, &value)?);
                Ok(())
            }
            "state" => {
                query.filters.states.push(one_of(key, &STATES, &value)?);
                Ok(())
            }
            "is" => match one_of(key, &IS, &value)? {
                Is::Pinned(pinned) => once(&mut query.filters.pinned, pinned, PINNED, value),
                Is::Global => {
                    query.filters.workspaces.push(None);
                    Ok(())
                }
            },
            _ => {
                let bad = |e: Error| Problem::BadId(e.message().to_owned());
                let id = WorkspaceId::new(&value.text)
                    .map_err(|e| Mistake { problem: bad(e), place: value.place })?;
                query.filters.workspaces.push(Some(id));
                Ok(())
            }
        }
    }
}

/// The name of the filter that a word is, if it is one, known or not.
fn filter_name(word: &str) -> Option<&str> {
    let (name, value) = word.split_once(':')?;
    let is_name = name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name.bytes().all(|byte| byte.is_ascii_alphabetic() || matches!(byte, b'_' | b'-'));
    let is_known = || FILTERS.iter().any(|known| known.eq_ignore_ascii_case(name));
    let is_filter = match value.chars().next() {
        Some(':') => false,
        Some(first) if first.is_alphanumeric() || first == '"' => true,
        _ => is_known(),
    };
    (is_name && is_filter).then_some(name)
}

fn once<T>(slot: &mut Option<T>, new: T, what: &'static str, value: Value) -> Result<(), Mistake> {
    if slot.is_some() {
        return mistake(Problem::Twice(what), value.filter);
    }
    *slot = Some(new);
    Ok(())
}

fn one_of<T: Copy>(
    key: &'static str,
    names: &[(&'static str, T)],
    value: &Value,
) -> Result<T, Mistake> {
    let named = names.iter().find(|(name, _)| name.eq_ignore_ascii_case(&value.text));
    named.map(|(_, named)| *named).ok_or_else(|| {
        let known = names.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ");
        Mistake { problem: Problem::BadValue { key, known }, place: value.place.clone() }
    })
}

fn moment(key: &'static str, value: &Value) -> Result<Timestamp, Mistake> {
    let wrong = || Mistake { problem: Problem::BadDate(key), place: value.place.clone() };
    beginning(&value.text).ok_or_else(wrong)
}

/// The beginning of a year, a month or a day in UTC, or a moment.
fn beginning(text: &str) -> Option<Timestamp> {
    let is_date = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-');
    if !is_date {
        return text.parse().ok();
    }
    let whole = match text.len() {
        4 => format!("{text}-01-01"),
        7 => format!("{text}-01"),
        10 => text.to_owned(),
        _ => return None,
    };
    let day: Date = whole.parse().ok()?;
    Some(day.to_zoned(TimeZone::UTC).ok()?.timestamp())
}
