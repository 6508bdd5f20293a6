//! Appending: what lands, and in which order refusals come.

use bytes::Bytes;

use crate::error::ErrorKind::{AlreadyExists, Conflict, Fenced, Invalid, LimitExceeded, NotFound};
use crate::storage::conformance::bench::{
    Bench, Draft, Verdict, at, at_revision, ensure, ensure_eq, key, plain, refused, revisions,
    title,
};
use crate::storage::{Body, Durability, Expected, HeadFields, Incarnation, Revision, StorageExt};

pub(in super::super) async fn a_session_begins(bench: &Bench) -> Verdict {
    let key = key("s")?;
    ensure_eq!(bench.storage.head(&key).await?, None, "a session's head before it begins");
    let batch = Draft::new(0).kinds(&["session", "request", "text"]).head(title("t")).batch();
    let records = batch.records.clone();
    let head = bench.storage.append(&key, Expected::New, batch).await?.head;
    ensure_eq!(head.incarnation, Incarnation::FIRST, "the incarnation");
    ensure_eq!(head.revision, Revision::new(3), "the revision");
    ensure_eq!(head.base, Revision::ZERO, "the base");
    ensure_eq!(head.fields, title("t"), "the fields");
    ensure_eq!(bench.storage.head(&key).await?, Some(head), "the head read");
    ensure_eq!(bench.log(&key).await?, records, "the log");
    Ok(())
}

pub(in super::super) async fn batches_follow_each_other(bench: &Bench) -> Verdict {
    let key = key("s")?;
    let mut head = bench.begin(&key, &["session"]).await?;
    for size in 1..20 {
        let after = head.revision;
        let batch = Draft::new(after.get()).texts(size).batch();
        let next = bench.storage.append(&key, at(&head), batch).await?.head;
        ensure_eq!(next.revision, after.plus(size as u64), "the revision");
        ensure!(next.token != head.token, "the token did not change with the head");
        head = next;
    }
    let all: Vec<u64> = (1..=head.revision.get()).collect();
    ensure_eq!(revisions(&bench.log(&key).await?), all, "the revisions of the log");
    Ok(())
}

pub(in super::super) async fn bodies_come_back_as_they_were(bench: &Bench) -> Verdict {
    let key = key("s")?;
    let all_bytes: Vec<u8> = (0..=255).collect();
    let json = [
        r#"{"a":1,"a":2,"z":{},"b":[1.0,1e400,-0]}"#,
        "123456789012345678901234567890.000",
        r#""\u0000\ud83d\ude00 \u2028""#,
        "null",
        r#"{"sum":"00000000","head":{"title":"x"},"batch":"y"}"#,
        r#"{  "spaces" :	[ ] }"#,
        "\"\u{2028}\u{feff}\"",
    ];
    let mut draft = Draft::new(0).head(title("t"));
    for body in json {
        draft = draft.record("text", Body::Json(Bytes::from_static(body.as_bytes())));
    }
    for body in [&b""[..], b"\n\r\0", &all_bytes, b"{\"not\":\"json\"}"] {
        draft = draft.record("part", Body::Binary(Bytes::copy_from_slice(body)));
    }
    let batch = draft.batch();
    let records = batch.records.clone();
    bench.storage.append(&key, Expected::New, batch).await?;
    for (read, written) in bench.log(&key).await?.iter().zip(&records) {
        ensure_eq!(read.body.bytes(), written.body.bytes(), "record {}", written.revision);
    }
    ensure_eq!(bench.log(&key).await?, records, "the log");
    Ok(())
}

pub(in super::super) async fn an_id_in_use_is_refused(bench: &Bench) -> Verdict {
    let key = key("s")?;
    let head = bench.begin(&key, &["session"]).await?;
    for expected in [Expected::New, Expected::NewIncarnation] {
        let batch = Draft::new(0).texts(1).head(title("second")).batch();
        refused(bench.storage.append(&key, expected, batch).await, AlreadyExists, "a used id")?;
    }
    ensure_eq!(bench.storage.head(&key).await?, Some(head), "the head");
    Ok(())
}

