//! This crate on its engines.

use std::collections::HashMap;
use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use chatkeep::model::{ChatModel, ChatRequest, ChatResponse, SessionMeta, Title};
use chatkeep::part::Markdown;
use chatkeep::{
    ChatStore, FileStorage, ListQuery, OwnerId, Query, RequestId, ResponseId, ResponsePart,
    ResponseState, SessionId, Storage, Turn, TurnId, blocking,
};
use pollster::block_on;

use crate::bulk::Bulk;
use crate::data::{Question, Session};
use crate::harness::Result;
use crate::peers::{Entry, System};
use crate::unindexed::Unindexed;

/// A storage of this crate.
#[derive(Clone, Copy)]
pub(crate) struct Engine {
    pub(crate) name: &'static str,
    pub(crate) open: fn(&Path) -> Result<Arc<dyn Storage>>,
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

/// The default one: logs as files, with an index beside them.
pub(crate) const FILES: Engine = Engine {
    name: "chatkeep files",
    open: |folder| Ok(Arc::new(block_on(FileStorage::open(folder.join("chats")))?)),
};

/// Everything in one SQLite database.
#[cfg(feature = "sqlite")]
const SQLITE: Engine = Engine {
    name: "chatkeep SQLite",
    open: |folder| {
        let path = folder.join("chats.sqlite");
        Ok(Arc::new(block_on(chatkeep::SqliteStorage::open(path))?))
    },
};

/// Everything in one redb database.
#[cfg(feature = "redb")]
const REDB: Engine = Engine {
    name: "chatkeep redb",
    open: |folder| {
        let path = folder.join("chats.redb");
        Ok(Arc::new(block_on(chatkeep::RedbStorage::open(path))?))
    },
};

/// All engines.
pub(crate) fn engines() -> Vec<Engine> {
    vec![
        FILES,
        #[cfg(feature = "sqlite")]
        SQLITE,
        #[cfg(feature = "redb")]
        REDB,
    ]
}

/// The engine of this name, if it was built in.
pub(crate) fn engine(name: &str) -> Option<Engine> {
    engines().into_iter().find(|engine| engine.name == name)
}

/// The same files without an index.
pub(crate) const UNINDEXED: Engine = Engine {
    name: "chatkeep files, no index",
    open: |folder| {
        let files = FileStorage::with_files(folder.join("chats"), Arc::new(Unindexed))?;
        Ok(Arc::new(files))
    },
};

/// The engines as ways of keeping chats.
pub(crate) fn entries() -> Vec<Entry> {
    vec![
        Entry {
            name: FILES.name,
            how: "appends a line to the session's log and syncs; the index follows",
            open: |folder| Ours::open(FILES, folder),
        },
        #[cfg(feature = "sqlite")]
        Entry {
            name: SQLITE.name,
            how: "inserts a row in a transaction, with the index",
            open: |folder| Ours::open(SQLITE, folder),
        },
        #[cfg(feature = "redb")]
        Entry {
            name: REDB.name,
            how: "adds a key to an ordered map in a transaction",
            open: |folder| Ours::open(REDB, folder),
        },
    ]
}

/// Chats of one user in one storage.
pub(crate) struct Ours {
    storage: Arc<dyn Storage>,
    store: blocking::ChatStore,
    chats: HashMap<String, blocking::ChatSession>,
    answers: HashMap<String, blocking::Answer>,
}

impl Ours {
    fn open(engine: Engine, folder: &Path) -> Result<Box<dyn System>> {
        let storage = (engine.open)(folder)?;
        let store = store_on(&storage)?;
        let (chats, answers) = (HashMap::new(), HashMap::new());
        Ok(Box::new(Self { storage, store, chats, answers }))
    }

