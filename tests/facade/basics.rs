//! The shortest way through.

use chatkeep::{ChatStore, NewSession};

use crate::common::*;

#[test]
fn a_chat_persists_by_itself_and_is_restored_whole() {
    let folder = tempfile::tempdir().unwrap();
    let id = block(async {
        let store = ChatStore::open(folder.path()).await?;
        let chat = store.local().create(NewSession::titled("Parser")).await?;
        let mut answer = chat.ask("Why does the parser loop?").await?;
        answer.append_text("Because the ").await?;
        answer.append_text("sentinel is never reached.").await?;
        answer.push(chatkeep::part::Code::new("rust", "while !eof() {}")).await?;
        answer.complete().await?;
        chat.record("And now?", [chatkeep::part::Markdown::new("It ends.")]).await?;
        Ok(chat.id().clone())
    });
    block(async {
        let store = ChatStore::open(folder.path()).await?;
        let chat = store.local().open(&id).await?;
        let model = chat.model();
        let texts: Vec<_> = model
            .turns()
            .map(|turn| (turn.request().text().into_owned(), turn.response().text()))
            .collect();
        assert_eq!(
            texts,
            [
                (
                    "Why does the parser loop?".to_owned(),
                    "Because the sentinel is never reached.\nwhile !eof() {}".to_owned()
                ),
                ("And now?".to_owned(), "It ends.".to_owned()),
            ]
        );
        Ok(())
    });
}
