//! What is shown of a turn that was found: the piece of its text where the words stand.

use std::collections::VecDeque;
use std::fmt;
use std::ops::Range;

use crate::storage::text::scan::looked_at;
use crate::storage::text::{Token, continues, stands_alone, tokens};
use crate::storage::{Passage, PassageRole, Term, TextQuery};

/// About so many characters are shown.
const LENGTH: usize = 160;
/// What stands for text that is left out.
const ELLIPSIS: char = '…';

/// A piece of a turn's text, and what in it was searched for.
///
/// White space is one space each. Control characters, and those that turn the direction of text,
/// are shown as `�`: a snippet can be printed to a terminal, and put into a page once it is
/// escaped.
///
/// # Examples
///
/// ```
/// use chatkeep::{ChatStore, MemoryStorage, NewSession, Query, part::Markdown};
///
/// # pollster::block_on(async {
/// let me = ChatStore::builder(MemoryStorage::new()).build().await?.local();
/// let chat = me.create(NewSession::new()).await?;
/// chat.record("Why?", [Markdown::new("The *sentinel*\n\nis never reached.")]).await?;
///
/// let hits = me.search(Query::parse("sentinel reach*")?).await?;
/// let snippet = &hits.hits[0].snippet;
/// assert_eq!(snippet.text, "The *sentinel* is never reached.");
/// assert_eq!(snippet.highlights, [5..13, 24..31]);
/// assert_eq!(snippet.marked("[", "]"), "The *[sentinel]* is never [reached].");
/// # Ok::<(), chatkeep::Error>(())
/// # })?;
/// # Ok::<(), chatkeep::Error>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Snippet {
    /// The text; an ellipsis stands where something was left out.
    pub text: String,
    /// The bytes of the text that were searched for: ascending, apart, on boundaries of characters.
    pub highlights: Vec<Range<usize>>,
}

impl Snippet {
    /// The text in pieces, in order, and of each whether it was searched for.
    pub fn pieces(&self) -> impl Iterator<Item = (&str, bool)> {
        let mut at = 0;
        let ends =
            self.highlights.iter().flat_map(|range| [(range.start, false), (range.end, true)]);
        let pieces = ends.chain([(self.text.len(), false)]).map(move |(end, is_highlight)| {
            let piece = self.text.get(at..end).unwrap_or_default();
            at = end;
            (piece, is_highlight)
        });
        pieces.filter(|(piece, _)| !piece.is_empty())
    }

    /// The text with what was searched for between two marks. Neither is escaped: to make HTML
    /// escape each of the [`pieces`](Self::pieces).
    #[must_use]
    pub fn marked(&self, open: &str, close: &str) -> String {
        let mark = |(piece, is_highlight): (&str, bool)| match is_highlight {
            true => [open, piece, close].concat(),
            false => piece.to_owned(),
        };
        self.pieces().map(mark).collect()
    }
}

/// The text alone.
impl fmt::Display for Snippet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// A character as it can be shown: one that moves the cursor or turns the direction of text cannot.
pub(super) fn visible(c: char) -> char {
    match c {
        c if c.is_whitespace() => ' ',
        c if c.is_control() => '\u{FFFD}',
        '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}' => '\u{FFFD}',
        c => c,
    }
}

/// Where a term stands in a passage.
#[derive(Debug, Clone)]
struct Place {
    bytes: Range<usize>,
    /// The same in characters, a run of white space being one.
    shown: Range<usize>,
    term: usize,
}

/// How good a piece of a passage is: how many of the terms are in it, and how many places.
type Worth = (usize, usize);

/// The best piece of a turn's passages, and the passage's role and kind.
pub(super) fn best(
    passages: &[Passage],
    query: &TextQuery,
) -> Option<(PassageRole, String, Snippet)> {
    let mut best: Option<(Worth, &Passage, Vec<Place>, Range<usize>)> = None;
    for passage in passages.iter().filter(|passage| looked_at(*passage, query)) {
        let places = places_of(&query.all, &passage.text);
        let (worth, chosen) = window(&places, query.all.len());
        if best.as_ref().is_none_or(|(most, ..)| worth > *most) {
            best = Some((worth, passage, places, chosen));
        }
    }
    let (_, passage, places, chosen) = best?;
    Some((passage.role, passage.kind.clone(), cut(&passage.text, &places, chosen)))
}

