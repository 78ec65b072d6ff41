//! Unites the figures that several machines computed into several folders.

use super::figure::{About, Curves, MAX_TABLE_BYTES, Panel, Part, Row, not_used, read_rows, write_curves};
use super::job::{is_of, omitted};
use super::store::{self, Store};
use super::{ITEMS, Item, POINTS_FILE};
use crate::error::{Error, Result, shown};
use crate::files::write_atomically;
use crate::limits;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Maximum number of panels of a figure in a file, several times that of any figure.
const MOST_PANELS: usize = 64;

/// Result of [`merge`].
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Merged {
    /// The figures by their names, and the files written for each.
    pub figures: Vec<(&'static str, Vec<PathBuf>)>,
    /// What the user should know: seeds that several folders have, unfinished figures.
    pub notes: Vec<String>,
}

/// A figure in one of the folders.
struct Found<'a> {
    folder: &'a Path,
    about: About,
}

/// Unites the figures in `folders`, or only `item`, and writes them to `out`, where a later call of
/// [`reproduce`](super::reproduce) finds the points of all folders. Nothing is computed.
///
/// Values of different seeds join one curve. Times and memory are those of a machine, so different machines have curves of
/// their own in these figures. If several folders have the same seed, the value of the first one counts. Figures without curves
/// are taken from the first folder that has them.
///
/// # Errors
/// [`Error::Config`] naming two folders whose versions, scales, settings or data differ, or one without figures;
/// [`Error::Format`] for a damaged file; [`Error::Io`].
pub fn merge(folders: &[PathBuf], item: Option<&Item>, out: &Path) -> Result<Merged> {
    let same = |folder: &&PathBuf| matches!((folder.canonicalize(), out.canonicalize()), (Ok(a), Ok(b)) if a == b);
    if let Some(folder) = folders.iter().find(same) {
        return Err(Error::Config(format!(
            "{}: is one of the folders to merge, and would be overwritten; choose another folder with --out",
            shown(folder)
        )));
    }
    let mut merged = Merged::default();
    let mut ready = Vec::new();
    for item in ITEMS.iter().filter(|other| item.is_none_or(|item| item.name == other.name)) {
        let found = find(folders, item)?;
        for (k, other) in found.iter().enumerate() {
            found[..k].iter().try_for_each(|earlier| agree(earlier, other))?;
        }
        if !found.is_empty() {
            ready.push((item, unite(item, &found, &mut merged.notes)?, found));
        }
    }
    check_all_used(folders, item, &ready.iter().flat_map(|(_, _, found)| found).collect::<Vec<_>>())?;
    for folder in folders.iter().filter(|folder| folder.join("unfinished").is_dir()) {
        let folder = shown(folder);
        merged.notes.push(format!("{folder}: a figure is not finished there; repeat its command with --out {folder}"));
    }
    let points = folders.iter().map(|folder| store::points(folder)).collect::<Result<Vec<_>>>()?;
    let mut store = Store::open(out)?;
    points.into_iter().try_for_each(|points| store.unite(points))?;
    for (item, united, found) in ready {
        let files = match united {
            Some((about, curves, rows)) => {
                let by_machine = item.measures_machine && about.places().len() > 1;
                write_curves(out, about, curves, rows, by_machine)?
            }
            None => copy(item, found[0].folder, out)?,
        };
        merged.figures.push((item.name, files));
    }
    Ok(merged)
}

/// The item in the folders that have it.
fn find<'a>(folders: &'a [PathBuf], item: &Item) -> Result<Vec<Found<'a>>> {
    let mut found = Vec::new();
    for folder in folders {
        let path = folder.join(format!("{}.json", item.name));
        if !path.exists() {
            continue;
        }
        let text = limits::read_text(&path, MAX_TABLE_BYTES, "the facts of a figure")?;
        let about: About = serde_json::from_str(&text).map_err(|e| {
            Error::format(&path, format!("cannot be merged ({e}); compute the figure with this version of spikegrad"))
        })?;
        if about.curves.as_ref().is_some_and(|curves| curves.panels.len() > MOST_PANELS) {
            return Err(Error::format(&path, format!("has more than {MOST_PANELS} panels, the limit for a figure")));
        }
        // The name is that of the files to be written.
        found.push(Found { folder, about: About { name: item.name.into(), ..about } });
    }
    Ok(found)
}

/// Refuses folders that contribute nothing.
fn check_all_used(folders: &[PathBuf], item: Option<&Item>, found: &[&Found]) -> Result<()> {
    let unused = folders.iter().find(|folder| !found.iter().any(|found| found.folder == folder.as_path()));
    let Some(folder) = unused else { return Ok(()) };
    let (what, folder_shown) = (item.map_or("finished figure", |item| item.name), shown(folder));
    Err(Error::Config(match folder.join(POINTS_FILE).exists() {
        true => format!(
            "{folder_shown}: has no {what} yet; finish it there (--out {folder_shown}), or leave the folder out"
        ),
        false => format!("{folder_shown}: has no {what}; give folders written by reproduce --out"),
    }))
}

