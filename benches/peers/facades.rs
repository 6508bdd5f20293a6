//! One durable request through either façade, each beside the limit of its engine.

use chatkeep::blocking;
use pollster::block_on;

use crate::append::{Plan, log_of};
use crate::data::{Data, MESSAGE};
use crate::harness::{Bench, Result, Samples, remove};
use crate::ours::{self, FILES};
use crate::peers::limit::{Bare, RawInsert, Tail};
use crate::report::{Report, Row, shown};

const GROUP: &str = "append";

pub(crate) fn run(bench: &Bench, report: &mut Report) -> Result<()> {
    files_and_limit(bench, report)?;
    sqlite_and_limit(bench, report)
}

/// A host calls one façade or the other: the async one writes from a thread of its own.
#[derive(Clone, Copy)]
enum Facade {
    Blocking,
    Async,
}

impl Facade {
    fn name(self) -> &'static str {
        match self {
            Self::Blocking => "blocking",
            Self::Async => "async",
        }
    }

    /// Adds a request, which is timed, and its answer; calls `asked` in between.
    fn exchange(
        self,
        chat: &blocking::ChatSession,
        text: &str,
        times: &mut Samples,
        asked: impl FnOnce() -> Result<()>,
    ) -> Result<()> {
        match self {
            Self::Blocking => {
                let mut answer = times.time(|| Ok(chat.ask(text)?))?;
                asked()?;
                answer.append_text(text)?;
                answer.complete()?;
            }
            Self::Async => {
                let mut answer = times.time(|| Ok(block_on(chat.as_async().ask(text))?))?;
                asked()?;
                block_on(answer.append_text(text))?;
                block_on(answer.complete())?;
            }
        }
        Ok(())
    }
}

/// A façade's requests, and what the limit takes for the same line near each of them.
struct Beside {
    facade: Facade,
    asks: Samples,
    limit: Samples,
    line: Vec<u8>,
}

impl Beside {
    fn both(line: &[u8]) -> [Self; 2] {
        [Facade::Blocking, Facade::Async].map(|facade| Self {
            facade,
            asks: Samples::default(),
            limit: Samples::default(),
            line: line.to_vec(),
        })
    }

    fn ratio(&self) -> f64 {
        self.asks.p50() / self.limit.p50()
    }

    /// In the log of files: the limit writes the very line, before the request and after it in turn.
    fn files(
        &mut self,
        round: usize,
        chat: &blocking::ChatSession,
        text: &str,
        (tail, bare): (&mut Tail, &mut Bare),
    ) -> Result<()> {
        let is_before = round.is_multiple_of(2);
        if is_before {
            self.limit.time(|| bare.write(&self.line))?;
        }
        tail.skip()?;
        let line = &mut self.line;
        self.facade.exchange(chat, text, &mut self.asks, || {
            *line = tail.fresh()?;
            Ok(())
        })?;
        if !is_before {
            self.limit.time(|| bare.write(&self.line))?;
        }
        Ok(())
    }

    /// In SQLite: the limit inserts one row, before the request and after it in turn.
    fn sqlite(
        &mut self,
        round: usize,
        chat: &blocking::ChatSession,
        text: &str,
        raw: &RawInsert,
    ) -> Result<()> {
        let is_before = round.is_multiple_of(2);
        if is_before {
            self.limit.time(|| raw.insert(&self.line))?;
        }
        self.facade.exchange(chat, text, &mut self.asks, || Ok(()))?;
        if !is_before {
            self.limit.time(|| raw.insert(&self.line))?;
        }
        Ok(())
    }
}

/// The figure of a key is the larger ratio of both façades.
fn say(
    report: &mut Report,
    key: &str,
    (system, limit): (&str, &str),
    turns: u64,
    both: &[Beside; 2],
) -> Result<()> {
    for one in both {
        let name = one.facade.name();
        let ask = Row::new(GROUP, &format!("ask, {name}"), system, turns);
        report.row(ask.times(&one.asks).over(one.limit.p50()));
        let same = Row::new(GROUP, &format!("its line, {name}"), limit, turns);
        report.row(same.times(&one.limit));
    }
    let [blocking, asynchronous] = both.each_ref().map(Beside::ratio);
    let calls = both[0].asks.len();
    let at = format!("{turns} turns, {calls} calls of each façade; the larger ratio of the two");
    report.set(key, blocking.max(asynchronous), at)?;
    let (blocking, asynchronous) = (shown(blocking), shown(asynchronous));
    report.note(format!("{key}: {blocking} blocking, {asynchronous} async"));
    Ok(())
}

