//! Computes the figures and tables of the paper's supplement.
//!
//! [`ITEMS`] lists them. [`reproduce`] computes one and writes it to a folder; [`merge`] unites such folders of several machines:
//!
//! | file | content |
//! |---|---|
//! | `NAME.csv` | all points: mean, standard error, the value of each seed, and the paper's value if it is known |
//! | `NAME.png`, `NAME.svg` | the figure |
//! | `NAME.json` | machine, adapter, versions, settings |
//! | `points.jsonl` | the finished points of all figures, from which a later call continues |
//! | `unfinished/` | interrupted training runs |
//! | `index.html` | all figures of the folder on one page ([`page`]) |

mod data;
mod figure;
mod gradient;
mod job;
mod machine;
mod memory;
mod merge;
mod operations;
pub mod page;
pub mod paper;
mod settings;
mod speed;
mod store;
mod timing;
mod training;

pub use machine::Machine;
pub use merge::{Merged, merge};
pub use store::POINTS_FILE;

use crate::data::{Cache, data_set, fashion_mnist};
use crate::device::Device;
use crate::error::{Error, Result, did_you_mean};
use figure::Figure;
use job::FigureJob;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

/// A figure or table.
pub struct Item {
    /// Its name on the command line and in file names.
    pub name: &'static str,
    /// The title of the figure.
    pub title: &'static str,
    /// What it measures.
    pub measures: &'static str,
    /// Whether that are times or memory, which are those of a machine.
    measures_machine: bool,
    compute: fn(&mut FigureJob) -> Result<Figure>,
}

/// The item measures the machine.
const MACHINE: bool = true;
/// It measures networks, or shows settings or data.
const OTHER: bool = false;

macro_rules! items {
    ($($name:literal, $title:literal, $measures:literal, $of:ident, $compute:expr;)*) => {
        &[$(Item { name: $name, title: $title, measures: $measures, measures_machine: $of, compute: $compute }),*]
    };
}

/// All figures and tables, in the order of the supplement.
pub const ITEMS: &[Item] = items! {
    "table-3", "Table 3: settings of each preset",
        "The settings of our presets and of the paper's.", OTHER, settings::table_3;
    "fig-6", "Figure 6: Fashion-MNIST as spikes", "Samples of the data, from the front and from the side.", OTHER, data::fig_6;
    "fig-7", "Figure 7: N-MNIST as spikes", "Samples of the data, from the front and from the side.", OTHER, data::fig_7;
    "fig-8", "Figure 8: SHD as spikes", "Samples of the data: unit over time.", OTHER, data::fig_8;
    "fig-9", "Figure 9: activity by hidden neurons",
        "Active entries of both hidden layers after training.", OTHER, training::fig_9;
    "fig-10", "Figure 10: loss over epochs", "Training loss with the masked and the unmasked gradient.", OTHER, training::fig_10;
    "fig-11", "Figure 11: forward time by hidden neurons", "Time of the forward pass.", MACHINE, timing::fig_11;
    "fig-12", "Figure 12: forward time by batch", "Time of the forward pass.", MACHINE, timing::fig_12;
    "fig-13", "Figure 13: backward time by hidden neurons", "Time of the backward pass.", MACHINE, timing::fig_13;
    "fig-14", "Figure 14: backward time by batch", "Time of the backward pass.", MACHINE, timing::fig_14;
    "fig-15", "Figure 15: memory by hidden neurons", "Memory of a training step.", MACHINE, memory::fig_15;
    "fig-16", "Figure 16: memory by batch", "Memory of a training step.", MACHINE, memory::fig_16;
    "fig-17", "Figure 17: memory by time steps", "Memory of a training step.", MACHINE, memory::fig_17;
    "fig-18", "Figure 18: memory by hidden layers", "Memory of a training step.", MACHINE, memory::fig_18;
    "fig-19", "Figure 19: memory saved", "1 - sparse/dense of a training step's memory.", MACHINE, memory::fig_19;
    "fig-20", "Figure 20: speed-up of the backward pass", "Dense / sparse of the backward pass.", MACHINE, timing::fig_20;
    "fig-21", "Figure 21: speed-up of the whole training step", "Dense / sparse of the step.", MACHINE, timing::fig_21;
    "fig-22", "Figure 22: a deep network", "Loss, accuracy and activity of each layer over epochs.", OTHER, training::fig_22;
    "fig-23", "Figure 23: masked and unmasked gradient", "Their difference during training.", OTHER, gradient::fig_23;
    "b-th", "The backward threshold", "Speed, activity and accuracy over B_th.", MACHINE, speed::b_th;
    "appendix-b", "Appendix B: counted and predicted operations",
        "Multiply-adds that the kernels execute, compared with the predicted complexity.", OTHER, operations::appendix_b;
    "accuracy", "Test accuracy of each preset", "Test accuracy with the masked and unmasked gradient.", OTHER, training::accuracy;
};

