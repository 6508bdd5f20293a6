//! The storages that are searched, and short ways to search them.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use chatkeep::model::{ChatRequest, ChatResponse, SessionMeta};
use chatkeep::part::Markdown;
use chatkeep::storage::key_value::MemoryKeyValue;
use chatkeep::{
    ChatModel, ChatSession, ChatStore, Clock, FileStorage, Hits, KeyValueStorage, MemoryStorage,
    NewSession, OwnedStore, OwnerId, Query, RequestId, ResponseId, ResponsePart, ResponseState,
    Result, SessionId, Storage, Turn, TurnId,
};
use jiff::Timestamp;

/// A storage under test: two handles on the same data that are two writers.
pub(crate) struct Engine {
    pub(crate) name: &'static str,
    pub(crate) one: Arc<dyn Storage>,
    pub(crate) two: Arc<dyn Storage>,
    pub(crate) clock: Hands,
    _folder: Option<tempfile::TempDir>,
}

/// Every storage, new and empty: one with a full text of its own, and some without. A further
/// engine is a further line here.
pub(crate) fn engines() -> Vec<Engine> {
    let memory = MemoryStorage::new();
    let other = memory.another_writer();
    let pairs = MemoryKeyValue::new();
    let key_value = || -> Arc<dyn Storage> { Arc::new(KeyValueStorage::new(pairs.clone())) };
    let folder = tempfile::tempdir().unwrap();
    let engine = |name, one, two| Engine { name, one, two, clock: Hands::default(), _folder: None };
    let open = || -> Arc<dyn Storage> { Arc::new(block(FileStorage::open(folder.path()))) };
    let mut files = engine("files", open(), open());
    files._folder = Some(folder);
    vec![
        engine("memory", Arc::new(memory), Arc::new(other)),
        engine("key value", key_value(), key_value()),
        files,
    ]
}

/// Runs a case on every storage, each with a store on either of its handles.
pub(crate) fn each(mut case: impl FnMut(&Engine, &ChatStore, &ChatStore)) {
    for engine in engines() {
        println!("{}", engine.name);
        case(&engine, &engine.store(), &engine.other());
    }
}

impl Engine {
    pub(crate) fn store(&self) -> ChatStore {
        let builder = ChatStore::builder_on(Arc::clone(&self.one)).clock(self.clock.clone());
        block(builder.blob_threshold(400).build())
    }

    /// A store on the other handle, which loads the newest two turns alone.
    pub(crate) fn other(&self) -> ChatStore {
        let builder = ChatStore::builder_on(Arc::clone(&self.two)).clock(self.clock.clone());
        block(builder.blob_threshold(400).first_turns(2).build())
    }
}

pub(crate) fn block<T>(future: impl Future<Output = Result<T>>) -> T {
    pollster::block_on(future).unwrap()
}

pub(crate) fn id(id: &str) -> SessionId {
    SessionId::new(id).unwrap()
}

pub(crate) fn create(me: &OwnedStore, name: &str) -> ChatSession {
    block(me.create(NewSession::titled(name).id(id(name))))
}

/// A session that comes as a whole: turns with a word each, and so much beside it.
pub(crate) fn long(turns: u64, padding: usize) -> ChatModel {
    let at = Timestamp::from_second(1_700_000_000).unwrap();
    let mut model = ChatModel::new(SessionMeta::new(OwnerId::local(), id("s"), at));
    for number in 1..=turns {
        let mut request = ChatRequest::new(RequestId::new(format!("q{number}")).unwrap(), at);
        request.message.push(format!("request{number}").into());
        let mut response = ChatResponse::new(ResponseId::new(format!("a{number}")).unwrap());
        response.state = ResponseState::Complete;
        let text = format!("answer{number} {}", "-".repeat(padding));
        response.parts.push(ResponsePart::new(Markdown::new(text)).unwrap());
        let parent = (number > 1).then(|| TurnId::new(number - 1));
        model.add_turn(Turn::new(TurnId::new(number), parent, request, response)).unwrap();
    }
    model
}

pub(crate) fn search(me: &OwnedStore, query: &str) -> Hits {
    block(me.search(Query::parse(query).unwrap()))
}

/// What a query finds: session, turn, and the snippet with its marks.
pub(crate) fn shown(me: &OwnedStore, query: &str) -> Vec<String> {
    let hits = search(me, query);
    assert_eq!((hits.next.clone(), hits.partial), (None, None), "{query}");
    let shown = |hit: chatkeep::Hit| {
        format!("{}{} {}", hit.session.id(), hit.turn, hit.snippet.marked("[", "]"))
    };
    hits.into_iter().map(shown).collect()
}

/// The sessions and turns that a query finds.
pub(crate) fn found(me: &OwnedStore, query: &str) -> Vec<String> {
    let place = |shown: String| shown.split(' ').next().unwrap().to_owned();
    shown(me, query).into_iter().map(place).collect()
}

pub(crate) const NONE: [&str; 0] = [];

/// A clock that a test sets.
#[derive(Debug, Clone, Default)]
pub(crate) struct Hands(Arc<AtomicI64>);

impl Hands {
    pub(crate) fn advance(&self, seconds: i64) {
        self.0.fetch_add(seconds, Ordering::SeqCst);
    }
}

impl Clock for Hands {
    fn now(&self) -> Timestamp {
        Timestamp::from_second(1_767_225_600 + self.0.load(Ordering::SeqCst)).unwrap()
    }
}
