//! What FTS5 keeps of words that were taken out, and how it goes.
//!
//! With `secure-delete` a word is taken out of the leaf that it stands in. But the table `texts_idx`
//! says with which word each leaf of a segment begins, or as much of it as tells it from the word
//! before: this stays for as long as the leaf has other words, which may be for ever. Only a merge
//! writes it anew, and FTS5 merges no segment that is alone.
//!
//! A beginning that begins no word of the index is such a trace. Whoever deletes a session looks for
//! those of its words; and for all of them if `full_text` has a row `traces`: a text was replaced or
//! removed since it was last looked, or there was no time to remove them.

use std::collections::BTreeSet;
use std::ops::Bound;

use rusqlite::{Connection, OptionalExtension as _};

use super::{Result, command, other, write_tokens};

/// A deletion writes an index of up to so many leaves anew, of 4 KiB each: less than a tenth of a second.
const MOST_LEAVES: i64 = if cfg!(test) { 32 } else { 1_024 };

/// No text has this number: theirs are not negative.
const NOBODY: i64 = -1;

/// Writes all of the index anew.
pub(super) fn rewrite(connection: &Connection) -> Result<()> {
    // A second segment, without anything in it, with which the others are merged.
    for change in [
        "INSERT INTO texts (rowid, scope) VALUES (?1, 'nobody')",
        "INSERT INTO texts (texts, rowid, scope) VALUES ('delete', ?1, 'nobody')",
    ] {
        connection.prepare_cached(change)?.execute([NOBODY])?;
        write_tokens(connection)?;
    }
    command(connection, "optimize")?;
    forget(connection)
}

/// Notes that there may be traces of any word.
pub(super) fn note(connection: &Connection) -> Result<()> {
    let sql = "INSERT OR IGNORE INTO full_text VALUES ('traces', 1)";
    connection.prepare_cached(sql)?.execute(())?;
    Ok(())
}

/// Notes that there are none.
pub(super) fn forget(connection: &Connection) -> Result<()> {
    connection.prepare_cached("DELETE FROM full_text WHERE name = 'traces'")?.execute(())?;
    Ok(())
}

/// Whether there may be traces of any word.
pub(super) fn are_noted(connection: &Connection) -> Result<bool> {
    let sql = "SELECT 1 FROM full_text WHERE name = 'traces'";
    Ok(connection.prepare_cached(sql)?.exists(())?)
}

/// Removes the traces of words that were taken out; whether some are left, in an index that is too
/// large to be written anew meanwhile.
pub(super) fn remove(connection: &Connection, words: &BTreeSet<Vec<u8>>) -> Result<bool> {
    let any = are_noted(connection)?;
    if words.is_empty() && !any {
        return Ok(false);
    }
    let leaves = "SELECT count(*) FROM texts_idx";
    let leaves: i64 = connection.prepare_cached(leaves)?.query_row((), |row| row.get(0))?;
    let is_large = leaves > MOST_LEAVES;
    // Of a large one each leaf would be looked for, by everybody who deletes.
    if is_large && any {
        return Ok(true);
    }
    match is_left(connection, words, any)? {
        false => forget(connection).map(|()| false),
        true if is_large => note(connection).map(|()| true),
        true => rewrite(connection).map(|()| false),
    }
}

fn is_left(connection: &Connection, words: &BTreeSet<Vec<u8>>, any: bool) -> Result<bool> {
    let mut query = connection.prepare_cached("SELECT term FROM texts_idx")?;
    let mut rows = query.query(())?;
    while let Some(row) = rows.next()? {
        if is_trace(connection, row.get_ref(0)?.as_blob().map_err(other)?, words, any)? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether what a leaf is said to begin with is left of one of these words, or of any.
fn is_trace(
    connection: &Connection,
    term: &[u8],
    words: &BTreeSet<Vec<u8>>,
    any: bool,
) -> Result<bool> {
    // The first leaf's says nothing, nor do those of numbers, which begin like no word.
    const NUMBERS: u8 = 0xee;
    let Some(beginning @ [first, ..]) = term.strip_prefix(b"0") else { return Ok(false) };
    let begins = |word: &Vec<u8>| word.starts_with(beginning);
    let from = (Bound::Included(beginning), Bound::Unbounded);
    let is_asked = || any || words.range::<[u8], _>(from).next().is_some_and(begins);
    Ok(*first != NUMBERS && is_asked() && !begins_a_word(connection, beginning)?)
}

fn begins_a_word(connection: &Connection, beginning: &[u8]) -> Result<bool> {
    // It may end within a character.
    let sql = "SELECT term FROM words WHERE term >= CAST(?1 AS TEXT) ORDER BY term LIMIT 1";
    let mut query = connection.prepare_cached(sql)?;
    let begins = |row: &rusqlite::Row<'_>| Ok(row.get_ref(0)?.as_bytes()?.starts_with(beginning));
    Ok(query.query_row([beginning], begins).optional()?.unwrap_or(false))
}
