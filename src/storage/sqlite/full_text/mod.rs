//! Full text: FTS5 over tokens that are cut here, numbered by time.
//!
//! | table | holds |
//! | --- | --- |
//! | `docs` | the passages of a turn as they were given, under a number |
//! | `texts` | FTS5 without content: the tokens of each number, a column for each role |
//! | `words` | a view of the words in `texts` |
//! | `digests` | whose a number is, and a [digest] of its text |
//! | `waiting` | passages of turns that [wait](waiting) to be in `docs` and `texts` |
//! | `full_text` | `spill` and `tokens`, below, and [`traces`] |
//!
//! A number is the turn's time in seconds times four and a slot, so that the newest come first when
//! numbers are walked downwards, without a sort. Where the slots of a second are taken a later
//! number is; this never went further than `spill`.
//!
//! The column `scope` holds a token for the owner and one for the session, so that a search through
//! one owner's turns is an AND of two lists. Each passage begins with a token for its kind, which
//! narrows a search by kind, and over which no phrase reaches. These tokens begin with a character
//! of a private-use area, as no token of a text does.
//!
//! A text [waits](waiting) until there are many whose answers have ended, or very many: searches look
//! at what waits by themselves, and past what it replaces.
//!
//! Tokens are taken out again by cutting the stored passages once more: `tokens` says by which rules
//! they were cut, and where these are older than a program's own all of it is built anew. Newer ones
//! are left to newer programs: what is added waits for one of them, and searches are partial. Only a
//! deletion, which is final, builds it anew all the same.
//!
//! What FTS5 keeps of words that were taken out are [traces], which a deletion looks for.

use std::cmp::Ordering;
use std::collections::{BTreeSet, HashMap};

use rusqlite::{Connection, OptionalExtension as _, params};

use super::catalogue::{SessionRow, integer, unsigned};
use super::error::SqliteError;
use crate::error::{Error, ErrorKind};
use crate::id::TurnId;
use crate::storage::text::tokens;
use crate::storage::{Passage, PassageRole, TurnText};

mod digest;
mod expression;
pub(super) mod passages;
mod search;
#[cfg(test)]
mod tests;
mod traces;
mod waiting;
mod words;

pub(crate) use self::search::search;
pub(crate) use self::waiting::{
    count, create as create_waiting, is_due, of_session as waiting_rows, settle, settle_all,
    settle_some,
};

type Result<T, E = SqliteError> = std::result::Result<T, E>;

/// How many numbers a second has.
const SLOTS: i64 = 4;

/// The tables; [`create_waiting`] and [`create_digests`] add the last ones.
pub(crate) fn create(connection: &Connection) -> Result<()> {
    create_tables(connection)?;
    configure(connection)?;
    set_rules(connection)
}

/// Those of them that are not there, which are complete once they are [built anew](rebuild).
pub(crate) fn create_tables(connection: &Connection) -> Result<()> {
    Ok(connection.execute_batch(
        "CREATE TABLE IF NOT EXISTS docs (
           doc INTEGER PRIMARY KEY,
           session INTEGER NOT NULL,
           turn INTEGER NOT NULL,
           at INTEGER NOT NULL,
           text BLOB NOT NULL
         );
         CREATE UNIQUE INDEX IF NOT EXISTS docs_turn ON docs (session, turn);
         CREATE VIRTUAL TABLE IF NOT EXISTS texts USING fts5 (
           scope, title, user, assistant, tool,
           content = '', columnsize = 0, tokenize = 'ascii'
         );
         CREATE VIRTUAL TABLE IF NOT EXISTS words USING fts5vocab (texts, instance);
         CREATE TABLE IF NOT EXISTS full_text (name TEXT PRIMARY KEY, value) WITHOUT ROWID;
         INSERT OR IGNORE INTO full_text VALUES ('spill', 0);",
    )?)
}

/// The table `digests`, if it is not there. A text that was indexed before there was one has none, and none outlives its
/// text, whoever changes that: a program that knows nothing of digests may have the file open.
pub(crate) fn create_digests(connection: &Connection) -> Result<()> {
    Ok(connection.execute_batch(
        "CREATE TABLE IF NOT EXISTS digests (
           doc INTEGER PRIMARY KEY,
           session INTEGER NOT NULL,
           turn INTEGER NOT NULL,
           at INTEGER NOT NULL,
           digest BLOB NOT NULL
         );
         CREATE TRIGGER IF NOT EXISTS docs_deleted AFTER DELETE ON docs BEGIN
           DELETE FROM digests WHERE doc = old.doc;
         END;
         CREATE TRIGGER IF NOT EXISTS docs_updated AFTER UPDATE ON docs BEGIN
           DELETE FROM digests WHERE doc = old.doc;
         END;",
    )?)
}

