//! Whatever is done to a file: a session or an error, never a panic.

use proptest::prelude::*;

use super::*;

/// A session, if there is one, holds together.
fn try_to_read(bytes: &[u8]) {
    let ids = Counting::default();
    let Ok(imported) = read(bytes, &options(&ids)) else { return };
    let mut next = 1;
    for turn in imported.model.all_turns() {
        assert_eq!(turn.id().get(), next);
        assert!(turn.parent().is_none_or(|parent| parent < turn.id()));
        assert!(turn.response().state().is_final());
        next += 1;
    }
    assert_eq!(imported.model.active().is_none(), next == 1);
    let _dump = dump(&imported.model);
    let _report = imported.report.to_string();
}

fn samples() -> impl Strategy<Value = &'static str> {
    prop_oneof![
        3 => Just(SAMPLES[0]),
        3 => Just(SAMPLES[1]),
        1 => Just(THEIA),
        1 => Just(VSCODE),
        1 => Just(VSCODE_LOG),
    ]
}

/// Exchanges two values anywhere in a tree.
fn exchange(node: &mut Node, from: usize, to: usize) {
    fn nth<'a>(node: &'a mut Node, at: &mut usize) -> Option<&'a mut Node> {
        if *at == 0 {
            return Some(node);
        }
        *at -= 1;
        match node {
            Node::Object(fields) => fields.iter_mut().find_map(|(_, value)| nth(value, at)),
            Node::Array(items) => items.iter_mut().find_map(|item| nth(item, at)),
            Node::Scalar(_) => None,
        }
    }
    let Some(taken) = nth(node, &mut from.clone()).cloned() else { return };
    if let Some(place) = nth(node, &mut to.clone()) {
        *place = taken;
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn bytes_are_changed(
        sample in samples(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let mut bytes = sample.as_bytes().to_vec();
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        try_to_read(&bytes);
    }

    #[test]
    fn bytes_are_cut_out(
        sample in samples(),
        from in any::<prop::sample::Index>(),
        count in 0_usize..400,
    ) {
        let mut bytes = sample.as_bytes().to_vec();
        let from = from.index(bytes.len());
        let to = bytes.len().min(from + count);
        bytes.drain(from..to);
        try_to_read(&bytes);
    }

    #[test]
    fn values_change_places(
        sample in prop_oneof![Just(SAMPLES[0]), Just(SAMPLES[1]), Just(THEIA), Just(VSCODE)],
        changes in prop::collection::vec((0_usize..2000, 0_usize..2000), 1..8),
    ) {
        let mut document = Node::parse(sample, 1).unwrap();
        for (from, to) in changes {
            exchange(&mut document, from, to);
        }
        if let Ok(text) = document.to_raw() {
            try_to_read(text.get().as_bytes());
        }
    }

    #[test]
    fn anything_at_all(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        try_to_read(&bytes);
    }
}
