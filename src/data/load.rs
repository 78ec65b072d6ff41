//! Loads a data set: finds its files, reads them or the cache, checks that they fit the network, and splits off validation
//! samples.

use super::cache::{self, Cache};
use super::fashion_mnist::{self, Origin};
use super::formats;
use super::latency::LatencyCode;
use super::recorded::{self, RecordedSet};
use super::recordings::{Bins, Extents, Half, LoadProgress, Recordings, collect};
use super::samples::load_samples;
use super::source::{DataConfig, Shape};
use super::split::{self, Validation};
use super::survey::{Survey, Surveyed, SurveyedHalf};
use super::{DataSet, EVENTS, OWN, data_set, doubts, dropped};
use crate::error::{Error, Result, short_name, shown};
use crate::events::EventSet;
use crate::network::Network;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Time steps beyond which times without a unit are doubted: seven times those of SHD's longest sample.
const MANY_STEPS: usize = 10_000;

/// Options for loading data.
#[derive(Clone, Default)]
pub struct LoadOptions<'a> {
    /// The folder with the files; `None` for that of `reading`.
    pub folder: Option<&'a Path>,
    /// Where the data are and how they are read. Without a path, the default locations are searched.
    pub reading: DataConfig,
    /// Which training samples are held out for validation.
    pub validation: Validation,
    /// Load samples to classify, of any known format: the test half of the data, or all of them if they have no halves, as the
    /// test set, in their order. They need not have labels, and what holds samples out is ignored. `folder` names them;
    /// `reading` says how and where the network's own data are.
    pub whole: bool,
    /// Test only on recordings of these speakers (SHD); empty for all.
    pub test_speakers: Vec<u32>,
    /// Skip and list damaged recordings instead of failing.
    pub skip_bad: bool,
    /// Where recordings are cached.
    pub cache: Cache,
    /// Called from time to time with the progress of reading.
    pub progress: Option<&'a (dyn Fn(LoadProgress) + Sync)>,
}

impl LoadOptions<'_> {
    /// The path that was given.
    pub(super) fn path(&self) -> Option<&Path> {
        self.folder.or(self.reading.path.as_deref())
    }
}

/// Loads the data of `preset` (`fmnist`, `nmnist`, `shd`), encoded for `network`, from the folder `data` or the default
/// location.
///
/// # Errors
/// As [`load_with`].
pub fn load(preset: &str, data: Option<&Path>, network: &Network) -> Result<DataSet> {
    load_with(preset, network, &LoadOptions { folder: data, ..LoadOptions::default() })
}

/// [`load`] with all options.
///
/// # Errors
/// [`Error::Config`] for an unknown name or an invalid network; [`Error::Data`] if the data do not fit the network or
/// cannot be split as requested; [`Error::Format`] if files are missing or damaged, naming the file, the byte and what was
/// expected; [`Error::Io`].
pub fn load_with(preset: &str, network: &Network, options: &LoadOptions) -> Result<DataSet> {
    load_again(preset, network, options, None)
}

/// [`load_with`] after a [`survey`](super::survey) of the same data with the same options, which may have read them already.
///
/// # Errors
/// As [`load_with`].
pub fn load_surveyed(preset: &str, network: &Network, options: &LoadOptions, survey: Survey) -> Result<DataSet> {
    load_again(preset, network, options, survey.events)
}

fn load_again(preset: &str, network: &Network, options: &LoadOptions, surveyed: Option<Surveyed>) -> Result<DataSet> {
    network.check()?;
    options.validation.check()?;
    options.reading.check()?;
    let mut data = load_as_it_is(preset, network, options, surveyed)?;
    name_classes(&mut data, &options.reading.class_names, network.classes())?;
    Ok(data)
}

