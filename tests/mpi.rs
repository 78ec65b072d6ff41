//! Runs of several ranks: the same bits whatever their number, and what happens when one of them fails. With the feature `mpi`, and
//! mpirun in the path.
#![cfg(feature = "mpi")]

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// `mpirun -n RANKS spikegrad train ...`
fn mpirun(ranks: usize, arguments: &[&str], out: &Path) -> Command {
    let mut command = Command::new("mpirun");
    command
        .args(["--oversubscribe", "-n", &ranks.to_string(), env!("CARGO_BIN_EXE_spikegrad"), "train"])
        .args(arguments)
        .args(["--quiet", "--out"])
        .arg(out)
        // Containers run as root.
        .env("OMPI_ALLOW_RUN_AS_ROOT", "1")
        .env("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

fn finished(mut command: Command) -> Output {
    command.output().expect("mpirun; scripts/test installs it")
}

fn succeeds(command: Command) {
    let output = finished(command);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

const SMALL: [&str; 10] =
    ["fmnist", "--data", "assets/fashion-mnist", "--limit", "700", "--batch", "100", "--shards", "8", "--device"];

fn small<'a>(device: &'a str, epochs: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    [&SMALL[..], &[device, "--epochs", epochs], more].concat()
}

fn bits(run: &Path) -> Vec<u8> {
    fs::read(run.join("checkpoint.safetensors")).unwrap()
}

#[test]
fn any_number_of_ranks_ends_in_the_same_bits() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    // With augmentation, samples blended with others, rescaled initial weights and a recurrent layer.
    let more = [
        ["--recurrent", "--hidden=40,30"],
        ["--initial-spikes=1", "--set=augment.flip=true"],
        ["--set=augment.blend=0.5", "--validation=last:55"],
    ];
    let more = more.as_flattened();
    let arguments = small("cpu", "2", more);
    succeeds({
        let mut alone = Command::new(env!("CARGO_BIN_EXE_spikegrad"));
        alone.arg("train").args(&arguments).args(["--quiet", "--out"]).arg(at("alone"));
        alone
    });
    for ranks in [1, 2, 4] {
        succeeds(mpirun(ranks, &arguments, &at(&ranks.to_string())));
        assert!(bits(&at(&ranks.to_string())) == bits(&at("alone")), "{ranks} ranks");
    }
}

/// The others get the samples of their shards from it.
#[test]
fn rank_0_alone_needs_the_data() {
    let folder = tempfile::tempdir().unwrap();
    let (whole, split, elsewhere) =
        (folder.path().join("whole"), folder.path().join("split"), folder.path().join("elsewhere"));
    fs::create_dir(&elsewhere).unwrap();
    let assets = std::path::absolute("assets").unwrap();
    let arguments = ["fmnist", "--data=fashion-mnist", "--limit=300", "--device=cpu", "--epochs=1"];
    succeeds({
        let mut alone = mpirun(1, &arguments, &whole);
        alone.current_dir(&assets);
        alone
    });
    // Each rank has a working folder of its own; the path of the data exists in that of rank 0 alone.
    let mut command = mpirun(1, &arguments, &split);
    let program: Vec<_> = command.get_args().map(ToOwned::to_owned).collect();
    command.current_dir(&assets).arg(":").arg("--wdir").arg(&elsewhere).args(program);
    succeeds(command);
    assert!(bits(&split) == bits(&whole));
}

#[test]
fn ranks_share_a_gpu() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let arguments = small("gpu", "1", &["--no-tuning"]);
    for ranks in [1, 2] {
        succeeds(mpirun(ranks, &arguments, &at(&ranks.to_string())));
    }
    assert!(bits(&at("1")) == bits(&at("2")));
}

/// All have the kernels and the δ scratch that rank 0 measured on its host.
#[test]
fn rank_0_alone_tunes() {
    let folder = tempfile::tempdir().unwrap();
    let caches = ["a", "b"].map(|name| folder.path().join(name));
    let mut command = mpirun(1, &small("gpu", "1", &["--hidden=20"]), &folder.path().join("run"));
    let mut other: Vec<_> = command.get_args().map(ToOwned::to_owned).collect();
    let program = other.iter().position(|word| word == env!("CARGO_BIN_EXE_spikegrad")).unwrap();
    let cache = format!("XDG_CACHE_HOME={}", caches[1].display());
    other.splice(program..program, ["env".into(), cache.into()]);
    command.env("XDG_CACHE_HOME", &caches[0]).arg(":").args(other);
    succeeds(command);
    assert_eq!(caches.map(|cache| cache.join("spikegrad/tuning.json").exists()), [true, false]);
}

/// The processes of the ranks.
fn processes_of(run: &Path) -> Vec<u32> {
    let listed = Command::new("pgrep").args(["-f", &format!("^[^ ]*spikegrad train.*{}", run.display())]).output();
    let text = String::from_utf8(listed.unwrap().stdout).unwrap();
    text.lines().map(|line| line.parse().unwrap()).collect()
}

fn signal(process: u32, name: &str) {
    assert!(Command::new("kill").args([&format!("-{name}"), &process.to_string()]).status().unwrap().success());
}

/// Waits until the run has a checkpoint of an epoch, and for `more`.
fn wait_for_epoch(run: &Path, more: Duration) {
    let began = Instant::now();
    while fs::metadata(run.join("metrics.jsonl")).map_or(0, |file| file.len()) == 0 {
        assert!(began.elapsed() < Duration::from_secs(120), "no epoch");
        std::thread::sleep(Duration::from_millis(5));
    }
    std::thread::sleep(more);
}