/// Where terms stand in a text, by where they begin. One pass over the text.
fn places_of(terms: &[Term], text: &str) -> Vec<Place> {
    let longest = terms.iter().map(|term| term.tokens().len()).max().unwrap_or(0);
    let mut last: VecDeque<(Token<'_>, Range<usize>)> = VecDeque::with_capacity(longest + 1);
    let (mut places, mut at, mut shown) = (Vec::new(), 0, 0);
    for token in tokens(text) {
        let start = shown + width(text.get(at..token.start).unwrap_or_default());
        shown = start + width(text.get(token.start..token.end).unwrap_or_default());
        at = token.end;
        last.push_back((token, start..shown));
        if last.len() > longest {
            last.pop_front();
        }
        for (number, term) in terms.iter().enumerate() {
            places.extend(ends_here(term, &last).map(|(bytes, shown)| Place {
                bytes,
                shown,
                term: number,
            }));
        }
    }
    places.sort_by_key(|place| place.bytes.start);
    places
}

/// The place of a term whose last token is the last of these.
fn ends_here(
    term: &Term,
    last: &VecDeque<(Token<'_>, Range<usize>)>,
) -> Option<(Range<usize>, Range<usize>)> {
    let first = last.len().checked_sub(term.tokens().len())?;
    let mut pairs = term.tokens().iter().zip(last.range(first..)).rev();
    let (wanted, (end, end_shown)) = pairs.next()?;
    let ends = match term.is_prefix() {
        true => end.term.starts_with(wanted.as_str()),
        false => end.term == *wanted,
    };
    if !ends || !pairs.all(|(wanted, (token, _))| token.term == *wanted) {
        return None;
    }
    let (start, start_shown) = last.get(first)?;
    Some((start.start..end.end, start_shown.start..end_shown.end))
}

/// How many characters of a text are shown, a run of white space being one.
fn width(text: &str) -> usize {
    let mut after_space = false;
    let counts = |c: char| {
        let is_space = c.is_whitespace();
        let counted = !(is_space && after_space);
        after_space = is_space;
        usize::from(counted)
    };
    text.chars().map(counts).sum()
}

/// The places within the length of a snippet that are worth the most; the first of several.
fn window(places: &[Place], terms: usize) -> (Worth, Range<usize>) {
    let (mut best, mut chosen) = ((0, 0), 0..0);
    let (mut counts, mut distinct, mut first) = (vec![0_usize; terms], 0, 0);
    for (last, place) in places.iter().enumerate() {
        if let Some(count) = counts.get_mut(place.term) {
            distinct += usize::from(*count == 0);
            *count += 1;
        }
        while let Some(out) = places.get(first).filter(|_| first < last)
            && place.shown.end.saturating_sub(out.shown.start) > LENGTH
        {
            if let Some(count) = counts.get_mut(out.term) {
                *count -= 1;
                distinct -= usize::from(*count == 0);
            }
            first += 1;
        }
        let worth = (distinct, last + 1 - first);
        if worth > best {
            (best, chosen) = (worth, first..last + 1);
        }
    }
    (best, chosen)
}

/// The text around the chosen places, cut at words.
fn cut(text: &str, places: &[Place], chosen: Range<usize>) -> Snippet {
    let within = places.get(chosen).unwrap_or_default();
    let start = within.first().map_or(0, |place| place.bytes.start);
    let end = within.iter().map(|place| place.bytes.end).max().unwrap_or(0);
    let (before, inner, after) = apart(text, start, end);
    let around = LENGTH.saturating_sub(width(inner));
    if around == 0 {
        return rendered(text, start..start + reach(inner.chars(), LENGTH).0, places);
    }
    // What one side has no use for the other gets.
    let (_, behind) = reach(before.chars().rev(), around);
    let (_, ahead) = reach(after.chars(), around);
    let lead = (around / 2).max(around.saturating_sub(ahead)).min(behind);
    let (lead_bytes, _) = reach(before.chars().rev(), lead);
    let (tail_bytes, _) = reach(after.chars(), around - lead);
    let from = word_start(before, before.len() - lead_bytes);
    let to = end + word_end(after, tail_bytes);
    rendered(text, from..to, places)
}

/// A text in three pieces; nothing where a place is none of it.
fn apart(text: &str, start: usize, end: usize) -> (&str, &str, &str) {
    let piece = |range: Range<usize>| text.get(range).unwrap_or_default();
    (piece(0..start), piece(start..end), piece(end..text.len()))
}

/// How far so many characters reach, in bytes and in characters.
fn reach(text: impl Iterator<Item = char>, characters: usize) -> (usize, usize) {
    let (mut bytes, mut count, mut after_space) = (0, 0, false);
    for c in text {
        let is_space = c.is_whitespace();
        let counted = usize::from(!(is_space && after_space));
        if count + counted > characters {
            break;
        }
        (count, after_space) = (count + counted, is_space);
        bytes += c.len_utf8();
    }
    (bytes, count)
}

/// The first place from here on where a word begins. The text ends where one does.
fn word_start(text: &str, from: usize) -> usize {
    let (rest, before) = (text.get(from..).unwrap_or_default(), text.get(..from));
    let Some(mut previous) = before.and_then(|before| before.chars().next_back()) else {
        return from;
    };
    let mut at_sign = None;
    for (at, c) in rest.char_indices() {
        match between(previous, c) {
            Between::Words => return from + at,
            Between::Signs => at_sign = at_sign.or(Some(from + at)),
            Between::Nothing => {}
        }
        previous = c;
    }
    at_sign.unwrap_or(text.len())
}

/// The last place up to here where a word ends. One ends where the text begins.
fn word_end(text: &str, to: usize) -> usize {
    let Some(mut next) = text.get(to..).and_then(|rest| rest.chars().next()) else { return to };
    let mut at_sign = None;
    for (at, c) in text.get(..to).unwrap_or_default().char_indices().rev() {
        let end = at + c.len_utf8();
        match between(c, next) {
            Between::Words => return end,
            Between::Signs => at_sign = at_sign.or(Some(end)),
            Between::Nothing => {}
        }
        next = c;
    }
    at_sign.unwrap_or(0)
}

/// What lies between two characters.
enum Between {
    Words,
    /// Within what has no space in it: an address, an expression.
    Signs,
    Nothing,
}

fn between(before: char, after: char) -> Between {
    let is_edge = |c: char| c.is_whitespace() || stands_alone(c);
    let is_of_word = |c: char| c.is_alphanumeric() || continues(c);
    match (before, after) {
        (_, after) if continues(after) || is_joiner(after) || is_joiner(before) => Between::Nothing,
        (before, after) if is_edge(before) || is_edge(after) => Between::Words,
        (before, after) if is_of_word(before) && after.is_alphanumeric() => Between::Nothing,
        _ => Between::Signs,
    }
}

/// What makes one sign of several characters: of emoji, of letters in some scripts.
fn is_joiner(c: char) -> bool {
    matches!(c, '\u{200D}' | '\u{FE00}'..='\u{FE0F}' | '\u{1F3FB}'..='\u{1F3FF}')
}

/// A piece of a text as it is shown, with all places in it.
fn rendered(text: &str, piece: Range<usize>, places: &[Place]) -> Snippet {
    let piece = trimmed(text, piece);
    let (before, shown, after) = apart(text, piece.start, piece.end);
    let mut snippet = Snippet::default();
    if !before.trim().is_empty() {
        snippet.text.push(ELLIPSIS);
    }
    let mut marks = merged(places, &piece).into_iter().peekable();
    let (mut space, mut open) = (false, 0);
    for (at, c) in shown.char_indices() {
        if c.is_whitespace() {
            space = true;
            continue;
        }
        if std::mem::take(&mut space) {
            snippet.text.push(' ');
        }
        let (start, end) = (piece.start + at, piece.start + at + c.len_utf8());
        if marks.peek().is_some_and(|mark| mark.start == start) {
            open = snippet.text.len();
        }
        snippet.text.push(visible(c));
        if marks.next_if(|mark| mark.end == end).is_some() {
            snippet.highlights.push(open..snippet.text.len());
        }
    }
    if !after.trim().is_empty() {
        snippet.text.push(ELLIPSIS);
    }
    snippet
}

/// A piece without the white space at its ends, where no mark could begin or end.
fn trimmed(text: &str, piece: Range<usize>) -> Range<usize> {
    let shown = text.get(piece.clone()).unwrap_or_default();
    let start = piece.end - shown.trim_start().len();
    start..start.max(piece.start + shown.trim_end().len())
}

/// The places within a piece of the text, those that touch as one.
fn merged(places: &[Place], piece: &Range<usize>) -> Vec<Range<usize>> {
    let mut merged: Vec<Range<usize>> = Vec::new();
    for place in places {
        let (start, end) = (place.bytes.start.max(piece.start), place.bytes.end.min(piece.end));
        match merged.last_mut() {
            _ if start >= end => {}
            Some(last) if start <= last.end => last.end = last.end.max(end),
            _ => merged.push(start..end),
        }
    }
    merged
}
