//! Computes the smallest version of every figure: files, reuse of points, interruption, merging.

use serde_json::Value;
use spikegrad::Error;
use spikegrad::data::Cache;
use spikegrad::device::Device;
use spikegrad::gpu;
use spikegrad::reproduce::{ITEMS, Options, POINTS_FILE, Scale, data_folders, item, merge, page, reproduce};
use std::path::{Path, PathBuf};
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
    // Stopped in the middle of a run, and again after three more epochs, between points; then a run was removed half.
    for lines in [1, 4, 0] {
        if lines == 0 {
            let mut runs = std::fs::read_dir(parts.path().join("unfinished")).into_iter().flatten();
            let run = runs.next().expect("no run is unfinished").unwrap().path();
            std::fs::remove_file(run.join("config.toml")).unwrap();
            break;
        }
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

    // The same values of this machine, and those of a like one for another seed.
    let points = column(&own, "x").len();
    std::fs::write(&other, &own).unwrap();
    let notes = reproduce(item("fig-19").unwrap(), &options, &AtomicBool::new(false), &mut |_| {}).unwrap().notes;
    assert!(notes.iter().any(|note| note.contains("not used for seeds 0, 1,")), "{notes:?}");
    assert_eq!(column(&csv(folder.path(), "fig-19"), "x").len(), points);
    std::fs::write(&other, own.replace(",0 1\n", ",1 7\n")).unwrap();
    run("fig-19", &options).unwrap();
    let joined = csv(folder.path(), "fig-19");
    assert_eq!(column(&joined, "x").len(), points);
    assert!(column(&joined, "seeds").iter().all(|seeds| seeds == "0 1 7"), "{joined}");
    std::fs::write(&other, own.replace(&machine, "Another Machine")).unwrap();

    options.merge = vec![folder.path().join("absent.csv")];
    assert!(run("fig-19", &options).unwrap_err().to_string().contains("absent.csv"));
    options.merge = vec![other];
    assert!(run("table-3", &options).unwrap_err().to_string().contains("table-3"));
    // The panels of another figure are not this one's.
    assert!(run("fig-22", &options).unwrap_err().to_string().contains("other.csv"));
}

fn about(folder: &Path, name: &str) -> Value {
    serde_json::from_slice(&std::fs::read(folder.join(format!("{name}.json"))).unwrap()).unwrap()
}

/// Changes a text in the files of a figure, as if another machine had written them.
fn forge(folder: &Path, name: &str, from: &str, to: &str) {
    for ending in ["csv", "json"] {
        let path = folder.join(format!("{name}.{ending}"));
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.contains(from), "{text}");
        std::fs::write(&path, text.replace(from, to)).unwrap();
    }
}

#[test]
fn folders_of_several_machines_are_united() {
    let temp = tempfile::tempdir().unwrap();
    let at = |name: &str| temp.path().join(name);
    let part =
        |name: &str, first_seed: u32, seeds: usize| Options { first_seed, seeds: Some(seeds), ..options(&at(name)) };
    for (name, first, seeds) in [("a", 0, 2), ("b", 1, 2), ("whole", 0, 3)] {
        for figure in ["fig-10", "fig-15", "table-3"] {
            run(figure, &part(name, first, seeds)).unwrap();
        }
    }
    let processor = about(&at("b"), "fig-10")["machine"]["processor"].as_str().unwrap().to_string();
    ["fig-10", "fig-15"].iter().for_each(|figure| forge(&at("b"), figure, &processor, "Another processor"));
    let folders: Vec<PathBuf> = ["a", "b"].map(at).into();
    let merged = merge(&folders, None, &at("out")).unwrap();
    let names: Vec<&str> = merged.figures.iter().map(|(name, _)| *name).collect();
    assert_eq!(names, ["table-3", "fig-10", "fig-15"]);
    assert!(merged.figures.iter().all(|(_, files)| files.len() == 4 && files.iter().all(|file| file.exists())));
    assert!(merged.notes[0].contains("fig-10") && merged.notes[0].contains("seeds 1,"), "{:?}", merged.notes);

    // Training gives the same bits, so the union is what one machine would have computed.
    let (all, whole) = (csv(&at("out"), "fig-10"), csv(&at("whole"), "fig-10"));
    for name in ["panel", "series", "x", "mean", "standard_error", "values", "seeds"] {
        assert_eq!(column(&all, name), column(&whole, name), "{name}");
    }
    let facts = about(&at("out"), "fig-10");
    assert_eq!((&facts["seeds"], facts["parts"].as_array().unwrap().len()), (&serde_json::json!([0, 1, 2]), 2));
    let caption = facts["caption"].as_str().unwrap();
    assert!(caption.contains("over 3 seeds") && caption.contains("Another processor"), "{caption}");
    assert!(facts["machine"].is_null() && facts["parts"][1]["machine"]["processor"] == "Another processor");
    // Memory is that of a machine.
    let memory = csv(&at("out"), "fig-15");
    assert_eq!(column(&memory, "x").len(), 2 * column(&csv(&at("whole"), "fig-15"), "x").len());
    assert!(column(&memory, "seeds").iter().all(|seeds| seeds == "0 1" || seeds == "1 2"));

    // All points are there, and a merged folder can be merged again.
    assert_eq!(run("fig-10", &part("out", 0, 3)).unwrap().0, 0);
    merge(&folders, None, &at("out")).unwrap();
    run("fig-10", &part("c", 3, 1)).unwrap();
    merge(&["out", "c"].map(at), Some(item("fig-10").unwrap()), &at("more")).unwrap();
    assert!(column(&csv(&at("more"), "fig-10"), "seeds").iter().all(|seeds| seeds == "0 1 2 3"));
    assert_eq!(about(&at("more"), "fig-10")["parts"].as_array().unwrap().len(), 3);
    assert!(!at("more").join("fig-15.csv").exists());

    // Data that are missing in one folder only.
    let mut one = Options { first_seed: 9, seeds: Some(1), ..options(&at("one")) };
    one.data.retain(|set, _| set == "fmnist");
    run("fig-10", &one).unwrap();
    let caption = |name: &str| about(&at(name), "fig-10")["caption"].to_string();
    assert!(caption("one").contains("shd is omitted"), "{}", caption("one"));
    merge(&["one", "a"].map(at), Some(item("fig-10").unwrap()), &at("all")).unwrap();
    assert!(!caption("all").contains("omitted"), "{}", caption("all"));

    // A folder whose name is not text.
    #[cfg(unix)]
    {
        use std::os::unix::ffi::OsStrExt;
        let odd = temp.path().join(std::ffi::OsStr::from_bytes(b"c\xff"));
        std::fs::rename(at("c"), &odd).unwrap();
        merge(&[at("out"), odd], Some(item("fig-10").unwrap()), &at("odd")).unwrap();
        let folder = &about(&at("odd"), "fig-10")["parts"][2]["folder"];
        assert!(folder.as_str().unwrap().ends_with("c\u{fffd}"), "{folder}");
    }
}

