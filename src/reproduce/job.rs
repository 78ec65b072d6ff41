//! Context of the computation of a figure: options, data, device, and finished points.

use super::store::Store;
use super::{Options, Scale, usual_name};
use crate::data::{self, DataSet, LoadOptions, data_set};
use crate::device::Device;
use crate::engine::{DeviceInfo, Method};
use crate::error::{Error, Result};
use crate::network::Network;
use crate::presets;
use crate::weights::Weights;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// The computation of a figure.
pub struct FigureJob<'a> {
    /// The options.
    pub options: &'a Options,
    pub(super) stop: &'a AtomicBool,
    pub(super) tell: &'a mut dyn FnMut(&str),
    store: Store,
    data: BTreeMap<String, Arc<Data>>,
    /// What is used in place of data that are missing or too few, by the names of the sets and their limits.
    instead: BTreeMap<String, String>,
    infos: BTreeMap<String, DeviceInfo>,
    /// Notes for the caption: data that are missing or replaced by others.
    pub notes: Vec<String>,
    /// Points computed in this call.
    pub computed: usize,
    /// Points computed in an earlier call.
    pub reused: usize,
}

/// A data set and its display name.
pub struct Data {
    /// The samples, limited by the scale.
    pub set: DataSet,
    /// `Fashion-MNIST`, or for other data in the format of a published set [another name](DataSet::name).
    pub name: String,
    /// The name of the published set in this format.
    published: &'static str,
}

impl Data {
    /// Identifies the data in the key of a point.
    pub fn key(&self) -> Value {
        let (train, test) = (&self.set.train, &self.set.test);
        json!([self.name, train.len(), train.events().len(), test.len(), test.events().len()])
    }
}

impl<'a> FigureJob<'a> {
    pub(super) fn new(options: &'a Options, stop: &'a AtomicBool, tell: &'a mut dyn FnMut(&str)) -> Result<Self> {
        Ok(FigureJob {
            options,
            stop,
            tell,
            store: Store::open(&options.out)?,
            data: BTreeMap::new(),
            instead: BTreeMap::new(),
            infos: BTreeMap::new(),
            notes: Vec::new(),
            computed: 0,
            reused: 0,
        })
    }

    /// Selects a value by the scale.
    pub fn pick<T>(&self, full: T, quick: T, tiny: T) -> T {
        match self.options.scale {
            Scale::Full => full,
            Scale::Quick => quick,
            Scale::Tiny => tiny,
        }
    }

    /// The seeds. Default number: 3, or 2 for a quick figure.
    pub fn seeds(&self) -> Vec<u64> {
        let count = self.options.seeds.unwrap_or(self.pick(3, 2, 2));
        (u64::from(self.options.first_seed)..).take(count).collect()
    }

    /// What the data are made of, by the names of the sets and their limits.
    pub fn data_keys(&self) -> BTreeMap<String, Value> {
        let loaded = self.data.iter().map(|(name, data)| (name.clone(), data.key()));
        loaded.chain(self.instead.iter().map(|(name, what)| (name.clone(), json!(what)))).collect()
    }

    /// Notes that `what` is used instead of the whole data of a preset.
    pub fn use_instead(&mut self, preset: &str, what: &str) {
        self.note(format!("{preset}: {what}"));
        self.instead.insert(set_of(preset, usize::MAX, usize::MAX), what.into());
    }

    /// Reports progress.
    pub fn tell(&mut self, line: &str) {
        (self.tell)(line);
    }

    /// Whether the work was interrupted.
    pub fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// The point with this `key`, from an earlier call, or computed and stored. The key must contain everything on which
    /// the value depends; the version and the device are added.
    ///
    /// # Errors
    /// [`Error::Interrupted`] if the work was interrupted and the point is not stored; errors of `compute`.
    pub fn point(
        &mut self,
        what: &str,
        info: &DeviceInfo,
        key: Value,
        compute: impl FnOnce(&mut Self) -> Result<Value>,
    ) -> Result<Value> {
        let key = json!({
            "what": what,
            "version": env!("CARGO_PKG_VERSION"),
            "device": [info.kind, info.name, info.detail],
            "of": key,
        });
        if let Some(value) = self.store.get(&key) {
            self.reused += 1;
            return Ok(value.clone());
        }
        if self.stopped() {
            return Err(Error::Interrupted);
        }
        let value = compute(self)?;
        self.computed += 1;
        self.store.put(&key, value)
    }

