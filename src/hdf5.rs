//! What all readers of HDF5 files share: the filters, types of numbers, and a guard against panics of the parser.

use crate::number::Element;
use hdf5_reader::{ByteOrder, Datatype, FilterRegistry};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// HDF5's registered number of the filter LZF, the fastest compression of h5py.
const FILTER_LZF: u16 = 32_000;
/// The most that LZF compresses: 264 bytes are three.
const LZF_RATIO: usize = 88;

/// How numbers of this type are stored.
pub(crate) fn element(datatype: &Datatype) -> Option<Element> {
    let big = |order: &ByteOrder| matches!(order, ByteOrder::BigEndian);
    match datatype {
        Datatype::FixedPoint { size, signed, byte_order } if [1, 2, 4, 8].contains(size) => {
            Some(Element::Integer { size: usize::from(*size), signed: *signed, big: big(byte_order) })
        }
        Datatype::FloatingPoint { size, byte_order } if [2, 4, 8].contains(size) => {
            Some(Element::Float { size: usize::from(*size), big: big(byte_order) })
        }
        _ => None,
    }
}

/// Runs the HDF5 reader, and turns a panic, which a damaged file might cause, into an error.
pub(crate) fn guarded<T>(work: impl FnOnce() -> Result<T, hdf5_reader::error::Error>) -> Result<T, String> {
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(done) => done.map_err(|e| e.to_string()),
        Err(_) => Err("the reader panicked".into()),
    }
}

/// The filters that chunks may have been through: the reader's own and LZF. A chunk inflates to `limit` bytes at most.
pub(crate) fn filters(limit: usize) -> FilterRegistry {
    let mut filters = FilterRegistry::new();
    filters.register(
        FILTER_LZF,
        Box::new(move |filter, bytes, _| {
            // h5py writes the size of a chunk as the third number.
            let claim = filter.client_data.get(2).map_or(limit, |&size| size as usize);
            let size = claim.min(limit).min(bytes.len().saturating_mul(LZF_RATIO));
            lzf::decompress(bytes, size).map_err(|e| hdf5_reader::error::Error::DecompressionError(format!("LZF: {e}")))
        }),
    );
    filters
}
