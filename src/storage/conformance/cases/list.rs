//! The catalogue: filters, orders, pages.

use crate::error::ErrorKind::Invalid;
use crate::id::{OwnerId, SessionId, WorkspaceId};
use crate::model::{ResponseState, SessionStatus};
use crate::storage::conformance::bench::{
    Bench, Draft, Stop, Verdict, at_revision, ensure, ensure_eq, key, key_of, refused, time, title,
};
use crate::storage::{Cursor, Expected, HeadFields, ListOrder, ListQuery, SessionHead, StorageExt};

fn owner() -> Result<OwnerId, Stop> {
    Ok(OwnerId::new("owner")?)
}

async fn begin(bench: &Bench, id: &str, fields: HeadFields) -> Verdict {
    let batch = Draft::new(0).texts(1).head(fields).batch();
    bench.storage.append(&key(id)?, Expected::New, batch).await?;
    Ok(())
}

fn ids(sessions: &[SessionHead]) -> Vec<String> {
    sessions.iter().map(|session| session.id().to_string()).collect()
}

async fn listed(bench: &Bench, query: &ListQuery) -> Result<Vec<String>, Stop> {
    Ok(ids(&bench.storage.list_all(&owner()?, query).await?))
}

/// Four sessions that differ in everything.
async fn four(bench: &Bench) -> Verdict {
    let new = |title: &str, created, active| HeadFields {
        title: title.to_owned(),
        active: time(active),
        ..HeadFields::new(time(created))
    };
    let (workspace, parent) = (WorkspaceId::new("w1")?, SessionId::new("a")?);
    let mut a = new("Parser ERRORS", 10, 40);
    (a.pinned, a.tags) = (true, vec!["bug".to_owned(), "parser".to_owned()]);
    (a.workspace, a.state) = (Some(workspace), Some(ResponseState::Complete));
    let mut b = new("étude", 20, 30);
    (b.status, b.agent) = (SessionStatus::Archived, Some("coder".to_owned()));
    b.tags = vec!["parser".to_owned()];
    let mut c = new("Über 100%", 30, 60);
    (c.status, c.parent) = (SessionStatus::Trashed, Some(parent));
    (c.workspace, c.state) = (Some(WorkspaceId::new("w2")?), Some(ResponseState::Failed));
    let d = new("", 40, 50);
    for (id, fields) in [("a", a), ("b", b), ("c", c), ("d", d)] {
        begin(bench, id, fields).await?;
    }
    Ok(())
}

/// What a filter is by, the query, and the sessions that fit.
type Filter = (&'static str, ListQuery, Vec<&'static str>);

fn filters() -> Result<Vec<Filter>, Stop> {
    let query = ListQuery::new;
    let (w1, w2) = (WorkspaceId::new("w1")?, WorkspaceId::new("w2")?);
    Ok(vec![
        ("none", query(), vec!["c", "d", "a", "b"]),
        ("one workspace", query().workspace(&w1), vec!["a"]),
        ("either workspace", query().workspace(&w1).workspace(w2), vec!["c", "a"]),
        ("no workspace", query().global(), vec!["d", "b"]),
        ("a workspace or none", query().workspace(w1).global(), vec!["d", "a", "b"]),
        ("a workspace of none", query().workspace(WorkspaceId::new("w")?), vec![]),
        ("status", query().status(SessionStatus::Active), vec!["d", "a"]),
        (
            "either status",
            query().status(SessionStatus::Archived).status(SessionStatus::Trashed),
            vec!["c", "b"],
        ),
        ("pinned", query().pinned(true), vec!["a"]),
        ("not pinned", query().pinned(false), vec!["c", "d", "b"]),
        ("a tag", query().tag("parser"), vec!["a", "b"]),
        ("both tags", query().tag("parser").tag("bug"), vec!["a"]),
        ("a part of a tag", query().tag("pars"), vec![]),
        ("an agent", query().agent("coder"), vec!["b"]),
        ("a parent", query().parent(SessionId::new("a")?), vec!["c"]),
        ("created from", query().created(Some(time(20)), None), vec!["c", "d", "b"]),
        ("created before", query().created(None, Some(time(20))), vec!["a"]),
        ("active within", query().active(Some(time(40)), Some(time(60))), vec!["d", "a"]),
        ("a state", query().state(ResponseState::Failed), vec!["c"]),
        (
            "either state",
            query().state(ResponseState::Failed).state(ResponseState::Complete),
            vec!["c", "a"],
        ),
        ("a title", query().title("parser err"), vec!["a"]),
        ("a title beyond ASCII", query().title("ÉTUDE"), vec!["b"]),
        ("a title with a wildcard", query().title("0%"), vec!["c"]),
        ("a wildcard alone", query().title("_"), vec![]),
        ("all together", query().pinned(true).tag("bug").title("parser"), vec!["a"]),
        ("what contradicts", query().pinned(true).agent("coder"), vec![]),
    ])
}

