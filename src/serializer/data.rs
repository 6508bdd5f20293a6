//! Adopters' data as JSON.

use std::fmt;

use serde_json::value::RawValue;

use crate::error::{Error, Result};
use crate::json::{JsonMap, Object, RawJson};
use crate::model::{DataEntry, DataMap};

/// Writes and reads adopters' data of sessions, requests and responses.
pub trait ChatDataSerializer: fmt::Debug + Send + Sync + 'static {
    /// Writes data of an id.
    ///
    /// # Errors
    ///
    /// [`Invalid`](crate::ErrorKind::Invalid) if it cannot be written.
    fn write(&self, id: &str, entry: &DataEntry) -> Result<RawJson>;

    /// Reads data of an id.
    ///
    /// # Errors
    ///
    /// [`Invalid`](crate::ErrorKind::Invalid) if it has another shape.
    fn read(&self, id: &str, json: &RawValue) -> Result<DataEntry>;
}

/// `{"version":"1.0.0","value":…}`
#[derive(Debug, Clone, Copy, Default)]
pub struct JsonChatDataSerializer;

impl ChatDataSerializer for JsonChatDataSerializer {
    fn write(&self, _id: &str, entry: &DataEntry) -> Result<RawJson> {
        RawJson::of_whole(entry)
    }

    fn read(&self, id: &str, json: &RawValue) -> Result<DataEntry> {
        super::json::parse(json).map_err(|e| e.with("data", id))
    }
}

/// All data of one thing as an object by id; none if there is none.
pub(super) fn write_map(
    map: &DataMap,
    serializer: &dyn ChatDataSerializer,
) -> Result<Option<RawJson>> {
    if map.is_empty() {
        return Ok(None);
    }
    let mut object = JsonMap::default();
    for (id, entry) in map.iter() {
        let json = serializer.write(id, entry).map_err(|e| e.with("data", id))?;
        object.insert(id.to_owned(), json);
    }
    RawJson::of_whole(&object).map(Some)
}

pub(super) fn read_map(
    json: Option<RawJson>,
    serializer: &dyn ChatDataSerializer,
) -> Result<DataMap> {
    let mut map = DataMap::new();
    let Some(json) = json.filter(|json| !json.is_null()) else { return Ok(map) };
    let field = |e: Error| e.with("field", "data");
    let object: Object<'_> = super::json::parse(json.as_raw()).map_err(field)?;
    for (id, raw) in object.into_fields() {
        let entry = serializer.read(&id, raw).map_err(|e| e.with("data", &id))?;
        map.set(id, Some(entry));
    }
    Ok(map)
}
