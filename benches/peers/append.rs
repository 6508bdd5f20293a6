//! One durable request added to a session, however long it is: every system in turn, beside the
//! limit.

use std::path::{Path, PathBuf};

use crate::data::{Data, MESSAGE, Session};
use crate::harness::{Bench, Found, Result, Samples, child, remove, syncs_of_child, written};
use crate::ours::FILES;
use crate::peers::limit::{Bare, Tail};
use crate::peers::{self, Entry, System};
use crate::report::{Report, Row};

const GROUP: &str = "append";
/// Sessions of one turn beside those that are asked: what holds all sessions has its size.
const OTHERS: u64 = 1_000;

pub(crate) fn run(bench: &Bench, report: &mut Report) -> Result<()> {
    for turns in &bench.sizes.turns {
        growth(bench, report, *turns)?;
    }
    Ok(())
}

/// Sessions of one size, each of which is asked so seldom that the size stays about what it is.
pub(crate) struct Plan {
    turns: u64,
    /// How many requests each session gets. The first of them brings the session into memory, and
    /// is not timed.
    each: usize,
    sessions: usize,
}

impl Plan {
    pub(crate) fn new(turns: u64, calls: usize) -> Self {
        let each = usize::try_from(turns / 10).unwrap_or(usize::MAX).max(20);
        Self { turns, each, sessions: calls.div_ceil(each - 1) }
    }

    pub(crate) fn sessions(&self) -> usize {
        self.sessions
    }

    /// Which session is asked when so many calls have been timed, and whether it is the first time.
    pub(crate) fn place(&self, timed: usize) -> (usize, bool) {
        let session = timed / (self.each - 1);
        (session, timed.is_multiple_of(self.each - 1))
    }

    /// The sessions in which a new process counts bytes, and syncs. Where so many more turns would
    /// change the size, they are others than those that are timed.
    fn counted(&self) -> [usize; 2] {
        let last = self.sessions - 1;
        if self.turns < 1_000 { [last + 1, last + 2] } else { [last, last] }
    }
}

fn name(session: usize) -> String {
    format!("session-{session}")
}

/// A system while it is measured.
struct Running {
    entry: Entry,
    system: Box<dyn System>,
    asks: Samples,
    /// The end of the log, where it is the one whose bytes the limit writes.
    tail: Option<Tail>,
}

/// Every system at one size, in turn, beside the limit.
fn growth(bench: &Bench, report: &mut Report, turns: u64) -> Result<()> {
    eprintln!("-- append: every system, {turns} turns");
    let data = Data::new(1_000_000);
    let folder = bench.folder("append")?;
    let plan = Plan::new(turns, bench.sizes.calls);
    for entry in peers::all() {
        seed(&entry, &folder, &data, &plan)?;
    }
    let open = |entry: Entry| {
        let system = (entry.open)(&folder.join(entry.name))?;
        Ok(Running { entry, system, asks: Samples::default(), tail: None })
    };
    let mut running = peers::all().into_iter().map(open).collect::<Result<Vec<_>>>()?;
    let limit = in_turn(bench, &folder, &data, &plan, &mut running)?;
    let row = |system, times: &Samples| {
        Row::new(GROUP, "add a request", system, turns).times(times).over(limit.p50())
    };
    report.row(row("bare write + fdatasync", &limit));
    for Running { entry, system, asks, .. } in running {
        let mut row = row(entry.name, &asks);
        system.close()?;
        let own = folder.join(entry.name);
        let [for_bytes, for_syncs] = plan.counted().map(name);
        row.written = Some(bytes_per_exchange(&own, entry.name, &for_bytes, &asks)?);
        if turns == bench.sizes.small() {
            row.syncs = syncs_per_exchange(&own, entry.name, &for_syncs)?;
        }
        report.row(row);
    }
    remove(&folder)
}

/// Writes the sessions that are asked, and the others.
fn seed(entry: &Entry, folder: &Path, data: &Data, plan: &Plan) -> Result<()> {
    let own = folder.join(entry.name);
    std::fs::create_dir_all(&own)?;
    let mut system = (entry.open)(&own)?;
    let [for_bytes, for_syncs] = plan.counted();
    let asked = plan.sessions.max(for_bytes + 1).max(for_syncs + 1);
    let others = (0..OTHERS).map(|number| data.session(format!("other-{number:04}"), number, 1));
    let asked = (0..asked).map(|number| -> Session {
        data.session(name(number), OTHERS + number as u64 * plan.turns, plan.turns)
    });
    system.seed(&mut others.chain(asked))?;
    system.close()
}

