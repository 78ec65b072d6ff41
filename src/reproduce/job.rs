//! What every figure is computed with: the options, the data, the device, and the points that are finished.

use super::store::Store;
use super::{Options, Scale};
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

/// A figure at work.
pub struct Job<'a> {
    /// What was asked for.
    pub options: &'a Options,
    pub(super) stop: &'a AtomicBool,
    pub(super) tell: &'a mut dyn FnMut(&str),
    store: Store,
    data: BTreeMap<String, Arc<Data>>,
    infos: BTreeMap<String, DeviceInfo>,
    /// What is to be said with the figure: data that are missing or stand in for others.
    pub notes: Vec<String>,
    /// Points computed in this call.
    pub computed: usize,
    /// Points that an earlier call had computed.
    pub reused: usize,
}

/// A data set and what it must be called.
pub struct Data {
    /// The samples, as many as the scale takes.
    pub set: DataSet,
    /// `Fashion-MNIST`, `N-MNIST-like`.
    pub name: String,
}

impl Data {
    /// What makes these data these, for the key of a point.
    pub fn key(&self) -> Value {
        let (train, test) = (&self.set.train, &self.set.test);
        json!([self.name, train.len(), train.events().len(), test.len(), test.events().len()])
    }
}

impl<'a> Job<'a> {
    pub(super) fn new(options: &'a Options, stop: &'a AtomicBool, tell: &'a mut dyn FnMut(&str)) -> Result<Self> {
        let store = Store::open(&options.out)?;
        let (data, infos) = (BTreeMap::new(), BTreeMap::new());
        Ok(Job { options, stop, tell, store, data, infos, notes: Vec::new(), computed: 0, reused: 0 })
    }

    /// The one of three that the scale takes.
    pub fn pick<T>(&self, full: T, quick: T, tiny: T) -> T {
        match self.options.scale {
            Scale::Full => full,
            Scale::Quick => quick,
            Scale::Tiny => tiny,
        }
    }

    /// The seeds: as many as asked for, or by default 3, and 2 of a quick figure.
    pub fn seeds(&self) -> Vec<u64> {
        (0..self.options.seeds.unwrap_or(self.pick(3, 2, 2)) as u64).collect()
    }

    /// Says how far the work is.
    pub fn tell(&mut self, line: &str) {
        (self.tell)(line);
    }

    /// Whether the work is to end.
    pub fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// The point of `key`: from an earlier call, or computed now and kept. The key names all that decides the value;
    /// version and device are added to it.
    ///
    /// # Errors
    /// [`Error::Interrupted`] where the work is to end and the point is not there; those of `compute`.
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

    /// The device's description, for this network.
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

    /// The data of a preset, its training half cut to `limit` samples and its test half to `tested`.
    ///
    /// # Errors
    /// Those of [`data::load_with`].
    pub fn data(&mut self, preset: &str, limit: usize, tested: usize) -> Result<Arc<Data>> {
        let set_name = data_set(preset);
        let key = format!("{set_name} {limit} {tested}");
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
        let sizes = (set.train.len() + set.bad.len(), set.test.len());
        let name = match set_name {
            "fmnist" => "Fashion-MNIST",
            "nmnist" if sizes == (60_000, 10_000) => "N-MNIST",
            "nmnist" => "N-MNIST-like",
            _ if sizes == (8_156, 2_264) => "SHD",
            _ => "SHD-like",
        };
        if name.ends_with("-like") {
            self.note(format!("{name}: recordings in the format of the published set, which they are not"));
        }
        if set.subset {
            self.note(format!("{name}: the shipped subset of {} + {} images", sizes.0, sizes.1));
        }
        if limit < set.train.len() {
            set.train = Arc::new(set.train.head(limit));
        }
        if tested < set.test.len() {
            set.test = set.test.head(tested);
        }
        let data = Arc::new(Data { set, name: name.into() });
        self.data.insert(key, Arc::clone(&data));
        Ok(data)
    }

    /// Of these presets, those whose data are there, with their data; what is missing is noted.
    ///
    /// # Errors
    /// None is there, or files that are there cannot be read.
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
                // Nobody named a folder: the figure is drawn of what there is.
                Err(Error::Data(why)) if !self.options.data.contains_key(data_set(preset)) => {
                    self.note(format!("{preset} is left out: {why}"));
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

    /// A title that calls the data what they are: stand-ins are no published set.
    pub fn title(&self, title: &str) -> String {
        let stands_in = self.data.values().find(|data| {
            data.name.strip_suffix("-like").is_some_and(|published| title.contains(&format!(": {published} ")))
        });
        match stands_in {
            Some(data) => title.replace(data.name.trim_end_matches("-like"), &data.name),
            None => title.to_string(),
        }
    }

    /// Notes something once.
    pub fn note(&mut self, note: String) {
        if !self.notes.contains(&note) {
            self.notes.push(note);
        }
    }
}

/// A list of numbers in a point.
///
/// # Errors
/// A point of another shape: the file was changed by hand.
pub fn numbers(value: &Value) -> Result<Vec<f64>> {
    let numbers = value.as_array().map(|list| list.iter().map(|x| x.as_f64().unwrap_or(f64::NAN)).collect());
    numbers.ok_or_else(|| {
        Error::Data(format!("a stored point has {value} where numbers were expected; remove points.jsonl"))
    })
}
