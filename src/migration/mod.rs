//! Steps from older shapes of stored data to newer ones.
//!
//! A kind of part or data, and the session format, each have a semver version and a chain of
//! steps. A step is a pure function over JSON values: it knows no struct of today, asks no clock
//! and makes no ids, so that it gives the same result forever. Each stands frozen in its own file.

use std::fmt;

use semver::Version;
use serde_json::Value;

use crate::error::{Error, ErrorKind, Result, guarded};
use crate::json::{RawJson, numbers_are_exact};

mod format;

pub use self::format::Migrator;

/// Turns data of one version into data of a later one.
pub type StepFn = fn(Value) -> Result<Value>;

#[derive(Clone)]
struct Step {
    from: Version,
    to: Version,
    run: StepFn,
}

/// A gapless chain of migration steps, oldest first.
///
/// A step applies to data of every version from its first (inclusive) to its second (exclusive).
/// Data of the current major version for which there is no step is read as it is: within a major
/// version fields are only added.
///
/// # Examples
///
/// ```
/// use chatkeep::migration::Migrations;
/// use chatkeep::{RawJson, Result};
/// use semver::Version;
/// use serde_json::Value;
///
/// fn rename(mut data: Value) -> Result<Value> {
///     if let Some(fields) = data.as_object_mut() {
///         if let Some(series) = fields.remove("data") {
///             fields.insert("series".to_owned(), series);
///         }
///     }
///     Ok(data)
/// }
///
/// let chain = Migrations::new().step("1.0.0", "2.0.0", rename);
/// chain.check(&Version::new(2, 0, 0))?;
/// let old = RawJson::parse(r#"{"data":[1]}"#)?;
/// let new = chain.migrate(&old, &Version::new(1, 4, 0), &Version::new(2, 0, 0))?;
/// assert_eq!(new.get(), r#"{"series":[1]}"#);
/// # Ok::<(), chatkeep::Error>(())
/// ```
#[derive(Clone, Default)]
pub struct Migrations {
    steps: Vec<Step>,
    /// A version that could not be read, told when the chain is checked.
    wrong: Option<Error>,
}

impl fmt::Debug for Migrations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let steps = self.steps.iter().map(|step| format!("{} -> {}", step.from, step.to));
        f.debug_list().entries(steps).finish()
    }
}

impl Migrations {
    /// No steps.
    #[must_use]
    pub const fn new() -> Self {
        Self { steps: Vec::new(), wrong: None }
    }

    /// Adds a step. It must begin where the one before it ends; [`check`](Self::check), which a
    /// registry calls, says so if not.
    #[must_use]
    pub fn step(mut self, from: &str, to: &str, run: StepFn) -> Self {
        match (parse(from), parse(to)) {
            (Ok(from), Ok(to)) => self.steps.push(Step { from, to, run }),
            (Err(error), _) | (_, Err(error)) => self.wrong = self.wrong.or(Some(error)),
        }
        self
    }

    /// Checks that the chain has no gap, goes upwards and ends in the current version's major.
    ///
    /// # Errors
    ///
    /// [`Invalid`](ErrorKind::Invalid), naming the step.
    pub fn check(&self, current: &Version) -> Result<()> {
        if let Some(error) = &self.wrong {
            return Err(error.clone());
        }
        for step in &self.steps {
            if step.from >= step.to {
                return Err(Error::invalid(format!(
                    "the migration step {} -> {} does not go upwards",
                    step.from, step.to
                )));
            }
        }
        for pair in self.steps.windows(2) {
            if pair[0].to != pair[1].from {
                return Err(Error::invalid(format!(
                    "the migration chain has a gap between {} and {}",
                    pair[0].to, pair[1].from
                )));
            }
        }
        match self.steps.last() {
            Some(last) if last.to > *current || last.to.major != current.major => {
                Err(Error::invalid(format!(
                    "the migration chain ends at {}, the current version is {current}",
                    last.to
                )))
            }
            _ => Ok(()),
        }
    }

    /// Whether data of a version can be read as it is, without a step.
    #[must_use]
    pub fn is_current(&self, version: &Version, current: &Version) -> bool {
        version.major == current.major && self.steps.last().is_none_or(|last| last.to <= *version)
    }

    /// Brings data from its version to the current one.
    ///
    /// # Errors
    ///
    /// [`UnsupportedVersion`](ErrorKind::UnsupportedVersion) if the version is newer than the
    /// current one or no step begins at it; [`Invalid`](ErrorKind::Invalid) if the data holds a
    /// number that would be rounded, or a step refuses it or panics.
    pub fn migrate(&self, data: &RawJson, version: &Version, current: &Version) -> Result<RawJson> {
        if is_newer(version, current) {
            return Err(Error::new(
                ErrorKind::UnsupportedVersion,
                format!("version {version} is newer than {current}, the newest known"),
            ));
        }
        if self.is_current(version, current) {
            return Ok(data.clone());
        }
        let Some(first) = self.steps.iter().position(|s| s.from <= *version && *version < s.to)
        else {
            return Err(Error::new(
                ErrorKind::UnsupportedVersion,
                format!("no migration is known from version {version} to {current}"),
            ));
        };
        if !numbers_are_exact(data.get()) {
            return Err(Error::invalid(
                "the data holds a number that a migration would round, so it stays as it is",
            ));
        }
        let mut value: Value = data.read()?;
        for step in &self.steps[first..] {
            value = guarded("a migration step", || (step.run)(value))
                .map_err(|e| e.with("step", format_args!("{} -> {}", step.from, step.to)))?;
        }
        RawJson::of_whole(&value)
    }
}

/// Whether a stored version is of a later minor or major version than the code's: patch versions
/// do not change what is stored.
pub(crate) fn is_newer(stored: &Version, current: &Version) -> bool {
    (stored.major, stored.minor) > (current.major, current.minor)
}

fn parse(version: &str) -> Result<Version> {
    Version::parse(version).map_err(|e| {
        Error::invalid(format!("{version:?} is not a version of a migration step")).caused_by(e)
    })
}

#[cfg(test)]
mod tests;
