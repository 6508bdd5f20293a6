//! Running cases and telling how they went.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use super::bench::{Bench, Stop};
use super::fixture::Fixture;
use super::list::{CASES, Case};

/// How a case went.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// The storage keeps this promise.
    Passed,
    /// The storage does not make this promise, or the fixture cannot test it: why.
    Skipped(String),
    /// The storage breaks this promise: how.
    Failed(String),
}

/// How all cases went, in their order.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Report {
    /// Each case by its name (`group::case`) with its outcome.
    pub cases: Vec<(&'static str, Outcome)>,
}

impl Report {
    /// Whether no case failed.
    #[must_use]
    pub fn is_passed(&self) -> bool {
        self.failures().next().is_none()
    }

    /// The cases that failed, with how.
    pub fn failures(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.cases.iter().filter_map(|(name, outcome)| match outcome {
            Outcome::Failed(how) => Some((*name, how.as_str())),
            Outcome::Passed | Outcome::Skipped(_) => None,
        })
    }
}

impl fmt::Display for Report {
    /// One line per case.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, outcome) in &self.cases {
            match outcome {
                Outcome::Passed => writeln!(f, "passed   {name}")?,
                Outcome::Skipped(why) => writeln!(f, "skipped  {name}: {why}")?,
                Outcome::Failed(how) => writeln!(f, "FAILED   {name}: {how}")?,
            }
        }
        Ok(())
    }
}

/// Runs every case, each on a new fixture, one after the other on this thread.
///
/// # Examples
///
/// ```
/// use chatkeep::storage::{MemoryStorage, conformance};
///
/// let report = conformance::run(|| conformance::of_storage(MemoryStorage::new()));
/// assert!(report.is_passed(), "{report}");
/// ```
pub fn run<F: Fixture>(fixture: impl Fn() -> F) -> Report {
    let outcome = |case: &Case| (case.name, run_case(case, Arc::new(fixture())));
    Report { cases: CASES.iter().map(outcome).collect() }
}

/// Runs one case by its name.
///
/// # Panics
///
/// If the case fails, or if there is none of this name.
pub fn check(name: &str, fixture: impl Fixture) {
    let case = CASES.iter().find(|case| case.name == name);
    let Some(case) = case else { panic!("the suite has no case {name}") };
    match run_case(case, Arc::new(fixture)) {
        Outcome::Passed => {}
        Outcome::Skipped(why) => println!("skipped: {why}"),
        Outcome::Failed(how) => panic!("{name}: {how}"),
    }
}

fn run_case(case: &Case, fixture: Arc<dyn Fixture>) -> Outcome {
    let run = || {
        pollster::block_on(async {
            let bench = Bench::open(fixture).await?;
            (case.run)(&bench).await
        })
    };
    match catch_unwind(AssertUnwindSafe(run)) {
        Ok(Ok(())) => Outcome::Passed,
        Ok(Err(Stop::Skipped(why))) => Outcome::Skipped(why.to_owned()),
        Ok(Err(Stop::Failed(how))) => Outcome::Failed(how),
        Err(panic) => Outcome::Failed(format!("it panicked: {}", words_of(&*panic))),
    }
}

fn words_of(panic: &(dyn std::any::Any + Send)) -> &str {
    panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("without a message")
}
