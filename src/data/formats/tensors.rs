//! `.safetensors` files with the arrays of a `.npz` file as tensors, and names and numbers in the metadata.

use super::columns::{self, Column, Columns, Values};
use super::{Format, Found, among, head, one};
use crate::error::{Error, Result};
use crate::limits;
use crate::number::Element;
use safetensors::tensor::{Dtype, SafeTensors};
use std::fs::File;
use std::io::Read;
use std::path::Path;

pub(super) const FORMAT: Format = Format {
    name: "safetensors",
    wanted: "a .safetensors file with these tensors",
    find: |path| among(path, claims),
    open: |found: &Found, _, _| columns::open(found, read),
    samples: |path, _| one(path, claims)?.map(|path| columns::open_samples(&path, read)).transpose(),
    cached: false,
    latency_coded: false,
};

/// Maximum file size in bytes: that of the maximum number of events of a set.
const MAX_BYTES: u64 = 32 << 30;

/// Maximum size of a header whose names are looked at.
const MAX_HEADER: u64 = 1 << 24;

fn claims(path: &Path) -> bool {
    let named = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("safetensors"));
    // The length of the header, then the header, a JSON object.
    path.is_file() && (named || matches!(head(path)[..], [_, _, _, _, 0, 0, 0, 0, b'{', b'"', ..]))
}

/// The names of a file's tensors; `None` if it is of another format or damaged.
pub(super) fn names(path: &Path) -> Option<Vec<String>> {
    if !claims(path) {
        return None;
    }
    let mut file = File::open(path).ok()?;
    let mut length = [0; 8];
    file.read_exact(&mut length).ok()?;
    let mut header = Vec::new();
    file.take(u64::from_le_bytes(length).min(MAX_HEADER)).read_to_end(&mut header).ok()?;
    let header: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(&header).ok()?;
    Some(header.into_iter().map(|(name, _)| name).collect())
}

/// The tensors and the metadata of a file.
pub(super) fn read(path: &Path) -> Result<Columns> {
    let bytes = limits::read(path, MAX_BYTES, "a file of events")?;
    let whole =
        |e| Error::format(path, format!("not a complete safetensors file ({e}); it may be truncated, write it again"));
    let (_, header) = SafeTensors::read_metadata(&bytes).map_err(whole)?;
    let file = SafeTensors::deserialize(&bytes).map_err(whole)?;
    let mut columns = Columns::new();
    for (name, value) in header.metadata().iter().flatten() {
        columns.insert(name.clone(), Column::text(value));
    }
    for (name, view) in file.tensors() {
        let Some(element) = element(view.dtype()) else {
            return Err(Error::format(path, format!("`{name}` holds {:?}, integers or floats expected", view.dtype())));
        };
        let values = Values::Numbers { element, bytes: view.data().to_vec() };
        columns.insert(name, Column { shape: view.shape().to_vec(), values });
    }
    Ok(columns)
}

fn element(dtype: Dtype) -> Option<Element> {
    let integer = |size, signed| Some(Element::Integer { size, signed, big: false });
    let float = |size| Some(Element::Float { size, big: false });
    match dtype {
        Dtype::U8 | Dtype::BOOL => integer(1, false),
        Dtype::I8 => integer(1, true),
        Dtype::U16 => integer(2, false),
        Dtype::I16 => integer(2, true),
        Dtype::U32 => integer(4, false),
        Dtype::I32 => integer(4, true),
        Dtype::U64 => integer(8, false),
        Dtype::I64 => integer(8, true),
        Dtype::F16 => float(2),
        Dtype::F32 => float(4),
        Dtype::F64 => float(8),
        _ => None,
    }
}
