//! Theia's branches as a tree of turns.

use super::*;
use crate::interop::Outcome;

/// A session with these requests and this hierarchy.
fn session(requests: &[&str], hierarchy: &str) -> Imported {
    let requests: Vec<String> =
        requests.iter().map(|id| format!(r#"{{"id":"{id}","text":"{id}"}}"#)).collect();
    let text = format!(
        r#"{{"version":1,"saveDate":0,"model":{{"sessionId":"s","requests":[{}]{hierarchy}}}}}"#,
        requests.join(",")
    );
    import(&text).unwrap()
}

/// Turns as `text<parent`, the active one marked.
fn shape(imported: &Imported) -> String {
    let model = &imported.model;
    let one = |turn: &Turn| {
        let parent = turn.parent().map_or(String::new(), |parent| format!("<{parent}"));
        let mark = if Some(turn.id()) == model.active() { "*" } else { "" };
        format!("{}:{}{parent}{mark}", turn.id(), turn.request().text())
    };
    for turn in model.all_turns() {
        assert!(turn.parent().is_none_or(|parent| parent < turn.id()));
    }
    model.all_turns().map(one).collect::<Vec<_>>().join(" ")
}

fn repaired(imported: &Imported) -> Vec<String> {
    let findings = imported.report.findings();
    findings.filter(|f| f.outcome == Outcome::Repaired).map(|f| f.detail).collect()
}

#[test]
fn branches_are_siblings_and_lead_on() {
    let imported = session(
        &["a", "b", "c", "d"],
        r#","hierarchy":{"rootBranchId":"0","branches":{
            "0":{"items":[{"requestId":"a","nextBranchId":"1"},{"requestId":"c"}],"activeBranchIndex":0},
            "1":{"items":[{"requestId":"b","nextBranchId":"2"},{"requestId":"d"}],"activeBranchIndex":0},
            "2":{"items":[],"activeBranchIndex":-1}}}"#,
    );
    assert_eq!(shape(&imported), "1:a 2:b<1* 3:c 4:d<1");
    assert_eq!(repaired(&imported), Vec::<String>::new());
}

#[test]
fn children_that_are_listed_first_come_later() {
    let imported = session(
        &["child", "root"],
        r#","hierarchy":{"rootBranchId":"0","branches":{
            "0":{"items":[{"requestId":"root","nextBranchId":"1"}],"activeBranchIndex":0},
            "1":{"items":[{"requestId":"child"}],"activeBranchIndex":0}}}"#,
    );
    assert_eq!(shape(&imported), "1:root 2:child<1*");
}

#[test]
fn without_a_hierarchy_it_is_one_conversation() {
    let imported = session(&["a", "b", "c"], "");
    assert_eq!(shape(&imported), "1:a 2:b<1 3:c<2*");
    assert_eq!(shape(&session(&[], "")), "");
}

#[test]
fn contradictions_are_kept_and_reported() {
    let imported = session(
        &["a", "a", "b", "lost"],
        r#","hierarchy":{"rootBranchId":"0","branches":{
            "0":{"items":[{"requestId":"a","nextBranchId":"1"},{"requestId":"gone","nextBranchId":"9"}],"activeBranchIndex":7},
            "1":{"items":[{"requestId":"b","nextBranchId":"0"},{"requestId":"a"}],"activeBranchIndex":0}}}"#,
    );
    assert_eq!(shape(&imported), "1:a 2:a 3:b<1* 4:lost");
    insta::assert_snapshot!(repaired(&imported).join("\n"), @r#"
    a branch names no item of its own as active; its last one is
    it shows no request; the last one that it reaches is shown
    no branch has the id "9"
    no request has the id "gone"
    the request "a" is in two branches
    two items lead to the branch "0"
    another request has its id; it is kept as that one's sibling
    the hierarchy does not reach it; it is kept as the first of a conversation
    the id "a" was there already; a new one
    "#);
}

#[test]
fn responses_find_their_requests() {
    let text = r#"{"version":1,"saveDate":0,"model":{"sessionId":"s","requests":[{"id":"a","text":"a"}],
        "responses":[{"id":"1","requestId":"x","content":[]},{"id":"2","requestId":"a","isComplete":true},
        {"id":"3","requestId":"a","content":[{"kind":"text","data":{"content":"second"}}]},{"id":"4"}]}}"#;
    let imported = import(text).unwrap();
    let turn = imported.model.turns().next().unwrap();
    assert_eq!(turn.response().id().as_str(), "2");
    let data = imported.model.session().data.get("theia.session").unwrap();
    insta::assert_snapshot!(data.value, @r#"{"version":1,"saveDate":0,"model":{"responses":[{"id":"1","requestId":"x","content":[]},{"id":"3","requestId":"a","content":[{"kind":"text","data":{"content":"second"}}]},{"id":"4"}]}}"#);
    assert!(imported.report.is_lossless());
}

#[test]
fn many_turns_in_one_chain() {
    let count = 20_000;
    let requests: Vec<String> =
        (0..count).map(|n| format!(r#"{{"id":"r{n}","text":"t"}}"#)).collect();
    let branches: Vec<String> = (0..count)
        .map(|n| {
            let next = n + 1;
            format!(
                r#""b{n}":{{"items":[{{"requestId":"r{n}","nextBranchId":"b{next}"}}],"activeBranchIndex":0}}"#
            )
        })
        .collect();
    let text = format!(
        r#"{{"version":1,"saveDate":0,"model":{{"sessionId":"s","requests":[{}],"hierarchy":{{"rootBranchId":"b0","branches":{{{}}}}}}}}}"#,
        requests.join(","),
        branches.join(",")
    );
    let imported = import(&text).unwrap();
    assert_eq!(imported.model.turns().len(), count);
}