/// Gives the classes the names of a configuration, if it has any: those of the network's outputs, whatever the data say.
fn name_classes(data: &mut DataSet, names: &[String], classes: usize) -> Result<()> {
    if names.is_empty() {
        return Ok(());
    }
    if names.len() != classes {
        let given = format!("{} names", names.len());
        return Err(Error::field("data.class_names", given, format!("a name for each of the {classes} classes")));
    }
    // The file of SHD may have fuenf for fünf.
    let spelled = |names: &[String], c: usize| names.get(c).map(|name| name.replace('ü', "ue"));
    let most = if data.class_names.is_empty() { 0 } else { names.len().max(data.class_names.len()) };
    if let Some(c) = (0..most).find(|&c| spelled(&data.class_names, c) != spelled(names, c)) {
        let name =
            |names: &[String]| names.get(c).and_then(|name| short_name(name)).unwrap_or_else(|| "nameless".into());
        data.warnings.push(format!(
            "{}: class {c} is {}, but was {} in training; labels are taken as numbers, and the names of all classes are those of \
             training (data.class_names)",
            data.name,
            name(&data.class_names),
            name(names)
        ));
    }
    data.class_names = names.to_vec();
    Ok(())
}

fn load_as_it_is(
    preset: &str,
    network: &Network,
    options: &LoadOptions,
    surveyed: Option<Surveyed>,
) -> Result<DataSet> {
    if options.whole {
        return load_samples(preset, network, options);
    }
    if data_set(preset) == OWN {
        return load_own(network, options);
    }
    let bins = Bins { time_steps: network.time_steps, dt_ms: network.dt_ms, clock: options.reading.clock };
    let extents = Extents { inputs: network.inputs, classes: network.classes() };
    let loaded = match data_set(preset) {
        "fmnist" => {
            load_fashion_mnist(options.path(), &LatencyCode::new(bins.time_steps, bins.dt_ms), extents.classes)?
        }
        EVENTS => load_events(extents, &bins, options, surveyed)?,
        other => match RecordedSet::of(other) {
            Some(kind) => load_recordings(kind, extents, &bins, options)?,
            None => {
                return Err(Error::Config(format!(
                    "unknown data set {preset}: must be fmnist, nmnist, shd or {EVENTS}"
                )));
            }
        },
    };
    let Loaded { train, test, origin, subset, name, class_names, shape, mut warnings, latency_coded } = loaded;
    warnings.extend(doubts::classes(&[&train.set, &test.set]));
    // Training requires labels and checks that there are; prediction does not.
    for half in [&train.set, &test.set] {
        half.labelled().check_fits(network.inputs, network.time_steps, network.classes())?;
    }
    let test_numbers = test.numbers();
    let (set, validation) = options.validation.split(train.set, &train.speakers)?;
    let (test_set, test_numbers) = match options.test_speakers.is_empty() {
        true => (test.set, test_numbers),
        false => (split::by_speakers(&test.set, &options.test_speakers, &test.speakers)?, Vec::new()),
    };
    let held_out = validation.as_ref().map(|held| {
        let n = thousands(held.len());
        format!("; {n} training samples held out for validation ({})", options.validation)
    });
    let origin = origin + &held_out.unwrap_or_default();
    let bad = [train.bad, test.bad].concat();
    let (train, test) = (Arc::new(set), test_set);
    Ok(DataSet {
        train,
        validation,
        test,
        test_files: Vec::new(),
        test_numbers,
        name,
        class_names,
        shape,
        origin,
        subset,
        bad,
        warnings,
        latency_coded,
    })
}

/// Loads custom data from the file given by the options.
#[cfg(feature = "runs")]
fn load_own(network: &Network, options: &LoadOptions) -> Result<DataSet> {
    let path =
        options.path().ok_or_else(|| Error::Config("custom data require a file; set data.path (--data)".into()))?;
    let data = super::own::read(path)?;
    if options.validation.is_on() {
        return Err(Error::field(
            "validation",
            &options.validation,
            "none for custom data: hold samples out beforehand",
        ));
    }
    for half in [&*data.train, &data.test].into_iter().chain(&data.validation) {
        half.labelled().check_fits(network.inputs, network.time_steps, network.classes())?;
    }
    data.check_class_names(network.classes()).map_err(|e| Error::format(path, e.to_string()))?;
    Ok(data)
}

#[cfg(not(feature = "runs"))]
fn load_own(_network: &Network, _options: &LoadOptions) -> Result<DataSet> {
    Err(Error::Unsupported("custom data require the feature `runs`, without which spikegrad was built".into()))
}

/// Both halves, before validation samples are split off.
struct Loaded {
    train: Half,
    test: Half,
    origin: String,
    subset: bool,
    /// Display name.
    name: String,
    /// Names of the classes; empty if unknown.
    class_names: Vec<String>,
    shape: Option<Shape>,
    warnings: Vec<String>,
    latency_coded: bool,
}

