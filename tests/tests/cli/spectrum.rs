//! `bissl spectrum` on the checkpoints of a tiny run.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use bissl::curvature::{CheckpointSelection, SpectrumJob, spectrum};
use bissl::network::Curvature;
use bissl::progress::{Interrupt, Verbosity};
use bissl::run::Origin;
use serde_json::Value;

use crate::binary::{Ended, run, succeed};

/// A demo of one seed: pretraining, warm-up, the bilevel stage, fine-tuning; made once.
fn finished() -> &'static Path {
    static RUN: OnceLock<(tempfile::TempDir, PathBuf)> = OnceLock::new();
    let (_, path) = RUN.get_or_init(|| {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("run");
        let mut words = vec!["demo", "--width", "8", "--batch", "256", "--epochs", "1"];
        words.extend(["--seeds", "1", "--alternations", "1"]);
        words.extend(["--lower-steps", "2", "--upper-steps", "1", "--out", out.to_str().unwrap()]);
        for setting in [
            "image.size=16",
            "network.projector=[16,16]",
            "pretrain.warm_up_epochs=0",
            "warm_up.epochs=1",
            "align.batch=32",
            "align.product_batch=16",
            "align.lower.warm_up_steps=1",
            "finetune.epochs=1",
            "evaluate.probe_epochs=1",
        ] {
            words.extend(["--set", setting]);
        }
        succeed(&words);
        (folder, out)
    });
    path
}

/// Runs the command on the run, with `more` arguments appended.
fn of_run(more: &[&str]) -> Ended {
    let mut words = vec!["spectrum", "--quiet", "--run", finished().to_str().unwrap()];
    words.extend(more);
    run(&words)
}

/// The JSON output of a command that succeeds.
fn report(more: &[&str]) -> Value {
    let ended = of_run(&[more, &["--json"]].concat());
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""), "{ended:?}");
    serde_json::from_str(&ended.stdout).unwrap()
}

fn eigenvalues(checkpoint: &Value, end: &str) -> Vec<(f64, f64)> {
    let pair = |x: &Value| (x["value"].as_f64().unwrap(), x["bound"].as_f64().unwrap());
    checkpoint[end].as_array().unwrap().iter().map(pair).collect()
}

const FEW: [&str; 4] = ["--eigenvalues", "3", "--iterations", "12"];

#[test]
fn every_checkpoint_with_a_pretext_network_has_its_spectrum_in_order() {
    let report = report(&FEW);
    let checkpoints = report["checkpoints"].as_array().unwrap();
    let stages: Vec<&str> = checkpoints.iter().map(|c| c["stage"].as_str().unwrap()).collect();
    let last = |stage: &str| stages.iter().rposition(|found| found.ends_with(stage));
    assert!(last("pretrain").unwrap() < last("align").unwrap(), "{stages:?}");
    assert!(last("warm-up").is_none() && last("finetune").is_none(), "{stages:?}");
    assert_eq!(report["batch"], 16);
    for checkpoint in checkpoints {
        assert_eq!(checkpoint["products"], 12);
        let (largest, smallest) =
            (eigenvalues(checkpoint, "largest"), eigenvalues(checkpoint, "smallest"));
        assert_eq!((largest.len(), smallest.len()), (3, 3));
        assert!(largest.windows(2).all(|pair| pair[0].0 >= pair[1].0), "{largest:?}");
        assert!(smallest.windows(2).all(|pair| pair[0].0 <= pair[1].0), "{smallest:?}");
        assert!(largest[2].0 > smallest[2].0 && largest[0].0 > 0.0, "{checkpoint}");
    }
}

#[test]
fn more_products_find_larger_eigenvalues_within_the_bounds_of_fewer() {
    let largest = |iterations: &str| {
        let words = ["--checkpoints", "last", "--eigenvalues", "1", "--iterations", iterations];
        let report = report(&words);
        let checkpoints = report["checkpoints"].as_array().unwrap();
        assert_eq!(checkpoints.len(), 1);
        eigenvalues(&checkpoints[0], "largest")[0]
    };
    let (few, many) = (largest("6"), largest("40"));
    let rounding = 1e-4 * many.0;
    assert!(many.0 >= few.0 - rounding, "the subspaces are nested: {few:?}, {many:?}");
    assert!(many.1 < few.1.max(rounding), "more products know better: {few:?}, {many:?}");
}

#[test]
fn the_same_command_gives_the_same_bits_and_last_is_the_last_of_all() {
    let all = report(&FEW);
    assert_eq!(all, report(&FEW));
    let words = [&FEW[..], &["--checkpoints", "last"]].concat();
    let last = report(&words);
    assert_eq!(last["checkpoints"][0], *all["checkpoints"].as_array().unwrap().last().unwrap());
}

#[test]
fn gauss_newton_has_no_negative_eigenvalue() {
    let words = [&FEW[..], &["--curvature", "gauss-newton", "--batch", "8"]].concat();
    let report = report(&words);
    assert_eq!((&report["curvature"], &report["batch"]), (&"gauss-newton".into(), &8.into()));
    for checkpoint in report["checkpoints"].as_array().unwrap() {
        let (top, bottom) =
            (eigenvalues(checkpoint, "largest")[0].0, eigenvalues(checkpoint, "smallest")[0].0);
        assert!(bottom >= -1e-5 * top, "{bottom}, largest {top}");
    }
}

#[test]
fn the_drawing_and_the_table_show_the_checkpoints() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("s.svg");
    let ended = of_run(&[&FEW[..], &["--plot", file.to_str().unwrap()]].concat());
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.stdout.contains("largest/(λ + δ)"), "{ended:?}");
    let svg = fs::read_to_string(&file).unwrap();
    assert!(svg.starts_with("<svg ") && svg.contains("smallest"), "{svg}");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
}

#[test]
fn an_interrupted_measurement_has_no_result() {
    let origin = Origin::of(finished()).unwrap();
    let interrupt = Interrupt::default();
    interrupt.request();
    let job = SpectrumJob {
        checkpoints: CheckpointSelection::All,
        eigenvalues: 1,
        iterations: 4,
        curvature: Curvature::Hessian,
        config: origin.config().unwrap(),
        origin,
        verbosity: Verbosity::Quiet,
        interrupt,
    };
    assert_eq!(spectrum(job).unwrap(), None);
}

#[test]
fn what_cannot_be_measured_is_refused() {
    let ended = of_run(&["--eigenvalues", "10", "--iterations", "19"]);
    assert_eq!(ended.code, Some(2), "{ended:?}");
    assert!(ended.stderr.contains("--iterations: found 19, expected at least 20"), "{ended:?}");
    let ended = run(&["spectrum", "--run", "no/such/run"]);
    assert_eq!(ended.code, Some(2), "{ended:?}");
    assert!(ended.stderr.contains("no/such/run"), "{ended:?}");
    let folder = tempfile::tempdir().unwrap();
    fs::copy(finished().join("config.toml"), folder.path().join("config.toml")).unwrap();
    let ended = run(&["spectrum", "--run", folder.path().to_str().unwrap()]);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.stderr.contains("found 0 checkpoints, expected one"), "{ended:?}");
    let checkpoints = finished().join("checkpoints");
    let mut paths = fs::read_dir(checkpoints).unwrap().map(|entry| entry.unwrap().path());
    let tuned = paths.find(|path| path.to_str().unwrap().contains("finetune")).unwrap();
    let ended = run(&["spectrum", "--run", tuned.to_str().unwrap()]);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.stderr.contains("a backbone and its projector"), "{ended:?}");
}
