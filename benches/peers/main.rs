//! What keeping chats costs, beside the limits of the disk and the parser, and beside what people
//! do instead.
//!
//! ```sh
//! cargo bench --bench peers                      # everything, and target/bench/peers.json
//! cargo bench --bench peers -- --quick           # smaller sizes
//! cargo bench --bench peers -- append stream     # some groups: append stream open list search
//! cargo bench --bench peers -- --check           # fails if a figure is over its bound
//! cargo bench --bench peers -- --docs            # writes docs/benchmarks.md and its plots
//! ```
//!
//! Everything is measured in one run on one disk, in turn; medians of many calls, or of several
//! rounds where a round gives one figure. The figures of
//! another machine, or another hour, compare with nothing but their own limit.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::Instant;

use crate::harness::{Bench, Result};
use crate::report::Report;

mod append;
mod bulk;
mod corpus;
mod cost;
mod data;
mod docs;
mod facades;
mod harness;
mod list;
mod log_size;
mod open;
mod ours;
mod peers;
mod plots;
mod report;
mod search;
mod stream;
mod unindexed;

const GROUPS: [&str; 5] = ["append", "stream", "open", "list", "search"];
/// The engines are features of the crate, and all of them are compared.
const FEATURES: &str = "sqlite,redb";

fn main() -> ExitCode {
    let start = Instant::now();
    match run(start) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(start: Instant) -> Result<ExitCode> {
    // What cargo itself adds says nothing.
    let arguments: Vec<String> =
        std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    if arguments.first().is_some_and(|first| first == "--child") {
        return in_child(start, &arguments);
    }
    if !cfg!(all(feature = "sqlite", feature = "redb")) {
        return with_features(&arguments);
    }
    measure(&Wanted::new(&arguments)?)
}

/// What is asked for on the command line.
#[derive(Default)]
struct Wanted {
    quick: bool,
    check: bool,
    docs: bool,
    groups: Vec<&'static str>,
}

impl Wanted {
    fn new(arguments: &[String]) -> Result<Self> {
        let mut wanted = Self::default();
        for argument in arguments {
            let group = GROUPS.into_iter().find(|group| group == argument);
            match (argument.as_str(), group) {
                ("--quick", _) => wanted.quick = true,
                ("--check", _) => wanted.check = true,
                ("--docs", _) => wanted.docs = true,
                (_, Some(group)) => wanted.groups.push(group),
                (other, None) => {
                    let known = GROUPS.join(", ");
                    let flags = "--quick, --check and --docs";
                    return Err(format!("{other:?} is none of {flags}, nor of {known}").into());
                }
            }
        }
        if wanted.docs && wanted.quick {
            return Err(
                "the page has the figures of the full sizes: --docs goes without --quick".into()
            );
        }
        if wanted.groups.is_empty() {
            wanted.groups = GROUPS.to_vec();
        } else if wanted.docs {
            return Err("the page has the figures of all groups: --docs goes without any".into());
        }
        Ok(wanted)
    }
}

/// Builds and runs the same with the engines that are features.
fn with_features(arguments: &[String]) -> Result<ExitCode> {
    let cargo = std::env::var_os("CARGO").ok_or("build it with --features sqlite,redb")?;
    let mut command = Command::new(cargo);
    command.args(["bench", "--features", FEATURES, "--bench", "peers", "--"]).args(arguments);
    let status = command.current_dir(env!("CARGO_MANIFEST_DIR")).status()?;
    Ok(if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn measure(wanted: &Wanted) -> Result<ExitCode> {
    let start = Instant::now();
    let results = target().join("bench");
    std::fs::create_dir_all(&results)?;
    // Beside the results, since a system's temporary folder may be memory, and sync nothing.
    let folder = tempfile::Builder::new().prefix("peers-").tempdir_in(&results)?;
    let bench = Bench::new(wanted.quick, folder.path());
    let mut report = Report::new(wanted.quick, &wanted.groups);
    eprintln!("compared:\n{}", docs::systems());
    if !harness::has_tracer() {
        report.note("syncs per exchange are not counted: there is no strace");
    }
    for group in &wanted.groups {
        match *group {
            "append" => {
                append::run(&bench, &mut report)?;
                facades::run(&bench, &mut report)?;
                log_size::run(&bench, &mut report)?;
                cost::run(&bench, &mut report)?;
            }
            "stream" => stream::run(&bench, &mut report)?,
            "open" => open::run(&bench, &mut report)?,
            "list" => list::run(&bench, &mut report)?,
            _ => search::run(&bench, &mut report)?,
        }
        eprintln!("== {group} done after {:.0} s", start.elapsed().as_secs_f64());
    }
    report.print();
    println!("\nwritten to {}", report.write(&results)?.display());
    if wanted.docs {
        docs::write(&report, &Path::new(env!("CARGO_MANIFEST_DIR")).join("docs"))?;
    }
    Ok(verdict(&report, wanted.check))
}

/// A key without a figure is a fault of the run; one over its bound is one if it is asked for.
fn verdict(report: &Report, check: bool) -> ExitCode {
    let (missing, over) = (report.missing(), report.over());
    for (what, keys) in [("without a figure", &missing), ("over the bound", &over)] {
        if !keys.is_empty() {
            println!("\n{what}:\n  {}", keys.join("\n  "));
        }
    }
    if missing.is_empty() && (over.is_empty() || !check) {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// Where cargo builds.
fn target() -> PathBuf {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| manifest.join("target"), |target| manifest.join(target))
}

/// One measurement in this process, which says on its standard output what it found.
fn in_child(start: Instant, arguments: &[String]) -> Result<ExitCode> {
    let words: Vec<&str> = arguments.iter().skip(1).map(String::as_str).collect();
    let found = match words.as_slice() {
        ["ask", system, folder, session, exchanges] => {
            append::ask_in_child(system, Path::new(folder), session, exchanges.parse()?)?
        }
        ["newest", system, folder] => open::newest_in_child(system, Path::new(folder))?,
        ["list", folder] => list::list_in_child(start, Path::new(folder))?,
        other => return Err(format!("there is no measurement {other:?}").into()),
    };
    println!("{}", serde_json::to_string(&found)?);
    Ok(ExitCode::SUCCESS)
}
