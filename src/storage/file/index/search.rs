//! Full text from the index.

use std::collections::HashMap;
use std::sync::Weak;

use async_trait::async_trait;

use super::{Index, Shared, rows};
use crate::error::{Error, ErrorKind, Result};
use crate::id::OwnerId;
use crate::storage::file::FileStorage;
use crate::storage::file::index::Hidden;
use crate::storage::sqlite::{catalogue, full_text};
use crate::storage::{Cursor, Extract, FullText, OnProgress, Page, Progress, TextHits, TextQuery};

/// The turns of an index's text are found as soon as the call that wrote them has returned; those
/// that another process wrote within 200 ms. While the index is being built, and where it cannot be
/// used, what is found is partial. So it is where a program with a newer version of Unicode has cut
/// the text into words: then the text of new turns waits for that program, and a deletion here has
/// the index built anew.
#[async_trait]
impl FullText for FileStorage {
    fn attach(&self, extract: Weak<dyn Extract>) {
        if let Some(index) = self.index() {
            index.attach(extract);
        }
    }

    async fn search(
        &self,
        owner: &OwnerId,
        query: &TextQuery,
        after: Option<Cursor>,
    ) -> Result<TextHits> {
        query.check()?;
        let hidden = self.engine.half_deleted()?;
        match self.index() {
            Some(index) => index.search(owner, query, after.as_ref(), &hidden),
            None => Ok(nothing()),
        }
    }

    async fn rebuild(&self, extract: &dyn Extract, on_progress: OnProgress<'_>) -> Result<()> {
        let unusable = || Error::unavailable("the store has no index that can be built");
        self.index().ok_or_else(unusable)?.rebuild_texts(extract, on_progress)
    }
}

/// What is found where the index cannot be asked.
fn nothing() -> TextHits {
    let partial = Some(Progress { done: 0, total: None });
    TextHits { page: Page { items: Vec::new(), next: None }, partial }
}

impl Index {
    fn search(
        &self,
        owner: &OwnerId,
        query: &TextQuery,
        after: Option<&Cursor>,
        hidden: &Hidden,
    ) -> Result<TextHits> {
        let shared = &self.shared;
        shared.flush(None);
        // Looked at before: what is verified in between is found.
        let believed = shared.is_believed();
        let found = shared.search(owner, query, after, hidden);
        self.verify_later();
        let mut hits = match found {
            Err(error) if error.kind() == ErrorKind::Invalid => return Err(error),
            Err(error) => {
                shared.distrust(&error);
                nothing()
            }
            Ok(hits) => hits,
        };
        if !believed {
            hits.partial = hits.partial.or(nothing().partial);
        }
        Ok(hits)
    }

    fn rebuild_texts(&self, extract: &dyn Extract, on_progress: OnProgress<'_>) -> Result<()> {
        let shared = &self.shared;
        self.verify()?;
        let generation = shared.present()?;
        if !generation.cuts {
            let newer = "the index's text is kept by a newer program; build the index anew instead";
            return Err(Error::new(ErrorKind::UnsupportedVersion, newer));
        }
        // Of two who read one session the slower one must not have the last word.
        let _held = shared.extracting.hold(&shared.disk)?;
        shared.read_texts(&generation, extract, false, on_progress)
    }
}

impl Shared {
    fn search(
        &self,
        owner: &OwnerId,
        query: &TextQuery,
        after: Option<&Cursor>,
        hidden: &Hidden,
    ) -> Result<TextHits> {
        let generation = self.present()?;
        let found = generation.database.read(|connection| {
            let complete = rows::is_complete(connection)?;
            let texts = rows::progress(connection)?;
            let partial = match (complete, texts.missing) {
                (true, 0) if generation.cuts => None,
                (complete, missing) => {
                    let total = complete.then_some(texts.all);
                    Some(Progress { done: texts.all - missing, total })
                }
            };
            let mut page = full_text::search(connection, owner, query, after)?;
            let (mut items, mut gone) = (Vec::with_capacity(page.items.len()), HashMap::new());
            for hit in page.items {
                let is_gone = match (hidden.get(&hit.key), gone.get(&hit.key)) {
                    (None, _) => false,
                    (Some(_), Some(known)) => *known,
                    // The text of an earlier life goes with its row.
                    (Some(deleted), None) => catalogue::get(connection, &hit.key)?
                        .is_none_or(|(_, head)| head.incarnation <= *deleted),
                };
                gone.insert(hit.key.clone(), is_gone);
                if !is_gone {
                    items.push(hit);
                }
            }
            page.items = items;
            Ok(TextHits { page, partial })
        });
        self.checked(&generation, found)
    }
}