    fn chat(&mut self, id: &str) -> Result<&blocking::ChatSession> {
        if !self.chats.contains_key(id) {
            let chat = self.store.local().open(SessionId::new(id)?)?;
            self.chats.insert(id.to_owned(), chat);
        }
        Ok(self.chats.get(id).ok_or("the session is not open")?)
    }
}

/// A store that shares a storage.
pub(crate) fn store_on(storage: &Arc<dyn Storage>) -> Result<blocking::ChatStore> {
    Ok(blocking::ChatStore::new(ChatStore::builder_on(Arc::clone(storage)))?)
}

/// Waits until nobody holds the storage any more, and closes it: what it had put off is written.
pub(crate) fn close(storage: Arc<dyn Storage>) -> Result<()> {
    let deadline = Instant::now() + Duration::from_secs(30);
    while Arc::strong_count(&storage) > 1 {
        if Instant::now() > deadline {
            return Err("a store that was dropped still holds its storage".into());
        }
        std::thread::sleep(Duration::from_micros(200));
    }
    drop(storage);
    Ok(())
}

/// A session as a model, to be imported.
pub(crate) fn model_of(session: &Session) -> Result<ChatModel> {
    let created = session.turns.first().map(|turn| turn.at).unwrap_or_default();
    let mut meta = SessionMeta::new(OwnerId::local(), SessionId::new(&session.id)?, created);
    meta.title = Some(Title::by_person(&session.title));
    let mut model = ChatModel::new(meta);
    for (number, turn) in (1_u64..).zip(&session.turns) {
        let id = RequestId::new(format!("request-{number}"))?;
        let mut request = ChatRequest::new(id, turn.at);
        request.message.push(turn.request.as_str().into());
        let mut response = ChatResponse::new(ResponseId::new(format!("response-{number}"))?);
        response.state = ResponseState::Complete;
        response.timings.started = Some(turn.at);
        response.timings.completed = Some(turn.at);
        response.parts.push(ResponsePart::new(Markdown::new(&turn.response))?);
        let parent = (number > 1).then(|| TurnId::new(number - 1));
        model.add_turn(Turn::new(TurnId::new(number), parent, request, response))?;
    }
    Ok(model)
}

/// Looks at every request and part, as what they are. Returns how many bytes of text there are.
pub(crate) fn touch(model: &ChatModel, turns: usize) -> Result<usize> {
    let mut bytes = 0;
    for turn in model.turns().rev().take(turns) {
        bytes += turn.request().text().len();
        for part in turn.response().parts() {
            let markdown = part.downcast_ref::<Markdown>();
            bytes += markdown.ok_or("a part is not what it was")?.text.len();
        }
    }
    Ok(bytes)
}

/// Sessions of more turns than this are imported, which leaves checkpoints to open them by.
const IMPORTED: usize = 64;

impl System for Ours {
    fn seed(&mut self, sessions: &mut dyn Iterator<Item = Session>) -> Result<()> {
        let mut bulk = Bulk::new(&self.storage);
        for session in sessions {
            if session.turns.len() > IMPORTED {
                self.store.local().import(&model_of(&session)?)?;
            } else {
                let mut open = bulk.session(OwnerId::local(), &session.id, &session.title)?;
                bulk.append(&mut open, &session.turns)?;
            }
        }
        Ok(())
    }

    fn ask(&mut self, session: &str, text: &str) -> Result<()> {
        let answer = self.chat(session)?.ask(text)?;
        self.answers.insert(session.to_owned(), answer);
        Ok(())
    }

    fn answer(&mut self, session: &str, text: &str) -> Result<()> {
        let mut answer = self.answers.remove(session).ok_or("nothing was asked")?;
        answer.append_text(text)?;
        Ok(answer.complete()?)
    }

    fn newest(&mut self, session: &str, turns: usize) -> Result<usize> {
        let chat = self.chat(session)?;
        while chat.model().turns().len() < turns && chat.load_earlier(4_096)? > 0 {}
        touch(&chat.model(), turns)
    }

    fn list(&mut self, limit: usize) -> Result<usize> {
        Ok(self.store.local().list(ListQuery::new().limit(limit))?.items.len())
    }

    fn search(&mut self, question: &Question, limit: usize) -> Result<usize> {
        let query = Query::parse(&question.text)?.limit(limit);
        Ok(self.store.local().search(query)?.hits.len())
    }

    fn close(self: Box<Self>) -> Result<()> {
        let Self { storage, store, chats, answers } = *self;
        drop((answers, chats, store));
        close(storage)
    }
}