/// Deleted tokens leave the file, and segments are merged late.
fn configure(connection: &Connection) -> Result<()> {
    let sql = "INSERT INTO texts (texts, rank) VALUES ('secure-delete', 1), ('automerge', 8)";
    connection.execute(sql, ())?;
    Ok(())
}

/// The row in which a turn's text may wait.
pub(crate) fn waiting_row(session: SessionRow, turn: u64) -> Option<i64> {
    waiting::id_of(session.id, turn)
}

/// By which rules texts are cut into tokens.
fn rules() -> String {
    let (a, b, c) = char::UNICODE_VERSION;
    let (d, e, f) = unicode_normalization::UNICODE_VERSION;
    format!("1, Unicode {a}.{b}.{c} and {d}.{e}.{f}")
}

fn set_rules(connection: &Connection) -> Result<()> {
    let sql = "INSERT OR REPLACE INTO full_text VALUES ('tokens', ?1)";
    connection.execute(sql, [rules()])?;
    Ok(())
}

/// Whether the tokens were cut by the present rules. Nothing may be indexed or taken out otherwise.
pub(crate) fn is_current(connection: &Connection) -> Result<bool> {
    Ok(rules_of(connection)? == Ordering::Equal)
}

/// Whether the tokens were cut by older rules than the present ones, by these, or by newer ones.
/// Missing and unreadable rules are older.
pub(crate) fn rules_of(connection: &Connection) -> Result<Ordering> {
    let found = found_rules(connection)?;
    Ok(found.map_or(Ordering::Less, |found| versions(&found).cmp(&versions(&rules()))))
}

fn found_rules(connection: &Connection) -> Result<Option<String>> {
    let sql = "SELECT value FROM full_text WHERE name = 'tokens'";
    let text = |row: &rusqlite::Row<'_>| Ok(row.get_ref(0)?.as_str().ok().map(str::to_owned));
    Ok(connection.prepare_cached(sql)?.query_row((), text).optional()?.flatten())
}

/// The numbers in rules, which tell newer from older ones.
fn versions(rules: &str) -> Vec<u32> {
    let numbers = rules.split(|other: char| !other.is_ascii_digit());
    numbers.filter_map(|number| number.parse().ok()).collect()
}

/// Cuts all passages into tokens anew.
///
/// Texts that are damaged are removed, since they can be neither found nor taken out of the index.
/// Reading their sessions brings them back.
pub(crate) fn rebuild(connection: &Connection) -> Result<()> {
    drop_tokens(connection)?;
    fill(connection)
}

/// Cuts all passages into tokens, of which there are none.
fn fill(connection: &Connection) -> Result<()> {
    connection.execute("DELETE FROM digests", ())?;
    configure(connection)?;
    let mut docs = connection.prepare(
        "SELECT doc, docs.session, sessions.owner, text, at, turn FROM docs CROSS JOIN sessions
         ON sessions.id = docs.session ORDER BY doc",
    )?;
    let mut rows = docs.query(())?;
    let (mut spill, mut damaged) = (0_i64, Vec::new());
    while let Some(row) = rows.next()? {
        let session = SessionRow { id: row.get(1)?, owner: row.get(2)? };
        let doc: i64 = row.get(0)?;
        match waiting::text_of(row.get(5), row.get(4), row.get_ref(3)?) {
            Ok(text) => {
                let first = start(text.at.as_millisecond());
                spill = spill.max(i64::saturating_sub(doc, first));
                add(connection, doc, session, &text)?;
            }
            Err(damage) => {
                tracing::warn!(error = %Error::from(damage), doc, "a damaged text is left out");
                damaged.push(doc);
            }
        }
    }
    damaged.into_iter().try_for_each(|doc| remove(connection, doc))?;
    waiting::remove_damaged(connection)?;
    let sql = "INSERT OR REPLACE INTO full_text VALUES ('spill', ?1)";
    connection.execute(sql, [spill])?;
    traces::forget(connection)?;
    set_rules(connection)
}

pub(super) fn other(error: rusqlite::types::FromSqlError) -> SqliteError {
    SqliteError::damaged(format!("a turn's text: {error}"))
}

