//! A JSON object put together out of written values.

use serde::Serialize;

use crate::error::Result;
use crate::json::{Extra, RawJson, write_extra};

/// An object put together out of written values.
#[derive(Default)]
pub(super) struct Body<'a> {
    fields: Vec<(&'static str, RawJson)>,
    extra: Option<&'a Extra>,
    /// Names that no unknown field may have.
    reserved: &'static [&'static str],
}

impl<'a> Body<'a> {
    pub(super) fn with(mut self, name: &'static str, value: RawJson) -> Self {
        self.fields.push((name, value));
        self
    }

    pub(super) fn with_some(self, name: &'static str, value: Option<RawJson>) -> Self {
        match value {
            Some(value) => self.with(name, value),
            None => self,
        }
    }

    /// Adds a value that is not written yet.
    pub(super) fn and(self, name: &'static str, value: &(impl Serialize + ?Sized)) -> Result<Self> {
        Ok(self.with(name, RawJson::of_whole(value)?))
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

    pub(super) fn write(self) -> Result<RawJson> {
        RawJson::of_whole(&self)
    }
}

impl Serialize for Body<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeMap as _;
        let mut map = serializer.serialize_map(None)?;
        for (name, value) in &self.fields {
            map.serialize_entry(name, value)?;
        }
        if let Some(extra) = self.extra {
            write_extra(&mut map, extra, self.reserved)?;
        }
        map.end()
    }
}
