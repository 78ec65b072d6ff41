//! Reads and writes idx files, the format of MNIST and Fashion-MNIST, plain or gzipped.
//!
//! The header is a sequence of big-endian u32 numbers: a magic number (0x801 labels, 0x803 images), the number of items,
//! and for images their height and width. One byte per label or pixel follows. Files are not trusted: memory grows with
//! the bytes actually read, not with the sizes in the header, and decompression stops one byte after the size in the
//! header or at a suspicious compression ratio.

use super::Shape;
use super::gunzip::Gunzip;
use crate::error::{Error, Result};
use crate::limits;
use crate::network::MAX_EXTENT;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::Path;

const LABELS_MAGIC: u32 = 0x801;
const IMAGES_MAGIC: u32 = 0x803;
const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];

/// Maximum number of pixels or labels in a file: 1 GiB, twenty times that of Fashion-MNIST.
pub const MAX_BYTES: u64 = 1 << 30;

/// Grey images of one size.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Images {
    /// Rows of an image, 1 or more.
    pub height: usize,
    /// Columns of an image, 1 or more.
    pub width: usize,
    /// [n, height, width], row-major; 0 is black.
    pub pixels: Vec<u8>,
}

impl Images {
    /// Number of images.
    pub fn len(&self) -> usize {
        self.pixels.len() / (self.height * self.width)
    }

    /// Their size.
    pub fn shape(&self) -> Shape {
        Shape { channels: 1, height: self.height, width: self.width }
    }

    /// Whether there are no images.
    pub fn is_empty(&self) -> bool {
        self.pixels.is_empty()
    }

    /// Iterates over the images, `height * width` pixels each.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &[u8]> {
        self.pixels.chunks_exact(self.height * self.width)
    }
}

/// Reads the images of the file `path`.
///
/// # Errors
/// [`Error::Io`]; [`Error::Format`] if it is not an idx file of images, is damaged, empty, truncated, or longer than its
/// header says, or has more than [`MAX_BYTES`] in total or more than [`MAX_EXTENT`] pixels per image.
pub fn read_images(path: &Path) -> Result<Images> {
    images_from(open(path)?, path)
}

/// Reads the size of the images of the file `path` from its header; errors as [`read_images`], if the header has them.
pub fn read_shape(path: &Path) -> Result<Shape> {
    let [_, height, width] = images_header(&mut Reader::new(open(path)?, path)?)?;
    Ok(Shape { channels: 1, height: height as usize, width: width as usize })
}

/// Reads the labels of the file `path`; errors as [`read_images`].
pub fn read_labels(path: &Path) -> Result<Vec<u8>> {
    labels_from(open(path)?, path)
}

/// As [`read_images`], from any source. `name` is used in errors.
pub fn images_from(source: impl BufRead, name: &Path) -> Result<Images> {
    let mut reader = Reader::new(source, name)?;
    let [count, height, width] = images_header(&mut reader)?;
    let pixels = reader.body(&[count, height, width], "pixel")?;
    Ok(Images { height: height as usize, width: width as usize, pixels })
}

/// Number, height and width of the images.
fn images_header(reader: &mut Reader) -> Result<[u32; 3]> {
    let [count, height, width] = reader.header(IMAGES_MAGIC)?;
    if u64::from(height) * u64::from(width) > MAX_EXTENT as u64 {
        return Err(Error::format(
            reader.name,
            format!(
                "the header claims images of {height} × {width} pixels, but a network has at most {MAX_EXTENT} pixels as \
                 input; scale the images down, or get the file again if they should be smaller"
            ),
        ));
    }
    Ok([count, height, width])
}

/// As [`read_labels`], from any source. `name` is used in errors.
pub fn labels_from(source: impl BufRead, name: &Path) -> Result<Vec<u8>> {
    let mut reader = Reader::new(source, name)?;
    let [count] = reader.header(LABELS_MAGIC)?;
    reader.body(&[count], "label")
}

