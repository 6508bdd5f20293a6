//! The editors' way: every change writes the whole session to a temporary file, syncs it and puts
//! it in the old one's place; and, in the second form, does the same with the index of all sessions.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::document::{Role, Thread, page};
use super::{Entry, System};
use crate::data::{Question, Session};
use crate::harness::Result;

pub(crate) const ENTRY: Entry = Entry {
    name: "json rewrite",
    how: "writes the session's JSON anew, syncs, renames",
    open: |folder| open(folder, false),
};

pub(crate) const ENTRY_WITH_INDEX: Entry = Entry {
    name: "json rewrite + index",
    how: "the same, and the index of all sessions as well",
    open: |folder| open(folder, true),
};

struct JsonRewrite {
    sessions: PathBuf,
    /// Where the index is, and what is in it, for the form that has one.
    index: Option<(PathBuf, Index)>,
    /// Sessions that are open, as an editor has them.
    open: BTreeMap<String, Thread>,
}

type Index = BTreeMap<String, Listed>;

#[derive(Clone, Serialize, Deserialize)]
struct Listed {
    title: String,
    updated: Timestamp,
}

fn open(folder: &Path, indexed: bool) -> Result<Box<dyn System>> {
    let sessions = folder.join("sessions");
    fs::create_dir_all(&sessions)?;
    let index = indexed.then(|| (folder.join("index.json"), Index::new()));
    Ok(Box::new(JsonRewrite { sessions, index, open: BTreeMap::new() }))
}

/// Puts a document in a file's place.
fn replace(path: &Path, document: &impl Serialize, sync: bool) -> Result<()> {
    let temporary = path.with_extension("tmp");
    let mut file = BufWriter::new(File::create(&temporary)?);
    serde_json::to_writer(&mut file, document)?;
    file.flush()?;
    if sync {
        file.get_ref().sync_all()?;
    }
    fs::rename(&temporary, path)?;
    Ok(())
}

fn read(path: &Path) -> Result<Thread> {
    Ok(serde_json::from_slice(&fs::read(path)?)?)
}

impl JsonRewrite {
    fn path(&self, id: &str) -> PathBuf {
        self.sessions.join(format!("{id}.json"))
    }

    fn push(&mut self, id: &str, role: Role, text: &str) -> Result<()> {
        let path = self.path(id);
        if !self.open.contains_key(id) {
            self.open.insert(id.to_owned(), read(&path)?);
            self.load_index()?;
        }
        let thread = self.open.get_mut(id).ok_or("the session is not open")?;
        thread.push(role, text);
        replace(&path, thread, true)?;
        if let Some((path, index)) = &mut self.index {
            let listed = Listed { title: thread.title.clone(), updated: thread.updated };
            index.insert(id.to_owned(), listed);
            replace(path, index, true)?;
        }
        Ok(())
    }

    fn load_index(&mut self) -> Result<()> {
        if let Some((path, index)) = &mut self.index {
            *index = serde_json::from_slice(&fs::read(path)?)?;
        }
        Ok(())
    }

    fn each(&self, mut look: impl FnMut(Thread)) -> Result<()> {
        for entry in fs::read_dir(&self.sessions)? {
            look(read(&entry?.path())?);
        }
        Ok(())
    }
}

impl System for JsonRewrite {
    fn seed(&mut self, sessions: &mut dyn Iterator<Item = Session>) -> Result<()> {
        for session in sessions {
            let thread = Thread::from(session);
            replace(&self.path(&thread.id), &thread, false)?;
            if let Some((_, index)) = &mut self.index {
                index.insert(thread.id, Listed { title: thread.title, updated: thread.updated });
            }
        }
        match &self.index {
            Some((path, index)) => replace(path, index, false),
            None => Ok(()),
        }
    }

    fn ask(&mut self, session: &str, text: &str) -> Result<()> {
        self.push(session, Role::User, text)
    }

    fn answer(&mut self, session: &str, text: &str) -> Result<()> {
        self.push(session, Role::Assistant, text)
    }

    fn newest(&mut self, session: &str, turns: usize) -> Result<usize> {
        Ok(read(&self.path(session))?.newest(turns))
    }

    fn list(&mut self, limit: usize) -> Result<usize> {
        self.load_index()?;
        let mut listed: Vec<(Timestamp, String)> = match &self.index {
            Some((_, index)) => {
                index.values().map(|listed| (listed.updated, listed.title.clone())).collect()
            }
            None => {
                let mut listed = Vec::new();
                self.each(|thread| listed.push((thread.updated, thread.title)))?;
                listed
            }
        };
        listed.sort_unstable_by(|a, b| b.cmp(a));
        listed.truncate(limit);
        Ok(listed.len())
    }

    fn search(&mut self, question: &Question, limit: usize) -> Result<usize> {
        let mut hits = Vec::new();
        self.each(|thread| hits.extend(thread.hits(question)))?;
        Ok(page(hits, limit))
    }
}
