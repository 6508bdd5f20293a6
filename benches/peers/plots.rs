//! The plots of `docs/benchmarks/`: SVG, both axes logarithmic.

use std::path::Path;

use plotters::prelude::*;

use crate::harness::Result;
use crate::report::{Report, Row};

/// A plot: which rows it shows, and what of them.
struct Plot {
    file: &'static str,
    title: &'static str,
    group: &'static str,
    what: &'static str,
    across: &'static str,
    up: &'static str,
    value: fn(&Row) -> Option<f64>,
}

const PLOTS: &[Plot] = &[
    Plot {
        file: "append.svg",
        title: "Adding one durable request to a session",
        group: "append",
        what: "add a request",
        across: "turns in the session",
        up: "times the bare write + fdatasync",
        value: |row| row.ratio,
    },
    Plot {
        file: "bytes.svg",
        title: "Bytes written for one exchange of 2 × 540 bytes",
        group: "append",
        what: "add a request",
        across: "turns in the session",
        up: "bytes written over payload",
        value: |row| row.written.map(|written| written / (2 * crate::data::MESSAGE) as f64),
    },
    Plot {
        file: "open.svg",
        title: "Opening the newest 20 turns of a session",
        group: "open",
        what: "open the newest 20",
        across: "turns in the session",
        up: "times chatkeep on files, at the same size",
        value: |row| row.ratio,
    },
    Plot {
        file: "list.svg",
        title: "Listing the newest 50 sessions",
        group: "list",
        what: "list the newest 50",
        across: "sessions",
        up: "times chatkeep on files, at the same size",
        value: |row| row.ratio,
    },
    Plot {
        file: "search.svg",
        title: "Searching, newest first, the slowest class of questions",
        group: "search",
        what: crate::search::SLOWEST,
        across: "messages",
        up: "milliseconds, p50",
        value: |row| row.p50_us.map(|p50| p50 / 1e3),
    },
];

const COLOURS: [RGBColor; 10] = [
    RGBColor(0, 114, 178),
    RGBColor(86, 180, 233),
    RGBColor(0, 158, 115),
    RGBColor(213, 94, 0),
    RGBColor(230, 159, 0),
    RGBColor(204, 121, 167),
    RGBColor(120, 94, 240),
    RGBColor(140, 86, 75),
    RGBColor(70, 70, 70),
    RGBColor(160, 160, 160),
];

/// The points of one system.
struct Line {
    system: String,
    points: Vec<(f64, f64)>,
}

/// Writes every plot of which this run has the figures. Returns the names of the files.
pub(crate) fn draw(report: &Report, folder: &Path) -> Result<Vec<&'static str>> {
    std::fs::create_dir_all(folder)?;
    let mut drawn = Vec::new();
    for plot in PLOTS {
        let lines = lines_of(report, plot);
        if lines.iter().any(|line| line.points.len() > 1) {
            draw_one(plot, &lines, &folder.join(plot.file))?;
            drawn.push(plot.file);
        }
    }
    Ok(drawn)
}

fn lines_of(report: &Report, plot: &Plot) -> Vec<Line> {
    let mut lines: Vec<Line> = Vec::new();
    for row in report.rows.iter().filter(|row| row.group == plot.group && row.what == plot.what) {
        let Some(value) = (plot.value)(row).filter(|value| *value > 0.0) else { continue };
        let point = (row.size as f64, value);
        match lines.iter_mut().find(|line| line.system == row.system) {
            Some(line) => line.points.push(point),
            None => lines.push(Line { system: row.system.clone(), points: vec![point] }),
        }
    }
    lines
}

/// From the least to the greatest of some figures, with room around them.
fn range(figures: impl Iterator<Item = f64>) -> std::ops::Range<f64> {
    let (least, greatest) =
        figures.fold((f64::MAX, f64::MIN), |(low, high), it| (low.min(it), high.max(it)));
    least / 1.5..greatest * 1.5
}

fn draw_one(plot: &Plot, lines: &[Line], path: &Path) -> Result<()> {
    let points = || lines.iter().flat_map(|line| &line.points);
    let (across, up) = (range(points().map(|point| point.0)), range(points().map(|point| point.1)));
    let area = SVGBackend::new(path, (860, 520)).into_drawing_area();
    area.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&area)
        .caption(plot.title, ("sans-serif", 20))
        .margin(12)
        .margin_right(230)
        .x_label_area_size(44)
        .y_label_area_size(72)
        .build_cartesian_2d(across.log_scale(), up.log_scale())?;
    chart
        .configure_mesh()
        .light_line_style(WHITE)
        .x_desc(plot.across)
        .y_desc(plot.up)
        .x_label_formatter(&|value| tick(*value))
        .y_label_formatter(&|value| tick(*value))
        .draw()?;
    for (line, colour) in lines.iter().zip(COLOURS.iter().cycle()) {
        let style = colour.stroke_width(2);
        chart.draw_series(LineSeries::new(line.points.iter().copied(), style).point_size(3))?;
    }
    legend(&area, lines)?;
    area.present()?;
    Ok(())
}

/// The systems' names beside the plot, the one that ends highest first.
fn legend(
    area: &DrawingArea<SVGBackend<'_>, plotters::coord::Shift>,
    lines: &[Line],
) -> Result<()> {
    let mut named: Vec<(&Line, &RGBColor)> = lines.iter().zip(COLOURS.iter().cycle()).collect();
    let last = |line: &Line| line.points.last().map_or(0.0, |point| point.1);
    named.sort_by(|a, b| last(b.0).total_cmp(&last(a.0)));
    for (place, (line, colour)) in (0..).zip(named) {
        let y = 60 + place * 24;
        let mark = PathElement::new(vec![(640, y + 7), (662, y + 7)], colour.stroke_width(3));
        area.draw(&mark)?;
        area.draw(&Text::new(line.system.clone(), (670, y), ("sans-serif", 14)))?;
    }
    Ok(())
}

fn tick(value: f64) -> String {
    if value >= 1.0 { format!("{value:.0}") } else { format!("{value}") }
}
