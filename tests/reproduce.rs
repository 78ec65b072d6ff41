//! Computes the smallest version of every figure: files, reuse of points, interruption, merging.

use serde_json::Value;
use spikegrad::Error;
use spikegrad::data::Cache;
use spikegrad::device::Device;
use spikegrad::gpu;
use spikegrad::reproduce::{ITEMS, Options, POINTS_FILE, Scale, data_folders, item, page, reproduce};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

fn options(out: &Path) -> Options {
    let asset = |name: &str| Path::new(env!("CARGO_MANIFEST_DIR")).join("assets").join(name);
    let data = [("fmnist", "fashion-mnist"), ("nmnist", "nmnist-like"), ("shd", "shd-like")];
    Options {
        out: out.to_path_buf(),
        device: Device::Cpu,
        scale: Scale::Tiny,
        data: data.map(|(set, folder)| (set.to_string(), asset(folder))).into(),
        cache: Cache::Off,
        ..Options::default()
    }
}

/// Computes an item to its end; (computed, reused).
fn run(name: &str, options: &Options) -> Result<(usize, usize), Error> {
    let done = reproduce(item(name).unwrap(), options, &AtomicBool::new(false), &mut |_| {})?;
    Ok((done.computed, done.reused))
}

fn csv(folder: &Path, name: &str) -> String {
    std::fs::read_to_string(folder.join(format!("{name}.csv"))).unwrap()
}

/// The cells of a CSV of curves whose cells have no quotes: by column name.
fn column(text: &str, name: &str) -> Vec<String> {
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    let at = reader.headers().unwrap().iter().position(|head| head == name).unwrap();
    reader.records().map(|record| record.unwrap()[at].to_string()).collect()
}

#[test]
fn every_name_leaves_its_files_and_computes_nothing_twice() {
    let folder = tempfile::tempdir().unwrap();
    let mut options = options(folder.path());
    for item in ITEMS {
        options.device = if item.name == "appendix-b" { Device::Gpu(None) } else { Device::Cpu };
        if item.name == "appendix-b" && gpu::adapters().is_empty() {
            continue;
        }
        let name = item.name;
        let (computed, _) = run(name, &options).unwrap_or_else(|e| panic!("{name}: {e}"));
        let text = csv(folder.path(), name);
        assert!(text.lines().count() > 2, "{name}: {text}");
        if text.contains("standard_error") {
            for cell in column(&text, "mean") {
                assert!(cell.parse::<f64>().unwrap().is_finite(), "{name}: {text}");
            }
            assert!(column(&text, "values").iter().any(|values| values.contains(' ')), "{name}: two seeds");
        }
        let picture = image::open(folder.path().join(format!("{name}.png"))).unwrap().to_rgb8();
        assert!(picture.width() >= 1000 && picture.pixels().any(|p| p.0 != [255; 3]), "{name}");
        let about: Value =
            serde_json::from_slice(&std::fs::read(folder.path().join(format!("{name}.json"))).unwrap()).unwrap();
        assert!(about["machine"]["threads"].as_u64().unwrap() > 0 && about["settings"].is_object(), "{name}: {about}");
        assert_eq!((about["name"].as_str(), about["scale"].as_str()), (Some(name), Some("tiny")));
        assert!(about["caption"].as_str().unwrap().len() > 60, "{name}");

        let (again, reused) = run(name, &options).unwrap();
        assert_eq!(again, 0, "{name}: a second call computes nothing");
        assert!(reused >= computed && csv(folder.path(), name) == text, "{name}");
    }
    assert!(!folder.path().join("unfinished").exists(), "finished runs are removed");
    let page = std::fs::read_to_string(page::write(folder.path(), &[]).unwrap()).unwrap();
    for item in ITEMS.iter().filter(|item| folder.path().join(format!("{}.png", item.name)).exists()) {
        assert!(page.contains(&format!("src=\"{}.svg\"", item.name)), "{}", item.name);
        let svg = std::fs::read_to_string(folder.path().join(format!("{}.svg", item.name))).unwrap();
        assert!(svg.starts_with("<svg ") && svg.trim_end().ends_with("</svg>"), "{}", item.name);
    }
    let names = csv(folder.path(), "fig-9");
    assert!(names.contains("N-MNIST-like") && names.contains("SHD-like"), "stand-ins are called so: {names}");
}

