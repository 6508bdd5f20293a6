//! The newest 50 sessions, of few and of many.

use std::path::Path;
use std::time::{Duration, Instant};

use chatkeep::ListQuery;

use crate::data::Data;
use crate::harness::{Bench, Found, Result, Samples, child, remove};
use crate::ours::{self, FILES};
use crate::peers;
use crate::report::{Report, Row};

const GROUP: &str = "list";
const SHOWN: usize = 50;

pub(crate) fn run(bench: &Bench, report: &mut Report) -> Result<()> {
    let folder = bench.folder("list")?;
    for sessions in bench.sizes.sessions {
        systems(bench, report, &folder, sessions)?;
    }
    flatness(bench, report, &folder)?;
    new_processes(bench, report, &folder)?;
    remove(&folder)
}

fn home(folder: &Path, sessions: u64, entry: &str) -> std::path::PathBuf {
    folder.join(sessions.to_string()).join(entry)
}

/// Every system at one size, in turn, each time opened anew.
fn systems(bench: &Bench, report: &mut Report, folder: &Path, sessions: u64) -> Result<()> {
    eprintln!("-- list: every system, {sessions} sessions");
    let data = Data::new(1_000_000);
    let entries = peers::all();
    for entry in &entries {
        let start = Instant::now();
        let own = home(folder, sessions, entry.name);
        std::fs::create_dir_all(&own)?;
        let mut system = (entry.open)(&own)?;
        system.seed(&mut (0..sessions).map(|n| data.session(format!("session-{n:06}"), n, 1)))?;
        drop(system);
        eprintln!("   {} written in {:.1} s", entry.name, start.elapsed().as_secs_f64());
    }
    let mut times = vec![Samples::default(); entries.len()];
    for round in 0..bench.sizes.rounds {
        for step in 0..entries.len() {
            let place = (step + round) % entries.len();
            let (entry, times) = (&entries[place], &mut times[place]);
            if times.sum() > bench.sizes.budget && times.len() >= 3 {
                continue;
            }
            let mut system = (entry.open)(&home(folder, sessions, entry.name))?;
            let listed = times.time(|| system.list(SHOWN))?;
            if listed != SHOWN {
                return Err(format!("{} lists {listed} sessions", entry.name).into());
            }
        }
    }
    let files = times.first().map_or(f64::NAN, Samples::p50);
    for (entry, times) in entries.iter().zip(&times) {
        let row = Row::new(GROUP, "list the newest 50", entry.name, sessions);
        report.row(row.times(times).over(files));
    }
    for entry in entries.iter().filter(|entry| entry.name != FILES.name) {
        remove(&home(folder, sessions, entry.name))?;
    }
    Ok(())
}

/// Many sessions beside few, in turn, in stores that are open.
fn flatness(bench: &Bench, report: &mut Report, folder: &Path) -> Result<()> {
    let [few, many] = bench.sizes.sessions;
    let calls = bench.sizes.calls / 4;
    let open = |sessions| -> Result<_> {
        let storage = (FILES.open)(&home(folder, sessions, FILES.name))?;
        Ok((ours::store_on(&storage)?, storage))
    };
    let stores = [open(few)?, open(many)?];
    let mut times = [Samples::default(), Samples::default()];
    for call in 0..calls {
        for step in 0..2 {
            let which = (step + call) % 2;
            let local = stores[which].0.local();
            let page = times[which].time(|| Ok(local.list(ListQuery::new().limit(SHOWN))?))?;
            if page.items.len() != SHOWN {
                return Err(format!("{} sessions were listed", page.items.len()).into());
            }
        }
    }
    for (store, storage) in stores {
        drop(store);
        ours::close(storage)?;
    }
    let [of_few, of_many] = &times;
    let at = format!("{many} over {few} sessions, {calls} calls");
    report.set("list.flatness", of_many.p50() / of_few.p50(), at)?;
    let row = |sessions, times| {
        Row::new(GROUP, "list, store open", FILES.name, sessions).times(times).over(of_few.p50())
    };
    report.row(row(few, of_few));
    report.row(row(many, of_many));
    Ok(())
}

/// What a new process sees, with the index and with none.
fn new_processes(bench: &Bench, report: &mut Report, folder: &Path) -> Result<()> {
    let [_, many] = bench.sizes.sessions;
    eprintln!("-- list: new processes, {many} sessions");
    let own = home(folder, many, FILES.name);
    let path = own.to_str().ok_or("the folder's name is not UTF-8")?;
    let rounds = bench.sizes.rounds.min(5);
    let (mut cold, mut rebuilt) = (Samples::default(), Samples::default());
    for _ in 0..rounds {
        cold.push(first_page(path)?);
    }
    let at = format!("{many} sessions, {rounds} processes");
    report.set("list.cold_ms", cold.p50() / 1e3, &*at)?;
    for _ in 0..rounds {
        remove(&own.join("chats/index"))?;
        rebuilt.push(first_page(path)?);
    }
    report.set("list.rebuild_s", rebuilt.seconds(), at)?;
    report.row(Row::new(GROUP, "new process", FILES.name, many).times(&cold));
    report.row(Row::new(GROUP, "index deleted", FILES.name, many).times(&rebuilt));
    Ok(())
}

fn first_page(folder: &str) -> Result<Duration> {
    let found = child(&["list", folder])?;
    let ms = *found.get("ms").ok_or("the child says no time")?;
    Ok(Duration::from_secs_f64(ms / 1e3))
}

/// In a process of its own: from its start to the first page.
pub(crate) fn list_in_child(start: Instant, folder: &Path) -> Result<Found> {
    let storage = (FILES.open)(folder)?;
    let store = ours::store_on(&storage)?;
    let page = store.local().list(ListQuery::new().limit(SHOWN))?;
    let ms = start.elapsed().as_secs_f64() * 1e3;
    if page.items.len() != SHOWN || page.items.iter().any(|head| head.title().is_empty()) {
        return Err("the first page is not complete".into());
    }
    drop(store);
    ours::close(storage)?;
    Ok([("ms".to_owned(), ms)].into())
}
