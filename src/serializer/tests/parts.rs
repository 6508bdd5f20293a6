//! Arbitrary parts of every built-in kind.

use super::arbitrary::Gen;
use crate::part::*;

pub(super) const KINDS: usize = 17;

pub(super) fn builtin(g: &mut Gen) -> ResponsePart {
    let which = g.below(KINDS);
    builtin_kind(g, which)
}

/// A part of one of the built-in kinds, by number.
pub(super) fn builtin_kind(g: &mut Gen, which: usize) -> ResponsePart {
    let part = match which {
        0..=3 => text(g, which),
        4 => ResponsePart::new(tool_call(g)),
        5 => ResponsePart::new(Command {
            id: g.string(),
            label: g.string(),
            arguments: g.extra_json(),
            extra: g.extra(),
        }),
        6 => ResponsePart::new(Progress { message: g.string(), extra: g.extra() }),
        7 => ResponsePart::new(Status {
            level: g.pick(&[StatusLevel::Status, StatusLevel::Info, StatusLevel::Warning]),
            message: g.string(),
            extra: g.extra(),
        }),
        8 => ResponsePart::new(ErrorPart {
            message: g.string(),
            stack: g.maybe_string(),
            extra: g.extra(),
        }),
        9 => ResponsePart::new(question(g)),
        10 => ResponsePart::new(resource(g)),
        11 => ResponsePart::new(Citation {
            title: g.maybe_string(),
            uri: g.maybe_string(),
            snippet: g.maybe_string(),
            extra: g.extra(),
        }),
        12 => ResponsePart::new(change_set(g)),
        13 => ResponsePart::new(plan(g)),
        14 => ResponsePart::new(Compaction {
            summary: g.string(),
            provider: g.maybe_string(),
            payload: g.extra_json(),
            extra: g.extra(),
        }),
        15 => horizontal(g),
        _ => ResponsePart::new(Separator { extra: g.extra() }),
    };
    part.unwrap()
}

fn text(g: &mut Gen, which: usize) -> crate::Result<ResponsePart> {
    let (text, extra) = (g.string(), g.extra());
    match which {
        0 => ResponsePart::new(Markdown { text, extra }),
        1 => ResponsePart::new(Text { text, extra }),
        2 => ResponsePart::new(Thinking { text, signature: g.maybe_string(), extra }),
        _ => ResponsePart::new(Code { text, language: g.string(), uri: g.maybe_string(), extra }),
    }
}

fn tool_call(g: &mut Gen) -> ToolCall {
    use ToolState::*;
    ToolCall {
        id: g.string(),
        name: g.string(),
        state: g.pick(&[
            InputStreaming,
            InputAvailable,
            ApprovalRequested,
            ApprovalResponded,
            OutputAvailable,
            OutputError,
            OutputDenied,
        ]),
        title: g.maybe_string(),
        arguments: g.extra_json(),
        result: g.extra_json(),
        error: g.maybe_string(),
        extra: g.extra(),
    }
}

fn question(g: &mut Gen) -> Question {
    Question {
        question: g.string(),
        header: g.maybe_string(),
        options: g.several(|g| QuestionOption {
            text: g.string(),
            value: g.maybe_string(),
            description: g.maybe_string(),
            extra: g.extra(),
        }),
        multiple: g.flip(),
        answer: g.flip().then(|| g.several(Gen::string)),
        details: g.extra_json(),
        extra: g.extra(),
    }
}

fn resource(g: &mut Gen) -> Resource {
    use ResourceKind::*;
    Resource {
        resource: g.pick(&[File, Image, Audio, Reference]),
        name: g.maybe_string(),
        uri: g.maybe_string(),
        media_type: g.maybe_string(),
        base64: g.maybe_string(),
        text: g.maybe_string(),
        extra: g.extra(),
    }
}

fn change_set(g: &mut Gen) -> ChangeSet {
    use ChangeState::*;
    let changes = g.several(|g| FileChange {
        uri: g.string(),
        change: g.pick(&[ChangeType::Add, ChangeType::Modify, ChangeType::Delete]),
        state: g.pick(&[Pending, Applied, Discarded, Stale]),
        original: g.maybe_string(),
        target: g.maybe_string(),
        details: g.extra_json(),
        extra: g.extra(),
    });
    ChangeSet { title: g.maybe_string(), changes, extra: g.extra() }
}

fn plan(g: &mut Gen) -> Plan {
    use PlanState::*;
    let items = g.several(|g| PlanItem {
        text: g.string(),
        state: g.pick(&[Pending, InProgress, Done, Dropped]),
        extra: g.extra(),
    });
    Plan { title: g.maybe_string(), items, extra: g.extra() }
}

fn horizontal(g: &mut Gen) -> crate::Result<ResponsePart> {
    let inner = [text(g, 0)?, text(g, 3)?];
    let mut part = Horizontal::new(&inner)?;
    part.extra = g.extra();
    ResponsePart::new(part)
}
