//! Faults of file systems and interference of other programs: full disks, folders that cannot be written or are removed, a
//! second run in the same folder, signals. Nothing may be lost, and every message says what to do.
#![cfg(unix)]

mod program;

use program::*;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// Until it is stopped.
const ENDLESS: &str = "--hidden 40,30 --limit 300 --batch 20 --epochs 100000 --seed 5";
const SHORT: &str = "--hidden 40,30 --limit 300 --batch 20 --epochs 3 --seed 5";

fn names_all(said: &str, parts: &[&str]) {
    for part in parts {
        assert!(said.contains(part), "`{part}` is not in: {said}");
    }
}

/// Resumes the run, which must give the same bytes as the uninterrupted run.
fn resumes(run: &Path, whole: &Path) {
    ends(resume(run), 0);
    let differences = Ended::read(whole).differences(&Ended::read(run));
    assert!(differences.is_empty(), "{differences:?}");
}

/// Limits files to 16 KiB: the checkpoint fits, but a line of the metrics is incomplete.
#[test]
fn a_line_of_metrics_torn_by_a_full_disk_is_no_loss() {
    let (_folder, folder) = folder();
    let settings = "--hidden 1,1 --limit 20 --batch 20 --epochs 60 --seed 5";
    ends(train("cpu", settings, &folder.join("whole")), 0);
    let run = folder.join("run");
    let plain = train("cpu", settings, &run);
    let mut limited = Command::new("sh");
    // Blocks of 512 bytes. The signal that comes with the limit would end the program; ignored, the write fails.
    limited.args(["-c", "trap '' XFSZ; ulimit -f 32; exec \"$@\"", "sh", PROGRAM]).args(plain.get_args());
    limited.current_dir(plain.get_current_dir().unwrap());
    limited.envs(plain.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let said = ends(limited, 1);
    names_all(&said, &["error: ", "metrics.jsonl: ", "last checkpoint is kept", "continue with: "]);
    let metrics = std::fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    // Rarely, depending on the digits of times, a line ends exactly at the limit and is complete.
    assert!(!metrics.ends_with('\n') || metrics.len() == 32 * 512, "the limit is meant to tear a line");
    assert!(epochs(&run) > 20 && epochs(&run) < 60, "{}", epochs(&run));
    assert!(!names(&run).iter().any(|name| is_temporary(name)));
    resumes(&run, &folder.join("whole"));
}

/// Runs a script that may mount file systems; they are gone when it ends, however it ends.
#[cfg(target_os = "linux")]
fn with_mounts(folder: &Path, script: &str) {
    let plain = train("cpu", SHORT, Path::new("unused"));
    let ways: [&[&str]; 2] = [&["--mount"], &["--user", "--map-root-user", "--mount"]];
    let command = |way: &[&str], script: &str| {
        let mut command = Command::new("unshare");
        command.args(way).args(["sh", "-euc", script]).current_dir(folder);
        command.envs(plain.get_envs().filter_map(|(name, value)| Some((name, value?))));
        command.env("PROGRAM", PROGRAM).env("SETTINGS", SHORT);
        command.output().expect("unshare is there (util-linux)")
    };
    let probe = "mkdir -p probe; mount -t tmpfs tmpfs probe";
    let way = ways.iter().find(|way| command(way, probe).status.success()).unwrap_or_else(|| {
        let output = command(ways[0], probe);
        panic!("no way to mount a small file system: run as root, or allow user namespaces. {output:?}")
    });
    let output = command(way, script);
    assert!(output.status.success(), "{output:?}");
}

#[cfg(target_os = "linux")]
fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// A disk with room for two and a half checkpoints: a third, written before an old one is removed, does not fit.
#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_leaves_the_checkpoint_before() {
    let (_folder, folder) = folder();
    ends(train("cpu", SHORT, &folder.join("whole")), 0);
    with_mounts(
        &folder,
        r#"
        train="$PROGRAM train fmnist --device cpu --no-tuning --quiet"
        mkdir disk full after
        mount -t tmpfs -o size=1m tmpfs disk
        code=0; $train $SETTINGS --out disk/run 2> full.said || code=$?
        echo $code > full.code
        cp -a disk/run/. full
        code=0; $train --resume --out disk/run 2> again.said || code=$?
        echo $code > again.code
        mount -o remount,size=64m disk
        $train --resume --out disk/run
        cp -a disk/run/. after
        "#,
    );
    assert_eq!((read(&folder.join("full.code")), read(&folder.join("again.code"))), ("1\n".into(), "1\n".into()));
    let command = "train disk/run";
    for name in ["full.said", "again.said"] {
        names_all(&read(&folder.join(name)), &["error: disk/run/", "No space left on device", "is kept", command]);
    }
    names_all(&read(&folder.join("full.said")), &["checkpoint.safetensors"]);
    let left = names(&folder.join("full"));
    assert_eq!(left, [".lock", "best.safetensors", "checkpoint.safetensors", "config.toml", "metrics.jsonl"]);
    let differences = Ended::read(&folder.join("whole")).differences(&Ended::read(&folder.join("after")));
    assert!(differences.is_empty(), "{differences:?}");
}

