//! Finished figures and the files written for them.

use super::job::FigureJob;
use super::machine::Machine;
use super::{Item, Scale};
use crate::error::{Error, Result, shown};
use crate::files::write_atomically;
use crate::limits;
use crate::plot::{self, Chart, ChartAxis, ChartPanel, Colour, Series, Style, Table, save_chart, save_table};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Maximum size of a figure's CSV in bytes.
pub(super) const MAX_TABLE_BYTES: u64 = 64 << 20;

/// A panel of a figure.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Panel {
    /// Its title.
    pub title: String,
    /// The horizontal axis.
    pub x: ChartAxis,
    /// The vertical axis.
    pub y: ChartAxis,
    /// A horizontal line, such as a ratio of 1.
    pub level: Option<f64>,
}

/// A point of a curve, with one value per seed.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// Machine and adapter on which it was measured; empty for this machine.
    pub machine: [String; 2],
    /// The panel's title.
    pub panel: String,
    /// Name of the curve.
    pub series: String,
    /// Value on the horizontal axis.
    pub x: f64,
    /// One value per seed.
    pub values: Vec<f64>,
    /// The seeds of the values; empty if not known.
    pub seeds: Vec<u64>,
    /// The paper's value, if it is known.
    pub paper: Option<f64>,
}

/// The result of an item.
pub struct Figure {
    /// Caption, to which seeds, scale, notes and machine are added.
    pub caption: String,
    /// What is drawn.
    pub content: Content,
    /// Settings of the computation, for the JSON file.
    pub settings: Value,
    /// The adapter on which it was computed.
    pub adapter: String,
}

/// The contents of a figure.
pub enum Content {
    /// Curves with standard errors.
    Curves {
        /// The panels.
        panels: Vec<Panel>,
        /// Their points.
        rows: Vec<Row>,
        /// Legend of the paper's values.
        paper: String,
    },
    /// Clouds of dots, and their CSV.
    Clouds {
        /// The panels.
        panels: Vec<ChartPanel>,
        /// Names of the columns.
        head: Vec<String>,
        /// The cells.
        rows: Vec<Vec<String>>,
    },
    /// A table, with some cells highlighted.
    Table {
        /// Names of the columns.
        head: Vec<String>,
        /// The cells.
        rows: Vec<Vec<(String, bool)>>,
    },
}

impl Row {
    /// A point of this machine.
    pub fn new(panel: &str, series: &str, x: f64, values: Vec<f64>) -> Self {
        let machine = [String::new(), String::new()];
        Row { machine, panel: panel.into(), series: series.into(), x, values, seeds: Vec::new(), paper: None }
    }

    /// Sets the paper's value.
    pub fn paper(self, paper: Option<f64>) -> Self {
        Row { paper, ..self }
    }

    /// Whether both are the same point of the same curve.
    fn is_same_point(&self, other: &Row) -> bool {
        (&self.machine, &self.panel, &self.series, self.x.to_bits())
            == (&other.machine, &other.panel, &other.series, other.x.to_bits())
    }

    /// Adds the values of the same point for other seeds; returns the seeds of values that are known already, and are not replaced.
    ///
    /// # Errors
    /// [`Error::Format`] of the file `path` that has `other`, if its seeds are not known.
    pub(super) fn join(&mut self, other: &Row, path: &Path) -> Result<Vec<u64>> {
        if other.seeds.len() != other.values.len() {
            return Err(Error::format(
                path,
                format!(
                    "{}, {} = {}: the seeds of its {} values are not known; compute the figure again",
                    other.panel,
                    other.series,
                    other.x,
                    other.values.len()
                ),
            ));
        }
        self.paper = self.paper.or(other.paper);
        let mut known = Vec::new();
        for (&seed, &value) in other.seeds.iter().zip(&other.values) {
            match self.seeds.binary_search(&seed) {
                Ok(_) => known.push(seed),
                Err(place) => {
                    self.seeds.insert(place, seed);
                    self.values.insert(place, value);
                }
            }
        }
        Ok(known)
    }

    /// Mean over the seeds, and its standard error, which is 0 for a single seed.
    pub fn mean_and_error(&self) -> (f64, f64) {
        let n = self.values.len() as f64;
        let mean = self.values.iter().sum::<f64>() / n;
        let squares: f64 = self.values.iter().map(|v| (v - mean).powi(2)).sum();
        (mean, if self.values.len() > 1 { (squares / (n - 1.0) / n).sqrt() } else { 0.0 })
    }
}