/// This crate on files: a long session through both façades, and short ones, in turn.
fn files_and_limit(bench: &Bench, report: &mut Report) -> Result<()> {
    let (small, large, calls) = (bench.sizes.small(), bench.sizes.large(), bench.sizes.calls);
    eprintln!("-- append: files and the bare disk, {small} and {large} turns");
    let data = Data::new(1_000_000);
    let folder = bench.folder("append-files")?;
    let storage = (FILES.open)(&folder)?;
    let store = ours::store_on(&storage)?;
    let import = |id: String, turns: u64| -> Result<blocking::ChatSession> {
        Ok(store.local().import(&ours::model_of(&data.session(id, 0, turns))?)?)
    };
    let plan = Plan::new(small, calls);
    let short = (0..plan.sessions()).map(|number| import(format!("short-{number}"), small));
    let short = short.collect::<Result<Vec<_>>>()?;
    let long = import("long".to_owned(), large)?;
    let mut tail = Tail::new(&log_of(&folder, "long"))?;
    let mut bare = Bare::new(&folder.join("bare"))?;
    let mut both = Beside::both(&vec![b'x'; MESSAGE + 400]);
    let mut small_times = Samples::default();
    for round in 0..calls {
        let text = data.message(round as u64);
        for step in 0..3 {
            match both.get_mut((step + round) % 3) {
                Some(one) => one.files(round, &long, &text, (&mut tail, &mut bare))?,
                None => ask_short(&short, &plan, &text, &mut small_times)?,
            }
        }
    }
    let limit = "bare write + fdatasync";
    say(report, "append.file.vs_limit", (FILES.name, limit), large, &both)?;
    let at = format!("{large} over {small} turns, {calls} calls, blocking");
    let large_p50 = both[0].asks.p50();
    report.set("append.file.flatness", large_p50 / small_times.p50(), at)?;
    let row = Row::new(GROUP, "ask, blocking", FILES.name, small);
    report.row(row.times(&small_times).over(both[0].limit.p50()));
    drop((short, long, store));
    ours::close(storage)?;
    remove(&folder)
}

/// Asks one of the short sessions, each in its turn until it has grown.
fn ask_short(
    short: &[blocking::ChatSession],
    plan: &Plan,
    text: &str,
    times: &mut Samples,
) -> Result<()> {
    let (place, is_first) = plan.place(times.len());
    let chat = short.get(place).ok_or("there are too few sessions")?;
    if is_first {
        Facade::Blocking.exchange(chat, text, &mut Samples::default(), || Ok(()))?;
    }
    Facade::Blocking.exchange(chat, text, times, || Ok(()))
}

/// One request in SQLite through either façade, each beside one row.
fn sqlite_and_limit(bench: &Bench, report: &mut Report) -> Result<()> {
    const KEY: &str = "append.sqlite.vs_limit";
    let Some(engine) = ours::engine("chatkeep SQLite") else {
        return report.lacks(KEY, "the SQLite storage was not built in");
    };
    let turns = bench.sizes.large();
    eprintln!("-- append: SQLite and one row, {turns} turns");
    let data = Data::new(1_000_000);
    let folder = bench.folder("append-sqlite")?;
    let storage = (engine.open)(&folder)?;
    let store = ours::store_on(&storage)?;
    let session = data.session("session".to_owned(), 0, turns);
    let chat = store.local().import(&ours::model_of(&session)?)?;
    drop(session);
    let raw = RawInsert::new(&folder.join("raw.db"))?;
    let mut both = Beside::both(&line_of_request(bench)?);
    for round in 0..bench.sizes.calls {
        let text = data.message(round as u64);
        for step in 0..2 {
            // Two rounds in the same order, so that either façade comes first beside either order
            // of its limit.
            both[(step + round / 2) % 2].sqlite(round, &chat, &text, &raw)?;
        }
    }
    say(report, KEY, (engine.name, "raw row, SQLite FULL"), turns, &both)?;
    drop((chat, store));
    ours::close(storage)?;
    remove(&folder)
}

/// The bytes that a request is in a log of lines.
fn line_of_request(bench: &Bench) -> Result<Vec<u8>> {
    let folder = bench.folder("line")?;
    let storage = (FILES.open)(&folder)?;
    let store = ours::store_on(&storage)?;
    let session = Data::new(1_000_000).session("line".to_owned(), 0, 1);
    let chat = store.local().import(&ours::model_of(&session)?)?;
    let mut tail = Tail::new(&log_of(&folder, "line"))?;
    let answer = chat.ask(Data::new(1_000_000).message(0))?;
    let line = tail.fresh()?;
    drop((answer, chat, store));
    ours::close(storage)?;
    remove(&folder)?;
    Ok(line)
}
