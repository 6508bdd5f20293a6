//! Small documents with versions and expiry.

use bytes::Bytes;
use jiff::Timestamp;
use rusqlite::{Connection, params};

use super::database::Sync;
use super::engine::Engine;
use super::error::SqliteError;
use crate::error::{Error, Result};
use crate::storage::{
    Cursor, Document, DocumentScope, ExpectedDocument, Page, VersionToken, listing, rules,
};

impl Engine {
    pub(super) fn get_document(
        &self,
        scope: &DocumentScope,
        name: &str,
        now: Timestamp,
    ) -> Result<Option<Document>> {
        rules::check_document_name(name)?;
        Ok(self.database.read(|connection| get(connection, scope, name, now))?)
    }

    pub(super) fn put_document(
        &self,
        scope: &DocumentScope,
        name: &str,
        expected: &ExpectedDocument,
        content: &[u8],
        expires: Option<Timestamp>,
        now: Timestamp,
    ) -> Result<VersionToken> {
        rules::check_document_name(name)?;
        let put = self.database.write(Sync::Full, |transaction| {
            check(transaction, scope, name, expected, now)?;
            transaction
                .execute("UPDATE store SET value = value + 1 WHERE name = 'versions'", ())?;
            let version: i64 = transaction.query_row(
                "SELECT value FROM store WHERE name = 'versions'",
                (),
                |row| row.get(0),
            )?;
            let expires = expires.map(|time| time.to_string());
            transaction
                .prepare_cached("INSERT OR REPLACE INTO documents VALUES (?1, ?2, ?3, ?4, ?5)")?
                .execute(params![scope_name(scope), name, version, expires, content])?;
            Ok(VersionToken(version.to_string()))
        });
        put.map_err(|error| Error::from(error).with("document", name))
    }

    pub(super) fn delete_document(
        &self,
        scope: &DocumentScope,
        name: &str,
        expected: &ExpectedDocument,
        now: Timestamp,
    ) -> Result<()> {
        rules::check_document_name(name)?;
        let deleted = self.database.write(Sync::Full, |transaction| {
            check(transaction, scope, name, expected, now)?;
            transaction
                .prepare_cached("DELETE FROM documents WHERE scope = ?1 AND name = ?2")?
                .execute(params![scope_name(scope), name])?;
            Ok(())
        });
        deleted.map_err(|error| Error::from(error).with("document", name))
    }

    pub(super) fn list_documents(
        &self,
        scope: &DocumentScope,
        prefix: &str,
        after: Option<&Cursor>,
        now: Timestamp,
    ) -> Result<Page<String>> {
        let names: Vec<(String, Option<String>)> = self.database.read(|connection| {
            let mut query = connection.prepare_cached(
                "SELECT name, expires FROM documents WHERE scope = ?1 AND name >= ?2
                 ORDER BY name",
            )?;
            let rows = query.query_map(params![scope_name(scope), prefix], |row| {
                Ok((row.get(0)?, row.get(1)?))
            })?;
            let is_asked = |row: &rusqlite::Result<(String, _)>| {
                row.as_ref().map_or(true, |(name, _)| name.starts_with(prefix))
            };
            Ok(rows.take_while(is_asked).collect::<Result<_, _>>()?)
        })?;
        let mut living = Vec::new();
        for (name, expires) in names {
            if lives(expires.as_deref(), now)?.is_some() {
                living.push(name);
            }
        }
        listing::page_of_names(living, after)
    }
}

fn scope_name(scope: &DocumentScope) -> String {
    match scope {
        DocumentScope::Owner(owner) => format!("o{owner}"),
        DocumentScope::Store => String::new(),
    }
}

fn get(
    connection: &Connection,
    scope: &DocumentScope,
    name: &str,
    now: Timestamp,
) -> Result<Option<Document>, SqliteError> {
    let mut query = connection.prepare_cached(
        "SELECT version, expires, content FROM documents WHERE scope = ?1 AND name = ?2",
    )?;
    let mut rows = query.query(params![scope_name(scope), name])?;
    let Some(row) = rows.next()? else { return Ok(None) };
    let expires: Option<String> = row.get(1)?;
    let Some(expires) = lives(expires.as_deref(), now)? else { return Ok(None) };
    let content: Vec<u8> = row.get(2)?;
    Ok(Some(Document {
        content: Bytes::from(content),
        version: VersionToken(row.get::<_, i64>(0)?.to_string()),
        expires,
    }))
}

fn check(
    connection: &Connection,
    scope: &DocumentScope,
    name: &str,
    expected: &ExpectedDocument,
    now: Timestamp,
) -> Result<(), SqliteError> {
    let present = get(connection, scope, name, now)?;
    Ok(rules::check_version(name, expected, present.as_ref().map(|document| &document.version))?)
}

/// When a document expires, unless it has.
fn lives(expires: Option<&str>, now: Timestamp) -> Result<Option<Option<Timestamp>>, SqliteError> {
    let Some(expires) = expires else { return Ok(Some(None)) };
    let expires: Timestamp = expires
        .parse()
        .map_err(|e| SqliteError::damaged(format!("a document's time of expiry: {e}")))?;
    Ok((now < expires).then_some(Some(expires)))
}
