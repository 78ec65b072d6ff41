//! Images in idx files, of any size and with any number of classes, with the latency code.

use super::{Format, Found, Hints, Opened, Samples, Wanted, head, one};
use crate::data::DataConfig;
use crate::data::fashion_mnist::check_counts;
use crate::data::idx::{self, Images};
use crate::data::idx_files::{self, ImagesAndLabels};
use crate::data::latency::{DURATION_MS, LatencyCode};
use crate::data::mapping::Mapping;
use crate::data::recordings::{Bins, FewSteps, Recording, Recordings, Tell};
use crate::error::{Error, Result};
use crate::events::EventSet;
use std::path::{Path, PathBuf};

pub(super) const FORMAT: Format = Format {
    name: "idx images",
    wanted: "idx files such as train-images-idx3-ubyte.gz",
    find,
    open,
    samples,
    cached: false,
    latency_coded: true,
};

/// What a plain file of images begins with.
const IMAGES: [u8; 4] = [0, 0, 8, 3];

fn find(path: &Path) -> Result<Option<Found>> {
    if path.is_file() && !head(path).starts_with(&[0, 0, 8]) && !head(path).starts_with(&[0x1f, 0x8b]) {
        return Ok(None);
    }
    let files = idx_files::find(path)?;
    Ok(files.train().map(|train| Found::of(train.images, files.test().map(|test| test.images))))
}

fn open(found: &Found, _: &DataConfig, _: Tell) -> Result<Opened> {
    let files = idx_files::find(&found.train)?;
    let half = |paths: Option<ImagesAndLabels<PathBuf>>| {
        paths
            .map(|paths| Labelled::open(ImagesAndLabels { images: paths.images, labels: Some(paths.labels) }))
            .transpose()
    };
    let (train, test) = rayon::join(|| half(files.train()), || half(files.test()));
    let Some(train) = train? else {
        return Err(Error::format(&found.train, format!("lacks {}", files.missing().join(", "))));
    };
    let test = test?;
    let shape = train.images.shape();
    if let Some(test) = test.as_ref().filter(|test| test.images.shape() != shape) {
        let other = test.images.shape();
        return Err(Error::format(
            &test.images_path,
            format!("has images of {other} pixels, the training images have {shape}"),
        ));
    }
    let mapping = Mapping::beside(&found.train)?.unwrap_or_default();
    let labels = [Some(&train), test.as_ref()].into_iter().flatten().flat_map(|half| half.labels.iter().flatten());
    let classes = labels.fold(mapping.classes(), |most, &label| most.max(usize::from(label) + 1));
    let hints = Hints {
        inputs: Some(shape.inputs()),
        classes: Some(classes),
        class_names: if mapping.classes() > 0 { mapping.names(classes) } else { Vec::new() },
        shape: Some(shape),
        duration_ms: Some(DURATION_MS),
        ignored: files.test_without_partner().into_iter().collect(),
        ..Hints::default()
    };
    let test = test.map(|test| Box::new(test) as Box<dyn Recordings>);
    Ok(Opened { train: Box::new(train), test, hints })
}

/// The images of a file, or of the test half in a folder, or of its training half if that is all there is, with their labels
/// if these lie beside them; or the only file of images in a folder, whatever its name is.
fn samples(path: &Path, wanted: &Wanted) -> Result<Option<Samples>> {
    let alone = |images: PathBuf| ImagesAndLabels { images, labels: None };
    let chosen = match path.is_file() {
        true => {
            let named = path.extension().is_some_and(|extension| extension == "bin");
            let head = head(path);
            if named || !head.starts_with(&[0, 0, 8]) && !head.starts_with(&[0x1f, 0x8b]) {
                return Ok(None);
            }
            let files = idx_files::find(path)?;
            let halves = [files.test, files.train].into_iter().filter(|half| half.images.as_deref() == Some(path));
            halves
                .map(|half| ImagesAndLabels { labels: half.labels, ..alone(path.into()) })
                .next()
                .unwrap_or(alone(path.into()))
        }
        false => {
            let files = idx_files::find(path)?;
            let of = |half: ImagesAndLabels<Option<PathBuf>>| {
                half.images.map(|images| ImagesAndLabels { images, labels: half.labels })
            };
            match of(files.test).or(of(files.train)) {
                Some(files) => files,
                None => match one(path, |path| head(path).starts_with(&IMAGES))? {
                    Some(images) => alone(images),
                    None => return Ok(None),
                },
            }
        }
    };
    let samples = Labelled { late_pixels: wanted.late_pixels, ..Labelled::open(chosen)? };
    let (path, shape) = (samples.images_path.clone(), samples.images.shape());
    if shape.inputs() != wanted.extents.inputs {
        let (inputs, pixels) = (wanted.extents.inputs, shape.inputs());
        let what = format!("has images of {shape} = {pixels} pixels, but the run's network has {inputs} inputs");
        return Err(Error::format(path, what));
    }
    let classes = wanted.extents.classes;
    let class_names = Mapping::beside(&path)?.map_or_else(Vec::new, |mapping| mapping.names(classes));
    Ok(Some(Samples { path, recordings: Box::new(samples), class_names, shape: Some(shape) }))
}

/// Images and their labels.
struct Labelled {
    images_path: PathBuf,
    images: Images,
    /// `None` if there are none, which suffices to predict.
    labels: Option<Vec<u8>>,
    /// Whether dim pixels spike after the end of the latency code.
    late_pixels: bool,
}

impl Labelled {
    fn open(
        ImagesAndLabels { images: images_path, labels }: ImagesAndLabels<PathBuf, Option<PathBuf>>,
    ) -> Result<Self> {
        let images = idx::read_images(&images_path)?;
        let labels = match labels {
            None => None,
            Some(path) => {
                let labels = idx::read_labels(&path)?;
                check_counts(&images, &labels, &ImagesAndLabels { images: images_path.clone(), labels: path })?;
                Some(labels)
            }
        };
        Ok(Labelled { images_path, images, labels, late_pixels: false })
    }
}

impl Recordings for Labelled {
    fn path(&self) -> &Path {
        &self.images_path
    }

    fn len(&self) -> usize {
        self.images.len()
    }

    fn read(&self, k: usize, bins: &Bins) -> Result<Recording> {
        let pixels = self.images.shape().inputs();
        // Without more steps than the code is long: dim pixels, which would come later, do not spike.
        let most = if self.late_pixels { usize::MAX } else { (DURATION_MS / bins.dt_ms).round() as usize };
        let code = LatencyCode::new(bins.time_steps.min(most), bins.dt_ms);
        let image = &self.images.pixels[k * pixels..(k + 1) * pixels];
        let spikes = code.spikes(image).map(|(t, i)| (t as f64 * bins.dt_ms, i as u32)).collect();
        let label = self.labels.as_ref().map_or(EventSet::UNLABELLED, |labels| labels[k].into());
        Ok(Recording { label, speaker: None, spikes })
    }

    // All pixels of black and white images spike at once.
    fn few_steps(&self) -> FewSteps {
        FewSteps::Usual
    }
}
