//! `bissl hvp` as a process: what it writes, and what it refuses.

use std::fs;
use std::path::{Path, PathBuf};

use bissl::network::{
    Architecture, BackboneSettings, ParameterTable, Stem, backbone, mlp_head, output_width,
};
use bissl::run::{Precision, RealTensor, RealTensors, read_real_tensors, write_real_tensors};
use bissl_core::Stream;

use crate::binary::{Ended, run};

/// A tiny state with views and a vector, in its own folder.
struct State {
    folder: tempfile::TempDir,
    table: ParameterTable,
}

fn noise(seed: u64, len: usize) -> Vec<f64> {
    let stream = Stream::new(seed, 0);
    (0..len).map(|i| f64::from(stream.at(i as u64).normal())).collect()
}

/// `flat` as the named tensors of a table.
fn named(table: &ParameterTable, prefix: &str, flat: &[f64]) -> RealTensors {
    let tensors = table.segments().iter().map(|segment| {
        let values = flat[segment.offset..segment.offset + segment.len()].to_vec();
        let tensor = RealTensor { shape: segment.shape.clone(), values };
        (format!("{prefix}{}", segment.name), tensor)
    });
    tensors.collect()
}

/// The initial parameters plus noise, so that no γ stays at 0.
fn moved(table: &ParameterTable, seed: u64) -> Vec<f64> {
    let initial = table.initial(Stream::new(seed, 1));
    initial.iter().zip(noise(seed, table.len())).map(|(p, n)| f64::from(*p) + 0.2 * n).collect()
}

impl State {
    fn new() -> Self {
        let settings = BackboneSettings {
            architecture: Architecture::ResNetSmall,
            width: 2,
            stem: Stem::Small,
        };
        let table = backbone(settings).parameters().clone();
        let projector = mlp_head(output_width(settings), &[4, 3]);
        let state = Self { folder: tempfile::tempdir().unwrap(), table };
        let mut weights = named(&state.table, "", &moved(&state.table, 1));
        let head = projector.parameters();
        weights.extend(named(head, "projector.", &moved(head, 2)));
        state.write("w", &weights);
        let view = |seed| RealTensor { shape: vec![4, 3, 8, 8], values: noise(seed, 4 * 3 * 64) };
        let views = [("view_a".to_owned(), view(3)), ("view_b".to_owned(), view(4))];
        state.write("x", &views.into_iter().collect());
        state.write("v", &named(&state.table, "", &noise(5, state.table.len())));
        state
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, tensors: &RealTensors) {
        write_real_tensors(&self.path(name), tensors, Precision::F64).unwrap();
    }

    fn read(&self, name: &str) -> RealTensors {
        read_real_tensors(&self.path(name), |_| true).unwrap()
    }

    /// Changes one of the files.
    fn change(&self, name: &str, change: impl FnOnce(&mut RealTensors)) {
        let mut tensors = self.read(name);
        change(&mut tensors);
        self.write(name, &tensors);
    }

    /// Runs the command on files `w`, `x` and `vector`, with more arguments appended; a repeated
    /// flag would be refused.
    fn run(&self, vector: &str, out: &Path, more: &[&str]) -> Ended {
        let files = [self.path("w"), self.path("x"), self.path(vector), out.to_owned()];
        let mut words = vec!["hvp".to_owned()];
        for (flag, file) in ["--backbone", "--views", "--vector", "--out"].into_iter().zip(files) {
            words.extend([flag.to_owned(), file.to_str().unwrap().to_owned()]);
        }
        words.extend(more.iter().map(|word| (*word).to_owned()));
        run(&words)
    }

