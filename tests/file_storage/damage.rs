//! Logs with bytes that are not as they were written.

use chatkeep::storage::{Revision, Storage};
use chatkeep::{ErrorKind, ListQuery, OwnerId};

use crate::common::*;

fn three_batches() -> (tempfile::TempDir, std::path::PathBuf, Vec<u8>) {
    let (dir, storage) = store();
    let key = key("s1");
    add(&storage, &key, 1, 0, 1).unwrap();
    add(&storage, &key, 2, 1, 2).unwrap();
    add(&storage, &key, 3, 3, 2).unwrap();
    add(&storage, &key, 4, 5, 1).unwrap();
    let path = log_path(dir.path(), "s1");
    let log = std::fs::read(&path).unwrap();
    (dir, path, log)
}

fn line_of(log: &[u8], byte: usize) -> u64 {
    log[..byte].iter().filter(|&&b| b == b'\n').count() as u64 + 1
}

#[test]
fn a_flipped_byte_costs_its_own_record_alone() {
    let (dir, path, log) = three_batches();
    let key = key("s1");
    let storage = open(dir.path());
    for byte in (0..log.len()).filter(|byte| is_tried(&log, *byte)) {
        let line = line_of(&log, byte);
        let mut changed = log.clone();
        changed[byte] ^= 0x04;
        replace(&path, &changed);
        let page = read_all(&storage, &key).unwrap();
        // A lost line break joins two lines; the last line's damage looks like a torn append.
        let lost: Vec<u64> =
            if log[byte] == b'\n' && line < 6 { vec![line, line + 1] } else { vec![line] };
        let torn = line == 6 || lost.contains(&6);
        let expected: Vec<u64> = (1..=6).filter(|rev| !lost.contains(rev)).collect();
        let expected = if lost == [5, 6] { vec![1, 2, 3] } else { expected };
        assert_eq!(revisions(&page), expected, "byte {byte} of line {line}");
        assert_eq!(page.damage.is_empty(), torn, "byte {byte} of line {line}: {:?}", page.damage);
        assert_eq!(std::fs::read(&path).unwrap(), changed);
        if !torn {
            assert_eq!(page.damage[0].record, Some(line));
            assert_eq!(page.damage[0].place, "sessions/local/s1.jsonl");
            assert!(quarantine(dir.path(), "s1").contains(&changed));
            std::fs::remove_dir_all(dir.path().join("quarantine/local/s1")).unwrap();
        }
    }
}

#[test]
fn a_damaged_session_is_read_only_until_it_is_repaired() {
    let (dir, path, log) = three_batches();
    let key = key("s1");
    let mut changed = log.clone();
    let byte = log.iter().enumerate().filter(|(_, b)| **b == b'\n').nth(1).unwrap().0 + 60;
    changed[byte] ^= 0x04;
    std::fs::write(&path, &changed).unwrap();
    let storage = open(dir.path());
    let error = add(&storage, &key, 9, 6, 1).unwrap_err();
    insta::assert_snapshot!(error, @"corrupt: the log is damaged (the record is damaged) and can only be read until it is repaired (file sessions/local/s1.jsonl, record 3, session s1)");
    let report = wait(storage.maintenance().verify(&key)).unwrap();
    assert_eq!((report.records, report.damage.len()), (5, 1));
    assert_eq!(std::fs::read(&path).unwrap(), changed);
    let report = wait(storage.maintenance().repair(&key)).unwrap();
    assert_eq!((report.records, report.revision), (5, Revision::new(6)));
    assert_eq!(std::fs::read(dir.path().join(&report.kept[0])).unwrap(), changed);
    add(&storage, &key, 9, 6, 1).unwrap();
    let page = read_all(&open(dir.path()), &key).unwrap();
    assert_eq!((revisions(&page), page.damage.len()), (vec![1, 2, 4, 5, 6, 7], 0));
    let report = wait(storage.maintenance().repair(&key)).unwrap();
    assert!(report.kept.is_empty() && report.damage.is_empty());
}

#[test]
fn a_line_that_was_taken_out_is_missed_and_no_other() {
    let (dir, path, log) = three_batches();
    let key = key("s1");
    let lines: Vec<&[u8]> = log.split_inclusive(|&b| b == b'\n').collect();
    for out in 0..5 {
        let mut left = lines.clone();
        left.remove(out);
        std::fs::write(&path, left.concat()).unwrap();
        let storage = open(dir.path());
        let page = read_all(&storage, &key).unwrap();
        let expected: Vec<u64> = (1..=6).filter(|rev| *rev != out as u64 + 1).collect();
        if out < 4 {
            assert_eq!(revisions(&page), expected);
            assert_eq!(page.damage.len(), 1, "{:?}", page.damage);
            assert_eq!(page.damage[0].record, Some(out as u64 + 1));
            assert_eq!(add(&storage, &key, 9, 6, 1).unwrap_err().kind(), ErrorKind::Corrupt);
        } else {
            // Nothing follows the last line that could vouch for it.
            assert_eq!(revisions(&page), [1, 2, 3]);
        }
    }
}

