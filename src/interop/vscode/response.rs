//! Responses, whose fields lie among those of their requests.

use super::super::node::Node;
use super::super::path::Path;
use super::super::reader::{Fields, Reader, read_time};
use super::super::report::Outcome;
use super::super::uri::uri_of;
use super::part;
use crate::error::Result;
use crate::model::{
    ChatResponse, Feedback, Followup, Reference, ResponseError, ResponseState, Usage, Vote,
};

/// The fields of a turn that are its response's.
const FIELDS: [&str; 21] = [
    "responseId",
    "response",
    "result",
    "responseErrorDetails",
    "responseMarkdownInfo",
    "followups",
    "modelState",
    "isCanceled",
    "vote",
    "voteDownReason",
    "usedContext",
    "contentReferences",
    "codeCitations",
    "responseTimestamp",
    "timeSpentWaiting",
    "elapsedMs",
    "promptTokens",
    "completionTokens",
    "outputBuffer",
    "promptTokenDetails",
    "modelTotals",
];

/// Takes a response out of its turn.
pub(super) fn read(
    turn: &mut Fields,
    path: &Path<'_>,
    reader: &mut Reader<'_>,
) -> Result<ChatResponse> {
    let mut fields = own_fields(turn, path)?;
    let answered = fields.peek("response").is_some_and(|node| !node.is_null());
    let mut response = ChatResponse::new(reader.response_id(&mut fields, "responseId", path)?);
    response.error = error(&fields);
    response.state = state(&fields, answered, response.error.is_some(), path, reader);
    response.parts = parts(&mut fields, path, reader)?;
    times(&mut response, &mut fields, path)?;
    response.usage = usage(&mut fields);
    response.model = model(&fields);
    response.followups = followups(&mut fields, path, reader)?;
    response.feedback = feedback(&mut fields);
    response.references = references(&mut fields, path, reader)?;
    response.citations = citations(&mut fields, path, reader)?;
    reader.keep_data(&mut response.data, "response", fields, path)?;
    Ok(response)
}

fn own_fields(turn: &mut Fields, path: &Path<'_>) -> Result<Fields> {
    let own = FIELDS.into_iter().filter_map(|name| Some((name.to_owned(), turn.move_out(name)?)));
    Fields::of(Node::Object(own.collect()), path)
}

/// What the editor makes of a stored state: one that had not ended counts as cancelled.
fn state(
    fields: &Fields,
    answered: bool,
    failed: bool,
    path: &Path<'_>,
    reader: &mut Reader<'_>,
) -> ResponseState {
    let place = path.field("modelState");
    let stored = fields.at(&["modelState", "value"]);
    match stored.and_then(Node::as_u64) {
        Some(1) => return ResponseState::Complete,
        Some(2) => return ResponseState::Cancelled,
        Some(3) => return ResponseState::Failed,
        Some(0 | 4) => {
            let detail = "it had not ended; it counts as cancelled";
            reader.note(Outcome::Repaired, &place, detail);
            return ResponseState::Cancelled;
        }
        Some(_) => {
            reader.note(Outcome::Repaired, &place, "an unknown state; interrupted");
            return ResponseState::Interrupted;
        }
        None => {}
    }
    if fields.peek("isCanceled").and_then(Node::as_bool) == Some(true) {
        ResponseState::Cancelled
    } else if failed {
        ResponseState::Failed
    } else if answered {
        ResponseState::Complete
    } else {
        let detail = "there is no response; an empty one that was interrupted";
        reader.note(Outcome::Assumed, &path.field("response"), detail);
        ResponseState::Interrupted
    }
}

fn error(fields: &Fields) -> Option<ResponseError> {
    let details = fields
        .at(&["result", "errorDetails"])
        .or_else(|| fields.peek("responseErrorDetails"))
        .filter(|details| details.is_object())?;
    let text = |name| details.get(name).and_then(Node::as_string);
    let message = text("message").unwrap_or_default();
    Some(ResponseError { message, code: text("code"), ..ResponseError::default() })
}

fn parts(
    fields: &mut Fields,
    path: &Path<'_>,
    reader: &mut Reader<'_>,
) -> Result<Vec<crate::ResponsePart>> {
    let array = path.field("response");
    if fields.peek("response").is_some_and(|node| node.as_string().is_some() || node.is_object()) {
        let only = fields.take("response");
        return only.into_iter().map(|node| part::read(node, &array, reader)).collect();
    }
    let items = fields.array("response").into_iter().enumerate();
    items.map(|(index, node)| part::read(node, &array.item(index), reader)).collect()
}

