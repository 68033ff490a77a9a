//! Wrong flags, configurations and folders: a clear line, the right exit code, nothing written.

use std::fs;
use std::path::Path;

use crate::binary::{Ended, run};

fn entries(folder: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

/// Runs `bissl pretrain --config` on `text`, and claims that nothing was written.
fn with_config(text: &str) -> (Ended, String) {
    let folder = tempfile::tempdir().unwrap();
    let (file, out) = (folder.path().join("run.toml"), folder.path().join("out"));
    fs::write(&file, text).unwrap();
    let (file, out) = (file.to_str().unwrap(), out.to_str().unwrap());
    let ended = run(&["pretrain", "--config", file, "--out", out]);
    assert_eq!(entries(folder.path()), ["run.toml"], "{text}: {ended:?}");
    (ended, file.to_owned())
}

#[test]
fn a_wrong_configuration_is_refused_with_file_line_and_range() {
    for (text, line, expected) in [
        (
            "[align]\ndamping = nan\n",
            2,
            "`align.damping` is nan, expected a number in [0, 1000000]",
        ),
        ("[align]\n\nproximity = -0.1\n", 3, "`align.proximity` is -0.1, expected a number in (0,"),
        ("[pretrain]\nlearning_rate = -inf\n", 2, "`pretrain.learning_rate` is -inf, expected"),
        ("[pretrain]\nepochs = 0\n", 2, "`pretrain.epochs` is 0, expected an integer in [1,"),
        ("[pretrain]\nbatch = \"many\"\n", 2, "`pretrain.batch` is \"many\", expected an integer"),
        ("seed = 1.5\n", 1, "`seed` is 1.5, expected an integer in [0,"),
        ("# nothing\nsead = 1\n", 2, "unknown key `sead`, expected one of seed"),
        ("[pretrain]\nepoch = 3\n", 2, "unknown key `pretrain.epoch`, expected one of epochs"),
        ("[image]\nsize = 100000\n", 2, "`image.size` is 100000, expected an integer in [8, 512]"),
        ("[augment]\nflip = nan\n", 2, "`augment.flip` is nan, expected [0, 1]"),
        (
            "[image]\naugment_on = \"gpu\"\n",
            2,
            "`image.augment_on` is \"gpu\", expected one of \"host\", \"device\"",
        ),
        (
            "[image]\naugment_on = \"device\"\n",
            2,
            "`image.augment_on` is device, expected host: the backend `flex` computes on the host",
        ),
        ("seed = 1\n[align\n", 2, "not valid TOML"),
    ] {
        let (ended, file) = with_config(text);
        let start = format!("error: {file}:{line}: {expected}");
        assert!(ended.stderr.starts_with(&start), "expected {start}, found {}", ended.stderr);
        assert_eq!((ended.code, ended.stderr.lines().count()), (Some(2), 1), "{}", ended.stderr);
        assert_eq!(ended.stdout, "");
    }
}

#[test]
fn wrong_flags_are_refused_by_name() {
    for (arguments, expected) in [
        (&["pretrain", "--batch", "0"][..], "--batch"),
        (&["demo", "--damping", "nan"], "--damping"),
        (&["demo", "--damping", "-1"], "--damping"),
        (&["demo", "--set", "align.damping"], "--set align.damping"),
        (&["demo", "--no-such-flag"], "--no-such-flag"),
        (&["no-such-command"], "no-such-command"),
        (&["demo", "--backend", "cuda"], "this binary was built without the backend `cuda`"),
        (&["bench", "step", "--backend", "cuda"], "--features cuda"),
        (&["demo", "--augment-on", "gpu"], "--augment-on"),
        (&["demo", "--augment-on", "device"], "--augment-on"),
        (&["bench", "stage", "--damping", "-1"], "--damping"),
        (&["bench", "stage", "--alternations", "0"], "--alternations"),
        (&["bench", "stage", "--solver", "nystrom"], "align.curvature"),
        (&["align", "--preset", "demo"], "--from"),
        (&["finetune", "--from", "no/such/run"], "no/such/run"),
        (&["config", "show", "huge"], "huge"),
        (&["inspect", "no/such/run"], "no/such/run"),
        (&["demo", "--resume", "--out", "no/such/run"], "no/such/run"),
    ] {
        let ended = run(arguments);
        assert!(ended.stderr.starts_with("error: "), "{arguments:?}: {ended:?}");
        assert!(ended.stderr.contains(expected), "{arguments:?}: {ended:?}");
        assert_eq!(ended.code, Some(2), "{arguments:?}: {ended:?}");
    }
}

#[test]
fn help_version_and_presets_are_printed() {
    for arguments in
        [&["--help"][..], &["--version"], &["align", "--help"], &["config", "show", "default"]]
    {
        let ended = run(arguments);
        assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""), "{arguments:?}");
        assert!(!ended.stdout.is_empty(), "{arguments:?}");
    }
}

#[test]
fn a_shown_preset_is_a_valid_configuration() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("demo.toml");
    let shown = run(&["config", "show", "demo"]).stdout;
    // A wrong key at the end: everything before it has been accepted.
    fs::write(&file, shown + "no_such_key = 1\n").unwrap();
    let ended = run(&["pretrain", "--config", file.to_str().unwrap()]);
    assert!(ended.stderr.contains("unknown") && ended.stderr.contains("no_such_key"), "{ended:?}");
}

#[test]
fn settings_that_an_older_version_did_not_store_are_named_in_a_line() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("config.toml");
    let complete = run(&["config", "show", "demo"]).stdout;
    let is_new =
        |line: &&str| line.starts_with("precision = ") || line.starts_with("augment_on = ");
    let kept: Vec<&str> = complete.lines().filter(|line| !is_new(line)).collect();
    fs::write(&file, kept.join("\n")).unwrap();
    let ended = run(&["align", "--from", folder.path().to_str().unwrap()]);
    let (warning, rest) = ended.stderr.split_once('\n').unwrap();
    let expected = format!(
        "warning: {}: written by an older version of bissl: defaults for precision, image.augment_on",
        file.display()
    );
    assert_eq!(warning, expected);
    assert!(rest.contains("no checkpoint yet"), "{rest}");
    fs::write(&file, &complete).unwrap();
    let ended = run(&["align", "--from", folder.path().to_str().unwrap()]);
    assert_eq!(ended.stderr, rest);
}

#[test]
fn an_output_folder_in_use_or_unwritable_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("thesis.tex");
    fs::write(&file, "x").unwrap();
    let out = folder.path().to_str().unwrap();
    let ended = run(&["pretrain", "--out", out]);
    assert_eq!(ended.code, Some(2), "{ended:?}");
    assert!(ended.stderr.contains(out) && ended.stderr.contains("--resume"), "{ended:?}");
    let below = file.join("run");
    let ended = run(&["pretrain", "--out", below.to_str().unwrap()]);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.stderr.contains(below.to_str().unwrap()), "{ended:?}");
    // The kernel refuses this path to every user, root included.
    let ended = run(&["pretrain", "--out", "/proc/bissl-run"]);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.stderr.contains("/proc/bissl-run"), "{ended:?}");
    assert_eq!(entries(folder.path()), ["thesis.tex"]);
}

#[test]
fn a_missing_image_folder_is_named_and_leaves_no_run() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("out");
    let ended = run(&["pretrain", "--out", out.to_str().unwrap(), "--pretext", "/no/such/images"]);
    assert!(matches!(ended.code, Some(1 | 2)), "{ended:?}");
    assert!(ended.stderr.contains("/no/such/images"), "{ended:?}");
    assert!(entries(folder.path()).is_empty(), "{ended:?}");
}
