//! Search where the storage has no full text: every session that fits is read and looked through.

use std::sync::Arc;

use super::is_unreadable;
use crate::error::Result;
use crate::id::OwnerId;
use crate::storage::text::scan::Scan;
use crate::storage::{
    Cursor, ListOrder, ListQuery, Page, Progress, SessionHead, SessionKey, TextHits, TextQuery,
    TurnText,
};
use crate::store::core::Core;
use crate::store::extract;

/// So many sessions are listed at once.
const PAGE: usize = 1_000;

pub(super) async fn search(
    core: &Core,
    owner: &OwnerId,
    query: &TextQuery,
    after: Option<&Cursor>,
) -> Result<TextHits> {
    let mut scan = Scan::new(owner, query, after)?;
    // By creation: the order that changes least while it is read.
    let list = ListQuery { order: ListOrder::Created, limit: PAGE, ..query.sessions.clone() };
    core.texts.begin();
    let (mut read, mut unreadable, mut next) = (0, 0, None);
    loop {
        let Page { items, next: more } = core.storage.list(owner, &list, next).await?;
        for session in items {
            match texts(core, &session).await {
                Ok(texts) => {
                    texts.iter().for_each(|text| scan.look_at(&session.key, text));
                    read += 1;
                }
                // Deleted since it was listed.
                Err(error) if error.is_not_found() => {}
                Err(error) if is_unreadable(error.kind()) => unreadable += 1,
                Err(error) => return Err(error),
            }
        }
        next = more;
        if next.is_none() {
            break;
        }
    }
    let partial = Progress { done: read, total: Some(read + unreadable) };
    Ok(TextHits { page: scan.finish()?, partial: (unreadable > 0).then_some(partial) })
}

async fn texts(core: &Core, session: &SessionHead) -> Result<Arc<Vec<TurnText>>> {
    let key: &SessionKey = &session.key;
    if let Some(texts) = core.texts.of(key, &session.head) {
        return Ok(texts);
    }
    let (head, texts) = extract::texts(core, key).await?;
    let texts = Arc::new(texts);
    core.texts.keep(key, &head, &texts);
    Ok(texts)
}
