//! Laws of the files of a run.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use serde::{Deserialize, Serialize};

use super::*;
use crate::config::{Layers, Preset, RunConfig};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct State {
    step: u32,
    loss: f32,
}

const NETWORK: &str = "resnet-small width 16";

fn weights(step: u64) -> Vec<f32> {
    (0..6).map(|i| 0.1 * (i as f32) - step as f32).collect()
}

fn save(checkpoints: &mut Checkpoints, step: u64, retention: Retention) -> Result<(), RunError> {
    let (values, bias) = (weights(step), [f32::MIN_POSITIVE / 2.0, -0.0]);
    let tensors = [
        TensorView { name: "stem.weight", shape: &[2, 3], values: &values },
        TensorView { name: "head.bias", shape: &[2], values: &bias },
    ];
    let new = NewCheckpoint {
        stage: "pretrain",
        step,
        retention,
        architecture: NETWORK,
        score: None,
        metrics_bytes: 10 * step,
        tensors: &tensors,
        state: &State { step: step as u32, loss: 0.1 },
    };
    checkpoints.save(&new).map(drop)
}

/// A folder with checkpoints of steps 1 and 2.
fn two(folder: &Path) -> Checkpoints {
    let mut checkpoints = Checkpoints::open(folder, 3).unwrap();
    save(&mut checkpoints, 1, Retention::Rolling).unwrap();
    save(&mut checkpoints, 2, Retention::Rolling).unwrap();
    checkpoints
}

fn newest_step(folder: &Path) -> (Option<u64>, Vec<String>) {
    let newest = Checkpoints::read_only(folder).newest::<State>(None, Some(NETWORK)).unwrap();
    let reasons = newest.passed_over.iter().map(ToString::to_string).collect();
    (newest.checkpoint.map(|c| c.manifest.step), reasons)
}

/// The content of every file below `folder`.
fn contents(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if path.is_dir() {
            let inner = contents(&path).into_iter();
            files.extend(inner.map(|(key, value)| (format!("{name}/{key}"), value)));
            files.insert(name, Vec::new());
        } else {
            files.insert(name, fs::read(&path).unwrap());
        }
    }
    files
}

#[test]
fn a_checkpoint_reads_back_bit_for_bit() {
    let folder = tempfile::tempdir().unwrap();
    two(folder.path());
    let newest = Checkpoints::read_only(folder.path()).newest(None, Some(NETWORK)).unwrap();
    assert!(newest.passed_over.is_empty());
    let checkpoint: Checkpoint<State> = newest.checkpoint.unwrap();
    assert_eq!(checkpoint.state, State { step: 2, loss: 0.1 });
    assert_eq!((checkpoint.manifest.step, checkpoint.manifest.metrics_bytes), (2, 20));
    let stem = checkpoint.tensor("stem.weight").unwrap();
    assert_eq!((&stem.shape[..], &stem.values[..]), (&[2, 3][..], &weights(2)[..]));
    let bits: Vec<_> =
        checkpoint.tensor("head.bias").unwrap().values.iter().map(|x| x.to_bits()).collect();
    assert_eq!(bits, [(f32::MIN_POSITIVE / 2.0).to_bits(), (-0.0f32).to_bits()]);
    assert!(checkpoint.tensor("absent").is_none());
}

#[test]
fn a_file_cut_at_any_length_is_never_loaded_and_the_older_checkpoint_wins() {
    let folder = tempfile::tempdir().unwrap();
    two(folder.path());
    for file in ["weights.safetensors", "state.json", "manifest.json"] {
        let path = folder.path().join("pretrain-00000002").join(file);
        let whole = fs::read(&path).unwrap();
        for length in [0, 1, whole.len() / 3, whole.len() / 2, whole.len() - 1] {
            fs::write(&path, &whole[..length]).unwrap();
            let (step, reasons) = newest_step(folder.path());
            assert_eq!(step, Some(1), "{file} cut to {length}");
            assert!(reasons.len() == 1 && reasons[0].contains(file), "{reasons:?}");
        }
        fs::write(&path, [&whole[..], b" "].concat()).unwrap();
        assert_eq!(newest_step(folder.path()).0, Some(1), "{file} with a byte more");
        fs::write(&path, &whole).unwrap();
        assert_eq!(newest_step(folder.path()).0, Some(2), "{file} restored");
    }
}

#[test]
fn a_flipped_byte_anywhere_is_noticed() {
    let folder = tempfile::tempdir().unwrap();
    two(folder.path());
    for file in ["weights.safetensors", "state.json", "manifest.json"] {
        let path = folder.path().join("pretrain-00000002").join(file);
        let whole = fs::read(&path).unwrap();
        for index in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[index] ^= 1 << (index % 8);
            fs::write(&path, bytes).unwrap();
            assert_eq!(newest_step(folder.path()).0, Some(1), "{file}, byte {index}");
        }
        fs::write(&path, &whole).unwrap();
    }
}