/// Whether texts can be indexed: brings the tokens under the present rules, unless they were cut by
/// newer ones.
pub(crate) fn can_index(connection: &Connection) -> Result<bool> {
    match rules_of(connection)? {
        Ordering::Less => rebuild(connection).map(|()| true),
        Ordering::Equal => Ok(true),
        Ordering::Greater => Ok(false),
    }
}

/// Sets the texts of several turns. Of two of one turn the later one is set.
///
/// Few are left to wait, which costs little, for whoever [settles](settle) them.
pub(crate) fn put_all<'t>(
    connection: &Connection,
    texts: impl IntoIterator<Item = (SessionRow, &'t TurnText)>,
) -> Result<()> {
    let mut texts: Vec<_> = texts.into_iter().collect();
    if texts.len() > 1 {
        let latest: HashMap<_, _> =
            texts.iter().map(|(session, text)| ((*session, text.turn), *text)).collect();
        texts = latest.into_iter().map(|((session, _), text)| (session, text)).collect();
        // FTS5 writes a segment for each number that does not follow the one before.
        texts.sort_unstable_by_key(|(session, text)| (text.at, session.id, text.turn));
    }
    let all_wait = texts.len() < waiting::BATCH || !can_index(connection)?;
    let mut indexed = Vec::new();
    for (session, text) in texts {
        match waiting::id_of(session.id, text.turn.get()) {
            Some(id) if all_wait => {
                waiting::put(connection, id, text)?;
                continue;
            }
            Some(id) => waiting::remove(connection, id)?,
            None => {}
        }
        indexed.push((session, text));
    }
    index_texts(connection, indexed)
}

/// Sets the indexed texts of turns, in order of their times. What cannot be taken out fails nothing.
///
/// FTS5 keeps tokens in memory, and comes across damage only when it writes them: at the end of a
/// transaction, or before a statement that may be undone by itself, as one with triggers. They are
/// written here, and nothing else is changed in between.
fn index_texts<'t>(
    connection: &Connection,
    texts: impl IntoIterator<Item = (SessionRow, &'t TurnText)>,
) -> Result<()> {
    let mut any = false;
    for (session, text) in texts {
        let set = || put(connection, session, text);
        if is_damaged(connection, set())? {
            fill(connection)?;
            set()?;
        }
        any = true;
    }
    if any && is_damaged(connection, write_tokens(connection))? {
        fill(connection)?;
    }
    Ok(())
}

fn write_tokens(connection: &Connection) -> Result<()> {
    command(connection, "flush")
}

/// Has FTS5 do something else than to set a text.
fn command(connection: &Connection, command: &str) -> Result<()> {
    connection.prepare_cached("INSERT INTO texts (texts) VALUES (?1)")?.execute([command])?;
    Ok(())
}

/// Whether a change of the index came across damage: there are no tokens then, and it is to be
/// [filled](fill).
fn is_damaged(connection: &Connection, done: Result<()>) -> Result<bool> {
    match done {
        Ok(()) => Ok(false),
        Err(damage) if damage.kind() == ErrorKind::Corrupt => {
            tracing::warn!(error = %Error::from(damage), "the full text is built anew");
            drop_tokens(connection).map(|()| true)
        }
        Err(other) => Err(other),
    }
}

fn drop_tokens(connection: &Connection) -> Result<()> {
    if command(connection, "delete-all").is_err() {
        // Without a version of its own, FTS5 does nothing at all. This is its lowest one.
        connection.execute("INSERT OR REPLACE INTO texts_config VALUES ('version', 4)", ())?;
        command(connection, "delete-all")?;
    }
    Ok(())
}

/// Merges all of the index: nothing is left in it of what was taken out.
pub(crate) fn optimize(connection: &Connection) -> Result<()> {
    if is_damaged(connection, traces::rewrite(connection))? {
        fill(connection)?;
    }
    Ok(())
}

fn put(connection: &Connection, session: SessionRow, text: &TurnText) -> Result<()> {
    let (bytes, at) = (passages::encode(&text.passages), text.at.as_millisecond());
    // What says nothing cannot be found.
    let is_empty = text.passages.is_empty();
    if let Some(old) = stored(connection, session, text.turn)? {
        if old.at == at && old.bytes == bytes {
            return Ok(());
        }
        take_out(connection, session, &old, |_| {})?;
        traces::note(connection)?;
        if start(old.at) == start(at) && !is_empty {
            let sql = "UPDATE docs SET at = ?2, text = ?3 WHERE doc = ?1";
            connection.prepare_cached(sql)?.execute(params![old.doc, at, bytes])?;
            return add(connection, old.doc, session, text);
        }
        remove(connection, old.doc)?;
    }
    if is_empty {
        return Ok(());
    }
    let doc = free(connection, session, text)?;
    let sql = "INSERT INTO docs (doc, session, turn, at, text) VALUES (?1, ?2, ?3, ?4, ?5)";
    let turn = integer(text.turn.get())?;
    connection.prepare_cached(sql)?.execute(params![doc, session.id, turn, at, bytes])?;
    add(connection, doc, session, text)
}

