//! Copying one session after the other, then the documents.

use std::collections::{BTreeSet, HashSet};

use super::document::{OneDocument, is_note};
use super::report::{CopyFailure, CopyItem, CopyProgress, CopyReport};
use super::session::{Session, Stop};
use crate::environment::Clock;
use crate::error::{Error, Result};
use crate::id::OwnerId;
use crate::storage::{
    DocumentScope, Extract, ListOrder, ListQuery, SessionKey, Storage, StorageExt as _,
};

/// How often an owner's sessions are listed of which more are counted.
const LISTINGS: usize = 4;

pub(super) type OnCopyProgress<'a> = Box<dyn Fn(CopyProgress) + Send + Sync + 'a>;

/// What is copied, and how.
pub(super) struct Copying<'a> {
    pub(super) from: &'a dyn Storage,
    pub(super) to: &'a dyn Storage,
    pub(super) extract: Option<&'a dyn Extract>,
    pub(super) clock: &'a dyn Clock,
    pub(super) owners: BTreeSet<OwnerId>,
    pub(super) on_progress: OnCopyProgress<'a>,
}

impl Copying<'_> {
    pub(super) async fn run(self) -> Result<CopyReport> {
        let mut report = CopyReport::default();
        let owners = all_owners(self.from).await?;
        let sessions = self.all_sessions(&owners, &mut report).await?;
        let total = sessions.len() as u64;
        (self.on_progress)(CopyProgress { done: 0, total, bytes: 0 });
        let mut gone = Vec::new();
        for (done, key) in (1..).zip(&sessions) {
            gone.extend(self.copy_session(key, &mut report).await?);
            (self.on_progress)(CopyProgress { done, total, bytes: report.bytes });
        }
        let owners = owners.union(&self.owners).cloned().map(DocumentScope::Owner);
        for scope in std::iter::once(DocumentScope::Store).chain(owners) {
            self.copy_documents(&scope, &mut report).await?;
        }
        report.only_in_target = self.only_in_target().await?;
        gone.retain(|key| report.only_in_target.binary_search(key).is_err());
        report.left_out = gone.len() as u64;
        Ok(report)
    }

    /// The sessions of these owners. Those that cannot be listed are reported.
    async fn all_sessions(
        &self,
        owners: &BTreeSet<OwnerId>,
        report: &mut CopyReport,
    ) -> Result<Vec<SessionKey>> {
        let mut all = Vec::new();
        for owner in owners {
            let (listed, counted) = self.sessions_of(owner).await?;
            if (listed.len() as u64) < counted {
                let problem = format!("{} of {counted} sessions can be listed", listed.len());
                let error = Error::corrupt(problem).with("owner", owner);
                report.failed.push(CopyFailure { item: CopyItem::Owner(owner.clone()), error });
            }
            all.extend(listed);
        }
        Ok(all)
    }

    /// An owner's sessions, and how many there are at least.
    async fn sessions_of(&self, owner: &OwnerId) -> Result<(Vec<SessionKey>, u64)> {
        let query = all_of_them();
        let mut listings = 1;
        loop {
            let before = self.from.count(owner, &query).await?;
            let listed = self.from.list_all(owner, &query).await?;
            let counted = before.min(self.from.count(owner, &query).await?);
            // They may come and go meanwhile.
            if listed.len() as u64 >= counted || listings == LISTINGS {
                return Ok((listed.into_iter().map(|session| session.key).collect(), counted));
            }
            listings += 1;
        }
    }

    /// Copies a session; gives it back if it was deleted from the source.
    async fn copy_session<'k>(
        &self,
        key: &'k SessionKey,
        report: &mut CopyReport,
    ) -> Result<Option<&'k SessionKey>> {
        let mut session = Session::new(self.from, self.to, self.extract, key);
        let outcome = session.copy().await;
        let done = session.done;
        report.blobs += done.blobs;
        report.bytes += done.bytes;
        let failure = |error| CopyFailure { item: CopyItem::Session(key.clone()), error };
        match outcome {
            Ok(()) if done.begun => report.sessions += 1,
            Ok(()) if done.changed => report.completed += 1,
            Ok(()) => report.already_there += 1,
            Err(Stop::Gone) => return Ok(Some(key)),
            Err(Stop::Failed(error)) => report.failed.push(failure(error)),
            Err(Stop::Broken(error)) => return Err(error.with("session", &key.id)),
        }
        report.failed.extend(done.damaged.into_iter().map(failure));
        report.without_text.extend(done.without_text.map(failure));
        Ok(None)
    }

    /// The sessions of the target that the source has not, or not any more.
    async fn only_in_target(&self) -> Result<Vec<SessionKey>> {
        let mut only = Vec::new();
        for owner in all_owners(self.to).await? {
            // The target first: what another copy brings to it meanwhile is in the source before.
            let there = self.to.list_all(&owner, &all_of_them()).await?;
            let here = self.from.list_all(&owner, &all_of_them()).await?;
            let here: HashSet<_> = here.into_iter().map(|session| session.key).collect();
            let there = there.into_iter().map(|session| session.key);
            only.extend(there.filter(|key| !here.contains(key)));
        }
        only.sort();
        Ok(only)
    }

    async fn copy_documents(&self, scope: &DocumentScope, report: &mut CopyReport) -> Result<()> {
        let mut after = None;
        loop {
            let page = self.from.list_documents(scope, "", after, self.clock.now()).await?;
            for name in page.items.into_iter().filter(|name| !is_note(name)) {
                let (from, to, clock, name) = (self.from, self.to, self.clock, name.as_str());
                match (OneDocument { from, to, clock, scope, name }).copy().await {
                    Ok(Some(written)) => {
                        report.documents += 1;
                        report.replaced += u64::from(written.replaced);
                        report.bytes += written.bytes;
                    }
                    Ok(None) => {}
                    Err(Stop::Failed(error)) => {
                        let (scope, name) = (scope.clone(), name.to_owned());
                        let item = CopyItem::Document { scope, name };
                        report.failed.push(CopyFailure { item, error });
                    }
                    Err(Stop::Broken(error)) => return Err(error.with("document", name)),
                    Err(Stop::Gone) => {}
                }
            }
            match page.next {
                Some(next) => after = Some(next),
                None => return Ok(()),
            }
        }
    }
}

async fn all_owners(storage: &dyn Storage) -> Result<BTreeSet<OwnerId>> {
    let (mut all, mut after) = (BTreeSet::new(), None);
    loop {
        let page = storage.owners(after).await?;
        all.extend(page.items);
        match page.next {
            Some(next) => after = Some(next),
            None => return Ok(all),
        }
    }
}

/// In an order that does not change while sessions are written to.
fn all_of_them() -> ListQuery {
    ListQuery::new().order(ListOrder::Created).limit(1_000)
}
