//! A run that was interrupted and resumed ends with the same bits as one that was not.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::binary::{Running, run, succeed, text};

/// Longer than any of these runs takes on a loaded machine.
const LIMIT: Duration = Duration::from_secs(300);
/// Time between two checks of a condition.
const LOOK: Duration = Duration::from_millis(5);

/// The smallest pretraining that has checkpoints between its steps.
pub(crate) fn pretrain(out: &Path) -> Vec<String> {
    let mut words = vec!["pretrain", "--preset", "demo", "--architecture", "resnet-small"];
    words.extend(["--width", "8", "--batch", "256", "--epochs", "2", "--seed", "5"]);
    for setting in [
        "image.size=16",
        "network.projector=[16,16]",
        "pretrain.warm_up_epochs=0",
        "pretrain.probe_every_epochs=1",
        "evaluate.probe_epochs=5",
        "checkpoint.every_seconds=0.001",
    ] {
        words.extend(["--set", setting]);
    }
    words.extend(["--out", text(out)]);
    words.into_iter().map(str::to_owned).collect()
}

/// The smallest demo: every stage, with checkpoints between its steps.
fn demo(out: &Path) -> Vec<String> {
    let mut words = vec!["demo", "--width", "8", "--batch", "256", "--epochs", "1", "--seeds", "1"];
    words.extend(["--alternations", "3", "--lower-steps", "2", "--upper-steps", "2"]);
    for setting in [
        "image.size=16",
        "network.projector=[16,16]",
        "pretrain.warm_up_epochs=0",
        "pretrain.probe_every_epochs=1",
        "warm_up.epochs=2",
        "align.batch=32",
        "align.product_batch=16",
        "align.lower.warm_up_steps=1",
        "finetune.epochs=3",
        "finetune.choice=best",
        "evaluate.probe_epochs=5",
        "checkpoint.every_seconds=0.001",
    ] {
        words.extend(["--set", setting]);
    }
    words.extend(["--out", text(out)]);
    words.into_iter().map(str::to_owned).collect()
}

/// The smallest demo with BYOL, whose target network has to survive as well.
fn demo_of_byol(out: &Path) -> Vec<String> {
    let mut words = demo(out);
    words.extend(["--method", "byol", "--set", "byol.predictor=[16]"].map(str::to_owned));
    // With this decay a target network that lags by one step has different weights.
    words.extend(["--set", "byol.decay=0.9"].map(str::to_owned));
    words
}

/// The command that continues `command`.
pub(crate) fn resumed(command: &[String], out: &Path) -> Vec<String> {
    let words = [&command[0], "--resume", "--out", out.to_str().unwrap()];
    words.map(str::to_owned).to_vec()
}

/// The manifest in a checkpoint's folder; none if the run has just removed it.
fn manifest(checkpoint: &Path) -> Option<serde_json::Value> {
    let bytes = fs::read(checkpoint.join("manifest.json")).ok()?;
    Some(serde_json::from_slice(&bytes).expect("a manifest in place is complete"))
}

/// The checkpoint folders of a run, oldest first.
pub(crate) fn checkpoints(out: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(out.join("checkpoints")) else { return Vec::new() };
    let mut numbered: Vec<_> = entries
        .map(|entry| entry.unwrap().path())
        .filter(|path| !path.file_name().unwrap().to_str().unwrap().starts_with('.'))
        .filter_map(|path| Some((manifest(&path)?["sequence"].as_u64()?, path)))
        .collect();
    numbered.sort();
    numbered.into_iter().map(|(_, path)| path).collect()
}

/// TensorBoard's events of a run, without their times.
fn events(out: &Path) -> Vec<Vec<u8>> {
    let file = fs::read(out.join("events.out.tfevents.bissl")).unwrap();
    let mut rest = &file[..];
    let mut events = Vec::new();
    while !rest.is_empty() {
        let (length, after) = rest.split_first_chunk().unwrap();
        // Length, its checksum, the event, its checksum; an event begins with its time.
        let length = u64::from_le_bytes(*length) as usize;
        events.push(after[4 + 9..4 + length].to_vec());
        rest = &after[4 + length + 4..];
    }
    events
}

/// Weights and metrics of a finished run. Also claims that its events are those of the metrics.
pub(crate) fn result(out: &Path) -> (Vec<u8>, Vec<u8>) {
    let last = checkpoints(out).pop().expect("a finished run has a checkpoint");
    let retention = &manifest(&last).unwrap()["retention"];
    assert_eq!(retention, "permanent", "{}", last.display());
    let weights = fs::read(last.join("weights.safetensors")).unwrap();
    let metrics = fs::read(out.join("metrics.jsonl")).unwrap();
    let lines = metrics.iter().filter(|byte| **byte == b'\n').count();
    assert_eq!(events(out).len(), 1 + lines, "an event for each line, behind the version");
    (weights, metrics)
}

