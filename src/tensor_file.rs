//! Reads tensors from safetensors files one by one: a whole file beside its tensors would take twice their memory.

use crate::error::{Error, Result};
use crate::limits::refuse_special;
use safetensors::tensor::{Dtype, Metadata};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

/// Maximum size of the header (names, shapes and metadata) in bytes.
pub(crate) const MAX_HEADER_BYTES: u64 = 16 << 20;
/// Bytes before the header: its length.
const LENGTH_BYTES: u64 = 8;

/// An open safetensors file whose header has been checked against its size.
pub(crate) struct TensorFile {
    file: File,
    metadata: Metadata,
    /// Where the tensors begin.
    begin: u64,
}

impl TensorFile {
    /// Opens a file of at most `limit` bytes; `what` names its contents in errors.
    ///
    /// # Errors
    /// [`Error::Io`]; [`Error::Format`] for a file that is larger, truncated, or not a safetensors file.
    pub(crate) fn open(path: &Path, limit: u64, what: &str) -> Result<Self> {
        let length = refuse_special(path)?;
        let mut file = File::open(path).map_err(Error::io(path))?;
        if length > limit {
            return Err(Error::format(path, format!("has more than {limit} bytes, the limit for {what}")));
        }
        let broken = |what: String| {
            Error::format(
                path,
                format!(
                    "not a complete safetensors file ({what}); it may be truncated; restore it from a copy, or use another file"
                ),
            )
        };
        let mut size = [0; LENGTH_BYTES as usize];
        let mut head = Vec::new();
        if length >= LENGTH_BYTES {
            file.read_exact(&mut size).map_err(Error::io(path))?;
        }
        let claim = u64::from_le_bytes(size);
        if length < LENGTH_BYTES || claim > (length - LENGTH_BYTES).min(MAX_HEADER_BYTES) {
            return Err(broken(format!("{length} bytes, a header of {claim}")));
        }
        (&mut file).take(claim).read_to_end(&mut head).map_err(Error::io(path))?;
        let metadata: Metadata = serde_json::from_slice(&head).map_err(|e| broken(e.to_string()))?;
        let begin = LENGTH_BYTES + claim;
        let expected = begin.saturating_add(metadata.data_len() as u64);
        match expected == length {
            true => Ok(TensorFile { file, metadata, begin }),
            false => Err(broken(format!("{length} bytes, {expected} expected"))),
        }
    }

    /// A metadata entry.
    pub(crate) fn entry(&self, key: &str) -> Option<&String> {
        self.metadata.metadata().as_ref()?.get(key)
    }

    /// The names of all tensors.
    pub(crate) fn names(&self) -> Vec<String> {
        self.metadata.offset_keys()
    }

    /// Reads an f32 tensor of these extents.
    ///
    /// # Errors
    /// A tensor that is missing, has another type or shape, or cannot be read.
    pub(crate) fn read(&self, name: &str, extents: &[usize]) -> Result<Vec<f32>, String> {
        let info =
            self.metadata.info(name).ok_or_else(|| format!("tensor {name} is missing, expected F32 {extents:?}"))?;
        if info.dtype != Dtype::F32 || info.shape != extents {
            return Err(format!("tensor {name} is {:?} {:?}, expected F32 {extents:?}", info.dtype, info.shape));
        }
        let mut data = vec![0.0f32; extents.iter().product()];
        let mut file = &self.file;
        let read = file.seek(SeekFrom::Start(self.begin + info.data_offsets.0 as u64));
        let read = read.and_then(|_| file.read_exact(bytemuck::cast_slice_mut(&mut data)));
        read.map_err(|e| format!("tensor {name} cannot be read: {e}"))?;
        if cfg!(target_endian = "big") {
            data.iter_mut().for_each(|x| *x = f32::from_bits(x.to_bits().swap_bytes()));
        }
        Ok(data)
    }
}
