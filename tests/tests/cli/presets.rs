//! Every preset trains, all stages, at a reduced size; the presets can be printed and compared.

use std::path::Path;

use crate::binary::{run, succeed};

/// So small that every recipe takes seconds; nothing else of it is changed.
const REDUCED: &[&str] = &[
    "data.downstream.labels_per_class=20",
    "data.downstream.validation_share=none",
    "data.downstream.validation_per_class=5",
    "network.width=8",
    "network.projector=[16,16,16]",
    "byol.predictor=[16]",
    "image.size=32",
    "pretrain.epochs=1",
    "pretrain.warm_up_epochs=0",
    "pretrain.batch=640",
    "warm_up.epochs=1",
    "align.alternations=1",
    "align.lower_steps=1",
    "align.upper_steps=1",
    "align.lower.warm_up_steps=0",
    "align.batch=16",
    "align.upper_batch=16",
    "finetune.epochs=1",
    "evaluate.probe_epochs=1",
];

/// The command of a stage. Settings of the first stage are stored with its run and taken over.
fn stage(name: &str, base: [&str; 2], out: &Path) {
    let out = out.to_str().unwrap();
    let mut words = vec![name, base[0], base[1], "--out", out, "--seed", "3", "--quiet"];
    if name == "pretrain" {
        words.extend(REDUCED.iter().flat_map(|setting| ["--set", setting]));
    }
    succeed(&words);
}

fn trains(preset: &str) {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    stage("pretrain", ["--preset", preset], &path("pretrained"));
    stage("align", ["--from", path("pretrained").to_str().unwrap()], &path("aligned"));
    stage("finetune", ["--from", path("aligned").to_str().unwrap()], &path("tuned"));
    let metrics = std::fs::read_to_string(path("aligned").join("metrics.jsonl")).unwrap();
    assert!(metrics.contains("\"products\":"), "{preset}: no solve in {metrics}");
}

#[test]
fn the_default_trains() {
    trains("default");
}

#[test]
fn fast_trains() {
    trains("fast");
}

#[test]
fn tiny_trains() {
    trains("tiny");
}

#[test]
fn the_papers_resnet_18_on_stl_10_trains() {
    trains("paper-resnet18-stl10");
}

#[test]
fn the_papers_resnet_50_with_simclr_trains() {
    trains("paper-resnet50-imagenet-simclr/caltech101");
}

#[test]
fn the_papers_resnet_50_with_byol_trains() {
    trains("paper-resnet50-imagenet-byol/pets");
}

#[test]
fn config_show_lists_the_presets_and_prints_each_complete() {
    let list = succeed(&["config", "show"]).stdout;
    let names: Vec<_> = list.lines().take_while(|line| !line.is_empty()).collect();
    assert!(names.contains(&"paper-resnet50-imagenet-byol"), "{list}");
    let folder = tempfile::tempdir().unwrap();
    for name in names {
        let text = succeed(&["config", "show", name]).stdout;
        let path = folder.path().join(format!("{name}.toml"));
        std::fs::write(&path, text).unwrap();
        let same = succeed(&["config", "diff", name, path.to_str().unwrap()]).stdout;
        assert_eq!(same, "no setting differs\n", "{name}");
    }
}

#[test]
fn config_diff_prints_every_setting_that_differs() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("own.toml");
    std::fs::write(&path, "seed = 4\n[align]\ndamping = 0.5\n").unwrap();
    let words = ["config", "diff", "default", path.to_str().unwrap()];
    let json = succeed(&[&words[..], &["--json"]].concat()).stdout;
    let found: serde_json::Value = serde_json::from_str(&json).unwrap();
    let expected = serde_json::json!([
        { "key": "align.damping", "first": "10.0", "second": "0.5" },
        { "key": "seed", "first": "0", "second": "4" },
    ]);
    assert_eq!(found, expected);
    let table = succeed(&words).stdout;
    assert_eq!(table.lines().count(), 4, "{table}");
    let refused = run(&["config", "diff", "default", "no-such-thing"]);
    assert_eq!(refused.code, Some(2), "{refused:?}");
    assert!(refused.stderr.contains("no-such-thing: expected a preset"), "{refused:?}");
}