pub(in super::super) async fn what_is_not_there_is_not_found(bench: &Bench) -> Verdict {
    let key = key("s")?;
    let batch = Draft::new(3).texts(1).epoch(0).batch();
    let outcome = bench.storage.append(&key, at_revision(3), batch).await;
    refused(outcome, NotFound, "an append to no session")?;
    let range = crate::storage::ReadRange::Newest { turns: 1 };
    refused(bench.storage.read(&key, range).await, NotFound, "reading no session")?;
    refused(bench.storage.purge(&key).await, NotFound, "deleting no session")?;
    ensure_eq!(bench.storage.head(&key).await?, None, "the head");
    Ok(())
}

pub(in super::super) async fn another_revision_is_a_conflict(bench: &Bench) -> Verdict {
    let key = key("s")?;
    let head = bench.begin(&key, &["session", "request"]).await?;
    for revision in [0, 1, 3, 4, u64::from(u32::MAX)] {
        let batch = Draft::new(revision).texts(2).batch();
        let outcome = bench.storage.append(&key, at_revision(revision), batch).await;
        refused(outcome, Conflict, &format!("an append at revision {revision} of 2"))?;
    }
    ensure_eq!(bench.storage.head(&key).await?, Some(head), "the head");
    ensure_eq!(revisions(&bench.log(&key).await?), vec![1, 2], "the log");
    Ok(())
}

pub(in super::super) async fn another_life_is_not_found(bench: &Bench) -> Verdict {
    let key = key("s")?;
    bench.begin(&key, &["session"]).await?;
    let expected = Expected::At { incarnation: Incarnation::new(2), revision: Revision::new(1) };
    let batch = Draft::new(1).texts(1).batch();
    refused(bench.storage.append(&key, expected, batch).await, NotFound, "another life")
}

pub(in super::super) async fn an_older_epoch_is_fenced(bench: &Bench) -> Verdict {
    let key = key("s")?;
    bench.begin(&key, &["session"]).await?;
    let taken = HeadFields { epoch: 2, ..title("t") };
    let batch = Draft::new(1).texts(1).head(taken).epoch(2).batch();
    bench.storage.append(&key, at_revision(1), batch).await?;
    let batch = Draft::new(2).texts(1).epoch(1).batch();
    refused(bench.storage.append(&key, at_revision(2), batch).await, Fenced, "an older epoch")?;
    for epoch in [2, 3] {
        let head = bench.storage.existing_head(&key).await?;
        let batch = Draft::new(head.revision.get()).texts(1).epoch(epoch).batch();
        bench.storage.append(&key, at(&head), batch).await?;
    }
    bench.add(&key, &["text"]).await?;
    Ok(())
}

pub(in super::super) async fn fenced_comes_before_conflict(bench: &Bench) -> Verdict {
    let key = key("s")?;
    bench.begin(&key, &["session"]).await?;
    let taken = HeadFields { epoch: 5, ..title("t") };
    let batch = Draft::new(1).texts(1).head(taken).batch();
    bench.storage.append(&key, at_revision(1), batch).await?;
    let batch = Draft::new(1).texts(1).epoch(4).batch();
    refused(bench.storage.append(&key, at_revision(1), batch).await, Fenced, "both wrong")?;
    let batch = Draft::new(1).texts(1).epoch(5).batch();
    refused(bench.storage.append(&key, at_revision(1), batch).await, Conflict, "old revision")
}

