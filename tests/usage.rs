//! The code that a host should be able to write, as short as this.
#![allow(clippy::unwrap_used, reason = "a test's helpers fail its test")]

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use bytes::Bytes;
use chatkeep::migration::Migrations;
use chatkeep::model::{ChatResponse, Workspace};
use chatkeep::part::{Code, Markdown};
use chatkeep::serializer::{ChatResponseSerializer, JsonChatResponseSerializer, SerializerContext};
use chatkeep::storage::key_value::{Committed, Order, WriteBatch};
use chatkeep::{
    Budget, Change, ChatStore, DataRegistry, FileStorage, JsonChatModelSerializer, KeyValue,
    KeyValueStorage, ListChange, ListQuery, MemoryStorage, NewSession, OwnerId, Part, PartRegistry,
    Query, RawJson, Result, Role, TurnId, WorkspaceId,
};
use semver::Version;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

#[test]
fn a_chat_that_persists_by_itself() -> Result<()> {
    let folder = tempfile::tempdir().unwrap();
    let workspace = WorkspaceId::new("parser")?;
    pollster::block_on(async {
        let id = {
            let store = ChatStore::open(folder.path()).await?;
            let me = store.local();
            let new = NewSession::titled("Parser").workspace(Workspace::new(workspace.clone()));
            let chat = me.create(new).await?;

            let mut answer = chat.ask("Why does the parser loop?").await?;
            answer.append_text("Because the ").await?;
            answer.append_text("sentinel is never reached.").await?;
            answer.push(Code::new("rust", "while !eof() {}")).await?;
            answer.complete().await?;
            chat.id().clone()
        };

        let store = ChatStore::open(folder.path()).await?;
        let me = store.local();
        let chat = me.open(id).await?;
        let mut shown = Vec::new();
        for turn in chat.model().turns() {
            shown.push(turn.request().text().into_owned());
            for part in turn.response().parts() {
                shown.push(part.fallback().into_owned());
            }
        }
        assert_eq!(
            shown,
            [
                "Why does the parser loop?",
                "Because the sentinel is never reached.",
                "while !eof() {}"
            ]
        );
        let messages = chat.context(Budget::tokens(100_000)).await?;
        let roles: Vec<_> = messages.into_iter().map(|message| message.role).collect();
        assert_eq!(roles, [Role::User, Role::Assistant]);

        chat.record("Why?", [Markdown::new("Because.")]).await?;
        assert_eq!(me.resume(workspace).await?.chats.len(), 1);
        Ok(())
    })
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Chart {
    title: String,
    series: Vec<f64>,
}

impl Part for Chart {
    const KIND: &'static str = "acme.chart";
    const VERSION: Version = Version::new(2, 0, 0);

    fn fallback(&self) -> Cow<'_, str> {
        format!("Chart: {}", self.title).into()
    }

    fn migrations() -> Migrations {
        Migrations::new().step("1.0.0", "2.0.0", rename_data_to_series)
    }
}

fn rename_data_to_series(mut chart: Value) -> Result<Value> {
    if let Some(fields) = chart.as_object_mut()
        && let Some(series) = fields.remove("data")
    {
        fields.insert("series".to_owned(), series);
    }
    Ok(chart)
}

