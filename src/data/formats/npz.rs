//! `.npz` files of numpy: a zip of `.npy` arrays.
//!
//! The header of an array is a Python dictionary with three fixed keys, which is read here: the crates for it bring a parser
//! of Python literals, big integers and a build in C.

use super::columns::{self, Column, Columns, Values};
use super::{Format, Found, among, head, one};
use crate::data::gunzip::inflated;
use crate::error::{Error, Result};
use crate::limits;
use crate::network::MAX_EXTENT;
use crate::number::Element;
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;
use zip::ZipArchive;

pub(super) const FORMAT: Format = Format {
    name: "npz",
    wanted: "a .npz file with the arrays t, i, starts and labels",
    find: |path| among(path, claims),
    open: |found: &Found, _, _| columns::open(found, read),
    samples: |path, _| one(path, claims)?.map(|path| columns::open_samples(&path, read)).transpose(),
    cached: false,
    latency_coded: false,
};

/// Longest header of an array, bytes. numpy's are shorter than 200.
const MAX_HEADER: usize = 1 << 14;

fn claims(path: &Path) -> bool {
    let named = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("npz"));
    path.is_file()
        && (named || head(path).starts_with(b"PK") && first_member(path).is_some_and(|name| name.ends_with(".npy")))
}

fn first_member(path: &Path) -> Option<String> {
    let archive = ZipArchive::new(BufReader::new(File::open(path).ok()?)).ok()?;
    let name = archive.name_for_index(0)?.ok()?;
    Some(name.into_owned())
}

/// The names of a file's arrays; `None` if it is of another format or damaged.
pub(super) fn names(path: &Path) -> Option<Vec<String>> {
    if !claims(path) {
        return None;
    }
    let archive = ZipArchive::new(BufReader::new(File::open(path).ok()?)).ok()?;
    Some(archive.file_names().flatten().filter_map(|name| Some(name.strip_suffix(".npy")?.into())).collect())
}

/// The arrays of a file.
pub(super) fn read(path: &Path) -> Result<Columns> {
    let bad = |what: String| Error::format(path, what);
    let length = limits::refuse_special(path)?;
    let file = BufReader::new(File::open(path).map_err(Error::io(path))?);
    let mut archive = ZipArchive::new(file)
        .map_err(|e| bad(format!("its {length} bytes are not a complete .npz file ({e}); write it again")))?;
    let mut left = inflated(length);
    let mut columns = Columns::new();
    for index in 0..archive.len() {
        let mut member = archive.by_index(index).map_err(|e| bad(format!("array {index} cannot be read: {e}")))?;
        let Some(name) = member.name().ok().and_then(|name| name.strip_suffix(".npy").map(String::from)) else {
            continue;
        };
        let claim = member.size();
        if claim > left {
            return Err(bad(format!(
                "`{name}` claims {claim} bytes, which is suspicious in a file of {length}; if you trust it, write it with np.savez"
            )));
        }
        left -= claim;
        let mut bytes = Vec::new();
        // Memory grows with the bytes read, not with the claimed size.
        let done = (&mut member).take(claim + 1).read_to_end(&mut bytes);
        if done.is_err() || bytes.len() as u64 != claim {
            return Err(bad(format!(
                "`{name}` is damaged after byte {} of {claim}; write the file again",
                bytes.len()
            )));
        }
        let column = array(bytes).map_err(|what| bad(format!("`{name}`: {what}")))?;
        columns.insert(name, column);
    }
    Ok(columns)
}

/// The array in the bytes of a `.npy` file.
fn array(mut bytes: Vec<u8>) -> Result<Column, String> {
    let (header, begin) = header(&bytes).ok_or("is not an array of numpy; write it with np.savez")?;
    let descr = quoted(&header, "descr").ok_or_else(|| {
        format!("has elements of a structured type ({header}); write t, i, starts and labels as arrays of their own")
    })?;
    let shape = shape(&header).ok_or_else(|| format!("has no readable shape: {header}"))?;
    if shape.len() > 1 && header.contains("'fortran_order': True") {
        return Err("is stored column by column; write np.ascontiguousarray of it".into());
    }
    let count = shape.iter().try_fold(1usize, |n, &extent| n.checked_mul(extent)).unwrap_or(usize::MAX);
    let kind = Kind::of(&descr).ok_or_else(|| {
        format!("has elements of type {descr:?}, integers, floats or text expected; convert it with .astype")
    })?;
    if !matches!(kind, Kind::Number(_)) && count > MAX_EXTENT {
        return Err(format!("has {count} texts, at most {MAX_EXTENT} are read"));
    }
    bytes.drain(..begin);
    if count.checked_mul(kind.size()) != Some(bytes.len()) {
        let found = bytes.len();
        return Err(format!(
            "{shape:?} elements of {} bytes expected, {found} bytes found; write the file again",
            kind.size()
        ));
    }
    let values = match kind {
        Kind::Number(element) => Values::Numbers { element, bytes },
        // No text: chunks of 0 bytes do not exist.
        _ if bytes.is_empty() => Values::Texts(vec![String::new(); count.min(1)]),
        Kind::Bytes(size) => Values::Texts(
            bytes.chunks_exact(size).map(|text| String::from_utf8_lossy(text).trim_end_matches('\0').into()).collect(),
        ),
        Kind::Unicode { chars, big } => {
            let text = |text: &[u8]| -> String {
                let codes = text.chunks_exact(4).map(|code| Element::bits(code, big) as u32);
                codes.map(|code| char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER)).collect()
            };
            Values::Texts(bytes.chunks_exact(4 * chars).map(|code| text(code).trim_end_matches('\0').into()).collect())
        }
    };
    Ok(Column { shape, values })
}