    /// Loss, flat gradient and flat product of a run that succeeds.
    fn results(&self, vector: &str, more: &[&str]) -> (f64, Vec<f64>, Vec<f64>) {
        let ended = self.run(vector, &self.path("out"), more);
        assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""), "{ended:?}");
        let found = self.read("out");
        let flat = |kind: &str| {
            let names = self.table.segments().iter().map(|s| format!("{kind}.{}", s.name));
            names.flat_map(|name| found[&name].values.clone()).collect()
        };
        assert_eq!(found.len(), 1 + 2 * self.table.segments().len());
        (found["loss"].values[0], flat("gradient"), flat("product"))
    }

    fn names(&self) -> Vec<String> {
        let entries = fs::read_dir(self.folder.path()).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

#[test]
fn products_are_symmetric_and_gauss_newtons_are_not_negative() {
    let state = State::new();
    let (u, v) = (noise(6, state.table.len()), noise(5, state.table.len()));
    state.write("u", &named(&state.table, "backbone.", &u));
    let (_, _, of_u) = state.results("u", &[]);
    let (_, _, of_v) = state.results("v", &[]);
    let (left, right) = (dot(&v, &of_u), dot(&u, &of_v));
    let size = (dot(&v, &v) * dot(&of_u, &of_u)).sqrt();
    // Hundreds of roundings leave 2e-5 in f32.
    assert!((left - right).abs() <= 2e-5 * size, "vᵀHu = {left}, uᵀHv = {right}, of {size}");
    for (name, vector) in [("u", &u), ("v", &v)] {
        let (_, _, product) = state.results(name, &["--curvature", "gauss-newton"]);
        assert!(dot(vector, &product) > 0.0, "{name}");
    }
}

#[test]
fn the_gradient_is_the_difference_of_losses() {
    let state = State::new();
    let (_, gradient, _) = state.results("v", &[]);
    let weights = state.read("w");
    let flat: Vec<f64> =
        state.table.segments().iter().flat_map(|s| weights[&s.name].values.clone()).collect();
    // The loss changes most along the gradient; a longer step would cross kinks of the ReLUs.
    let norm = dot(&gradient, &gradient).sqrt();
    let step = 1e-4 * dot(&flat, &flat).sqrt() / norm;
    let loss = |sign: f64| {
        let shifted: Vec<f64> =
            flat.iter().zip(&gradient).map(|(p, g)| p + sign * step * g).collect();
        state.change("w", |tensors| tensors.extend(named(&state.table, "", &shifted)));
        state.results("v", &[]).0
    };
    let slope = (loss(1.0) - loss(-1.0)) / (2.0 * step);
    assert!((slope - norm * norm).abs() <= 0.02 * norm * norm, "{slope}, expected {}", norm * norm);
}

#[test]
fn the_result_is_written_whole_and_the_same_each_time() {
    let state = State::new();
    let first = state.run("v", &state.path("out"), &["--json"]);
    let printed: serde_json::Value = serde_json::from_str(&first.stdout).expect(&first.stdout);
    let bytes = fs::read(state.path("out")).unwrap();
    assert_eq!(state.names(), ["out", "v", "w", "x"]);
    let again = state.run("v", &state.path("out"), &["--json"]);
    assert_eq!((again.code, &again.stdout), (Some(0), &first.stdout));
    assert!(fs::read(state.path("out")).unwrap() == bytes, "another result");
    let (loss, gradient, product) = state.results("v", &[]);
    let close = |name: &str, expected: f64| {
        let found = printed[name].as_f64().unwrap();
        assert!((found - expected).abs() <= 1e-6 * expected.abs(), "{name}: {found}, {expected}");
    };
    close("loss", loss);
    close("gradient_norm", dot(&gradient, &gradient).sqrt());
    close("product_norm", dot(&product, &product).sqrt());
    assert_eq!(printed["network"], "resnet-small width 2 stem small projector [4, 3]");
}

/// Damages a file of a fresh state, and claims that the command says `expected` and writes nothing.
fn refuses(file: &str, expected: &str, spoil: impl FnOnce(&mut RealTensors)) {
    let state = State::new();
    state.change(file, spoil);
    refused(&state, expected, 1, &[]);
}

fn refused(state: &State, expected: &str, code: i32, more: &[&str]) {
    let ended = state.run("v", &state.path("out"), more);
    assert!(ended.stderr.starts_with("error: "), "{ended:?}");
    assert!(ended.stderr.contains(expected), "expected {expected}: {ended:?}");
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(code), ""), "{ended:?}");
    assert!(!state.names().contains(&"out".to_owned()), "{:?}", state.names());
}

