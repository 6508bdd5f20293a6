//! The command-line agents' way: a file per session, a line per message, no index. Lists look at
//! every file's time, and read the beginning of the newest.

use std::fs::{self, File, OpenOptions};
use std::io::{BufRead as _, BufReader, BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use super::document::{Message, Role, messages, page};
use super::{Entry, System};
use crate::data::{Question, Session};
use crate::harness::Result;

pub(crate) const ENTRY: Entry = Entry {
    name: "plain JSONL",
    how: "appends a line and syncs; no index",
    open: |folder| {
        let sessions = folder.join("sessions");
        fs::create_dir_all(&sessions)?;
        Ok(Box::new(Jsonl { sessions, open: None }))
    },
};

struct Jsonl {
    sessions: PathBuf,
    /// The file that is written to.
    open: Option<(String, File)>,
}

/// A file's first line.
#[derive(Serialize, Deserialize)]
struct Meta {
    id: String,
    title: String,
}

fn append(file: &mut File, message: &Message) -> Result<()> {
    let mut line = serde_json::to_vec(message)?;
    line.push(b'\n');
    file.write_all(&line)?;
    file.sync_data()?;
    Ok(())
}

fn title(path: &Path) -> Result<String> {
    let mut line = String::new();
    BufReader::new(File::open(path)?).read_line(&mut line)?;
    Ok(serde_json::from_str::<Meta>(&line)?.title)
}

impl Jsonl {
    fn path(&self, id: &str) -> PathBuf {
        self.sessions.join(format!("{id}.jsonl"))
    }

    fn push(&mut self, id: &str, role: Role, text: &str) -> Result<()> {
        if self.open.as_ref().is_none_or(|(open, _)| open != id) {
            let file = OpenOptions::new().append(true).open(self.path(id))?;
            self.open = Some((id.to_owned(), file));
        }
        let (_, file) = self.open.as_mut().ok_or("the session is not open")?;
        append(file, &Message::now(role, text))
    }
}

impl System for Jsonl {
    fn seed(&mut self, sessions: &mut dyn Iterator<Item = Session>) -> Result<()> {
        for session in sessions {
            let mut file = BufWriter::new(File::create(self.path(&session.id))?);
            let meta = Meta { id: session.id.clone(), title: session.title.clone() };
            writeln!(file, "{}", serde_json::to_string(&meta)?)?;
            for message in messages(session) {
                writeln!(file, "{}", serde_json::to_string(&message)?)?;
            }
            file.flush()?;
        }
        Ok(())
    }

    fn ask(&mut self, session: &str, text: &str) -> Result<()> {
        self.push(session, Role::User, text)
    }

    fn answer(&mut self, session: &str, text: &str) -> Result<()> {
        self.push(session, Role::Assistant, text)
    }

    fn newest(&mut self, session: &str, turns: usize) -> Result<usize> {
        // The whole file, from its beginning.
        let file = BufReader::new(File::open(self.path(session))?);
        let mut messages = Vec::new();
        for line in file.lines().skip(1) {
            messages.push(serde_json::from_str::<Message>(&line?)?);
        }
        let newest = messages.iter().rev().take(turns.saturating_mul(2));
        Ok(newest.map(|message| message.content.len()).sum())
    }

    fn list(&mut self, limit: usize) -> Result<usize> {
        let mut files: Vec<(SystemTime, PathBuf)> = Vec::new();
        for entry in fs::read_dir(&self.sessions)? {
            let entry = entry?;
            files.push((entry.metadata()?.modified()?, entry.path()));
        }
        files.sort_unstable_by(|a, b| b.cmp(a));
        let newest = files.iter().take(limit);
        let titles: Result<Vec<String>> = newest.map(|(_, path)| title(path)).collect();
        Ok(titles?.len())
    }

    fn search(&mut self, question: &Question, limit: usize) -> Result<usize> {
        let mut hits = Vec::new();
        for entry in fs::read_dir(&self.sessions)? {
            let text = fs::read_to_string(entry?.path())?;
            for line in text.lines().skip(1).filter(|line| question.fits(line)) {
                hits.push(serde_json::from_str::<Message>(line)?.at);
            }
        }
        Ok(page(hits, limit))
    }
}
