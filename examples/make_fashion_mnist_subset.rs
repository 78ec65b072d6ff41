//! Creates the subset of Fashion-MNIST in `assets/fashion-mnist/` from the full data set: the first 300 training and 100
//! test images of each class, in the order of the files.
//!
//!     cargo run --release --example make_fashion_mnist_subset -- /usr/share/datasets/fashion-mnist assets/fashion-mnist
//!
//! With `--check` it writes nothing, and checks that the files in the second folder contain these images.

use anyhow::{Result, bail};
use flate2::{Compression, write::GzEncoder};
use spikegrad::data::idx::{self, Images};
use std::fs::File;
use std::path::Path;

const HALVES: [(&str, usize); 2] = [("train", 300), ("t10k", 100)];

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (whole, subset, check) = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [whole, subset] => (Path::new(whole), Path::new(subset), false),
        ["--check", whole, subset] => (Path::new(whole), Path::new(subset), true),
        _ => bail!("usage: make_fashion_mnist_subset [--check] FOLDER_OF_THE_WHOLE FOLDER_OF_THE_SUBSET"),
    };
    for (half, each) in HALVES {
        let images_name = format!("{half}-images-idx3-ubyte.gz");
        let labels_name = format!("{half}-labels-idx1-ubyte.gz");
        let images = idx::read_images(&whole.join(&images_name))?;
        let labels = idx::read_labels(&whole.join(&labels_name))?;
        let (images, labels) = first_of_each_class(&images, &labels, each);
        let (images_path, labels_path) = (subset.join(images_name), subset.join(labels_name));
        if check {
            if idx::read_images(&images_path)? != images || idx::read_labels(&labels_path)? != labels {
                bail!("{half}: the files in {} hold something else", subset.display());
            }
            println!("{half}: {} images, as they should be", images.len());
        } else {
            // This encoder writes neither a name nor a time, so that the same images give the same bytes.
            let mut out = GzEncoder::new(File::create(&images_path)?, Compression::best());
            idx::write_images(&mut out, &images)?;
            out.finish()?;
            let mut out = GzEncoder::new(File::create(&labels_path)?, Compression::best());
            idx::write_labels(&mut out, &labels)?;
            out.finish()?;
            println!("{half}: {} images, {} bytes", images.len(), images_path.metadata()?.len());
        }
    }
    Ok(())
}

fn first_of_each_class(images: &Images, labels: &[u8], each: usize) -> (Images, Vec<u8>) {
    let mut seen = [0; 256];
    let mut chosen = Images { height: images.height, width: images.width, pixels: Vec::new() };
    let mut chosen_labels = Vec::new();
    for (image, &label) in images.iter().zip(labels) {
        let seen = &mut seen[usize::from(label)];
        *seen += 1;
        if *seen <= each {
            chosen.pixels.extend_from_slice(image);
            chosen_labels.push(label);
        }
    }
    (chosen, chosen_labels)
}
