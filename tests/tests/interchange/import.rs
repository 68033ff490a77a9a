//! Claims about what `bissl import` and `bissl inspect` make of other programs' checkpoints.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use bissl::config::{Preset, RunConfig};
use bissl::interchange::{ImportJob, NetworkHints, describe_file, import};
use bissl::network::Architecture;
use bissl::run::read_tensors;
use bissl_core::Stream;

use crate::checkpoints::{
    Elements, Value, archive, count, dict, floats, legacy_file, text, zip_file,
};
use crate::layouts::{Layout, Pairs, behind, layouts, network, renamed, resnet};

fn config() -> RunConfig {
    Preset::Demo.config()
}

/// Flags of an import.
#[derive(Clone, Copy, Default)]
struct Flags<'f> {
    key: Option<&'f str>,
    prefix: Option<&'f str>,
    architecture: Option<Architecture>,
}

/// Imports a file's bytes: what is said and the backbone's tensors by name, or the refusal.
fn imported(
    bytes: &[u8],
    flags: Flags<'_>,
) -> Result<(String, BTreeMap<String, Vec<f32>>), String> {
    let folder = tempfile::tempdir().unwrap();
    let (file, out) = (folder.path().join("weights.pth"), folder.path().join("run"));
    fs::write(&file, bytes).unwrap();
    let job = ImportJob {
        file,
        key: flags.key.map(str::to_owned),
        prefix: flags.prefix.map(str::to_owned),
        hints: NetworkHints { architecture: flags.architecture, ..NetworkHints::default() },
        out: out.clone(),
        config: config(),
    };
    match import(job) {
        Ok(notices) => Ok((notices.join("\n"), written(&out))),
        Err(error) => {
            assert!(!out.exists(), "a refused import leaves no run: {error}");
            Err(error.to_string())
        }
    }
}

/// The tensors of a run's backbone.
fn written(run: &Path) -> BTreeMap<String, Vec<f32>> {
    let path = run.join("checkpoints/import-00000000/weights.safetensors");
    let own = |name: &str| Some(name.strip_prefix("lower_backbone.")?.to_owned());
    let tensors = read_tensors(&path).unwrap().into_iter();
    tensors.filter_map(|tensor| Some((own(&tensor.name)?, tensor.values))).collect()
}

/// The floats among pairs by name.
fn values(pairs: &Pairs) -> BTreeMap<String, Vec<f32>> {
    let value = |(name, value): &(Value, Value)| match (name, value) {
        (Value::Text(name), Value::Tensor(tensor)) => match &*tensor.elements {
            Elements::F32(values) => Some((name.clone(), values.clone())),
            Elements::I64(_) | Elements::C64(_) => None,
        },
        _ => None,
    };
    pairs.iter().filter_map(value).collect()
}

fn refusal(root: &Value, flags: Flags<'_>) -> String {
    imported(&zip_file(root), flags).map(|(said, _)| said).unwrap_err()
}

fn state(pairs: Pairs) -> Value {
    Value::Ordered(pairs)
}

#[test]
fn every_layout_gives_the_weights_of_its_trained_network() {
    let expected = values(&resnet(1));
    for Layout { name, root, says } in layouts() {
        for bytes in [zip_file(&root), legacy_file(&root)] {
            let (said, found) = imported(&bytes, Flags::default())
                .unwrap_or_else(|refused| panic!("{name}: {refused}"));
            assert!(found == expected, "{name}: other weights: {said}");
            for part in says {
                assert!(said.contains(part), "{name}: `{part}` is missing: {said}");
            }
            assert!(said.len() < 3000, "{name}: {said}");
        }
    }
}

#[test]
fn the_other_network_is_had_by_the_flags_that_are_named() {
    let expected = values(&resnet(2));
    let mut tried = 0;
    for Layout { name, root, .. } in layouts() {
        let bytes = zip_file(&root);
        let (said, _) = imported(&bytes, Flags::default()).unwrap();
        for line in said.lines().filter(|line| line.starts_with("passed over")) {
            let flag = |flag: &str| Some(line.split_once(flag)?.1.split('\'').nth(1)?.to_owned());
            let (key, prefix) = (flag("--key"), flag("--prefix"));
            let flags =
                Flags { key: key.as_deref(), prefix: prefix.as_deref(), ..Flags::default() };
            let (said, found) = imported(&bytes, flags).unwrap();
            assert!(found == expected, "{name}, {line}: {said}");
            tried += 1;
        }
    }
    assert!(tried >= 8, "{tried}");
}

