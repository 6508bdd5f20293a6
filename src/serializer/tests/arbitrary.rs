//! Arbitrary models, from a seed: everything that the format can say, and what tends to break it.

use std::borrow::Cow;

use jiff::Timestamp;
use semver::Version;
use serde::{Deserialize, Serialize};

use crate::id::{OwnerId, RequestId, ResponseId, SessionId, TurnId, WorkspaceId};
use crate::json::{Extra, Number, RawJson};
use crate::model::*;
use crate::part::*;

/// An adopter's part.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Chart {
    pub(super) title: String,
    pub(super) series: Vec<f64>,
}

impl Part for Chart {
    const KIND: &'static str = "acme.chart";
    const VERSION: Version = Version::new(2, 1, 0);

    fn fallback(&self) -> Cow<'_, str> {
        format!("Chart: {}", self.title).into()
    }
}

/// A source of choices (splitmix64).
pub(super) struct Gen(u64);

impl Gen {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(super) fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % end as u64).unwrap()
    }

    pub(super) fn flip(&mut self) -> bool {
        self.below(2) == 0
    }

    pub(super) fn pick<T: Clone>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())].clone()
    }

    fn some<T>(&mut self, make: impl FnOnce(&mut Self) -> T) -> Option<T> {
        self.flip().then(|| make(self))
    }

    fn few<T>(&mut self, mut make: impl FnMut(&mut Self) -> T) -> Vec<T> {
        let count = self.below(6).saturating_sub(3);
        (0..count).map(|_| make(self)).collect()
    }

    pub(super) fn string(&mut self) -> String {
        let pieces = [
            "",
            "a",
            "null",
            "Grüße",
            "日本語",
            "😀👩‍👩‍👧",
            "\u{0}",
            "\u{1b}[31m",
            "\u{7f}\u{9f}",
            "\u{202e}rtl\u{2066}",
            "\"\\/",
            "\r\n\t\u{8}\u{c}",
            "\u{2028}\u{2029}",
            "e\u{301}",
            "\u{feff}",
            "\u{fffd}",
            "</script>",
            "\\u0000",
            "\u{10ffff}",
            " ",
        ];
        (0..self.below(4)).map(|_| self.pick(&pieces)).collect()
    }

    fn id(&mut self) -> String {
        let ids = ["a", "0198c0de-0000-7000-8000-000000000000", "ü:😀", "x y", "A", "#"];
        self.pick(&ids).to_owned()
    }

    pub(super) fn time(&mut self) -> Timestamp {
        let times = [0, 1, -1, 1_767_225_600_000_000_000, 1_767_225_600_123_456_789, 999_000_000];
        Timestamp::from_nanosecond(self.pick(&times)).unwrap()
    }

    fn number_text(&mut self) -> &'static str {
        self.pick(&[
            "0",
            "-0",
            "7",
            "-1",
            "1e3",
            "1E+3",
            "1.50",
            "0.1",
            "-1E-400",
            "1e999",
            "18446744073709551616",
            "123456789012345678901234567890",
            "3.14159265358979323846",
        ])
    }

    fn number(&mut self) -> Number {
        Number::parse(self.number_text()).unwrap()
    }

    fn json_text(&mut self, depth: usize) -> String {
        let leaves =
            ["null", "true", "false", r#""\u0000""#, r#""\ud83d\ude00\u0041\/""#, "[]", "{}"];
        match self.below(if depth == 0 { 3 } else { 6 }) {
            0 => self.pick(&leaves).to_owned(),
            1 => self.number_text().to_owned(),
            2 => serde_json::to_string(&self.string()).unwrap(),
            3 => format!("[{},{}]", self.json_text(depth - 1), self.json_text(depth - 1)),
            4 => format!(r#"{{"kind":{},"é":{}}}"#, self.json_text(depth - 1), self.json_text(0)),
            // What nobody reads may name a thing twice.
            _ => format!(r#"{{"a":{},"a":{}}}"#, self.json_text(depth - 1), self.json_text(0)),
        }
    }

    pub(super) fn json(&mut self) -> RawJson {
        RawJson::parse(&self.json_text(3)).unwrap()
    }

    pub(super) fn extra(&mut self) -> Extra {
        let mut extra = Extra::new();
        for _ in 0..self.below(5).saturating_sub(2) {
            let name = self.pick(&["x", "x-é", "", "__proto__", "x\u{0}\"", "$ref", "😀"]);
            let value = self.json();
            extra.set(name, Some(value));
        }
        extra
    }

    pub(super) fn entry(&mut self) -> DataEntry {
        let version = self.version();
        DataEntry { version, value: self.json(), extra: self.extra() }
    }

    fn version(&mut self) -> Version {
        self.pick(&["1.0.0", "0.3.0", "2.7.1", "1.0.0-beta.1+x"]).parse().unwrap()
    }

    fn data(&mut self) -> DataMap {
        let mut data = DataMap::new();
        for _ in 0..self.below(4).saturating_sub(1) {
            let id = self.pick(&["acme.todos", "unknown", "", "é\u{0}"]);
            data.set(id, Some(self.entry()));
        }
        data
    }

    fn range(&mut self) -> Option<std::ops::Range<u64>> {
        self.some(|g| g.next()..g.next())
    }

    fn message_part(&mut self) -> MessagePart {
        match self.below(6) {
            0 => MessagePart::from_text(self.string()),
            1 => MessagePart::Text(TextPart {
                text: self.string(),
                range: self.range(),
                extra: self.extra(),
            }),
            2 => MessagePart::Attachment(Attachment {
                name: self.string(),
                kind: self.some(Self::string),
                uri: self.some(Self::string),
                media_type: self.some(Self::string),
                value: self.some(Self::json),
                range: self.range(),
                extra: self.extra(),
            }),
            3 => MessagePart::Variable(Variable {
                name: self.string(),
                text: self.some(Self::string),
                value: self.some(Self::json),
                range: self.range(),
                extra: self.extra(),
            }),
            4 => MessagePart::Mention(Mention {
                name: self.string(),
                kind: self.some(Self::string),
                text: self.some(Self::string),
                range: self.range(),
                extra: self.extra(),
            }),
            _ => {
                let text = format!(r#"{{"hologram":{},"b":1e3}}"#, self.json_text(2));
                MessagePart::Unknown(RawJson::parse(&text).unwrap())
            }
        }
    }

    pub(super) fn request(&mut self) -> ChatRequest {
        ChatRequest {
            id: RequestId::new(self.id()).unwrap(),
            at: self.time(),
            author: self.pick(&[Author::User, Author::System]),
            message: self.few(Self::message_part),
            agent: self.some(Self::string),
            command: self.some(Self::string),
            model: self.some(Self::string),
            data: self.data(),
            extra: self.extra(),
        }
    }

    pub(super) fn feedback(&mut self) -> Feedback {
        Feedback {
            vote: self.some(|g| g.pick(&[Vote::Up, Vote::Down])),
            score: self.some(Self::number),
            reason: self.some(Self::string),
            extra: self.extra(),
        }
    }

    fn usage(&mut self) -> Usage {
        Usage {
            input: self.some(Self::next),
            output: self.some(Self::next),
            cached: self.some(Self::next),
            cache_written: self.some(Self::next),
            reasoning: self.some(Self::next),
            cost: self.some(Self::number),
            currency: self.some(Self::string),
            extra: self.extra(),
        }
    }

    fn reference(&mut self) -> Reference {
        Reference {
            title: self.some(Self::string),
            uri: self.some(Self::string),
            license: self.some(Self::string),
            snippet: self.some(Self::string),
            value: self.some(Self::json),
            extra: self.extra(),
        }
    }

    pub(super) fn state(&mut self) -> ResponseState {
        use ResponseState::*;
        self.pick(&[Pending, Streaming, NeedsInput, Complete, Cancelled, Failed, Interrupted])
    }

    pub(super) fn response(&mut self) -> ChatResponse {
        ChatResponse {
            id: ResponseId::new(self.id()).unwrap(),
            state: self.state(),
            parts: self.few(Self::part),
            model: self.some(Self::string),
            usage: self.some(Self::usage),
            timings: Timings {
                started: self.some(Self::time),
                first_part: self.some(Self::time),
                completed: self.some(Self::time),
                extra: self.extra(),
            },
            error: self.some(|g| ResponseError {
                message: g.string(),
                code: g.some(Self::string),
                details: g.some(Self::json),
                extra: g.extra(),
            }),
            followups: self.few(|g| Followup {
                message: g.string(),
                title: g.some(Self::string),
                agent: g.some(Self::string),
                command: g.some(Self::string),
                extra: g.extra(),
            }),
            feedback: self.some(Self::feedback),
            references: self.few(Self::reference),
            citations: self.few(Self::reference),
            data: self.data(),
            extra: self.extra(),
        }
    }

    fn meta(&mut self) -> SessionMeta {
        let (owner, id) = (OwnerId::local(), SessionId::new("s-1").unwrap());
        let mut meta = SessionMeta::new(owner, id, self.time());
        meta.title = self.some(Self::title);
        meta.status =
            self.pick(&[SessionStatus::Active, SessionStatus::Archived, SessionStatus::Trashed]);
        meta.pinned = self.flip();
        meta.tags = self.few(Self::string);
        meta.workspace = self.some(|g| Workspace {
            id: WorkspaceId::new(g.id()).unwrap(),
            uris: g.few(Self::string),
            extra: g.extra(),
        });
        meta.agent = self.some(Self::string);
        meta.location = self.some(Self::string);
        meta.parent = self.some(|g| ParentSession {
            session: SessionId::new(g.id()).unwrap(),
            turn: g.some(|g| TurnId::new(g.next())),
            relation: g.pick(&[ParentRelation::Delegation, ParentRelation::Fork]),
            extra: g.extra(),
        });
        meta.working_directory = self.some(Self::string);
        for _ in 0..self.below(3) {
            let (name, value) = (self.string(), self.json());
            meta.preferences.insert(name, value);
        }
        meta.draft = self.some(Self::draft);
        meta.queue = self.few(Self::queued);
        meta.data = self.data();
        meta.extra = self.extra();
        meta
    }

    fn title(&mut self) -> Title {
        let set_by = self.pick(&[TitleSource::Person, TitleSource::Automatic]);
        Title { text: self.string(), set_by, extra: self.extra() }
    }

    fn draft(&mut self) -> Draft {
        Draft { text: self.string(), input: self.some(Self::json), extra: self.extra() }
    }

    fn queued(&mut self) -> QueuedRequest {
        let request = self.request();
        QueuedRequest { request, options: self.some(Self::json), extra: self.extra() }
    }

    pub(super) fn changes(&mut self) -> Vec<SessionChange> {
        self.few(|g| match g.below(9) {
            0 => SessionChange::Title(g.some(Self::title)),
            1 => SessionChange::Pinned(g.flip()),
            2 => SessionChange::Tags(g.few(Self::string)),
            3 => SessionChange::Agent(g.some(Self::string)),
            4 => SessionChange::Preference(g.string(), g.some(Self::json)),
            5 => SessionChange::Draft(g.some(Self::draft)),
            6 => SessionChange::Queue(g.few(Self::queued)),
            7 => SessionChange::WorkingDirectory(g.some(Self::string)),
            _ => SessionChange::Extra("x-new".to_owned(), g.some(Self::json)),
        })
    }

    pub(super) fn part(&mut self) -> ResponsePart {
        let parts = PartRegistry::builtin().with::<Chart>().unwrap();
        if self.below(3) > 0 {
            return super::parts::builtin(self);
        }
        let (data, extra) = (self.json(), self.extra());
        let mut envelope = match self.below(5) {
            0 => {
                let series = vec![0.1, -0.0, 1e300];
                return ResponsePart::new(Chart { title: self.string(), series }).unwrap();
            }
            1 => r#""version":"9.0.0","kind":"acme.chart""#.to_owned(),
            2 => r#""kind":"markdown","version":"1.7.3","fallback":"new""#.to_owned(),
            3 => r#""kind":"acme.chart","version":"2.1.0""#.to_owned(),
            _ => r#""z":[1.50],"kind":"nobody.knows","version":"0.0.1-rc.1""#.to_owned(),
        };
        envelope.push_str(&format!(r#","data":{data}"#));
        for (name, value) in extra.iter() {
            envelope.push_str(&format!(",{}:{value}", serde_json::to_string(name).unwrap()));
        }
        let envelope = RawJson::parse(&format!("{{{envelope}}}")).unwrap();
        ResponsePart::from_envelope(&envelope, &parts).unwrap()
    }

    /// A model with so many turns.
    pub(super) fn model(&mut self, turns: usize) -> ChatModel {
        let mut model = ChatModel::new(self.meta());
        for number in 1..=turns as u64 {
            // As often as not it simply goes on.
            let parent = if self.flip() { number - 1 } else { self.next() % number };
            let parent = (parent > 0).then(|| TurnId::new(parent));
            let (request, response) = (self.request(), self.response());
            let mut turn = Turn::new(TurnId::new(number), parent, request, response);
            turn.extra = self.extra();
            model.push(turn);
        }
        let active = self.below(turns + 1) as u64;
        model.active = (active > 0).then(|| TurnId::new(active));
        model.extra = self.extra();
        model
    }

    pub(super) fn extra_json(&mut self) -> Option<RawJson> {
        self.some(Self::json)
    }

    pub(super) fn maybe_string(&mut self) -> Option<String> {
        self.some(Self::string)
    }

    pub(super) fn several<T>(&mut self, make: impl FnMut(&mut Self) -> T) -> Vec<T> {
        self.few(make)
    }
}
