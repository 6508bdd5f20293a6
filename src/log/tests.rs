//! Logs that contradict themselves, and what is left of damaged ones.

use jiff::Timestamp;

use super::*;
use crate::error::{ErrorKind, Result};
use crate::id::RequestId;
use crate::part::{Markdown, PartRegistry, Separator};
use crate::serializer::{ChatModelSerializer as _, JsonChatModelSerializer};

fn at() -> Timestamp {
    Timestamp::from_second(1_767_225_600).unwrap()
}

fn info() -> LogInfo {
    let serializer = crate::serializer::info(&JsonChatModelSerializer::default());
    let (owner, session) = (OwnerId::local(), SessionId::new("s").unwrap());
    LogInfo { format: FORMAT, serializer, owner, session, extra: Extra::new() }
}

fn entry(turn: u64, event: Event) -> Entry {
    Entry { turn: TurnId::new(turn), at: at(), event }
}

fn request(turn: u64, parent: Option<u64>) -> Entry {
    let event = RequestEvent {
        parent: parent.map(TurnId::new),
        request: ChatRequest::new(RequestId::new(format!("q{turn}")).unwrap(), at()).into(),
        response: ResponseId::new(format!("a{turn}")).unwrap(),
        epoch: None,
        extra: Extra::new(),
    };
    entry(turn, Event::Request(Box::new(event)))
}

fn part(turn: u64, index: usize, text: &str) -> Entry {
    let part = ResponsePart::new(Markdown::new(text)).unwrap();
    entry(turn, Event::Part(PartEvent { epoch: None, index, part }))
}

fn text(turn: u64, index: usize, text: &str) -> Entry {
    entry(turn, Event::Text(TextEvent { epoch: None, index, text: text.to_owned() }))
}

fn state() -> SessionState {
    let info = info();
    SessionState { meta: SessionMeta::new(info.owner, info.session, at()), extra: Extra::new() }
}

fn checkpoint(turns: u64, active: Option<u64>) -> Entry {
    let active = active.map(TurnId::new);
    let checkpoint = Checkpoint { log: info(), state: state(), active, turns };
    entry(0, Event::Checkpoint(Box::new(checkpoint)))
}

/// Two turns.
fn log() -> Vec<Entry> {
    vec![
        entry(0, Event::Log(info())),
        entry(0, Event::Session(Box::new(state()))),
        request(1, None),
        part(1, 0, "one"),
        part(1, 1, "two"),
        text(1, 1, " more"),
        request(2, Some(1)),
        part(2, 0, "three"),
    ]
}

fn and(more: Entry) -> Result<Fold> {
    let mut log = log();
    log.push(more);
    Fold::newest(log, false)
}

#[test]
fn entries_that_contradict_what_came_before() {
    let unnamed = ResponsePart::new(Separator::default()).unwrap();
    let separator = entry(2, Event::Part(PartEvent { epoch: None, index: 1, part: unnamed }));
    let data = DataEvent { on: DataLevel::Request, id: "x".to_owned(), entry: None };
    let mut refused = vec![
        and(request(4, None)),
        and(request(2, None)),
        and(request(3, Some(3))),
        and(request(3, Some(0))),
        and(part(2, 2, "x")),
        and(text(2, 1, "x")),
        and(text(3, 0, "x")),
        and(entry(0, Event::Feedback(None))),
        and(entry(0, Event::Data(data))),
        and(entry(0, Event::Active(Some(TurnId::new(3))))),
        and(checkpoint(3, None)),
        Fold::newest(log().split_off(1), false),
        Fold::newest(vec![entry(0, Event::Log(info()))], false),
    ];
    let mut log = log();
    log.extend([separator, text(2, 1, "x")]);
    refused.push(Fold::newest(log, false));
    let shown: Vec<String> = refused
        .into_iter()
        .map(|refused| {
            let error = refused.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Corrupt);
            error.to_string()
        })
        .collect();
    insta::assert_snapshot!(shown.join("\n"));
}

