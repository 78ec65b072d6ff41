//! How fast data are read: samples per second, for each path that is given, without the cache and with it.
//!
//! ```sh
//! cargo run --release --no-default-features --features data --example reading -- PATH...
//! ```

use spikegrad::data::{Cache, DataConfig, DataSet, LoadOptions, load_with, survey};
use spikegrad::presets;
use std::time::Instant;

fn main() -> spikegrad::Result<()> {
    for path in std::env::args().skip(1) {
        let mut config = presets::ours("events")?;
        config.data = DataConfig::at(&path);
        let begin = Instant::now();
        let unread = LoadOptions { reading: config.data.clone(), ..LoadOptions::default() };
        config.fit(&survey("events", &unread, None)?.facts)?;
        let surveyed = begin.elapsed().as_secs_f64();
        let folder = std::env::temp_dir().join(format!("spikegrad-reading-{}", std::process::id()));
        let load = |cache: Cache| -> spikegrad::Result<(DataSet, f64)> {
            let begin = Instant::now();
            let options = LoadOptions { reading: config.data.clone(), cache, ..LoadOptions::default() };
            Ok((load_with("events", &config.network, &options)?, begin.elapsed().as_secs_f64()))
        };
        let (set, cold) = load(Cache::Off)?;
        load(Cache::Folder(folder.clone()))?;
        let (_, cached) = load(Cache::Folder(folder.clone()))?;
        // Left over if this fails.
        let _ = std::fs::remove_dir_all(&folder);
        let n = set.train.len() + set.test.len();
        let events = (set.train.events().len() + set.test.events().len()) as f64 / n as f64;
        println!("{path}: {n} samples of {events:.0} events");
        for (what, seconds) in [("survey", surveyed), ("cold", cold), ("cached", cached)] {
            println!("  {what:<7} {seconds:8.3} s  {:9.0} samples/s", n as f64 / seconds);
        }
    }
    Ok(())
}
