//! Weights that PyTorch wrote are imported, used, and exported again.
//!
//! `tests/peers/run interchange files` writes the files, with the features that PyTorch computes
//! from them in f64.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use bissl::run::{NamedTensor, TensorView, read_tensors, write_tensors};

use crate::binary::{run, succeed, text};

fn file(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/interchange/files");
    folder.join(name).to_str().unwrap().to_owned()
}

fn tensor(path: &Path, name: &str) -> NamedTensor {
    let found = read_tensors(path).unwrap().into_iter().find(|tensor| tensor.name == name);
    found.unwrap_or_else(|| panic!("{} has no tensor {name}", path.display()))
}

/// Imports `weights` as a run in `folder`; returns its path.
fn imported(folder: &Path, weights: &str) -> PathBuf {
    let out = folder.join("run");
    succeed(&["import", &file(weights), "--out", text(&out)]);
    out
}

/// Largest difference between a run's features and PyTorch's, relative to the largest feature.
fn feature_error(run: &Path, expected: &str, folder: &Path) -> f32 {
    let (given, out) = (file(expected), folder.join("features.safetensors"));
    succeed(&["features", "--from", text(run), "--input", &given, "--out", text(&out)]);
    let found = tensor(&out, "features");
    let expected = tensor(Path::new(&given), "features");
    assert_eq!(found.shape, expected.shape);
    let largest = expected.values.iter().fold(0.0f32, |max, value| max.max(value.abs()));
    let pairs = found.values.iter().zip(&expected.values);
    pairs.fold(0.0f32, |max, (a, b)| max.max((a - b).abs())) / largest
}

