//! Compares the paper presets with the paper's numbers, typed here a second time.

use super::{Preset, TASKS};

/// Values that all experiments share.
const SHARED: &[(&str, &str)] = &[
    ("image.size", "96"),
    ("network.width", "64"),
    ("network.stem", "\"imagenet\""),
    ("network.projector", "[256, 256, 256]"),
    ("augment.crop_area", "[0.08, 1.0]"),
    ("augment.crop_aspect", "[0.5, 1.0]"),
    ("augment.flip", "0.5"),
    ("augment.jitter", "0.8"),
    ("augment.brightness", "0.4"),
    ("augment.contrast", "0.4"),
    ("augment.saturation", "0.2"),
    ("augment.hue", "0.1"),
    ("augment.grey", "0.2"),
    ("augment.blur_a", "1.0"),
    ("augment.blur_b", "0.1"),
    ("augment.blur_sigma", "[0.1, 2.0]"),
    ("augment.solarise_b", "0.2"),
    ("augment.evaluation_resize", "true"),
    ("pretrain.epochs", "500"),
    ("pretrain.batch", "1024"),
    ("pretrain.learning_rate", "4.8"),
    ("pretrain.warm_up_epochs", "10"),
    ("pretrain.clip", "\"none\""),
    ("pretrain.optimizer", "{ lars = { momentum = 0.9, trust = 0.001, weight_decay = 0.000001 } }"),
    ("warm_up.epochs", "20"),
    ("align.alternations", "500"),
    ("align.lower_steps", "20"),
    ("align.upper_steps", "8"),
    ("align.proximity", "0.001"),
    ("align.damping", "10.0"),
    ("align.solver", "\"layerwise\""),
    ("align.iterations", "5"),
    ("align.tolerance", "0.0"),
    ("align.correction_tolerance", "0.0"),
    ("align.curvature", "\"hessian\""),
    ("align.statistics", "\"every-pass\""),
    ("align.batch", "1024"),
    ("align.lower.learning_rate", "1.0"),
    ("align.lower.warm_up_steps", "200"),
    ("align.lower.floor", "0.001"),
    ("align.lower.clip", "10.0"),
    (
        "align.lower.optimizer",
        "{ lars = { momentum = 0.9, trust = 0.001, weight_decay = 0.000001 } }",
    ),
    ("align.upper.warm_up_steps", "0"),
    ("align.upper.clip", "10.0"),
    ("downstream.multi_label_loss", "\"softmax\""),
    ("finetune.epochs", "400"),
    ("finetune.batch", "256"),
    ("finetune.momentum", "0.9"),
    ("finetune.floor", "0.001"),
    ("finetune.choice", "\"best\""),
];

/// Values of each experiment.
const OWN: &[(&str, &[(&str, &str)])] = &[
    (
        "paper-resnet18-stl10",
        &[
            ("network.architecture", "\"resnet18\""),
            ("pretext.method", "\"simclr\""),
            ("data.downstream.validation_share", "0.2"),
            ("align.direct_weight", "0.01"),
            ("align.upper.learning_rate", "0.015"),
            ("align.upper.optimizer", "{ sgd = { momentum = 0.9, weight_decay = 0.01 } }"),
        ],
    ),
    (
        "paper-resnet50-imagenet-simclr",
        &[
            ("network.architecture", "\"resnet50\""),
            ("pretext.method", "\"simclr\""),
            ("simclr.temperature", "0.5"),
            ("align.direct_weight", "1.0"),
        ],
    ),
    (
        "paper-resnet50-imagenet-byol",
        &[
            ("network.architecture", "\"resnet50\""),
            ("pretext.method", "\"byol\""),
            ("byol.decay", "0.9995"),
            ("align.direct_weight", "1.0"),
        ],
    ),
];

/// Peak rate and weight decay of the upper level, in the order of the paper's table: SimCLR, BYOL.
const UPPER: &str = "
    aircraft    0.03   0.005    0.015  0.003
    caltech101  0.03   0.0001   0.015  0.0002
    cars        0.035  0.001    0.04   0.002
    cifar10     0.015  0.001    0.01   0.001
    cifar100    0.01   0.0001   0.01   0.001
    cub200      0.03   0.001    0.015  0.0001
    dtd         0.03   0.001    0.015  0.0001
    flowers     0.05   0.0005   0.035  0.002
    food        0.03   0.001    0.035  0.002
    pets        0.03   0.001    0.02   0.002
    sun397      0.015  0.00005  0.01   0.00005
    voc07       0.015  0.005    0.005  0.006
";

#[test]
fn the_paper_presets_hold_the_papers_numbers() {
    for (name, own) in OWN {
        let config = Preset::named(name).unwrap().config();
        for (key, expected) in SHARED.iter().chain(*own) {
            assert_eq!(config.value(key).as_deref(), Some(*expected), "{name}: {key}");
        }
    }
}

#[test]
fn every_task_has_the_papers_rate_and_decay_after_either_pretraining() {
    let mut names = Vec::new();
    for line in UPPER.lines().filter(|line| !line.trim().is_empty()) {
        let cells: Vec<&str> = line.split_whitespace().collect();
        let numbers: Vec<f32> = cells[1..].iter().map(|cell| cell.parse().unwrap()).collect();
        let after = [("simclr", &numbers[..2]), ("byol", &numbers[2..])];
        for (method, expected) in after {
            let name = format!("paper-resnet50-imagenet-{method}/{}", cells[0]);
            let config = Preset::named(&name).unwrap().config();
            let bissl_core::Optimizer::Sgd { momentum, weight_decay } =
                config.align.upper.optimizer
            else {
                panic!("{name}: expected sgd");
            };
            assert_eq!([config.align.upper.learning_rate, weight_decay], *expected, "{name}");
            assert_eq!(momentum, 0.9, "{name}");
        }
        names.push(cells[0]);
    }
    assert_eq!(names, TASKS.iter().map(|task| task.name).collect::<Vec<_>>());
}

#[test]
fn a_task_stands_only_behind_a_preset_that_has_tasks() {
    for name in ["default/voc07", "paper-resnet18-stl10/voc07", "paper-resnet50-imagenet-byol/cats"]
    {
        let error = Preset::named(name).unwrap_err().to_string();
        assert!(error.starts_with(&format!("unknown preset `{name}`")), "{error}");
    }
}