#[test]
fn a_log_without_any_record_is_corrupt_and_never_absent() {
    let (dir, path, _) = three_batches();
    let key = key("s1");
    let mut shown = Vec::new();
    for bytes in [&b""[..], b"\0\0\0\0", b"hello\n", &[0xff; 70_000], b"{}\n{}\n"] {
        std::fs::write(&path, bytes).unwrap();
        let storage = open(dir.path());
        let error = wait(storage.head(&key)).unwrap_err();
        assert_eq!(read_all(&storage, &key).unwrap_err().kind(), ErrorKind::Corrupt);
        assert_eq!(add(&storage, &key, 9, 0, 1).unwrap_err().kind(), ErrorKind::Corrupt);
        assert_eq!(add(&storage, &key, 9, 6, 1).unwrap_err().kind(), ErrorKind::Corrupt);
        let listed = wait(storage.list(&OwnerId::local(), &ListQuery::new(), None)).unwrap().items;
        assert_eq!(listed.len(), 1);
        assert_eq!(std::fs::read(&path).unwrap(), bytes);
        shown.push(error.to_string());
    }
    shown.dedup();
    insta::assert_snapshot!(shown.join("\n"), @r#"
    corrupt: the log is empty (file sessions/local/s1.jsonl, record 1)
    corrupt: no record of the log can be read; of the first line, the end is missing (file sessions/local/s1.jsonl, record 1)
    corrupt: no record of the log can be read; of the first line, the line has no checksum (file sessions/local/s1.jsonl, record 1)
    corrupt: no record of the log can be read; of the first line, the bytes are not text (file sessions/local/s1.jsonl, record 1)
    corrupt: no record of the log can be read; of the first line, the line has no checksum (file sessions/local/s1.jsonl, record 1)
    "#);
    wait(open(dir.path()).purge(&key)).unwrap();
}

#[test]
fn damage_far_back_in_a_long_log_is_found_when_it_is_read() {
    let (dir, storage) = store();
    let key = key("s1");
    for number in 0..20 {
        add(&storage, &key, number + 1, number * 100, 100).unwrap();
    }
    drop(storage);
    let path = log_path(dir.path(), "s1");
    let mut log = std::fs::read(&path).unwrap();
    let middle = log.len() / 2;
    let line = line_of(&log, middle);
    log[middle] ^= 0x01;
    std::fs::write(&path, log).unwrap();
    let storage = open(dir.path());
    add(&storage, &key, 3_000, 2_000, 1).unwrap();
    let page = read_all(&storage, &key).unwrap();
    assert_eq!(page.records.len(), 2_000);
    assert_eq!(page.damage[0].record, Some(line));
    assert_eq!(add(&storage, &key, 3_001, 2_001, 1).unwrap_err().kind(), ErrorKind::Corrupt);
    let page =
        wait(storage.read(&key, chatkeep::storage::ReadRange::Newest { turns: 5_000 })).unwrap();
    assert_eq!((page.records.len(), page.damage.len()), (2_000, 1));
}

#[test]
fn a_compaction_does_not_drop_damaged_records_that_it_was_not_given() {
    let (dir, path, log) = three_batches();
    let key = key("s1");
    let mut changed = log.clone();
    // Within the fifth of six lines: nothing but a reading of the whole log comes across it.
    let byte = log.iter().enumerate().filter(|(_, b)| **b == b'\n').nth(3).unwrap().0 + 60;
    changed[byte] ^= 0x04;
    let mut padded = changed.clone();
    let storage = open(dir.path());
    let long = format!("\"{}\"", "x".repeat(20_000));
    for number in 5..8 {
        let mut next = batch(number, number + 1, 1);
        next.records[0].body = chatkeep::storage::Body::Json(long.clone().into());
        next.head = Some(chatkeep::storage::HeadFields::new(at()));
        wait(storage.append(&key, expected(number + 1), next)).unwrap();
    }
    let whole = std::fs::read(&path).unwrap();
    padded.extend_from_slice(&whole[log.len()..]);
    std::fs::write(&path, &padded).unwrap();
    let storage = open(dir.path());
    let head = wait(storage.head(&key)).unwrap().unwrap();
    let kept = vec![batch(1, 0, 1).records[0].clone()];
    let refused = wait(storage.compact(&key, Revision::new(2), kept, &head)).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Corrupt, "{refused}");
    assert_eq!(std::fs::read(&path).unwrap(), padded);
}

#[test]
fn many_damaged_lines_cost_one_reading_of_the_log() {
    use std::sync::Arc;

    use chatkeep::storage::FileStorage;
    use chatkeep::storage::file::{CountingFileSystem, RealFileSystem};

    let (dir, path, log) = three_batches();
    let end = log.iter().position(|&b| b == b'\n').unwrap() + 1;
    let changed = [&log[..end], "nonsense\n".repeat(20_000).as_bytes(), &log[end..]].concat();
    std::fs::write(&path, &changed).unwrap();
    let files = CountingFileSystem::new(Arc::new(RealFileSystem));
    let storage = FileStorage::with_files(dir.path(), Arc::new(files.clone())).unwrap();
    let before = files.counts();
    let page = read_all(&storage, &key("s1")).unwrap();
    assert_eq!((revisions(&page), page.damage.len()), (vec![1, 2, 3, 4, 5, 6], 20_000));
    assert_eq!(page.damage[19_999].record, Some(20_001));
    let read = (files.counts() - before).read;
    assert!(read < changed.len() as u64 * 8, "{read} bytes of {}", changed.len());
}