#[test]
fn several_backbones_are_asked_about_with_the_flags_for_each() {
    let pairs = [behind("left.", &resnet(1)), behind("right.", &resnet(2))].concat();
    let root = dict([("state_dict", state(pairs))]);
    let refused = refusal(&root, Flags::default());
    for part in [
        "several backbones; to choose one:",
        "--key 'state_dict' --prefix 'left.'  (",
        "--key 'state_dict' --prefix 'right.'  (",
    ] {
        assert!(refused.contains(part), "{part}: {refused}");
    }
    // Without the dot, and by the whole way.
    for prefix in ["right.", "right", "state_dict.right"] {
        let flags = Flags { prefix: Some(prefix), ..Flags::default() };
        let (_, found) = imported(&zip_file(&root), flags).unwrap();
        assert!(found == values(&resnet(2)), "{prefix}");
    }
    let refused = refusal(&root, Flags { prefix: Some("middle."), ..Flags::default() });
    assert!(refused.contains("no backbone has the prefix `middle.`"), "{refused}");
    let refused = refusal(&root, Flags { key: Some("model"), ..Flags::default() });
    assert!(refused.contains("no dictionary `model`, expected one of: state_dict"), "{refused}");
}

#[test]
fn what_does_not_fit_is_shown_as_a_difference_of_bounded_length() {
    let pairs = renamed(&resnet(1), |name| match name {
        "bn1.weight" => Some("bn1.weigth".to_owned()),
        name => Some(name.to_owned()),
    });
    let mut pairs = behind("module.", &pairs);
    let misshapen = |(name, value): &mut (Value, Value)| {
        if matches!(name, Value::Text(name) if name == "module.layer2.0.conv1.weight") {
            *value = floats(&[8, 4, 1, 1], vec![0.0; 32]);
        }
    };
    pairs.iter_mut().for_each(misshapen);
    for number in 0..1000 {
        let name = format!("module.layer1.0.attention{number}.bias");
        pairs.push((text(&name), floats(&[1], vec![0.0])));
    }
    let refused = refusal(&state(pairs), Flags::default());
    for part in [
        "the backbone under `module.` does not fit resnet-small width 4 stem small",
        "1 tensor missing:\n    bn1.weight  [4]  nearest: module.bn1.weigth",
        "1 tensor of another shape:\n    module.layer2.0.conv1.weight  found [8, 4, 1, 1]  \
         expected [8, 4, 3, 3]",
        "1001 tensors unknown:",
        "and 993 more",
    ] {
        assert!(refused.contains(part), "{part}: {refused}");
    }
    assert!(refused.len() < 2000, "{refused}");
}

#[test]
fn networks_that_are_not_built_are_named() {
    let with = |name: &str, shape: &[usize]| {
        let elements = shape.iter().product();
        vec![(text(name), floats(shape, vec![0.0; elements]))]
    };
    let without = |gone: &str| {
        let gone = gone.to_owned();
        renamed(&resnet(1), move |name| (!name.contains(&gone)).then(|| name.to_owned()))
    };
    let deep = [without("conv1.weight"), with("conv1.0.weight", &[4, 3, 3, 3])].concat();
    // Blocks keep their first convolutions, the stem does not.
    let deep = [
        deep,
        renamed(&resnet(1), |name| {
            (name.starts_with("layer") && name.ends_with("conv1.weight")).then(|| name.to_owned())
        }),
    ]
    .concat();
    let grey = [without("conv1.weight"), with("conv1.weight", &[4, 1, 3, 3])].concat();
    let grey = [
        grey,
        renamed(&resnet(1), |name| {
            (name.starts_with("layer") && name.ends_with("conv1.weight")).then(|| name.to_owned())
        }),
    ]
    .concat();
    let vit = [with("patch_embed.proj.weight", &[4, 3, 4, 4]), with("cls_token", &[1, 1, 4])];
    let fifth = [
        network(1, Architecture::ResNet18),
        renamed(&resnet(1), |name| {
            name.strip_prefix("layer3.").map(|rest| format!("layer5.{rest}"))
        }),
    ];
    for (name, pairs, expected) in [
        ("deep stem", deep, "its stem has several convolutions"),
        ("grey images", grey, "images of 1 channels"),
        ("no statistics", without("running"), "no running statistics"),
        ("transformer", vit.concat(), "this seems to be a vision transformer"),
        ("five stages", fifth.concat(), "tensors unknown"),
        ("nothing", vec![(text("epoch"), count(1))], "no ResNet in it"),
    ] {
        let refused = refusal(&state(pairs), Flags::default());
        assert!(refused.contains(expected), "{name}: {refused}");
    }
    let module = Value::Object("torchvision.models.resnet", "ResNet", vec![]);
    let refused = refusal(&dict([("net", module)]), Flags::default());
    assert!(refused.contains("save its `state_dict()`"), "{refused}");
}

