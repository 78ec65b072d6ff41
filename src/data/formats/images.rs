//! Images in idx files, of any size and with any number of classes, with the latency code.

use super::{Format, Found, Hints, Opened, head};
use crate::data::DataConfig;
use crate::data::fashion_mnist::check_counts;
use crate::data::idx::{self, Images};
use crate::data::idx_files::{self, ImagesAndLabels};
use crate::data::latency::{DURATION_MS, LatencyCode};
use crate::data::mapping::Mapping;
use crate::data::recordings::{Bins, Recording, Recordings, Tell};
use crate::error::{Error, Result};
use std::path::{Path, PathBuf};

pub(super) const FORMAT: Format =
    Format { name: "idx images", wanted: "idx files such as train-images-idx3-ubyte.gz", find, open, cached: false };

fn find(path: &Path) -> Result<Option<Found>> {
    if path.is_file() && !head(path).starts_with(&[0, 0, 8]) && !head(path).starts_with(&[0x1f, 0x8b]) {
        return Ok(None);
    }
    let files = idx_files::find(path)?;
    Ok(files.train().map(|train| Found { train: train.images, test: files.test().map(|test| test.images) }))
}

fn open(found: &Found, _: &DataConfig, _: Tell) -> Result<Opened> {
    let files = idx_files::find(&found.train)?;
    let half = |paths: Option<ImagesAndLabels<PathBuf>>| paths.map(Labelled::open).transpose();
    let (train, test) = rayon::join(|| half(files.train()), || half(files.test()));
    let Some(train) = train? else {
        return Err(Error::format(&found.train, format!("lacks {}", files.missing().join(", "))));
    };
    let test = test?;
    let shape = train.images.shape();
    if let Some(test) = test.as_ref().filter(|test| test.images.shape() != shape) {
        let other = test.images.shape();
        return Err(Error::format(
            &test.paths.images,
            format!("has images of {other} pixels, the training images have {shape}"),
        ));
    }
    let mapping = Mapping::beside(&found.train)?.unwrap_or_default();
    let labels = [Some(&train), test.as_ref()].into_iter().flatten().flat_map(|half| &half.labels);
    let classes = labels.fold(mapping.classes(), |most, &label| most.max(usize::from(label) + 1));
    let hints = Hints {
        inputs: Some(shape.inputs()),
        classes: Some(classes),
        class_names: if mapping.classes() > 0 { mapping.names(classes) } else { Vec::new() },
        shape: Some(shape),
        duration_ms: Some(DURATION_MS),
        ..Hints::default()
    };
    let test = test.map(|test| Box::new(test) as Box<dyn Recordings>);
    Ok(Opened { train: Box::new(train), test, hints })
}

/// Images and their labels.
struct Labelled {
    paths: ImagesAndLabels<PathBuf>,
    images: Images,
    labels: Vec<u8>,
}

impl Labelled {
    fn open(paths: ImagesAndLabels<PathBuf>) -> Result<Self> {
        let (images, labels) = (idx::read_images(&paths.images)?, idx::read_labels(&paths.labels)?);
        check_counts(&images, &labels, &paths)?;
        Ok(Labelled { paths, images, labels })
    }
}

impl Recordings for Labelled {
    fn path(&self) -> &Path {
        &self.paths.images
    }

    fn len(&self) -> usize {
        self.labels.len()
    }

    fn read(&self, k: usize, bins: &Bins) -> Result<Recording> {
        let pixels = self.images.shape().inputs();
        // Without more steps than the code is long: dim pixels, which would come later, do not spike.
        let code = LatencyCode::new(bins.time_steps.min((DURATION_MS / bins.dt_ms).round() as usize), bins.dt_ms);
        let image = &self.images.pixels[k * pixels..(k + 1) * pixels];
        let spikes = code.spikes(image).map(|(t, i)| (t as f64 * bins.dt_ms, i as u32)).collect();
        Ok(Recording { label: self.labels[k].into(), speaker: None, spikes })
    }
}
