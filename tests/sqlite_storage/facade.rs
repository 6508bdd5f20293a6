//! The façade on a database.

use chatkeep::storage::{FullText, Statistics, StatisticsQuery, Term, TextQuery};
use chatkeep::{ChatStore, ListQuery, NewSession, OwnerId};

use crate::common::*;

#[test]
fn a_chat_is_kept_listed_found_and_counted() {
    let (dir, storage) = store();
    let done = wait(async {
        let store = ChatStore::builder(storage.clone()).build().await?;
        let me = store.local();
        let chat = me.create(NewSession::titled("Parser")).await?;
        let mut answer = chat.ask("Why does it loop?").await?;
        answer.append_text("The sentinel is never reached.").await?;
        answer.complete().await?;
        Ok::<_, chatkeep::Error>(chat.id().clone())
    });
    let id = done.unwrap();
    let other = open(dir.path());
    wait(async {
        let store = ChatStore::builder(other.clone()).build().await?;
        let chat = store.local().open(&id).await?;
        let turn = chat.model();
        let turn = turn.turns().next().unwrap();
        assert_eq!(turn.response().text(), "The sentinel is never reached.");
        let listed = store.local().list(ListQuery::new()).await?;
        assert_eq!(listed.items[0].title(), "Parser");
        let query = TextQuery::new(vec![Term::new("sentinel")?]);
        let hits = other.search(&OwnerId::local(), &query, None).await?;
        assert_eq!(hits.page.items.len(), 1);
        let totals = other.totals(&OwnerId::local(), &StatisticsQuery::default()).await?;
        assert_eq!((totals.sessions, totals.turns), (1, 1));
        Ok::<_, chatkeep::Error>(())
    })
    .unwrap();
}
