//! Blobs: bytes under the hash of their content.

use rusqlite::{OptionalExtension as _, params};

use super::catalogue;
use super::database::Sync;
use super::engine::{Engine, capabilities};
use super::error::SqliteError;
use super::read;
use crate::error::{Error, Result};
use crate::storage::{BlobId, SessionKey, rules};

impl Engine {
    pub(super) fn put_blob(&self, key: &SessionKey, id: &BlobId, content: &[u8]) -> Result<()> {
        rules::check_blob(id, content, &capabilities())?;
        let put = self.database.write(Sync::Full, |transaction| {
            let (session, _) = read::existing(transaction, key)?;
            // What is there under this id may be damaged.
            transaction
                .prepare_cached("INSERT OR REPLACE INTO blobs VALUES (?1, ?2, ?3)")?
                .execute(params![session.id, id.bytes(), content])?;
            Ok(())
        });
        put.map_err(|error| Error::from(error).with("session", &key.id).with("blob", id))
    }

    pub(super) fn get_blob(&self, key: &SessionKey, id: &BlobId) -> Result<Option<Vec<u8>>> {
        let content: Option<Vec<u8>> = self.database.read(|connection| {
            let Some(session) = catalogue::row_of(connection, key)? else { return Ok(None) };
            let mut query = connection
                .prepare_cached("SELECT content FROM blobs WHERE session = ?1 AND blob = ?2")?;
            Ok(query.query_row(params![session.id, id.bytes()], |row| row.get(0)).optional()?)
        })?;
        match content {
            Some(content) if BlobId::of(&content) != *id => {
                Err(Error::corrupt("the blob has another hash")
                    .with("session", &key.id)
                    .with("blob", id))
            }
            content => Ok(content),
        }
    }

    pub(super) fn blobs(&self, key: &SessionKey) -> Result<Vec<BlobId>> {
        let ids: Vec<Vec<u8>> = self.database.read(|connection| {
            let Some(session) = catalogue::row_of(connection, key)? else { return Ok(Vec::new()) };
            let mut query = connection
                .prepare_cached("SELECT blob FROM blobs WHERE session = ?1 ORDER BY blob")?;
            let ids = query.query_map([session.id], |row| row.get(0))?;
            Ok(ids.collect::<Result<_, _>>()?)
        })?;
        let damaged = || SqliteError::damaged("a blob's id is damaged").into();
        ids.into_iter().map(|id| BlobId::from_bytes(&id).ok_or_else(damaged)).collect()
    }
}