/// Whether cached samples are plausible. The cache is not trusted.
fn could_hold(set: &EventSet, extents: Extents) -> bool {
    let Extents { inputs, classes } = extents;
    !set.is_empty() && set.neurons() == inputs && set.labels().iter().all(|&label| (label as usize) < classes)
}

fn load_recordings(kind: &RecordedSet, extents: Extents, bins: &Bins, options: &LoadOptions) -> Result<Loaded> {
    let folder = kind.folder(options.path())?;
    let shape = (kind.shape)(extents.inputs, &options.reading);
    if shape.inputs() != extents.inputs {
        return Err(Error::Data(format!(
            "recordings of {shape} have {} inputs, the network has {}; set network.inputs, or the size of the sensor: \
             data.shape=[channels,height,width]",
            shape.inputs(),
            extents.inputs
        )));
    }
    let paths = (kind.halves)(&folder)?;
    let class_names = (kind.class_names)(&paths[0], extents.classes)?;
    let half = |path: &Path| {
        let checksum = || (kind.checksum)(path).ok();
        let checksum = cache_file(path, bins, options)?.and_then(|_| checksum());
        let open = || (kind.open)(path, &paths[0], extents, &options.reading);
        load_half(open, checksum, &class_names, path, extents, bins, options)
    };
    let (train, test) = (half(&paths[0])?, half(&paths[1])?);
    let sizes = [train.set.len() + train.bad.len(), test.set.len() + test.bad.len()];
    let mut origin = format!("{} + {} recordings from {}", thousands(sizes[0]), thousands(sizes[1]), shown(&folder));
    let mut name = kind.name.to_owned();
    origin = match sizes == kind.sizes {
        true => format!("{name}, all {origin}"),
        false => {
            let [train, test] = kind.sizes.map(thousands);
            name.push_str("-like");
            format!("in the format of {} (which has {train} + {test}), {origin}", kind.name)
        }
    };
    let halves: [(&Half, &Path); 2] = [(&train, &paths[0]), (&test, &paths[1])];
    let (line, warning) = dropped::judge(&halves, bins)?;
    let warning = warning.or_else(|| dropped::late(&halves, bins));
    origin.push_str(&line);
    let bad = train.bad.len() + test.bad.len();
    if bad > 0 {
        origin.push_str(&format!("; {} damaged recordings skipped", thousands(bad)));
    }
    let warnings = warning.into_iter().collect();
    Ok(Loaded {
        train,
        test,
        origin,
        subset: false,
        name,
        class_names,
        shape: Some(shape),
        warnings,
        latency_coded: false,
    })
}

/// The file of the cache for a source; `None` if it is not to be cached.
pub(super) fn cache_file(path: &Path, bins: &Bins, options: &LoadOptions) -> Result<Option<PathBuf>> {
    let facts = std::fs::metadata(path).map_err(Error::io(path))?;
    // The size of a folder is not known before it is read; it is treated as large.
    let bytes = if facts.is_dir() { u64::MAX } else { facts.len() };
    Ok(options.cache.file(path, bytes, bins))
}

/// The cache file of a source, and what it must say of the source. `checksum` is that of the source before it was read, so
/// that a file that changes meanwhile is not cached with the new checksum; without one, the cache is not used. The labels of a
/// test half are numbers in `class_names`, which the training half may have given.
fn cached(
    checksum: Option<String>,
    class_names: &[String],
    path: &Path,
    bins: &Bins,
    options: &LoadOptions,
) -> Result<Option<(PathBuf, String)>> {
    let DataConfig { polarity, shape, .. } = options.reading;
    let shape = shape.map(<[usize; 3]>::from);
    let source = checksum.map(|checksum| format!("{checksum} {polarity:?} {shape:?} {class_names:?}"));
    Ok(cache_file(path, bins, options)?.zip(source))
}

