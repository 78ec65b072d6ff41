//! Samples as arrays: `t`, `i`, `starts` and `labels`, from `.npz` and `.safetensors` files.

use super::{Found, Half, Hints, Opened, half_of};
use crate::data::recordings::{Bins, FewSteps, Recording, Recordings};
use crate::data::source::Shape;
use crate::error::{Error, Result, harmless};
use crate::events::EventSet;
use crate::network::MAX_EXTENT;
use crate::number::Element;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Largest number of samples of a half: seventy times those of MNIST.
const MOST_SAMPLES: usize = 1 << 22;
/// Largest number of events of a sample: a thousand times those of N-MNIST.
const MOST_EVENTS: usize = 1 << 22;
/// Largest number of elements of an array that describes the data.
const FEW: usize = 8;

/// An array of a file.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Column {
    pub shape: Vec<usize>,
    pub values: Values,
}

/// The elements of an array.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Values {
    Numbers { element: Element, bytes: Vec<u8> },
    Texts(Vec<String>),
}

/// The arrays of a file by their names.
pub(super) type Columns = BTreeMap<String, Column>;

impl Column {
    pub(super) fn text(text: &str) -> Self {
        Column { shape: vec![], values: Values::Texts(vec![text.into()]) }
    }

    /// The elements as numbers, if there are few. The metadata of safetensors files are texts.
    fn numbers(&self) -> Option<Vec<f64>> {
        match &self.values {
            Values::Numbers { element, bytes } => {
                let few = bytes.len() <= FEW * element.size();
                few.then(|| bytes.chunks_exact(element.size()).map(|bytes| element.number(bytes)).collect())
            }
            Values::Texts(texts) => match &texts[..] {
                [list] if list.starts_with('[') => serde_json::from_str(list).ok(),
                texts => texts.iter().map(|text| text.parse().ok()).collect(),
            },
        }
    }

    /// The only element as a number.
    fn number(&self) -> Option<f64> {
        <[f64; 1]>::try_from(self.numbers()?).ok().map(|[number]| number)
    }

    fn texts(&self) -> Option<Vec<String>> {
        match &self.values {
            Values::Numbers { .. } => None,
            Values::Texts(texts) => match &texts[..] {
                [list] if list.starts_with('[') => serde_json::from_str(list).ok(),
                texts => Some(texts.to_vec()),
            },
        }
    }
}

/// A number that is an extent.
fn whole(number: f64) -> Option<usize> {
    (number.fract() == 0.0 && (1.0..=MAX_EXTENT as f64).contains(&number)).then_some(number as usize)
}

/// Whether arrays of these names belong to halves.
pub(super) fn has_halves(names: &[String]) -> bool {
    names.iter().any(|name| ["train.", "test."].iter().any(|half| name.starts_with(half)))
}

/// Whether arrays of these names are those of a test half alone.
pub(super) fn test_alone(names: &[String]) -> bool {
    let has = |name: &str| names.iter().any(|other| other == name);
    has("test.t") && !has("train.t") && !has("t")
}

/// Opens the samples of one or two files; `read` returns the arrays of a file.
pub(super) fn open(found: &Found, read: fn(&Path) -> Result<Columns>) -> Result<Opened> {
    let mut columns = read(&found.train)?;
    let mut hints = hints(&found.train, &columns)?;
    if test_alone(&columns.keys().cloned().collect::<Vec<_>>()) {
        let what = "has a test half alone, `test.t` and so on; training requires `train.t` and so on as well";
        return Err(Error::format(&found.train, what));
    }
    let both = columns.contains_key("train.t");
    let train = Samples::new(&found.train, &mut columns, if both { "train." } else { "" })?;
    let test = match &found.test {
        Some(path) => Some(Samples::new(path, &mut read(path)?, "")?),
        None if both && columns.contains_key("test.t") => Some(Samples::new(&found.train, &mut columns, "test.")?),
        None => None,
    };
    let labels = std::iter::once(&train).chain(&test).filter_map(|half| half.labels.as_ref()).flatten();
    let most = labels.max();
    // A label that is no class is an error of its sample.
    let most = most.and_then(|&most| usize::try_from(most).ok()).map_or(1, |most| most.saturating_add(1));
    let names = hints.class_names.len();
    if (1..most).contains(&names) {
        let what = format!("`class_names` has {names} names, but there is the label {}; name all classes", most - 1);
        return Err(Error::format(&found.train, what));
    }
    let labelled = train.labels.is_some() && test.iter().all(|test| test.labels.is_some());
    hints.classes = labelled.then(|| most.min(MAX_EXTENT).max(hints.class_names.len()));
    let test = test.map(|test| Box::new(test) as Box<dyn Recordings>);
    Ok(Opened { train: Box::new(train), test, hints })
}

