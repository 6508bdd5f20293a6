//! Many sessions at once, written below the façade as it would write them, without a sync each.

use std::sync::Arc;

use bytes::Bytes;
use chatkeep::log::{
    Event, FORMAT, LogInfo, RequestEvent, ResponseEvent, SerializerInfo, SessionState,
};
use chatkeep::model::{ChatRequest, ChatResponse, SessionMeta, Title};
use chatkeep::part::Markdown;
use chatkeep::storage::{
    Batch, BatchId, Body, Durability, Expected, HeadFields, Incarnation, Passage, PassageRole,
    Record, Revision, SessionKey, TurnText,
};
use chatkeep::{
    ChatModelSerializer as _, Extra, JsonChatModelSerializer, OwnerId, RequestId, ResponseId,
    ResponsePart, ResponseState, SessionId, Storage, TurnId,
};
use jiff::Timestamp;
use pollster::block_on;

use crate::data::Turn;
use crate::harness::Result;

/// Writes batches of finished turns.
pub(crate) struct Bulk {
    storage: Arc<dyn Storage>,
    serializer: JsonChatModelSerializer,
    searches: bool,
    batches: u64,
}

/// A session that is being written.
pub(crate) struct Open {
    key: SessionKey,
    title: String,
    head: Option<HeadFields>,
    revision: Revision,
}

/// A batch while it is put together.
struct Draft {
    id: BatchId,
    revision: Revision,
    records: Vec<Record>,
    texts: Vec<TurnText>,
}

impl Bulk {
    pub(crate) fn new(storage: &Arc<dyn Storage>) -> Self {
        let searches = storage.full_text().is_some();
        let storage = Arc::clone(storage);
        Self { storage, serializer: JsonChatModelSerializer::default(), searches, batches: 0 }
    }

    /// A new session; it is written with its first turns.
    pub(crate) fn session(&self, owner: OwnerId, id: &str, title: &str) -> Result<Open> {
        let key = SessionKey::new(owner, SessionId::new(id)?);
        Ok(Open { key, title: title.to_owned(), head: None, revision: Revision::ZERO })
    }

    /// Adds turns to a session in one append.
    pub(crate) fn append(&mut self, session: &mut Open, turns: &[Turn]) -> Result<()> {
        let Some(first) = turns.first() else { return Ok(()) };
        self.batches += 1;
        let (records, texts) = (Vec::new(), Vec::new());
        let id = BatchId::new(self.batches);
        let mut draft = Draft { id, revision: session.revision, records, texts };
        let expected = match &session.head {
            Some(_) => Expected::At { incarnation: Incarnation::FIRST, revision: session.revision },
            None => {
                self.begin(&mut draft, session, first.at)?;
                Expected::New
            }
        };
        let mut head = session.head.take().unwrap_or_else(|| HeadFields::new(first.at));
        head.title.clone_from(&session.title);
        for turn in turns {
            head.turns += 1;
            (head.active, head.state) = (turn.at, Some(ResponseState::Complete));
            self.turn(&mut draft, head.turns, turn)?;
        }
        session.revision = draft.revision;
        let batch = Batch {
            id: draft.id,
            records: draft.records,
            base: Revision::ZERO,
            head: Some(head.clone()),
            epoch: None,
            texts: if self.searches { draft.texts } else { Vec::new() },
            facts: Vec::new(),
            durability: Durability::Buffered,
        };
        block_on(self.storage.append(&session.key, expected, batch))?;
        session.head = Some(head);
        Ok(())
    }

    fn begin(&self, draft: &mut Draft, session: &Open, at: Timestamp) -> Result<()> {
        let SessionKey { owner, id } = session.key.clone();
        let serializer = SerializerInfo {
            id: self.serializer.id().to_owned(),
            version: self.serializer.version(),
            extra: Extra::new(),
        };
        let info = LogInfo {
            format: FORMAT,
            serializer,
            owner: owner.clone(),
            session: id.clone(),
            extra: Extra::new(),
        };
        let mut meta = SessionMeta::new(owner, id, at);
        meta.title = Some(Title::by_person(&session.title));
        let state = SessionState { meta, extra: Extra::new() };
        self.record(draft, TurnId::SESSION, at, &Event::Log(info))?;
        self.record(draft, TurnId::SESSION, at, &Event::Session(Box::new(state)))?;
        let passage = passage(PassageRole::Title, "title", &session.title);
        draft.texts.push(TurnText { turn: TurnId::SESSION, at, passages: vec![passage] });
        Ok(())
    }

    fn turn(&self, draft: &mut Draft, number: u64, turn: &Turn) -> Result<()> {
        let id = TurnId::new(number);
        let mut request = ChatRequest::new(RequestId::new(format!("request-{number}"))?, turn.at);
        request.message.push(turn.request.as_str().into());
        let mut response = ChatResponse::new(ResponseId::new(format!("response-{number}"))?);
        let event = RequestEvent {
            parent: (number > 1).then(|| TurnId::new(number - 1)),
            request: request.into(),
            response: response.id.clone(),
            epoch: None,
            extra: Extra::new(),
        };
        self.record(draft, id, turn.at, &Event::Request(Box::new(event)))?;
        response.state = ResponseState::Complete;
        response.timings.started = Some(turn.at);
        response.timings.completed = Some(turn.at);
        response.parts.push(ResponsePart::new(Markdown::new(&turn.response))?);
        let event = ResponseEvent { epoch: None, response };
        self.record(draft, id, turn.at, &Event::Response(Box::new(event)))?;
        let passages = vec![
            passage(PassageRole::User, "request", &turn.request),
            passage(PassageRole::Assistant, "markdown", &turn.response),
        ];
        draft.texts.push(TurnText { turn: id, at: turn.at, passages });
        Ok(())
    }

    fn record(&self, draft: &mut Draft, turn: TurnId, at: Timestamp, event: &Event) -> Result<()> {
        let json = self.serializer.write_event(event)?;
        draft.revision = draft.revision.next();
        draft.records.push(Record {
            revision: draft.revision,
            turn,
            kind: event.kind().to_owned().into(),
            at,
            batch: draft.id,
            body: Body::Json(Bytes::copy_from_slice(json.get().as_bytes())),
        });
        Ok(())
    }
}

fn passage(role: PassageRole, kind: &str, text: &str) -> Passage {
    Passage { role, kind: kind.to_owned(), text: text.to_owned() }
}