/// Reads a half from the cache or from its source.
fn load_half<'a>(
    open: impl FnOnce() -> Result<Box<dyn Recordings + 'a>>,
    checksum: Option<String>,
    class_names: &[String],
    path: &Path,
    extents: Extents,
    bins: &Bins,
    options: &LoadOptions,
) -> Result<Half> {
    let kept = cached(checksum, class_names, path, bins, options)?;
    if let Some((file, source)) = &kept
        && let Some(half) = cache::read(file, source, bins)
        && could_hold(&half.set, extents)
    {
        return Ok(half);
    }
    let quiet = |_: LoadProgress| {};
    let recordings = open()?;
    let progress = options.progress.unwrap_or(&quiet);
    let half = collect(recordings.as_ref(), extents, bins, options.skip_bad, progress)?;
    if let Some((file, source)) = &kept {
        // If this fails, the next run reads the source again.
        let _ = cache::write(file, source, bins, &half);
    }
    Ok(half)
}

/// A half that a survey has read, and which is now cached; `None` if it must be read again for this network.
fn surveyed_half(
    half: SurveyedHalf,
    class_names: &[String],
    path: &Path,
    extents: Extents,
    bins: &Bins,
    options: &LoadOptions,
) -> Result<Option<Half>> {
    let checksum = half.checksum.clone();
    let Some(half) = half.fitted(extents, bins) else { return Ok(None) };
    if let Some((file, source)) = cached(checksum, class_names, path, bins, options)? {
        let _ = cache::write(&file, &source, bins, &half);
    }
    Ok(Some(half))
}

pub(super) fn events_path(path: Option<&Path>) -> Result<&Path> {
    path.ok_or_else(|| {
        Error::Data(format!("{EVENTS} are data of your own; set data.path (--data PATH) to their file or folder"))
    })
}

/// Loads data of any of the known formats.
fn load_events(extents: Extents, bins: &Bins, options: &LoadOptions, surveyed: Option<Surveyed>) -> Result<Loaded> {
    let path = events_path(options.path())?;
    let Surveyed { format, found, opened, halves } = match surveyed {
        Some(surveyed) => surveyed,
        None => {
            let quiet = |_: LoadProgress| {};
            let (format, found, opened) = formats::open(path, &options.reading, options.progress.unwrap_or(&quiet))?;
            Surveyed { format, found, opened, halves: Vec::new() }
        }
    };
    let formats::Opened { train, test, hints } = opened;
    let (doubt, meaning) = (many_steps(&*train, bins), train.few_steps());
    let mut halves = halves.into_iter();
    let mut half = |recordings: Box<dyn Recordings>, source: &Path| {
        let surveyed =
            halves.next().map(|half| surveyed_half(half, &hints.class_names, source, extents, bins, options));
        if let Some(half) = surveyed.transpose()?.flatten() {
            return Ok(half);
        }
        let checksum = format.checksum(source, bins, options)?;
        load_half(|| Ok(recordings), checksum, &hints.class_names, source, extents, bins, options)
    };
    let mut train = half(train, &found.train)?;
    let test_path = found.test.as_ref().unwrap_or(&found.train);
    let test = test.map(|test| half(test, test_path)).transpose()?;
    let read: Vec<(&Half, &Path)> =
        std::iter::once((&train, &*found.train)).chain(test.as_ref().map(|test| (test, &**test_path))).collect();
    let both: Vec<&Half> = read.iter().map(|(half, _)| *half).collect();
    doubts::any_events(both.iter().copied(), &found.train)?;
    let (line, warning) = dropped::judge(&read, bins)?;
    let warning = warning.or_else(|| dropped::late(&read, bins));
    let few = doubts::few_steps(&both, meaning, bins);
    if let Some(few) = few.as_ref().filter(|few| few.hopeless) {
        return Err(Error::format(&found.train, &*few.text));
    }
    let mut note = String::new();
    let test = match test {
        Some(test) => test,
        None => {
            let DataConfig { test_fraction, test_seed, .. } = options.reading;
            note = format!(
                "; without a test set of their own, so {:.0} % of them, drawn at random, are it (data.test_fraction)",
                100.0 * test_fraction
            );
            check_fraction(test_fraction, train.set.len(), &found.train)?;
            let selection = Validation::Fraction { fraction: test_fraction, seed: test_seed };
            let (rest, test) = selection.split(train.set, &[])?;
            // Whose samples are in which part is not kept.
            (train.set, train.speakers) = (rest, Vec::new());
            Half::of(test.unwrap_or_else(|| EventSet::new(extents.inputs, bins.time_steps)))
        }
    };
    let bad = train.bad.len() + test.bad.len();
    if bad > 0 {
        note.push_str(&format!("; {} damaged recordings skipped", thousands(bad)));
    }
    let sizes = format!("{} + {} samples", thousands(train.set.len()), thousands(test.set.len()));
    let origin = format!("{sizes} ({}) from {}{note}{line}", format.name, shown(path));
    let name = set_name(path);
    let shape = options.reading.shape.or(hints.shape);
    let few = few.map(|few| format!("{}: {}", shown(&found.train), few.text));
    let warnings = [hints.ignored, found.ignored()].concat();
    let warnings = warnings.into_iter().chain(warning).chain(doubt).chain(few).collect();
    let latency_coded = format.latency_coded;
    let class_names = Some(hints.class_names).filter(|names| names.len() == extents.classes).unwrap_or_default();
    Ok(Loaded { train, test, origin, subset: false, name, class_names, shape, warnings, latency_coded })
}