/// Opens the samples of a file that are to be classified: those of its test half, or all.
pub(super) fn open_samples(path: &Path, read: fn(&Path) -> Result<Columns>) -> Result<super::Samples> {
    let mut columns = read(path)?;
    let Hints { class_names, shape, .. } = hints(path, &columns)?;
    let prefix = ["test.", "train."].into_iter().find(|prefix| columns.contains_key(&format!("{prefix}t")));
    let samples = Samples::new(path, &mut columns, prefix.unwrap_or(""))?;
    Ok(super::Samples { path: path.into(), recordings: Box::new(samples), class_names, shape })
}

fn hints(path: &Path, columns: &Columns) -> Result<Hints> {
    let bad = |name: &str, want: &str| Error::format(path, format!("`{name}` is not {want}"));
    let number = |name: &str| match columns.get(name) {
        None => Ok(None),
        Some(column) => column.number().map(Some).ok_or_else(|| bad(name, "a number")),
    };
    let extent = |name: &str| match number(name)? {
        None => Ok(None),
        Some(n) => whole(n).map(Some).ok_or_else(|| bad(name, &format!("1 to {MAX_EXTENT}"))),
    };
    let dt_ms = number("dt_ms")?;
    if dt_ms.is_some_and(|dt| !(dt.is_finite() && dt > 0.0)) {
        return Err(bad("dt_ms", "a positive number"));
    }
    let class_names = match columns.get("class_names") {
        None => Vec::new(),
        Some(column) => column.texts().ok_or_else(|| bad("class_names", "a list of names"))?,
    };
    let shape = match columns.get("shape") {
        None => None,
        Some(column) => {
            Some(shape(column).ok_or_else(|| bad("shape", "[height, width] or [channels, height, width]"))?)
        }
    };
    let class_names: Vec<String> = class_names.iter().map(|name| harmless(name).into_owned()).collect();
    if class_names.len() > MAX_EXTENT {
        return Err(bad("class_names", &format!("a list of at most {MAX_EXTENT} names")));
    }
    let (inputs, time_steps) = (extent("inputs")?, extent("time_steps")?);
    Ok(Hints { inputs, time_steps, dt_ms, class_names, shape, ..Hints::default() })
}

fn shape(column: &Column) -> Option<Shape> {
    let extents: Option<Vec<usize>> = column.numbers()?.into_iter().map(whole).collect();
    let shape: Shape = match extents?[..] {
        [height, width] => [1, height, width].into(),
        [channels, height, width] => [channels, height, width].into(),
        _ => return None,
    };
    (1..=MAX_EXTENT).contains(&shape.inputs()).then_some(shape)
}

/// The unit of times.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Unit {
    /// Time steps: of this many ms, or of the configured length.
    Steps(Option<f64>),
    /// So many ms, divided by this. Both are whole, since 0.001 is not exact in binary.
    Ms(f64, f64),
}

/// The samples of a half.
struct Samples {
    path: PathBuf,
    /// `train.` or nothing: what the names of the arrays begin with.
    prefix: &'static str,
    times: (Element, Vec<u8>),
    inputs: (Element, Vec<u8>),
    unit: Unit,
    /// Whether nothing says what unit times have.
    unit_assumed: bool,
    /// Where each sample's events begin, and the number of events.
    starts: Vec<usize>,
    /// The label of each sample; `None` if the file has none, which suffices to predict.
    labels: Option<Vec<i128>>,
}

