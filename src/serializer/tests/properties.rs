//! Over arbitrary models.

use proptest::prelude::*;

use super::arbitrary::Gen;
use super::{knowing, log_of, read, serializer, write};
use crate::id::TurnId;
use crate::json::RawJson;
use crate::log::{
    Checkpoint, Claim, DataEvent, DataLevel, Entry, Event, Fold, PartEvent, RequestEvent,
    ResponseEvent, SessionState, TextEvent, events_of,
};
use crate::model::{ChatModel, ResponseState};
use crate::part::{PartRegistry, ResponsePart};
use crate::serializer::{ChatModelSerializer as _, JsonChatModelSerializer};

/// Through the serializer and back.
fn stored(json: &JsonChatModelSerializer, entries: &[Entry]) -> Vec<Entry> {
    entries.iter().map(|entry| read(json, entry, &write(json, entry))).collect()
}

fn fold(entries: &[Entry]) -> ChatModel {
    Fold::newest(entries.to_vec(), false).unwrap().model().clone()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn a_model_comes_back_from_its_log(seed: u64, turns in 0..6_usize) {
        let model = Gen::new(seed).model(turns);
        let entries = events_of(&model, log_of(&model));
        let back = stored(&knowing(), &entries);
        prop_assert_eq!(&back, &entries);
        prop_assert_eq!(fold(&back), model);
    }

    #[test]
    fn a_model_comes_back_from_its_document(seed: u64, turns in 0..6_usize) {
        let model = Gen::new(seed).model(turns);
        let document = knowing().write_document(&model).unwrap();
        let back = knowing().read_document(document.get().as_bytes()).unwrap();
        prop_assert_eq!(&back, &model);
        prop_assert_eq!(knowing().write_document(&back).unwrap(), document);
    }

    #[test]
    fn ten_times_through_readers_that_know_nothing_change_no_token(
        seed: u64, turns in 0..4_usize, empty: bool,
    ) {
        let model = Gen::new(seed).model(turns);
        let parts = if empty { PartRegistry::empty() } else { PartRegistry::builtin() };
        let json = serializer(parts);
        let document = knowing().write_document(&model).unwrap();
        let entries = events_of(&model, log_of(&model));
        let first: Vec<_> = entries.iter().map(|entry| write(&knowing(), entry)).collect();
        let (mut copy, mut records) = (document.clone(), first.clone());
        for _ in 0..10 {
            let read_back = json.read_document(copy.get().as_bytes()).unwrap();
            for part in read_back.all_turns().flat_map(|turn| turn.response().parts()) {
                // Looking at them changes nothing either.
                let _ = (part.fallback(), part.unknown(), part.takes_text());
            }
            copy = json.write_document(&read_back).unwrap();
            let folded: Vec<_> =
                entries.iter().zip(&records).map(|(e, w)| read(&json, e, w)).collect();
            let again = events_of(&fold(&folded), log_of(&model));
            records = again.iter().map(|entry| write(&json, entry)).collect();
        }
        prop_assert_eq!(copy.get(), document.get());
        prop_assert_eq!(records, first);
    }

    #[test]
    fn what_a_registry_does_not_know_shows_the_same_text(seed: u64) {
        let part = Gen::new(seed).part();
        let envelope = part.to_envelope().unwrap();
        let empty = ResponsePart::from_envelope(&envelope, &PartRegistry::empty()).unwrap();
        let builtin = ResponsePart::from_envelope(&envelope, &PartRegistry::builtin()).unwrap();
        prop_assert_eq!(empty.fallback(), builtin.fallback());
        prop_assert_eq!(empty.takes_text(), builtin.takes_text());
    }

    #[test]
    fn the_end_of_a_log_and_pages_before_it_give_the_whole(
        seed: u64, turns in 1..8_usize, size in 1..9_usize,
    ) {
        let log = busy_log(&mut Gen::new(seed), turns);
        let log = stored(&knowing(), &log);
        let whole = fold(&log);
        let is_checkpoint = |entry: &Entry| matches!(entry.event, Event::Checkpoint(_));
        let latest = log.iter().rposition(is_checkpoint).unwrap_or(0);
        let mut start = Gen::new(seed ^ 1).below(latest + 1);
        let mut fold = Fold::newest(log[start..].to_vec(), false).unwrap();
        loop {
            let model = fold.model();
            prop_assert_eq!(model.session(), whole.session());
            prop_assert_eq!(model.active(), whole.active());
            prop_assert_eq!(model.turn_count(), whole.turn_count());
            for turn in model.all_turns() {
                prop_assert_eq!(Some(turn), whole.turn(turn.id()));
            }
            if start == 0 {
                break;
            }
            let end = start;
            start = start.saturating_sub(size);
            fold.earlier(log[start..end].to_vec()).unwrap();
        }
        prop_assert!(!fold.model().has_earlier());
        prop_assert_eq!(fold.model(), &whole);
    }

    #[test]
    fn a_streamed_response_equals_its_sealed_one(seed: u64, empty: bool) {
        let g = &mut Gen::new(seed);
        let parts = if empty { PartRegistry::empty() } else { PartRegistry::builtin() };
        let json = serializer(parts);
        let model = g.model(1);
        let mut log = events_of(&model, log_of(&model));
        log.retain(|entry| !matches!(entry.event, Event::Response(_) | Event::Active(_)));
        let begun = stored(&json, &log);
        log.extend(streamed(g, TurnId::new(1)));
        let live = fold(&stored(&json, &log));
        let response = live.turn(TurnId::new(1)).unwrap().response().clone();
        let at = g.time();
        let event = Event::Response(Box::new(ResponseEvent { epoch: Some(3), response }));
        let sealed = Entry { turn: TurnId::new(1), at, event };
        // In place of what came before it, and after it.
        for mut log in [begun, stored(&json, &log)] {
            log.extend(stored(&json, std::slice::from_ref(&sealed)));
            prop_assert_eq!(fold(&log), live.clone());
        }
    }

    #[test]
    fn bytes_changed_anywhere_never_panic(seed: u64, at: usize, byte: u8) {
        let model = Gen::new(seed).model(2);
        let mut document = knowing().write_document(&model).unwrap().get().as_bytes().to_vec();
        let at = at % document.len();
        document[at] = byte;
        if let Ok(model) = knowing().read_document(&document) {
            // What was read can be written, and read again.
            let written = knowing().write_document(&model).unwrap();
            prop_assert_eq!(knowing().read_document(written.get().as_bytes()).unwrap(), model);
        }
    }

    #[test]
    fn any_json_is_kept(seed: u64) {
        let json = Gen::new(seed).json();
        prop_assert_eq!(&RawJson::of(&json).unwrap(), &json);
        prop_assert_eq!(json.read::<RawJson>().unwrap(), json);
    }
}