/// That there are so many time steps that the unit of the times is doubted.
fn many_steps(recordings: &dyn Recordings, bins: &Bins) -> Option<String> {
    let doubt = recordings.doubt().filter(|_| bins.time_steps > MANY_STEPS)?;
    let steps = thousands(bins.time_steps);
    Some(format!("samples have {steps} time steps. {doubt}. With t_unit=\"steps\" this is not said"))
}

/// Checks that a fraction of `n` samples can be their test set.
fn check_fraction(fraction: f64, n: usize, path: &Path) -> Result<()> {
    let refused = |comparative: &str, what: &str| {
        let n = thousands(n);
        let want = format!(
            "{comparative}, for example 0.5 (--set data.test_fraction=0.5): of the {n} samples of {}, it {what}",
            shown(path)
        );
        Err(Error::field("data.test_fraction", fraction, want))
    };
    match split::drawn(fraction, n) {
        _ if n < 2 => {
            let what =
                "has a single sample; training requires two or more, one of them for the test set (data.test_fraction)";
            Err(Error::format(path, what))
        }
        0 => refused("larger", "selects none as the test set"),
        all if all == n => refused("smaller", "leaves none for training"),
        _ => Ok(()),
    }
}

fn load_fashion_mnist(data: Option<&Path>, code: &LatencyCode, classes: usize) -> Result<Loaded> {
    let located = fashion_mnist::locate(data)?;
    let fashion_mnist::Encoded { train, test, shape } = match &located.folder {
        Some(folder) => fashion_mnist::load(folder, code, classes)?,
        None => fashion_mnist::load_subset(code)?,
    };
    let sizes = format!("{} + {} images", thousands(train.len()), thousands(test.len()));
    let published = located.origin == Origin::Subset || fashion_mnist::is_published(&train, &test);
    let origin = match &located.folder {
        Some(folder) => {
            let all = if (train.len(), test.len()) == (60_000, 10_000) { "all " } else { "" };
            let name = if published { "Fashion-MNIST, " } else { "in the format of Fashion-MNIST, " };
            format!("{name}{all}{sizes}, from {}", shown(folder))
        }
        None => {
            format!(
                "the built-in subset of Fashion-MNIST ({sizes}); for the full data set: {}",
                fashion_mnist::how_to_get()
            )
        }
    };
    let subset = located.origin == Origin::Subset;
    let (train, test, shape) = (Half::of(train), Half::of(test), Some(shape));
    let name = match &located.folder {
        Some(folder) if !published => set_name(folder),
        _ => fashion_mnist::NAME.into(),
    };
    let class_names = match &located.folder {
        Some(folder) if !published => fashion_mnist::mapping_names(folder, classes)?,
        _ => recorded::class_names(&fashion_mnist::CLASS_NAMES, classes),
    };
    Ok(Loaded { train, test, origin, subset, name, class_names, shape, warnings: Vec::new(), latency_coded: true })
}

/// The display name of data at `path`.
pub(super) fn set_name(path: &Path) -> String {
    path.file_name().map_or_else(|| EVENTS.into(), |name| shown(name.as_ref()))
}

/// Formats 60000 as `60,000`.
pub(super) fn thousands(n: usize) -> String {
    match n {
        0..1000 => n.to_string(),
        _ => format!("{},{:03}", thousands(n / 1000), n % 1000),
    }
}

#[cfg(test)]
#[path = "load_tests.rs"]
mod tests;