/// Asks each system in turn, and writes the limit's line among them, each as often the first,
/// until a system has had its calls or its time.
fn in_turn(
    bench: &Bench,
    folder: &Path,
    data: &Data,
    plan: &Plan,
    running: &mut [Running],
) -> Result<Samples> {
    let mut bare = Bare::new(&folder.join("bare"))?;
    let (mut limit, mut line) = (Samples::default(), vec![b'x'; MESSAGE + 400]);
    let steps = running.len() + 1;
    for round in 0..bench.sizes.calls {
        let text = data.message(round as u64);
        for step in 0..steps {
            match running.get_mut((step + round) % steps) {
                None => limit.time(|| bare.write(&line))?,
                Some(one) if one.asks.sum() > bench.sizes.budget && one.asks.len() >= 3 => {}
                Some(one) => one.exchange(folder, plan, &text, &mut line)?,
            }
        }
    }
    Ok(limit)
}

impl Running {
    /// Adds a request, which is timed, and its answer. `line` is what the request is in a log.
    fn exchange(
        &mut self,
        folder: &Path,
        plan: &Plan,
        text: &str,
        line: &mut Vec<u8>,
    ) -> Result<()> {
        let (session, is_first) = plan.place(self.asks.len());
        let session = name(session);
        if is_first {
            self.system.ask(&session, text)?;
            self.system.answer(&session, text)?;
            if self.entry.name == FILES.name {
                self.tail = Some(Tail::new(&log_of(&folder.join(FILES.name), &session))?);
            }
        }
        self.asks.time(|| self.system.ask(&session, text))?;
        if let Some(tail) = &mut self.tail {
            *line = tail.fresh()?;
        }
        self.system.answer(&session, text)?;
        self.tail.as_mut().map_or(Ok(()), Tail::skip)
    }
}

/// Where a file storage keeps a session.
pub(crate) fn log_of(folder: &Path, session: &str) -> PathBuf {
    folder.join("chats/sessions/local").join(format!("{session}.jsonl"))
}

/// Exchanges that are counted, by what one more than others makes.
const MORE: u64 = 20;
/// Of what writes everything anew one more is enough: each is as the last one, and takes long.
const SLOW_US: f64 = 50_000.0;

/// What a process of its own writes for an exchange, its index and what it puts off until its end
/// included: some exchanges more over some exchanges.
fn bytes_per_exchange(own: &Path, system: &str, session: &str, asks: &Samples) -> Result<f64> {
    let more = if asks.p50() > SLOW_US { 1 } else { MORE };
    let own = own.to_str().ok_or("the folder's name is not UTF-8")?;
    let count = |exchanges: u64| -> Result<f64> {
        let found = child(&["ask", system, own, session, &exchanges.to_string()])?;
        Ok(*found.get("written").ok_or("the child says no bytes")?)
    };
    let few = count(1)?;
    Ok((count(1 + more)? - few) / more as f64)
}

/// How many syncs an exchange costs, as a tracer sees it.
fn syncs_per_exchange(own: &Path, system: &str, session: &str) -> Result<Option<f64>> {
    let trace = own.with_extension("trace");
    let own = own.to_str().ok_or("the folder's name is not UTF-8")?;
    let count = |exchanges: u64| {
        syncs_of_child(&trace, &["ask", system, own, session, &exchanges.to_string()])
    };
    let (Some(few), Some(many)) = (count(1)?, count(1 + MORE)?) else {
        return Ok(None);
    };
    Ok(Some(many.saturating_sub(few) as f64 / MORE as f64))
}

/// In a process of its own: so many requests with their answers, and what it wrote for them.
pub(crate) fn ask_in_child(
    system: &str,
    folder: &Path,
    session: &str,
    exchanges: u64,
) -> Result<Found> {
    let data = Data::new(1_000_000);
    let mut system = (peers::entry(system)?.open)(folder)?;
    for number in 0..exchanges {
        system.ask(session, &data.message(number))?;
        system.answer(session, &data.message(number))?;
    }
    system.close()?;
    Ok([("written".to_owned(), written()? as f64)].into())
}