#[test]
fn what_does_not_belong_together_is_not_united() {
    let temp = tempfile::tempdir().unwrap();
    let at = |name: &str| temp.path().join(name);
    for name in ["a", "b"] {
        run("fig-10", &options(&at(name))).unwrap();
    }
    let (figure, original) = (at("b").join("fig-10.json"), about(&at("b"), "fig-10"));
    let refused = |folders: &[&str], parts: &[&str]| {
        let folders: Vec<PathBuf> = folders.iter().map(|name| at(name)).collect();
        let error = merge(&folders, None, &at("out")).unwrap_err().to_string();
        assert!(parts.iter().all(|part| error.contains(part)), "{error}");
        assert!(!at("out").exists());
    };
    let (a, b) = (at("a"), at("b"));
    let both = [a.to_str().unwrap(), b.to_str().unwrap()];
    for (field, value, what) in [
        ("scale", serde_json::json!("quick"), "scales differ: tiny and quick"),
        ("settings", serde_json::json!({"epochs": 7}), "settings differ"),
        ("spikegrad", serde_json::json!("0.0.1"), "versions differ"),
    ] {
        let mut facts = original.clone();
        facts[field] = value;
        std::fs::write(&figure, facts.to_string()).unwrap();
        refused(&["a", "b"], &[both[0], both[1], what]);
    }
    std::fs::write(&figure, original.to_string()).unwrap();
    let points = b.join(POINTS_FILE);
    let whole = std::fs::read_to_string(&points).unwrap();
    std::fs::write(&points, format!("{whole}junk\n")).unwrap();
    refused(&["a", "b"], &[POINTS_FILE, "is not a point"]);
    std::fs::write(&points, whole).unwrap();
    let mut facts = original.clone();
    facts["data"].as_object_mut().unwrap().values_mut().for_each(|data| data[1] = 9.into());
    std::fs::write(&figure, facts.to_string()).unwrap();
    refused(&["a", "b"], &[both[0], both[1], "data differ"]);
    facts["data"].as_object_mut().unwrap().values_mut().for_each(|data| *data = "random spikes".into());
    std::fs::write(&figure, facts.to_string()).unwrap();
    refused(&["a", "b"], &["data differ", "\"random spikes\""]);
    facts.as_object_mut().unwrap().remove("scale");
    std::fs::write(&figure, facts.to_string()).unwrap();
    refused(&["a", "b"], &["fig-10.json: cannot be merged", "`scale`"]);
    std::fs::remove_file(&figure).unwrap();
    refused(&["a", "b"], &[both[1], "has no finished figure yet"]);
    refused(&["a", "nowhere"], &["nowhere: has no finished figure"]);
    let error = merge(&[at("a")], None, &at("a")).unwrap_err().to_string();
    assert!(error.contains("choose another folder with --out"), "{error}");
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