/// Checks that two folders computed an item in the same way.
fn agree(first: &Found, other: &Found) -> Result<()> {
    let (a, b) = (&first.about, &other.about);
    let differ = |what: &str, left: &dyn std::fmt::Display, right: &dyn std::fmt::Display| {
        Err(Error::Config(format!(
            "{} of {} and {} cannot be merged, since their {what} differ: {left} and {right}; compute both in the same way",
            a.name,
            shown(first.folder),
            shown(other.folder)
        )))
    };
    if a.spikegrad != b.spikegrad {
        return differ("versions", &a.spikegrad, &b.spikegrad);
    }
    let (Some(left), Some(right)) = (&a.curves, &b.curves) else { return Ok(()) };
    if a.scale != b.scale {
        return differ("scales", &format!("{:?}", a.scale).to_lowercase(), &format!("{:?}", b.scale).to_lowercase());
    }
    if a.settings != b.settings {
        return differ("settings", &a.settings, &b.settings);
    }
    if let Some((name, data)) = a.data.iter().find(|(name, data)| b.data.get(*name).is_some_and(|b| b != *data)) {
        return differ("data", data, b.data.get(name).unwrap_or(&Value::Null));
    }
    let axes = |panel: &Panel| (panel.x.clone(), panel.y.clone());
    let same = |panel: &Panel| right.panels.iter().all(|p| p.title != panel.title || axes(p) == axes(panel));
    match left.panels.iter().find(|panel| !same(panel)) {
        Some(panel) => differ("axes", &panel.title, &panel.title),
        None => Ok(()),
    }
}

/// The item of all folders; `None` if it has no curves.
fn unite(item: &Item, found: &[Found], notes: &mut Vec<String>) -> Result<Option<(About, Curves, Vec<Row>)>> {
    let first = &found[0];
    let Some(mut curves) = first.about.curves.clone() else { return Ok(None) };
    let mut rows = Rows { by_machine: item.measures_machine, ..Rows::default() };
    let mut about = About { place: None, parts: Vec::new(), ..first.about.clone() };
    for Found { folder, about: own } in found {
        let of = own.curves.as_ref().ok_or_else(|| {
            Error::format(folder.join(format!("{}.json", item.name)), "has no curves; compute the figure again")
        })?;
        for panel in &of.panels {
            if !curves.panels.iter().any(|known| known.title == panel.title) {
                curves.panels.push(panel.clone());
            }
        }
        let new: Vec<_> = of.notes.iter().filter(|note| !curves.notes.contains(note)).cloned().collect();
        curves.notes.extend(new);
        about.data.extend(own.data.clone());
        about.seeds.extend(&own.seeds);
        about.merged.extend(own.merged.iter().filter(|_| *folder != first.folder).cloned());
        let part = |place| Part { folder: shown(folder), seeds: own.seeds.clone(), place };
        about.parts.extend(own.place.clone().map(part).into_iter().chain(own.parts.clone()));
        let path = folder.join(format!("{}.csv", item.name));
        let known = rows.add(&path, read_rows(&path, &of.panels)?)?;
        if !known.is_empty() {
            notes.push(not_used(item, folder, known));
        }
    }
    // Data that one folder has may be missing in another.
    let has = |preset: &str| about.data.keys().any(|key| is_of(key, preset));
    curves.notes.retain(|note| !omitted(note).is_some_and(has));
    about.seeds.sort_unstable();
    about.seeds.dedup();
    Ok(Some((about, curves, rows.finished())))
}

/// Rows of several folders.
#[derive(Default)]
struct Rows {
    /// Whether rows of different machines stay apart.
    by_machine: bool,
    rows: Vec<Row>,
    /// The place of a row, by machine, panel, series and x.
    places: BTreeMap<([String; 2], String, String, u64), usize>,
    /// All machines and adapters.
    machines: Vec<[String; 2]>,
}

impl Rows {
    /// Adds the rows of a CSV; returns the seeds of values that are known already, and are not replaced.
    fn add(&mut self, path: &Path, rows: Vec<Row>) -> Result<Vec<u64>> {
        let mut known = Vec::new();
        for row in rows {
            if !self.machines.contains(&row.machine) {
                self.machines.push(row.machine.clone());
            }
            let machine = if self.by_machine { row.machine.clone() } else { Default::default() };
            let key = (machine, row.panel.clone(), row.series.clone(), row.x.to_bits());
            let at = *self.places.entry(key).or_insert(self.rows.len());
            if at == self.rows.len() {
                self.rows.push(Row { seeds: Vec::new(), values: Vec::new(), ..row.clone() });
            }
            known.extend(self.rows[at].join(&row, path)?);
        }
        Ok(known)
    }

    /// The rows. If machines do not stay apart, each names all of them.
    fn finished(mut self) -> Vec<Row> {
        if !self.by_machine {
            let all = |k: usize| {
                let mut names: Vec<&str> = Vec::new();
                // Rows that were merged before name several.
                for name in self.machines.iter().flat_map(|machine| machine[k].split("; ")) {
                    if !names.contains(&name) {
                        names.push(name);
                    }
                }
                names.join("; ")
            };
            let both = [all(0), all(1)];
            self.rows.iter_mut().for_each(|row| row.machine = both.clone());
        }
        self.rows
    }
}

/// Copies the files of a figure without curves.
fn copy(item: &Item, from: &Path, to: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for ending in ["csv", "png", "svg", "json"] {
        let name = format!("{}.{ending}", item.name);
        let bytes = limits::read(&from.join(&name), MAX_TABLE_BYTES, "a file of a figure")?;
        write_atomically(&to.join(&name), &bytes)?;
        files.push(to.join(&name));
    }
    Ok(files)
}
