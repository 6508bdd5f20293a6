//! What the façade says when it refuses: each message names what and where.

use std::fmt::Write as _;

use chatkeep::interop::{self, ReadOptions};
use chatkeep::model::{ChatModel, SessionMeta};
use chatkeep::part::Markdown;
use chatkeep::storage::{Cursor, StatisticsQuery};
use chatkeep::{
    Budget, ChatStore, Clock as _, DataRegistry, Error, FileStorage, ListQuery, MemoryStorage,
    NewRequest, NewSession, OwnerId, PartRegistry, Query, RandomIds, RequestId, Result,
    SystemClock, TurnId,
};

use crate::common::*;

/// Keeps what a call that must fail says.
struct Said(String);

impl Said {
    fn note<T>(&mut self, what: &str, result: Result<T>) {
        let error: Error = result.err().unwrap_or_else(|| panic!("{what} did not fail"));
        writeln!(self.0, "{what}: {error}").unwrap();
    }
}

#[test]
fn every_refusal_says_what_and_where() {
    let dir = tempfile::tempdir().unwrap();
    let mut said = Said(String::new());
    pollster::block_on(refusals(&mut said, dir.path())).unwrap();
    insta::assert_snapshot!(said.0, @r###"
create twice: already exists: the session's id is in use (session s1)
open nothing: not found: there is no such session (session s2)
open another's: not found: there is no such session (session s1)
list of none: invalid: a list's limit is 0, it must be 1 to 1000
foreign cursor: invalid: the cursor is not one that this list gave
ask while busy: busy: a response is being written (turn 1, session s1)
record while busy: busy: a response is being written (turn 1, session s1)
replace nothing: not found: the response has no such part (part 7)
append after the end: invalid: the answer has ended (turn 1)
id of a request twice: already exists: a request of this id is there already (request q1, session s1)
edit nothing: not found: there is no such turn (turn 9, session s1)
switch to nothing: not found: there is no such turn (turn 9, session s1)
vote on nothing: not found: there is no such turn (turn 9, session s1)
load no part: not found: the response has no such part (turn 1, part 3, session s1)
data of no kind: unsupported: no data of this id is registered (data acme.counts)
data of another type: invalid: data of this id is registered as u32, not as alloc::string::String (data acme.count)
too small a budget: limit exceeded: the newest turn is 1 tokens long, the budget is 0 (session s1, turn 1)
load to nothing: not found: there is no such turn (turn 9, session s1)
find too many: invalid: a search's limit is 1001, it must be at most 1000
find after another: invalid: the cursor belongs to another search
rename what is deleted: not found: there is no such session (session s1)
create what was deleted: deleted: the session was deleted, and its id stays deleted (session s1)
delete twice: not found: there is no such session (session s1)
import twice: already exists: the session's id is in use (session s3)
import no document: invalid: the JSON has another shape: missing field `chatkeep`
two registries: invalid: a serializer brings its own registries: give it the parts and the data
no statistics: unsupported: the storage has no statistics (backend file)
read what is no session: unsupported: neither a session of Visual Studio Code (`requests`) nor of Theia (`model`)
"###);
}

async fn refusals(said: &mut Said, folder: &std::path::Path) -> Result<()> {
    let store = ChatStore::builder(MemoryStorage::new())
        .data(DataRegistry::new().with::<u32>("acme.count")?)
        .build()
        .await?;
    let me = store.local();
    let chat = me.create(NewSession::titled("Parser").id(id("s1"))).await?;
    said.note("create twice", me.create(NewSession::new().id(id("s1"))).await);
    said.note("open nothing", me.open(id("s2")).await);
    said.note("open another's", store.owner(OwnerId::new("eve")?).open(id("s1")).await);
    said.note("list of none", me.list(ListQuery::new().limit(0)).await);
    let cursor = Some(Cursor("?".to_owned()));
    said.note("foreign cursor", me.list_after(ListQuery::new(), cursor).await);

    let named = || NewRequest::from("Why?").id(RequestId::new("q1").unwrap());
    let mut answer = chat.ask(named()).await?;
    said.note("ask while busy", chat.ask("And?").await);
    said.note("record while busy", chat.record("And?", [Markdown::new("No.")]).await);
    said.note("replace nothing", answer.replace(7, Markdown::new("x")).await);
    answer.complete().await?;
    said.note("append after the end", answer.append_text("x").await);
    said.note("id of a request twice", chat.ask(named()).await);
    said.note("edit nothing", chat.edit(TurnId::new(9), "x").await);
    said.note("switch to nothing", chat.switch_to(TurnId::new(9)).await);
    said.note("vote on nothing", chat.feedback(TurnId::new(9), None).await);
    said.note("load no part", chat.load_part(TurnId::new(1), 3).await);
    said.note("data of no kind", chat.data::<u32>("acme.counts"));
    said.note("data of another type", chat.set_data("acme.count", &"three".to_owned()).await);
    said.note("too small a budget", chat.context(Budget::tokens(0)).await);
    said.note("load to nothing", chat.load_to(TurnId::new(9)).await);
    said.note("find too many", me.search(Query::parse("why")?.limit(1_001)).await);
    chat.record("Why not?", [Markdown::new("Because.")]).await?;
    let next = me.search(Query::parse("why")?.limit(1)).await?.next;
    said.note("find after another", me.search_after(Query::parse("not")?, next).await);
    me.delete(id("s1")).await?;
    said.note("rename what is deleted", chat.rename("x").await);
    said.note("create what was deleted", me.create(NewSession::new().id(id("s1"))).await);
    said.note("delete twice", me.delete(id("s1")).await);

    let model = ChatModel::new(SessionMeta::new(OwnerId::local(), id("s3"), SystemClock.now()));
    me.import(&model).await?;
    said.note("import twice", me.import(&model).await);
    said.note("import no document", me.import_document(b"{}").await);
    let both = ChatStore::builder(MemoryStorage::new())
        .serializer(chatkeep::JsonChatModelSerializer::default())
        .parts(PartRegistry::builtin());
    said.note("two registries", both.build().await);

    let files = ChatStore::builder(FileStorage::open(folder).await?).build().await?;
    said.note("no statistics", files.local().totals(StatisticsQuery::default()).await);
    let options = ReadOptions::new(OwnerId::local(), SystemClock.now(), &RandomIds);
    said.note("read what is no session", interop::read(b"{\"a\":1}", &options));
    Ok(())
}
