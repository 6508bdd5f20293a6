//! Queries that are made to do harm.

use chatkeep::part::Markdown;
use chatkeep::{ErrorKind, ListQuery, OwnerId, Query};
use pollster::block_on;

use crate::common::*;

/// More conditions than an engine can take: they would be a failure of its own, which an index is
/// given up for.
#[test]
fn a_query_with_thousands_of_conditions_is_refused_and_does_no_harm() {
    each(|engine, store, _| {
        let me = store.local();
        block(create(&me, "a").record("the parser", [Markdown::new("ok")]));
        let tags: String = (0..40_000).map(|number| format!("tag:t{number} ")).collect();
        let error = block_on(me.search(Query::parse(format!("{tags}parser")).unwrap()));
        assert_eq!(error.unwrap_err().kind(), ErrorKind::Invalid);
        let (storage, owner) = (&engine.one, OwnerId::local());
        for conditions in [501, 40_000] {
            let mut query = ListQuery::new();
            query.tags = vec!["t".to_owned(); conditions - 1];
            query.workspaces = vec![None];
            let listed = block_on(storage.list(&owner, &query, None)).map(drop);
            assert_eq!(listed.unwrap_err().kind(), ErrorKind::Invalid);
            let counted = block_on(storage.count(&owner, &query));
            assert_eq!(counted.unwrap_err().kind(), ErrorKind::Invalid);
        }
        // As many as there may be.
        let mut query = ListQuery::new();
        query.tags = vec!["t".to_owned(); 500];
        assert_eq!(block_on(storage.list(&owner, &query, None)).unwrap().items.len(), 0);
        assert_eq!(block_on(storage.count(&owner, &query)).unwrap(), 0);
        let hits = block(me.search(Query::parse("parser").unwrap().sessions(query)));
        assert_eq!((hits.hits.len(), hits.partial), (0, None));
        let hits = search(&me, "parser");
        assert_eq!((hits.hits.len(), hits.partial), (1, None));
    });
}

#[test]
fn a_mistake_in_a_long_text_is_told_in_short() {
    const LONG: usize = 1 << 17;
    let texts = [
        "!".repeat(LONG),
        " ".repeat(LONG),
        "\"".repeat(LONG),
        "-".repeat(LONG),
        "\0".repeat(LONG),
        format!("\"{}", "a ".repeat(LONG / 2)),
        format!("a {}:x", "b".repeat(LONG)),
        format!("a before:{}", "9".repeat(LONG)),
        format!("a workspace:{}", "w".repeat(LONG)),
        format!("a {}", "-b ".repeat(LONG / 3)),
        "世".repeat(LONG / 3),
    ];
    for text in texts {
        let start: String = text.chars().take(12).collect();
        let parsed = Query::parse(&text).map(drop);
        let error = parsed.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(format!("{error} {error:?}").len() < 4_000, "{start}");
        if let Err(error) = Query::text(&text) {
            assert!(format!("{error} {error:?}").len() < 4_000, "{start}");
        }
    }
}
