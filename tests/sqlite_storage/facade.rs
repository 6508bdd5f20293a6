//! The façade on a database.

use chatkeep::part::Markdown;
use chatkeep::storage::{FullText, Statistics, StatisticsQuery, Term, TextQuery};
use chatkeep::{ChatStore, ListQuery, NewSession, OwnerId, Query};

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

#[test]
fn a_damaged_head_fails_no_search_that_finds_its_session() {
    let dir = tempdir();
    let store = wait(ChatStore::builder(open(dir.path())).build()).unwrap();
    let me = store.local();
    for title in ["one", "two"] {
        let chat = wait(me.create(NewSession::titled(title))).unwrap();
        wait(chat.record("why?", [Markdown::new("the sentinel")])).unwrap();
    }
    raw(dir.path()).execute("UPDATE sessions SET head = '[]' WHERE title = 'two'", ()).unwrap();
    let found = wait(me.search(Query::parse("sentinel").unwrap())).unwrap();
    // Both may be of one millisecond.
    let mut sessions: Vec<_> = found.hits.iter().map(|hit| &hit.session).collect();
    sessions.sort_by_key(|session| session.title());
    assert_eq!(sessions.iter().map(|session| session.title()).collect::<Vec<_>>(), ["", "one"]);
    let unreadable = &sessions[0].head.fields.extra["unreadable"];
    let reason = unreadable.as_str().unwrap();
    assert!(reason.starts_with("corrupt: the session's head is not a head"), "{reason}");
}