pub(in super::super) async fn a_bad_batch_is_refused(bench: &Bench) -> Verdict {
    let key = key("s")?;
    let head = bench.begin(&key, &["session"]).await?;
    let mut gap = Draft::new(1).texts(3).batch();
    gap.records.remove(1);
    let mut back = Draft::new(1).texts(2).batch();
    back.records.swap(0, 1);
    let mut foreign = Draft::new(1).texts(1).batch();
    foreign.id = super::super::bench::next_batch();
    let bad = [
        ("no records", Draft::new(1).batch()),
        ("a gap", gap),
        ("a wrong order", back),
        ("a place not expected", Draft::new(2).texts(1).batch()),
        ("a record of another batch", foreign),
        ("a kind in capitals", Draft::new(1).kinds(&["TEXT"]).batch()),
        ("an empty kind", Draft::new(1).kinds(&[""]).batch()),
        ("half a JSON value", Draft::new(1).record("text", Body::Json("{".into())).batch()),
        ("two JSON values", Draft::new(1).record("text", Body::Json("1,\"sum\":2".into())).batch()),
        (
            "no UTF-8",
            Draft::new(1).record("text", Body::Json(b"\"\xff\"".as_slice().into())).batch(),
        ),
        ("white space around it", Draft::new(1).record("text", Body::Json("1 ".into())).batch()),
        ("a line break", Draft::new(1).record("text", Body::Json("[1,\n2]".into())).batch()),
    ];
    for (what, batch) in bad {
        refused(bench.storage.append(&key, at_revision(1), batch).await, Invalid, what)?;
    }
    let headless = Draft::new(0).texts(1).batch();
    let other = super::super::bench::key("other")?;
    let outcome = bench.storage.append(&other, Expected::New, headless).await;
    refused(outcome, Invalid, "a session without a head")?;
    ensure_eq!(bench.storage.head(&key).await?, Some(head), "the head");
    Ok(())
}

pub(in super::super) async fn a_body_over_the_limit_is_refused(bench: &Bench) -> Verdict {
    let most = bench.capabilities.max_record;
    if most > 64 << 20 {
        return Err(super::super::bench::Stop::Skipped("the limit is too large to be tested"));
    }
    let key = key("s")?;
    bench.begin(&key, &["session"]).await?;
    let batch = Draft::new(1).texts(1).sized("text", most + 1).batch();
    let outcome = bench.storage.append(&key, at_revision(1), batch).await;
    refused(outcome, LimitExceeded, "a body over the limit")?;
    let batch = Draft::new(1).sized("text", most).batch();
    let head = bench.storage.append(&key, at_revision(1), batch).await?.head;
    ensure_eq!(head.revision, Revision::new(2), "the revision after a body at the limit");
    let last = bench.log(&key).await?.pop().map(|record| record.body.bytes().len());
    ensure_eq!(last, Some(most), "the size of the body at the limit");
    Ok(())
}

pub(in super::super) async fn the_durability_achieved_is_told(bench: &Bench) -> Verdict {
    let key = key("s")?;
    bench.begin(&key, &["session"]).await?;
    let all = [Durability::Buffered, Durability::Synced, Durability::Replicated];
    for (revision, asked) in (1..).zip(all) {
        let batch = Draft::new(revision).texts(1).durability(asked).batch();
        let got = bench.storage.append(&key, at_revision(revision), batch).await?.durability;
        let best = bench.capabilities.durability;
        ensure!(got >= asked.min(best), "{asked:?} was asked for, {got:?} achieved");
        ensure!(got <= best, "{got:?} was achieved where {best:?} is the best");
    }
    Ok(())
}

pub(in super::super) async fn a_head_stays_until_it_is_changed(bench: &Bench) -> Verdict {
    let key = key("s")?;
    let mut fields = title("a \"title\"\n😀");
    fields.tags = vec!["a".to_owned(), "b".to_owned()];
    fields.extra.insert("later".to_owned(), serde_json::json!({"version": [1, null, "x"]}));
    let batch = Draft::new(0).texts(1).head(fields.clone()).batch();
    bench.storage.append(&key, Expected::New, batch).await?;
    let head = bench.add(&key, &["text"]).await?;
    ensure_eq!(head.fields, fields, "the fields after a batch without a head");
    let batch = Draft::new(2).texts(2).head(title("new")).batch();
    let head = bench.storage.append(&key, at_revision(2), batch).await?.head;
    ensure_eq!(head.fields, title("new"), "the fields after a batch with a head");
    let read = bench.storage.existing_head(&key).await?;
    ensure_eq!(plain(&read), plain(&head), "the head read");
    Ok(())
}
