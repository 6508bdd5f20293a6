//! What is searched: the messages of many sessions, as they come, and a table of them that is
//! scanned.

use std::path::Path;
use std::sync::Arc;

use chatkeep::{OwnerId, Storage};
use rusqlite::{Connection, params, params_from_iter};

use crate::bulk::{Bulk, Open};
use crate::data::{Data, Question, Session};
use crate::harness::Result;

/// Sessions that are written to in turn before the next ones begin.
const AT_ONCE: u64 = 20;
/// Turns of a session that come one after the other.
const PORTION: u64 = 5;
/// The owner of most sessions.
pub(crate) const LOCAL: &str = "local";
/// The owner of one of 1,000 sessions.
pub(crate) const VISITOR: &str = "visitor";

/// So many messages, in sessions of so many turns.
pub(crate) struct Corpus {
    pub(crate) data: Data,
    pub(crate) messages: u64,
    each: u64,
}

/// Some turns of a session that are written together.
struct Portion {
    owner: &'static str,
    session: u64,
    first: u64,
    turns: u64,
}

impl Corpus {
    pub(crate) fn new(messages: u64, each: u64) -> Self {
        Self { data: Data::new(messages), messages, each }
    }

    /// All turns in the order in which they come, some sessions at a time.
    fn portions(&self) -> impl Iterator<Item = Portion> {
        let (sessions, rounds) = (self.messages / 2 / self.each, self.each / PORTION);
        let places = (0..sessions / AT_ONCE).flat_map(move |group| {
            (0..rounds).flat_map(move |_| (0..AT_ONCE).map(move |place| group * AT_ONCE + place))
        });
        places.zip(0_u64..).map(|(session, number)| Portion {
            owner: if session % 1_000 == 7 { VISITOR } else { LOCAL },
            session,
            first: number * PORTION,
            turns: PORTION,
        })
    }

    /// As many turns in sessions that are written whole, for who knows one user and no portions.
    pub(crate) fn sessions(&self) -> impl Iterator<Item = Session> + '_ {
        let sessions = 0..self.messages / 2 / self.each;
        sessions.map(|number| {
            self.data.session(format!("session-{number:06}"), number * self.each, self.each)
        })
    }

    /// Writes everything to a storage of this crate.
    pub(crate) fn fill(&self, storage: &Arc<dyn Storage>) -> Result<()> {
        let mut bulk = Bulk::new(storage);
        let mut open: Vec<(u64, Open)> = Vec::new();
        for portion in self.portions() {
            let place = usize::try_from(portion.session % AT_ONCE)?;
            if open.get(place).is_none_or(|(session, _)| *session != portion.session) {
                let id = format!("session-{:06}", portion.session);
                let owner = OwnerId::new(portion.owner)?;
                let new = bulk.session(owner, &id, &format!("Session {id}"))?;
                open.truncate(place);
                open.push((portion.session, new));
            }
            let turns = portion.first..portion.first + portion.turns;
            let turns: Vec<_> = turns.map(|number| self.data.turn(number)).collect();
            let (_, session) = open.get_mut(place).ok_or("the session is not open")?;
            bulk.append(session, &turns)?;
        }
        Ok(())
    }
}

/// The same text in one table, without any index.
pub(crate) struct Scan(Connection);

impl Scan {
    pub(crate) fn new(corpus: &Corpus, folder: &Path) -> Result<Self> {
        let mut database = Connection::open(folder.join("scan.db"))?;
        database.execute_batch(
            "CREATE TABLE messages (turn INTEGER, owner TEXT NOT NULL, text TEXT NOT NULL)",
        )?;
        let all = database.transaction()?;
        for portion in corpus.portions() {
            let mut insert = all.prepare_cached("INSERT INTO messages VALUES (?1, ?2, ?3)")?;
            for number in portion.first..portion.first + portion.turns {
                let turn = corpus.data.turn(number);
                insert.execute(params![number as i64, portion.owner, turn.request])?;
                insert.execute(params![number as i64, portion.owner, turn.response])?;
            }
        }
        all.commit()?;
        Ok(Self(database))
    }

    /// How many messages have what is asked for. This is what is timed: it looks at every message
    /// once, and keeps nothing.
    pub(crate) fn count(&self, question: &Question) -> Result<u64> {
        let likes: Vec<&str> =
            question.needles.iter().map(|_| "text LIKE '%' || ? || '%'").collect();
        let sql = format!("SELECT count(*) FROM messages WHERE {}", likes.join(" AND "));
        let mut count = self.0.prepare_cached(&sql)?;
        let count: i64 = count.query_row(params_from_iter(&question.needles), |row| row.get(0))?;
        Ok(u64::try_from(count)?)
    }

    /// How many of the user's turns have this word, to compare what is found with; not timed.
    pub(crate) fn turns_with(&self, word: &str) -> Result<usize> {
        let mut count = self.0.prepare_cached(
            "SELECT count(DISTINCT turn) FROM messages
             WHERE text LIKE '%' || ?1 || '%' AND owner = ?2",
        )?;
        let count: i64 = count.query_row([word, LOCAL], |row| row.get(0))?;
        Ok(usize::try_from(count)?)
    }
}