/// The columns of a CSV with curves. Earlier versions wrote no seeds.
pub const COLUMNS: [&str; 12] = [
    "machine",
    "adapter",
    "panel",
    "series",
    "x_name",
    "x",
    "y_name",
    "mean",
    "standard_error",
    "values",
    "paper",
    "seeds",
];

/// What `NAME.json` says of a figure.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct About {
    pub name: String,
    pub title: String,
    pub measures: String,
    pub caption: String,
    /// The version that computed it.
    pub spikegrad: String,
    /// Where it was computed; omitted if it is merged from `parts`.
    #[serde(flatten)]
    pub place: Option<Place>,
    /// The folders from which it was merged.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parts: Vec<Part>,
    pub scale: Scale,
    pub seeds: Vec<u64>,
    /// CSV files of other machines that were added.
    pub merged: Vec<String>,
    pub settings: Value,
    /// The data by their names: sizes of their sets.
    #[serde(default)]
    pub data: BTreeMap<String, Value>,
    /// How it is drawn, if it consists of curves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub curves: Option<Curves>,
}

/// A machine and its adapter.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Place {
    pub machine: Machine,
    pub adapter: String,
}

/// A folder from which a figure was merged.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Part {
    pub folder: String,
    pub seeds: Vec<u64>,
    #[serde(flatten)]
    pub place: Place,
}

/// What a figure of curves needs to be drawn, besides its rows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Curves {
    /// The beginning of the caption.
    pub text: String,
    pub notes: Vec<String>,
    pub panels: Vec<Panel>,
    /// Legend of the paper's values.
    pub paper: String,
}

impl Place {
    /// Machine and adapter in rows.
    pub fn names(&self) -> [String; 2] {
        [self.machine.short(), self.adapter.clone()]
    }
}

impl About {
    /// All places where the figure was computed, each once.
    pub fn places(&self) -> Vec<&Place> {
        let mut places: Vec<&Place> = Vec::new();
        for place in self.place.iter().chain(self.parts.iter().map(|part| &part.place)) {
            if !places.contains(&place) {
                places.push(place);
            }
        }
        places
    }
}

/// The caption of a figure of curves: how it was computed, of how many seeds and where.
fn caption(about: &About, curves: &Curves, rows: &[Row]) -> String {
    let counts = || rows.iter().map(|row| row.values.len());
    let seeds = match (counts().min().unwrap_or(0), counts().max().unwrap_or(0)) {
        (1, 1) => "One seed.".into(),
        (least, most) if least == most => format!("Mean ± standard error over {most} seeds."),
        (least, most) => format!("Mean ± standard error over {least} to {most} seeds."),
    };
    let scale = match about.scale {
        Scale::Full => "",
        Scale::Quick => " Quick: fewer samples, epochs, sizes and repeats than the full figure.",
        Scale::Tiny => " Tiny: a test of the program, not a measurement.",
    };
    let notes: String = curves.notes.iter().map(|note| format!(" {}.", note.trim_end_matches('.'))).collect();
    let places: Vec<String> = about.places().iter().map(|place| place.names().join(", ")).collect();
    format!("{} {seeds}{scale}{notes} {}; spikegrad {}.", curves.text, places.join("; "), about.spikegrad)
}

