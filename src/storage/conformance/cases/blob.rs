//! Blobs: per session, under the hash of their content.

use bytes::Bytes;

use crate::error::ErrorKind::{Invalid, NotFound};
use crate::storage::BlobId;
use crate::storage::conformance::bench::{Bench, Verdict, ensure_eq, key, key_of, refused};

pub(in super::super) async fn comes_back(bench: &Bench) -> Verdict {
    let key = key("s")?;
    let head = bench.begin(&key, &["session"]).await?;
    let content = Bytes::from_static(b"\x00\xff\r\n blob");
    let id = BlobId::of(&content);
    ensure_eq!(bench.storage.get_blob(&key, &id).await?, None, "a blob that was not put");
    bench.storage.put_blob(&key, &id, content.clone()).await?;
    let second = bench.second().await?;
    for storage in [&bench.storage, &second] {
        ensure_eq!(storage.get_blob(&key, &id).await?, Some(content.clone()), "the blob");
    }
    ensure_eq!(bench.storage.head(&key).await?, Some(head), "the head after a blob was put");
    Ok(())
}

pub(in super::super) async fn are_listed(bench: &Bench) -> Verdict {
    let (one, other) = (key("s")?, key("t")?);
    bench.begin(&one, &["session"]).await?;
    bench.begin(&other, &["session"]).await?;
    let mut ids = Vec::new();
    for number in 0_u32..9 {
        let content = Bytes::copy_from_slice(&number.to_be_bytes());
        let id = BlobId::of(&content);
        let owner = if number == 4 { &other } else { &one };
        bench.storage.put_blob(owner, &id, content).await?;
        if number != 4 {
            ids.push(id);
        }
    }
    ids.sort();
    ensure_eq!(bench.storage.blobs(&one).await?, ids, "the session's blobs");
    ensure_eq!(bench.storage.blobs(&other).await?.len(), 1, "the other session's blobs");
    ensure_eq!(bench.storage.blobs(&key("nobody")?).await?, [], "the blobs of no session");
    bench.storage.purge(&one).await?;
    ensure_eq!(bench.storage.blobs(&one).await?, [], "the blobs of a deleted session");
    Ok(())
}

pub(in super::super) async fn of_any_size(bench: &Bench) -> Verdict {
    let key = key("s")?;
    bench.begin(&key, &["session"]).await?;
    let (chunk, mega) = (512 << 10, 1 << 20);
    for size in [0, 1, chunk - 1, chunk, chunk + 1, mega, mega + 1, 3 * mega + 17] {
        if size > bench.capabilities.max_blob {
            continue;
        }
        let content: Bytes = (0..size).map(|n| (n % 251) as u8).collect();
        let id = BlobId::of(&content);
        bench.storage.put_blob(&key, &id, content.clone()).await?;
        let read = bench.storage.get_blob(&key, &id).await?;
        ensure_eq!(read.as_ref().map(Bytes::len), Some(size), "the size read");
        ensure_eq!(read.map(|read| BlobId::of(&read)), Some(id), "the hash of {size} bytes read");
    }
    Ok(())
}

pub(in super::super) async fn wrong_hash_is_refused(bench: &Bench) -> Verdict {
    let key = key("s")?;
    bench.begin(&key, &["session"]).await?;
    let id = BlobId::of(b"right");
    refused(bench.storage.put_blob(&key, &id, "wrong".into()).await, Invalid, "another hash")?;
    ensure_eq!(bench.storage.get_blob(&key, &id).await?, None, "the blob");
    Ok(())
}

pub(in super::super) async fn needs_a_session(bench: &Bench) -> Verdict {
    let key = key("s")?;
    let id = BlobId::of(b"blob");
    let outcome = bench.storage.put_blob(&key, &id, "blob".into()).await;
    refused(outcome, NotFound, "a blob of no session")?;
    ensure_eq!(bench.storage.get_blob(&key, &id).await?, None, "a blob of no session");
    bench.begin(&key, &["session"]).await?;
    ensure_eq!(bench.storage.get_blob(&key, &id).await?, None, "the blob that was refused");
    Ok(())
}

pub(in super::super) async fn is_of_its_session(bench: &Bench) -> Verdict {
    let mine = key("s")?;
    let others = [key("t")?, key_of("other", "s")?];
    bench.begin(&mine, &["session"]).await?;
    let id = BlobId::of(b"blob");
    bench.storage.put_blob(&mine, &id, "blob".into()).await?;
    for other in &others {
        bench.begin(other, &["session"]).await?;
        ensure_eq!(bench.storage.get_blob(other, &id).await?, None, "the blob of {other}");
        bench.storage.put_blob(other, &id, "blob".into()).await?;
        bench.storage.purge(other).await?;
    }
    let read = bench.storage.get_blob(&mine, &id).await?;
    ensure_eq!(read.as_deref(), Some(&b"blob"[..]), "the blob");
    Ok(())
}

pub(in super::super) async fn is_gone_with_its_session(bench: &Bench) -> Verdict {
    let key = key("s")?;
    bench.begin(&key, &["session"]).await?;
    for content in ["one", "two", "three"] {
        let id = BlobId::of(content.as_bytes());
        bench.storage.put_blob(&key, &id, content.into()).await?;
    }
    ensure_eq!(bench.storage.purge(&key).await?.blobs, 3, "the blobs that were removed");
    ensure_eq!(bench.storage.get_blob(&key, &BlobId::of(b"one")).await?, None, "a blob");
    Ok(())
}

pub(in super::super) async fn put_twice(bench: &Bench) -> Verdict {
    let key = key("s")?;
    bench.begin(&key, &["session"]).await?;
    let id = BlobId::of(b"blob");
    let second = bench.second().await?;
    for storage in [&bench.storage, &second, &bench.storage] {
        storage.put_blob(&key, &id, "blob".into()).await?;
    }
    let read = second.get_blob(&key, &id).await?;
    ensure_eq!(read.as_deref(), Some(&b"blob"[..]), "the blob");
    ensure_eq!(bench.storage.purge(&key).await?.blobs, 1, "the blobs that were removed");
    Ok(())
}

pub(in super::super) async fn survives_compaction(bench: &Bench) -> Verdict {
    let key = key("s")?;
    let head = bench.begin(&key, &["session", "text", "checkpoint"]).await?;
    let id = BlobId::of(b"blob");
    bench.storage.put_blob(&key, &id, "blob".into()).await?;
    let kept = bench.log(&key).await?.split_off(2);
    bench.storage.compact(&key, head.revision, kept, &head).await?;
    let read = bench.storage.get_blob(&key, &id).await?;
    ensure_eq!(read.as_deref(), Some(&b"blob"[..]), "the blob");
    Ok(())
}
