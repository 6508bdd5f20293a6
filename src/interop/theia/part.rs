//! Response parts: `{"kind":…,"fallbackMessage":…,"data":…}`.

use super::super::node::Node;
use super::super::path::Path;
use super::super::reader::{Fields, Reader};
use crate::error::Result;
use crate::json::{Extra, RawJson};
use crate::part::{
    Code, Command, Compaction, ErrorPart, Horizontal, Markdown, Part, Progress, Question,
    QuestionOption, ResponsePart, Status, StatusLevel, Text, Thinking, ToolCall, ToolState,
};

/// Reads one part: into a built-in kind if its data fits one, else as it is.
pub(super) fn read(node: Node, path: &Path<'_>, reader: &mut Reader<'_>) -> Result<ResponsePart> {
    let Some(kind) = node.get("kind").and_then(Node::as_string) else {
        return reader.raw_part("theia.unnamed", "[unnamed]", Some(node), None, path);
    };
    let has = |name: &str| node.at(&["data", name]).and_then(Node::as_string).is_some();
    let element = Element { kind, path, reader, fields: None };
    match &*element.kind {
        "text" if has("content") => element.text(node),
        "markdownContent" if has("content") => element.markdown(node),
        "informational" if has("content") => element.informational(node),
        "thinking" if has("content") => element.thinking(node),
        "compaction" if has("summary") => element.compaction(node),
        "code" if has("code") => element.code(node),
        "toolCall" | "serverToolCall" if has("id") && has("name") => element.tool_call(node),
        "command" if has("commandId") => element.command(node),
        "horizontal" if has_parts(&node) => element.horizontal(node),
        "progress" if has("message") => element.progress(node),
        "error" if has("message") => element.error(node),
        "question" if has("question") => element.question(node),
        _ => element.raw(node),
    }
}

fn has_parts(node: &Node) -> bool {
    node.at(&["data", "content"]).is_some_and(|content| !content.items().is_empty())
}

/// A part that is being read.
struct Element<'p, 'r, 'o> {
    kind: String,
    path: &'p Path<'p>,
    reader: &'r mut Reader<'o>,
    fields: Option<Fields>,
}