fn remove(connection: &Connection, doc: i64) -> Result<()> {
    connection.prepare_cached("DELETE FROM docs WHERE doc = ?1")?.execute([doc])?;
    Ok(())
}

/// Removes the text of a turn.
pub(crate) fn remove_turn(
    connection: &Connection,
    session: SessionRow,
    turn: TurnId,
) -> Result<()> {
    let none = TurnText { turn, at: jiff::Timestamp::UNIX_EPOCH, passages: Vec::new() };
    if !can_index(connection)? {
        return put_all(connection, [(session, &none)]);
    }
    if let Some(id) = waiting::id_of(session.id, turn.get()) {
        waiting::remove(connection, id)?;
    }
    if stored(connection, session, turn)?.is_none() {
        return Ok(());
    }
    index_texts(connection, [(session, &none)])
}

/// Sets the texts of all of a session's turns. Those that are there already are left alone; the others
/// are returned.
pub(crate) fn set_session<'t>(
    connection: &Connection,
    session: SessionRow,
    texts: &'t [TurnText],
) -> Result<Vec<&'t TurnText>> {
    let (gone, changed) = match difference(connection, session, texts) {
        Err(damage) if damage.kind() == ErrorKind::Corrupt => {
            tracing::warn!(error = %Error::from(damage), "a session's texts are set anew");
            remove_session(connection, session)?;
            (Vec::new(), texts.iter().collect())
        }
        found => found?,
    };
    gone.into_iter().try_for_each(|turn| remove_turn(connection, session, TurnId::new(turn)))?;
    put_all(connection, changed.iter().map(|text| (session, *text)))?;
    Ok(changed)
}

/// Which of a session's turns have a text that they should not have, and which texts are not there.
fn difference<'t>(
    connection: &Connection,
    session: SessionRow,
    texts: &'t [TurnText],
) -> Result<(Vec<u64>, Vec<&'t TurnText>)> {
    let mut gone = turns(connection, session)?;
    let mut changed = Vec::new();
    for text in texts {
        gone.remove(&text.turn.get());
        if !is_set(connection, session, text)? {
            changed.push(text);
        }
    }
    Ok((gone.into_iter().collect(), changed))
}

/// Whether a turn's text is there as it is.
fn is_set(connection: &Connection, session: SessionRow, text: &TurnText) -> Result<bool> {
    let waits = match waiting::id_of(session.id, text.turn.get()) {
        Some(id) => waiting::stored(connection, id)?,
        None => None,
    };
    let there = match waits {
        Some(waits) => Some(waits),
        None => stored(connection, session, text.turn)?.map(|stored| (stored.at, stored.bytes)),
    };
    let text = (text.at.as_millisecond(), passages::encode(&text.passages));
    Ok(there.map_or(text.1.is_empty(), |there| there == text))
}

/// Removes the texts of all of a session's turns; whether [traces] of deleted words are left, until
/// the index is [optimized](optimize).
pub(crate) fn remove_session(connection: &Connection, session: SessionRow) -> Result<bool> {
    remove_session_and(connection, session, traces::remove)
}

/// The same for whoever removes many: what is left of words is left to the next deletion.
pub(crate) fn forget_session(connection: &Connection, session: SessionRow) -> Result<()> {
    let later = |connection: &_, _: &_| traces::note(connection).map(|()| true);
    remove_session_and(connection, session, later).map(drop)
}