/// How much is computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
// The hidden variant is for tests; it does not make the enum extensible.
#[allow(clippy::manual_non_exhaustive)]
pub enum Scale {
    /// All samples, the paper's sizes and epochs.
    #[default]
    Full,
    /// About a minute per figure on two cores.
    Quick,
    /// The minimum that executes all code, for tests.
    #[doc(hidden)]
    Tiny,
}

/// Options of [`reproduce`].
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// The folder for the figures.
    pub out: PathBuf,
    /// The device on which to compute.
    pub device: Device,
    /// Number of seeds per point; `None` is 3, or 2 for a quick figure.
    pub seeds: Option<usize>,
    /// The first of the seeds.
    pub first_seed: u32,
    /// How much is computed.
    pub scale: Scale,
    /// Folders of data sets by name (`fmnist`, `nmnist`, `shd`). Others are searched in the default locations.
    pub data: BTreeMap<String, PathBuf>,
    /// Where recordings are cached.
    pub cache: Cache,
    /// CSV files of the same figure from other machines, to be added to the figure.
    pub merge: Vec<PathBuf>,
}

/// Result of a call of [`reproduce`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Done {
    /// The files written.
    pub files: Vec<PathBuf>,
    /// Number of points computed in this call.
    pub computed: usize,
    /// Number of points computed in earlier calls.
    pub reused: usize,
    /// Notes: data that are missing or replaced by others.
    pub notes: Vec<String>,
}

/// The item with this name.
///
/// # Errors
/// [`Error::Config`] listing all names.
pub fn item(name: &str) -> Result<&'static Item> {
    ITEMS.iter().find(|item| item.name == name).ok_or_else(|| {
        let names: Vec<&str> = ITEMS.iter().map(|item| item.name).collect();
        let like = did_you_mean(name, names.iter().copied());
        Error::Config(format!("unknown figure or table `{name}`: must be all or one of {}{like}", names.join(", ")))
    })
}

/// Computes an item and writes its files, continuing from the points of earlier calls. When `stop` is set, it ends with
/// [`Error::Interrupted`]. `tell` is called with progress messages.
///
/// # Errors
/// [`Error::Field`] for an invalid option, [`Error::Data`] if data are missing, [`Error::Interrupted`], and errors of files
/// and devices.
pub fn reproduce(item: &Item, options: &Options, stop: &AtomicBool, tell: &mut dyn FnMut(&str)) -> Result<Done> {
    if options.seeds == Some(0) {
        return Err(Error::field("seeds", 0, "1 or more"));
    }
    options.merge.iter().try_for_each(|path| figure::check_table(path))?;
    let mut job = FigureJob::new(options, stop, tell)?;
    let figure = (item.compute)(&mut job)?;
    let files = figure::write(item, figure, &mut job)?;
    Ok(Done { files, computed: job.computed, reused: job.reused, notes: job.notes })
}

/// Parses `--data`: each word is `SET=DIR`, or a `DIR` that contains the files of data sets, directly or in subfolders
/// named after the sets. Returns the folders by data set.
///
/// # Errors
/// [`Error::Config`] for an unknown set, or a folder without files of a data set.
pub fn data_folders(words: &[String]) -> Result<BTreeMap<String, PathBuf>> {
    type Holds = fn(&Path) -> bool;
    let sets: [(&str, Holds); 3] = [
        ("fmnist", |folder| fashion_mnist::locate(Some(folder)).is_ok()),
        ("nmnist", |folder| crate::data::nmnist::halves(folder).is_ok()),
        ("shd", |folder| crate::data::shd::halves(folder).is_ok()),
    ];
    let mut folders = BTreeMap::new();
    for word in words {
        if let Some((set, folder)) = word.split_once('=') {
            if !sets.iter().any(|(name, _)| *name == set) {
                return Err(Error::Config(format!(
                    "--data {word}: unknown data set `{set}`: must be fmnist, nmnist or shd"
                )));
            }
            folders.insert(set.to_string(), PathBuf::from(folder));
            continue;
        }
        let folder = Path::new(word);
        let before = folders.len();
        for (set, holds) in &sets {
            let places = [folder.to_path_buf(), folder.join(set)];
            if let Some(place) = places.into_iter().find(|place| holds(place)) {
                folders.insert(set.to_string(), place);
            }
        }
        if folders.len() == before {
            return Err(Error::Config(format!(
                "--data {word}: neither the folder nor its subfolders fmnist, nmnist and shd contain the files of a data \
                 set; give one as SET=DIR"
            )));
        }
    }
    Ok(folders)
}

/// The name of a preset's data set, for titles.
fn usual_name(preset: &str) -> &'static str {
    match data_set(preset) {
        "fmnist" => fashion_mnist::NAME,
        "nmnist" => "N-MNIST",
        _ => "SHD",
    }
}
