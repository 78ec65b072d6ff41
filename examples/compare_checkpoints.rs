//! Compares the tensors of two checkpoints, or of any two safetensors files, bit for bit. Metadata are ignored, since they
//! contain paths and times. Exit code 1 if a tensor differs; prints how many of its numbers differ and by how much.
//!
//!     cargo run --release --example compare_checkpoints -- a/checkpoint.safetensors b/checkpoint.safetensors

use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use std::process::ExitCode;

fn main() -> ExitCode {
    let files: Vec<String> = std::env::args().skip(1).collect();
    let [a, b] = &files[..] else {
        eprintln!("compare_checkpoints: give two files");
        return ExitCode::from(2);
    };
    match compare_files(a, b) {
        Ok((tensors, differences)) if differences.is_empty() => {
            println!("{tensors} tensors are equal bit for bit");
            ExitCode::SUCCESS
        }
        Ok((tensors, differences)) => {
            println!("{} of {tensors} tensors differ:\n  {}", differences.len(), differences.join("\n  "));
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("compare_checkpoints: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Returns the number of tensors, and descriptions of those that differ.
fn compare_files(a: &str, b: &str) -> Result<(usize, Vec<String>), String> {
    let read = |path: &str| std::fs::read(path).map_err(|e| format!("{path}: {e}"));
    let (bytes_a, bytes_b) = (read(a)?, read(b)?);
    let tensors_a = SafeTensors::deserialize(&bytes_a).map_err(|e| format!("{a}: {e}"))?;
    let tensors_b = SafeTensors::deserialize(&bytes_b).map_err(|e| format!("{b}: {e}"))?;
    if tensors_a.is_empty() {
        return Err(format!("{a}: holds no tensor"));
    }
    Ok((tensors_a.len(), compare(&tensors_a, &tensors_b)))
}

fn compare(a: &SafeTensors, b: &SafeTensors) -> Vec<String> {
    let mut names: Vec<String> = [a.names(), b.names()].concat().into_iter().map(str::to_string).collect();
    names.sort();
    names.dedup();
    let difference = |name: &String| match (a.tensor(name), b.tensor(name)) {
        (Ok(a), Ok(b)) if a == b => None,
        (Ok(a), Ok(b)) if (a.dtype(), a.shape()) != (b.dtype(), b.shape()) => {
            Some(format!("{name}: {} {:?} and {} {:?}", a.dtype(), a.shape(), b.dtype(), b.shape()))
        }
        (Ok(a), Ok(b)) => Some(format!("{name}: {}", how_much(&a, &b))),
        _ => Some(format!("{name}: only in one of the files")),
    };
    names.iter().filter_map(difference).collect()
}

/// Describes the difference of two tensors of the same type and shape.
fn how_much(a: &TensorView, b: &TensorView) -> String {
    if a.dtype() != Dtype::F32 {
        return "other bytes".into();
    }
    let numbers = |view: &TensorView| -> Vec<f32> {
        view.data().as_chunks().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect()
    };
    let (a, b) = (numbers(a), numbers(b));
    let differing = a.iter().zip(&b).filter(|(a, b)| a.to_bits() != b.to_bits());
    let (mut n, mut most) = (0, 0.0f32);
    for (a, b) in differing {
        (n, most) = (n + 1, most.max((a - b).abs()));
    }
    format!("{n} of {} numbers, by {most:e} at most", a.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(tensors: &[(&str, &[f32])]) -> Vec<u8> {
        let bytes: Vec<Vec<u8>> =
            tensors.iter().map(|(_, x)| x.iter().flat_map(|x| x.to_le_bytes()).collect()).collect();
        let views = tensors
            .iter()
            .zip(&bytes)
            .map(|((name, x), bytes)| (*name, TensorView::new(Dtype::F32, vec![x.len()], bytes).unwrap()));
        safetensors::serialize(views, None).unwrap()
    }

    fn said(a: &[(&str, &[f32])], b: &[(&str, &[f32])]) -> Vec<String> {
        let (a, b) = (file(a), file(b));
        compare(&SafeTensors::deserialize(&a).unwrap(), &SafeTensors::deserialize(&b).unwrap())
    }

    #[test]
    fn every_difference_is_named() {
        let a: &[(&str, &[f32])] = &[("v", &[0.0, 1.0, 2.0]), ("w", &[1.0])];
        assert_eq!(said(a, a), [""; 0]);
        assert_eq!(said(a, &[("v", &[0.0, 1.5, 2.0]), ("w", &[1.0])]), ["v: 1 of 3 numbers, by 5e-1 at most"]);
        // Equal as numbers, not as bits.
        assert_eq!(said(a, &[("v", &[-0.0, 1.0, 2.0]), ("w", &[1.0])]), ["v: 1 of 3 numbers, by 0e0 at most"]);
        assert_eq!(said(a, &[("v", &[0.0, 1.0, 2.0])]), ["w: only in one of the files"]);
        assert_eq!(said(&[("w", &[1.0])], a).len(), 1);
        assert_eq!(said(a, &[("v", &[0.0, 1.0]), ("w", &[1.0])]), ["v: F32 [3] and F32 [2]"]);
    }
}
