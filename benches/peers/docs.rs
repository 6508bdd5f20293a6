//! The figures of `docs/benchmarks.md`, between two marks of it.

use std::fmt::Write as _;
use std::path::Path;

use crate::harness::Result;
use crate::peers;
use crate::report::{Report, shown};

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

/// What one system does over another, at the largest size of each measurement.
fn compared(out: &mut String, report: &Report) -> Result<()> {
    let wanted = [
        ("append", "add a request", "times the bare write"),
        ("open", "open the newest 20", "times chatkeep on files"),
        ("list", "list the newest 50", "times chatkeep on files"),
        ("search", "newest, looked through", "times the `LIKE` scan"),
    ];
    for (group, what, by) in wanted {
        let rows = || report.rows.iter().filter(move |row| row.group == group && row.what == what);
        let Some(size) = rows().map(|row| row.size).max() else { continue };
        writeln!(out, "\n| {what}, {size} | {by} | bytes written | syncs | peak MB |")?;
        writeln!(out, "| --- | ---: | ---: | ---: | ---: |")?;
        for row in rows().filter(|row| row.size == size) {
            let cell = |value: Option<f64>| value.map_or_else(|| "–".to_owned(), shown);
            // Syncs are counted at one size alone.
            let syncs = rows().filter(|other| other.system == row.system).find_map(|it| it.syncs);
            let ratio = row.ratio.map_or_else(|| "1.00".to_owned(), shown);
            let (written, peak) = (cell(row.written), cell(row.peak_mb));
            writeln!(out, "| {} | {ratio} | {written} | {} | {peak} |", row.system, cell(syncs))?;
        }
    }
    Ok(())
}

/// How each system writes, as the page's readers see it.
pub(crate) fn systems() -> String {
    let lines = peers::all().into_iter().map(|entry| format!("  {:<24} {}", entry.name, entry.how));
    lines.collect::<Vec<_>>().join("\n")
}
