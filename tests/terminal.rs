//! What the program looks like on a terminal: help, manual pages, completions, colours, and advice for misspelt names.

use std::process::Output;

const COMMANDS: [&str; 17] = [
    "",
    "devices",
    "train",
    "watch",
    "runs",
    "eval",
    "predict",
    "export",
    "import",
    "inspect",
    "raster",
    "conformance",
    "bench",
    "reproduce",
    "selfcheck",
    "completions",
    "man",
];

fn run(words: &[&str], variables: &[(&str, &str)], code: i32) -> Output {
    let mut command = assert_cmd::Command::new(env!("CARGO_BIN_EXE_spikegrad"));
    command.args(words).current_dir(env!("CARGO_MANIFEST_DIR"));
    for name in ["NO_COLOR", "CLICOLOR", "CLICOLOR_FORCE", "COLUMNS", "WGPU_BACKEND", "SPIKEGRAD_LIMITS"] {
        command.env_remove(name);
    }
    command.envs(variables.iter().copied()).assert().code(code).get_output().clone()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

#[test]
fn help_fits_the_terminal() {
    for command in COMMANDS {
        let words: Vec<&str> = [command, "--help"].into_iter().filter(|word| !word.is_empty()).collect();
        for (columns, width) in [("80", 80), ("200", 80), ("40", 40)] {
            let output = run(&words, &[("COLUMNS", columns)], 0);
            for line in text(&output.stdout).lines() {
                // A word that is longer than the line cannot be wrapped, and the usage is not.
                let whole = line.split_whitespace().count() < 5 || line.starts_with("Usage: ");
                let fits = line.chars().count() <= width || width < 80 && whole;
                assert!(fits, "{command} at {columns} columns: {line}");
            }
        }
        assert!(!text(&run(&words, &[], 0).stdout).contains('\u{1b}'));
    }
}

#[test]
fn every_shell_has_completions() {
    for (shell, part) in [
        ("bash", "complete -F _spikegrad"),
        ("zsh", "#compdef spikegrad"),
        ("fish", "complete -c spikegrad"),
        ("powershell", "Register-ArgumentCompleter"),
        ("elvish", "edit:completion:arg-completer[spikegrad]"),
    ] {
        let script = run(&["completions", shell], &[], 0);
        let script = text(&script.stdout);
        assert!(script.contains(part) && script.contains("conformance"), "{shell}: {script}");
    }
    let refused = run(&["completions", "fsh"], &[], 2);
    assert!(text(&refused.stderr).contains("fish"), "{}", text(&refused.stderr));
}

#[test]
fn every_command_has_a_manual_page() {
    let folder = tempfile::tempdir().unwrap();
    let pages = folder.path().join("man1");
    let said = run(&["man", pages.to_str().unwrap()], &[], 0);
    assert!(text(&said.stdout).contains("17 manual pages"), "{}", text(&said.stdout));
    for command in COMMANDS {
        let name = if command.is_empty() { "spikegrad.1".into() } else { format!("spikegrad-{command}.1") };
        let page = std::fs::read_to_string(pages.join(&name)).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert!(page.contains(".TH ") && page.contains(".SH OPTIONS"), "{name}: {page}");
        assert!(command == "devices" || page.contains(".SH EXAMPLES\n.nf"), "{name}: {page}");
        let open = page.matches(".nf").count() - page.matches(".fi").count();
        assert!(open <= 1, "{name}: {page}");
    }
    let printed = run(&["man"], &[], 0).stdout;
    assert_eq!(text(&printed).trim(), std::fs::read_to_string(pages.join("spikegrad.1")).unwrap().trim());
}

#[test]
fn colours_can_be_switched_off() {
    let golden = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/tiny.safetensors");
    let forced = ("CLICOLOR_FORCE", "1");
    for (variables, coloured) in [(&[][..], false), (&[forced], true), (&[forced, ("NO_COLOR", "1")], false)] {
        let failed = run(&["train", "mnist"], variables, 2);
        let passed = run(&["conformance", golden, "--device", "cpu"], variables, 0);
        for (said, word) in [(&failed.stderr, "error:"), (&passed.stdout, "PASS")] {
            let expected = if coloured { format!("{word}\u{1b}[0m ") } else { format!("{word} ") };
            assert!(text(said).contains(&expected), "{variables:?}: {}", text(said));
            assert_eq!(text(said).contains('\u{1b}'), coloured, "{variables:?}: {}", text(said));
        }
    }
}

#[test]
fn misspelt_names_are_recognised() {
    for (words, variables, parts) in [
        (&["train", "fmnsit"][..], &[][..], &["`fmnsit`", "events-conv", "did you mean `fmnist`?"][..]),
        (&["raster", "fmnst", "--out", "x.png"], &[], &["`fmnst`", "did you mean `fmnist`?"]),
        (&["bench", "fmnsit"], &[], &["`fmnsit`", "did you mean `fmnist`?"]),
        (&["reproduce", "fig10"], &[], &["`fig10`", "did you mean `fig-10`?"]),
        (&["devices"], &[("WGPU_BACKEND", "vulcan")], &["WGPU_BACKEND", "vulkan, metal, dx12, gl", "`vulkan`?"]),
        (&["devices"], &[("SPIKEGRAD_LIMITS", "lane=64")], &["SPIKEGRAD_LIMITS", "binding=BYTES", "`lanes`?"]),
        (&["train", "fmnist"], &[("SPIKEGRAD_LIMITS", "no-timestamp")], &["did you mean `no-timestamps`?"]),
    ] {
        let output = run(words, variables, 2);
        for part in parts {
            assert!(text(&output.stderr).contains(part), "{words:?}: `{part}` is not in: {}", text(&output.stderr));
        }
    }
    // Variables that are set to nothing are not set.
    run(&["devices"], &[("WGPU_BACKEND", ""), ("SPIKEGRAD_LIMITS", " ")], 0);
    // Help does not need them.
    run(&["man"], &[("WGPU_BACKEND", "vulcan")], 0);
}

/// Settings of the paper cannot be put under a configuration that is complete.
#[test]
fn paper_is_not_ignored() {
    let folder = tempfile::tempdir().unwrap();
    let (run_folder, word) = (folder.path().join("run"), |path: &std::path::Path| path.to_str().unwrap().to_string());
    let data = concat!(env!("CARGO_MANIFEST_DIR"), "/assets/fashion-mnist");
    let out = word(&run_folder);
    let small = "train fmnist --hidden 8 --limit 20 --epochs 1 --device cpu --quiet --data";
    run(&[&small.split(' ').collect::<Vec<_>>()[..], &[data, "--out", &out]].concat(), &[], 0);
    let config = word(&run_folder.join("config.toml"));
    let refused = run(&["train", &config, "--paper", "--out", &word(&folder.path().join("again"))], &[], 2);
    assert!(text(&refused.stderr).contains("--paper: ") && text(&refused.stderr).contains("config.toml"));
    assert!(!folder.path().join("again").exists());
}

/// What could not be written is refused before the work, whose result would be lost; each of these names a run or data that
/// are not there, which would be refused next.
#[test]
fn files_that_cannot_be_written_are_refused_first() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).to_str().unwrap().to_string();
    std::fs::write(at("file"), "").unwrap();
    let refused = |words: &[&str], part: &str| {
        let output = run(words, &[], 1);
        let said = text(&output.stderr);
        assert!(said.contains(part) && output.stdout.is_empty(), "{words:?}: {said}");
        assert!(!said.contains("no-run") && !said.contains("no-data"), "{words:?}: {said}");
    };
    let none = "its folder does not exist; create it first";
    refused(&["eval", "no-run", "--confusion", &at("none/c.png")], none);
    refused(&["raster", "no-run", "--out", &at("none/r.svg")], none);
    refused(&["predict", "no-run", "--out", &at("none/p.csv")], none);
    refused(&["inspect", "no-run", "--out", &at("none/s.safetensors")], none);
    refused(&["export", "no-run", "--to", &at("none/n.nir")], none);
    refused(&["selfcheck", "--quick", "--out", &at("none/s.json")], none);
    let bench = ["bench", "fmnist", "--device", "cpu"];
    let bench = |more: &[&str], part: &str| refused(&[&bench[..], more].concat(), part);
    bench(&["--data", "no-data", "--trace", &at("none/t.json")], none);
    bench(&["--sweep", "batch", "--csv", &at("none/s.csv")], none);
    bench(&["--data", "no-data", "--charts", &at("file")], "file: is not a folder");
    bench(&["--sweep", "batch", "--charts", &at("file/charts")], "file: is not a folder");
    refused(&["train", "fmnist", "--data", "no-data", "--out", &at("file")], "is not a folder");
    refused(&["train", "fmnist", "--data", "no-data", "--record", &at("none/r.gif")], none);
    refused(&["import", "no-run.nir", "--dt", "1", "--out", &at("file")], "is not a folder");
    refused(&["reproduce", "table-3", "--out", &at("file/figures")], "file: is not a folder");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left");
}