#[test]
fn a_missing_file_is_noticed() {
    for file in ["weights.safetensors", "state.json", "manifest.json"] {
        let folder = tempfile::tempdir().unwrap();
        two(folder.path());
        fs::remove_file(folder.path().join("pretrain-00000002").join(file)).unwrap();
        let (step, reasons) = newest_step(folder.path());
        assert_eq!(step, Some(1), "without {file}");
        assert!(reasons[0].contains(file), "{reasons:?}");
    }
}

#[test]
fn a_checkpoint_of_another_network_is_refused_by_both_names() {
    let folder = tempfile::tempdir().unwrap();
    two(folder.path());
    let path = folder.path().join("pretrain-00000002");
    let error = read_checkpoint::<State>(&path, Some("resnet18")).expect_err("another network");
    let error = error.to_string();
    assert!(error.contains(NETWORK) && error.contains("`resnet18`"), "{error}");
    let newest = Checkpoints::read_only(folder.path()).newest::<State>(None, Some("resnet18"));
    let newest = newest.unwrap();
    assert!(newest.checkpoint.is_none() && newest.passed_over.len() == 2);
}

#[test]
fn without_any_valid_checkpoint_nothing_is_loaded() {
    let folder = tempfile::tempdir().unwrap();
    two(folder.path());
    for step in 1..=2 {
        let path = folder.path().join(format!("pretrain-0000000{step}/state.json"));
        fs::write(path, "{}").unwrap();
    }
    let (step, reasons) = newest_step(folder.path());
    assert_eq!((step, reasons.len()), (None, 2));
    assert_eq!(newest_step(&folder.path().join("absent")), (None, Vec::new()));
}

#[test]
fn the_newest_is_the_last_written_whatever_its_step_and_old_ones_go() {
    let folder = tempfile::tempdir().unwrap();
    let mut checkpoints = Checkpoints::open(folder.path(), 2).unwrap();
    for (step, retention) in [
        (9, Retention::Permanent),
        (5, Retention::Rolling),
        (6, Retention::Rolling),
        (7, Retention::Rolling),
        (2, Retention::Rolling),
    ] {
        save(&mut checkpoints, step, retention).unwrap();
    }
    let (entries, damaged) = checkpoints.entries().unwrap();
    let steps: Vec<_> = entries.iter().map(|entry| entry.manifest.step).collect();
    assert_eq!((steps, damaged.len()), (vec![2, 7, 9], 0));
    let mut reopened = Checkpoints::open(folder.path(), 2).unwrap();
    save(&mut reopened, 3, Retention::Rolling).unwrap();
    assert_eq!(newest_step(folder.path()).0, Some(3));
}

#[test]
fn writing_a_step_again_replaces_it() {
    let folder = tempfile::tempdir().unwrap();
    let mut checkpoints = two(folder.path());
    fs::write(folder.path().join("pretrain-00000002/state.json"), "{}").unwrap();
    assert_eq!(newest_step(folder.path()).0, Some(1));
    save(&mut checkpoints, 2, Retention::Permanent).unwrap();
    assert_eq!(newest_step(folder.path()), (Some(2), Vec::new()));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
}

#[test]
fn what_a_kill_leaves_is_tidied_up_and_nothing_valid_is_lost() {
    let folder = tempfile::tempdir().unwrap();
    two(folder.path());
    let path = |name: &str| folder.path().join(name);
    // The process was killed while writing step 3, while removing step 0, and between the renames
    // of step 2.
    fs::create_dir(path(".tmp-pretrain-00000003")).unwrap();
    fs::write(path(".tmp-pretrain-00000003/state.json"), "{").unwrap();
    fs::create_dir(path(".gone-pretrain-00000000")).unwrap();
    fs::rename(path("pretrain-00000002"), path(".old-pretrain-00000002")).unwrap();
    assert_eq!(newest_step(folder.path()), (Some(1), Vec::new()));
    Checkpoints::open(folder.path(), 3).unwrap();
    assert_eq!(newest_step(folder.path()), (Some(2), Vec::new()));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
}

#[test]
fn a_state_with_nan_is_refused_before_anything_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let mut checkpoints = two(folder.path());
    let before = contents(folder.path());
    let new = NewCheckpoint {
        stage: "pretrain",
        step: 3,
        retention: Retention::Rolling,
        architecture: NETWORK,
        score: None,
        metrics_bytes: 0,
        tensors: &[],
        state: &State { step: 3, loss: f32::NAN },
    };
    let error = checkpoints.save(&new).expect_err("NaN").to_string();
    assert!(error.contains("state"), "{error}");
    assert_eq!(contents(folder.path()), before);
}