pub(in super::super) async fn every_filter(bench: &Bench) -> Verdict {
    four(bench).await?;
    for (what, query, expected) in filters()? {
        ensure_eq!(listed(bench, &query).await?, expected, "the sessions by {what}");
        let count = bench.storage.count(&owner()?, &query).await?;
        ensure_eq!(count, expected.len() as u64, "the count by {what}");
    }
    Ok(())
}

pub(in super::super) async fn every_order(bench: &Bench) -> Verdict {
    four(bench).await?;
    for (order, expected) in [
        (ListOrder::LastActive, ["c", "d", "a", "b"]),
        (ListOrder::Created, ["d", "c", "b", "a"]),
        (ListOrder::Title, ["d", "a", "b", "c"]),
    ] {
        for limit in [1, 2, 3, 4, 1_000] {
            let query = ListQuery::new().order(order).limit(limit);
            let got = listed(bench, &query).await?;
            ensure_eq!(got, expected, "the order by {order:?} at {limit} to a page");
        }
    }
    Ok(())
}

pub(in super::super) async fn ties_are_broken_by_id(bench: &Bench) -> Verdict {
    for id in ["d", "B", "c", "a", "é"] {
        begin(bench, id, title("same")).await?;
    }
    for order in [ListOrder::LastActive, ListOrder::Created, ListOrder::Title] {
        for limit in [1, 2, 10] {
            let query = ListQuery::new().order(order).limit(limit);
            let got = listed(bench, &query).await?;
            ensure_eq!(got, ["B", "a", "c", "d", "é"], "the order by {order:?}");
        }
    }
    Ok(())
}

async fn begin_many(bench: &Bench, count: i64) -> Verdict {
    for number in 0..count {
        begin(bench, &format!("s{number:03}"), HeadFields::new(time(number * 10))).await?;
    }
    Ok(())
}

pub(in super::super) async fn pages_do_not_repeat_or_skip(bench: &Bench) -> Verdict {
    begin_many(bench, 53).await?;
    let expected: Vec<String> = (0..53).rev().map(|number| format!("s{number:03}")).collect();
    for limit in [1, 7, 52, 53, 54] {
        let query = ListQuery::new().limit(limit);
        let (mut got, mut after) = (Vec::new(), None);
        loop {
            let page = bench.storage.list(&owner()?, &query, after).await?;
            ensure!(page.items.len() <= limit, "{} to a page of {limit}", page.items.len());
            got.extend(ids(&page.items));
            let Some(next) = page.next else { break };
            ensure_eq!(page.items.len(), limit, "the length of a page that is not the last");
            after = Some(next);
        }
        ensure_eq!(got, expected, "the sessions at {limit} to a page");
    }
    Ok(())
}

pub(in super::super) async fn pages_are_stable_under_inserts(bench: &Bench) -> Verdict {
    begin_many(bench, 9).await?;
    let query = ListQuery::new().limit(3);
    let first = bench.storage.list(&owner()?, &query, None).await?;
    ensure_eq!(ids(&first.items), ["s008", "s007", "s006"], "the first page");
    // One before the cursor, one after it, and the cursor's own session is gone.
    begin(bench, "new", HeadFields::new(time(1000))).await?;
    begin(bench, "old", HeadFields::new(time(45))).await?;
    bench.storage.purge(&key("s006")?).await?;
    let second = bench.storage.list(&owner()?, &query, first.next).await?;
    ensure_eq!(ids(&second.items), ["s005", "old", "s004"], "the second page");
    let third = bench.storage.list(&owner()?, &query, second.next).await?;
    ensure_eq!(ids(&third.items), ["s003", "s002", "s001"], "the third page");
    Ok(())
}