/// Parts that come in piece by piece.
fn streamed(g: &mut Gen, turn: TurnId) -> Vec<Entry> {
    let mut events = Vec::new();
    let mut takes_text = Vec::new();
    for _ in 0..g.below(12) {
        let index = g.below(takes_text.len() + 1);
        let epoch = g.flip().then_some(3);
        if index < takes_text.len() && takes_text[index] {
            events.push(Event::Text(TextEvent { epoch, index, text: g.string() }));
            continue;
        }
        let part = g.part();
        takes_text.truncate(takes_text.len().max(index));
        match takes_text.get_mut(index) {
            Some(takes) => *takes = part.takes_text(),
            None => takes_text.push(part.takes_text()),
        }
        events.push(Event::Part(PartEvent { epoch, index, part }));
    }
    if g.flip() {
        let mut response = g.response();
        response.parts.clear();
        events.push(Event::ResponseSet(Box::new(ResponseEvent { epoch: Some(3), response })));
    }
    let at = g.time();
    events.into_iter().map(|event| Entry { turn, at, event }).collect()
}

/// A log in which everything happens, with late changes of old turns and checkpoints between.
fn busy_log(g: &mut Gen, turns: usize) -> Vec<Entry> {
    let model = g.model(turns);
    let info = log_of(&model);
    let mut fold: Option<Fold> = None;
    let mut log: Vec<Entry> = Vec::new();
    let mut add = |fold: &mut Option<Fold>, entry: Entry| {
        log.push(entry.clone());
        match fold {
            Some(fold) => fold.apply(entry).unwrap(),
            None if log.len() == 2 => *fold = Some(Fold::newest(log.clone(), false).unwrap()),
            None => {}
        }
    };
    for entry in events_of(&model, info.clone()) {
        let (turn, begins) = (entry.turn, matches!(entry.event, Event::Request(_)));
        add(&mut fold, entry);
        if begins && g.flip() {
            streamed(g, turn).into_iter().for_each(|entry| add(&mut fold, entry));
        }
        for _ in 0..g.below(3) {
            let Some(now) = fold.as_ref().map(|fold| fold.model().clone()) else { continue };
            let entry = anything(g, &now, &info);
            add(&mut fold, entry);
        }
    }
    log
}