fn remove_session_and(
    connection: &Connection,
    session: SessionRow,
    traces: impl Fn(&Connection, &BTreeSet<Vec<u8>>) -> Result<bool>,
) -> Result<bool> {
    waiting::remove_session(connection, session)?;
    let any = "SELECT 1 FROM docs INDEXED BY docs_turn WHERE session = ?1";
    if !connection.prepare_cached(any)?.exists([session.id])? {
        match traces::are_noted(connection) {
            Ok(true) => {}
            Ok(false) => return Ok(false),
            Err(damage) if damage.kind() == ErrorKind::Corrupt => {
                // A session that has nothing in the index is not kept by it.
                tracing::warn!(error = %Error::from(damage), "the full text is damaged");
                return Ok(true);
            }
            Err(other) => return Err(other),
        }
    }
    let delete = || {
        let sql = "DELETE FROM docs WHERE session = ?1";
        connection.prepare_cached(sql)?.execute([session.id]).map(drop).map_err(SqliteError::from)
    };
    let mut left = false;
    let taken_out = take_out_session(connection, session).and_then(|words| {
        delete()?;
        left = traces(connection, &words)?;
        Ok(())
    });
    if is_damaged(connection, taken_out)? {
        left = false;
        delete()?;
        fill(connection)?;
    }
    Ok(left)
}

/// Takes out the tokens of a session's texts; which words these were.
fn take_out_session(connection: &Connection, session: SessionRow) -> Result<BTreeSet<Vec<u8>>> {
    let mut words = BTreeSet::new();
    let mut query = connection.prepare_cached(
        "SELECT doc, at, text FROM docs INDEXED BY docs_turn WHERE session = ?1 ORDER BY doc",
    )?;
    let mut rows = query.query([session.id])?;
    while let Some(row) = rows.next()? {
        if words.is_empty() && !is_current(connection)? {
            return Err(SqliteError::damaged("the tokens were cut by other rules"));
        }
        take_out(connection, session, &Stored::read(row)?, |word| {
            if !words.contains(word.as_bytes()) {
                words.insert(word.as_bytes().to_owned());
            }
        })?;
    }
    write_tokens(connection)?;
    Ok(words)
}

/// The turns of a session that have a text.
pub(crate) fn turns(connection: &Connection, session: SessionRow) -> Result<BTreeSet<u64>> {
    let mut turns = waiting::turns(connection, session)?;
    turns.extend(indexed_turns(connection, session)?);
    Ok(turns)
}

/// Those of them whose text is indexed.
pub(crate) fn indexed_turns(connection: &Connection, session: SessionRow) -> Result<Vec<u64>> {
    let mut query = connection.prepare_cached("SELECT turn FROM docs WHERE session = ?1")?;
    let turns = query.query_map([session.id], |row| row.get::<_, i64>(0))?;
    turns.map(|turn| unsigned(turn?)).collect()
}

/// A turn's text as it is stored.
struct Stored {
    doc: i64,
    at: i64,
    bytes: Vec<u8>,
}

impl Stored {
    fn read(row: &rusqlite::Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self { doc: row.get(0)?, at: row.get(1)?, bytes: row.get(2)? })
    }
}

fn stored(connection: &Connection, session: SessionRow, turn: TurnId) -> Result<Option<Stored>> {
    let sql = "SELECT doc, at, text FROM docs WHERE session = ?1 AND turn = ?2";
    let mut query = connection.prepare_cached(sql)?;
    Ok(query.query_row([session.id, integer(turn.get())?], Stored::read).optional()?)
}

/// The first number of a time's second.
fn start(at: i64) -> i64 {
    at.div_euclid(1_000).max(0) * SLOTS
}

/// A number for a turn, near its time.
fn free(connection: &Connection, session: SessionRow, text: &TurnText) -> Result<i64> {
    /// So far the numbers after all others are taken without a look at those between.
    const NEAR: i64 = 16 * SLOTS;
    /// So far they are taken once a turn's own number is taken.
    const FAR: i64 = 1 << 16;

    let start = start(text.at.as_millisecond());
    let mut query = connection.prepare_cached(
        "SELECT (SELECT max(doc) FROM docs), (SELECT value FROM full_text WHERE name = 'spill')",
    )?;
    let (last, spill): (Option<i64>, Option<i64>) =
        query.query_row((), |row| Ok((row.get(0)?, row.get(1)?)))?;
    let spill = spill.ok_or_else(|| SqliteError::damaged("the spill of numbers is missing"))?;
    // Whoever writes many turns in a second writes them side by side.
    let after_all = last.map_or(0, |last| last.saturating_add(1).saturating_sub(start).max(0));
    let displacement = match after_all {
        ..NEAR => after_all,
        _ => look_for_one(
            connection,
            session,
            text.turn,
            start,
            (..FAR).contains(&after_all).then_some(after_all),
        )?,
    };
    if displacement > spill {
        // In great steps: it is written seldom.
        let step = displacement.cast_unsigned().checked_next_power_of_two();
        let spill = step.and_then(|step| i64::try_from(step).ok()).unwrap_or(displacement);
        let sql = "UPDATE full_text SET value = ?1 WHERE name = 'spill'";
        connection.prepare_cached(sql)?.execute([spill])?;
    }
    Ok(start + displacement)
}

