//! Checkpoints in the layouts of the programs that people pretrain with.

use bissl::network::{Architecture, BackboneSettings, Stem, backbone};

use crate::checkpoints::{Value, complex, count, dict, floats, text};

/// Pairs of names and values, in order.
pub(crate) type Pairs = Vec<(Value, Value)>;

/// A resnet-small: names and shapes of torchvision, values that tell tensors apart by `seed`.
pub(crate) fn resnet(seed: u32) -> Pairs {
    network(seed, Architecture::ResNetSmall)
}

pub(crate) fn network(seed: u32, architecture: Architecture) -> Pairs {
    let settings = BackboneSettings { architecture, width: 4, stem: Stem::Small };
    let network = backbone(settings);
    let tables = [network.parameters(), network.statistics()];
    let segments = tables.into_iter().flat_map(|table| table.segments());
    let mut tensors = Vec::new();
    for (place, segment) in segments.enumerate() {
        let value = |at: usize| (at % 97) as f32 / 64.0 + (place + 100 * seed as usize) as f32;
        let values = (0..segment.len()).map(value).collect();
        tensors.push((text(&segment.name), floats(&segment.shape, values)));
        if let Some(norm) = segment.name.strip_suffix("running_var") {
            tensors.push((text(&format!("{norm}num_batches_tracked")), count(7)));
        }
    }
    tensors
}

/// The same values under other names; those that become `None` are left out.
pub(crate) fn renamed(pairs: &Pairs, name: impl Fn(&str) -> Option<String>) -> Pairs {
    let rename = |(key, value): &(Value, Value)| {
        let Value::Text(key) = key else { panic!("{key:?} is no name") };
        Some((text(&name(key)?), value.clone()))
    };
    pairs.iter().filter_map(rename).collect()
}

pub(crate) fn behind(prefix: &str, pairs: &Pairs) -> Pairs {
    renamed(pairs, |name| Some(format!("{prefix}{name}")))
}

/// As an `nn.Sequential` with these places for `conv1`, `bn1` and the stages numbers them.
fn numbered(places: [usize; 5], pairs: &Pairs) -> Pairs {
    let layers = ["conv1", "bn1", "layer1", "layer2", "layer3"];
    renamed(pairs, |name| {
        let (layer, rest) = name.split_once('.')?;
        let place = places[layers.iter().position(|it| *it == layer)?];
        Some(format!("{place}.{rest}"))
    })
}

/// A linear layer of a head.
fn linear(name: &str) -> Pairs {
    let weight = (text(&format!("{name}.weight")), floats(&[3, 16], vec![0.5; 48]));
    vec![weight, (text(&format!("{name}.bias")), floats(&[3], vec![0.0; 3]))]
}

/// A head of two layers with batch norm between.
fn head(name: &str) -> Pairs {
    let norm = ["weight", "bias", "running_mean", "running_var"];
    let norm = norm.map(|it| (text(&format!("{name}.1.{it}")), floats(&[3], vec![1.0; 3])));
    [linear(&format!("{name}.0")), norm.into(), linear(&format!("{name}.3"))].concat()
}

fn ordered(parts: &[Pairs]) -> Value {
    Value::Ordered(parts.concat())
}

/// What `optimizer.state_dict()` gives: buffers by numbers.
fn optimizer() -> Value {
    let buffer = dict([("momentum_buffer", floats(&[4, 3, 3, 3], vec![9.0; 108]))]);
    let groups = Value::List(vec![dict([("lr", Value::None), ("params", Value::List(vec![]))])]);
    let state = Value::Dict(vec![(Value::Integer(0), buffer)]);
    dict([("state", state), ("param_groups", groups)])
}

fn arguments() -> Value {
    Value::Object("argparse", "Namespace", vec![(text("arch"), text("resnet50"))])
}

/// A checkpoint, and what must be said of it.
pub(crate) struct Layout {
    pub(crate) name: &'static str,
    pub(crate) root: Value,
    /// Parts of the notices.
    pub(crate) says: &'static [&'static str],
}