#[test]
fn an_error_on_an_earlier_page_leaves_everything_as_it_was() {
    let mut end = log().split_off(6);
    end.push(checkpoint(2, Some(2)));
    end.push(text(1, 1, "!"));
    let mut fold = Fold::newest(end, false).unwrap();
    let before = fold.model().clone();
    assert!(fold.earlier(vec![request(1, None)]).is_err());
    assert!(fold.earlier(vec![text(2, 0, "x")]).is_err());
    assert_eq!(fold.model(), &before);
    fold.earlier(log()[..6].to_vec()).unwrap();
    let first = fold.model().turn(TurnId::new(1)).unwrap();
    assert_eq!(first.response().text(), "one\ntwo more!");
}

#[test]
fn whatever_record_is_lost_the_others_are_there() {
    let mut shown = String::new();
    for lost in 0..log().len() {
        let mut left = log();
        left.remove(lost);
        let fold = Fold::salvaged(left, info()).unwrap();
        let turns: Vec<String> = fold
            .model()
            .all_turns()
            .map(|turn| format!("{}: {:?}", turn.request().id, turn.response().text()))
            .collect();
        shown.push_str(&format!("without {}: {}\n", lost + 1, turns.join(", ")));
    }
    insta::assert_snapshot!(shown);
}

#[test]
fn every_subset_of_a_log_can_be_salvaged_and_written_again() {
    let json = JsonChatModelSerializer::default();
    let mut log = log();
    log.insert(6, checkpoint(1, Some(1)));
    for subset in 1..1_u32 << log.len() {
        let left: Vec<Entry> = log
            .iter()
            .enumerate()
            .filter(|(place, _)| subset & (1 << place) != 0)
            .map(|(_, entry)| entry.clone())
            .collect();
        let fold = Fold::salvaged(left, info()).unwrap();
        let document = json.write_document(fold.model()).unwrap();
        assert_eq!(&json.read_document(document.get().as_bytes()).unwrap(), fold.model());
    }
    assert_eq!(Fold::salvaged(Vec::new(), info()).unwrap_err().kind(), ErrorKind::Corrupt);
}

#[test]
fn a_number_that_is_damage_does_not_fill_the_memory() {
    let mut log = log();
    log.push(text(u64::MAX, usize::MAX, "x"));
    log.push(part(2, usize::MAX, "x"));
    log.push(checkpoint(u64::MAX, None));
    let fold = Fold::salvaged(log, info()).unwrap();
    assert_eq!(fold.model().turn_count(), 2);
}

#[test]
fn a_built_in_part_that_the_registry_lacks_takes_its_text() {
    let json = JsonChatModelSerializer::new(PartRegistry::empty(), crate::DataRegistry::new());
    let read = |entry: &Entry| {
        let body = json.write_event(&entry.event).unwrap();
        let event = json.read_event(entry.event.kind(), body.get(), &FORMAT).unwrap();
        Entry { event, ..entry.clone() }
    };
    let fold = Fold::newest(log().iter().map(read).collect(), false).unwrap();
    let first = fold.model().turn(TurnId::new(1)).unwrap();
    assert_eq!(first.response().text(), "one\ntwo more");
}

/// A tree of turns whose branches cross whatever is loaded at a time.
#[test]
fn turns_that_are_loaded_bit_by_bit_have_the_branches_of_a_whole_log() {
    let parents =
        [None, Some(1), Some(2), Some(1), None, Some(3), Some(3), Some(7), Some(2), Some(1)];
    let turns: Vec<Entry> =
        (1..).zip(parents).map(|(turn, parent)| request(turn, parent)).collect();
    let mut whole = vec![entry(0, Event::Log(info())), entry(0, Event::Session(Box::new(state())))];
    whole.extend(turns.clone());
    let whole = Fold::newest(whole, false).unwrap();
    for step in 1..turns.len() {
        let mut rest = turns.clone();
        let mut newest = rest.split_off(rest.len() - step);
        newest.push(checkpoint(10, Some(10)));
        let mut fold = Fold::newest(newest, false).unwrap();
        while !rest.is_empty() {
            let earlier = rest.split_off(rest.len().saturating_sub(step));
            fold.earlier(earlier).unwrap();
        }
        assert_eq!(fold.model(), whole.model(), "{step} at a time");
    }
}
