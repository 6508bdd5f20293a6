//! Each kind of part by itself.

use super::*;

#[test]
fn vscode_text() {
    let imported = vscode_parts(
        r##"["plain",{"value":"# bare"},{"value":"b","isTrusted":{"enabledCommands":["x"]}},
        {"kind":"markdownContent","content":{"value":"tagged","baseUri":{"path":"/"}}},
        {"kind":"markdownContent","content":7},
        {"kind":"thinking","value":"hm","id":"t"},{"kind":"thinking","value":["a","b"]},
        {"kind":"thinking"},{"kind":"progressMessage","content":"soon"},
        {"kind":"warning","content":{"value":"w"}},{"kind":"info","content":"i"}]"##,
    );
    insta::assert_snapshot!("vscode_text", envelopes(&imported));
}

#[test]
fn vscode_tools() {
    let call = r#"{"kind":"toolInvocationSerialized","toolId":"t","toolCallId":"c""#;
    let parts = [
        r#","isConfirmed":true,"isComplete":true,"pastTenseMessage":"Did","invocationMessage":"Do"}"#,
        r#","isConfirmed":false,"isComplete":true}"#,
        r#","isConfirmed":{"type":5},"isComplete":true}"#,
        r#","isConfirmed":{"type":4},"isComplete":false}"#,
        r#","isComplete":false}"#,
        r#","isConfirmed":{"type":1},"isComplete":true,"resultError":"no such file"}"#,
        r#","isConfirmed":{"type":1},"isComplete":true,"resultDetails":{"input":"{}","output":[],"isError":true}}"#,
        r#","isConfirmed":{"type":1},"isComplete":true,"toolSpecificData":{"kind":"todoList","todoList":[]}}"#,
    ];
    let parts: Vec<String> = parts.iter().map(|rest| format!("{call}{rest}")).collect();
    let odd = r#"{"kind":"toolInvocationSerialized","toolId":"t","title":"no call id"}"#;
    let imported = vscode_parts(&format!("[{},{odd}]", parts.join(",")));
    insta::assert_snapshot!("vscode_tools", envelopes(&imported));
}

#[test]
fn vscode_others() {
    let imported = vscode_parts(
        r#"[{"kind":"inlineReference","inlineReference":{"scheme":"file","path":"/a b.rs"}},
        {"kind":"inlineReference","inlineReference":{"name":"peek","location":{"uri":"file:///l.rs"},"kind":11}},
        {"kind":"inlineReference","inlineReference":1},
        {"kind":"command","command":{"id":"x.y","title":"Go","arguments":[1e2],"tooltip":"t"}},
        {"kind":"confirmation","title":"Sure?","message":"Really","buttons":["Yes",1],"data":null},
        {"kind":"confirmation","title":"Sure?","buttons":["Yes","No"]},
        {"kind":"questionCarousel","questions":[{"id":"q","type":"multiSelect","title":"Which","options":[{"label":"A","id":"a"}]}],"data":{"q":["a"]}},
        {"kind":"questionCarousel","questions":[{"title":"One"},{"title":"Two"}]},
        {"kind":"notebookEditGroup","uri":{"scheme":"file","path":"/n.ipynb"},"edits":[]},
        {"kind":"workspaceEdit","edits":[{"newResource":"file:///n"},{}]},
        {"kind":"planReview","title":"Plan","content":"1. do"},
        {"kind":"hook"},{"kind":"undoStop","id":"u"},{"kind":"new in 2030","n":123456789012345678901234567890},
        {"id":"no kind"},null,[1]]"#,
    );
    insta::assert_snapshot!("vscode_others", envelopes(&imported));
}

#[test]
fn theia_parts_of_all_kinds() {
    let imported = theia_parts(
        r#"[{"kind":"text","data":{"content":"t"}},{"kind":"text","data":"odd","fallbackMessage":"f"},
        {"kind":"markdownContent","data":{"content":"m"},"fallbackMessage":"m"},
        {"kind":"markdownContent","data":{"content":"m"},"fallbackMessage":"other"},
        {"kind":"thinking","data":{"content":"hm","signature":"s","more":1}},
        {"kind":"compaction","data":{"summary":"s","provider":"p","data":[1]}},
        {"kind":"code","data":{"code":"c","location":{"uri":"file:///c","position":{"line":1}}}},
        {"kind":"toolCall","data":{"id":"1","name":"n","arguments":"{\"a\": 1}"}},
        {"kind":"toolCall","data":{"id":"1","name":"n","arguments":"{\"a","result":null}},
        {"kind":"toolCall","data":{"id":"1","name":"n","arguments":"7","result":{"r":1}}},
        {"kind":"horizontal","data":{"content":[{"kind":"progress","data":{"message":"p"}},1]}},
        {"kind":"question","data":{"question":"q","options":[{"text":"A"}],"multiSelect":true,"selectedOptions":[{"text":"A"}]}},
        {"kind":"citation","data":{"not":"ours"}},{"kind":"acme.x"},{"kind":"acme.y","data":1,"extra":[],"fallbackMessage":"y"},
        {"kind":"unknown","data":null},{"nothing":1},7]"#,
    );
    insta::assert_snapshot!("theia_parts", envelopes(&imported));
}

/// An adopter's kind is read by the adopter's code.
#[test]
fn an_adopters_kind_is_read() {
    #[derive(Debug, serde::Serialize, serde::Deserialize)]
    struct Chart {
        title: String,
    }
    impl crate::Part for Chart {
        const KIND: &'static str = "acme.chart";
        const VERSION: semver::Version = semver::Version::new(1, 0, 0);

        fn fallback(&self) -> std::borrow::Cow<'_, str> {
            self.title.as_str().into()
        }
    }
    let ids = Counting::default();
    let parts = crate::PartRegistry::builtin().with::<Chart>().unwrap();
    let imported = read(THEIA.as_bytes(), &options(&ids).parts(parts)).unwrap();
    let last = imported.model.turns().last().unwrap();
    let chart = last.response().parts()[1].downcast_ref::<Chart>().unwrap();
    assert_eq!(chart.title, "Runs per second");
}

#[test]
fn older_versions_are_brought_up_to_date() {
    let imported = import(
        r#"{"sessionId":"s","creationDate":5,"initialLocation":"editing-session","computedTitle":"auto",
        "requests":[{"requestId":"r1","message":"one","response":"said","isHidden":true,"isCanceled":true},
        {"requestId":"r2","message":{"text":"two"},"response":[{"value":"x"}],"responseErrorDetails":{"message":"no"}},
        {"requestId":"r2","message":{"text":"three","parts":[]},"response":[],"modelState":{"value":9}}]}"#,
    )
    .unwrap();
    let mut out = String::new();
    pretty(&dump(&imported.model), 0, &mut out);
    insta::assert_snapshot!("older", format!("{out}\n\n{}", imported.report));
}
