//! One session with everything in it: its log, its document, and what each record and part looks
//! like. The log is checked in as `docs/example.jsonl`, for readers in other languages.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use jiff::Timestamp;

use super::arbitrary::Chart;
use super::parts::KINDS;
use super::{knowing, log_of, write};
use crate::id::{RequestId, ResponseId, TurnId, WorkspaceId};
use crate::json::{Extra, Number, RawJson};
use crate::log::*;
use crate::model::*;
use crate::part::*;
use crate::serializer::ChatModelSerializer as _;
use crate::storage::line::{Checksum, LineHead, encode};
use crate::storage::{BatchId, Body, HeadFields, Incarnation, Record, Revision, Running, WriterId};

fn json(text: &str) -> RawJson {
    RawJson::parse(text).unwrap()
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_767_261_600 + second).unwrap()
}

fn entry(turn: u64, second: i64, event: Event) -> Entry {
    Entry { turn: TurnId::new(turn), at: at(second), event }
}

fn meta() -> SessionMeta {
    let (owner, id) = ("local".parse().unwrap(), "s-1".parse().unwrap());
    let mut meta = SessionMeta::new(owner, id, at(0));
    meta.title = Some(Title::automatic("Parser"));
    meta.tags = vec!["parser".to_owned(), "rust".to_owned()];
    meta.workspace =
        Some(Workspace::new(WorkspaceId::new("w-1").unwrap()).uri("file:///home/me/parser"));
    meta.preferences.insert("temperature".to_owned(), json("0.20"));
    meta.draft = Some("And the".into());
    meta.data
        .set("acme.todos", Some(DataEntry::new("1.0.0".parse().unwrap(), json(r#"["test"]"#))));
    meta.extra.set("from_a_newer_version", Some(json("123456789012345678901234567890")));
    meta
}

fn request(turn: u64, parent: Option<u64>, second: i64, text: &str) -> Entry {
    let mut request = ChatRequest::new(RequestId::new(format!("q-{turn}")).unwrap(), at(second));
    request.message = vec![text.into()];
    let event = RequestEvent {
        parent: parent.map(TurnId::new),
        request: request.into(),
        response: ResponseId::new(format!("a-{turn}")).unwrap(),
        epoch: Some(turn),
        extra: Extra::new(),
    };
    entry(turn, second, Event::Request(Box::new(event)))
}

fn part(turn: u64, second: i64, index: usize, part: impl Part) -> Entry {
    let part = ResponsePart::new(part).unwrap();
    entry(turn, second, Event::Part(PartEvent { epoch: Some(turn), index, part }))
}

fn text(turn: u64, second: i64, index: usize, text: &str) -> Entry {
    let text = text.to_owned();
    entry(turn, second, Event::Text(TextEvent { epoch: Some(turn), index, text }))
}

/// Three turns: one sealed, one streamed, one that takes the place of the second.
fn example() -> Vec<Entry> {
    let state = SessionState { meta: meta(), extra: Extra::new() };
    let mut log = vec![
        entry(0, 0, Event::Log(log_of(&ChatModel::new(meta())))),
        entry(0, 0, Event::Session(Box::new(state))),
        rich_request(),
        entry(1, 2, Event::Claim(Claim { epoch: 1, extra: Extra::new() })),
        part(1, 3, 0, Thinking::new("A loop without an end?").signature("c2ln")),
        part(1, 4, 1, Markdown::new("Because the ")),
        text(1, 5, 1, "sentinel is never reached. 😀"),
        entry(1, 6, Event::Response(Box::new(sealed()))),
        entry(
            1,
            7,
            Event::Feedback(Some(Feedback::vote(Vote::Up).score(Number::parse("4.50").unwrap()))),
        ),
        entry(
            0,
            8,
            Event::SessionSet(vec![
                SessionChange::Title(Some(Title::by_person("The parser's loop"))),
                SessionChange::Draft(None),
                SessionChange::Preference("temperature".to_owned(), None),
            ]),
        ),
        request(2, Some(1), 9, "Fix it"),
        part(2, 10, 0, ToolCall::new("call-1", "edit").arguments(json(r#"{"file":"a.rs"}"#))),
        part(2, 11, 0, ToolCall::new("call-1", "edit").result(json("null"))),
        part(2, 12, 1, Markdown::new("Do")),
        text(2, 13, 1, "ne."),
        entry(2, 14, Event::ResponseSet(Box::new(ended(2)))),
        entry(2, 15, Event::Data(data(DataLevel::Request, "acme.cost", Some("{\"eur\":0.10}")))),
    ];
    let now = Fold::newest(log.clone(), false).unwrap();
    let model = now.model();
    let state = SessionState { meta: model.session().clone(), extra: model.extra.clone() };
    let (active, turns) = (model.active(), model.turn_count());
    let checkpoint = Checkpoint { log: now.log().clone(), state, active, turns };
    log.extend([
        entry(0, 16, Event::Checkpoint(Box::new(checkpoint))),
        request(3, Some(1), 17, "Fix it, please"),
        part(3, 18, 0, Chart { title: "Loops".to_owned(), series: vec![1.5, 2.0] }),
        entry(3, 19, Event::ResponseSet(Box::new(ended(3)))),
        entry(0, 20, Event::Data(data(DataLevel::Session, "acme.todos", None))),
        entry(0, 21, Event::Active(Some(TurnId::new(2)))),
        entry(0, 22, Event::Other { kind: "acme.later".to_owned(), body: json("{\"x\":1}") }),
    ]);
    log
}

fn rich_request() -> Entry {
    let Entry { turn, at, event } = request(1, None, 1, "Why does ");
    let Event::Request(mut begun) = event else { panic!("another event") };
    let mention =
        Mention { name: "parser.rs".to_owned(), range: Some(9..19), ..Mention::default() };
    let attachment = Attachment {
        name: "log.txt".to_owned(),
        media_type: Some("text/plain".to_owned()),
        value: Some(json(r#""…""#)),
        ..Attachment::default()
    };
    let request = std::sync::Arc::make_mut(&mut begun.request);
    request.message.extend([
        MessagePart::Mention(mention),
        " loop?".into(),
        MessagePart::Attachment(attachment),
    ]);
    request.model = Some("small".to_owned());
    Entry { turn, at, event: Event::Request(begun) }
}

fn sealed() -> ResponseEvent {
    let mut response = ended(1).response;
    response.parts = vec![
        ResponsePart::new(Thinking::new("A loop without an end?").signature("c2ln")).unwrap(),
        ResponsePart::new(Markdown::new("Because the sentinel is never reached. 😀")).unwrap(),
    ];
    response.model = Some("small-2".to_owned());
    response.usage = Some(Usage {
        cost: Some(Number::parse("0.00120").unwrap()),
        currency: Some("EUR".to_owned()),
        ..Usage::tokens(120, 30)
    });
    response.followups = vec![Followup { message: "Fix it".to_owned(), ..Followup::default() }];
    ResponseEvent { epoch: Some(1), response }
}

fn ended(turn: u64) -> ResponseEvent {
    let mut response = ChatResponse::new(ResponseId::new(format!("a-{turn}")).unwrap());
    response.state = ResponseState::Complete;
    response.timings.started = Some(at(1));
    response.timings.completed = Some(at(6));
    ResponseEvent { epoch: Some(turn), response }
}

fn data(on: DataLevel, id: &str, value: Option<&str>) -> DataEvent {
    let entry = value.map(|value| DataEntry::new("1.0.0".parse().unwrap(), json(value)));
    DataEvent { on, id: id.to_owned(), entry }
}

/// The log's lines. The head changes with the first batch, a title, and a running response.
fn lines() -> String {
    let mut fields = HeadFields::new(at(0));
    let mut sum = Checksum::START;
    let mut out = Vec::new();
    for (place, entry) in example().iter().enumerate() {
        let (kind, body) = write(&knowing(), entry);
        let revision = Revision::new(place as u64 + 1);
        // The first three records are one append.
        let (batch, more) = if place < 3 { (1, 2 - place as u64) } else { (place as u64, 0) };
        let changes_head = match kind.as_str() {
            "request" => {
                fields.turns = entry.turn.get();
                fields.title = "Parser".to_owned();
                fields.state = Some(ResponseState::Pending);
                fields.epoch = entry.turn.get();
                let writer = WriterId("w-7".into());
                fields.running = Some(Running { turn: entry.turn, writer, until: at(60) });
                true
            }
            "response" | "response.set" => {
                (fields.running, fields.state) = (None, Some(ResponseState::Complete));
                true
            }
            _ => false,
        };
        fields.active = entry.at;
        let (incarnation, base) = (Incarnation::FIRST, Revision::ZERO);
        let through = Revision::ZERO;
        let head = LineHead { incarnation, base, through, fields: fields.clone() };
        let record = Record {
            revision,
            turn: entry.turn,
            kind: kind.into(),
            at: entry.at,
            batch: BatchId::new(0x9f00 + batch),
            body: Body::Json(body.into()),
        };
        sum = encode(&record, more, changes_head.then_some(&head), sum, &mut out).unwrap();
    }
    String::from_utf8(out).unwrap()
}

#[test]
fn the_example_log_is_up_to_date() {
    let file = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("docs/example.jsonl");
    if std::env::var_os("CHATKEEP_BLESS").is_some() {
        fs::write(&file, lines()).unwrap();
    }
    let kept = fs::read_to_string(&file).unwrap_or_default().replace("\r\n", "\n");
    assert!(kept == lines(), "run with CHATKEEP_BLESS=1 and look at the diff");
}

#[test]
fn the_examples_in_the_specification_are_of_this_log() {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let text = fs::read_to_string(root.join("docs/format.md")).unwrap();
    let log = lines();
    let cited: Vec<&str> =
        text.lines().filter(|line| line.starts_with('{') && !line.contains("{…}")).collect();
    assert!(cited.len() > 5);
    for line in cited {
        assert!(log.contains(line), "{line}");
    }
}

#[test]
fn the_body_of_every_kind_of_record() {
    let bodies: Vec<String> = example()
        .iter()
        .map(|entry| write(&knowing(), entry))
        .map(|(kind, body)| format!("{kind} {body}"))
        .collect();
    insta::assert_snapshot!(bodies.join("\n"));
}

#[test]
fn the_document() {
    let fold = Fold::newest(example(), false).unwrap();
    let document = knowing().write_document(fold.model()).unwrap();
    let value: serde_json::Value = document.read().unwrap();
    insta::assert_snapshot!(serde_json::to_string_pretty(&value).unwrap());
}

/// One of each kind, with what people would see of it.
fn parts() -> Vec<ResponsePart> {
    let part = |part: crate::Result<ResponsePart>| part.unwrap();
    let text = part(ResponsePart::new(Text::new("plain")));
    let custom = Chart { title: "Loops".to_owned(), series: vec![1.5] };
    let custom = part(ResponsePart::new(custom));
    let horizontal = Horizontal::new([&text, &custom]).unwrap();
    let mut changes = ChangeSet { title: Some("Rename".to_owned()), ..ChangeSet::default() };
    changes.changes = vec![
        FileChange::new("file:///a.rs", ChangeType::Add),
        FileChange { target: Some("b".to_owned()), ..FileChange::new("b.rs", ChangeType::Modify) },
        FileChange { state: ChangeState::Applied, ..FileChange::new("c.rs", ChangeType::Delete) },
    ];
    let mut plan = Plan::new(["Read", "Write"]);
    plan.items[0].state = PlanState::Done;
    let failed = ToolCall::new("1", "run").arguments(json(r#"{"cmd":"ls"}"#)).error("exit 1");
    vec![
        text,
        part(ResponsePart::new(Markdown::new("*hi*"))),
        part(ResponsePart::new(Thinking::new("hm").signature("c2ln"))),
        part(ResponsePart::new(Code::new("rust", "fn main() {}"))),
        part(ResponsePart::new(
            ToolCall::new("1", "find").arguments(json(r#""a b""#)).result(json("[2]")),
        )),
        part(ResponsePart::new(failed)),
        part(ResponsePart::new(crate::part::Command::new("editor.undo", "Undo"))),
        part(ResponsePart::new(crate::part::Command::new("editor.undo", ""))),
        part(ResponsePart::new(Progress::new("Reading"))),
        part(ResponsePart::new(Status::new(StatusLevel::Warning, "Slow"))),
        part(ResponsePart::new(ErrorPart::new("no network"))),
        part(ResponsePart::new(Question::new("Run it?").option("Yes").option("No"))),
        part(ResponsePart::new(Question::new("Run it?").answered(["Yes", "always"]))),
        part(ResponsePart::new(Resource::at(ResourceKind::Image, "file:///a.png"))),
        part(ResponsePart::new(Resource::default())),
        part(ResponsePart::new(Citation::new("Manual", "https://example.com"))),
        part(ResponsePart::new(Citation {
            snippet: Some("…".to_owned()), ..Citation::default()
        })),
        part(ResponsePart::new(changes)),
        part(ResponsePart::new(plan)),
        part(ResponsePart::new(Compaction::new("So far"))),
        part(ResponsePart::new(horizontal)),
        part(ResponsePart::new(Separator::default())),
    ]
}

#[test]
fn the_envelope_and_the_fallback_of_every_built_in_kind() {
    let shown: Vec<String> = parts()
        .iter()
        .map(|part| format!("{}\n    {:?}", part.to_envelope().unwrap(), part.fallback()))
        .collect();
    let parts = parts();
    let kinds: std::collections::BTreeSet<&str> = parts.iter().map(ResponsePart::kind).collect();
    assert_eq!(kinds.len(), KINDS);
    insta::assert_snapshot!(shown.join("\n"));
}

/// A reader that shares no code with this crate, from `docs/format.md` alone.
#[test]
fn the_reader_in_python_prints_the_conversation() {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let run = |log: &str| {
        Command::new("python3").arg("scripts/read_log.py").arg(log).current_dir(&root).output()
    };
    if !root.join("scripts/read_log.py").exists() || run("/dev/null").is_err() {
        eprintln!("skipped: there is no Python, or no script");
        return;
    }
    let output = run("docs/example.jsonl").unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    insta::assert_snapshot!(String::from_utf8(output.stdout).unwrap().replace("\r\n", "\n"));

    let damaged = tempfile::tempdir().unwrap();
    let damaged = damaged.path().join("damaged.jsonl");
    fs::write(&damaged, lines().replacen("sentinel", "sentinal", 1)).unwrap();
    let output = run(damaged.to_str().unwrap()).unwrap();
    assert!(String::from_utf8_lossy(&output.stderr).contains("line 7: the checksum"));
}