#[test]
fn imported_weights_give_pytorchs_features() {
    for (weights, features) in [
        ("resnet-small.pth", "resnet-small-features.safetensors"),
        ("resnet50.safetensors", "resnet50-features.safetensors"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let run = imported(folder.path(), weights);
        let error = feature_error(&run, features, folder.path());
        assert!(error <= 1e-4, "{weights}: {error:e}");
    }
}

#[test]
fn exported_weights_are_the_imported_ones_and_can_be_imported_again() {
    let folder = tempfile::tempdir().unwrap();
    let run = imported(folder.path(), "resnet-small.pth");
    let out = folder.path().join("exported.safetensors");
    succeed(&["export", "--from", text(&run), "--out", text(&out)]);
    let again = folder.path().join("again");
    let notices = succeed(&["import", text(&out), "--out", text(&again)]).stdout;
    assert_eq!(notices.lines().count(), 1, "{notices}");
    let twice = folder.path().join("twice.safetensors");
    succeed(&["export", "--from", text(&again), "--out", text(&twice)]);
    assert_eq!(std::fs::read(&out).unwrap(), std::fs::read(&twice).unwrap());
}

/// The weights of `resnet-small.pth` by name, as bissl exports them.
fn backbone(folder: &Path) -> BTreeMap<String, NamedTensor> {
    let run = imported(folder, "resnet-small.pth");
    let out = folder.join("exported.safetensors");
    succeed(&["export", "--from", text(&run), "--out", text(&out)]);
    // Counters are integers, which are not read here.
    let found = succeed(&["inspect", text(&out)]).stdout;
    assert!(found.contains("bn1.num_batches_tracked"), "{found}");
    let checkpoint = run.join("checkpoints/import-00000000/weights.safetensors");
    let own = |tensor: NamedTensor| {
        let name = tensor.name.strip_prefix("lower_backbone.")?.to_owned();
        Some((name.clone(), NamedTensor { name, ..tensor }))
    };
    read_tensors(&checkpoint).unwrap().into_iter().filter_map(own).collect()
}

fn write(path: &Path, tensors: &BTreeMap<String, NamedTensor>, prefix: &str) {
    let named: Vec<_> = tensors
        .values()
        .map(|tensor| NamedTensor { name: format!("{prefix}{}", tensor.name), ..tensor.clone() })
        .collect();
    let views: Vec<TensorView<'_>> = named.iter().map(NamedTensor::view).collect();
    write_tensors(path, &views).unwrap();
}

#[test]
fn what_stands_before_the_names_is_found_or_told() {
    let folder = tempfile::tempdir().unwrap();
    let tensors = backbone(folder.path());
    let path = folder.path().join("prefixed.safetensors");
    write(&path, &tensors, "module.encoder.");
    let out = folder.path().join("prefixed");
    let notices = succeed(&["import", text(&path), "--out", text(&out)]).stdout;
    assert!(notices.contains("without `module.encoder.`"), "{notices}");

    let mut both = BTreeMap::new();
    for prefix in ["left.", "right."] {
        for tensor in tensors.values() {
            let name = format!("{prefix}{}", tensor.name);
            both.insert(name.clone(), NamedTensor { name, ..tensor.clone() });
        }
    }
    write(&path, &both, "");
    let out = folder.path().join("chosen");
    let refused = run(&["import", text(&path), "--out", text(&out)]);
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(refused.stderr.contains("several backbones; to choose one:\n  --prefix 'left.'"));
    assert!(!out.exists());
    succeed(&["import", text(&path), "--out", text(&out), "--prefix", "left."]);
}

#[test]
fn inspection_of_pytorchs_files_lists_tensors_and_what_import_would_do() {
    for (name, container, type_of_weights, network) in [
        ("resnet-small.pth", "torch.save", "F16", "resnet-small width 8 stem small"),
        ("resnet50.safetensors", "safetensors", "F16", "resnet50 width 2 stem imagenet"),
    ] {
        let inspected = succeed(&["inspect", &file(name)]).stdout;
        assert!(inspected.lines().next().unwrap().ends_with(container), "{inspected}");
        let line = inspected.lines().find(|line| line.starts_with("layer1.0.conv1.weight"));
        assert!(line.unwrap().contains(type_of_weights), "{inspected}");
        let last = inspected.lines().last();
        assert_eq!(last, Some(format!("bissl import reads {network}").as_str()));
    }
    let inspected = succeed(&["inspect", &file("checkpoint.pth")]).stdout;
    for part in ["state_dict.module.half", "args (argparse.Namespace)", "refuses it: no ResNet"] {
        assert!(inspected.contains(part), "{part}: {inspected}");
    }
}

#[test]
fn a_page_in_place_of_weights_is_named_by_both_commands() {
    let folder = tempfile::tempdir().unwrap();
    let (path, out) = (folder.path().join("resnet50.pth"), folder.path().join("run"));
    std::fs::write(&path, "<!doctype html><title>Sign in</title>").unwrap();
    for words in [vec!["inspect", text(&path)], vec!["import", text(&path), "--out", text(&out)]] {
        let refused = run(&words);
        assert_eq!(refused.code, Some(1), "{refused:?}");
        assert!(refused.stderr.contains("resnet50.pth: an HTML page"), "{refused:?}");
    }
}

#[test]
fn weights_that_do_not_fit_are_refused_with_every_reason() {
    let folder = tempfile::tempdir().unwrap();
    let mut tensors = backbone(folder.path());
    tensors.remove("bn1.weight");
    tensors.get_mut("layer1.0.conv1.weight").unwrap().shape.reverse();
    let mut extra = tensors["bn1.bias"].clone();
    extra.name = "layer1.0.attention.bias".to_owned();
    tensors.insert(extra.name.clone(), extra);
    let path = folder.path().join("unfit.safetensors");
    write(&path, &tensors, "");
    let out = folder.path().join("unfit");
    let refused = run(&["import", text(&path), "--out", text(&out)]);
    assert_eq!(refused.code, Some(1), "{refused:?}");
    for part in [
        "unfit.safetensors: the backbone does not fit resnet-small width 8",
        "1 tensor missing:\n    bn1.weight  [8]",
        "layer1.0.conv1.weight  found [3, 3, 8, 8]  expected [8, 8, 3, 3]",
        "1 tensor unknown:\n    layer1.0.attention.bias  [8]",
    ] {
        assert!(refused.stderr.contains(part), "{part}: {}", refused.stderr);
    }
    assert!(!out.exists());
}

#[test]
fn an_imported_backbone_is_aligned_and_fine_tuned_like_a_pretrained_one() {
    let folder = tempfile::tempdir().unwrap();
    let run = imported(folder.path(), "resnet-small.pth");
    let (aligned, tuned) = (folder.path().join("aligned"), folder.path().join("tuned"));
    let mut words = vec!["align", "--from", text(&run), "--out", text(&aligned), "--quiet"];
    for setting in [
        "data.downstream.labels_per_class=20",
        "image.size=16",
        "warm_up.epochs=1",
        "align.alternations=1",
        "align.lower_steps=1",
        "align.upper_steps=1",
        "align.lower.warm_up_steps=0",
        "align.batch=8",
        "align.upper_batch=8",
        "finetune.epochs=1",
    ] {
        words.extend(["--set", setting]);
    }
    succeed(&words);
    succeed(&["finetune", "--from", text(&aligned), "--out", text(&tuned), "--quiet"]);
    let out = folder.path().join("tuned.safetensors");
    let said = succeed(&["export", "--from", text(&tuned), "--out", text(&out)]).stdout;
    assert!(said.contains("and its classifier"), "{said}");
    let found = succeed(&["inspect", text(&out)]).stdout;
    assert!(found.contains("fc.weight"), "{found}");
}