impl Samples {
    fn new(path: &Path, columns: &mut Columns, prefix: &'static str) -> Result<Self> {
        let bad = |what: String| Error::format(path, what);
        let labelled = columns.contains_key(&format!("{prefix}labels"));
        let mut take = |plain: &str| -> Result<(Element, Vec<u8>)> {
            let name = format!("{prefix}{plain}");
            let Some(column) = columns.remove(&name) else {
                return Err(bad(format!("has no array `{name}`; expected t, i, starts and labels (docs/data.md)")));
            };
            let labels = plain == "labels";
            match (column.values, &column.shape[..]) {
                (Values::Numbers { element, bytes }, [_]) => Ok((element, bytes)),
                (Values::Numbers { .. }, shape) => {
                    // One number per class, 1 for that of the sample.
                    let one_hot = labels && matches!(shape, [_, classes] if *classes > 1);
                    let remedy = if one_hot { "np.argmax(labels, 1)".into() } else { format!("{plain}.ravel()") };
                    Err(bad(format!("`{name}` has the shape {shape:?}, one axis expected; save {remedy}")))
                }
                (Values::Texts(_), _) => {
                    let remedy = match labels {
                        true => "class_names, labels = np.unique(labels, return_inverse=True)".into(),
                        false => format!("{plain}.astype(int)"),
                    };
                    Err(bad(format!("`{name}` holds text, numbers expected; save {remedy}")))
                }
            }
        };
        let (times, inputs, starts) = (take("t")?, take("i")?, take("starts")?);
        let labels = labelled.then(|| take("labels")).transpose()?;
        let count = |(element, bytes): &(Element, Vec<u8>)| bytes.len() / element.size();
        let integers = |(element, bytes): &(Element, Vec<u8>)| element.integers(bytes).unwrap_or_default();
        let events = count(&times);
        // Without labels, a last start that is the number of events ends the last sample.
        let ended = || usize::from(count(&starts) > 1 && integers(&starts).last() == Some(&(events as i128)));
        let n = labels.as_ref().map_or_else(|| count(&starts) - ended(), count);
        if count(&inputs) != events {
            let n = count(&inputs);
            return Err(bad(format!("`{prefix}t` has {events} entries, `{prefix}i` {n}; expected as many")));
        }
        let begins = count(&starts);
        if !(1..=MOST_SAMPLES).contains(&n) || ![n, n + 1].contains(&begins) {
            return Err(bad(format!(
                "`{prefix}starts` has {begins} entries and `{prefix}labels` {n}; expected one start more than labels, and 1 to \
                 {MOST_SAMPLES} labels"
            )));
        }
        let columns_of_integers = [("i", Some(&inputs)), ("starts", Some(&starts)), ("labels", labels.as_ref())];
        for (name, (element, _)) in columns_of_integers.into_iter().filter_map(|(name, column)| Some((name, column?))) {
            if let Element::Float { .. } = element {
                return Err(bad(format!("`{prefix}{name}` holds floats, integers expected; save {name}.astype(int)")));
            }
        }
        let (starts, labels) = (integers(&starts), labels.as_ref().map(integers));
        let starts = ascending(&starts, n, events).map_err(|what| bad(format!("`{prefix}starts`: {what}")))?;
        let unit = unit(columns, times.0).map_err(bad)?;
        let unit_assumed = !columns.contains_key("t_unit");
        Ok(Samples { path: path.into(), prefix, times, inputs, unit, unit_assumed, starts, labels })
    }
}

/// The starts as indices, with the number of events at the end.
fn ascending(starts: &[i128], n: usize, events: usize) -> Result<Vec<usize>, String> {
    let mut all = Vec::with_capacity(n + 1);
    for (k, &start) in starts.iter().enumerate() {
        let last = all.last().copied().unwrap_or(0);
        match usize::try_from(start) {
            Ok(start) if (last..=events).contains(&start) => all.push(start),
            _ => return Err(format!("entry {k} is {start}, {last} to {events} expected, the number of events")),
        }
    }
    if all.len() == n {
        all.push(events);
    }
    match (all[0], all[n]) {
        (0, last) if last == events => Ok(all),
        (0, last) => Err(format!("the last entry is {last}, {events} expected, the number of events")),
        (first, _) => Err(format!("the first entry is {first}, 0 expected")),
    }
}