/// How far from its second's first number a turn's number is, where those near it may be taken.
fn look_for_one(
    connection: &Connection,
    session: SessionRow,
    turn: TurnId,
    start: i64,
    after_all: Option<i64>,
) -> Result<i64> {
    let mut taken = connection.prepare_cached("SELECT 1 FROM docs WHERE doc = ?1")?;
    for attempt in 0_u32.. {
        let displacement = match after_all {
            Some(after_all) if attempt == 1 => after_all,
            _ => displacement(session, turn, attempt),
        };
        if !taken.exists([start + displacement])? {
            return Ok(displacement);
        }
    }
    Err(SqliteError::damaged("all numbers are taken"))
}

/// How far from its second's first number a turn is tried: one place after the other at first, then
/// anywhere in a range that grows, since thousands of imported turns may be of one second.
fn displacement(session: SessionRow, turn: TurnId, attempt: u32) -> i64 {
    const IN_ORDER: u32 = 16;
    let Some(further) = attempt.checked_sub(IN_ORDER) else { return i64::from(attempt) };
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&session.id.to_le_bytes());
    hasher.update(&turn.get().to_le_bytes());
    hasher.update(&attempt.to_le_bytes());
    let range = 1_i64 << (6 + further / 2).min(32);
    i64::from(hasher.finalize()) % range
}

/// The columns that hold text.
const ROLES: [PassageRole; 4] =
    [PassageRole::Title, PassageRole::User, PassageRole::Assistant, PassageRole::Tool];

enum Change {
    Add,
    Remove,
}

/// Takes a number's tokens out of the index.
fn take_out(
    connection: &Connection,
    session: SessionRow,
    stored: &Stored,
    each_word: impl FnMut(&str),
) -> Result<()> {
    let passages = passages::decode(&stored.bytes)?;
    index(connection, Change::Remove, stored.doc, session, &passages, each_word)
}

/// Adds a text's tokens to the index under a number.
fn add(connection: &Connection, doc: i64, session: SessionRow, text: &TurnText) -> Result<()> {
    let mut words = digest::Words::default();
    index(connection, Change::Add, doc, session, &text.passages, |word| words.add(word))?;
    let (turn, at) = (integer(text.turn.get())?, text.at.as_millisecond());
    let sql = "INSERT INTO digests (doc, session, turn, at, digest) VALUES (?1, ?2, ?3, ?4, ?5)";
    let digest = words.digest(&text.passages);
    connection.prepare_cached(sql)?.execute(params![doc, session.id, turn, at, digest])?;
    Ok(())
}

/// Adds a number's tokens to the index, or takes them out.
fn index(
    connection: &Connection,
    change: Change,
    doc: i64,
    session: SessionRow,
    passages: &[Passage],
    mut each_word: impl FnMut(&str),
) -> Result<()> {
    let sql = match change {
        Change::Add => {
            "INSERT INTO texts (rowid, scope, title, user, assistant, tool)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)"
        }
        Change::Remove => {
            "INSERT INTO texts (texts, rowid, scope, title, user, assistant, tool)
             VALUES ('delete', ?1, ?2, ?3, ?4, ?5, ?6)"
        }
    };
    let scope = format!("{} {}", owner_token(session.owner), session_token(session.id));
    let [title, user, assistant, tool] = ROLES.map(|role| column(role, passages, &mut each_word));
    connection.prepare_cached(sql)?.execute(params![doc, scope, title, user, assistant, tool])?;
    Ok(())
}

/// The tokens of the passages of a role.
fn column(role: PassageRole, passages: &[Passage], each_word: &mut impl FnMut(&str)) -> String {
    let mut column = String::new();
    for passage in passages.iter().filter(|passage| passage.role == role) {
        column.push_str(&kind_token(&passage.kind));
        for token in tokens(&passage.text) {
            column.push(' ');
            column.push_str(&token.term);
            each_word(&token.term);
        }
        column.push(' ');
    }
    column
}

fn kind_token(kind: &str) -> String {
    format!("\u{E000}{:08x}", crc32fast::hash(kind.as_bytes()))
}

fn owner_token(owner: i64) -> String {
    format!("\u{E001}{owner}")
}

fn session_token(session: i64) -> String {
    format!("\u{E002}{session}")
}
