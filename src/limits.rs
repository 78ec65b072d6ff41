//! Files may be a stranger's: they are read up to a limit, inflated up to a ratio, and quoted without harm.

use crate::error::{Error, Result};
use flate2::bufread::MultiGzDecoder;
use std::borrow::Cow;
use std::fs::{self, File};
use std::io::{self, BufRead, Read};
use std::path::Path;

/// Bytes that any compressed file may inflate to, however short it is.
const INFLATED_FREELY: u64 = 64 << 20;
/// Beyond that, bytes that each of its own bytes may inflate to. Images and events come to 2 to 6, a bomb to 1000.
const INFLATED_RATIO: u64 = 32;

/// Longest text of an error that is about a file, characters.
const MOST_CHARS: usize = 4000;

/// What `compressed` bytes may inflate to.
pub(crate) fn inflated(compressed: u64) -> u64 {
    INFLATED_FREELY.saturating_add(compressed.saturating_mul(INFLATED_RATIO))
}

/// All bytes of the file at `path`, `limit` at most; of more it says that that is more than `what` has.
///
/// # Errors
/// [`Error::Io`]; [`Error::Format`] for a longer file, and for a pipe or device, which may have no end.
pub(crate) fn read(path: &Path, limit: u64, what: &str) -> Result<Vec<u8>> {
    let length = refuse_special(path)?;
    let mut bytes = Vec::new();
    if length <= limit {
        let file = File::open(path).map_err(Error::io(path))?;
        // It may grow meanwhile.
        file.take(limit.saturating_add(1)).read_to_end(&mut bytes).map_err(Error::io(path))?;
    }
    match length.max(bytes.len() as u64) > limit {
        true => Err(Error::format(path, format!("has more than {limit} bytes, the most that {what} has"))),
        false => Ok(bytes),
    }
}

/// As [`read`], a text.
///
/// # Errors
/// Those of [`read`], and [`Error::Format`] naming the byte that is no UTF-8.
pub(crate) fn read_text(path: &Path, limit: u64, what: &str) -> Result<String> {
    String::from_utf8(read(path, limit, what)?)
        .map_err(|e| Error::format(path, format!("is no text ({}), {what} expected", e.utf8_error())))
}

/// Refuses what is neither a file nor a folder: opening a pipe would wait for its other end. The bytes of the file.
pub(crate) fn refuse_special(path: &Path) -> Result<u64> {
    let kind = fs::metadata(path).map_err(Error::io(path))?;
    match kind.is_file() || kind.is_dir() {
        true => Ok(if kind.is_dir() { 0 } else { kind.len() }),
        false => Err(Error::format(path, "is a pipe or a device; name a file")),
    }
}

/// Refuses a link where the program appends to a file or locks it: what it leads to may be anybody's.
pub(crate) fn refuse_link(path: &Path) -> Result<()> {
    match fs::symlink_metadata(path).is_ok_and(|found| found.is_symlink()) {
        true => Err(Error::format(path, "is a link, and is about to be written; remove it, or choose another folder")),
        false => Ok(()),
    }
}

/// A stranger's words as they may be shown: control characters, which terminals obey, are escaped, all but the end of a
/// line; long texts are cut.
pub(crate) fn harmless(text: &str) -> Cow<'_, str> {
    let bad = |c: char| c.is_control() && c != '\n';
    if !text.contains(bad) && text.len() <= MOST_CHARS {
        return text.into();
    }
    let mut shown = String::new();
    for c in text.chars().take(MOST_CHARS) {
        match bad(c) {
            true => shown.extend(c.escape_default()),
            false => shown.push(c),
        }
    }
    if text.chars().nth(MOST_CHARS).is_some() {
        shown.push('…');
    }
    shown.into()
}

/// A gzip file inflated, one stream after the other. More than [`inflated`] allows is an error of kind
/// [`io::ErrorKind::FileTooLarge`].
pub(crate) struct Gunzip<R> {
    decoder: MultiGzDecoder<Counted<R>>,
    inflated: u64,
}

impl<R: BufRead> Gunzip<R> {
    pub(crate) fn new(source: R) -> Self {
        // "Multi", because only that decoder looks at what follows the first stream.
        Gunzip { decoder: MultiGzDecoder::new(Counted { source, bytes: 0 }), inflated: 0 }
    }
}

impl<R: BufRead> Read for Gunzip<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let n = self.decoder.read(out)?;
        self.inflated += n as u64;
        let compressed = self.decoder.get_ref().bytes;
        match self.inflated > inflated(compressed) {
            true => Err(io::Error::new(
                io::ErrorKind::FileTooLarge,
                format!(
                    "{compressed} bytes inflate to {} and more, which no data do; gunzip it, if it is to be trusted",
                    self.inflated
                ),
            )),
            false => Ok(n),
        }
    }
}

/// Counts the bytes taken.
struct Counted<R> {
    source: R,
    bytes: u64,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let n = self.source.read(out)?;
        self.bytes += n as u64;
        Ok(n)
    }
}

impl<R: BufRead> BufRead for Counted<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.source.fill_buf()
    }

    fn consume(&mut self, n: usize) {
        self.bytes += n as u64;
        self.source.consume(n);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{BufReader, Write};

    #[test]
    fn a_file_is_read_up_to_the_limit() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        fs::write(&path, "12345").unwrap();
        assert_eq!(read(&path, 5, "it").unwrap(), b"12345");
        let error = read(&path, 4, "it").unwrap_err().to_string();
        assert!(error.ends_with("a: has more than 4 bytes, the most that it has"), "{error}");
        assert!(matches!(read(folder.path(), 4, "it"), Err(Error::Io { .. })));
        fs::write(&path, b"ok\xff").unwrap();
        let error = read_text(&path, 9, "a text").unwrap_err().to_string();
        assert!(error.contains("from index 2") && error.contains("a text expected"), "{error}");
    }

    #[cfg(unix)]
    #[test]
    fn devices_and_pipes_are_refused() {
        let error = read(Path::new("/dev/zero"), 4, "it").unwrap_err().to_string();
        assert!(error.contains("/dev/zero: is a pipe or a device"), "{error}");
    }

    #[test]
    fn what_terminals_obey_is_escaped() {
        assert_eq!(harmless("τ = 1\n^"), "τ = 1\n^");
        assert_eq!(harmless("a\u{1b}[2Jb\r"), "a\\u{1b}[2Jb\\r");
        assert_eq!(harmless(&"x".repeat(1 << 20)).chars().count(), MOST_CHARS + 1);
    }

    #[test]
    fn a_stream_inflates_as_far_as_data_do() {
        let gunzip = |bytes: &[u8]| {
            let mut read = 0;
            let mut source = Gunzip::new(BufReader::new(bytes));
            let mut block = vec![0; 1 << 16];
            loop {
                match source.read(&mut block) {
                    Ok(0) => return (read, None),
                    Ok(n) => read += n as u64,
                    Err(e) => return (read, Some(e.kind())),
                }
            }
        };
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        let block = vec![0; 1 << 20];
        (0..80).for_each(|_| encoder.write_all(&block).unwrap());
        let bomb = encoder.finish().unwrap();
        let (read, error) = gunzip(&bomb);
        assert_eq!(error, Some(io::ErrorKind::FileTooLarge));
        assert!(read <= inflated(bomb.len() as u64) && read >= INFLATED_FREELY, "{read}");
        let mut small = Vec::new();
        flate2::read::GzEncoder::new(&block[..], flate2::Compression::fast()).read_to_end(&mut small).unwrap();
        assert_eq!(gunzip(&small), (1 << 20, None));
    }
}
