//! `metrics.jsonl`: one line of JSON per epoch.

use super::EpochRecord;
use crate::error::{Error, Result};
use crate::files;
use crate::limits;
use std::path::Path;

/// Maximum file size in bytes: a million epochs of a network with a few layers.
const MAX_BYTES: u64 = 256 << 20;

/// Appends a line and syncs it to disk.
///
/// # Errors
/// [`Error::Io`].
pub fn append(path: &Path, record: &EpochRecord) -> Result<()> {
    let mut line =
        serde_json::to_string(record).map_err(|e| Error::format(path, format!("a line cannot be written: {e}")))?;
    line.push('\n');
    files::append(path, line.as_bytes())
}

/// Reads all epochs in the file. An incomplete last line is ignored.
///
/// # Errors
/// [`Error::Io`], or [`Error::Format`] naming an invalid line.
pub fn read(path: &Path) -> Result<Vec<EpochRecord>> {
    Ok(read_lines(path)?.into_iter().map(|(_, record)| record).collect())
}

/// Removes the lines that a run wrote after its checkpoint: those of epochs after `epoch`, and an incomplete last line.
/// Does nothing if the file does not exist.
///
/// # Errors
/// As [`read`].
pub fn truncate_after(path: &Path, epoch: u64) -> Result<()> {
    if !path.exists() {
        return Ok(());
    }
    let lines = read_lines(path)?;
    let kept = lines.iter().filter(|(_, record)| record.epoch <= epoch);
    files::write_atomically(path, kept.flat_map(|(line, _)| [line, "\n"]).collect::<String>().as_bytes())
}

/// The complete lines, as text and parsed.
fn read_lines(path: &Path) -> Result<Vec<(String, EpochRecord)>> {
    let bytes = limits::read(path, MAX_BYTES, "the metrics of a run")?;
    let whole = bytes.iter().rposition(|&byte| byte == b'\n').map_or(0, |end| end + 1);
    let text = std::str::from_utf8(&bytes[..whole]).map_err(|e| Error::format(path, format!("is not text: {e}")))?;
    let lines: Vec<&str> = text.lines().collect();
    let mut out = Vec::with_capacity(lines.len());
    for (k, line) in lines.iter().enumerate() {
        match serde_json::from_str(line) {
            Ok(record) => out.push((line.to_string(), record)),
            Err(e) => {
                return Err(Error::format(
                    path,
                    format!("line {} is not the record of an epoch ({e}); remove it", k + 1),
                ));
            }
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::{DeviceMemory, LossTerms};
    use crate::train::MemoryRecord;

    fn record(epoch: u64) -> EpochRecord {
        EpochRecord {
            epoch,
            loss: 1.5,
            loss_terms: LossTerms { task: 1.0, upper: 0.25, lower: 0.25 },
            train_accuracy: 0.5,
            test_accuracy: 0.75,
            activity: vec![0.01, 0.02],
            spike_density: vec![0.03, 0.04],
            train_seconds: 2.0,
            test_seconds: 0.5,
            exchange: None,
            rescued: None,
            memory: MemoryRecord {
                host: Some(9 << 20),
                device: Some(DeviceMemory { bytes: 5, allocations: 2, reserved: 8 }),
            },
        }
    }

    fn file(text: &str) -> (tempfile::TempDir, std::path::PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("metrics.jsonl");
        std::fs::write(&path, text).unwrap();
        (folder, path)
    }

    #[test]
    fn a_line_has_the_names_that_scripts_depend_on() {
        let (_folder, path) = file("");
        append(&path, &record(1)).unwrap();
        assert_eq!(
            std::fs::read_to_string(&path).unwrap(),
            "{\"epoch\":1,\"loss\":1.5,\"loss_terms\":{\"task\":1.0,\"upper\":0.25,\"lower\":0.25},\
             \"train_accuracy\":0.5,\"test_accuracy\":0.75,\"activity\":[0.01,0.02],\"spike_density\":[0.03,0.04],\
             \"train_seconds\":2.0,\"test_seconds\":0.5,\"memory\":{\"host\":9437184,\
             \"device\":{\"bytes\":5,\"allocations\":2,\"reserved\":8}}}\n"
        );
        append(&path, &record(2)).unwrap();
        assert_eq!(read(&path).unwrap(), [record(1), record(2)]);
    }

    #[test]
    fn later_epochs_and_a_half_line_are_dropped() {
        let (_folder, path) = file("");
        for epoch in 1..=3 {
            append(&path, &record(epoch)).unwrap();
        }
        let mut text = std::fs::read_to_string(&path).unwrap();
        text.push_str("{\"epoch\":4,\"lo");
        std::fs::write(&path, text).unwrap();
        assert_eq!(read(&path).unwrap().len(), 3);
        truncate_after(&path, 2).unwrap();
        append(&path, &record(3)).unwrap();
        assert_eq!(read(&path).unwrap(), [record(1), record(2), record(3)]);
        truncate_after(&path, 0).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"");
        truncate_after(&path.with_extension("none"), 1).unwrap();
    }

    #[test]
    fn a_strange_line_in_the_middle_is_named() {
        let (_folder, path) = file("{\"epoch\":1}\n{}\n");
        let error = read(&path).unwrap_err().to_string();
        assert!(error.contains("metrics.jsonl") && error.contains("line 1"), "{error}");
        std::fs::write(&path, b"\xff\xff\n").unwrap();
        assert!(matches!(read(&path), Err(Error::Format { .. })));
    }
}