fn times(response: &mut ChatResponse, fields: &mut Fields, path: &Path<'_>) -> Result<()> {
    response.timings.started = fields.time("responseTimestamp", path)?;
    if let Some(completed) = fields.at(&["modelState", "completedAt"]) {
        let place = path.field("modelState");
        response.timings.completed = read_time(completed, &place.field("completedAt"))?;
    }
    Ok(())
}

/// The turn's own counts; else the sums over its models.
fn usage(fields: &mut Fields) -> Option<Usage> {
    let totals = fields.peek("modelTotals").map(Node::items).unwrap_or_default();
    let sum = |name: &str| {
        let counts: Vec<u64> =
            totals.iter().filter_map(|total| total.get(name).and_then(Node::as_u64)).collect();
        counts
            .iter()
            .try_fold(0_u64, |sum, count| sum.checked_add(*count))
            .filter(|_| !counts.is_empty())
    };
    let (input, output, cached) = (sum("inputTokens"), sum("outputTokens"), sum("cachedTokens"));
    let usage = Usage {
        input: fields.number(&["promptTokens"]).or(input),
        output: fields.number(&["completionTokens"]).or(output),
        cached,
        ..Usage::default()
    };
    (usage != Usage::default()).then_some(usage)
}

/// The model that answered, if it was only one.
fn model(fields: &Fields) -> Option<String> {
    match fields.peek("modelTotals").map(Node::items) {
        Some([only]) => only.get("model").and_then(Node::as_string),
        _ => None,
    }
}

fn followups(
    fields: &mut Fields,
    path: &Path<'_>,
    reader: &mut Reader<'_>,
) -> Result<Vec<Followup>> {
    let array = path.field("followups");
    let mut followups = Vec::new();
    for (index, node) in fields.objects(&["followups"]).into_iter().enumerate() {
        let path = array.item(index);
        let mut fields = Fields::of(node, &path)?;
        let mut followup = Followup {
            message: fields.string("message").unwrap_or_default(),
            title: fields.string("title"),
            agent: fields.string("agentId"),
            command: fields.string("subCommand"),
            ..Followup::default()
        };
        reader.keep_extra(&mut followup.extra, fields, &path)?;
        followups.push(followup);
    }
    Ok(followups)
}

fn feedback(fields: &mut Fields) -> Option<Feedback> {
    let vote = match fields.peek("vote").and_then(Node::as_u64) {
        Some(0) => Some(Vote::Down),
        Some(1) => Some(Vote::Up),
        _ => None,
    };
    let reason = fields.string("voteDownReason");
    (vote.is_some() || reason.is_some()).then(|| Feedback { vote, reason, ..Feedback::default() })
}

fn references(
    fields: &mut Fields,
    path: &Path<'_>,
    reader: &mut Reader<'_>,
) -> Result<Vec<Reference>> {
    let array = path.field("contentReferences");
    let mut references = Vec::new();
    for (index, node) in fields.objects(&["contentReferences"]).into_iter().enumerate() {
        let path = array.item(index);
        let mut fields = Fields::of(node, &path)?;
        let uri = fields
            .peek("reference")
            .and_then(|of| uri_of(of).or_else(|| of.get("value").and_then(uri_of)));
        let title = fields.at(&["reference", "variableName"]).and_then(Node::as_string);
        let value = fields.raw(&["reference"])?;
        let mut reference = Reference { uri, title, value, ..Reference::default() };
        reader.keep_extra(&mut reference.extra, fields, &path)?;
        references.push(reference);
    }
    Ok(references)
}

fn citations(
    fields: &mut Fields,
    path: &Path<'_>,
    reader: &mut Reader<'_>,
) -> Result<Vec<Reference>> {
    let array = path.field("codeCitations");
    let mut citations = Vec::new();
    for (index, node) in fields.objects(&["codeCitations"]).into_iter().enumerate() {
        let path = array.item(index);
        let mut fields = Fields::of(node, &path)?;
        let mut citation = Reference {
            uri: fields.peek("value").and_then(uri_of),
            license: fields.string("license"),
            snippet: fields.string("snippet"),
            ..Reference::default()
        };
        citation.value = fields.raw(&["value"])?;
        reader.keep_extra(&mut citation.extra, fields, &path)?;
        citations.push(citation);
    }
    Ok(citations)
}
