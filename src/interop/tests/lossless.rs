//! Nothing that is read is lost: every scalar of a file, whatever its value, is in the session that
//! is made of it.

use super::*;

const MARKER: u128 = 100_000_000_000_000_000_000_000_000_000;

/// How many scalars and empty containers a tree holds.
fn leaves(node: &Node) -> usize {
    match node {
        Node::Object(fields) if !fields.is_empty() => {
            fields.iter().map(|(_, value)| leaves(value)).sum()
        }
        Node::Array(items) if !items.is_empty() => items.iter().map(leaves).sum(),
        _ => 1,
    }
}

/// Replaces those of them that have a marker, by their number.
fn replace(node: &mut Node, at: &mut usize, marker: &impl Fn(usize) -> Option<String>) {
    match node {
        Node::Object(fields) if !fields.is_empty() => {
            fields.iter_mut().for_each(|(_, value)| replace(value, at, marker));
        }
        Node::Array(items) if !items.is_empty() => {
            items.iter_mut().for_each(|item| replace(item, at, marker));
        }
        leaf => {
            if let Some(marker) = marker(*at) {
                *leaf = Node::Scalar(marker.into());
            }
            *at += 1;
        }
    }
}

/// Replaces a range of leaves by values that are nowhere else: they must be in the session, or the
/// reader must have refused the file, with a reason.
fn are_kept(document: &Node, range: std::ops::Range<usize>, quote: &str) -> bool {
    let marker = |index: usize| format!("{quote}{}{quote}", MARKER + index as u128);
    let mut changed = document.clone();
    replace(&mut changed, &mut 0, &|index| range.contains(&index).then(|| marker(index)));
    let text = changed.to_raw().unwrap();
    match import(text.get()) {
        Ok(imported) => {
            assert!(imported.report.is_lossless());
            let held = dump(&imported.model).to_raw().unwrap();
            for index in range {
                let digits = (MARKER + index as u128).to_string();
                assert!(held.get().contains(&digits), "leaf {index} is lost: {text}\n\n{held}");
            }
            true
        }
        Err(error) => {
            let has_place = ["field", "line"].iter().any(|key| error.context(key).is_some());
            let version = error.kind() == crate::ErrorKind::UnsupportedVersion;
            assert!(
                has_place || version || error.kind() == crate::ErrorKind::Unsupported,
                "{error}"
            );
            false
        }
    }
}

/// Tries all leaves of a range, at once where that is not refused; returns how many are.
fn refused(document: &Node, range: std::ops::Range<usize>, quote: &str) -> usize {
    if are_kept(document, range.clone(), quote) {
        return 0;
    }
    if range.len() == 1 {
        return 1;
    }
    let middle = range.start + range.len() / 2;
    refused(document, range.start..middle, quote) + refused(document, middle..range.end, quote)
}

fn all_leaves(text: &str, quote: &str) {
    const AT_ONCE: usize = 24;
    let document = Node::parse(text, 1).unwrap();
    let count = leaves(&document);
    let ranges = (0..count).step_by(AT_ONCE).map(|start| start..count.min(start + AT_ONCE));
    let refused: usize = ranges.map(|range| refused(&document, range, quote)).sum();
    assert!(refused * 5 < count, "{refused} of {count} refused");
}

#[test]
fn every_leaf_as_text() {
    [VSCODE, THEIA, SAMPLES[0], SAMPLES[1]].into_iter().for_each(|text| all_leaves(text, "\""));
}

#[test]
fn every_leaf_as_a_long_number() {
    [SAMPLES[0], SAMPLES[1]].into_iter().for_each(|text| all_leaves(text, ""));
}

/// What stands in the files is there as well, in its own spelling.
#[test]
fn every_token_of_every_example() {
    fn tokens(node: &Node, out: &mut Vec<String>) {
        match node {
            Node::Object(fields) if !fields.is_empty() => {
                fields.iter().for_each(|(_, value)| tokens(value, out));
            }
            Node::Array(items) if !items.is_empty() => {
                items.iter().for_each(|item| tokens(item, out));
            }
            leaf => out.push(leaf.to_raw().unwrap().to_string()),
        }
    }
    for text in [VSCODE, THEIA, SAMPLES[0], SAMPLES[1]] {
        let held = dump(&import(text).unwrap().model);
        let held_text = held.to_raw().unwrap();
        let (mut there, mut wanted) = (Vec::new(), Vec::new());
        tokens(&held, &mut there);
        tokens(&Node::parse(text, 1).unwrap(), &mut wanted);
        for token in wanted {
            let time = token.parse::<i64>().ok();
            let time = time.and_then(|time| Timestamp::from_millisecond(time).ok());
            let bare = token.trim_matches('"');
            let held_elsewhere = time.is_some_and(|time| there.contains(&format!("\"{time}\"")))
                // Arguments that were JSON in a string are JSON.
                || serde_json::from_str::<String>(&token).is_ok_and(|s| held_text.get().contains(&s))
                || there.contains(&format!("\"theia.{bare}\""))
                || there.contains(&format!("\"vscode.{bare}\""))
                // The state of a change that is not written because it is the usual one.
                || bare == "pending";
            assert!(there.contains(&token) || held_elsewhere, "{token}");
        }
    }
}
