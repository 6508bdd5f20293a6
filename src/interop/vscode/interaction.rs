//! Confirmations and questions.

use super::super::node::Node;
use super::super::path::Path;
use super::super::reader::{Fields, Reader};
use super::part::{take_text, text_of};
use crate::error::Result;
use crate::part::{Question, QuestionOption, ResponsePart};

/// A confirmation: its title heads the question, its buttons are the options.
pub(super) fn confirmation(
    node: Node,
    path: &Path<'_>,
    reader: &mut Reader<'_>,
) -> Result<ResponsePart> {
    let mut fields = Fields::of(node, path)?;
    let title = fields.string("title");
    let mut part = match take_text(&mut fields, "message") {
        Some(message) => Question { header: title, ..Question::new(message) },
        None => Question::new(title.unwrap_or_default()),
    };
    for button in texts(&mut fields, "buttons") {
        part = part.option(button);
    }
    reader.keep_extra(&mut part.extra, fields, path)?;
    reader.part("confirmation", part, path)
}

fn texts(fields: &mut Fields, name: &str) -> Vec<String> {
    let fits = |node: &Node| {
        !node.items().is_empty() && node.items().iter().all(|item| item.as_string().is_some())
    };
    let taken = fields.take_if(&[name], fits);
    taken.iter().flat_map(Node::items).filter_map(Node::as_string).collect()
}

/// The question of a carousel that has only one, and says it. A built-in question is one question:
/// a carousel of several stays as it is.
pub(super) fn only_question(node: &Node) -> Option<&Node> {
    match node.get("questions")?.items() {
        [only] => text_of(only, "message").or_else(|| text_of(only, "title")).and(Some(only)),
        _ => None,
    }
}

/// The question is made out of the carousel's fields, all of which stay beside it.
pub(super) fn question(
    node: Node,
    path: &Path<'_>,
    reader: &mut Reader<'_>,
) -> Result<ResponsePart> {
    let mut part = Question::default();
    if let Some(asked) = only_question(&node) {
        let title = text_of(asked, "title");
        match text_of(asked, "message") {
            Some(message) => (part.question, part.header) = (message, title),
            None => part.question = title.unwrap_or_default(),
        }
        part.multiple = text_of(asked, "type").as_deref() == Some("multiSelect");
        part.options = asked.get("options").map(options).unwrap_or_default();
        let id = text_of(asked, "id").unwrap_or_default();
        part.answer = node.at(&["data", &id]).and_then(answer);
    }
    reader.keep_extra(&mut part.extra, Fields::of(node, path)?, path)?;
    reader.part("questionCarousel", part, path)
}

fn options(list: &Node) -> Vec<QuestionOption> {
    let option = |node: &Node| QuestionOption {
        text: text_of(node, "label").or_else(|| node.as_string()).unwrap_or_default(),
        value: text_of(node, "value").or_else(|| text_of(node, "id")),
        description: text_of(node, "description"),
        ..QuestionOption::default()
    };
    list.items().iter().map(option).collect()
}

fn answer(given: &Node) -> Option<Vec<String>> {
    match given {
        Node::Array(items) => Some(items.iter().filter_map(Node::as_string).collect()),
        one => one.as_string().map(|text| vec![text]),
    }
}
