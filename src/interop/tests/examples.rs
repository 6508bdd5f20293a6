//! The example files as a whole.

use super::*;
use crate::interop::{Format, Outcome};
use crate::model::{Author, ResponseState};

fn snapshot(text: &str) -> (String, String) {
    let imported = import(text).unwrap();
    let mut out = String::new();
    pretty(&dump(&imported.model), 0, &mut out);
    (out, imported.report.to_string())
}

#[test]
fn vscode_document() {
    let (model, report) = snapshot(VSCODE);
    insta::assert_snapshot!("vscode_model", model);
    insta::assert_snapshot!("vscode_report", report);
}

#[test]
fn theia_document() {
    let (model, report) = snapshot(THEIA);
    insta::assert_snapshot!("theia_model", model);
    insta::assert_snapshot!("theia_report", report);
}

#[test]
fn the_vscode_story() {
    let imported = import(VSCODE).unwrap();
    let model = &imported.model;
    assert_eq!(imported.report.format(), Format::VsCode);
    assert_eq!(imported.report.version(), 3);
    assert_eq!(imported.report.count(Outcome::Dropped), 0);
    assert_eq!(model.title(), "Endless loop in the list parser");
    let states: Vec<_> = model.turns().map(|turn| turn.response().state()).collect();
    use ResponseState::{Cancelled, Complete, Failed};
    assert_eq!(
        states,
        [Complete, Complete, Complete, Cancelled, Failed, Complete, Complete, Cancelled]
    );
    let turns: Vec<_> = model.turns().collect();
    assert_eq!(turns[1].request().text(), "@editor /fix it, but keep the error position");
    assert_eq!(turns[1].request().command.as_deref(), Some("fix"));
    assert_eq!(turns[6].request().author, Author::System);
    let error = turns[4].response().error.as_ref().unwrap();
    assert_eq!(error.code.as_deref(), Some("rateLimited"));
    assert_eq!(model.session().queue.len(), 1);
    assert_eq!(model.session().draft.as_ref().unwrap().text, "and then squash the");
}

#[test]
fn the_theia_story() {
    let imported = import(THEIA).unwrap();
    let model = &imported.model;
    assert!(imported.report.is_lossless());
    let ids = |turns: Vec<&Turn>| -> Vec<String> {
        turns.iter().map(|turn| turn.request().id.to_string()).collect()
    };
    assert_eq!(ids(model.turns().collect()), ["req-1", "req-3", "req-4", "req-7"]);
    assert_eq!(model.all_turns().len(), 7);
    let active = model.active().unwrap();
    assert_eq!(model.siblings(active).len(), 3);
    let kinds: Vec<_> =
        model.turn(active).unwrap().response().parts().iter().map(|part| part.kind()).collect();
    assert_eq!(kinds, ["markdown", "acme.chart"]);
}

#[test]
fn parts_survive_being_stored() {
    let parts = crate::PartRegistry::builtin();
    for text in [VSCODE, VSCODE_LOG, THEIA] {
        for turn in import(text).unwrap().model.all_turns() {
            for part in turn.response().parts() {
                let envelope = part.to_envelope().unwrap();
                let again = crate::ResponsePart::from_envelope(&envelope, &parts).unwrap();
                assert_eq!(again.to_envelope().unwrap(), envelope);
                assert_eq!(again.fallback(), part.fallback());
                assert_eq!(again.unknown().is_some(), part.kind().contains('.'), "{envelope}");
            }
        }
    }
}
