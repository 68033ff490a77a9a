//! The binary on a device: every stage, interruption, precisions, and the messages when the device
//! fails.
//!
//! The networks are the smallest that a configuration allows: a software device is slow.

#[path = "../cli/binary.rs"]
mod binary;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use binary::{Ended, Running, bissl, run, succeed};
use serde_json::Value;

/// Longer than any of these runs takes on a loaded machine.
const LIMIT: Duration = Duration::from_secs(300);

/// Settings of every run here.
const SMALL: &[&str] = &[
    "image.size=16",
    "network.projector=[16,16]",
    "pretrain.warm_up_epochs=0",
    "pretrain.probe_every_epochs=none",
    "evaluate.probe_epochs=2",
    "warm_up.epochs=1",
    "align.batch=8",
    "align.product_batch=8",
    "align.upper_batch=8",
    "align.lower.warm_up_steps=1",
    "align.alternations=2",
    "align.lower_steps=2",
    "align.upper_steps=2",
    "finetune.epochs=1",
];

fn words(line: &str) -> Vec<String> {
    line.split_whitespace().map(str::to_owned).collect()
}

/// A command on the device with [`SMALL`]'s settings.
fn small(line: &str) -> Vec<String> {
    let mut words = words(line);
    words.extend(["--backend", "wgpu"].map(str::to_owned));
    for setting in SMALL {
        words.extend(["--set".to_owned(), (*setting).to_owned()]);
    }
    words
}

fn pretrain(out: &Path) -> Vec<String> {
    let line = format!(
        "pretrain --preset demo --architecture resnet-small --width 8 --batch 512 --epochs 1 --seed 5 \
         --set checkpoint.every_seconds=0.001 --out {}",
        out.display()
    );
    small(&line)
}

/// The complete checkpoints of a run.
fn checkpoints(out: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(out.join("checkpoints")) else { return Vec::new() };
    let mut paths: Vec<_> = entries
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.join("manifest.json").exists())
        .collect();
    paths.sort();
    paths
}

fn weights(checkpoint: &Path) -> Vec<u8> {
    fs::read(checkpoint.join("weights.safetensors")).unwrap()
}

/// The weights of every stage that a run completed.
fn result(out: &Path) -> Vec<(String, Vec<u8>)> {
    let permanent = |path: &PathBuf| {
        let manifest = fs::read_to_string(path.join("manifest.json")).unwrap();
        serde_json::from_str::<Value>(&manifest).unwrap()["retention"] == "permanent"
    };
    let ended: Vec<_> = checkpoints(out).into_iter().filter(permanent).collect();
    assert!(!ended.is_empty(), "a finished run has a checkpoint");
    let name = |path: &Path| path.file_name().unwrap().to_str().unwrap().to_owned();
    ended.iter().map(|path| (name(path), weights(path))).collect()
}

#[test]
fn verify_passes_and_tells_the_errors_of_every_precision() {
    let ended = succeed(&small("verify --preset demo --width 8 --json --quiet"));
    let report: Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!(report["failed"], 0, "{report:#}");
    let error = |group: &str, name: &str| {
        let checks = report["checks"].as_array().unwrap();
        let check = checks.iter().find(|check| check["group"] == group && check["name"] == name);
        check.unwrap_or_else(|| panic!("no {group}: {name}"))["error"].as_f64().unwrap()
    };
    for name in [
        "gradient",
        "hessian product, differences of the gradient",
        "solve with the hessian, the same with differences",
    ] {
        let [f32, tf32, bf16] =
            ["narrow network", "narrow network in tf32", "narrow network in bf16"]
                .map(|group| error(group, name));
        assert!(
            f32 < 1e-3 && tf32 > 10.0 * f32 && bf16 > tf32,
            "{name}: {f32:e} {tf32:e} {bf16:e}"
        );
    }
}

#[test]
fn every_stage_runs_and_an_interrupted_one_ends_with_the_same_bits() {
    let folder = tempfile::tempdir().unwrap();
    let [straight, killed, aligned, tuned] =
        ["straight", "killed", "aligned", "tuned"].map(|name| folder.path().join(name));
    succeed(&pretrain(&straight));

    let mut running = Running::start(&pretrain(&killed));
    let started = Instant::now();
    while checkpoints(&killed).is_empty() {
        assert!(started.elapsed() < LIMIT, "no checkpoint after {LIMIT:?}");
        if let Some(ended) = running.wait(Duration::from_millis(5)) {
            panic!("ended before its first checkpoint was seen: {ended:?}");
        }
    }
    running.kill();
    succeed(&words(&format!("pretrain --resume --out {}", killed.display())));
    assert!(result(&killed) == result(&straight), "a run that was killed has other weights");

    let from = |stage: &str, from: &Path, out: &Path| {
        let (from, out) = (from.display(), out.display());
        small(&format!("{stage} --from {from} --out {out} --labels-per-class 3"))
    };
    succeed(&from("align", &straight, &aligned));
    succeed(&from("finetune", &aligned, &tuned));
    let evaluated = succeed(&words(&format!("evaluate --from {}", tuned.display())));
    assert!(evaluated.stdout.contains("held-out top-1"), "{evaluated:?}");
}

#[test]
fn precisions_give_other_weights_and_each_the_same_again() {
    let folder = tempfile::tempdir().unwrap();
    let weights = |name: &str, precision: &str| {
        let out = folder.path().join(name);
        let mut command = pretrain(&out);
        command.extend(words(&format!("--precision {precision} --set pretrain.batch=1024")));
        succeed(&command);
        result(&out).pop().unwrap().1
    };
    let (f32, bf16) = (weights("f32", "f32"), weights("bf16", "bf16"));
    assert!(f32 != bf16, "bf16 trains to the weights of f32");
    assert!(bf16 == weights("again", "bf16"), "the same run again has other weights");
}

#[test]
fn without_a_driver_one_line_says_what_to_install() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    let nowhere = folder.path().join("no-driver.json");
    let mut command = bissl();
    command.args(pretrain(&out));
    for variable in ["VK_ICD_FILENAMES", "VK_DRIVER_FILES"] {
        command.env(variable, &nowhere);
    }
    let ended: Ended = command.output().unwrap().into();
    assert_eq!(ended.code, Some(1), "{ended:?}");
    let errors: Vec<_> = ended.stderr.lines().filter(|l| l.starts_with("error: backend")).collect();
    assert_eq!(errors.len(), 1, "{ended:?}");
    assert!(errors[0].contains("`wgpu`") && errors[0].contains("install"), "{ended:?}");
    assert!(!out.exists(), "a run that never began is left");
}

#[test]
fn what_does_not_fit_is_one_line_that_says_how_to_make_it_fit() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    // An activation of 4 GiB is more than any device of the tests can bind.
    let mut command = pretrain(&out);
    command.extend(words(
        "--set pretrain.batch=1024 --set network.width=512 --set image.size=64 --set network.stem=small",
    ));
    let ended = run(&command);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    let errors: Vec<_> = ended.stderr.lines().filter(|l| l.starts_with("error: ")).collect();
    assert_eq!(errors.len(), 1, "{ended:?}");
    assert!(errors[0].contains("`wgpu`") && errors[0].contains("smaller batch"), "{ended:?}");
    assert!(!ended.stderr.contains("panicked"), "{ended:?}");
}
