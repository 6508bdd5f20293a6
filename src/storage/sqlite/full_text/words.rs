//! The words that begin in a certain way, out of the index.
//!
//! FTS5 answers a prefix by merging the lists of all its words before the first row is out, however
//! common they are. An OR of the same words begins at once.

use std::collections::HashMap;

use rusqlite::Connection;

use super::Result;
use crate::storage::TextQuery;

/// A prefix of more words than this is left to FTS5.
const MOST: usize = 256;
/// After so many occurrences of one word it costs less to look for the next one.
const OFTEN: usize = 24;

/// The words of each prefix, where they are few enough.
pub(super) type Words = HashMap<String, Vec<String>>;

/// The words of a query's prefixes.
pub(super) fn beginning_with(connection: &Connection, query: &TextQuery) -> Result<Words> {
    let mut words = Words::new();
    let prefixes = query.all.iter().chain(&query.none).filter(|term| term.is_prefix());
    for prefix in prefixes.filter_map(|term| term.tokens().last()) {
        if !words.contains_key(prefix)
            && let Some(found) = of_prefix(connection, prefix)?
        {
            words.insert(prefix.clone(), found);
        }
    }
    Ok(words)
}

/// The words with a prefix; none if there are too many, or not any.
fn of_prefix(connection: &Connection, prefix: &str) -> Result<Option<Vec<String>>> {
    // The table has a row for each occurrence, in the order of words.
    let mut query = connection.prepare_cached("SELECT term FROM words WHERE term >= ?1")?;
    let mut words: Vec<String> = Vec::new();
    let mut from = prefix.to_owned();
    'words: loop {
        let mut rows = query.query([&from])?;
        let mut times = 0;
        while let Some(row) = rows.next()? {
            let word = row.get_ref(0)?.as_str().map_err(super::other)?;
            if !word.starts_with(prefix) {
                break 'words;
            }
            if words.last().is_some_and(|last| last == word) {
                times += 1;
                if times > OFTEN {
                    // No token holds a zero: this is where the next word may begin.
                    from = format!("{word}\0");
                    continue 'words;
                }
                continue;
            }
            if words.len() == MOST {
                return Ok(None);
            }
            words.push(word.to_owned());
            times = 0;
        }
        break;
    }
    Ok((!words.is_empty()).then_some(words))
}