#[test]
fn tensors_that_do_not_fit_are_refused_by_file_and_name() {
    let tensor = |shape: &[usize]| RealTensor {
        shape: shape.to_vec(),
        values: vec![0.5; shape.iter().product()],
    };
    refuses("w", "/w: tensor layer2.0.bn1.bias is missing, expected shape [4]", |w| {
        w.remove("layer2.0.bn1.bias");
    });
    refuses("w", "/w: tensor conv1.weight is missing, expected shape [width, 3, 3, 3]", |w| {
        w.remove("conv1.weight");
    });
    refuses("w", "/w: tensor projector.0.weight is missing", |w| {
        w.retain(|name, _| !name.starts_with("projector."));
    });
    refuses("w", "/w: tensor projector.9.weight is unknown", |w| {
        w.insert("projector.9.weight".to_owned(), tensor(&[2, 2]));
    });
    refuses("w", "/w: tensor layer1.0.conv3.weight is unknown", |w| {
        w.insert("layer1.0.conv3.weight".to_owned(), tensor(&[2, 2, 1, 1]));
    });
    refuses("w", "layer1.0.conv1.weight has shape [2, 2, 1, 1], expected [2, 2, 3, 3]", |w| {
        w.insert("layer1.0.conv1.weight".to_owned(), tensor(&[2, 2, 1, 1]));
    });
    refuses("w", "tensor bn1.bias appears twice", |w| {
        w.insert("backbone.bn1.bias".to_owned(), tensor(&[2]));
    });
    refuses("w", "tensor bn1.bias holds NaN at element 1, expected finite numbers", |w| {
        w.insert("bn1.bias".to_owned(), RealTensor { shape: vec![2], values: vec![0.0, f64::NAN] });
    });
    refuses("x", "/x: tensor view_b is missing", |x| drop(x.remove("view_b")));
    refuses("x", "/x: tensor view_c is unknown", |x| {
        x.insert("view_c".to_owned(), tensor(&[4, 3, 8, 8]));
    });
    refuses("x", "view_a has shape [1, 3, 8, 8], expected [batch, 3, height, width]", |x| {
        x.insert("view_a".to_owned(), tensor(&[1, 3, 8, 8]));
    });
    refuses("x", "view_b has shape [4, 3, 8, 9], expected that of view_a, [4, 3, 8, 8]", |x| {
        x.insert("view_b".to_owned(), tensor(&[4, 3, 8, 9]));
    });
    refuses("v", "/v: tensor layer3.0.downsample.1.weight is missing", |v| {
        v.remove("layer3.0.downsample.1.weight");
    });
    refuses("v", "/v: tensor projector.0.weight is unknown", |v| {
        v.insert("projector.0.weight".to_owned(), tensor(&[4, 8]));
    });
    refuses("v", "/v: every element is 0, expected a direction", |v| {
        v.values_mut().for_each(|tensor| tensor.values.fill(0.0));
    });
}

#[test]
fn a_file_of_another_kind_is_refused() {
    let state = State::new();
    let header = br#"{"view_a":{"dtype":"I64","shape":[1],"data_offsets":[0,8]}}"#;
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend_from_slice(header);
    bytes.extend_from_slice(&[0; 8]);
    fs::write(state.path("x"), bytes).unwrap();
    refused(&state, "/x: tensor view_a has type I64, expected F32 or F64", 1, &[]);
    fs::write(state.path("x"), "pixels").unwrap();
    refused(&state, "/x is damaged: not a safetensors file", 1, &[]);
    fs::remove_file(state.path("x")).unwrap();
    refused(&state, "/x: No such file", 1, &[]);
}

#[test]
fn flags_that_cannot_be_met_are_refused() {
    let state = State::new();
    for (more, expected, code) in [
        (&["--width", "3"][..], "conv1.weight has shape [2, 3, 3, 3], expected [3, 3, 3, 3]", 1),
        (&["--architecture", "resnet18"], "is missing", 1),
        (&["--stem", "imagenet"], "expected [2, 3, 7, 7]", 1),
        (&["--precision", "f64"], "build with `--features ndarray`", 2),
        (&["--precision", "f64", "--backend", "flex"], "backend `flex` computes in f32", 2),
        (&["--temperature", "0"], "--temperature", 2),
        (&["--objective", "byol"], "--objective byol: expected --target FILE", 2),
        (&["--objective", "vicreg", "--temperature", "1"], "expected none: only simclr has one", 2),
        (&["--objective", "simclr", "--target", "t"], "expected none: it has no target network", 2),
        (&["--objective", "moco"], "--objective", 2),
        (&["--curvature", "fisher"], "--curvature", 2),
    ] {
        refused(&state, expected, code, more);
    }
    let nowhere = state.path("no").join("out");
    let ended = state.run("v", &nowhere, &[]);
    assert_eq!(ended.code, Some(2), "{ended:?}");
    assert!(ended.stderr.contains("found no folder"), "{ended:?}");
    let weights = fs::read(state.path("w")).unwrap();
    let ended = state.run("v", &state.path("w"), &[]);
    assert_eq!(ended.code, Some(2), "{ended:?}");
    assert!(ended.stderr.contains("found the file of --backbone"), "{ended:?}");
    assert!(fs::read(state.path("w")).unwrap() == weights, "an input was overwritten");
}
