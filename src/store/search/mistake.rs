//! What is wrong with a query, and where.

use std::ops::Range;

use thiserror::Error as ThisError;

use super::snippet::visible;
use crate::error::Error;

/// So many characters of a query are shown on either side of the place.
const AROUND: usize = 40;

/// What is wrong with a query.
#[derive(Debug, Clone, PartialEq, Eq, ThisError)]
pub(super) enum Problem {
    #[error("there is nothing to find")]
    Empty,
    #[error("a search needs a word that must be there")]
    NoWord,
    #[error("the quote is not closed")]
    OpenQuote,
    #[error("a space must follow what is quoted")]
    AfterQuote,
    #[error("there is no letter and no digit in it")]
    NoToken,
    #[error("a star follows the beginning of a word, as in `pars*`")]
    Star,
    #[error("a minus stands directly before what must not be there, as in `-lexer`")]
    Minus,
    #[error("there is no filter `{name}`; there are {known}. As text it must be quoted")]
    UnknownFilter { name: String, known: String },
    #[error("`{0}:` needs a value directly after the colon. As text it must be quoted")]
    NoValue(&'static str),
    #[error("`{key}:` can be {known}")]
    BadValue { key: &'static str, known: String },
    #[error(
        "`{0}:` takes a year, a month, a day or a moment, as in 2026, 2026-07, 2026-07-15 or 2026-07-15T12:00:00Z"
    )]
    BadDate(&'static str),
    #[error("{0}")]
    BadId(String),
    #[error("there is one {0} at most")]
    Twice(&'static str),
    #[error("words can be excluded, filters cannot")]
    ExcludedFilter,
    #[error("a search may have {0} words, these are more")]
    TooMany(usize),
}

impl Problem {
    /// A name may be as long as a query: no more of it is repeated than of the query.
    pub(super) fn unknown_filter(name: &str, known: &[&str]) -> Self {
        Self::UnknownFilter { name: beginning(name), known: known.join(", ") }
    }
}

/// A problem and its place in the query's text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mistake {
    pub(super) problem: Problem,
    pub(super) place: Range<usize>,
}

impl Mistake {
    /// The error: the message, the query, and a line that marks the place.
    pub(super) fn in_query(self, text: &str) -> Error {
        let Range { start, end } = self.place;
        let before = text.get(..start).unwrap_or_default();
        let marked = text.get(start..end).unwrap_or_default();
        let after = text.get(end..).unwrap_or_default();
        let characters = before.chars().count();
        let query =
            if text.trim().is_empty() { String::new() } else { shown(before, marked, after) };
        let message = format!("{}{query}", self.problem);
        Error::invalid(message).with("byte", start).with("character", characters)
    }
}

/// The query and, under it, the mark. What is far from the place is left out.
fn shown(before: &str, marked: &str, after: &str) -> String {
    let skipped = before.chars().count().saturating_sub(AROUND);
    let lead: String = before.chars().skip(skipped).map(visible).collect();
    let lead = if skipped > 0 { format!("…{lead}") } else { lead };
    let (mut middle, cut) = cut_at(marked, 2 * AROUND);
    let (mut tail, cut_tail) = cut_at(after.trim_end(), AROUND);
    if cut {
        middle.push('…');
        tail.clear();
    } else if cut_tail {
        tail.push('…');
    }
    let pad: String = lead.chars().map(blank).collect();
    let mark: String = middle.chars().map(|c| if blank(c) == ' ' { "^" } else { "^^" }).collect();
    let mark = if mark.is_empty() { "^" } else { &mark };
    format!("\n  {lead}{middle}{tail}\n  {pad}{mark}")
}

/// As much of a text as a message shows.
pub(super) fn beginning(text: &str) -> String {
    let (mut shown, cut) = cut_at(text, 2 * AROUND);
    if cut {
        shown.push('…');
    }
    shown
}

fn cut_at(text: &str, characters: usize) -> (String, bool) {
    let cut = text.chars().nth(characters).is_some();
    (text.chars().take(characters).map(visible).collect(), cut)
}

/// White space that is as wide as a character where characters have one width or two.
fn blank(c: char) -> char {
    let is_wide = matches!(c,
        '\u{1100}'..='\u{115F}' | '\u{2E80}'..='\u{A4CF}' | '\u{AC00}'..='\u{D7A3}'
        | '\u{F900}'..='\u{FAFF}' | '\u{FE30}'..='\u{FE6F}' | '\u{FF00}'..='\u{FF60}'
        | '\u{FFE0}'..='\u{FFE6}' | '\u{1F300}'..='\u{1FAFF}' | '\u{20000}'..='\u{3FFFD}');
    if is_wide { '\u{3000}' } else { ' ' }
}
