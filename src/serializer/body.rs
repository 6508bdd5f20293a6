//! A JSON object put together out of written values.

use serde::Serialize;

use crate::error::{Error, Result};
use crate::json::{Extra, RawJson};

/// What most bodies fit into. Allocators often treat what is a little larger as large.
const USUAL: usize = 960;

/// An object as far as it is written: each field goes to the text at once.
pub(super) struct Body<'a> {
    text: Vec<u8>,
    extra: Option<&'a Extra>,
    /// Names that no unknown field may have.
    reserved: &'static [&'static str],
}

impl Default for Body<'_> {
    fn default() -> Self {
        Self { text: Vec::with_capacity(USUAL), extra: None, reserved: &[] }
    }
}

impl<'a> Body<'a> {
    pub(super) fn with(mut self, name: &'static str, value: RawJson) -> Self {
        self.name(name);
        self.text.extend_from_slice(value.get().as_bytes());
        self
    }

    pub(super) fn with_some(self, name: &'static str, value: Option<RawJson>) -> Self {
        match value {
            Some(value) => self.with(name, value),
            None => self,
        }
    }

    /// Adds a value that is not written yet.
    pub(super) fn and(
        mut self,
        name: &'static str,
        value: &(impl Serialize + ?Sized),
    ) -> Result<Self> {
        self.name(name);
        serde_json::to_writer(&mut self.text, value).map_err(RawJson::not_written)?;
        Ok(self)
    }

    pub(super) fn and_some(
        self,
        name: &'static str,
        value: Option<&impl Serialize>,
    ) -> Result<Self> {
        match value {
            Some(value) => self.and(name, value),
            None => Ok(self),
        }
    }

    pub(super) fn with_extra(
        mut self,
        extra: &'a Extra,
        reserved: &'static [&'static str],
    ) -> Self {
        (self.extra, self.reserved) = (Some(extra), reserved);
        self
    }

    /// Begins a field. The names of known ones need no escapes.
    fn name(&mut self, name: &str) {
        self.text.push(if self.text.is_empty() { b'{' } else { b',' });
        self.text.push(b'"');
        self.text.extend_from_slice(name.as_bytes());
        self.text.extend_from_slice(b"\":");
    }

    pub(super) fn write(mut self) -> Result<RawJson> {
        for (name, value) in self.extra.into_iter().flat_map(Extra::iter) {
            if self.reserved.contains(&name) {
                return Err(Error::invalid(format!(
                    "the value cannot be written as JSON: the unknown field `{name}` has the name \
                     of a known one"
                )));
            }
            self.text.push(if self.text.is_empty() { b'{' } else { b',' });
            serde_json::to_writer(&mut self.text, name).map_err(RawJson::not_written)?;
            self.text.push(b':');
            self.text.extend_from_slice(value.get().as_bytes());
        }
        if self.text.is_empty() {
            self.text.push(b'{');
        }
        self.text.push(b'}');
        RawJson::of_whole_text(self.text)
    }
}
