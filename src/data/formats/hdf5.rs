//! HDF5 files in the layout of SHD, with any number of units and labels.

use super::{Format, Found, Hints, Opened, Samples, Wanted, among, head, one};
use crate::data::DataConfig;
use crate::data::recordings::{Recordings, Tell};
use crate::data::shd::{Limits, Shd};
use crate::error::Result;
use std::path::Path;

pub(super) const FORMAT: Format = Format {
    name: "HDF5",
    wanted: "HDF5 files in the layout of SHD",
    find: |path| among(path, claims),
    open,
    samples,
    cached: true,
    latency_coded: false,
};

fn claims(path: &Path) -> bool {
    let name = path.file_name().map(|name| name.to_string_lossy().to_lowercase()).unwrap_or_default();
    let named = [".h5", ".hdf5", ".h5.gz", ".hdf5.gz"].iter().any(|end| name.ends_with(end));
    path.is_file() && (named || head(path).starts_with(b"\x89HDF"))
}

fn open(found: &Found, _: &DataConfig, _: Tell) -> Result<Opened> {
    let train = Shd::open_within(&found.train, Limits::ANY)?;
    let test = found.test.as_ref().map(|path| Shd::open_within(path, Limits::ANY)).transpose()?;
    let class_names = train.class_names().to_vec();
    let classes = train.classes().max(test.as_ref().map_or(0, Shd::classes)).max(class_names.len());
    let test = test.map(|test| Box::new(test) as Box<dyn Recordings>);
    Ok(Opened {
        train: Box::new(train),
        test,
        hints: Hints { classes: Some(classes), class_names, ..Hints::default() },
    })
}

fn samples(path: &Path, wanted: &Wanted) -> Result<Option<Samples>> {
    let Some(path) = one(path, claims)? else { return Ok(None) };
    let limits = Limits { units: wanted.extents.inputs, labels: wanted.extents.classes as u32 };
    let recordings = Shd::open_samples(&path, limits)?;
    let class_names = recordings.class_names().to_vec();
    Ok(Some(Samples { path, recordings: Box::new(recordings), class_names, shape: None }))
}