    /// The device's description. `network` is used to open it.
    ///
    /// # Errors
    /// No such adapter.
    pub fn info(&mut self, network: &Network) -> Result<DeviceInfo> {
        let device = self.options.device.resolve_for(network, Method::Sparse);
        let name = device.to_string();
        if let Some(info) = self.infos.get(&name) {
            return Ok(info.clone());
        }
        let info = match device {
            Device::Cpu => crate::cpu::device_info(),
            _ => {
                let mut small = presets::paper("fmnist")?.network;
                small.set_hidden(&[8])?;
                device.open(&small, Method::Sparse, &Weights::zeros_of(&small))?.info()
            }
        };
        self.infos.insert(name, info.clone());
        Ok(info)
    }

    /// The data of a preset, limited to `limit` training samples and `tested` test samples.
    ///
    /// # Errors
    /// As [`data::load_with`].
    pub fn data(&mut self, preset: &str, limit: usize, tested: usize) -> Result<Arc<Data>> {
        let set_name = data_set(preset);
        let key = set_of(preset, limit, tested);
        if let Some(data) = self.data.get(&key) {
            return Ok(Arc::clone(data));
        }
        let network = presets::paper(preset)?.network;
        let folder: Option<&PathBuf> = self.options.data.get(set_name);
        let options = LoadOptions {
            folder: folder.map(PathBuf::as_path),
            cache: self.options.cache.clone(),
            ..Default::default()
        };
        let mut set = data::load_with(set_name, &network, &options)?;
        let (name, published) = (set.name.clone(), usual_name(set_name));
        if name != published {
            self.note(format!("{name}: other data in the format of {published}"));
        }
        if set.subset {
            self.note(format!("{name}: the built-in subset of {} + {} images", set.train.len(), set.test.len()));
        }
        if limit < set.train.len() {
            set.train = Arc::new(set.train.head(limit));
        }
        if tested < set.test.len() {
            set.test = set.test.head(tested);
        }
        let data = Arc::new(Data { set, name, published });
        self.data.insert(key, Arc::clone(&data));
        Ok(data)
    }

    /// Those of the presets whose data are available, with their data. Missing data are noted.
    ///
    /// # Errors
    /// The data of all presets are missing, or files cannot be read.
    pub fn all_data(
        &mut self,
        wanted: &[&'static str],
        limit: usize,
        tested: usize,
    ) -> Result<Vec<(&'static str, Arc<Data>)>> {
        let mut found = Vec::new();
        let mut missing = None;
        for preset in wanted {
            match self.data(preset, limit, tested) {
                Ok(data) => found.push((*preset, data)),
                // No folder was given, so the figure is drawn without these data.
                Err(Error::Data(why)) if !self.options.data.contains_key(data_set(preset)) => {
                    self.note(format!("{preset}{OMITTED}{why}"));
                    missing = Some(why);
                }
                Err(e) => return Err(e),
            }
        }
        match (found.is_empty(), missing) {
            (true, Some(why)) => Err(Error::Data(why)),
            _ => Ok(found),
        }
    }

    /// A title with the name of the published set replaced by that of the data, if these are others in its format.
    pub fn title(&self, title: &str) -> String {
        let replaced =
            |data: &&Arc<Data>| data.name != data.published && title.contains(&format!(": {} ", data.published));
        match self.data.values().find(replaced) {
            Some(data) => title.replace(data.published, &data.name),
            None => title.to_string(),
        }
    }

    /// Adds a note, unless it exists already.
    pub fn note(&mut self, note: String) {
        if !self.notes.contains(&note) {
            self.notes.push(note);
        }
    }
}

/// The name of a preset's data set and its limits.
fn set_of(preset: &str, limit: usize, tested: usize) -> String {
    format!("{} {limit} {tested}", data_set(preset))
}

/// Whether a key of [`FigureJob::data_keys`] is of a preset's data set.
pub fn is_of(key: &str, preset: &str) -> bool {
    key.split(' ').next() == Some(data_set(preset))
}

/// Behind the preset in the note that its data are missing.
const OMITTED: &str = " is omitted: ";

/// The preset whose data are missing by a note.
pub fn omitted(note: &str) -> Option<&str> {
    note.split_once(OMITTED).map(|(preset, _)| preset).filter(|preset| !preset.contains(' '))
}

/// The numbers of a point.
///
/// # Errors
/// The point is not a list of numbers, e.g. because the file was edited.
pub fn numbers(value: &Value) -> Result<Vec<f64>> {
    let numbers = value.as_array().map(|list| list.iter().map(|x| x.as_f64().unwrap_or(f64::NAN)).collect());
    numbers.ok_or_else(|| {
        Error::Data(format!("a stored point has {value} where numbers were expected; remove points.jsonl"))
    })
}