#[test]
fn safetensors_of_another_type_or_none_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.safetensors");
    let values = weights(0);
    write_tensors(&path, &[TensorView { name: "a", shape: &[3, 2], values: &values }]).unwrap();
    assert_eq!(read_tensors(&path).unwrap()[0].shape, [3, 2]);
    let text = fs::read(&path).unwrap();
    let header = String::from_utf8_lossy(&text).into_owned();
    fs::write(&path, header.replace("\"F32\"", "\"I32\"")).unwrap();
    let error = read_tensors(&path).expect_err("not F32").to_string();
    assert!(error.contains("x.safetensors") && error.contains("damaged"), "{error}");
    fs::write(&path, b"PK not safetensors").unwrap();
    assert!(read_tensors(&path).is_err());
    assert!(read_tensors(&folder.path().join("absent")).is_err());
}

#[test]
fn metrics_of_a_resumed_run_continue_behind_the_checkpoint() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("metrics.jsonl");
    let record = |step| State { step, loss: 0.5 };
    let mut straight = MetricsWriter::open(&path, 0).unwrap();
    for step in 0..5 {
        straight.append(&record(step)).unwrap();
    }
    let whole = fs::read(&path).unwrap();
    let mut first = MetricsWriter::open(&path, 0).unwrap();
    first.append(&record(0)).unwrap();
    first.append(&record(1)).unwrap();
    let bytes = first.sync().unwrap();
    first.append(&record(2)).unwrap();
    drop(first);
    let mut second = MetricsWriter::open(&path, bytes).unwrap();
    for step in 2..5 {
        second.append(&record(step)).unwrap();
    }
    assert_eq!(fs::read(&path).unwrap(), whole);
    assert_eq!(last_metrics(&path, 2).unwrap().len(), 2);
    assert!(last_metrics(&path, 1).unwrap()[0].contains("\"step\":4"));
    let error = MetricsWriter::open(&path, 1 << 20).expect_err("too short").to_string();
    assert!(error.contains("metrics.jsonl") && error.contains("expected at least"), "{error}");
}

fn config() -> RunConfig {
    Preset::Demo.config()
}

#[test]
fn a_new_run_does_not_mix_with_what_is_there() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("thesis.tex"), "x").unwrap();
    let error = RunFolder::create(folder.path(), &config()).expect_err("occupied").to_string();
    assert!(error.contains("--resume") && error.contains("--out"), "{error}");
    assert_eq!(contents(folder.path()).len(), 1);
    let file = folder.path().join("thesis.tex");
    assert!(RunFolder::create(&file, &config()).is_err());
    assert!(RunFolder::create(&file.join("run"), &config()).is_err());
    let new = folder.path().join("a/b");
    RunFolder::create(&new, &config()).unwrap();
    assert_eq!(contents(&new).keys().collect::<Vec<_>>(), ["config.toml"]);
}

#[test]
fn a_run_that_never_began_is_removed_and_one_that_began_is_not() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run");
    for was_there in [false, true] {
        if was_there {
            fs::create_dir(&path).unwrap();
        }
        drop(RunFolder::create(&path, &config()).unwrap());
        RunFolder::discard_unused(&path, was_there).unwrap();
        assert_eq!(path.exists(), was_there);
    }
    let run = RunFolder::create(&path, &config()).unwrap();
    run.metrics(0).unwrap();
    RunFolder::discard_unused(&path, false).unwrap();
    assert_eq!(contents(&path).len(), 3);
}

#[test]
fn a_resumed_run_has_the_same_settings() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run");
    let open = RunFolder::create(&path, &config()).unwrap();
    let error = RunFolder::resume(&path, &config()).expect_err("in use").to_string();
    assert!(error.contains("used by another"), "{error}");
    drop(open);
    RunFolder::resume(&path, &config()).unwrap();
    let layers = Layers::preset(Preset::Demo).set("threads=1").unwrap();
    RunFolder::resume(&path, &layers.clone().resolve().unwrap()).unwrap();
    let other = layers.set("align.damping=0.5").unwrap().resolve().unwrap();
    let error = RunFolder::resume(&path, &other).expect_err("other damping").to_string();
    assert!(error.contains("`align.damping` = 10.0") && error.contains("0.5"), "{error}");
    let error = RunFolder::resume(folder.path(), &config()).expect_err("no run").to_string();
    assert!(error.contains("config.toml"), "{error}");
}