#[test]
fn numbers_are_refused_in_plain_words() {
    for words in [
        "train fmnist --limit -1",
        "train fmnist --epochs 1.5",
        "train fmnist --batch many",
        "train fmnist --seed -3",
        "train fmnist --patience -1",
        "train fmnist --hidden 20,-20",
        "inspect r --out x.safetensors --sample -1",
        "raster r --out x.png --sample 0,-1",
        "eval r --speakers 1,x",
        "bench fmnist --repeat -1",
        "bench fmnist --batch 1e3",
        "bench fmnist --depth -2",
        "bench fmnist --sweep batch --seconds -2",
        "import f.nir --out r --time-steps -5",
        "reproduce fig-10 --seeds -1",
        "reproduce fig-10 --seeds 1001",
        "selfcheck --patience 0",
        "selfcheck --patience -1",
    ] {
        let output = run(&words.split(' ').collect::<Vec<_>>(), &[], 2);
        let (said, value) = (text(&output.stderr), words.rsplit([' ', ',']).next().unwrap());
        assert!(said.contains("must be a whole number, ") && said.contains(&format!("'{value}'")), "{words}: {said}");
    }
    for words in
        ["train fmnist --lr x", "train fmnist --tau 1,x", "bench fmnist --densities 0.1,x", "export r --to x --dt x"]
    {
        let output = run(&words.split(' ').collect::<Vec<_>>(), &[], 2);
        assert!(text(&output.stderr).contains("must be a number"), "{words}: {}", text(&output.stderr));
    }
}

