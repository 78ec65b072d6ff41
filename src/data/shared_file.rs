//! A file that several threads read, each at its own position.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::sync::{Arc, Mutex, PoisonError};

/// Number of bytes read ahead, since a zip's directory is read in small pieces.
const AHEAD: usize = 1 << 14;

/// A reader whose clones share the file, but each have their own position.
#[derive(Debug)]
pub(super) struct SharedFile {
    file: Arc<Mutex<File>>,
    length: u64,
    at: u64,
    /// The bytes read ahead, and their offset in the file.
    ahead: Vec<u8>,
    ahead_at: u64,
}

impl SharedFile {
    pub(super) fn new(file: File) -> io::Result<Self> {
        let length = file.metadata()?.len();
        Ok(SharedFile { file: Arc::new(Mutex::new(file)), length, at: 0, ahead: Vec::new(), ahead_at: 0 })
    }
}

impl Clone for SharedFile {
    /// A reader at the beginning of the same file.
    fn clone(&self) -> Self {
        SharedFile { file: Arc::clone(&self.file), length: self.length, at: 0, ahead: Vec::new(), ahead_at: 0 }
    }
}

impl Read for SharedFile {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let held = self.ahead_at..self.ahead_at + self.ahead.len() as u64;
        if !held.contains(&self.at) {
            self.ahead.resize(AHEAD, 0);
            // A poisoned lock is harmless: the position is set before each read.
            let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
            let read = file.seek(SeekFrom::Start(self.at)).and_then(|_| file.read(&mut self.ahead));
            drop(file);
            self.ahead.truncate(*read.as_ref().unwrap_or(&0));
            self.ahead_at = self.at;
            read?;
        }
        let held = &self.ahead[(self.at - self.ahead_at) as usize..];
        let n = out.len().min(held.len());
        out[..n].copy_from_slice(&held[..n]);
        self.at += n as u64;
        Ok(n)
    }
}

impl Seek for SharedFile {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let at = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::End(offset) => self.length.checked_add_signed(offset),
            SeekFrom::Current(offset) => self.at.checked_add_signed(offset),
        };
        self.at = at.ok_or_else(|| {
            io::Error::new(io::ErrorKind::InvalidInput, "seek to a position before the beginning of the file")
        })?;
        Ok(self.at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn clones_read_at_places_of_their_own() {
        let bytes: Vec<u8> = (0..50_000u32).map(|n| (n * n % 251) as u8).collect();
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&bytes).unwrap();
        let mut first = SharedFile::new(file).unwrap();
        let mut second = first.clone();
        assert_eq!(first.seek(SeekFrom::End(-100)).unwrap(), 49_900);
        let (mut head, mut tail) = (vec![0; 40_000], Vec::new());
        second.read_exact(&mut head[..10]).unwrap();
        first.read_to_end(&mut tail).unwrap();
        second.read_exact(&mut head[10..]).unwrap();
        assert!(head == bytes[..40_000] && tail == bytes[49_900..]);
        assert!(first.seek(SeekFrom::Current(-50_001)).is_err());
        assert_eq!(first.seek(SeekFrom::Start(60_000)).unwrap(), 60_000);
        assert_eq!(first.read(&mut head).unwrap(), 0);
    }
}