/// Waits for the end of all ranks; returns what they said.
fn ends(child: Child, run: &Path) -> String {
    let began = Instant::now();
    let output = child.wait_with_output().unwrap();
    assert!(began.elapsed() < Duration::from_secs(30), "{:?}", began.elapsed());
    assert!(!output.status.success());
    assert!(processes_of(run).is_empty());
    String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout)
}

/// Ranks are killed in several runs at different moments; each is resumed with another number of ranks, and ends in the bits of an
/// uninterrupted run. SPIKEGRAD_RANK_KILLS=50 is the number of scripts/long-suite.
#[test]
fn runs_of_killed_ranks_are_resumed_to_the_same_bits() {
    let folder = tempfile::tempdir().unwrap();
    let whole = folder.path().join("whole");
    let arguments = small("cpu", "12", &["--set", "checkpoint_seconds=0.1"]);
    succeeds(mpirun(1, &arguments, &whole));
    let kills = std::env::var("SPIKEGRAD_RANK_KILLS").map_or(4, |kills| kills.parse().unwrap());
    for kill in 0..kills {
        let run = folder.path().join(format!("killed-{kill}"));
        let ranks = [2, 4, 3][kill % 3];
        let child = mpirun(ranks, &arguments, &run).spawn().unwrap();
        wait_for_epoch(&run, Duration::from_millis(37 * kill as u64 % 400));
        let processes = processes_of(&run);
        if let Some(&process) = processes.get(kill % processes.len().max(1)) {
            // It may have ended by itself.
            let _ = Command::new("kill").args(["-KILL", &process.to_string()]).stderr(Stdio::null()).status();
        }
        let _ = child.wait_with_output().unwrap();
        succeeds(mpirun([4, 1, 2][kill % 3], &[&arguments[..], &["--resume"]].concat(), &run));
        assert!(bits(&run) == bits(&whole), "kill {kill}");
    }
}

/// A disk with room for two and a half checkpoints.
#[test]
fn a_full_disk_of_rank_0_ends_all() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let arguments = small("cpu", "4", &["--hidden", "20,20", "--method", "sparse"]);
    succeeds(mpirun(1, &arguments, &at("whole")));
    fs::create_dir(at("disk")).unwrap();
    let train = mpirun(2, &arguments, &at("disk/run"));
    let script = r#"mount -t tmpfs -o size=500k tmpfs "$0/disk"; code=0; "$@" || code=$?; cp -a "$0/disk/run" "$0/left"; exit $code"#;
    let ways: [&[&str]; 2] = [&["--mount"], &["--user", "--map-root-user", "--mount"]];
    let can =
        |way: &&&[&str]| Command::new("unshare").args(**way).arg("true").status().is_ok_and(|code| code.success());
    let mut full = Command::new("unshare");
    full.args(*ways.iter().find(can).expect("unshare (util-linux), as root or with user namespaces"));
    full.args(["sh", "-euc", script]).arg(folder.path()).arg(train.get_program()).args(train.get_args());
    full.envs(train.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let began = Instant::now();
    let output = finished(full);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && began.elapsed() < Duration::from_secs(30), "{said}");
    assert!(said.contains("rank 0 of 2 on ") && said.contains("No space left on device"), "{said}");
    assert!(processes_of(&at("disk/run")).is_empty());
    succeeds(mpirun(4, &[&arguments[..], &["--resume"]].concat(), &at("left")));
    assert!(bits(&at("left")) == bits(&at("whole")));
}

#[test]
fn a_rank_that_hangs_is_named_and_ends_all() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run");
    let child = mpirun(3, &small("cpu", "4000", &["--rank-patience", "3"]), &run).spawn().unwrap();
    wait_for_epoch(&run, Duration::ZERO);
    let stopped = *processes_of(&run).last().unwrap();
    signal(stopped, "STOP");
    let said = ends(child, &run);
    assert!(said.contains("waited 3 s for rank") && said.contains(" of 3 on "), "{said}");
}

#[test]
fn a_scheduler_that_ends_the_run_leaves_a_checkpoint() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run");
    let child = mpirun(2, &small("cpu", "4000", &[]), &run).spawn().unwrap();
    wait_for_epoch(&run, Duration::ZERO);
    signal(child.id(), "TERM");
    let said = ends(child, &run);
    assert!(said.contains("continue with:"), "{said}");
}

#[test]
fn errors_name_the_rank() {
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run");
    let output = finished(mpirun(2, &small("cpu", "1", &["--set", "adam.lr=1e30"]), &run));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && said.contains("rank 0 of 2 on "), "{said}");
    let output = finished(mpirun(2, &small("cpu", "1", &["--live"]), &run));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && said.contains("--live"), "{said}");
    // As by the launcher of another MPI library.
    let mut other = Command::new(env!("CARGO_BIN_EXE_spikegrad"));
    other.args(["train", "fmnist"]).env("PMI_SIZE", "2");
    let output = finished(other);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && said.contains("one of 2 ranks, but MPI sees 1"), "{said}");
    let output = finished(mpirun(2, &small("gpu:0,gpu:99", "1", &[]), &folder.path().join("none")));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        !output.status.success() && said.contains("rank 1 of 2 on ") && said.contains("no adapter gpu:99"),
        "{said}"
    );
    let output = finished(mpirun(16, &small("cpu", "1", &[]), &folder.path().join("many")));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && said.contains("shards = 8: must be 16 or more"), "{said}");
}