#[test]
fn settings_are_refused_in_plain_words() {
    for (assignments, parts) in [
        (&["network.hiden[0].tau_ms=3"][..], &["`network.hiden` is not a field", "did you mean `network.hidden`?"][..]),
        (&["preset=shd"], &["--set `preset=shd`", "in place of fmnist"]),
        (&["-1"], &["--set `-1`", "FIELD=VALUE"]),
        (&["--epochs"], &["--set `--epochs`", "FIELD=VALUE"]),
        (&["epochs=-1"], &["--set `epochs=-1`: must be a whole number, 0 or more"]),
        (&["epochs=0"], &["epochs = 0: must be 1 to"]),
        (&["data.shape=[1,28,28]"], &["data.shape = 28 × 28: must be left out for fmnist"]),
        (&["network.loss.kind=mse", "network.loss.on=1"], &["`network.loss.kind=mse`", "requires `off`"]),
        (&["seed=3", "method=fast", "epochs=2"], &["--set `method=fast`: must be `sparse`, `dense`"]),
    ] {
        let words = assignments.iter().flat_map(|assignment| ["--set", assignment]);
        let output = run(&["train", "fmnist"].into_iter().chain(words).collect::<Vec<_>>(), &[], 2);
        for part in parts {
            assert!(
                text(&output.stderr).contains(part),
                "{assignments:?}: `{part}` is not in: {}",
                text(&output.stderr)
            );
        }
    }
}