#[test]
fn a_wrong_architecture_is_answered_with_the_right_one() {
    let flags = Flags { architecture: Some(Architecture::ResNet18), ..Flags::default() };
    let refused = refusal(&state(resnet(1)), flags);
    let expected = "its tensors tell resnet-small with stem small, which fits: leave out";
    assert!(refused.contains(expected), "{refused}");
}

#[test]
fn weights_that_are_no_numbers_and_variances_below_0_are_refused_by_name() {
    let changed = |wanted: &str, value: f32| {
        let mut pairs = behind("module.", &resnet(1));
        for (name, old) in &mut pairs {
            if let (Value::Text(name), Value::Tensor(tensor)) = (name, &*old)
                && name == wanted
            {
                let Elements::F32(values) = &*tensor.elements else { panic!("{name}") };
                let mut values = values.clone();
                values[1] = value;
                *old = floats(&tensor.shape.clone(), values);
            }
        }
        refusal(&state(pairs), Flags::default())
    };
    for (name, value) in [
        ("module.conv1.weight", f32::NAN),
        ("module.layer3.0.bn2.bias", f32::INFINITY),
        ("module.bn1.running_mean", f32::NEG_INFINITY),
        ("module.layer2.0.downsample.1.running_var", f32::NAN),
    ] {
        let refused = changed(name, value);
        assert!(refused.contains(&format!("tensor {name}: element [")), "{refused}");
        assert!(refused.contains("expected a finite number"), "{refused}");
    }
    let refused = changed("module.layer2.0.bn1.running_var", -1e-3);
    let expected = "tensor module.layer2.0.bn1.running_var (layer2.0.bn1.running_var): element [1] \
                    is -0.001, expected a variance of at least 0";
    assert!(refused.contains(expected), "{refused}");
}

#[test]
fn files_of_another_kind_are_named() {
    let pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 102502400\n";
    for (bytes, expected) in [
        (pointer.as_slice(), "a Git LFS pointer in place of a file of 102502400 bytes"),
        (b"<!DOCTYPE html><html><head>", "an HTML page"),
        (b"\n\n  <HTML lang=en>", "an HTML page"),
        (b"\xef\xbb\xbf<html>", "an HTML page"),
        (b"<?xml version='1.0'?><Error><Code>AccessDenied", "an XML text"),
        (b"{\"error\": \"not found\"}", "a JSON text"),
        (b"\x1f\x8b\x08", "compressed by gzip"),
        (b"\x89HDF\r\n", "an HDF5 file"),
        (b"", "an empty file"),
    ] {
        let refused = imported(bytes, Flags::default()).unwrap_err();
        assert!(refused.contains(expected), "{refused}");
    }
    let arrays = archive([("conv1.npy".to_owned(), vec![0])].into_iter());
    assert!(imported(&arrays, Flags::default()).unwrap_err().contains("arrays of numpy"));
}

