//! Parts whose data lies apart, in a blob of their session.

use std::sync::{Arc, OnceLock};

use super::builtin;
use super::envelope;
use super::registry::PartRegistry;
use super::response_part::{Data, Inner, Json, ResponsePart};
use super::unknown::UnknownReason;
use crate::error::Result;
use crate::json::{Extra, RawJson, json_object};

/// Where the data of a large part lies: a blob of its session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlobRef {
    /// The SHA-256 of the content, 64 hexadecimal digits.
    pub sha256: String,
    /// The content's length in bytes.
    pub bytes: u64,
    /// Fields of a newer version, kept.
    pub extra: Extra,
}

json_object!(BlobRef { required sha256, required bytes });

impl ResponsePart {
    /// Where its data lies if that has not been loaded.
    #[must_use]
    pub fn blob(&self) -> Option<&BlobRef> {
        match &self.0.data {
            Data::Stored { json: None, blob, .. } => blob.as_ref(),
            _ => None,
        }
    }

    /// Whether its envelope names a blob, loaded or not.
    pub(crate) fn names_blob(&self) -> bool {
        matches!(&self.0.data, Data::Stored { blob: Some(_), .. })
    }

    /// Whether its data is not loaded, and its fallback stands in for it.
    pub(crate) fn has_stand_in(&self) -> bool {
        self.blob().is_some() && builtin::is_builtin(self.kind())
    }

    /// The same part with its data in a blob instead of the envelope, which otherwise stays as it
    /// is. A built-in kind's fallback has to stand in for its data from now on.
    pub(crate) fn moved_to_blob(&self, blob: BlobRef, fallback: String) -> Self {
        let stand_in = self.0.fallback.is_none() && builtin::is_builtin(self.kind());
        let stand_in = stand_in.then_some(fallback);
        let moved = self
            .to_envelope()
            .and_then(|envelope| envelope::with_blob(&envelope, &blob, stand_in.as_deref()));
        // A part that cannot be written stays where it is: whoever writes it hears of it.
        let Ok(envelope) = moved else { return self.clone() };
        let codec = Err(UnknownReason::NotLoaded);
        Self(Arc::new(Inner {
            kind: self.0.kind.clone(),
            version: self.0.version.clone(),
            fallback: self.0.fallback.clone().or(stand_in),
            data: Data::Stored { json: None, blob: Some(blob), codec, typed: OnceLock::new() },
            envelope: Some(envelope),
            extra: Extra::new(),
        }))
    }

    /// The same part with the data that was loaded from its blob. Its envelope goes on to name the
    /// blob.
    pub(crate) fn loaded(&self, json: RawJson, parts: &PartRegistry) -> Result<Self> {
        let codec = parts.codec(&self.0.kind, &self.0.version);
        let (json, blob) = (Some(Json::Own(json)), self.blob().cloned());
        Ok(Self(Arc::new(Inner {
            kind: self.0.kind.clone(),
            version: self.0.version.clone(),
            fallback: self.0.fallback.clone(),
            data: Data::Stored { json, blob, codec, typed: OnceLock::new() },
            envelope: Some(self.to_envelope()?),
            extra: Extra::new(),
        })))
    }

    /// The same part with its data in the envelope, for documents that stand alone.
    pub(crate) fn with_data_inline(&self) -> Self {
        let Inner { data: Data::Stored { json: Some(Json::Own(json)), codec, .. }, .. } = &*self.0
        else {
            return self.clone();
        };
        let is_builtin = builtin::is_builtin(self.kind());
        let inline = self
            .to_envelope()
            .and_then(|envelope| envelope::with_data(&envelope, json, is_builtin));
        let Ok(envelope) = inline else { return self.clone() };
        let (json, codec) = (Some(Json::Own(json.clone())), codec.clone());
        Self(Arc::new(Inner {
            kind: self.0.kind.clone(),
            version: self.0.version.clone(),
            fallback: self.0.fallback.clone().filter(|_| !is_builtin),
            data: Data::Stored { json, blob: None, codec, typed: OnceLock::new() },
            envelope: Some(envelope),
            extra: Extra::new(),
        }))
    }
}