/// Root may write wherever permissions forbid it, so the file system itself is read-only.
#[cfg(target_os = "linux")]
#[test]
fn a_folder_that_cannot_be_written_is_named_and_can_be_read() {
    let (_folder, folder) = folder();
    ends(train("cpu", SHORT, &folder.join("whole")), 0);
    with_mounts(
        &folder,
        r#"
        train="$PROGRAM train fmnist --device cpu --no-tuning --quiet"
        mkdir disk
        mount -t tmpfs tmpfs disk
        cp -a whole disk/run
        mount -o remount,ro disk
        code=0; $train $SETTINGS --out disk/new 2> new.said || code=$?
        echo $code > code
        code=0; $train --resume --out disk/run 2> resume.said || code=$?
        echo $code >> code
        $PROGRAM eval disk/run --device cpu > eval.said
        "#,
    );
    assert_eq!(read(&folder.join("code")), "1\n1\n");
    names_all(&read(&folder.join("new.said")), &["error: disk/new: ", "read-only file", "choose another"]);
    names_all(&read(&folder.join("resume.said")), &["error: disk/run: ", "read-only file", "choose another"]);
    names_all(&read(&folder.join("eval.said")), &["test accuracy"]);
}

/// The run's folder is removed, or a file in it, if the run is just writing one.
fn ended_by_loss(run: std::process::Child) {
    let said = said(&run.wait_with_output().unwrap(), 1);
    assert!(said.contains("error: ") && said.contains("/run"), "{said}");
    assert!(said.contains("removed or replaced") || said.contains("No such file or directory"), "{said}");
}

#[test]
fn a_run_whose_folder_is_removed_or_taken_ends() {
    let (_folder, folder) = folder();
    ends(train("cpu", SHORT, &folder.join("whole")), 0);

    let run = folder.join("run");
    let mut first = train("cpu", ENDLESS, &run).spawn().unwrap();
    wait_until(&mut first, "an epoch", || epochs(&run) > 0);
    // The run may write a file between the removal of the others and of the folder.
    while std::fs::remove_dir_all(&run).is_err() {}
    ended_by_loss(first);
    assert_eq!(names(&folder), ["whole"]);

    let mut first = train("cpu", ENDLESS, &run).spawn().unwrap();
    wait_until(&mut first, "an epoch", || epochs(&run) > 0);
    // Stopped, or it might end before the second begins.
    signal(&first, "STOP");
    std::fs::rename(&run, folder.join("moved")).unwrap();
    let mut second = train("cpu", SHORT, &run).spawn().unwrap();
    wait_until(&mut second, "the lock", || run.join("config.toml").exists());
    signal(&first, "CONT");
    ended_by_loss(first);
    said(&second.wait_with_output().unwrap(), 0);
    let differences = Ended::read(&folder.join("whole")).differences(&Ended::read(&run));
    assert!(differences.is_empty(), "{differences:?}");
}

#[test]
fn one_run_writes_a_folder_and_everyone_may_read_it() {
    let (_folder, folder) = folder();
    let run = folder.join("run");
    let mut first = train("cpu", ENDLESS, &run).spawn().unwrap();
    wait_until(&mut first, "an epoch", || epochs(&run) > 0);
    for second in [train("cpu", ENDLESS, &run), resume(&run)] {
        names_all(&ends(second, 1), &["error: ", "run: another run", "another folder"]);
    }
    for which in ["best", "last"] {
        let mut eval = program(&["eval", "--device", "cpu", "--checkpoint", which]);
        eval.arg(&run);
        names_all(&ends(eval, 0), &["test accuracy"]);
    }
    // SIGTERM acts like Ctrl-C, and the lock of a killed run is released.
    signal(&first, "TERM");
    names_all(&said(&first.wait_with_output().unwrap(), 1), &["interrupted", "continue with: "]);
    let mut again = resume(&run).spawn().unwrap();
    let done = epochs(&run);
    wait_until(&mut again, "another epoch", || epochs(&run) > done + 1);
    again.kill().unwrap();
    again.wait().unwrap();
    let mut again = resume(&run).spawn().unwrap();
    let done = epochs(&run);
    wait_until(&mut again, "another epoch", || epochs(&run) > done + 1);
    signal(&again, if hang_up_is_ignored() { "TERM" } else { "HUP" });
    names_all(&said(&again.wait_with_output().unwrap(), 1), &["interrupted"]);
}

/// Whether these tests run under `nohup` or similar: the programs that they start then ignore SIGHUP, too.
fn hang_up_is_ignored() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).is_some_and(|mask| mask & 1 == 1)
}

/// A run started under `nohup` continues when its terminal is closed.
#[cfg(target_os = "linux")]
#[test]
fn a_hang_up_that_is_to_be_ignored_is() {
    let (_folder, folder) = folder();
    let run = folder.join("run");
    let plain = train("cpu", ENDLESS, &run);
    let mut deaf = Command::new("sh");
    deaf.args(["-c", "trap '' HUP; exec \"$@\"", "sh", PROGRAM]).args(plain.get_args());
    deaf.current_dir(plain.get_current_dir().unwrap());
    deaf.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
    deaf.envs(plain.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let mut child = deaf.spawn().unwrap();
    wait_until(&mut child, "an epoch", || epochs(&run) > 0);
    signal(&child, "HUP");
    std::thread::sleep(Duration::from_millis(100));
    let done = epochs(&run);
    wait_until(&mut child, "more epochs", || epochs(&run) > done + 3);
    signal(&child, "INT");
    names_all(&said(&child.wait_with_output().unwrap(), 1), &["interrupted"]);
}