#[test]
fn inspection_lists_every_tensor_and_says_what_import_would_do() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.ckpt");
    for Layout { name, root, says } in layouts() {
        for (bytes, container) in [(zip_file(&root), "torch.save"), (legacy_file(&root), "1.6")] {
            fs::write(&path, bytes).unwrap();
            let found = describe_file(&path).unwrap();
            assert!(found.container.contains(container), "{name}");
            let lines = found.import.join("\n");
            let reads = "bissl import reads resnet-small width 4 stem small";
            assert!(lines.ends_with(reads), "{name}: {lines}");
            for part in says {
                assert!(lines.contains(part), "{name}: {part}: {lines}");
            }
        }
    }
    let root = dict([("a", dict([("w\n", floats(&[2, 1], vec![1.0; 2]))])), ("epoch", count(1))]);
    fs::write(&path, zip_file(&root)).unwrap();
    let found = describe_file(&path).unwrap();
    let expected = [("epoch", vec![], "I64"), ("a.w\\n", vec![2, 1], "F32")];
    let expected = expected.map(|(name, shape, kind)| (name.to_owned(), shape, kind.to_owned()));
    assert_eq!(found.tensors, expected);
    assert!(found.import.join("\n").contains("bissl import refuses it: no ResNet in it"));
}

/// Old files have no checksums: whatever is changed in one reaches the recogniser.
#[test]
fn damaged_checkpoints_are_described_or_refused_but_never_panic() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.pth");
    let files: Vec<_> = layouts().iter().map(|layout| legacy_file(&layout.root)).collect();
    let mut draws = Stream::new(3, 0).at(0);
    let mut below = |limit: usize| draws.below(limit as u32) as usize;
    let mut described = 0;
    for round in 0..3000 {
        let mut bytes = files[round % files.len()].clone();
        for _ in 0..=below(4) {
            let (at, from, len) = (below(bytes.len()), below(bytes.len()), 1 + below(40));
            let part: Vec<u8> = bytes[from..].iter().take(len).copied().collect();
            match below(4) {
                0 => bytes[at] = below(256) as u8,
                1 => bytes[at] = b"0123456789.()tuseqhRQb"[below(22)],
                2 => bytes.truncate(at.max(1)),
                _ => drop(bytes.splice(at..at, part)),
            }
        }
        fs::write(&path, &bytes).unwrap();
        if let Ok(found) = describe_file(&path) {
            let said: usize = found.import.iter().map(String::len).sum();
            assert!(said < 20_000, "round {round}: {said}");
            described += 1;
        }
    }
    assert!(described > 100, "{described}");
}

/// Objects that hold themselves or each other many times, and long names: read in time and memory
/// of the order of the file.
#[test]
fn malicious_dictionaries_are_read_or_refused_in_little_time() {
    let pickle = |body: &[u8]| archive([("data.pkl".to_owned(), body.to_vec())].into_iter());
    let begun = std::time::Instant::now();
    // A dictionary in itself.
    let circle = b"\x80\x02}q\x00U\x01ah\x00s.".to_vec();
    // 60 dictionaries, each with the next one twice: 2^60 ways.
    let mut ladder = b"\x80\x02}q\x00".to_vec();
    for rung in 0..60u8 {
        ladder.extend([b'}', b'q', rung + 1]);
        for key in [b'a', b'b'] {
            ladder.extend([b'U', 1, key, b'h', rung, b's']);
        }
    }
    ladder.push(b'.');
    // One long name for very many entries, of one dictionary and of many.
    let mut long = b"\x80\x02}q\x00(X\x40\x42\x0f\x00".to_vec();
    long.extend(vec![b'n'; 1_000_000]);
    long.extend(b"q\x01N");
    for _ in 0..300_000 {
        long.extend(b"h\x01N");
    }
    long.extend(b"u.");
    let mut lists = vec![0x80, 2];
    lists.extend(vec![b']'; 200_000]);
    lists.extend(vec![b'a'; 199_999]);
    lists.push(b'.');
    for body in [circle, ladder, long, lists] {
        let refused = imported(&pickle(&body), Flags::default()).unwrap_err();
        assert!(refused.contains("no ResNet in it"), "{refused}");
    }
    // Every storage is checked once, however many tensors view it.
    let storage = floats(&[1 << 20], vec![1.0; 1 << 20]);
    let Value::Tensor(tensor) = &storage else { unreachable!() };
    let mut tensor = tensor.clone();
    tensor.shape = vec![1];
    let view = Value::Tensor(tensor);
    let views =
        (0..2000).map(|number| (text(&format!("layer1.{number}.conv1.weight")), view.clone()));
    let refused = refusal(&state(views.collect()), Flags::default());
    assert!(refused.contains("conv1.weight"), "{refused}");
    assert!(begun.elapsed().as_secs() < 60, "{:?}", begun.elapsed());
}