/// Writes CSV, pictures and the settings of a figure into the folder, and returns their paths.
pub fn write(item: &Item, figure: Figure, job: &mut FigureJob) -> Result<Vec<PathBuf>> {
    let Figure { caption: mut text, content, settings, adapter } = figure;
    let place = Place { machine: Machine::here(), adapter };
    let mut about = About {
        name: item.name.into(),
        title: job.title(item.title),
        measures: item.measures.into(),
        caption: String::new(),
        spikegrad: env!("CARGO_PKG_VERSION").into(),
        place: Some(place.clone()),
        parts: Vec::new(),
        scale: job.options.scale,
        seeds: job.seeds(),
        merged: job.options.merge.iter().map(|path| shown(path)).collect(),
        settings,
        data: job.data_keys(),
        curves: None,
    };
    let folder = &job.options.out;
    match content {
        Content::Curves { panels, mut rows, paper } => {
            for row in &mut rows {
                row.machine = place.names();
                // A method that does not fit into memory may lack some seeds; which ones is not known then.
                row.seeds = if row.values.len() == about.seeds.len() { about.seeds.clone() } else { Vec::new() };
            }
            for path in &job.options.merge {
                let mut known = Vec::new();
                for row in read_rows(path, &panels)? {
                    // The paper's values are only drawn with this machine's rows.
                    let row = row.paper(None);
                    match rows.iter_mut().find(|own| own.is_same_point(&row)) {
                        // A machine of the same kind.
                        Some(own) if own.seeds.len() == own.values.len() => known.extend(own.join(&row, path)?),
                        _ => rows.push(row),
                    }
                }
                if !known.is_empty() {
                    job.note(not_used(item, path, known));
                }
            }
            about.seeds = rows.iter().flat_map(|row| &row.seeds).copied().chain(about.seeds).collect();
            about.seeds.sort_unstable();
            about.seeds.dedup();
            let curves = Curves { text, notes: job.notes.clone(), panels, paper };
            write_curves(folder, about, curves, rows, !job.options.merge.is_empty())
        }
        _ if !job.options.merge.is_empty() => {
            Err(Error::Config(format!("--merge: {} has no curves to merge with those of another machine", item.name)))
        }
        content => {
            // Settings and samples of data are not measured.
            job.notes.iter().for_each(|note| text.push_str(&format!(" {}.", note.trim_end_matches('.'))));
            about.caption = text;
            write_files(folder, &about, content, false)
        }
    }
}

/// That values of these seeds in a file or folder to be merged are not used.
pub(super) fn not_used(item: &Item, path: &Path, mut seeds: Vec<u64>) -> String {
    seeds.sort_unstable();
    seeds.dedup();
    let seeds: Vec<String> = seeds.iter().map(u64::to_string).collect();
    format!("{}: {}: not used for seeds {}, which are known already", item.name, shown(path), seeds.join(", "))
}

/// Writes a figure of curves, whose caption is completed. With `by_machine`, the legend names the machines of the curves.
pub fn write_curves(
    folder: &Path,
    mut about: About,
    curves: Curves,
    rows: Vec<Row>,
    by_machine: bool,
) -> Result<Vec<PathBuf>> {
    about.caption = caption(&about, &curves, &rows);
    let content = Content::Curves { panels: curves.panels.clone(), rows, paper: curves.paper.clone() };
    about.curves = Some(curves);
    write_files(folder, &about, content, by_machine)
}

fn write_files(folder: &Path, about: &About, content: Content, by_machine: bool) -> Result<Vec<PathBuf>> {
    let file = |ending: &str| folder.join(format!("{}.{ending}", about.name));
    write_atomically(&file("csv"), &csv(&content)?)?;
    let (title, caption) = (about.title.clone(), about.caption.clone());
    let pictures = plot::files(folder, &about.name);
    match content {
        Content::Curves { panels, rows, paper } => {
            let hollow = if rows.iter().any(|row| row.paper.is_some()) { paper } else { String::new() };
            let columns = if panels.len() == 4 { 2 } else { panels.len().min(3) };
            let panels = panels.iter().map(|panel| chart_panel(panel, &rows, by_machine)).collect();
            let chart = Chart { title, caption, panels, columns, hollow };
            pictures.iter().try_for_each(|path| save_chart(path, &chart))?;
        }
        Content::Clouds { panels, .. } => {
            let chart = Chart { title, caption, panels, columns: 2, hollow: String::new() };
            pictures.iter().try_for_each(|path| save_chart(path, &chart))?;
        }
        Content::Table { head, rows } => {
            let table = Table { title, caption, head, rows };
            pictures.iter().try_for_each(|path| save_table(path, &table))?;
        }
    }
    let text = serde_json::to_string_pretty(about).map_err(|e| Error::format(file("json"), e.to_string()))?;
    write_atomically(&file("json"), text.as_bytes())?;
    Ok([file("csv")].into_iter().chain(pictures).chain([file("json")]).collect())
}