#[test]
fn a_response_part_of_ones_own() -> Result<()> {
    let folder = tempfile::tempdir().unwrap();
    let chart = Chart { title: "Loops".to_owned(), series: vec![1.5] };
    pollster::block_on(async {
        let parts = PartRegistry::builtin().with::<Chart>()?;
        let storage = FileStorage::open(folder.path()).await?;
        let store = ChatStore::builder(storage).parts(parts).build().await?;
        let chat = store.local().create(NewSession::new()).await?;
        chat.record("Draw it", [chart.clone()]).await?;
        let model = chat.model();
        let part = &model.turns().next().unwrap().response().parts()[0];
        let drawn: Option<&Chart> = part.downcast_ref();
        assert_eq!(drawn, Some(&chart));

        // Without the registration: the fallback, and every token.
        let other = ChatStore::open(folder.path()).await?;
        let same = other.local().open(chat.id()).await?.model();
        let kept = &same.turns().next().unwrap().response().parts()[0];
        assert_eq!(kept.fallback(), "Chart: Loops");
        assert_eq!(kept.downcast_ref::<Chart>(), None);
        assert_eq!(kept.to_envelope()?, part.to_envelope()?);
        Ok(())
    })
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct TodoList {
    items: Vec<String>,
}

#[test]
fn data_of_ones_own() -> Result<()> {
    let list = TodoList { items: vec!["test".to_owned()] };
    pollster::block_on(async {
        let data = DataRegistry::new().with::<TodoList>("acme.todos")?;
        let store = ChatStore::builder(MemoryStorage::new()).data(data).build().await?;
        let chat = store.local().create(NewSession::new()).await?;
        chat.set_data("acme.todos", &list).await?;
        let todos: Option<TodoList> = chat.data("acme.todos")?;
        assert_eq!(todos, Some(list));
        Ok(())
    })
}

#[derive(Debug)]
struct MyResponseSerializer;

impl ChatResponseSerializer for MyResponseSerializer {
    fn write(&self, response: &ChatResponse, context: SerializerContext<'_>) -> Result<RawJson> {
        let plain = JsonChatResponseSerializer.write(response, context)?;
        RawJson::parse(&format!(r#"{{"mine":{plain}}}"#))
    }

    fn read(&self, json: &RawValue, context: SerializerContext<'_>) -> Result<ChatResponse> {
        let mine: BTreeMap<String, RawJson> = RawJson::parse(json.get())?.read()?;
        JsonChatResponseSerializer.read(mine["mine"].as_raw(), context)
    }
}

#[test]
fn a_serializer_of_ones_own() -> Result<()> {
    pollster::block_on(async {
        let (parts, data) = (PartRegistry::builtin(), DataRegistry::new());
        let serializer = JsonChatModelSerializer::new(parts, data)
            .with_response_serializer(MyResponseSerializer);
        let storage = MemoryStorage::new();
        let store = ChatStore::builder(storage.clone()).serializer(serializer).build().await?;
        let chat = store.local().create(NewSession::new()).await?;
        chat.record("Why?", [Markdown::new("Because.")]).await?;
        assert!(chat.to_document().await?.get().contains(r#""mine":{"#));
        Ok(())
    })
}

#[derive(Debug, Clone, Default)]
struct MyEngine(Arc<Mutex<BTreeMap<Bytes, Bytes>>>);

#[async_trait]
impl KeyValue for MyEngine {
    async fn get(&self, key: &[u8]) -> Result<Option<Bytes>> {
        Ok(self.0.lock().unwrap().get(key).cloned())
    }

    async fn scan(
        &self,
        range: Range<Bytes>,
        limit: usize,
        order: Order,
    ) -> Result<Vec<(Bytes, Bytes)>> {
        let pairs = self.0.lock().unwrap();
        let found = pairs.iter().filter(|(key, _)| range.contains(*key));
        let found = found.map(|(key, value)| (key.clone(), value.clone()));
        Ok(match order {
            Order::Ascending => found.take(limit).collect(),
            Order::Descending => found.rev().take(limit).collect(),
        })
    }

    async fn commit(&self, batch: WriteBatch) -> Result<Committed> {
        let mut pairs = self.0.lock().unwrap();
        for (place, condition) in batch.conditions.iter().enumerate() {
            if pairs.get(&condition.key) != condition.value.as_ref() {
                return Ok(Committed::Failed(place));
            }
        }
        pairs.retain(|key, _| !batch.deletes.contains(key));
        pairs.extend(batch.puts);
        Ok(Committed::Done)
    }
}

#[cfg(feature = "conformance")]
mod engine {
    use super::MyEngine;

    chatkeep::storage::conformance::tests!(MyEngine::default);
}

#[test]
fn somewhere_to_keep_it() -> Result<()> {
    let folder = tempfile::tempdir().unwrap();
    pollster::block_on(async {
        for builder in [
            ChatStore::builder(MemoryStorage::new()),
            ChatStore::builder(FileStorage::open(folder.path()).await?),
            ChatStore::builder(KeyValueStorage::new(MyEngine::default())),
        ] {
            let me = builder.build().await?.local();
            let chat = me.create(NewSession::new()).await?;
            chat.record("Why?", [Markdown::new("Because.")]).await?;
            assert_eq!(me.open(chat.id()).await?.model().turns().len(), 1);
        }
        Ok(())
    })
}

#[test]
fn branches_and_live_updates() -> Result<()> {
    pollster::block_on(async {
        let me = ChatStore::builder(MemoryStorage::new()).build().await?.local();
        let mut sidebar = me.subscribe(ListQuery::new());
        assert_eq!(sidebar.next().await, Some(ListChange::Reloaded));
        let chat = me.create(NewSession::new()).await?;
        let mut changes = chat.subscribe();
        let first = chat.record("Why does the parser loop?", [Markdown::new("Hm.")]).await?;

        chat.edit(first, "Why does the *lexer* loop?").await?.complete().await?;
        chat.regenerate(first).await?.complete().await?;
        assert_eq!(chat.model().siblings(first), [1, 2, 3].map(TurnId::new));
        chat.switch_to(first).await?;
        assert_eq!(chat.model().active(), Some(first));

        assert_eq!(changes.next().await, Some(Change::Turn(first)));
        me.delete(chat.id()).await?;
        while changes.next().await.is_some_and(|change| change != Change::Deleted) {}
        let removed = ListChange::Removed(chat.id().clone());
        while sidebar.next().await.is_some_and(|change| change != removed) {}
        Ok(())
    })
}

#[test]
fn many_users() -> Result<()> {
    pollster::block_on(async {
        let store = ChatStore::builder(MemoryStorage::new()).build().await?;
        let (alice, bob) = (store.owner(OwnerId::new("alice")?), store.owner(OwnerId::new("bob")?));
        for owner in [&alice, &bob] {
            let chat = owner.create(NewSession::titled("Parser")).await?;
            chat.record("Why?", [Markdown::new("The sentinel is never reached.")]).await?;
        }
        let hits = alice.search(Query::parse("sentinel role:assistant before:9000-07")?).await?;
        let found: Vec<_> = hits
            .into_iter()
            .map(|hit| format!("{}: {}", hit.session.title(), hit.snippet.marked("*", "*")))
            .collect();
        assert_eq!(found, ["Parser: The *sentinel* is never reached."]);
        Ok(())
    })
}

#[test]
fn from_synchronous_code() -> Result<()> {
    let folder = tempfile::tempdir().unwrap();
    let store = chatkeep::blocking::ChatStore::open(folder.path())?;
    let chat = store.local().create(NewSession::titled("Parser"))?;
    chat.ask("Why?")?.complete()?;
    assert_eq!(chat.model().turns().len(), 1);
    let hits = store.local().search(Query::parse("why")?)?;
    assert!(chat.load_to(hits.hits[0].turn)?);
    Ok(())
}
