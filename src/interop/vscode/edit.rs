//! Edits of files.

use super::super::node::Node;
use super::super::path::Path;
use super::super::reader::{Fields, Reader};
use super::super::uri::uri_of;
use crate::error::Result;
use crate::part::{ChangeSet, ChangeState, ChangeType, FileChange, ResponsePart};

/// Whether it says which file is edited.
pub(super) fn is_group(node: &Node) -> bool {
    node.get("uri").and_then(uri_of).is_some()
}

/// The edits of one text file or notebook. They are in the file once they are done: the editor
/// applies them as they come in.
pub(super) fn group(
    kind: &str,
    node: Node,
    path: &Path<'_>,
    reader: &mut Reader<'_>,
) -> Result<ResponsePart> {
    let mut fields = Fields::of(node, path)?;
    let uri = fields.peek("uri").and_then(uri_of).unwrap_or_default();
    let mut change = FileChange::new(uri, ChangeType::Modify);
    if fields.peek("done").and_then(Node::as_bool) == Some(true) {
        change.state = ChangeState::Applied;
    }
    change.details = fields.raw(&["edits"])?;
    let mut part = ChangeSet { changes: vec![change], ..ChangeSet::default() };
    reader.keep_extra(&mut part.extra, fields, path)?;
    reader.part(kind, part, path)
}

/// Whether all its edits say which file they make, move or remove.
pub(super) fn is_workspace_edit(node: &Node) -> bool {
    let edits = node.get("edits").map(Node::items).unwrap_or_default();
    !edits.is_empty() && edits.iter().all(|edit| file_change(edit).is_some())
}

/// Files made, moved or removed. All fields stay beside what is made of them.
pub(super) fn workspace(
    node: Node,
    path: &Path<'_>,
    reader: &mut Reader<'_>,
) -> Result<ResponsePart> {
    let edits = node.get("edits").map(Node::items).unwrap_or_default();
    let changes = edits.iter().filter_map(file_change).collect();
    let mut part = ChangeSet { changes, ..ChangeSet::default() };
    reader.keep_extra(&mut part.extra, Fields::of(node, path)?, path)?;
    reader.part("workspaceEdit", part, path)
}

fn file_change(edit: &Node) -> Option<FileChange> {
    let uri = |name| edit.get(name).and_then(uri_of);
    let (uri, change) = match (uri("oldResource"), uri("newResource")) {
        (Some(_), Some(new)) => (new, ChangeType::Modify),
        (None, Some(new)) => (new, ChangeType::Add),
        (Some(old), None) => (old, ChangeType::Delete),
        (None, None) => return None,
    };
    Some(FileChange { state: ChangeState::Applied, ..FileChange::new(uri, change) })
}
