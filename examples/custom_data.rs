//! Data of one's own, kept with a session, a request and a response; and data that is never written.
//!
//! ```sh
//! cargo run --example custom_data
//! ```
#![expect(clippy::expect_used, reason = "an example stops at what it does not expect")]

use chatkeep::part::Markdown;
use chatkeep::{ChatStore, DataRegistry, FileStorage, NewSession, Result};
use serde::{Deserialize, Serialize};

#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
struct TodoList {
    items: Vec<String>,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Review {
    by: String,
    accepted: bool,
}

fn main() -> Result<()> {
    pollster::block_on(run())
}

async fn run() -> Result<()> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let data = DataRegistry::new().with::<TodoList>("acme.todos")?.with::<Review>("acme.review")?;

    let store = ChatStore::builder(FileStorage::open(folder.path()).await?)
        .data(data.clone())
        .build()
        .await?;
    let chat = store.local().create(NewSession::titled("Parser")).await?;
    let turn = chat.record("What is left to do?", [Markdown::new("Two things.")]).await?;

    let todos = TodoList { items: vec!["test the lexer".to_owned(), "write docs".to_owned()] };
    chat.set_data("acme.todos", &todos).await?;
    let review = Review { by: "Kim".to_owned(), accepted: true };
    chat.set_response_data(turn, "acme.review", &review).await?;
    chat.set_transient("acme.scroll_position", Some(&420))?;
    let id = chat.id().clone();
    drop((chat, store));

    let store =
        ChatStore::builder(FileStorage::open(folder.path()).await?).data(data).build().await?;
    let chat = store.local().open(&id).await?;
    println!("todos:     {:?}", chat.data::<TodoList>("acme.todos")?);
    println!("review:    {:?}", chat.response_data::<Review>(turn, "acme.review")?);
    println!("transient: {:?}", chat.transient::<u32>("acme.scroll_position")?);
    assert_eq!(chat.data("acme.todos")?, Some(todos));
    assert_eq!(chat.response_data(turn, "acme.review")?, Some(review));
    assert_eq!(chat.transient::<u32>("acme.scroll_position")?, None);

    // An id that is not registered is an error, not an empty answer.
    let error = chat.data::<TodoList>("acme.todo").expect_err("the id has a typing mistake");
    println!("mistake:   {error}");
    Ok(())
}