impl Element<'_, '_, '_> {
    fn open(&mut self, node: Node) -> Result<&mut Fields> {
        Ok(self.fields.insert(Fields::of(node, self.path)?))
    }

    /// The part, with everything that it did not take beside it.
    fn close<P: Part>(self, mut part: P, extra: fn(&mut P) -> &mut Extra) -> Result<ResponsePart> {
        if let Some(mut fields) = self.fields {
            // A fallback that says what the part itself says adds nothing.
            let said = fields.peek("fallbackMessage").and_then(Node::as_string);
            if said.is_some_and(|said| part.fallback() == said) {
                let _taken = fields.take("fallbackMessage");
            }
            self.reader.keep_extra(extra(&mut part), fields, self.path)?;
        }
        self.reader.part(&self.kind, part, self.path)
    }

    fn text(mut self, node: Node) -> Result<ResponsePart> {
        let text = take(self.open(node)?, "content");
        self.close(Text::new(text), |part| &mut part.extra)
    }

    fn markdown(mut self, node: Node) -> Result<ResponsePart> {
        let text = take(self.open(node)?, "content");
        self.close(Markdown::new(text), |part| &mut part.extra)
    }

    fn informational(mut self, node: Node) -> Result<ResponsePart> {
        let text = take(self.open(node)?, "content");
        self.close(Status::new(StatusLevel::Info, text), |part| &mut part.extra)
    }

    fn thinking(mut self, node: Node) -> Result<ResponsePart> {
        let fields = self.open(node)?;
        let text = take(fields, "content");
        let signature = fields.string_at(&["data", "signature"]);
        self.close(Thinking { text, signature, ..Thinking::default() }, |part| &mut part.extra)
    }

    fn compaction(mut self, node: Node) -> Result<ResponsePart> {
        let fields = self.open(node)?;
        let mut part = Compaction::new(take(fields, "summary"));
        part.provider = fields.string_at(&["data", "provider"]);
        part.payload = fields.raw(&["data", "data"])?;
        self.close(part, |part| &mut part.extra)
    }

    fn code(mut self, node: Node) -> Result<ResponsePart> {
        let fields = self.open(node)?;
        let text = take(fields, "code");
        let language = take(fields, "language");
        let uri = fields.string_at(&["data", "location", "uri"]);
        self.close(Code { text, language, uri, extra: Extra::new() }, |part| &mut part.extra)
    }

    fn tool_call(mut self, node: Node) -> Result<ResponsePart> {
        let fields = self.open(node)?;
        let mut call = ToolCall::new(take(fields, "id"), take(fields, "name"));
        call.arguments = arguments(fields)?;
        if call.arguments.is_some() {
            call.state = ToolState::InputAvailable;
        }
        call.result = fields.raw(&["data", "result"])?;
        if call.result.is_some() {
            call.state = ToolState::OutputAvailable;
        }
        self.close(call, |part| &mut part.extra)
    }

    fn command(mut self, node: Node) -> Result<ResponsePart> {
        let fields = self.open(node)?;
        let mut part = Command::new(take(fields, "commandId"), take(fields, "commandLabel"));
        part.arguments = fields.raw(&["data", "arguments"])?;
        self.close(part, |part| &mut part.extra)
    }

    /// Parts side by side, each read as if it stood alone.
    fn horizontal(mut self, node: Node) -> Result<ResponsePart> {
        let items = self.open(node)?.array_at(&["data", "content"]);
        let data = self.path.field("data");
        let array = data.field("content");
        let mut parts = Vec::with_capacity(items.len());
        for (index, item) in items.into_iter().enumerate() {
            parts.push(read(item, &array.item(index), self.reader)?);
        }
        self.close(Horizontal::new(&parts)?, |part| &mut part.extra)
    }

    fn progress(mut self, node: Node) -> Result<ResponsePart> {
        let text = take(self.open(node)?, "message");
        self.close(Progress::new(text), |part| &mut part.extra)
    }

    fn error(mut self, node: Node) -> Result<ResponsePart> {
        let fields = self.open(node)?;
        let mut part = ErrorPart::new(take(fields, "message"));
        part.stack = fields.string_at(&["data", "stack"]);
        self.close(part, |part| &mut part.extra)
    }

    fn question(mut self, node: Node) -> Result<ResponsePart> {
        let fields = self.open(node)?;
        let mut part = Question::new(take(fields, "question"));
        part.header = fields.string_at(&["data", "header"]);
        let data = fields.peek("data");
        let get = |name: &str| data.and_then(|data| data.get(name));
        part.options = get("options").map(options).unwrap_or_default();
        part.multiple = get("multiSelect").and_then(Node::as_bool) == Some(true);
        let several = get("selectedOptions").map(Node::items).filter(|items| !items.is_empty());
        part.answer = match several {
            Some(items) => Some(items.iter().filter_map(chosen).collect()),
            None => get("selectedOption").and_then(chosen).map(|text| vec![text]),
        };
        self.close(part, |part| &mut part.extra)
    }

    /// A kind that has no equal here. One with a dot is an adopter's own and keeps its name, so that
    /// their code may read it; Theia's own cannot be taken for this crate's.
    fn raw(self, node: Node) -> Result<ResponsePart> {
        let kind = if self.kind.contains('.') {
            self.kind.clone()
        } else {
            format!("theia.{}", self.kind)
        };
        let fallback = node.get("fallbackMessage").and_then(Node::as_string);
        let mut fields = Fields::of(node, self.path)?;
        if fallback.is_some() {
            let _taken = fields.take("fallbackMessage");
        }
        let _taken = fields.take("kind");
        let data = fields.take("data");
        let rest = fields.finish(self.reader, self.path, "field `theia`")?;
        let fallback = fallback.unwrap_or_else(|| format!("[{}]", self.kind));
        self.reader.raw_part(&kind, &fallback, data, rest, self.path)
    }
}

fn take(fields: &mut Fields, name: &str) -> String {
    fields.string_at(&["data", name]).unwrap_or_default()
}

/// The arguments are JSON in a string. They become JSON where nothing is lost by it.
fn arguments(fields: &mut Fields) -> Result<Option<RawJson>> {
    let text = fields.at(&["data", "arguments"]).and_then(Node::as_string);
    if let Some(json) = text.and_then(|text| RawJson::parse(&text).ok().filter(|j| j.get() == text))
        && json.get().starts_with(['{', '['])
    {
        let _taken = fields.string_at(&["data", "arguments"]);
        return Ok(Some(json));
    }
    fields.raw(&["data", "arguments"])
}

fn options(list: &Node) -> Vec<QuestionOption> {
    let text = |node: &Node, name: &str| node.get(name).and_then(Node::as_string);
    let option = |node: &Node| QuestionOption {
        text: text(node, "text").or_else(|| node.as_string()).unwrap_or_default(),
        value: text(node, "value"),
        description: text(node, "description"),
        ..QuestionOption::default()
    };
    list.items().iter().map(option).collect()
}

fn chosen(option: &Node) -> Option<String> {
    let text = |name| option.get(name).and_then(Node::as_string);
    option.as_string().or_else(|| text("value")).or_else(|| text("text"))
}