pub(in super::super) async fn a_foreign_cursor_is_refused(bench: &Bench) -> Verdict {
    begin_many(bench, 3).await?;
    let query = ListQuery::new().limit(1);
    let cursor = bench.storage.list(&owner()?, &query, None).await?.next;
    let cursor = cursor.ok_or_else(|| Stop::Failed("a first page of three has no next".into()))?;
    for other in [
        query.clone().order(ListOrder::Title),
        query.clone().order(ListOrder::Created),
        query.clone().pinned(false),
    ] {
        let outcome = bench.storage.list(&owner()?, &other, Some(cursor.clone())).await;
        refused(outcome, Invalid, "another query's cursor")?;
    }
    for wrong in ["", "x", "0", "bnVsbA", "'; DROP TABLE sessions; --"] {
        let wrong = Cursor(wrong.to_owned());
        let outcome = bench.storage.list(&owner()?, &query, Some(wrong)).await;
        refused(outcome, Invalid, "a cursor that no list gave")?;
    }
    let page = bench.storage.list(&owner()?, &query.limit(2), Some(cursor)).await?;
    ensure_eq!(ids(&page.items), ["s001", "s000"], "the page at another limit");
    Ok(())
}

pub(in super::super) async fn limits_are_checked(bench: &Bench) -> Verdict {
    for limit in [0, 1_001, usize::MAX] {
        let query = ListQuery::new().limit(limit);
        refused(bench.storage.list(&owner()?, &query, None).await, Invalid, "a wrong limit")?;
    }
    let page = bench.storage.list(&owner()?, &ListQuery::new().limit(1_000), None).await?;
    ensure!(page.items.is_empty() && page.next.is_none(), "an owner of none has {page:?}");
    Ok(())
}

pub(in super::super) async fn count_is_of_all_pages(bench: &Bench) -> Verdict {
    begin_many(bench, 12).await?;
    let count = bench.storage.count(&owner()?, &ListQuery::new().limit(5)).await?;
    ensure_eq!(count, 12, "the count");
    Ok(())
}

pub(in super::super) async fn shows_changes_at_once(bench: &Bench) -> Verdict {
    begin(bench, "s", title("one")).await?;
    let fields = HeadFields { active: time(9), status: SessionStatus::Archived, ..title("two") };
    let batch = Draft::new(1).texts(1).head(fields).batch();
    let head = bench.storage.append(&key("s")?, at_revision(1), batch).await?.head;
    let all = bench.storage.list_all(&owner()?, &ListQuery::new()).await?;
    ensure_eq!(all, vec![SessionHead { key: key("s")?, head }], "the list after a change");
    let active = ListQuery::new().status(SessionStatus::Active);
    ensure_eq!(listed(bench, &active).await?, Vec::<String>::new(), "the active ones");
    bench.storage.purge(&key("s")?).await?;
    ensure_eq!(listed(bench, &ListQuery::new()).await?, Vec::<String>::new(), "after deletion");
    let batch = Draft::new(0).texts(1).head(title("three")).batch();
    bench.storage.append(&key("s")?, Expected::NewIncarnation, batch).await?;
    ensure_eq!(listed(bench, &ListQuery::new()).await?, ["s"], "after an import");
    Ok(())
}

pub(in super::super) async fn owners_in_order(bench: &Bench) -> Verdict {
    let mut expected: Vec<String> = (0..23).map(|number| format!("o{number}")).collect();
    expected.extend(["O1", "o", "é", "o1.x", "local"].map(str::to_owned));
    for owner in &expected {
        for id in ["s", "t"] {
            bench.begin(&key_of(owner, id)?, &["session"]).await?;
        }
    }
    expected.sort();
    let (mut got, mut after) = (Vec::new(), None);
    loop {
        let page = bench.storage.owners(after).await?;
        got.extend(page.items.iter().map(ToString::to_string));
        match page.next {
            Some(next) => after = Some(next),
            None => break,
        }
    }
    ensure_eq!(got, expected, "the owners");
    Ok(())
}

pub(in super::super) async fn owners_come_and_go(bench: &Bench) -> Verdict {
    let owners = bench.storage.owners(None).await?.items;
    ensure!(owners.is_empty(), "an empty store has owners: {owners:?}");
    bench.begin(&key("s")?, &["session"]).await?;
    ensure_eq!(bench.storage.owners(None).await?.items, vec![owner()?], "the owners");
    bench.storage.purge(&key("s")?).await?;
    let owners = bench.storage.owners(None).await?.items;
    ensure!(owners.is_empty(), "deletion left owners: {owners:?}");
    let wrong = Some(Cursor("x!".to_owned()));
    refused(bench.storage.owners(wrong).await, Invalid, "a cursor that no list gave")
}
