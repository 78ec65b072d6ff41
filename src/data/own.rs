//! Custom data: a safetensors file with the spike events of both halves of a data set.
//!
//! It has these tensors for each of `train`, `test` and, optionally, `validation`:
//!
//! | tensor | type, shape | |
//! |---|---|---|
//! | `train.t` | u16 \[events\] | time step of each event |
//! | `train.i` | u16 \[events\] | input neuron of each event |
//! | `train.starts` | i64 \[samples + 1\] | start index of each sample's events, and the number of events |
//! | `train.labels` | i64 \[samples\] | class of each sample, or -1 if it has none |
//!
//! The metadata have `inputs`, `time_steps`, `name`, `class_names` (a JSON list, which may be empty) and, if known, `shape`
//! (a JSON list of channels, height and width).

use super::DataSet;
use crate::error::{Error, Result, harmless};
use crate::events::{Event, EventSet};
use crate::files::write_atomically;
use crate::limits;
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

/// Maximum file size in bytes: that of the maximum number of events of a set.
const MAX_BYTES: u64 = 32 << 30;

/// Writes the data set. A file at `path` is replaced atomically.
///
/// # Errors
/// [`Error::Io`].
pub fn write(path: &Path, data: &DataSet) -> Result<()> {
    let failed = |e: safetensors::SafeTensorError| Error::format(path, format!("cannot be written: {e}"));
    write_atomically(path, &to_bytes(data).map_err(failed)?)
}

/// The contents of a file with the data set.
pub(crate) fn to_bytes(data: &DataSet) -> Result<Vec<u8>, safetensors::SafeTensorError> {
    let halves = [("train", Some(&*data.train)), ("test", Some(&data.test)), ("validation", data.validation.as_ref())];
    let mut tensors: Vec<(String, Dtype, usize, Vec<u8>)> = Vec::new();
    for (half, set) in halves.into_iter().filter_map(|(half, set)| Some((half, set?))) {
        let bytes_of = |of: fn(&Event) -> usize| -> Vec<u8> {
            set.events().iter().flat_map(|event| (of(event) as u16).to_le_bytes()).collect()
        };
        let starts = set.starts().iter().flat_map(|&start| i64::from(start).to_le_bytes()).collect();
        let label = |&label: &u32| if label == EventSet::UNLABELLED { -1 } else { i64::from(label) };
        let labels = set.labels().iter().flat_map(|l| label(l).to_le_bytes()).collect();
        let events = set.events().len();
        tensors.push((format!("{half}.t"), Dtype::U16, events, bytes_of(|event| event.t())));
        tensors.push((format!("{half}.i"), Dtype::U16, events, bytes_of(|event| event.i())));
        tensors.push((format!("{half}.starts"), Dtype::I64, set.len() + 1, starts));
        tensors.push((format!("{half}.labels"), Dtype::I64, set.len(), labels));
    }
    let views: Vec<_> = tensors
        .iter()
        .map(|(name, dtype, n, bytes)| Ok((name, TensorView::new(*dtype, vec![*n], bytes)?)))
        .collect::<Result<_, safetensors::SafeTensorError>>()?;
    let mut metadata = HashMap::from([
        ("inputs".to_string(), data.train.neurons().to_string()),
        ("time_steps".to_string(), data.train.time_steps().to_string()),
        ("name".to_string(), data.name.clone()),
        ("class_names".to_string(), serde_json::Value::from(data.class_names.clone()).to_string()),
    ]);
    if let Some(shape) = data.shape {
        metadata.insert("shape".into(), serde_json::json!(<[usize; 3]>::from(shape)).to_string());
    }
    safetensors::serialize(views, Some(metadata))
}

/// Reads a file written by [`write()`].
///
/// # Errors
/// [`Error::Io`]; [`Error::Format`] if the file is truncated, or if a tensor, named in the error, is missing or invalid.
pub fn read(path: &Path) -> Result<DataSet> {
    from_bytes(path, &limits::read(path, MAX_BYTES, "a file of events")?)
}

/// Reads the contents of a file, which errors name `path`.
pub(crate) fn from_bytes(path: &Path, bytes: &[u8]) -> Result<DataSet> {
    let format = |what: String| Error::format(path, what);
    let whole = |e| format(format!("not a complete safetensors file ({e}); it may be truncated, create it again"));
    let (_, header) = SafeTensors::read_metadata(bytes).map_err(whole)?;
    let file = SafeTensors::deserialize(bytes).map_err(whole)?;
    let metadata = header.metadata().clone().unwrap_or_default();
    let text = |key: &str| metadata.get(key).ok_or_else(|| format(format!("its metadata have no entry `{key}`")));
    let extent = |key: &str| {
        let text = text(key)?;
        text.parse::<usize>().map_err(|_| format(format!("its metadata say {key} = {text}, expected a number")))
    };
    let (inputs, time_steps) = (extent("inputs")?, extent("time_steps")?);
    let half = |name: &str| read_half(&file, name, inputs, time_steps).map_err(format);
    let validation = match file.tensor("validation.starts") {
        Ok(_) => Some(half("validation")?),
        Err(_) => None,
    };
    let names = metadata.get("class_names").map_or(Ok(Vec::new()), |names| serde_json::from_str(names));
    let class_names =
        names.map_err(|e| format(format!("its metadata entry `class_names` is not a list of names: {e}")))?;
    let shape = metadata.get("shape").map(|shape| serde_json::from_str(shape)).transpose();
    let shape =
        shape.map_err(|e| format(format!("its metadata entry `shape` is not [channels, height, width]: {e}")))?;
    let (train, test) = (half("train")?, half("test")?);
    let origin = format!("{} + {} samples of {}", train.len(), test.len(), path.display());
    Ok(DataSet {
        train: Arc::new(train),
        validation,
        test,
        test_files: Vec::new(),
        test_numbers: Vec::new(),
        name: harmless(text("name")?).into_owned(),
        class_names,
        origin,
        shape,
        subset: false,
        bad: Vec::new(),
        warnings: Vec::new(),
        latency_coded: false,
    })
}