#[test]
fn an_interrupted_figure_goes_on_where_it_stopped() {
    let (whole, parts) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (all, _) = run("fig-10", &options(whole.path())).unwrap();
    let options = options(parts.path());
    // Stopped in the middle of a run, and again after three more epochs, between points.
    for lines in [1, 4] {
        let (stop, mut told) = (AtomicBool::new(false), 0);
        let error = reproduce(item("fig-10").unwrap(), &options, &stop, &mut |_| {
            told += 1;
            stop.store(told >= lines, Ordering::Relaxed);
        });
        assert!(matches!(error, Err(Error::Interrupted)), "{error:?}");
        let unfinished = std::fs::read_dir(parts.path().join("unfinished"));
        assert!(unfinished.map_or(0, |runs| runs.count()) <= 1);
    }
    let kept = std::fs::read_to_string(parts.path().join(POINTS_FILE)).unwrap().lines().count();
    assert!(kept >= 1 && kept < all && !parts.path().join("fig-10.csv").exists(), "{kept} of {all}");
    assert_eq!(run("fig-10", &options).unwrap(), (all - kept, kept));
    // Training gives the same bits, so the figure is identical.
    assert_eq!(csv(parts.path(), "fig-10"), csv(whole.path(), "fig-10"));
}

#[test]
fn other_machines_join_a_figure() {
    let folder = tempfile::tempdir().unwrap();
    let mut options = options(folder.path());
    run("fig-19", &options).unwrap();
    let own = csv(folder.path(), "fig-19");
    let other = folder.path().join("other.csv");
    let machine = column(&own, "machine").remove(0);
    std::fs::write(&other, own.replace(&machine, "Another Machine")).unwrap();
    options.merge = vec![other.clone()];
    run("fig-19", &options).unwrap();
    let merged = column(&csv(folder.path(), "fig-19"), "machine");
    assert_eq!(merged.len(), 2 * column(&own, "machine").len());
    assert_eq!(merged.iter().filter(|m| *m == "Another Machine").count(), merged.len() / 2);

    options.merge = vec![folder.path().join("absent.csv")];
    assert!(run("fig-19", &options).unwrap_err().to_string().contains("absent.csv"));
    options.merge = vec![other];
    assert!(run("table-3", &options).unwrap_err().to_string().contains("table-3"));
    // The panels of another figure are not this one's.
    assert!(run("fig-22", &options).unwrap_err().to_string().contains("other.csv"));
}

#[test]
fn what_cannot_be_done_is_said() {
    let error = item("fig-5").map(|item| item.name).unwrap_err().to_string();
    assert!(error.contains("`fig-5`") && error.contains("fig-23") && error.contains("all"), "{error}");
    let folder = tempfile::tempdir().unwrap();
    let mut options = options(folder.path());
    options.seeds = Some(0);
    assert!(matches!(run("fig-9", &options), Err(Error::Field { field, .. }) if field == "seeds"));
    options.seeds = None;
    options.data.insert("shd".into(), folder.path().to_path_buf());
    assert!(run("fig-8", &options).unwrap_err().to_string().contains("shd_train.h5"));
    let error = run("appendix-b", &options).unwrap_err().to_string();
    assert!(error.contains("--device gpu"), "{error}");
    for wrong in ["mnist=x", folder.path().to_str().unwrap()] {
        let error = data_folders(&[wrong.to_string()]).unwrap_err().to_string();
        assert!(error.contains("--data") && error.contains(wrong), "{error}");
    }
    let assets = concat!(env!("CARGO_MANIFEST_DIR"), "/assets/nmnist-like");
    let found = data_folders(&[assets.to_string(), format!("shd={assets}")]).unwrap();
    assert_eq!(found.into_keys().collect::<Vec<_>>(), ["nmnist", "shd"]);
}