#[test]
fn a_run_and_its_checkpoints_are_found_by_path() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run");
    let run = RunFolder::create(&path, &config()).unwrap();
    let origin = Origin::of(&path).unwrap();
    let error = origin.checkpoint_path().expect_err("no checkpoint").to_string();
    assert!(error.contains("no checkpoint yet"), "{error}");
    two(&path.join("checkpoints"));
    assert_eq!(run.checkpoints().unwrap().entries().unwrap().0.len(), 2);
    let newest = origin.checkpoint_path().unwrap();
    assert_eq!(newest, path.join("checkpoints/pretrain-00000002"));
    let origin = Origin::of(&newest).unwrap();
    assert_eq!(origin, Origin::Checkpoint(newest.clone()));
    assert_eq!(origin.config().unwrap(), config());
    fs::write(newest.join("state.json"), "").unwrap();
    assert!(origin.checkpoint_path().is_err());
    let older = Origin::of(&path).unwrap().checkpoint_path().unwrap();
    assert_eq!(older, path.join("checkpoints/pretrain-00000001"));
    let error = Origin::of(folder.path()).expect_err("neither").to_string();
    assert!(error.contains("config.toml"), "{error}");
    assert!(Origin::of(&folder.path().join("absent")).is_err());
}

#[test]
fn where_nothing_can_be_written_the_error_names_the_path() {
    // The kernel refuses this path to every user, root included.
    let path = Path::new("/proc/bissl-run");
    let error = RunFolder::create(path, &config()).expect_err("read-only").to_string();
    assert!(error.contains("/proc/bissl-run"), "{error}");
    let error = write_atomic(&path.join("x"), b"x").expect_err("read-only").to_string();
    assert!(error.contains("/proc/bissl-run/x"), "{error}");
    let mut checkpoints = Checkpoints::open(path, 1).unwrap();
    let error = save(&mut checkpoints, 1, Retention::Rolling).expect_err("read-only").to_string();
    assert!(error.contains("/proc/bissl-run/pretrain-00000001"), "{error}");
}

/// Names the folder in which [`full_disk`] works; only this file sets it, when it starts itself.
const FULL_DISK: &str = "BISSL_TEST_FULL_DISK";

/// The part of [`a_full_disk_leaves_nothing_half_written`] that runs in a process whose files may
/// not grow.
#[test]
fn full_disk() {
    let Some(folder) = std::env::var_os(FULL_DISK) else { return };
    let folder = Path::new(&folder);
    let before = contents(folder);
    let values = vec![1.0; 10_000];
    let tensors = [TensorView { name: "a", shape: &[10_000], values: &values }];
    let error = write_tensors(&folder.join("old.safetensors"), &tensors).expect_err("full");
    assert!(error.to_string().contains("old.safetensors"), "{error}");
    let mut checkpoints = Checkpoints::open(&folder.join("checkpoints"), 1).unwrap();
    let new = NewCheckpoint {
        stage: "pretrain",
        step: 3,
        retention: Retention::Rolling,
        architecture: NETWORK,
        score: None,
        metrics_bytes: 0,
        tensors: &tensors,
        state: &State { step: 3, loss: 0.0 },
    };
    let error = checkpoints.save(&new).expect_err("full");
    assert!(error.to_string().contains("pretrain-00000003"), "{error}");
    let bytes = before["metrics.jsonl"].len() as u64;
    let mut metrics = MetricsWriter::open(&folder.join("metrics.jsonl"), bytes).unwrap();
    let error = metrics.append(&values).expect_err("full");
    assert!(error.to_string().contains("metrics.jsonl"), "{error}");
    assert_eq!(contents(folder), before);
    println!("nothing half-written");
}

#[test]
fn a_full_disk_leaves_nothing_half_written() {
    let folder = tempfile::tempdir().unwrap();
    two(&folder.path().join("checkpoints"));
    write_tensors(&folder.path().join("old.safetensors"), &[]).unwrap();
    fs::write(folder.path().join("metrics.jsonl"), "{\"step\":0}\n").unwrap();
    // A limit on the size of files makes writes fail just as a full disk does, after some bytes;
    // the signal that comes with it is ignored. The limit is in blocks of 512 or 1024 bytes.
    let output = Command::new("sh")
        .args(["-c", "trap '' XFSZ && ulimit -f 20 && exec \"$0\" \"$@\""])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", &format!("{}::full_disk", module_path!().split_once("::").unwrap().1)])
        .args(["--nocapture", "--test-threads=1"])
        .env(FULL_DISK, folder.path())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && text.contains("nothing half-written"), "{output:?}");
}
