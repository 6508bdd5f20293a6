//! What was found: the table, and `target/bench/peers.json`.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::harness::{Result, Samples};

/// A figure that has a bound.
pub(crate) struct Key {
    pub(crate) name: &'static str,
    pub(crate) group: &'static str,
    pub(crate) what: &'static str,
    pub(crate) bound: f64,
}

/// Every figure that has a bound.
pub(crate) const KEYS: &[Key] = &[
    Key {
        name: "append.file.vs_limit",
        group: "append",
        bound: 1.5,
        what: "p50 of one durable request added to the largest session, index on, over the bare \
               write + fdatasync of the same line; the larger ratio of both façades",
    },
    Key {
        name: "append.file.flatness",
        group: "append",
        bound: 1.3,
        what: "the same, the largest session over the smallest",
    },
    Key {
        name: "append.file.log_ratio",
        group: "append",
        bound: 2.0,
        what: "bytes of log over payload, whole turns, sealing and compaction included",
    },
    Key {
        name: "append.file.index_ratio",
        group: "append",
        bound: 15.0,
        what: "bytes of index written at 100 appends/s over payload",
    },
    Key {
        name: "append.sqlite.vs_limit",
        group: "append",
        bound: 2.0,
        what: "one session alone, over a raw single-row insert at `synchronous=FULL`; the larger \
               ratio of both façades",
    },
    Key {
        name: "append.sqlite.group_commit",
        group: "append",
        bound: 0.25,
        what: "time per append with 64 sessions at once over one alone",
    },
    Key {
        name: "stream.burst.bytes_ratio",
        group: "stream",
        bound: 3.0,
        what: "100 KB in 5-character chunks as fast as they come, bytes of log over payload",
    },
    Key {
        name: "stream.paced.bytes_ratio",
        group: "stream",
        bound: 10.0,
        what: "50 chunks/s at the default durability, bytes of log over payload",
    },
    Key {
        name: "stream.paced.fsyncs_per_s",
        group: "stream",
        bound: 11.0,
        what: "the same, syncs per second",
    },
    Key {
        name: "stream.chunk_us_mean",
        group: "stream",
        bound: 5.0,
        what: "microseconds that the caller spends per chunk with one subscriber, mean",
    },
    Key { name: "stream.chunk_us_p99", group: "stream", bound: 50.0, what: "the same, p99" },
    Key {
        name: "open.newest20.flatness",
        group: "open",
        bound: 2.0,
        what: "opening the newest 20 turns, the largest session over the smallest",
    },
    Key {
        name: "open.newest20.peak_mb",
        group: "open",
        bound: 16.0,
        what: "megabytes by which peak memory grows when the largest session is opened",
    },
    Key {
        name: "open.full.vs_limit",
        group: "open",
        bound: 2.0,
        what: "whole restore of the largest session, every part touched, over parsing the same \
               bytes into plain structs",
    },
    Key {
        name: "list.flatness",
        group: "list",
        bound: 2.0,
        what: "newest 50 of many sessions over of few",
    },
    Key {
        name: "list.cold_ms",
        group: "list",
        bound: 100.0,
        what: "milliseconds of a new process, index valid, to the first page",
    },
    Key {
        name: "list.rebuild_s",
        group: "list",
        bound: 3.0,
        what: "seconds of a new process, index deleted, to the first complete page",
    },
    Key {
        name: "search.newest.p99_vs_scan",
        group: "search",
        bound: 0.05,
        what: "newest first, p99 of the slowest query class, over the p50 of a full `LIKE` scan \
               of the same text",
    },
    Key {
        name: "search.owner.p99_ms",
        group: "search",
        bound: 20.0,
        what: "milliseconds for an owner with 0.1 % of the messages, p99 of the slowest class",
    },
    Key {
        name: "search.relevance.p99_ms",
        group: "search",
        bound: 100.0,
        what: "milliseconds by relevance, common words included, p99 of the slowest class",
    },
    Key {
        name: "index.cost",
        group: "append",
        bound: 2.5,
        what: "sustained appends/s without the index over with it",
    },
];

/// A figure of this run.
#[derive(Serialize)]
pub(crate) struct Figure {
    pub(crate) value: Option<f64>,
    pub(crate) bound: f64,
    pub(crate) ok: Option<bool>,
    pub(crate) what: &'static str,
    /// At which size, or why it was not.
    pub(crate) measured: String,
}

/// One system at one size; what was not measured is left out.
#[derive(Default, Clone, Serialize)]
pub(crate) struct Row {
    pub(crate) group: &'static str,
    pub(crate) what: String,
    pub(crate) system: String,
    pub(crate) size: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) p50_us: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) p99_us: Option<f64>,
    /// Bytes that a new process writes for an exchange.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) written: Option<f64>,
    /// Its syncs for an exchange.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) syncs: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) peak_mb: Option<f64>,
    /// Its p50 over that of what the group measures itself by.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) ratio: Option<f64>,
}

impl Row {
    pub(crate) fn new(group: &'static str, what: &str, system: &str, size: u64) -> Self {
        Self { group, what: what.to_owned(), system: system.to_owned(), size, ..Self::default() }
    }

    pub(crate) fn times(mut self, samples: &Samples) -> Self {
        (self.p50_us, self.p99_us) = (Some(samples.p50()), samples.p99_of_many());
        self
    }

    /// Beside the p50 of something else, in microseconds.
    pub(crate) fn over(mut self, limit: f64) -> Self {
        self.ratio = self.p50_us.map(|p50| p50 / limit);
        self
    }

