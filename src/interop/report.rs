//! What became of what was read.

use std::collections::BTreeMap;
use std::fmt;

use super::path::Path;

/// The formats that can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Format {
    /// A session document of Visual Studio Code (`.json`).
    VsCode,
    /// An operation log of Visual Studio Code (`.jsonl`).
    VsCodeLog,
    /// A session document of Theia.
    Theia,
}

impl Format {
    /// The prefix of the ids and kinds under which this format's own fields are kept.
    #[must_use]
    pub const fn prefix(self) -> &'static str {
        match self {
            Self::VsCode | Self::VsCodeLog => "vscode",
            Self::Theia => "theia",
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::VsCode => "Visual Studio Code session",
            Self::VsCodeLog => "Visual Studio Code operation log",
            Self::Theia => "Theia session",
        })
    }
}

/// What became of something that was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Outcome {
    /// It has a field or a built-in kind of its own.
    Mapped,
    /// It is kept token for token where the finding says.
    Kept,
    /// It was not there, and the finding says what was taken instead.
    Assumed,
    /// It contradicts the rest, and the finding says how it was read.
    Repaired,
    /// It is not in the imported session.
    Dropped,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Mapped => "mapped",
            Self::Kept => "kept raw",
            Self::Assumed => "assumed",
            Self::Repaired => "repaired",
            Self::Dropped => "dropped",
        })
    }
}

/// Things of one kind to which the same happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What became of them.
    pub outcome: Outcome,
    /// Where they stood, all items of an array taken for one: `requests[].agent`.
    pub place: String,
    /// Where the first of them stood: `requests[0].agent`, or a line of the file.
    pub first: String,
    /// What they were made into, where they are kept, or what was taken instead.
    pub detail: String,
    /// How many there were.
    pub count: u64,
}

/// What became of everything that was read: no field of the source is absent from it.
///
/// `Display` prints a line for each finding. Text of the file is shortened in it, and characters that
/// steer a terminal are escaped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImportReport {
    format: Format,
    version: u64,
    turns: u64,
    parts: u64,
    findings: BTreeMap<(Outcome, String, String), (u64, String)>,
}

impl ImportReport {
    pub(super) fn new(format: Format) -> Self {
        Self { format, version: 1, turns: 0, parts: 0, findings: BTreeMap::new() }
    }

    /// The format that was read.
    #[must_use]
    pub fn format(&self) -> Format {
        self.format
    }

    /// The version of the format.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.version
    }

    /// How many turns were read.
    #[must_use]
    pub fn turns(&self) -> u64 {
        self.turns
    }

    /// How many response parts were read.
    #[must_use]
    pub fn parts(&self) -> u64 {
        self.parts
    }

    /// What became of what, in the order of outcomes and places.
    pub fn findings(&self) -> impl Iterator<Item = Finding> + '_ {
        self.findings.iter().map(|((outcome, place, detail), (count, first))| Finding {
            outcome: *outcome,
            place: place.clone(),
            first: first.clone(),
            detail: detail.clone(),
            count: *count,
        })
    }

    /// How many things had an outcome.
    #[must_use]
    pub fn count(&self, outcome: Outcome) -> u64 {
        self.findings.iter().filter(|((o, ..), _)| *o == outcome).map(|(_, (n, _))| n).sum()
    }

    /// Whether everything that was read is in the imported session.
    #[must_use]
    pub fn is_lossless(&self) -> bool {
        self.count(Outcome::Dropped) == 0
    }

    pub(super) fn counted(&mut self, version: u64, turns: u64, parts: u64) {
        (self.version, self.turns, self.parts) = (version, turns, parts);
    }

    pub(super) fn note(&mut self, outcome: Outcome, path: &Path<'_>, detail: &str) {
        let place = match path.depth() {
            0 => path.to_string(),
            _ => path.pattern(),
        };
        let first = || path.to_string();
        self.add(outcome, place, detail, first);
    }

    pub(super) fn note_line(&mut self, outcome: Outcome, line: usize, detail: &str) {
        self.add(outcome, "a line of the log".to_owned(), detail, || format!("line {line}"));
    }

    fn add(
        &mut self,
        outcome: Outcome,
        place: String,
        detail: &str,
        first: impl FnOnce() -> String,
    ) {
        let finding = self.findings.entry((outcome, place, detail.to_owned()));
        finding.or_insert_with(|| (0, first())).0 += 1;
    }
}

impl fmt::Display for ImportReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (turns, parts) = (self.turns, self.parts);
        write!(f, "{}, version {}: {turns} turns, {parts} parts", self.format, self.version)?;
        let mut last = None;
        for finding in self.findings() {
            if last != Some(finding.outcome) {
                write!(f, "\n{}: {}", finding.outcome, self.count(finding.outcome))?;
                last = Some(finding.outcome);
            }
            write!(f, "\n  {} × {}", finding.count, finding.place)?;
            if !finding.detail.is_empty() {
                write!(f, ": {}", finding.detail)?;
            }
            if finding.first != finding.place && finding.outcome > Outcome::Kept {
                write!(f, " (first: {})", finding.first)?;
            }
        }
        Ok(())
    }
}
