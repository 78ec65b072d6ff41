//! Every figure and table of the paper's supplement, computed anew: a name, a command, a picture.
//!
//! [`ITEMS`] lists them. [`reproduce`] computes one into a folder:
//!
//! | file | what it is |
//! |---|---|
//! | `NAME.csv` | every point: mean, standard error, the value of each seed, and the paper's value where it is known |
//! | `NAME.png` | the picture |
//! | `NAME.json` | machine, adapter, versions, settings |
//! | `points.jsonl` | what is finished of all figures; a later call goes on from there |
//! | `unfinished/` | training runs that were interrupted |
//! | `index.html` | all figures of the folder on one page ([`page`]) |

mod data;
mod figure;
mod gradient;
mod job;
mod machine;
mod memory;
mod operations;
pub mod page;
pub mod paper;
mod settings;
mod speed;
mod store;
mod timing;
mod training;

pub use machine::Machine;
pub use store::POINTS_FILE;

use crate::data::{Cache, data_set};
use crate::device::Device;
use crate::error::{Error, Result};
use figure::Figure;
use job::Job;
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

/// A figure or table.
pub struct Item {
    /// Its name on the command line, and of its files.
    pub name: &'static str,
    /// The title of its picture.
    pub title: &'static str,
    /// What it measures.
    pub measures: &'static str,
    compute: fn(&mut Job) -> Result<Figure>,
}

macro_rules! items {
    ($($name:literal, $title:literal, $measures:literal, $compute:expr;)*) => {
        &[$(Item { name: $name, title: $title, measures: $measures, compute: $compute }),*]
    };
}

/// All of them, in the order of the supplement.
pub const ITEMS: &[Item] = items! {
    "table-3", "Table 3: settings of each preset",
        "The settings that ours and the paper's presets train with.", settings::table_3;
    "fig-6", "Figure 6: Fashion-MNIST as spikes", "Samples of the data, from the front and from the side.", data::fig_6;
    "fig-7", "Figure 7: N-MNIST as spikes", "Samples of the data, from the front and from the side.", data::fig_7;
    "fig-8", "Figure 8: SHD as spikes", "Samples of the data: unit by time.", data::fig_8;
    "fig-9", "Figure 9: activity by hidden neurons",
        "Active entries of both hidden layers after training.", training::fig_9;
    "fig-10", "Figure 10: loss over epochs", "Training loss with the sparse and the whole gradient.", training::fig_10;
    "fig-11", "Figure 11: forward time by hidden neurons", "Time of the forward pass.", timing::fig_11;
    "fig-12", "Figure 12: forward time by batch", "Time of the forward pass.", timing::fig_12;
    "fig-13", "Figure 13: backward time by hidden neurons", "Time of the backward pass.", timing::fig_13;
    "fig-14", "Figure 14: backward time by batch", "Time of the backward pass.", timing::fig_14;
    "fig-15", "Figure 15: memory by hidden neurons", "Memory of a training step.", memory::fig_15;
    "fig-16", "Figure 16: memory by batch", "Memory of a training step.", memory::fig_16;
    "fig-17", "Figure 17: memory by time steps", "Memory of a training step.", memory::fig_17;
    "fig-18", "Figure 18: memory by hidden layers", "Memory of a training step.", memory::fig_18;
    "fig-19", "Figure 19: memory saved", "1 - sparse/dense of a training step's memory.", memory::fig_19;
    "fig-20", "Figure 20: speed-up of the backward pass", "Dense / sparse of the backward pass.", timing::fig_20;
    "fig-21", "Figure 21: speed-up of the whole training step", "Dense / sparse of the step.", timing::fig_21;
    "fig-22", "Figure 22: a deep network", "Loss, accuracy and activity of each layer over epochs.", training::fig_22;
    "fig-23", "Figure 23: sparse against whole gradient", "How far they differ as training goes on.", gradient::fig_23;
    "b-th", "The backward threshold", "Speed, activity and accuracy over B_th.", speed::b_th;
    "appendix-b", "Appendix B: counted and predicted operations",
        "Multiply-adds that the kernels execute, beside those that the complexity predicts.", operations::appendix_b;
    "accuracy", "Test accuracy of each preset", "Test accuracy with the sparse and the whole gradient.", training::accuracy;
};