fn layout(name: &'static str, root: Value, says: &'static [&'static str]) -> Layout {
    Layout { name, root, says }
}

fn lightning(state: Value) -> Value {
    let callbacks = dict([("ModelCheckpoint", dict([("best_model_score", count(1))]))]);
    dict([
        ("epoch", Value::Integer(3)),
        ("global_step", Value::Integer(9)),
        ("pytorch-lightning_version", text("2.1.0")),
        ("state_dict", state),
        ("callbacks", callbacks),
        ("optimizer_states", Value::List(vec![optimizer()])),
        ("hyper_parameters", Value::Object("pytorch_lightning", "AttributeDict", vec![])),
    ])
}

/// Layouts whose meant backbone has the weights of `resnet(1)`.
pub(crate) fn layouts() -> Vec<Layout> {
    let (own, other) = (&resnet(1), &resnet(2));
    let children = &numbered([0, 1, 4, 5, 6], own);
    let others_children = &numbered([0, 1, 4, 5, 6], other);
    let shortcuts = &renamed(own, |name| Some(name.replace("downsample", "shortcut")));
    let mut all = vec![
        layout("torchvision", ordered(&[own.clone(), linear("fc")]), &["fc.weight"]),
        layout(
            "PyTorch's ImageNet example",
            dict([
                ("epoch", Value::Integer(3)),
                ("arch", text("resnet18")),
                ("state_dict", ordered(&[behind("module.", own), linear("module.fc")])),
                ("best_acc1", floats(&[], vec![f32::INFINITY])),
                ("spectrum", complex()),
                ("optimizer", optimizer()),
                ("args", arguments()),
            ]),
            &["under `state_dict`", "without `module.`", "module.fc.weight"],
        ),
        layout(
            "a tensor beside the dictionary",
            dict([("epoch", count(3)), ("model", ordered(std::slice::from_ref(own)))]),
            &["under `model`"],
        ),
        layout(
            "two deep",
            dict([("state", dict([("model", ordered(std::slice::from_ref(own)))]))]),
            &["under `state.model`"],
        ),
        layout(
            "a state dict in a dictionary in a list",
            Value::List(vec![count(1), dict([("state_dict", ordered(&[behind("net.", own)]))])]),
            &["under `1.state_dict`", "without `net.`"],
        ),
        layout(
            "SwAV",
            ordered(&[
                behind("module.", own),
                head("module.projection_head"),
                linear("module.prototypes"),
            ]),
            &["SwAV", "module.projection_head (8 tensors), module.prototypes (2 tensors)"],
        ),
        layout(
            "DINO",
            dict([
                ("student", ordered(&[behind("module.backbone.", other), head("module.head.mlp")])),
                ("teacher", ordered(&[behind("backbone.", own), head("head.mlp")])),
                ("optimizer", optimizer()),
                ("epoch", Value::Integer(100)),
                ("args", arguments()),
                ("dino_loss", ordered(&[vec![(text("center"), floats(&[1], vec![0.0]))]])),
            ]),
            &[
                "DINO",
                "under `teacher`",
                "passed over `student.module.backbone.`, what the teacher is the average of: for \
                 that, --key 'student' --prefix 'module.backbone.'",
            ],
        ),
        layout(
            "MoCo",
            dict([
                ("epoch", Value::Integer(200)),
                (
                    "state_dict",
                    ordered(&[
                        behind("module.encoder_q.", own),
                        linear("module.encoder_q.fc.0"),
                        behind("module.encoder_k.", other),
                        linear("module.encoder_k.fc.0"),
                        vec![
                            (text("module.queue"), floats(&[2, 3], vec![0.5; 6])),
                            (text("module.queue_ptr"), count(0)),
                        ],
                    ]),
                ),
            ]),
            &["MoCo", "module.encoder_k (", "passed over `state_dict.module.encoder_k.`"],
        ),
        layout(
            "MoCo v3",
            dict([(
                "state_dict",
                ordered(&[
                    behind("module.base_encoder.", own),
                    head("module.base_encoder.fc"),
                    behind("module.momentum_encoder.", other),
                    head("module.momentum_encoder.fc"),
                    head("module.predictor"),
                ]),
            )]),
            &["MoCo v3", "without `module.base_encoder.`"],
        ),
        layout(
            "BYOL with both networks and their module",
            dict([
                (
                    "model",
                    ordered(&[
                        behind("online_network.encoder.", children),
                        head("online_network.projetion.net"),
                        behind("target_network.encoder.", others_children),
                    ]),
                ),
                ("online_network_state_dict", ordered(&[behind("encoder.", children)])),
                ("target_network_state_dict", ordered(&[behind("encoder.", others_children)])),
                ("optimizer_state_dict", optimizer()),
            ]),
            &["BYOL", "passed over `model.target_network.encoder.`"],
        ),
        layout(
            "BYOL around a network of its own",
            ordered(&[
                behind("net.", own),
                behind("online_encoder.net.", own),
                head("online_encoder.projector"),
                behind("target_encoder.net.", other),
                head("online_predictor"),
            ]),
            &["BYOL", "without `net.`"],
        ),
        layout(
            "VISSL",
            dict([(
                "classy_state_dict",
                dict([(
                    "base_model",
                    dict([(
                        "model",
                        dict([
                            ("trunk", ordered(&[behind("_feature_blocks.", own)])),
                            ("heads", ordered(&[linear("0.clf.0")])),
                        ]),
                    )]),
                )]),
            )]),
            &["VISSL", "under `classy_state_dict.base_model.model.trunk`"],
        ),
        layout(
            "timm's training script",
            dict([
                ("arch", text("resnet50")),
                ("state_dict", ordered(&[own.clone(), linear("fc")])),
                ("state_dict_ema", ordered(&[other.clone(), linear("fc")])),
                ("optimizer", optimizer()),
                ("args", arguments()),
            ]),
            &["under `state_dict`", "passed over `state_dict_ema.`"],
        ),
    ];
    for (name, prefix, heads) in [
        ("Barlow Twins", "module.backbone.", ["module.projector", "module.bn"]),
        ("VICReg", "module.backbone.", ["module.projector", "module.expander"]),
        ("SimSiam", "module.encoder.", ["module.encoder.fc", "module.predictor"]),
        ("OpenMMLab", "backbone.", ["neck.mlp", "head.mlp"]),
    ] {
        let heads = heads.map(head).concat();
        let root = dict([("model", ordered(&[behind(prefix, own), heads]))]);
        all.push(layout(name, root, &["left out", "under `model`"]));
    }
    for prefix in ["student.", "module.model.resnet.", "encoder_q.0.", "_orig_mod.module.encoder."]
    {
        all.push(layout("a prefix", ordered(&[behind(prefix, own)]), &["without `"]));
    }
    let heads = [head("projection_head"), behind("backbone_momentum.", others_children)].concat();
    let lightly = ordered(&[behind("backbone.", children), heads]);
    all.push(layout("lightly", lightning(lightly), &["Lightning, lightly", "backbone.4.0.conv1"]));
    let heads = [head("projector"), linear("classifier"), behind("momentum_backbone.", other)];
    let solo = ordered(&[behind("backbone.", own), heads.concat()]);
    all.push(layout("solo-learn", lightning(solo), &["Lightning, solo-learn"]));
    // Without ReLU and pool as members; in a body behind which the head is numbered, too.
    for (prefix, places, heads) in [
        ("", [0, 1, 2, 3, 4], linear("7")),
        ("f.", [0, 1, 3, 4, 5], head("g")),
        ("0.", [0, 1, 4, 5, 6], head("1")),
    ] {
        let root = ordered(&[behind(prefix, &numbered(places, own)), heads]);
        all.push(layout("an nn.Sequential", root, &["nn.Sequential"]));
    }
    let cifar = ordered(&[behind("module.", shortcuts), linear("module.linear")]);
    let cifar = dict([("net", cifar), ("acc", Value::None), ("epoch", Value::Integer(1))]);
    all.push(layout("a ResNet for CIFAR", cifar, &["under `net`"]));
    all
}
