//! What a run does besides training: measures, checkpoints on request, history, progress.

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::binary::{Running, run, succeed};
use crate::interruption::{checkpoints, pretrain, result, resumed};

/// Longer than any of these runs takes on a loaded machine.
const LIMIT: Duration = Duration::from_secs(300);

/// The same command with another setting appended.
fn with(command: &[String], setting: &str) -> Vec<String> {
    [command, &["--set".to_owned(), setting.to_owned()]].concat()
}

fn records(metrics: &[u8], kind: &str) -> Vec<Value> {
    let lines = metrics.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    let records = lines.map(|line| serde_json::from_slice::<Value>(line).unwrap());
    records.filter(|record| record["kind"] == kind).collect()
}

#[test]
fn the_online_probe_measures_and_changes_no_bit_of_the_training() {
    let folder = tempfile::tempdir().unwrap();
    let (on, off) = (folder.path().join("on"), folder.path().join("off"));
    succeed(&pretrain(&on));
    succeed(&with(&pretrain(&off), "pretrain.probe_every_epochs=none"));
    let ((weights, metrics), (plain_weights, plain_metrics)) = (result(&on), result(&off));
    assert!(weights == plain_weights, "the weights differ");
    assert_eq!(records(&metrics, "step"), records(&plain_metrics, "step"));
    let probes = records(&metrics, "probe");
    assert_eq!((probes.len(), records(&plain_metrics, "probe").len()), (2, 0));
    for (epoch, probe) in (1..).zip(&probes) {
        assert_eq!(probe["epoch"], epoch);
        assert_eq!(probe["state_before"], probe["state_after"]);
        assert_eq!(probe["state_before"].as_str().unwrap().len(), 16, "{probe}");
        for measure in ["probe", "knn"] {
            let accuracy = probe[measure].as_f64().unwrap();
            assert!((0.0..=1.0).contains(&accuracy), "{probe}");
        }
    }
    assert_ne!(probes[0]["state_before"], probes[1]["state_before"], "nothing was trained");
    // The best checkpoint is kept, whatever else is removed.
    let best = probes.iter().map(|probe| probe["probe"].as_f64().unwrap()).fold(0.0, f64::max);
    let scores: Vec<f64> = checkpoints(&on)
        .iter()
        .map(|path| fs::read(path.join("manifest.json")).unwrap())
        .filter_map(|bytes| {
            serde_json::from_slice::<Value>(&bytes).unwrap()["score"]["value"].as_f64()
        })
        .collect();
    assert!(scores.contains(&best), "{scores:?}, expected {best}");
}

#[test]
fn an_online_probe_without_validation_images_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    let ended = run(&with(&pretrain(&out), "data.downstream.validation_per_class=0"));
    assert_eq!(ended.code, Some(1), "{ended:?}");
    for word in ["data.downstream.validation_per_class", "pretrain.probe_every_epochs"] {
        assert!(ended.stderr.contains(word), "{ended:?}");
    }
    assert!(!out.exists(), "a run that never began is left");
}

#[test]
fn the_number_of_threads_changes_no_bit() {
    let folder = tempfile::tempdir().unwrap();
    let results = ["1", "3"].map(|threads| {
        let out = folder.path().join(threads);
        succeed(&with(&pretrain(&out), &format!("threads={threads}")));
        result(&out)
    });
    assert!(results[0] == results[1], "with 1 thread and with 3, runs differ");
}

/// Waits until `done` returns true.
fn wait(running: &mut Running, what: &str, done: impl Fn() -> bool) {
    let started = Instant::now();
    while !done() {
        assert!(started.elapsed() < LIMIT, "no {what} after {LIMIT:?}");
        if let Some(ended) = running.wait(Duration::from_millis(5)) {
            panic!("ended before {what}: {ended:?}");
        }
    }
}

fn listed(folder: &Path) -> Value {
    let listed = succeed(&["runs", folder.to_str().unwrap(), "--json"]);
    let runs: Value = serde_json::from_str(&listed.stdout).unwrap();
    assert_eq!(runs.as_array().unwrap().len(), 1, "{runs}");
    runs[0].clone()
}

#[test]
fn sigusr1_asks_for_a_checkpoint_and_sigterm_for_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    let mut command = pretrain(&out);
    for setting in ["pretrain.epochs=1000", "checkpoint.every_seconds=100000"] {
        command = with(&command, setting);
    }
    let mut running = Running::start(&command);
    let metrics = out.join("metrics.jsonl");
    wait(&mut running, "a step", || fs::metadata(&metrics).is_ok_and(|data| data.len() > 0));
    assert_eq!(listed(folder.path())["state"], "running");
    running.signal("USR1");
    wait(&mut running, "a checkpoint", || !checkpoints(&out).is_empty());
    let seen = fs::metadata(&metrics).unwrap().len();
    wait(&mut running, "a further step", || fs::metadata(&metrics).unwrap().len() > seen);
    running.signal("TERM");
    let ended = running.wait(LIMIT).expect("it ends after SIGTERM");
    assert_eq!(ended.code, Some(130), "{ended:?}");
    let overview = listed(folder.path());
    assert_eq!(
        (&overview["state"], &overview["command"]),
        (&"interrupted".into(), &"pretrain".into())
    );
    assert!(overview["progress"]["step"].as_u64() < overview["progress"]["steps"].as_u64());
    let history = fs::read_to_string(out.join("history.jsonl")).unwrap();
    let first: Value = serde_json::from_str(history.lines().next().unwrap()).unwrap();
    assert_eq!((&first["event"], &first["arguments"][1]), (&"started".into(), &"pretrain".into()));
    for key in ["version", "platform", "threads", "unix_seconds"] {
        assert!(!first[key].is_null(), "{key}: {first}");
    }
    assert_eq!(history.lines().count(), 2, "{history}");
}

#[test]
fn into_a_pipe_goes_no_bar_and_quiet_means_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    let ended = succeed(&pretrain(&out));
    assert!(!ended.stderr.contains(['\r', '\u{1b}']), "{ended:?}");
    let of_progress = ended.stderr.lines().filter(|line| line.contains("steps/s")).count();
    assert!((1..20).contains(&of_progress), "{ended:?}");
    let command = [&pretrain(&folder.path().join("quiet"))[..], &["--quiet".to_owned()]].concat();
    let ended = succeed(&command);
    assert_eq!(ended.stderr, "");
    succeed(&resumed(&pretrain(&out), &out));
    assert_eq!(listed(&out)["state"], "finished");
}