/// A panel with its curves in the order of their first occurrence in `rows`. Curves with the same name have the same
/// colour in all panels.
fn chart_panel(panel: &Panel, rows: &[Row], by_machine: bool) -> ChartPanel {
    let name = |row: &Row| match by_machine {
        // For the cpu device, the processor's name says more than that of the adapter.
        true if row.machine[1].starts_with("cpu") => format!("{}, {}", row.series, row.machine[0]),
        true => format!("{}, {}", row.series, row.machine[1]),
        false => row.series.clone(),
    };
    let mut names: Vec<String> = Vec::new();
    for row in rows {
        if !names.contains(&name(row)) {
            names.push(name(row));
        }
    }
    let mut series = Vec::new();
    let count = names.len();
    for (k, curve) in names.into_iter().enumerate() {
        let mut own: Vec<&Row> = rows.iter().filter(|row| row.panel == panel.title && name(row) == curve).collect();
        if own.is_empty() {
            continue;
        }
        // Folders that were merged may have had different points.
        own.sort_by(|a, b| a.x.total_cmp(&b.x));
        let colour = Colour::of(k, count);
        let paper: Vec<_> = own.iter().filter_map(|row| Some((row.x, row.paper?, 0.0))).collect();
        let points = own.iter().map(|row| {
            let (mean, error) = row.mean_and_error();
            (row.x, mean, error)
        });
        series.push(Series { name: curve, colour, style: Style::Line, points: points.collect() });
        if !paper.is_empty() {
            series.push(Series { name: String::new(), colour, style: Style::Hollow, points: paper });
        }
    }
    let Panel { title, x, y, level } = panel.clone();
    ChartPanel { title, x, y, series, level, equal_units: false }
}

fn csv(content: &Content) -> Result<Vec<u8>> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    let failed = |e: csv::Error| Error::Data(format!("a table cannot be written as CSV: {e}"));
    match content {
        Content::Curves { panels, rows, .. } => {
            writer.write_record(COLUMNS).map_err(failed)?;
            for row in rows {
                let panel = panels.iter().find(|panel| panel.title == row.panel);
                let (x_name, y_name) = panel.map_or(("", ""), |panel| (&*panel.x.name, &*panel.y.name));
                let (mean, error) = row.mean_and_error();
                let values: Vec<String> = row.values.iter().map(f64::to_string).collect();
                let paper = row.paper.map_or(String::new(), |x| x.to_string());
                let seeds: Vec<String> = row.seeds.iter().map(u64::to_string).collect();
                let [machine, adapter] = &row.machine;
                let (x, mean, error) = (row.x.to_string(), mean.to_string(), error.to_string());
                let (values, seeds) = (values.join(" "), seeds.join(" "));
                let (panel, series) = (&row.panel, &row.series);
                let cells: [&str; COLUMNS.len()] =
                    [machine, adapter, panel, series, x_name, &x, y_name, &mean, &error, &values, &paper, &seeds];
                writer.write_record(cells).map_err(failed)?;
            }
        }
        Content::Clouds { head, rows, .. } => {
            writer.write_record(head).map_err(failed)?;
            rows.iter().try_for_each(|row| writer.write_record(row)).map_err(failed)?;
        }
        Content::Table { head, rows } => {
            writer.write_record(head).map_err(failed)?;
            rows.iter().try_for_each(|row| writer.write_record(row.iter().map(|(cell, _)| cell))).map_err(failed)?;
        }
    }
    writer.into_inner().map_err(|e| Error::Data(format!("a table cannot be written as CSV: {e}")))
}

/// Checks that a file is the CSV of a figure with curves.
///
/// # Errors
/// [`Error::Format`]; [`Error::Io`].
pub fn check_table(path: &Path) -> Result<()> {
    let bytes = limits::read(path, MAX_TABLE_BYTES, "the table of a figure")?;
    check_columns(&mut csv::Reader::from_reader(&bytes[..]), path)
}

fn check_columns(reader: &mut csv::Reader<&[u8]>, path: &Path) -> Result<()> {
    let head = reader.headers().map_err(|e| Error::format(path, e.to_string()))?;
    if head.iter().ne(COLUMNS) && head.iter().ne(COLUMNS[..COLUMNS.len() - 1].iter().copied()) {
        let what = format!("not the CSV of a figure with curves: its columns are not {}", COLUMNS.join(","));
        return Err(Error::format(path, what));
    }
    Ok(())
}

