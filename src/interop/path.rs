//! Places in a JSON document, for reports and errors.

use std::fmt;

use crate::error::Error;

/// A place in a document, as a chain of steps that lives on the stack.
#[derive(Debug, Clone, Copy)]
pub(super) struct Path<'a> {
    parent: Option<&'a Self>,
    step: Step<'a>,
    depth: usize,
}

#[derive(Debug, Clone, Copy)]
enum Step<'a> {
    Root,
    Field(&'a str),
    Item(usize),
}

impl Path<'static> {
    pub(super) const ROOT: Self = Self { parent: None, step: Step::Root, depth: 0 };
}

impl<'a> Path<'a> {
    pub(super) fn field(&'a self, name: &'a str) -> Self {
        Self { parent: Some(self), step: Step::Field(name), depth: self.depth + 1 }
    }

    pub(super) fn item(&'a self, index: usize) -> Self {
        Self { parent: Some(self), step: Step::Item(index), depth: self.depth + 1 }
    }

    /// How many steps it has.
    pub(super) fn depth(&self) -> usize {
        self.depth
    }

    /// An error about this place.
    pub(super) fn invalid(&self, message: impl Into<std::borrow::Cow<'static, str>>) -> Error {
        Error::invalid(message).with("field", self)
    }

    /// The place with all items of an array taken for one: `requests[].response[]`.
    pub(super) fn pattern(&self) -> String {
        let mut out = String::new();
        self.write(&mut out, true);
        out
    }

    fn write(&self, out: &mut String, pattern: bool) {
        if let Some(parent) = self.parent {
            parent.write(out, pattern);
        }
        match self.step {
            Step::Root => {}
            Step::Field(name) => {
                if !out.is_empty() {
                    out.push('.');
                }
                out.push_str(&shown(name));
            }
            Step::Item(_) if pattern => out.push_str("[]"),
            Step::Item(index) => out.push_str(&format!("[{index}]")),
        }
    }
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = String::new();
        self.write(&mut out, false);
        f.write_str(if out.is_empty() { "the document" } else { &out })
    }
}

/// Foreign text for a terminal: short, and without characters that steer one.
pub(super) fn shown(text: &str) -> String {
    const LONGEST: usize = 60;
    let steers = |c: char| {
        c.is_control()
            || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
    };
    let mut out = String::new();
    for (index, c) in text.chars().enumerate() {
        if index == LONGEST {
            out.push('…');
            break;
        }
        if steers(c) {
            out.extend(c.escape_unicode());
        } else {
            out.push(c);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_in_words() {
        let requests = Path::ROOT.field("requests");
        let request = requests.item(3);
        let place = request.field("a\u{1b}[31m");
        assert_eq!(place.to_string(), r"requests[3].a\u{1b}[31m");
        assert_eq!(place.pattern(), r"requests[].a\u{1b}[31m");
        assert_eq!(Path::ROOT.to_string(), "the document");
    }
}
