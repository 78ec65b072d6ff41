//! Data sets: found, read, and turned into spike events.

pub mod augment;
pub mod fashion_mnist;
pub mod idx;
pub mod latency;
pub mod order;

use crate::error::{Error, Result};
use crate::events::EventSet;
use crate::model::Network;
use crate::presets::data_set;
use fashion_mnist::Origin;
use latency::LatencyCode;
use std::path::Path;
use std::sync::Arc;

/// The training and the test samples of a preset.
#[derive(Debug, Clone)]
pub struct DataSet {
    /// Samples to train on.
    pub train: Arc<EventSet>,
    /// Samples to test on.
    pub test: EventSet,
    /// What was read and from where, for people.
    pub origin: String,
    /// Whether this is the subset that is part of the program: enough to try things, not to report accuracies.
    pub subset: bool,
}

/// Loads the data of `preset` (`fmnist`), encoded for `network`, from the folder `data` or from where it is installed.
///
/// # Errors
/// [`Error::Unsupported`] for `nmnist` and `shd`, [`Error::Config`] for another name or a network that cannot work,
/// [`Error::Data`] where the data do not fit the network, and those of [`fashion_mnist::locate`] and
/// [`fashion_mnist::load`].
pub fn load(preset: &str, data: Option<&Path>, network: &Network) -> Result<DataSet> {
    network.check()?;
    let set = match data_set(preset) {
        "fmnist" => load_fashion_mnist(data, &LatencyCode::new(network.time_steps, network.dt_ms))?,
        "nmnist" | "shd" => {
            return Err(Error::Unsupported(format!(
                "data loading for {preset} comes in a later version; this one has data for fmnist"
            )));
        }
        _ => return Err(Error::Config(format!("no data set is called {preset}; use fmnist, nmnist or shd"))),
    };
    for half in [&*set.train, &set.test] {
        half.check_fits(network.inputs, network.time_steps, network.readout.classes)?;
    }
    Ok(set)
}

fn load_fashion_mnist(data: Option<&Path>, code: &LatencyCode) -> Result<DataSet> {
    let located = fashion_mnist::locate(data)?;
    let (train, test) = match &located.folder {
        Some(folder) => fashion_mnist::load(folder, code)?,
        None => fashion_mnist::load_subset(code)?,
    };
    let sizes = format!("{} + {} images", thousands(train.len()), thousands(test.len()));
    let origin = match &located.folder {
        Some(folder) => {
            let all = if (train.len(), test.len()) == (60_000, 10_000) { "all " } else { "" };
            format!("Fashion-MNIST, {all}{sizes}, from {}", folder.display())
        }
        None => format!(
            "the shipped subset of Fashion-MNIST ({sizes}); for the whole: apt-get install dataset-fashion-mnist, \
             or --data DIR"
        ),
    };
    Ok(DataSet { train: Arc::new(train), test, origin, subset: located.origin == Origin::Subset })
}

/// 60000 as `60,000`.
fn thousands(n: usize) -> String {
    match n {
        0..1000 => n.to_string(),
        _ => format!("{},{:03}", thousands(n / 1000), n % 1000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::*;

    fn network(inputs: usize, classes: usize) -> Network {
        let init = Initialisation::Uniform { scale: 1.0 };
        let hidden =
            HiddenLayer { neurons: 4, tau_ms: 10.0, v_th: 1.0, v_r: 0.0, v_rest: 0.0, beta: 100.0, b_th: 0.2, init };
        Network {
            inputs,
            time_steps: 100,
            dt_ms: 1.0,
            hidden: vec![hidden],
            readout: Readout { classes, tau_ms: 10.0, gain: ReadoutGain::One, logits: Logits::Max, init },
            regulariser: Regulariser { lambda_up: 0.0, nu_up: 0.0, lambda_low: 0.0, nu_low: 0.0 },
        }
    }

    /// A folder with one image of the subset's size in each half.
    fn folder_of_one() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let create = |name| std::fs::File::create(folder.path().join(name)).unwrap();
        let images = idx::Images { height: 28, width: 28, pixels: vec![200; 784] };
        for half in ["train", "t10k"] {
            idx::write_images(create(format!("{half}-images-idx3-ubyte")), &images).unwrap();
            idx::write_labels(create(format!("{half}-labels-idx1-ubyte")), &[7]).unwrap();
        }
        folder
    }

    #[test]
    fn a_folder_is_told_from_the_subset() {
        let folder = folder_of_one();
        let set = load("fmnist", Some(folder.path()), &network(784, 10)).unwrap();
        assert!(!set.subset);
        assert_eq!(set.origin, format!("Fashion-MNIST, 1 + 1 images, from {}", folder.path().display()));
        assert_eq!((set.train.len(), set.train.sample(0).len(), set.test.labels()), (1, 784, &[7][..]));
    }

    #[test]
    fn without_a_folder_something_is_always_found() {
        let set = load("fmnist", None, &network(784, 10)).unwrap();
        if set.subset {
            assert!(set.origin.contains("(3,000 + 1,000 images)") && set.origin.contains("apt-get"), "{}", set.origin);
        } else {
            assert!(set.origin.starts_with("Fashion-MNIST, "), "{}", set.origin);
        }
    }

    #[test]
    fn data_that_do_not_fit_the_network_are_refused() {
        let folder = folder_of_one();
        for (inputs, classes) in [(783, 10), (784, 7)] {
            let error = load("fmnist", Some(folder.path()), &network(inputs, classes)).unwrap_err();
            assert!(matches!(error, Error::Data(_)), "{error}");
        }
        assert!(matches!(load("fmnist", Some(folder.path()), &network(0, 10)), Err(Error::Config(_))));
    }

    #[test]
    fn presets_without_data_say_so() {
        for preset in ["nmnist", "shd"] {
            let error = load(preset, None, &network(784, 10)).unwrap_err();
            assert!(matches!(error, Error::Unsupported(_)) && error.to_string().contains(preset), "{error}");
        }
        assert!(matches!(load("mnist", None, &network(784, 10)), Err(Error::Config(_))));
    }

    #[test]
    fn numbers_are_grouped() {
        assert_eq!([7, 999, 1000, 60_000, 1_234_056].map(thousands), ["7", "999", "1,000", "60,000", "1,234,056"]);
    }
}
