//! Where there is nothing to learn, a person is told once, with the cure; with `--strict` it is an
//! error.

use std::fs;
use std::path::Path;

use image::{Rgb, RgbImage};
use serde_json::Value;

use crate::binary::{Ended, run};

/// Pictures in classes; `colour` of class, number, column and row.
fn put(root: &Path, classes: u8, each: u8, colour: fn(u8, u8, u32, u32) -> [u8; 3]) {
    for class in 0..classes {
        let folder = root.join(format!("class{class}"));
        fs::create_dir_all(&folder).unwrap();
        for i in 0..each {
            let picture = RgbImage::from_fn(16, 16, |x, y| Rgb(colour(class, i, x, y)));
            picture.save(folder.join(format!("{i:02}.png"))).unwrap();
        }
    }
}

fn varied(class: u8, i: u8, x: u32, y: u32) -> [u8; 3] {
    [(x * 15) as u8 ^ (i * 37), (y * 15) as u8, 80 * class + 5 * i]
}

fn black(_: u8, _: u8, _: u32, _: u32) -> [u8; 3] {
    [0; 3]
}

/// Pretrains for two epochs on a folder.
fn pretrain(root: &Path, out: &Path, more: &[&str]) -> Ended {
    let pretext = format!("data.pretext.path={:?}", root.to_str().unwrap());
    let arguments = [
        "pretrain",
        "--preset",
        "demo",
        "--quiet",
        "--epochs",
        "2",
        "--batch",
        "8",
        "--set",
        &pretext,
        "--set",
        "image.size=16",
        "--set",
        "pretrain.warm_up_epochs=0",
        "--set",
        "pretrain.probe_every_epochs=none",
        "--out",
        out.to_str().unwrap(),
    ];
    run(&[&arguments[..], more].concat())
}

fn warnings(ended: &Ended) -> Vec<&str> {
    ended.stderr.lines().filter(|line| line.starts_with("warning: ")).collect()
}

fn spreads(out: &Path) -> Vec<Value> {
    let text = fs::read_to_string(out.join("metrics.jsonl")).unwrap();
    let records = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    records.filter(|record| record["kind"] == "spread").collect()
}

#[test]
fn a_set_that_can_be_learned_is_no_occasion_for_a_word_and_its_spread_is_measured() {
    let folder = tempfile::tempdir().unwrap();
    let (root, out) = (folder.path().join("set"), folder.path().join("out"));
    put(&root, 2, 12, varied);
    let ended = pretrain(&root, &out, &["--strict"]);
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""), "{ended:?}");
    let spreads = spreads(&out);
    assert_eq!(spreads.len(), 1, "at the end of a short stage");
    assert!(spreads[0]["deviation"].as_f64().unwrap() > 0.01, "{spreads:?}");
    assert!(spreads[0]["effective_rank"].as_f64().unwrap() >= 1.0, "{spreads:?}");
}

#[test]
fn identical_and_single_pictures_are_told_once_and_refused_by_strict() {
    for (classes, each, colour, expected) in [
        (2, 12, black as fn(u8, u8, u32, u32) -> [u8; 3], "all 24 items"),
        (1, 1, varied, "a single item"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let (root, out) = (folder.path().join("set"), folder.path().join("out"));
        put(&root, classes, each, colour);
        let ended = pretrain(&root, &out, &[]);
        assert_eq!(ended.code, Some(0), "{ended:?}");
        let told = warnings(&ended).into_iter().filter(|line| line.contains(expected)).count();
        assert_eq!(told, 1, "{ended:?}");
        assert!(ended.stderr.contains("bissl data check"), "a cure: {ended:?}");
        let out = folder.path().join("strict");
        let ended = pretrain(&root, &out, &["--strict"]);
        assert_eq!(ended.code, Some(1), "{ended:?}");
        assert!(ended.stderr.starts_with("error: data.pretext"), "{ended:?}");
        assert!(ended.stderr.contains(expected) && ended.stderr.contains("--strict"), "{ended:?}");
        assert!(!out.exists(), "a run that never began is left");
    }
}

#[test]
fn a_gradient_of_0_and_features_without_spread_are_told_once_each() {
    let folder = tempfile::tempdir().unwrap();
    let (root, out) = (folder.path().join("set"), folder.path().join("out"));
    put(&root, 1, 24, black);
    let ended = pretrain(&root, &out, &[]);
    let of = |what: &str| warnings(&ended).iter().filter(|line| line.contains(what)).count();
    assert_eq!((of("exactly 0"), of("features of different")), (1, 1), "{ended:?}");
    assert!(spreads(&out).iter().all(|spread| spread["deviation"].as_f64().unwrap() < 1e-6));
}

#[test]
fn a_batch_larger_than_the_set_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let (root, out) = (folder.path().join("set"), folder.path().join("out"));
    put(&root, 1, 6, varied);
    let ended = pretrain(&root, &out, &[]);
    assert_eq!((ended.code, warnings(&ended).len()), (Some(0), 1), "{ended:?}");
    assert!(ended.stderr.contains("`pretrain.batch` is 8, but there are 6 items"), "{ended:?}");
}

#[test]
fn one_class_is_told_where_a_head_is_trained() {
    let folder = tempfile::tempdir().unwrap();
    let (root, start) = (folder.path().join("set"), folder.path().join("start"));
    put(&root, 1, 24, varied);
    assert_eq!(pretrain(&root, &start, &[]).code, Some(0));
    let downstream = format!("data.downstream.path={:?}", root.to_str().unwrap());
    let out = folder.path().join("out");
    let arguments = [
        "finetune",
        "--quiet",
        "--from",
        start.to_str().unwrap(),
        "--labels-per-class",
        "8",
        "--set",
        &downstream,
        "--set",
        "finetune.epochs=1",
        "--set",
        "finetune.batch=8",
        "--set",
        "data.downstream.validation_per_class=2",
        "--out",
        out.to_str().unwrap(),
    ];
    let ended = run(&arguments);
    assert!(ended.stderr.contains("are of class `class0`"), "{ended:?}");
    fs::remove_dir_all(&out).ok();
    let ended = run(&[&arguments[..], &["--strict"]].concat());
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.stderr.contains("class `class0`"), "{ended:?}");
}