/// How much is computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "snake_case")]
// The hidden variant is one that tests ask for, not a mark that others may follow.
#[allow(clippy::manual_non_exhaustive)]
pub enum Scale {
    /// All samples, the paper's sizes and epochs.
    #[default]
    Full,
    /// About a minute for each on two cores.
    Quick,
    /// As little as goes through all of the code: for tests.
    #[doc(hidden)]
    Tiny,
}

/// What is asked for.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// The folder of the figures.
    pub out: PathBuf,
    /// Where training and measuring is done.
    pub device: Device,
    /// Seeds of each point; `None` is 3, or 2 of a quick figure.
    pub seeds: Option<usize>,
    /// How much is computed.
    pub scale: Scale,
    /// Folders of data sets by name (`fmnist`, `nmnist`, `shd`); those that are not here are where they are usually
    /// installed, or are missing.
    pub data: BTreeMap<String, PathBuf>,
    /// Where recordings are kept once they are read.
    pub cache: Cache,
    /// CSV files of the same figure from other machines, drawn with this one's.
    pub merge: Vec<PathBuf>,
}

/// What a call has done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Done {
    /// What was written.
    pub files: Vec<PathBuf>,
    /// Points computed in this call.
    pub computed: usize,
    /// Points that earlier calls had computed.
    pub reused: usize,
    /// What is said with the figure: data that are missing or stand in for others.
    pub notes: Vec<String>,
}

/// The item of this name.
///
/// # Errors
/// [`Error::Config`] with all names.
pub fn item(name: &str) -> Result<&'static Item> {
    ITEMS.iter().find(|item| item.name == name).ok_or_else(|| {
        let names: Vec<&str> = ITEMS.iter().map(|item| item.name).collect();
        Error::Config(format!("nothing is called `{name}`; there are {} and all", names.join(", ")))
    })
}

/// Computes an item and writes its files, going on from where an earlier call stopped. Once `stop` is set, it ends soon
/// with [`Error::Interrupted`]; `tell` hears how far it is.
///
/// # Errors
/// [`Error::Field`] for an option that cannot work, [`Error::Data`] where the data are not there,
/// [`Error::Interrupted`], and what files and devices say.
pub fn reproduce(item: &Item, options: &Options, stop: &AtomicBool, tell: &mut dyn FnMut(&str)) -> Result<Done> {
    if options.seeds == Some(0) {
        return Err(Error::field("seeds", 0, "1 or more"));
    }
    let mut job = Job::new(options, stop, tell)?;
    let figure = (item.compute)(&mut job)?;
    let files = figure::write(item, figure, &job)?;
    Ok(Done { files, computed: job.computed, reused: job.reused, notes: job.notes })
}

/// Folders by data set, from words of a command line: `SET=DIR`, or a `DIR` that holds the files of sets, itself or in
/// folders of the sets' names.
///
/// # Errors
/// [`Error::Config`] for a set that is none, or a folder that holds nothing known.
pub fn data_folders(words: &[String]) -> Result<BTreeMap<String, PathBuf>> {
    type Holds = fn(&Path) -> bool;
    let sets: [(&str, Holds); 3] = [
        ("fmnist", |folder| crate::data::fashion_mnist::locate(Some(folder)).is_ok()),
        ("nmnist", |folder| crate::data::nmnist::halves(folder).is_ok()),
        ("shd", |folder| crate::data::shd::halves(folder).is_ok()),
    ];
    let mut folders = BTreeMap::new();
    for word in words {
        if let Some((set, folder)) = word.split_once('=') {
            if !sets.iter().any(|(name, _)| *name == set) {
                return Err(Error::Config(format!(
                    "--data {word}: no data set is called `{set}`; use fmnist, nmnist or shd"
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
                "--data {word}: neither it nor its folders fmnist, nmnist, shd hold the files of a data set; name one as \
                 SET=DIR"
            )));
        }
    }
    Ok(folders)
}

/// The name of a preset's data, as a title without data at hand has it.
fn usual_name(preset: &str) -> &'static str {
    match data_set(preset) {
        "fmnist" => "Fashion-MNIST",
        "nmnist" => "N-MNIST",
        _ => "SHD",
    }
}
