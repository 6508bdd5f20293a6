//! A log of an older format: read as it is, rewritten when it is changed.

use std::sync::Arc;

use chatkeep::migration::{Migrations, Migrator};
use chatkeep::model::Workspace;
use chatkeep::part::Markdown;
use chatkeep::storage::{ReadRange, Revision, SessionKey};
use chatkeep::{
    ChatSession, ChatStore, DataRegistry, ErrorKind, JsonChatModelSerializer, MemoryStorage,
    NewSession, PartRegistry, Result, Storage, WorkspaceId,
};
use semver::Version;
use serde_json::Value;

/// The format as a later version of the crate might have it: the title of a session is upper case.
fn later() -> JsonChatModelSerializer {
    fn shout(mut record: Value) -> Result<Value> {
        if let Some(text) = record.pointer_mut("/body/session/title/text") {
            *text = text.as_str().unwrap_or_default().to_uppercase().into();
        }
        Ok(record)
    }
    let records = Migrations::new().step("1.0.0", "2.0.0", shout);
    let migrator = Migrator::new(Version::new(2, 0, 0), Migrations::new(), records).unwrap();
    JsonChatModelSerializer::new(PartRegistry::builtin(), DataRegistry::new())
        .with_migrator(migrator)
}

async fn log_of(storage: &dyn Storage, chat: &ChatSession) -> Vec<(u64, String)> {
    let key = SessionKey::new(chat.owner().clone(), chat.id().clone());
    let page = storage.read(&key, ReadRange::After(Revision::ZERO)).await.unwrap();
    let text = |body: &[u8]| String::from_utf8(body.to_vec()).unwrap();
    page.records.iter().map(|r| (r.revision.get(), text(r.body.bytes()))).collect()
}

#[test]
fn an_older_log_stays_while_it_is_read_and_is_rewritten_when_it_is_changed() {
    pollster::block_on(async {
        let storage: Arc<dyn Storage> = Arc::new(MemoryStorage::new());
        let old = ChatStore::builder_on(Arc::clone(&storage)).build().await.unwrap();
        let chat = old.local().create(NewSession::titled("Parser")).await.unwrap();
        chat.record("Why?", [Markdown::new("Because.")]).await.unwrap();
        let before = log_of(&*storage, &chat).await;

        let new = ChatStore::builder_on(Arc::clone(&storage)).serializer(later());
        let new = new.build().await.unwrap();
        let migrated = new.local().open(chat.id()).await.unwrap();
        assert_eq!(migrated.model().title(), "PARSER");
        assert_eq!(log_of(&*storage, &chat).await, before, "reading changes nothing");

        migrated.record("And now?", [Markdown::new("Now it is.")]).await.unwrap();
        let after = log_of(&*storage, &chat).await;
        let revisions = |log: &[(u64, String)]| log.iter().map(|(r, _)| *r).collect::<Vec<_>>();
        assert_eq!(revisions(&after)[..before.len()], revisions(&before), "revisions stay");
        assert!(after[0].1.contains(r#""format":"2.0.0""#), "{}", after[0].1);
        assert!(after[1].1.contains("PARSER"), "{}", after[1].1);

        // Read again without a step, and changed again without being rewritten.
        let again = new.local().open(chat.id()).await.unwrap();
        assert_eq!(again.model().title(), "PARSER");
        assert_eq!(again.model().turns().len(), 2);

        // The old code refuses it and leaves it alone.
        let old = ChatStore::builder_on(Arc::clone(&storage)).build().await.unwrap();
        let error = old.local().open(chat.id()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::UnsupportedVersion);
        assert_eq!(log_of(&*storage, &chat).await, after);
    });
}

#[test]
fn a_session_that_cannot_be_opened_keeps_no_other_from_being_resumed() {
    pollster::block_on(async {
        let storage: Arc<dyn Storage> = Arc::new(MemoryStorage::new());
        let parser = WorkspaceId::new("parser").unwrap();
        let in_parser =
            |title: &str| NewSession::titled(title).workspace(Workspace::new(parser.clone()));
        let new = ChatStore::builder_on(Arc::clone(&storage)).serializer(later());
        let new = new.build().await.unwrap();
        let newer = new.local().create(in_parser("Newer")).await.unwrap();
        let old = ChatStore::builder_on(Arc::clone(&storage)).build().await.unwrap();
        let older = old.local().create(in_parser("Older")).await.unwrap();

        let resumed = old.local().resume(&parser).await.unwrap();
        assert_eq!(resumed.chats.iter().map(ChatSession::id).collect::<Vec<_>>(), [older.id()]);
        let failed: Vec<_> = resumed.failed.iter().map(|(id, e)| (id, e.kind())).collect();
        assert_eq!(failed, [(newer.id(), ErrorKind::UnsupportedVersion)]);
    });
}
