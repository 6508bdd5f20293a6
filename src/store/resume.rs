//! Which sessions are open in a workspace: a small document per owner and workspace.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::core::Core;
use crate::error::{Error, ErrorKind, Result};
use crate::id::{OwnerId, SessionId, WorkspaceId};
use crate::storage::{Document, DocumentScope, ExpectedDocument};

/// So many of the last opened sessions are remembered.
const REMEMBERED: usize = 64;

#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Open {
    /// The last opened last.
    sessions: Vec<SessionId>,
}

fn name(workspace: &WorkspaceId) -> String {
    format!("open/{workspace}")
}

async fn read(core: &Core, scope: &DocumentScope, name: &str) -> Result<(Open, ExpectedDocument)> {
    let found = core.storage.get_document(scope, name, core.clock.now()).await?;
    let Some(Document { content, version, .. }) = found else {
        return Ok((Open::default(), ExpectedDocument::Absent));
    };
    let open = serde_json::from_slice(&content).map_err(|e| {
        Error::corrupt("the list of open sessions cannot be read")
            .with("document", name)
            .caused_by(e)
    })?;
    Ok((open, ExpectedDocument::Version(version)))
}

/// The sessions that are open in a workspace, the last opened last.
pub(crate) async fn open_in(
    core: &Core,
    owner: &OwnerId,
    workspace: &WorkspaceId,
) -> Result<Vec<SessionId>> {
    let scope = DocumentScope::Owner(owner.clone());
    Ok(read(core, &scope, &name(workspace)).await?.0.sessions)
}

/// Notes that a session was opened or closed. Other windows do the same at the same time.
pub(crate) async fn note(
    core: &Core,
    owner: &OwnerId,
    workspace: &WorkspaceId,
    id: &SessionId,
    opened: bool,
) -> Result<()> {
    let (scope, name) = (DocumentScope::Owner(owner.clone()), name(workspace));
    loop {
        let (mut open, expected) = read(core, &scope, &name).await?;
        if opened == (open.sessions.last() == Some(id)) && (opened || !open.sessions.contains(id)) {
            return Ok(());
        }
        open.sessions.retain(|other| other != id);
        if opened {
            open.sessions.push(id.clone());
        }
        let surplus = open.sessions.len().saturating_sub(REMEMBERED);
        open.sessions.drain(..surplus);
        let content = serde_json::to_vec(&open).map_err(|e| {
            Error::invalid("the list of open sessions cannot be written").caused_by(e)
        })?;
        let now = core.clock.now();
        let put =
            core.storage.put_document(&scope, &name, expected, Bytes::from(content), None, now);
        match put.await {
            // Another window was faster: what it wrote is read and added to.
            Err(error) if error.kind() == ErrorKind::Conflict => {}
            put => return put.map(|_| ()),
        }
    }
}