    /// Its p99 over the same.
    pub(crate) fn p99_ratio(&self) -> Option<f64> {
        Some(self.p99_us? * self.ratio? / self.p50_us?)
    }
}

/// Everything that was found.
pub(crate) struct Report {
    quick: bool,
    groups: Vec<&'static str>,
    figures: BTreeMap<&'static str, Figure>,
    pub(crate) rows: Vec<Row>,
    /// What else a figure's reader should know.
    notes: Vec<String>,
}

#[derive(Serialize)]
struct Document<'a> {
    quick: bool,
    keys: &'a BTreeMap<&'static str, Figure>,
    rows: &'a [Row],
    notes: &'a [String],
}

impl Report {
    pub(crate) fn new(quick: bool, groups: &[&'static str]) -> Self {
        let not_run = |key: &Key| Figure {
            value: None,
            bound: key.bound,
            ok: None,
            what: key.what,
            measured: "not in this run".to_owned(),
        };
        let figures = KEYS.iter().map(|key| (key.name, not_run(key))).collect();
        let (rows, notes) = (Vec::new(), Vec::new());
        Self { quick, groups: groups.to_vec(), figures, rows, notes }
    }

    /// Sets the figure of a key; `measured` says at which size.
    pub(crate) fn set(
        &mut self,
        name: &str,
        value: f64,
        measured: impl Into<String>,
    ) -> Result<()> {
        let figure = self.figures.get_mut(name).ok_or_else(|| format!("no key is named {name}"))?;
        figure.ok = Some(value <= figure.bound);
        figure.value = value.is_finite().then_some(value);
        figure.measured = measured.into();
        eprintln!("   {name}: {}", shown(value));
        Ok(())
    }

    /// Says why a key has no figure.
    pub(crate) fn lacks(&mut self, name: &str, why: &str) -> Result<()> {
        let figure = self.figures.get_mut(name).ok_or_else(|| format!("no key is named {name}"))?;
        figure.measured = why.to_owned();
        Ok(())
    }

    pub(crate) fn row(&mut self, row: Row) {
        self.rows.push(row);
    }

    pub(crate) fn note(&mut self, note: impl Into<String>) {
        let note = note.into();
        eprintln!("   {note}");
        self.notes.push(note);
    }

    pub(crate) fn notes(&self) -> &[String] {
        &self.notes
    }

    pub(crate) fn figures(&self) -> impl Iterator<Item = (&'static Key, &Figure)> {
        KEYS.iter().filter_map(|key| Some((key, self.figures.get(key.name)?)))
    }

    /// The sizes at which this was measured, ascending.
    pub(crate) fn sizes(&self, group: &str, what: &str) -> BTreeSet<u64> {
        let rows = self.rows.iter().filter(|row| row.group == group && row.what == what);
        rows.map(|row| row.size).collect()
    }

    fn in_run(&self) -> impl Iterator<Item = (&'static Key, &Figure)> {
        self.figures().filter(|(key, _)| self.groups.contains(&key.group))
    }

    /// The keys of this run without a figure, and why.
    pub(crate) fn missing(&self) -> Vec<String> {
        let missing = self.in_run().filter(|(_, figure)| figure.value.is_none());
        missing.map(|(key, figure)| format!("{} ({})", key.name, figure.measured)).collect()
    }

    /// The keys of this run over their bounds.
    pub(crate) fn over(&self) -> Vec<String> {
        let over = self.in_run().filter(|(_, figure)| figure.ok == Some(false));
        over.map(|(key, figure)| {
            let value = figure.value.map_or_else(String::new, shown);
            format!("{}: {value}, at most {}", key.name, key.bound)
        })
        .collect()
    }

    pub(crate) fn print(&self) {
        println!("{:<28} {:>10} {:>8}  {:<4} measured", "key", "value", "at most", "");
        for (key, figure) in self.figures() {
            let value = figure.value.map_or_else(|| "–".to_owned(), shown);
            let verdict = figure.ok.map_or("", |ok| if ok { "ok" } else { "OVER" });
            println!(
                "{:<28} {value:>10} {:>8}  {verdict:<4} {}",
                key.name, key.bound, figure.measured
            );
        }
        self.print_rows();
        for note in &self.notes {
            println!("note: {note}");
        }
    }

    fn print_rows(&self) {
        println!(
            "\n{:<28} {:<25} {:>9} {:>10} {:>10} {:>9} {:>11} {:>6} {:>8}",
            "what",
            "system",
            "size",
            "p50 µs",
            "p99 µs",
            "ratio",
            "bytes/exch.",
            "syncs",
            "peak MB"
        );
        let cell = |value: Option<f64>| value.map_or_else(|| "–".to_owned(), shown);
        for row in &self.rows {
            println!(
                "{:<28} {:<25} {:>9} {:>10} {:>10} {:>9} {:>11} {:>6} {:>8}",
                row.what,
                row.system,
                row.size,
                cell(row.p50_us),
                cell(row.p99_us),
                cell(row.ratio),
                cell(row.written),
                cell(row.syncs),
                cell(row.peak_mb)
            );
        }
    }

    /// Writes `bench/peers.json` into the target folder.
    pub(crate) fn write(&self, folder: &Path) -> Result<PathBuf> {
        let (keys, rows, notes) = (&self.figures, &*self.rows, &*self.notes);
        let document = Document { quick: self.quick, keys, rows, notes };
        let path = folder.join("peers.json");
        std::fs::write(&path, serde_json::to_vec_pretty(&document)?)?;
        Ok(path)
    }
}

/// A figure with as many digits as mean something.
pub(crate) fn shown(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        size if size >= 0.1 => format!("{value:.2}"),
        _ => format!("{value:.4}"),
    }
}