/// Something that may happen at any time.
fn anything(g: &mut Gen, now: &ChatModel, log: &crate::log::LogInfo) -> Entry {
    let old = TurnId::new(g.below(usize::try_from(now.turn_count()).unwrap() + 1) as u64);
    let id = g.string();
    let entry = g.flip().then(|| g.entry());
    let own = TurnId::SESSION;
    let (turn, event) = match (g.below(8), old) {
        (0, _) => (own, Event::SessionSet(g.changes())),
        (1, TurnId::SESSION) => (own, Event::Active(None)),
        (1, old) => (own, Event::Active(Some(old))),
        (2, _) => (own, Event::Other { kind: "later".to_owned(), body: g.json() }),
        (3, _) | (_, TurnId::SESSION) => {
            let meta = now.session().clone();
            let state = SessionState { meta, extra: now.extra.clone() };
            let (active, turns) = (now.active(), now.turn_count());
            let checkpoint = Checkpoint { log: log.clone(), state, active, turns };
            (own, Event::Checkpoint(Box::new(checkpoint)))
        }
        (4, old) => (old, Event::Feedback(g.flip().then(|| g.feedback()))),
        (5, old) => {
            let on = g.pick(&[DataLevel::Request, DataLevel::Response]);
            (old, Event::Data(DataEvent { on, id, entry }))
        }
        (6, old) => (old, Event::Claim(Claim { epoch: 4, extra: g.extra() })),
        _ => (own, Event::Data(DataEvent { on: DataLevel::Session, id, entry })),
    };
    Entry { turn, at: g.time(), event }
}

#[test]
fn a_turn_of_which_nothing_was_answered_takes_one_record() {
    let model = Gen::new(7).model(1);
    let mut entries = events_of(&model, log_of(&model));
    entries.retain(|entry| matches!(entry.event, Event::Log(_) | Event::Session(_)));
    let (parent, extra) = (None, crate::json::Extra::new());
    let request = Gen::new(8).request().into();
    let response = model.turn(TurnId::new(1)).unwrap().response().id().clone();
    let event = RequestEvent { parent, request, response, epoch: None, extra };
    let entry = Entry {
        turn: TurnId::new(1),
        at: event.request.at,
        event: Event::Request(Box::new(event)),
    };
    entries.push(entry);
    let folded = fold(&entries);
    assert_eq!(folded.last_state(), Some(ResponseState::Pending));
    assert_eq!(events_of(&folded, log_of(&folded)), entries);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_is_written_is_valid_by_the_schemas(seed: u64, turns in 0..6_usize) {
        use super::schema::{check, document, record};
        /// serde_json's own values cannot hold it.
        fn value(json: &str) -> serde_json::Value {
            serde_json::from_str(&json.replace("1e999", "1")).unwrap()
        }
        let g = &mut Gen::new(seed);
        let model = g.model(turns);
        let schema = document();
        let written = value(knowing().write_document(&model).unwrap().get());
        prop_assert_eq!(check(&schema, &schema, &written, ""), Ok(()));
        let schema = record();
        for (place, line) in lines(&busy_log(g, turns)).into_iter().enumerate() {
            let at = format!("record {}", place + 1);
            prop_assert_eq!(check(&schema, &schema, &value(&line), &at), Ok(()));
        }
    }
}

/// The log's lines.
pub(super) fn lines(log: &[Entry]) -> Vec<String> {
    use crate::storage::line::{Checksum, encode};
    use crate::storage::{BatchId, Body, Record, Revision};
    let mut sum = Checksum::START;
    let line = |(place, entry): (usize, &Entry)| {
        let (kind, body) = write(&knowing(), entry);
        let record = Record {
            revision: Revision::new(place as u64 + 1),
            turn: entry.turn,
            kind: kind.into(),
            at: entry.at,
            batch: BatchId::new(place as u64),
            body: Body::Json(body.into()),
        };
        let mut line = Vec::new();
        sum = encode(&record, 0, None, sum, &mut line).unwrap();
        String::from_utf8(line).unwrap()
    };
    log.iter().enumerate().map(line).collect()
}
