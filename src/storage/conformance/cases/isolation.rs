//! Owners and ids that must not reach each other.

use bytes::Bytes;

use crate::error::ErrorKind::NotFound;
use crate::storage::conformance::bench::{
    Bench, Draft, Verdict, at_revision, ensure_eq, key, key_of, refused, revisions, title,
};
use crate::storage::{
    Body, Expected, ListQuery, ReadRange, Record, Revision, SessionKey, StorageExt,
};

pub(in super::super) async fn same_id_under_two_owners(bench: &Bench) -> Verdict {
    let (a, b) = (key_of("a", "s")?, key_of("b", "s")?);
    bench.begin(&a, &["session", "text"]).await?;
    bench.begin(&b, &["session", "text", "text"]).await?;
    ensure_eq!(revisions(&bench.log(&a).await?), vec![1, 2], "a's log");
    bench.storage.purge(&a).await?;
    ensure_eq!(revisions(&bench.log(&b).await?), vec![1, 2, 3], "b's log after a's deletion");
    ensure_eq!(bench.storage.count(&a.owner, &ListQuery::new()).await?, 0, "a's count");
    ensure_eq!(bench.storage.count(&b.owner, &ListQuery::new()).await?, 1, "b's count");
    let list = bench.storage.list_all(&b.owner, &ListQuery::new()).await?;
    ensure_eq!(list.len(), 1, "the length of b's list");
    bench.begin(&key_of("c", "s")?, &["session"]).await?;
    Ok(())
}

pub(in super::super) async fn a_foreign_session_is_not_found(bench: &Bench) -> Verdict {
    let (mine, foreign, absent) = (key_of("a", "771")?, key_of("b", "771")?, key_of("b", "772")?);
    bench.begin(&mine, &["session", "text"]).await?;
    let range = ReadRange::After(Revision::ZERO);
    let mut answers = Vec::new();
    for key in [&foreign, &absent] {
        ensure_eq!(bench.storage.head(key).await?, None, "a foreign head");
        let batch = || Draft::new(2).texts(1).batch();
        refused(bench.storage.append(key, at_revision(2), batch()).await, NotFound, "an append")?;
        refused(bench.storage.purge(key).await, NotFound, "a deletion")?;
        let read = bench.storage.read(key, range).await;
        let words = read.as_ref().map_or_else(ToString::to_string, |_| "success".to_owned());
        answers.push(words.replace(key.id.as_str(), "?"));
        refused(read, NotFound, "a read")?;
    }
    ensure_eq!(answers[0], answers[1], "what is said of a foreign session");
    ensure_eq!(revisions(&bench.log(&mine).await?), vec![1, 2], "the session's log");
    Ok(())
}

/// Ids that file systems, URLs and databases are known to confuse.
fn unusual() -> Vec<String> {
    let mut ids: Vec<String> = [
        "A",
        "a",
        "CON",
        "con",
        "nul.txt",
        "aux",
        "COM1",
        "...",
        ".a",
        "a.",
        "a..",
        "a.b",
        "%2e",
        "%2E",
        "%2e%2e",
        "%",
        "%25",
        "a b",
        "a+b",
        "a:b",
        "a*b",
        "a?b",
        "a\"b",
        "a<b>",
        "a|b",
        "a'b",
        "$a",
        "~",
        "-",
        "--help",
        "_",
        "#",
        "a&b=c",
        "é",
        "e\u{301}",
        "É",
        "ß",
        "SS",
        "ss",
        "İ",
        "i",
        "I",
        "ı",
        "ſ",
        "ﬁ",
        "fi",
        "😀",
        "👩‍👩‍👧",
        "日本語",
        "עברית",
        "\u{feff}x",
        "x\u{200b}",
        "a\u{202e}b",
        "null",
        "0",
        "00",
        "-1",
        "1e3",
        "true",
        "{}",
        "[1]",
        "\u{10ffff}",
        "a,b",
        "a;b",
        "a@b",
        "a~1",
        "LONGNA~1",
        "lock",
        "index",
        "quarantine",
        "blobs",
        "tmp",
        ".lock",
        "s.jsonl",
    ]
    .map(str::to_owned)
    .into();
    ids.extend(["x", "X", "é", "😀"].map(|text| text.repeat(200 / text.len())));
    ids.push(format!("{}y", "x".repeat(199)));
    ids
}

fn record_of(id: &str) -> Body {
    Body::Json(Bytes::from(serde_json::Value::from(id).to_string()))
}

async fn begin_each(bench: &Bench, keys: &[SessionKey]) -> Verdict {
    for (number, key) in keys.iter().enumerate() {
        let body = record_of(&key.to_string());
        let batch = Draft::new(0).record("text", body).head(title(&number.to_string())).batch();
        bench.storage.append(key, Expected::New, batch).await?;
    }
    for (number, key) in keys.iter().enumerate() {
        let bodies: Vec<Body> = bench.log(key).await?.into_iter().map(|r: Record| r.body).collect();
        ensure_eq!(bodies, vec![record_of(&key.to_string())], "the log of {key}");
        let head = bench.storage.existing_head(key).await?;
        ensure_eq!(head.fields.title, number.to_string(), "the title of {key}");
    }
    Ok(())
}

pub(in super::super) async fn unusual_ids_are_apart(bench: &Bench) -> Verdict {
    let keys: Result<Vec<_>, _> = unusual().iter().map(|id| key(id)).collect();
    let mut keys = keys?;
    begin_each(bench, &keys).await?;
    let query = ListQuery::new().limit(1_000);
    let listed = bench.storage.list_all(&keys[0].owner, &query).await?;
    let mut listed: Vec<SessionKey> = listed.into_iter().map(|session| session.key).collect();
    listed.sort();
    keys.sort();
    ensure_eq!(listed, keys, "the sessions listed");
    // Deleting one takes none of the others along.
    while let Some(key) = keys.pop() {
        bench.storage.purge(&key).await?;
        let left = bench.storage.count(&key.owner, &query).await?;
        ensure_eq!(left, keys.len() as u64, "what is left after {key}");
    }
    Ok(())
}

pub(in super::super) async fn unusual_owners_are_apart(bench: &Bench) -> Verdict {
    let keys: Result<Vec<_>, _> = unusual().iter().map(|owner| key_of(owner, "s")).collect();
    let keys = keys?;
    begin_each(bench, &keys).await?;
    let mut expected: Vec<_> = keys.iter().map(|key| key.owner.clone()).collect();
    expected.sort();
    ensure_eq!(bench.storage.owners(None).await?.items, expected, "the owners");
    for key in &keys {
        let listed = bench.storage.list_all(&key.owner, &ListQuery::new()).await?;
        ensure_eq!(listed.len(), 1, "the length of the list of {}", key.owner);
    }
    Ok(())
}