fn unit(columns: &Columns, times: Element) -> Result<Unit, String> {
    let own = columns.get("dt_ms").and_then(Column::number);
    let told = columns.get("t_unit").map(|unit| unit.texts().unwrap_or_default().join(" "));
    match told.as_deref() {
        None if matches!(times, Element::Integer { .. }) => Ok(Unit::Steps(own)),
        None => Ok(Unit::Ms(1.0, 1.0)),
        Some("steps") => Ok(Unit::Steps(own)),
        Some("s") => Ok(Unit::Ms(1000.0, 1.0)),
        Some("ms") => Ok(Unit::Ms(1.0, 1.0)),
        Some("us" | "µs") => Ok(Unit::Ms(1.0, 1000.0)),
        Some(other) => Err(format!("`t_unit` is {other:?}, one of steps, s, ms, us expected")),
    }
}

impl Recordings for Samples {
    fn path(&self) -> &Path {
        &self.path
    }

    fn len(&self) -> usize {
        self.starts.len() - 1
    }

    fn read(&self, k: usize, bins: &Bins) -> Result<Recording> {
        let (begin, end) = (self.starts[k], self.starts[k + 1]);
        if end - begin > MOST_EVENTS {
            return Err(self.fault(k, format!("has {} events, at most {MOST_EVENTS} are read", end - begin)));
        }
        fn part(column: &(Element, Vec<u8>), begin: usize, end: usize) -> impl Iterator<Item = &[u8]> {
            let size = column.0.size();
            column.1[begin * size..end * size].chunks_exact(size)
        }
        let (ms, over) = match self.unit {
            Unit::Ms(ms, over) => (ms, over),
            Unit::Steps(own) => (own.unwrap_or(bins.dt_ms), 1.0),
        };
        let mut spikes = Vec::with_capacity(end - begin);
        let events = part(&self.times, begin, end).zip(part(&self.inputs, begin, end));
        for (at, (t, i)) in (begin..).zip(events) {
            let (t, i) = (self.times.0.number(t), self.inputs.0.integer(i).unwrap_or(-1));
            if !t.is_finite() {
                return Err(self.fault(k, format!("{}t[{at}] is {t}, a finite time expected", self.prefix)));
            }
            let Some(i) = u32::try_from(i).ok().filter(|&i| (i as usize) < MAX_EXTENT) else {
                let last = MAX_EXTENT - 1;
                return Err(self.fault(k, format!("{}i[{at}] is {i}, 0 to {last} expected", self.prefix)));
            };
            spikes.push((t * ms / over, i));
        }
        let given = self.labels.as_ref().map_or(i128::from(EventSet::UNLABELLED), |labels| labels[k]);
        let label = u32::try_from(given).ok();
        let Some(label) = label.filter(|&label| (label as usize) < MAX_EXTENT || self.labels.is_none()) else {
            let what = format!("{}labels[{k}] is {given}, 0 to {} expected", self.prefix, MAX_EXTENT - 1);
            return Err(self.fault(k, what));
        };
        Ok(Recording { label, speaker: None, spikes })
    }

    fn doubt(&self) -> Option<&'static str> {
        let remedy = "Integers in `t` are time steps unless `t_unit` says what they are: if they are µs, add t_unit=\"us\" to the \
                      file; s and ms are known too";
        (self.unit_assumed && matches!(self.unit, Unit::Steps(_))).then_some(remedy)
    }

    fn few_steps(&self) -> FewSteps {
        match self.unit {
            Unit::Ms(..) if self.unit_assumed => FewSteps::Unit(
                "if `t` is in seconds, add t_unit=\"s\" to the file; if it is in ms, t_unit=\"ms\" says so",
            ),
            _ => FewSteps::Strange,
        }
    }

    fn fault(&self, k: usize, what: String) -> Error {
        let half = match self.prefix {
            "" => half_of(&self.path)
                .map_or("sample", |half| if half == Half::Test { "test sample" } else { "training sample" }),
            "test." => "test sample",
            _ => "training sample",
        };
        Error::format(&self.path, format!("{half} {k}: {what}"))
    }
}
