//! From older versions of the session format to the current one.

use std::borrow::Cow;

use semver::Version;

use super::Migrations;
use crate::error::{Error, ErrorKind, Result};
use crate::json::{Object, RawJson};

/// Reads older versions of the log's records and of the document.
///
/// The format has one version so far, so that its chains are empty.
#[derive(Debug, Clone)]
pub struct Migrator {
    version: Version,
    documents: Migrations,
    records: Migrations,
}

impl Migrator {
    /// To the version that this crate writes.
    #[must_use]
    pub fn current() -> Self {
        Self {
            version: Version::new(1, 0, 0),
            documents: Migrations::new(),
            records: Migrations::new(),
        }
    }

    /// To another version. The steps for documents get the whole document, those for records an
    /// object of the record's `kind` and `body`.
    ///
    /// # Errors
    ///
    /// [`Invalid`](ErrorKind::Invalid) if a chain has a gap.
    pub fn new(version: Version, documents: Migrations, records: Migrations) -> Result<Self> {
        documents.check(&version)?;
        records.check(&version)?;
        Ok(Self { version, documents, records })
    }

    /// The version that is written.
    #[must_use]
    pub fn version(&self) -> &Version {
        &self.version
    }

    /// Whether what a version wrote can be read. A newer minor version can.
    ///
    /// # Errors
    ///
    /// [`UnsupportedVersion`](ErrorKind::UnsupportedVersion) for a newer major version.
    pub fn check(&self, written: &Version) -> Result<()> {
        if written.major > self.version.major {
            return Err(Error::new(
                ErrorKind::UnsupportedVersion,
                format!("format {written} is newer than {}, the newest known", self.version),
            ));
        }
        Ok(())
    }

    pub(crate) fn document(&self, document: &RawJson, written: &Version) -> Result<RawJson> {
        self.check(written)?;
        if super::is_newer(written, &self.version) {
            return Ok(document.clone());
        }
        self.documents.migrate(document, written, &self.version)
    }

    /// A record's body in the current version. Where it is of that one already nobody has looked at
    /// it yet.
    pub(crate) fn record<'a>(
        &self,
        kind: &str,
        body: &'a str,
        written: &Version,
    ) -> Result<Cow<'a, str>> {
        self.check(written)?;
        if super::is_newer(written, &self.version)
            || self.records.is_current(written, &self.version)
        {
            return Ok(Cow::Borrowed(body));
        }
        let (kind_json, body) = (RawJson::of(kind)?, RawJson::parse_whole(body)?);
        let record = format!("{{\"kind\":{kind_json},\"body\":{body}}}");
        let record = RawJson::parse_whole(&record)?;
        let migrated = self.records.migrate(&record, written, &self.version)?;
        let mut object: Object<'_> = migrated.read()?;
        let body = object.take_raw("body").ok_or_else(|| {
            Error::invalid("a migration step removed a record's body").with("kind", kind)
        })?;
        Ok(Cow::Owned(body.get().to_owned()))
    }
}