/// The type of an array's elements.
enum Kind {
    Number(Element),
    /// Text of this many bytes.
    Bytes(usize),
    /// Text of this many characters of four bytes.
    Unicode {
        chars: usize,
        big: bool,
    },
}

impl Kind {
    /// The type of a description such as `<f4`.
    fn of(descr: &str) -> Option<Self> {
        let (order, rest) = descr.split_at_checked(1)?;
        let (kind, size) = rest.split_at_checked(1)?;
        let size: usize = size.parse().ok().filter(|&size| size <= MAX_HEADER)?;
        let big = match order {
            ">" => true,
            "<" | "|" => false,
            "=" => cfg!(target_endian = "big"),
            _ => return None,
        };
        Some(match (kind, size) {
            ("i" | "u" | "b", 1 | 2 | 4 | 8) => Kind::Number(Element::Integer { size, signed: kind == "i", big }),
            ("f", 2 | 4 | 8) => Kind::Number(Element::Float { size, big }),
            ("S", size) => Kind::Bytes(size),
            ("U", chars) => Kind::Unicode { chars, big },
            _ => return None,
        })
    }

    fn size(&self) -> usize {
        match *self {
            Kind::Number(element) => element.size(),
            Kind::Bytes(size) => size,
            Kind::Unicode { chars, .. } => 4 * chars,
        }
    }
}

/// The header's dictionary and where the elements begin.
fn header(bytes: &[u8]) -> Option<(String, usize)> {
    let rest = bytes.strip_prefix(b"\x93NUMPY")?;
    let (length, begin) = match rest {
        [1, _, low, high, ..] => (usize::from(u16::from_le_bytes([*low, *high])), 10),
        [2 | 3, _, a, b, c, d, ..] => (u32::from_le_bytes([*a, *b, *c, *d]) as usize, 12),
        _ => return None,
    };
    let end = begin + length;
    let text = bytes.get(begin..end).filter(|text| text.len() <= MAX_HEADER)?;
    Some((String::from_utf8_lossy(text).trim().into(), end))
}

/// What follows a key.
fn after<'a>(header: &'a str, key: &str) -> Option<&'a str> {
    let (_, rest) = header.split_once(&format!("'{key}':"))?;
    Some(rest.trim_start())
}

/// The quoted value of a key.
fn quoted(header: &str, key: &str) -> Option<String> {
    let rest = after(header, key)?.strip_prefix('\'')?;
    Some(rest.split_once('\'')?.0.into())
}

/// The tuple after the key `shape`.
fn shape(header: &str) -> Option<Vec<usize>> {
    let (tuple, _) = after(header, "shape")?.strip_prefix('(')?.split_once(')')?;
    tuple.split(',').map(str::trim).filter(|extent| !extent.is_empty()).map(|extent| extent.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn npy(header: &str, body: &[u8]) -> Vec<u8> {
        [b"\x93NUMPY\x01\x00", &(header.len() as u16).to_le_bytes()[..], header.as_bytes(), body].concat()
    }

    #[test]
    fn arrays_are_what_numpy_wrote() {
        let read = |header: &str, body: &[u8]| array(npy(header, body)).unwrap();
        let column = read("{'descr': '<i2', 'fortran_order': False, 'shape': (2,), }  \n", &[1, 0, 255, 255]);
        let element = Element::Integer { size: 2, signed: true, big: false };
        assert_eq!(column, Column { shape: vec![2], values: Values::Numbers { element, bytes: vec![1, 0, 255, 255] } });
        let column = read(
            "{'descr': '<U3', 'fortran_order': False, 'shape': (2,)}",
            &[b'a', 0, 0, 0, 0xe9, 0, 0, 0, 0, 0, 0, 0, b'b', 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        );
        assert_eq!(column.values, Values::Texts(vec!["aé".into(), "b".into()]));
        let column = read("{'descr': '|S2', 'fortran_order': False, 'shape': ()}", b"ms");
        assert_eq!((column.shape, column.values), (vec![], Values::Texts(vec!["ms".into()])));
    }

    #[test]
    fn other_arrays_are_named() {
        let refused = |header: &str, part: &str| {
            let error = array(npy(header, &[0; 8])).unwrap_err();
            assert!(error.contains(part), "{error}");
        };
        refused("{'descr': '|O', 'fortran_order': False, 'shape': (1,)}", "\"|O\"");
        refused("{'descr': [('t', '<i8')], 'fortran_order': False, 'shape': (1,)}", "structured");
        refused("{'descr': '<i8', 'fortran_order': True, 'shape': (1, 1)}", "column by column");
        refused("{'descr': '<i8', 'fortran_order': False, 'shape': (3,)}", "8 bytes found");
        refused("{'descr': '<i8', 'fortran_order': False, 'shape': (99999999999, 99999999999)}", "8 bytes found");
        refused("{'descr': '<i8'}", "shape");
        assert!(array(b"PK".to_vec()).unwrap_err().contains("not an array"));
    }
}