/// Writes `images` as a plain idx file.
///
/// # Errors
/// Errors of `out`, or a count or size above 2³² - 1.
pub fn write_images(out: impl Write, images: &Images) -> io::Result<()> {
    write(out, IMAGES_MAGIC, &[images.len(), images.height, images.width], &images.pixels)
}

/// Writes `labels` as a plain idx file; errors as [`write_images`].
pub fn write_labels(out: impl Write, labels: &[u8]) -> io::Result<()> {
    write(out, LABELS_MAGIC, &[labels.len()], labels)
}

fn write(mut out: impl Write, magic: u32, sizes: &[usize], bytes: &[u8]) -> io::Result<()> {
    out.write_all(&magic.to_be_bytes())?;
    for &size in sizes {
        let size = u32::try_from(size).map_err(io::Error::other)?;
        out.write_all(&size.to_be_bytes())?;
    }
    out.write_all(bytes)
}

fn open(path: &Path) -> Result<BufReader<File>> {
    limits::refuse_special(path)?;
    Ok(BufReader::with_capacity(1 << 16, File::open(path).map_err(Error::io(path))?))
}

/// Reads the decompressed bytes of an idx file.
struct Reader<'a> {
    source: Box<dyn Read + 'a>,
    name: &'a Path,
    gzipped: bool,
}

impl<'a> Reader<'a> {
    fn new(mut source: impl BufRead + 'a, name: &'a Path) -> Result<Self> {
        let gzipped = source.fill_buf().map_err(Error::io(name))?.starts_with(&GZIP_MAGIC);
        let source: Box<dyn Read> = if gzipped { Box::new(Gunzip::new(source)) } else { Box::new(source) };
        Ok(Reader { source, name, gzipped })
    }

    /// Reads `limit` bytes, or fewer at the end of the file.
    fn read(&mut self, limit: u64, what: &str) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        match self.source.by_ref().take(limit).read_to_end(&mut bytes) {
            Ok(_) => Ok(bytes),
            Err(error) if error.kind() == io::ErrorKind::FileTooLarge => {
                Err(Error::format(self.name, error.to_string()))
            }
            // Errors of the decoder have no OS error code.
            Err(error) if self.gzipped && error.raw_os_error().is_none() => Err(Error::format(
                self.name,
                format!(
                    "the gzip stream is damaged, truncated or followed by other bytes: \"{error}\" after {} bytes of \
                     {what}; get the file again",
                    bytes.len()
                ),
            )),
            Err(error) => Err(Error::io(self.name)(error)),
        }
    }

    /// Reads the magic number and the sizes, none of which may be 0.
    fn header<const D: usize>(&mut self, magic: u32) -> Result<[u32; D]> {
        let length = 4 * (1 + D);
        let bytes = self.read(length as u64, "header")?;
        let words: Vec<u32> = bytes.as_chunks().0.iter().map(|word| u32::from_be_bytes(*word)).collect();
        if let Some(&found) = words.first()
            && found != magic
        {
            let hint = match found {
                IMAGES_MAGIC => "this is a file of images, a file of labels is required",
                LABELS_MAGIC => "this is a file of labels, a file of images is required",
                _ => "this is not an idx file, get it again",
            };
            return Err(Error::format(
                self.name,
                format!("magic number {found:#x} found, {magic:#x} expected; {hint}"),
            ));
        }
        if bytes.len() < length {
            return Err(Error::format(
                self.name,
                format!("ends after {} bytes, the header alone has {length}; get the file again", bytes.len()),
            ));
        }
        let mut sizes = [0; D];
        sizes.copy_from_slice(&words[1..]);
        if sizes.contains(&0) {
            return Err(Error::format(
                self.name,
                format!("the header claims {}, every size must be 1 or more; get the file again", product(&sizes)),
            ));
        }
        Ok(sizes)
    }

    /// Reads as many bytes as the header says, which must be the rest of the file.
    fn body(&mut self, sizes: &[u32], unit: &str) -> Result<Vec<u8>> {
        let claim: u128 = sizes.iter().map(|&size| u128::from(size)).product();
        let Some(claim) = u64::try_from(claim).ok().filter(|&claim| claim <= MAX_BYTES) else {
            return Err(Error::format(
                self.name,
                format!(
                    "the header claims {}{claim} {unit}s, at most {MAX_BYTES} are read; get the file again, or split it",
                    product_is(sizes)
                ),
            ));
        };
        let mut bytes = self.read(claim + 1, &format!("the {claim} {unit}s that the header claims"))?;
        let found = bytes.len() as u64;
        if found != claim {
            let found = if found < claim { format!("it ends after {found}") } else { "more bytes follow".into() };
            return Err(Error::format(
                self.name,
                format!(
                    "the header claims {}{claim} {unit}s, one byte each, but {found}; get the file again",
                    product_is(sizes)
                ),
            ));
        }
        bytes.shrink_to_fit();
        Ok(bytes)
    }
}