/// Reads the rows of a CSV of the figure with these panels.
///
/// # Errors
/// [`Error::Format`] naming the line, if the columns differ, the figure does not have a panel, or a number is invalid.
pub fn read_rows(path: &Path, panels: &[Panel]) -> Result<Vec<Row>> {
    let bytes = limits::read(path, MAX_TABLE_BYTES, "the table of a figure")?;
    let mut reader = csv::Reader::from_reader(&bytes[..]);
    let bad = |what: String| Error::format(path, what);
    check_columns(&mut reader, path)?;
    let mut rows = Vec::new();
    for (k, record) in reader.records().enumerate() {
        let record = record.map_err(|e| bad(e.to_string()))?;
        let cell = |c: usize| record.get(c).unwrap_or_default();
        let line = k + 2;
        let number = |text: &str, name: &str| {
            text.parse::<f64>().map_err(|_| bad(format!("line {line}: {name} = `{text}` is not a number")))
        };
        let seed = |text: &str| {
            text.parse::<u64>().map_err(|_| bad(format!("line {line}: `{text}` in seeds is not a whole number")))
        };
        let Some(panel) = panels.iter().find(|panel| panel.title == cell(2)) else {
            let expected: Vec<&str> = panels.iter().map(|panel| panel.title.as_str()).collect();
            let expected = expected.join("`, `");
            return Err(bad(format!("line {line}: the figure has no panel `{}`, only `{expected}`", cell(2))));
        };
        for (c, name) in [(4, &panel.x.name), (6, &panel.y.name)] {
            if cell(c) != name {
                let what = "give the table of the same figure, written by the same version";
                return Err(bad(format!(
                    "line {line}: {} is `{}`, the figure has `{name}`; {what}",
                    COLUMNS[c],
                    cell(c)
                )));
            }
        }
        rows.push(Row {
            machine: [cell(0).into(), cell(1).into()],
            panel: cell(2).into(),
            series: cell(3).into(),
            x: number(cell(5), "x")?,
            values: cell(9).split_whitespace().map(|word| number(word, "a value")).collect::<Result<_>>()?,
            seeds: cell(11).split_whitespace().map(seed).collect::<Result<_>>()?,
            paper: Some(cell(10)).filter(|text| !text.is_empty()).map(|text| number(text, "paper")).transpose()?,
        });
    }
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn panels() -> Vec<Panel> {
        let (x, y) = (ChartAxis::log("N"), ChartAxis::log("ms"));
        vec![Panel { title: "Fashion-MNIST, backward".into(), x, y, level: None }]
    }

    #[test]
    fn the_standard_error_is_that_of_the_mean() {
        let (mean, error) = Row::new("", "", 0.0, vec![1.0, 2.0, 3.0, 6.0]).mean_and_error();
        assert!((mean - 3.0).abs() < 1e-12 && (error - (14.0_f64 / 3.0 / 4.0).sqrt()).abs() < 1e-12);
        assert_eq!(Row::new("", "", 0.0, vec![5.0]).mean_and_error(), (5.0, 0.0));
    }

    #[test]
    fn a_table_reads_back_and_others_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("fig.csv");
        let row = Row {
            machine: ["Machine, the \"first\"".into(), "gpu".into()],
            paper: Some(2.0),
            seeds: vec![3, 4],
            ..Row::new(&panels()[0].title, "sparse", 200.0, vec![0.1, 0.30000000000000004])
        };
        let content = Content::Curves { panels: panels(), rows: vec![row.clone()], paper: String::new() };
        let bytes = csv(&content).unwrap();
        std::fs::write(&path, &bytes).unwrap();
        assert_eq!(read_rows(&path, &panels()).unwrap(), [row]);
        let text = String::from_utf8(bytes).unwrap();
        for (from, to, parts) in [
            ("x_name", "other", ["columns", "fig.csv"]),
            ("200", "many", ["line 2", "`many`"]),
            ("3 4", "3 -4", ["line 2", "`-4`"]),
            ("Fashion-MNIST, b", "MNIST, b", ["line 2", "`MNIST, backward`"]),
            // Of another figure with the same panels.
            (",N,", ",T,", ["x_name is `T`", "the figure has `N`"]),
            (",ms,", ",MiB,", ["y_name is `MiB`", "the figure has `ms`"]),
        ] {
            std::fs::write(&path, text.replace(from, to)).unwrap();
            let error = read_rows(&path, &panels()).unwrap_err().to_string();
            assert!(parts.iter().all(|part| error.contains(part)), "{error}");
        }
    }
}
