//! `spikegrad reproduce`.

use super::manual::styled;
use super::progress::Progress;
use super::show::{clock, complain, say, warn};
use super::signals::stop_on_signal;
use super::{device, usage, whole, whole_of};
use anyhow::Result;
use spikegrad::Error;
use spikegrad::data::Cache;
use spikegrad::device::Device;
use spikegrad::reproduce::{self, ITEMS, Item, Options, Scale, page};
use spikegrad::results::check_folder;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

#[derive(clap::Args)]
#[command(after_help = styled("\
WHAT is table-3, fig-6 to fig-23, b-th, appendix-b, accuracy, or all; --list describes each.

Writes NAME.csv, NAME.png, NAME.svg and NAME.json (machine, adapter, versions, settings) to DIR, and an index.html with all figures in \
DIR. Finished points are kept in DIR/points.jsonl: after Ctrl-C the same command continues from there, and figures that \
need the same points share them. To recompute all points, use another DIR.

Examples:
  spikegrad reproduce fig-10 --quick --out figures
  # All figures, with the data sets that are not installed
  spikegrad reproduce all --quick --data nmnist=data/nmnist \\
      --data shd=data/shd --out figures
  # With the points of another machine
  spikegrad reproduce fig-21 --merge laptop/fig-21.csv --out figures
  # Seeds 3 to 5, on another machine; then all six in one folder
  spikegrad reproduce accuracy --seeds 3 --first-seed 3 --out more
  spikegrad reproduce --merge figures more --out all"))]
pub struct Arguments {
    /// The figure or table to compute, or all
    #[arg(required_unless_present_any = ["list", "merge"])]
    what: Option<String>,
    /// List the figures and tables, and what each measures
    #[arg(long)]
    list: bool,
    /// Number of seeds per point [default: 3, or 2 with --quick]
    #[arg(long, value_name = "K", value_parser = whole_of::<1, 1000>, allow_negative_numbers = true)]
    seeds: Option<u32>,
    /// The first seed; machines that compute the same figure need different ones
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = whole::<u32>, allow_negative_numbers = true)]
    first_seed: u32,
    /// Use smaller networks, fewer samples, epochs and repeats: about a minute per figure
    #[arg(long)]
    quick: bool,
    /// Folder to write the figures to
    #[arg(long, value_name = "DIR", default_value = "figures")]
    out: PathBuf,
    /// Folder with a data set's files, as SET=DIR, or a folder with subfolders fmnist, nmnist and shd; can be repeated
    #[arg(long, value_name = "[SET=]DIR")]
    data: Vec<String>,
    /// Compute on this device: auto, cpu, gpu or gpu:N
    #[arg(long, default_value = "auto", value_parser = device)]
    device: Device,
    /// Unite the figures in these folders in DIR and compute nothing; or add these CSV files of the same figure from other
    /// machines to the figure; can be repeated
    #[arg(long, value_name = "DIR|FILE.csv", num_args = 1..)]
    merge: Vec<PathBuf>,
    /// Neither read nor write the cached events in the user's cache folder
    #[arg(long)]
    no_cache: bool,
}

/// Computes what was asked for.
pub fn run(arguments: &Arguments) -> Result<ExitCode> {
    if arguments.list {
        ITEMS.iter().try_for_each(|item| say(format_args!("{:<11} {}. {}", item.name, item.title, item.measures)))?;
        return Ok(ExitCode::SUCCESS);
    }
    if let Some(missing) = arguments.merge.iter().find(|path| !path.exists()) {
        return Err(usage(format!("--merge: {}: does not exist", missing.display())));
    }
    if !arguments.merge.is_empty() && arguments.merge.iter().all(|path| path.is_dir()) {
        return merge_folders(arguments);
    }
    let Some(what) = arguments.what.as_deref() else {
        return Err(usage(
            "--merge: without the name of a figure, give folders written by reproduce; for CSV files, name their figure",
        ));
    };
    let items: Vec<&Item> = match what {
        "all" => ITEMS.iter().collect(),
        name => vec![reproduce::item(name).map_err(usage)?],
    };
    if let Some(folder) = arguments.merge.iter().find(|path| path.is_dir()) {
        return Err(usage(format!(
            "--merge: {}: is a folder; give either folders written by reproduce, or CSV files of the figure",
            folder.display()
        )));
    }
    if what == "all" && !arguments.merge.is_empty() {
        return Err(usage("--merge: cannot be used with all; name the figure that the CSV belongs to"));
    }
    let options = Options {
        out: arguments.out.clone(),
        device: arguments.device,
        seeds: arguments.seeds.map(|seeds| seeds as usize),
        first_seed: arguments.first_seed,
        scale: if arguments.quick { Scale::Quick } else { Scale::Full },
        data: reproduce::data_folders(&arguments.data).map_err(usage)?,
        cache: if arguments.no_cache { Cache::Off } else { Cache::User },
        merge: arguments.merge.clone(),
    };
    check_folder(&options.out)?;
    let words = "stopping soon; the same command continues from here. Press Ctrl-C again to quit immediately";
    let stop = stop_on_signal(Some(words))?;
    let (mut missing, mut failed) = (Vec::new(), false);
    let progress = Progress::new(true);
    for (k, item) in items.iter().enumerate() {
        let clock_of_item = Instant::now();
        complain(format_args!("{}: {}", item.name, item.measures));
        progress.stage(format!("{} ({} of {})", item.name, k + 1, items.len()));
        let done = reproduce::reproduce(item, &options, &stop, &mut |line| progress.aside(|| complain(line)));
        progress.clear();
        match done {
            Ok(done) => {
                done.notes.iter().for_each(|note| complain(format_args!("note: {note}")));
                let files: Vec<String> = done.files.iter().map(|file| file.display().to_string()).collect();
                let time = clock(clock_of_item.elapsed().as_secs_f64());
                let (computed, reused) = (done.computed, done.reused);
                say(format_args!(
                    "{}: {} ({computed} points computed, {reused} reused, {time})",
                    item.name,
                    files.join(" ")
                ))?;
            }
            // With several figures, the others are still computed.
            Err(e) if items.len() > 1 && !matches!(e, Error::Interrupted) => {
                warn(format_args!("skipped {}: {e}", item.name));
                failed |= !matches!(e, Error::Data(_) | Error::Unsupported(_));
                missing.push((item.name.to_string(), e.to_string()));
            }
            Err(e) => return Err(e.into()),
        }
        page::write(&options.out, &missing)?;
    }
    say(options.out.join(page::PAGE_FILE).display())?;
    // Missing data sets are not a failure.
    Ok(if failed || missing.len() == items.len() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Unites the figures in several folders.
fn merge_folders(arguments: &Arguments) -> Result<ExitCode> {
    if arguments.quick || arguments.seeds.is_some() || arguments.first_seed != 0 || !arguments.data.is_empty() {
        return Err(usage(
            "--merge: figures in folders are united as they are; leave out --quick, --seeds, --first-seed and --data",
        ));
    }
    let item = match arguments.what.as_deref() {
        None | Some("all") => None,
        Some(name) => Some(reproduce::item(name).map_err(usage)?),
    };
    check_folder(&arguments.out)?;
    let merged = reproduce::merge(&arguments.merge, item, &arguments.out)?;
    merged.notes.iter().for_each(warn);
    for (name, files) in &merged.figures {
        let files: Vec<String> = files.iter().map(|file| file.display().to_string()).collect();
        say(format_args!("{name}: {}", files.join(" ")))?;
    }
    say(page::write(&arguments.out, &[])?.display())?;
    Ok(ExitCode::SUCCESS)
}
