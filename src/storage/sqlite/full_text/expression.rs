//! A search as FTS5 reads it, out of our own tokens only.

use std::fmt::Write as _;

use super::words::Words;
use super::{kind_token, owner_token, session_token};
use crate::storage::{PassageRole, Term, TextQuery};

/// What must match; without an owner, where all is one owner's. With a kind it finds more than is asked for: what is found is looked at.
pub(super) fn expression(
    owner: Option<i64>,
    query: &TextQuery,
    sessions: Option<&[i64]>,
    words: &Words,
) -> String {
    let mut out = "(".to_owned();
    if let Some(owner) = owner {
        let _ = write!(out, "\"{}\" AND ", owner_token(owner));
    }
    if let Some(sessions) = sessions {
        let any = sessions.iter().map(|session| format!("\"{}\"", session_token(*session)));
        let _ = write!(out, "({}) AND ", any.collect::<Vec<_>>().join(" OR "));
    }
    let columns = columns(query.role);
    let mut all: Vec<String> = query.all.iter().map(|term| phrases(term, words)).collect();
    if let Some(kind) = &query.kind {
        all.push(format!("\"{}\"", kind_token(kind)));
    }
    push(&mut out, "", columns, &all.join(" AND "));
    out.push(')');
    // What must not be in a passage of the kind may be in one of another.
    if query.kind.is_none() && !query.none.is_empty() {
        let none: Vec<String> = query.none.iter().map(|term| phrases(term, words)).collect();
        push(&mut out, " NOT ", columns, &none.join(" OR "));
    }
    out
}

fn push(out: &mut String, operator: &str, columns: &str, terms: &str) {
    // Writing to a `String` cannot fail.
    let _ = write!(out, "{operator}{columns}({terms})");
}

fn columns(role: Option<PassageRole>) -> &'static str {
    match role {
        None => "",
        Some(PassageRole::Title) => "title : ",
        Some(PassageRole::User) => "user : ",
        Some(PassageRole::Assistant) => "assistant : ",
        Some(PassageRole::Tool) => "tool : ",
    }
}

/// A term, whose last token may stand for several words.
fn phrases(term: &Term, words: &Words) -> String {
    let star = if term.is_prefix() { " *" } else { "" };
    let one = || format!("\"{}\"{star}", term.tokens().join(" "));
    let Some((last, before)) = term.tokens().split_last() else { return one() };
    let Some(words) = words.get(last).filter(|_| term.is_prefix()) else { return one() };
    let before: String = before.iter().flat_map(|token| [token, " "]).collect();
    let any = words.iter().map(|word| format!("\"{before}{word}\""));
    format!("({})", any.collect::<Vec<_>>().join(" OR "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(query: &TextQuery, sessions: Option<&[i64]>) -> String {
        let marked =
            |c: char| if c >= '\u{E000}' { format!("<{}>", c as u32 - 0xE000) } else { c.into() };
        let words = [("x".to_owned(), vec!["xa".to_owned(), "xb".to_owned()])].into();
        expression(Some(7), query, sessions, &words).chars().map(marked).collect()
    }

    #[test]
    fn an_expression_is_made_of_quoted_tokens() {
        let query = TextQuery {
            all: vec![Term::new("parse_config OR").unwrap(), Term::prefix("世界 \"x").unwrap()],
            none: vec![Term::new("a) OR b").unwrap()],
            role: Some(PassageRole::User),
            ..TextQuery::default()
        };
        insta::assert_snapshot!(shown(&query, Some(&[1, 2])), @r#"("<1>7" AND ("<2>1" OR "<2>2") AND user : ("parse config or" AND ("世 界 xa" OR "世 界 xb"))) NOT user : ("a or b")"#);
        let query = TextQuery { kind: Some("code".to_owned()), role: None, ..query };
        insta::assert_snapshot!(shown(&query, None), @r#"("<1>7" AND ("parse config or" AND ("世 界 xa" OR "世 界 xb") AND "<0>77153098"))"#);
    }
}