/// `2 × 3`.
fn product(sizes: &[u32]) -> String {
    sizes.iter().map(u32::to_string).collect::<Vec<_>>().join(" × ")
}

/// `2 × 3 = `, or nothing for a single size.
fn product_is(sizes: &[u32]) -> String {
    if sizes.len() > 1 { product(sizes) + " = " } else { String::new() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::Compression;
    use flate2::write::GzEncoder;
    use proptest::prelude::*;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn header(words: &[u32]) -> Vec<u8> {
        words.iter().flat_map(|word| word.to_be_bytes()).collect()
    }

    fn images(bytes: &[u8]) -> Result<Images> {
        images_from(bytes, Path::new("hostile.idx"))
    }

    /// The message of the `Error::Format` of reading `bytes` as images, which must be the same if they are gzipped.
    fn refused(bytes: &[u8]) -> String {
        let [plain, gzipped] = [images(bytes), images(&gzip(bytes))].map(|result| match result {
            Err(Error::Format { path, what }) => {
                assert_eq!(path, Path::new("hostile.idx"));
                what
            }
            other => panic!("expected Error::Format, got {other:?}"),
        });
        assert_eq!(plain, gzipped);
        plain
    }

    fn small() -> Vec<u8> {
        let mut bytes = header(&[IMAGES_MAGIC, 2, 2, 3]);
        bytes.extend(0..12);
        bytes
    }

    proptest! {
        #[test]
        fn images_and_labels_come_back(n in 1usize..5, height in 1usize..6, width in 1usize..6, byte in any::<u8>()) {
            let pixels = (0..n * height * width).map(|k| byte.wrapping_mul(k as u8)).collect();
            let written = Images { height, width, pixels };
            let mut bytes = Vec::new();
            write_images(&mut bytes, &written).unwrap();
            prop_assert_eq!(&images(&bytes).unwrap(), &written);
            prop_assert_eq!(&images(&gzip(&bytes)).unwrap(), &written);
            prop_assert_eq!(written.len(), n);

            let labels = &written.pixels;
            bytes.clear();
            write_labels(&mut bytes, labels).unwrap();
            prop_assert_eq!(&labels_from(&bytes[..], Path::new("l")).unwrap(), labels);
            prop_assert_eq!(&labels_from(&gzip(&bytes)[..], Path::new("l")).unwrap(), labels);
        }

        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64), gz in any::<bool>()) {
            let mut bytes = bytes;
            if gz {
                bytes.splice(0..bytes.len().min(4), [0x1f, 0x8b, 8, 0]);
            }
            let _ = images(&bytes);
            let _ = labels_from(&bytes[..], Path::new("l"));
        }
    }

    #[test]
    fn two_gzip_streams_are_one_file() {
        let bytes = small();
        let joined = [gzip(&bytes[..20]), gzip(&bytes[20..])].concat();
        assert_eq!(images(&joined).unwrap(), images(&bytes).unwrap());
    }

    #[test]
    fn wrong_magic_is_named_and_swapped_files_are_recognised() {
        assert!(refused(b"<!DOCTYPE html>").contains("0x3c21444f found, 0x803"));
        let what = refused(&header(&[LABELS_MAGIC, 1, 7]));
        assert!(what.contains("0x801 found, 0x803") && what.contains("file of labels"), "{what}");
        let error = labels_from(&small()[..], Path::new("l")).unwrap_err().to_string();
        assert!(error.starts_with("l: magic number 0x803 found, 0x801") && error.contains("file of images"), "{error}");
    }

    #[test]
    fn truncation_is_found_wherever_it_falls() {
        assert!(refused(b"").contains("ends after 0 bytes, the header alone has 16"));
        assert!(refused(&small()[..15]).contains("ends after 15 bytes"));
        let what = refused(&small()[..27]);
        assert!(what.contains("2 × 2 × 3 = 12 pixels") && what.contains("ends after 11"), "{what}");
        let gzipped = gzip(&small());
        for length in 2..gzipped.len() {
            let error = images(&gzipped[..length]).unwrap_err();
            assert!(matches!(error, Error::Format { .. }), "{length}: {error}");
        }
    }

    #[test]
    fn every_flipped_bit_of_the_deflated_bytes_is_found() {
        let gzipped = gzip(&small());
        for k in 10..gzipped.len() {
            let mut damaged = gzipped.clone();
            damaged[k] ^= 1;
            assert!(matches!(images(&damaged), Err(Error::Format { .. })), "byte {k}");
        }
    }

    #[test]
    fn trailing_bytes_are_refused() {
        let mut bytes = small();
        bytes.push(0);
        assert!(refused(&bytes).contains("12 pixels, one byte each, but more bytes follow"));
        let mut after_the_stream = gzip(&small());
        after_the_stream.extend(b"garbage after the stream");
        let error = images(&after_the_stream).unwrap_err().to_string();
        assert!(error.contains("followed by other bytes"), "{error}");
    }

    #[test]
    fn zero_sizes_are_refused() {
        for sizes in [[0, 2, 3], [2, 0, 3], [2, 3, 0]] {
            let what = refused(&header(&[IMAGES_MAGIC, sizes[0], sizes[1], sizes[2]]));
            assert!(what.contains("every size must be 1 or more"), "{what}");
        }
        assert!(labels_from(&header(&[LABELS_MAGIC, 0])[..], Path::new("l")).is_err());
    }

    #[test]
    fn claims_over_the_limits_are_refused_unread() {
        assert!(refused(&header(&[IMAGES_MAGIC, 1, u32::MAX, u32::MAX])).contains("4294967295 × 4294967295 pixels"));
        assert!(refused(&header(&[IMAGES_MAGIC, 1, 257, 256])).contains("at most 65536 pixels"));
        let what = refused(&header(&[IMAGES_MAGIC, u32::MAX, 256, 256]));
        assert!(what.contains("= 281474976645120 pixels, at most 1073741824"), "{what}");
        // Within the limits, but wrong: memory must grow with the bytes read only.
        assert!(refused(&header(&[IMAGES_MAGIC, 1 << 14, 256, 256])).contains("ends after 0"));
    }

    #[test]
    fn a_gzip_bomb_is_inflated_no_further_than_its_header_claims() {
        // Counts what is taken of the compressed stream: 64 MiB of zeros deflate to about 64 KiB.
        struct Counter<'a>(&'a [u8], &'a std::cell::Cell<usize>);
        impl Read for Counter<'_> {
            fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
                let n = self.0.read(buffer)?;
                self.1.set(self.1.get() + n);
                Ok(n)
            }
        }
        let mut bomb = small();
        bomb.resize(64 << 20, 0);
        let bomb = gzip(&bomb);
        let taken = std::cell::Cell::new(0);
        let source = BufReader::with_capacity(512, Counter(&bomb, &taken));
        let error = images_from(source, Path::new("bomb.gz")).unwrap_err().to_string();
        assert!(error.contains("more bytes follow"), "{error}");
        assert!(taken.get() * 8 < bomb.len(), "{} of {} compressed bytes read", taken.get(), bomb.len());
    }

    #[test]
    fn a_missing_file_and_a_folder_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let missing = folder.path().join("none.gz");
        assert!(matches!(read_images(&missing), Err(Error::Io { path, .. }) if path == missing));
        assert!(matches!(read_labels(folder.path()), Err(Error::Io { path, .. }) if path == folder.path()));
    }
}
