//! A part's envelope as JSON: written from scratch, or changed in one place.

use std::borrow::Cow;
use std::ops::Range;

use semver::Version;
use serde::ser::SerializeMap as _;
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;

use super::any::AnyPart;
use super::blob::BlobRef;
use super::builtin;
use crate::error::{Error, Result};
use crate::json::{Extra, Object, RawJson, shape, write_extra};

/// The version of a part whose envelope names none.
pub(super) const FIRST: Version = Version::new(1, 0, 0);

/// The fields of an envelope that mean something, in the order in which they are written.
const FIELDS: [&str; 5] = ["kind", "version", "fallback", "data", "blob"];

/// The envelope of a part that was made here.
pub(super) struct Envelope<'a> {
    pub(super) kind: &'a str,
    pub(super) version: &'a Version,
    /// What the envelope says; built-in kinds say it in their data instead.
    pub(super) fallback: Option<&'a str>,
    pub(super) data: &'a dyn AnyPart,
    pub(super) extra: &'a Extra,
}

impl Serialize for Envelope<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("kind", self.kind)?;
        if *self.version != FIRST || !builtin::is_builtin(self.kind) {
            map.serialize_entry("version", self.version)?;
        }
        if let Some(fallback) = self.fallback {
            map.serialize_entry("fallback", fallback)?;
        }
        map.serialize_entry("data", &Erased(self.data))?;
        write_extra(&mut map, self.extra, &FIELDS)?;
        map.end()
    }
}

pub(super) struct Erased<'a>(pub(super) &'a dyn AnyPart);

impl Serialize for Erased<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        erased_serde::serialize(self.0, serializer)
    }
}

/// Where a piece of an envelope stands in it.
pub(super) fn place(envelope: &RawJson, piece: &RawValue) -> Range<usize> {
    let start = piece.get().as_ptr() as usize - envelope.get().as_ptr() as usize;
    start..start + piece.get().len()
}

/// The fields that mean nothing to this version.
pub(super) fn unknown_fields(envelope: &RawJson) -> Result<Extra> {
    let mut object: Object<'_> = envelope.read()?;
    for name in FIELDS {
        object.take_raw(name);
    }
    object.rest().map_err(shape)
}

/// The envelope with a blob in the place of its data, and behind it a fallback to stand in.
pub(super) fn with_blob(
    envelope: &RawJson,
    blob: &BlobRef,
    stand_in: Option<&str>,
) -> Result<RawJson> {
    let blob = Field::New(RawJson::of(blob)?);
    edited(envelope, |name, _| match name {
        "data" => {
            let mut fields = vec![("blob", blob.clone())];
            if let Some(fallback) = stand_in {
                fields.push(("fallback", Field::New(RawJson::of(fallback)?)));
            }
            Ok(Some(fields))
        }
        _ => Ok(None),
    })
}

/// The envelope with its data in the place of a blob. What came behind the blob to stand in for
/// the data goes.
pub(super) fn with_data(envelope: &RawJson, data: &RawJson, is_builtin: bool) -> Result<RawJson> {
    let mut behind = false;
    edited(envelope, |name, _| match name {
        "blob" => {
            behind = true;
            Ok(Some(vec![("data", Field::New(data.clone()))]))
        }
        "fallback" if behind && is_builtin => Ok(Some(Vec::new())),
        _ => Ok(None),
    })
}

/// The envelope with text added to its data's `text`.
pub(super) fn with_text(envelope: &RawJson, text: &str) -> Result<RawJson> {
    let longer = |old: &RawValue| -> Result<Field<'_>> {
        let old: String = serde_json::from_str(old.get()).map_err(shape)?;
        Ok(Field::New(RawJson::of(&(old + text))?))
    };
    let mut added = false;
    let changed = edited(envelope, |name, data| {
        if name == "fallback" && data.get().starts_with('"') {
            return Ok(Some(vec![("fallback", longer(data)?)]));
        }
        if name != "data" || !data.get().starts_with('{') {
            return Ok(None);
        }
        let data = edited(&RawJson::from_raw(data)?, |name, old| {
            if name != "text" || !old.get().starts_with('"') {
                return Ok(None);
            }
            added = true;
            Ok(Some(vec![("text", longer(old)?)]))
        })?;
        Ok(Some(vec![("data", Field::New(data))]))
    })?;
    if added {
        return Ok(changed);
    }
    Err(Error::invalid("no text can be added to this kind of part"))
}

#[derive(Clone)]
enum Field<'a> {
    Kept(&'a RawValue),
    New(RawJson),
}

struct Fields<'a>(Vec<(Cow<'a, str>, Field<'a>)>);

impl Serialize for Fields<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, field) in &self.0 {
            match field {
                Field::Kept(raw) => map.serialize_entry(name, raw)?,
                Field::New(json) => map.serialize_entry(name, json)?,
            }
        }
        map.end()
    }
}

/// The object with some fields replaced by others; `None` keeps one as it is.
fn edited<'a>(
    object: &'a RawJson,
    mut edit: impl FnMut(&str, &'a RawValue) -> Result<Option<Vec<(&'static str, Field<'a>)>>>,
) -> Result<RawJson> {
    let fields: Object<'_> = object.read()?;
    let mut edited = Vec::new();
    for (name, raw) in fields.into_fields() {
        match edit(&name, raw)? {
            Some(others) => edited.extend(others.into_iter().map(|(n, f)| (Cow::Borrowed(n), f))),
            None => edited.push((name, Field::Kept(raw))),
        }
    }
    RawJson::of(&Fields(edited))
}
