//! Decompression of untrusted files, limited so that a small file cannot exhaust memory.

use flate2::bufread::MultiGzDecoder;
use std::io::{self, BufRead, Read};

/// Decompressed bytes that are always allowed.
const INFLATED_FREELY: u64 = 64 << 20;
/// Beyond that, the maximum compression ratio. Images and events have 2 to 6, a decompression bomb 1000.
const INFLATED_RATIO: u64 = 32;

/// Maximum decompressed size of `compressed` bytes.
pub(crate) fn inflated(compressed: u64) -> u64 {
    INFLATED_FREELY.saturating_add(compressed.saturating_mul(INFLATED_RATIO))
}

/// Decompresses a gzip file, which may have several streams. Exceeding [`inflated`] is an error of kind
/// [`io::ErrorKind::FileTooLarge`].
pub(crate) struct Gunzip<R> {
    decoder: MultiGzDecoder<CountingReader<R>>,
    inflated: u64,
}

impl<R: BufRead> Gunzip<R> {
    pub(crate) fn new(source: R) -> Self {
        // The single-stream decoder would ignore data after the first stream.
        Gunzip { decoder: MultiGzDecoder::new(CountingReader { source, bytes: 0 }), inflated: 0 }
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
                    "{compressed} bytes decompress to {} or more, which is suspicious; if you trust the file, gunzip it",
                    self.inflated
                ),
            )),
            false => Ok(n),
        }
    }
}

/// Counts the bytes read from `source`.
struct CountingReader<R> {
    source: R,
    bytes: u64,
}

impl<R: Read> Read for CountingReader<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let n = self.source.read(out)?;
        self.bytes += n as u64;
        Ok(n)
    }
}

impl<R: BufRead> BufRead for CountingReader<R> {
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
