//! Replaces the serializer of responses alone; the log and the document both use it.
//!
//! ```sh
//! cargo run --example custom_serializer
//! ```

use chatkeep::model::ChatResponse;
use chatkeep::part::Markdown;
use chatkeep::serializer::{ChatResponseSerializer, JsonChatResponseSerializer, SerializerContext};
use chatkeep::storage::{ReadRange, Revision, SessionKey};
use chatkeep::{
    ChatStore, DataRegistry, JsonChatModelSerializer, MemoryStorage, NewSession, PartRegistry,
    RawJson, Result,
};
use semver::Version;
use serde_json::value::RawValue;

/// Wraps each response in an object that says who is accountable for it.
#[derive(Debug)]
struct Accountable {
    department: &'static str,
}

impl ChatResponseSerializer for Accountable {
    fn write(&self, response: &ChatResponse, context: SerializerContext<'_>) -> Result<RawJson> {
        let response = JsonChatResponseSerializer.write(response, context)?;
        let department = RawJson::of(self.department)?;
        RawJson::parse(&format!(r#"{{"accountable":{department},"response":{response}}}"#))
    }

    fn read(&self, json: &RawValue, context: SerializerContext<'_>) -> Result<ChatResponse> {
        #[derive(serde::Deserialize)]
        struct Wrapper<'a> {
            #[serde(borrow)]
            response: &'a RawValue,
        }
        let wrapper: Wrapper<'_> = serde_json::from_str(json.get()).map_err(|e| {
            chatkeep::Error::new(chatkeep::ErrorKind::Invalid, "the wrapper is missing")
                .caused_by(e)
        })?;
        JsonChatResponseSerializer.read(wrapper.response, context)
    }
}

fn main() -> Result<()> {
    pollster::block_on(run())
}

async fn run() -> Result<()> {
    let serializer = JsonChatModelSerializer::new(PartRegistry::builtin(), DataRegistry::new())
        .with_response_serializer(Accountable { department: "compilers" })
        .named("acme.accountable", Version::new(1, 0, 0));
    let store = ChatStore::builder(MemoryStorage::new()).serializer(serializer).build().await?;

    let chat = store.local().create(NewSession::titled("Parser")).await?;
    chat.record("Why does it loop?", [Markdown::new("The sentinel is never reached.")]).await?;

    // The log …
    let key = SessionKey::new(chat.owner().clone(), chat.id().clone());
    let log = store.storage().read(&key, ReadRange::After(Revision::ZERO)).await?;
    for record in &log.records {
        println!("{:<9} {}", record.kind, String::from_utf8_lossy(record.body.bytes()));
    }
    // … and the document have the same shape.
    let document = chat.to_document().await?;
    println!("\ndocument  {document}");
    assert!(document.get().contains(r#""accountable":"compilers""#));
    let in_log = |record: &chatkeep::storage::Record| {
        String::from_utf8_lossy(record.body.bytes()).contains(r#""accountable":"compilers""#)
    };
    assert!(log.records.iter().any(in_log));
    Ok(())
}