fn read_half(file: &SafeTensors, half: &str, inputs: usize, time_steps: usize) -> Result<EventSet, String> {
    let bytes = |field: &str, dtype: Dtype| {
        let name = format!("{half}.{field}");
        let view = file.tensor(&name).map_err(|_| format!("tensor {name} is missing"))?;
        match view.dtype() == dtype && view.shape().len() == 1 {
            true => Ok(view.data()),
            false => {
                Err(format!("tensor {name} is {:?} {:?}, expected {dtype:?} and one axis", view.dtype(), view.shape()))
            }
        }
    };
    let small = |field: &str| -> Result<Vec<u16>, String> {
        Ok(bytes(field, Dtype::U16)?.as_chunks().0.iter().map(|&word| u16::from_le_bytes(word)).collect())
    };
    let large = |field: &str| -> Result<Vec<i64>, String> {
        Ok(bytes(field, Dtype::I64)?.as_chunks().0.iter().map(|&word| i64::from_le_bytes(word)).collect())
    };
    let (t, i, starts, labels) = (small("t")?, small("i")?, large("starts")?, large("labels")?);
    if t.len() != i.len() {
        return Err(format!("{half}.t has {} events, {half}.i has {}", t.len(), i.len()));
    }
    let words = |field: &str, values: &[i64], missing: Option<u32>| -> Result<Vec<u32>, String> {
        let word = |&value: &i64| match missing.filter(|_| value == -1) {
            Some(word) => Ok(word),
            None => u32::try_from(value).map_err(|_| format!("{half}.{field} contains the invalid value {value}")),
        };
        values.iter().map(word).collect()
    };
    let starts = words("starts", &starts, None)?;
    let labels = words("labels", &labels, Some(EventSet::UNLABELLED))?;
    let events = t.iter().zip(&i).map(|(&t, &i)| Event::new(t.into(), i.into())).collect();
    EventSet::from_parts(inputs, time_steps, starts, events, labels).map_err(|e| format!("{half}: {e}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data() -> DataSet {
        let set = |samples: &[(&[(usize, usize)], u32)]| {
            let mut set = EventSet::new(4, 9);
            samples.iter().for_each(|(spikes, label)| set.push(spikes.iter().copied(), *label).unwrap());
            set
        };
        let train = set(&[(&[(8, 3), (0, 0)], 1), (&[], 0), (&[(4, 2)], EventSet::UNLABELLED)]);
        DataSet::new(train, set(&[(&[(1, 1)], 0)])).named("taps").class_names(["left", "right"]).shape([1, 2, 2].into())
    }

    #[test]
    fn what_is_written_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("data.safetensors");
        let mut data = data();
        for _ in 0..2 {
            write(&path, &data).unwrap();
            let read = read(&path).unwrap();
            assert_eq!((&read.train, &read.test, &read.validation), (&data.train, &data.test, &data.validation));
            assert_eq!((read.name.as_str(), &read.class_names, read.shape), ("taps", &data.class_names, data.shape));
            data.validation = Some(data.test.clone());
        }
    }

    #[test]
    fn damage_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("data.safetensors");
        write(&path, &data()).unwrap();
        let whole = std::fs::read(&path).unwrap();
        let refused = |bytes: &[u8], part: &str| {
            std::fs::write(&path, bytes).unwrap();
            let error = read(&path).unwrap_err().to_string();
            assert!(error.contains("data.safetensors") && error.contains(part), "`{part}` is not in: {error}");
        };
        refused(&whole[..whole.len() - 3], "truncated");
        refused(b"", "truncated");
        let replaced = |from: &str, to: &str| {
            let at = whole.windows(from.len()).position(|window| window == from.as_bytes()).unwrap();
            [&whole[..at], to.as_bytes(), &whole[at + from.len()..]].concat()
        };
        refused(&replaced("test.starts", "tost.starts"), "test.starts is missing");
        refused(&replaced("\"time_steps\":\"9\"", "\"time_steps\":\"8\""), "train");
        refused(&replaced("\"inputs\":\"4\"", "\"inputs\":\"x\""), "inputs = x");
        refused(&replaced("[\\\"left", "{\\\"left"), "class_names");
        // The labels of the training half: -7 is not a class.
        let mut bytes = whole.clone();
        let label = 1i64.to_le_bytes();
        for at in (0..bytes.len() - 16).filter(|&at| whole[at..at + 8] == label && whole[at + 8..at + 16] == [0; 8]) {
            bytes[at..at + 8].copy_from_slice(&(-7i64).to_le_bytes());
        }
        refused(&bytes, "-7");
    }
}
