//! The limits: what the disk and the parser take for the very same bytes, and SQLite for one row.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use rusqlite::{Connection, params};
use serde::Deserialize;
use serde_json::Value;

use crate::harness::Result;

/// A file that is written to and synced, and nothing else.
pub(crate) struct Bare(File);

impl Bare {
    pub(crate) fn new(path: &Path) -> Result<Self> {
        Ok(Self(OpenOptions::new().create(true).append(true).open(path)?))
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.0.write_all(bytes)?;
        self.0.sync_data()?;
        Ok(())
    }
}

/// A log that grows, to have the very bytes that were written.
pub(crate) struct Tail {
    path: PathBuf,
    file: File,
}

impl Tail {
    /// From the log's present end.
    pub(crate) fn new(path: &Path) -> Result<Self> {
        let mut file = File::open(path).map_err(|e| format!("{}: {e}", path.display()))?;
        file.seek(SeekFrom::End(0))?;
        Ok(Self { path: path.to_path_buf(), file })
    }

    /// Goes on at the log's present end; of the file that is there now, if it was written anew.
    pub(crate) fn skip(&mut self) -> Result<()> {
        *self = Self::new(&self.path)?;
        Ok(())
    }

    /// What was added since the last call.
    pub(crate) fn fresh(&mut self) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        self.file.read_to_end(&mut bytes)?;
        if bytes.is_empty() {
            return Err(format!("nothing was added to {}", self.path.display()).into());
        }
        Ok(bytes)
    }
}

/// One table, one row per call, each in a transaction that is on the disk when it returns.
pub(crate) struct RawInsert(Connection);

impl RawInsert {
    pub(crate) fn new(path: &Path) -> Result<Self> {
        let database = Connection::open(path)?;
        database.execute_batch(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;
             CREATE TABLE log (revision INTEGER PRIMARY KEY, line BLOB NOT NULL)",
        )?;
        Ok(Self(database))
    }

    pub(crate) fn insert(&self, line: &[u8]) -> Result<()> {
        let mut insert = self.0.prepare_cached("INSERT INTO log (line) VALUES (?1)")?;
        insert.execute(params![line])?;
        Ok(())
    }
}

/// A line of the log as plain structs, with all that it says.
#[derive(Deserialize)]
#[expect(dead_code, reason = "it is parsed, and not used")]
struct Line<B> {
    rev: u64,
    turn: u64,
    kind: String,
    at: Timestamp,
    batch: String,
    #[serde(default)]
    more: u64,
    head: Option<Head>,
    body: B,
    sum: String,
}

#[derive(Deserialize)]
#[expect(dead_code, reason = "it is parsed, and not used")]
struct Head {
    title: Option<String>,
    created: Timestamp,
    active: Timestamp,
    turns: Option<u64>,
    state: Option<String>,
    epoch: Option<u64>,
    running: Option<Value>,
}

#[derive(Deserialize)]
#[expect(dead_code, reason = "it is parsed, and not used")]
struct RequestBody {
    parent: Option<u64>,
    request: Request,
    response: String,
    epoch: Option<u64>,
}

#[derive(Deserialize)]
#[expect(dead_code, reason = "it is parsed, and not used")]
struct Request {
    id: String,
    at: Timestamp,
    message: Vec<String>,
}

#[derive(Deserialize)]
#[expect(dead_code, reason = "it is parsed, and not used")]
struct ResponseBody {
    epoch: Option<u64>,
    response: Response,
}

#[derive(Deserialize)]
#[expect(dead_code, reason = "it is parsed, and not used")]
struct Response {
    id: String,
    state: Option<String>,
    #[serde(default)]
    parts: Vec<Part>,
    #[serde(default)]
    timings: BTreeMap<String, Timestamp>,
}

#[derive(Deserialize)]
#[expect(dead_code, reason = "it is parsed, and not used")]
struct Part {
    kind: String,
    version: Option<String>,
    data: PartData,
}

#[derive(Deserialize)]
struct PartData {
    text: String,
}

/// A session that was parsed.
#[derive(Default)]
pub(crate) struct Parsed {
    requests: Vec<Line<RequestBody>>,
    responses: Vec<Line<ResponseBody>>,
    others: Vec<Line<Value>>,
}

/// Reads a log and parses every line of it.
pub(crate) fn parse(path: &Path) -> Result<Parsed> {
    let text = fs::read_to_string(path)?;
    let mut parsed = Parsed::default();
    for line in text.lines() {
        let kind = line.split_once("\"kind\":\"").and_then(|(_, rest)| rest.split_once('"'));
        match kind.map(|(kind, _)| kind) {
            Some("request") => parsed.requests.push(serde_json::from_str(line)?),
            Some("response") => parsed.responses.push(serde_json::from_str(line)?),
            _ => parsed.others.push(serde_json::from_str(line)?),
        }
    }
    Ok(parsed)
}

impl Parsed {
    /// How many bytes of text there are.
    pub(crate) fn text(&self) -> usize {
        let requests = self.requests.iter().flat_map(|line| &line.body.request.message);
        let parts = self.responses.iter().flat_map(|line| &line.body.response.parts);
        requests.map(String::len).sum::<usize>()
            + parts.map(|part| part.data.text.len()).sum::<usize>()
    }
}
