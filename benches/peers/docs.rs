//! The figures of `docs/benchmarks.md`, between two marks of it.

use std::fmt::Write as _;
use std::path::Path;

use crate::data::Class;
use crate::harness::Result;
use crate::report::{Report, shown};
use crate::{peers, search};

const BEGIN: &str = "<!-- figures: begin -->\n";
const END: &str = "<!-- figures: end -->";

/// Writes the figures of this run into the page, and its plots beside it.
pub(crate) fn write(report: &Report, docs: &Path) -> Result<()> {
    let drawn = crate::plots::draw(report, &docs.join("benchmarks"))?;
    let path = docs.join("benchmarks.md");
    let page = std::fs::read_to_string(&path)?;
    let marks = || format!("{} has not the two marks around its figures", path.display());
    let (before, rest) = page.split_once(BEGIN).ok_or_else(marks)?;
    let (_, after) = rest.split_once(END).ok_or_else(marks)?;
    let figures = figures(report, &drawn)?;
    std::fs::write(&path, format!("{before}{BEGIN}{figures}{END}{after}"))?;
    Ok(())
}

fn figures(report: &Report, drawn: &[&str]) -> Result<String> {
    let mut out = String::new();
    writeln!(
        out,
        "| key | what | value | at most | measured |\n| --- | --- | ---: | ---: | --- |"
    )?;
    for (key, figure) in report.figures() {
        let value = figure.value.map_or_else(|| "–".to_owned(), shown);
        let value = if figure.ok == Some(false) { format!("**{value}**") } else { value };
        let (name, what, bound, at) = (key.name, key.what, key.bound, &figure.measured);
        writeln!(out, "| `{name}` | {what} | {value} | {bound} | {at} |")?;
    }
    for file in drawn {
        writeln!(out, "\n![{}](benchmarks/{file})", file.trim_end_matches(".svg"))?;
    }
    compared(&mut out, report)?;
    for note in report.notes() {
        writeln!(out, "\n{note}")?;
    }
    Ok(out)
}

/// A table: its first column names the systems, and columns in which nobody has a figure are left
/// out.
struct Table {
    title: String,
    columns: Vec<String>,
    lines: Vec<(String, Vec<Option<f64>>)>,
}

impl Table {
    fn write(&self, out: &mut String) -> Result<()> {
        let has_figure = |place: &usize| {
            self.lines.iter().any(|(_, line)| line.get(*place).is_some_and(Option::is_some))
        };
        let places: Vec<usize> = (0..self.columns.len()).filter(has_figure).collect();
        let heads = places.iter().filter_map(|place| self.columns.get(*place));
        let heads: Vec<&str> = heads.map(String::as_str).collect();
        writeln!(out, "\n| {} | {} |", self.title, heads.join(" | "))?;
        writeln!(out, "| ---{} |", " | ---:".repeat(heads.len()))?;
        for (system, line) in &self.lines {
            let cell = |place: &usize| {
                line.get(*place).copied().flatten().map_or_else(|| "–".to_owned(), shown)
            };
            let cells: Vec<String> = places.iter().map(cell).collect();
            writeln!(out, "| {system} | {} |", cells.join(" | "))?;
        }
        Ok(())
    }
}

/// What one system does over another, at the largest size of each measurement; of searches at
/// every size.
fn compared(out: &mut String, report: &Report) -> Result<()> {
    let wanted = [
        ("append", "add a request", "turns", "times the bare write"),
        ("open", "open the newest 20", "turns", "times chatkeep on files"),
        ("list", "list the newest 50", "sessions", "times chatkeep on files"),
    ];
    for (group, what, unit, by) in wanted {
        let sizes = report.sizes(group, what);
        if let Some(size) = sizes.last() {
            of_size(report, (group, what), *size, (unit, by)).write(out)?;
        }
    }
    for size in report.sizes("search", search::SLOWEST) {
        searched(report, size).write(out)?;
    }
    Ok(())
}

fn of_size(
    report: &Report,
    (group, what): (&str, &str),
    size: u64,
    (unit, by): (&str, &str),
) -> Table {
    let rows = || report.rows.iter().filter(move |row| row.group == group && row.what == what);
    // Syncs are counted at one size alone.
    let synced = rows().find(|row| row.syncs.is_some()).map_or(size, |row| row.size);
    let lines = rows().filter(|row| row.size == size).map(|row| {
        let syncs = rows().filter(|other| other.system == row.system).find_map(|it| it.syncs);
        (row.system.clone(), vec![row.ratio, row.p99_ratio(), row.written, syncs, row.peak_mb])
    });
    Table {
        title: format!("{what}, {size} {unit}"),
        columns: vec![
            format!("{by}, p50"),
            "the same, p99".to_owned(),
            format!("bytes written per exchange, {size} {unit}"),
            format!("syncs per exchange, {synced} {unit}"),
            format!("peak MB, {size} {unit}"),
        ],
        lines: lines.collect(),
    }
}

/// Every class of question, as times the scan of the same messages.
fn searched(report: &Report, size: u64) -> Table {
    let rows = || report.rows.iter().filter(move |row| row.group == "search" && row.size == size);
    let mut lines = Vec::new();
    for way in search::WAYS {
        let of = |system: &str, class: Class| {
            let what = way.asks(class);
            rows().find(|row| row.system == system && row.what == what).and_then(|row| row.ratio)
        };
        let first = way.asks(Class::Rare);
        for row in rows().filter(|row| row.what == first) {
            let line = Class::ALL.map(|class| of(&row.system, class));
            lines.push((format!("{}, {}", row.system, way.name()), line.to_vec()));
        }
    }
    Table {
        title: format!("search, {size} messages, times the scan, p50"),
        columns: Class::ALL.map(|class| class.name().to_owned()).to_vec(),
        lines,
    }
}

/// How each system writes, as the page's readers see it.
pub(crate) fn systems() -> String {
    let lines = peers::all().into_iter().map(|entry| format!("  {:<24} {}", entry.name, entry.how));
    lines.collect::<Vec<_>>().join("\n")
}