/// Kills a command twice at each of several moments, resumes it, and compares the last weights and
/// all metrics with those of an uninterrupted run.
fn survives_kills(command: fn(&Path) -> Vec<String>) {
    let folder = tempfile::tempdir().unwrap();
    let straight = folder.path().join("straight");
    let started = Instant::now();
    succeed(&command(&straight));
    let whole = started.elapsed();
    // A fixed low-discrepancy sequence; which step each kill hits depends on the machine.
    for (index, fraction) in [0.62, 0.24, 0.85, 0.47, 0.09].into_iter().enumerate() {
        let out = folder.path().join(format!("killed-{index}"));
        let mut arguments = command(&out);
        for part in [fraction, 1.0 - fraction] {
            let mut running = Running::start(&arguments);
            if let Some(ended) = running.wait(whole.mul_f64(part)) {
                // It was faster this time; the comparison below still holds.
                assert_eq!(ended.code, Some(0), "{ended:?}");
            } else {
                running.kill();
            }
            let began = out.join("config.toml").exists();
            arguments = command(&out);
            if began {
                arguments = resumed(&arguments, &out);
            }
        }
        succeed(&arguments);
        let (weights, metrics) = result(&out);
        let (expected_weights, expected_metrics) = result(&straight);
        assert!(weights == expected_weights, "weights differ, killed at {fraction}");
        assert!(metrics == expected_metrics, "metrics differ, killed at {fraction}");
        assert!(events(&out) == events(&straight), "events differ, killed at {fraction}");
    }
}

#[test]
fn pretraining_killed_at_random_moments_ends_with_the_same_bits() {
    survives_kills(pretrain);
}

#[test]
fn a_demo_killed_at_random_moments_ends_with_the_same_bits() {
    survives_kills(demo);
}

#[test]
fn a_demo_of_byol_killed_at_random_moments_ends_with_the_same_bits() {
    survives_kills(demo_of_byol);
}

#[test]
fn an_interrupt_writes_a_checkpoint_and_says_how_to_continue() {
    let folder = tempfile::tempdir().unwrap();
    let (straight, out) = (folder.path().join("straight"), folder.path().join("interrupted"));
    succeed(&pretrain(&straight));
    let mut running = Running::start(&pretrain(&out));
    let started = Instant::now();
    while checkpoints(&out).is_empty() {
        assert!(started.elapsed() < LIMIT, "no checkpoint after {LIMIT:?}");
        if let Some(ended) = running.wait(LOOK) {
            panic!("ended before its first checkpoint was seen: {ended:?}");
        }
    }
    running.signal("INT");
    let ended = running.wait(LIMIT).expect("it ends after an interrupt");
    assert_eq!(ended.code, Some(130), "{ended:?}");
    assert!(ended.stderr.contains("--resume"), "{ended:?}");
    let inspected = run(&["inspect", out.to_str().unwrap()]);
    assert!(inspected.stdout.contains("newest valid checkpoint: stage pretrain"), "{inspected:?}");
    succeed(&resumed(&pretrain(&out), &out));
    assert!(result(&out) == result(&straight), "an interrupted run differs");
}

#[test]
fn a_damaged_checkpoint_is_passed_over_with_a_warning() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    succeed(&pretrain(&out));
    let expected = result(&out);
    let newest = checkpoints(&out).pop().unwrap().join("weights.safetensors");
    let whole = fs::read(&newest).unwrap();
    fs::write(&newest, &whole[..whole.len() / 2]).unwrap();
    let ended = succeed(&resumed(&pretrain(&out), &out));
    assert!(ended.stderr.contains("weights.safetensors is damaged"), "{ended:?}");
    assert!(result(&out) == expected, "resumed from an older checkpoint, a run differs");
}

#[test]
fn a_checkpoint_is_evaluated_on_images_that_its_stage_has_not_seen() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("demo");
    let mut words = demo(&out);
    words.extend(["--set", "demo.seeds=2"].map(str::to_owned));
    succeed(&words);
    // The newest checkpoint belongs to the second seed; the run's configuration states the first.
    let metrics = fs::read_to_string(out.join("metrics.jsonl")).unwrap();
    let line = metrics.lines().rfind(|line| line.contains("test_accuracy")).unwrap();
    let record: serde_json::Value = serde_json::from_str(line).unwrap();
    let expected = format!("{:.4}", record["value"].as_f64().unwrap());
    let evaluated = succeed(&["evaluate", "--from", text(&out)]);
    let top1 = evaluated.stdout.lines().find(|line| line.starts_with("held-out top-1")).unwrap();
    assert!(top1.ends_with(&expected), "{top1}, in the demo {expected}");

    let newest = checkpoints(&out).pop().unwrap();
    let aligned = newest.with_file_name("s2-align-00000012");
    let tuned = folder.path().join("tuned");
    let arguments =
        ["finetune", "--from", aligned.to_str().unwrap(), "--out", tuned.to_str().unwrap()];
    let ended = run(&arguments);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.stderr.contains("use --seed 2"), "{ended:?}");
}
