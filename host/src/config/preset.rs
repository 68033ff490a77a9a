//! Presets: settings that come with the program.

use serde::Serialize;

use super::error::ConfigError;
use super::settings::RunConfig;
use crate::data::AugmentSettings;

/// A preset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Preset {
    /// Recommendation for images of 32 to 96 pixels.
    Default,
    /// As `Default`, but for an hour instead of days: a narrower network, Gauss-Newton products,
    /// fewer steps.
    Fast,
    /// What `bissl demo` runs.
    Demo,
    /// A small network for a device, on a smartwatch's motion windows.
    Watch,
    /// What `bissl bench step` measures.
    Bench,
    /// What `bissl bench stage` measures.
    BenchStage,
    /// The paper's settings, optionally for one of its downstream tasks.
    Paper(Recipe, Option<&'static Task>),
}

/// An experiment of the paper.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recipe {
    /// ResNet-18, SimCLR on STL-10's unlabelled images: from the first version of the paper.
    Resnet18Stl10,
    /// ResNet-50, SimCLR on ImageNet.
    Resnet50ImagenetSimclr,
    /// ResNet-50, BYOL on ImageNet.
    Resnet50ImagenetByol,
}

/// A downstream task of the paper with the upper level's settings that the paper's search chose.
#[derive(Debug, PartialEq)]
pub struct Task {
    /// Name, typed after the preset's name and a slash.
    pub name: &'static str,
    /// How validation images are chosen if the data set does not publish its own.
    validation: Validation,
    /// Peak rate and weight decay of the upper level after SimCLR.
    pub simclr: [f32; 2],
    /// Peak rate and weight decay of the upper level after BYOL.
    pub byol: [f32; 2],
}

impl Eq for Task {}

/// Which images are held out for validation.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Validation {
    /// Those that the data set publishes.
    Published,
    /// A fifth of the training images.
    Share,
    /// Fixed numbers of training and validation images per class.
    PerClass(u32, u32),
}
use Validation::{PerClass, Published, Share};

const fn task(
    name: &'static str,
    validation: Validation,
    simclr: [f32; 2],
    byol: [f32; 2],
) -> Task {
    Task { name, validation, simclr, byol }
}

/// Zakarias, Hansen, Tan (arXiv 2410.02387): the hyper-parameters of each data set.
pub const TASKS: &[Task] = &[
    task("aircraft", Published, [0.03, 0.005], [0.015, 0.003]),
    task("caltech101", PerClass(24, 6), [0.03, 0.0001], [0.015, 0.0002]),
    task("cars", Share, [0.035, 0.001], [0.04, 0.002]),
    task("cifar10", Share, [0.015, 0.001], [0.01, 0.001]),
    task("cifar100", Share, [0.01, 0.0001], [0.01, 0.001]),
    task("cub200", Share, [0.03, 0.001], [0.015, 0.0001]),
    task("dtd", Published, [0.03, 0.001], [0.015, 0.0001]),
    task("flowers", Published, [0.05, 0.0005], [0.035, 0.002]),
    task("food", Share, [0.03, 0.001], [0.035, 0.002]),
    task("pets", Share, [0.03, 0.001], [0.02, 0.002]),
    task("sun397", Share, [0.015, 0.00005], [0.01, 0.00005]),
    task("voc07", Published, [0.015, 0.005], [0.005, 0.006]),
];

const FAST: (&str, &str) = ("fast", include_str!("presets/fast.toml"));
const DEMO: (&str, &str) = ("demo", include_str!("presets/demo.toml"));
const WATCH: (&str, &str) = ("watch", include_str!("presets/watch.toml"));
const BENCH: (&str, &str) = ("bench", include_str!("presets/bench.toml"));
const BENCH_STAGE: (&str, &str) = ("bench-stage", include_str!("presets/bench-stage.toml"));
const PAPER: (&str, &str) = ("paper", include_str!("presets/paper.toml"));

impl Preset {
    /// Every name. Those that begin with `paper-resnet50` may be followed by a slash and a task.
    pub const NAMES: &[&str] = &[
        "default",
        "fast",
        "demo",
        "watch",
        "bench",
        "bench-stage",
        "paper-resnet18-stl10",
        "paper-resnet50-imagenet-simclr",
        "paper-resnet50-imagenet-byol",
    ];

    /// The preset called `name`; `tiny` is another name for `demo`.
    ///
    /// # Errors
    /// No preset has that name, or it has no such task.
    pub fn named(name: &str) -> Result<Self, ConfigError> {
        let unknown = || ConfigError::Preset { name: name.to_owned(), expected: Self::expected() };
        let (base, task) = match name.split_once('/') {
            Some((base, task)) => {
                let known = TASKS.iter().find(|known| known.name == task);
                (base, Some(known.ok_or_else(unknown)?))
            }
            None => (name, None),
        };
        let preset = match base {
            "default" => Self::Default,
            "fast" => Self::Fast,
            "demo" | "tiny" => Self::Demo,
            "watch" => Self::Watch,
            "bench" => Self::Bench,
            "bench-stage" => Self::BenchStage,
            "paper-resnet18-stl10" => Self::Paper(Recipe::Resnet18Stl10, None),
            "paper-resnet50-imagenet-simclr" => Self::Paper(Recipe::Resnet50ImagenetSimclr, task),
            "paper-resnet50-imagenet-byol" => Self::Paper(Recipe::Resnet50ImagenetByol, task),
            _ => return Err(unknown()),
        };
        // Only the ResNet-50 presets have tasks.
        match (preset, task) {
            (Self::Paper(_, None), Some(_)) => Err(unknown()),
            (Self::Paper(..), _) | (_, None) => Ok(preset),
            (_, Some(_)) => Err(unknown()),
        }
    }

    /// The names, one per line, and the tasks.
    pub fn list() -> String {
        let names: String = Self::NAMES.iter().map(|name| format!("{name}\n")).collect();
        format!("{names}\nafter paper-resnet50-...: /TASK, one of {}\n", tasks())
    }

    /// The valid names, for messages.
    fn expected() -> String {
        let (names, tasks) = (Self::NAMES.join(", "), tasks());
        format!("one of {names}; after paper-resnet50-…, /TASK with one of {tasks}")
    }

    /// Names and texts of the parts of the preset. Later parts override earlier ones.
    pub(super) fn texts(self) -> Vec<(&'static str, String)> {
        let owned = |(name, text): (&'static str, &str)| (name, text.to_owned());
        let augment = |settings| ("augment", augment_section(settings));
        let default = || ("default", RunConfig::default().to_preset());
        let ours = || vec![default(), augment(AugmentSettings::default())];
        let with = |more: &[(&'static str, &'static str)]| {
            ours().into_iter().chain(more.iter().copied().map(owned)).collect()
        };
        match self {
            Self::Default => ours(),
            Self::Fast => with(&[FAST]),
            Self::Demo => with(&[DEMO]),
            Self::Watch => with(&[WATCH]),
            Self::Bench => with(&[BENCH]),
            Self::BenchStage => with(&[BENCH, BENCH_STAGE]),
            Self::Paper(recipe, task) => {
                let mut texts = with(&[PAPER, recipe.text()]);
                texts.push(augment(AugmentSettings::paper()));
                texts.extend(task.map(|task| (task.name, recipe.task_section(task))));
                texts
            }
        }
    }
}

fn tasks() -> String {
    let names: Vec<_> = TASKS.iter().map(|task| task.name).collect();
    names.join(", ")
}

fn augment_section(augment: AugmentSettings) -> String {
    #[derive(Serialize)]
    struct Section {
        augment: AugmentSettings,
    }
    toml::to_string(&Section { augment }).expect("augmentation settings are tables of numbers")
}

impl Recipe {
    fn text(self) -> (&'static str, &'static str) {
        match self {
            Self::Resnet18Stl10 => {
                ("paper-resnet18-stl10", include_str!("presets/paper-resnet18-stl10.toml"))
            }
            Self::Resnet50ImagenetSimclr => (
                "paper-resnet50-imagenet-simclr",
                include_str!("presets/paper-resnet50-imagenet-simclr.toml"),
            ),
            Self::Resnet50ImagenetByol => (
                "paper-resnet50-imagenet-byol",
                include_str!("presets/paper-resnet50-imagenet-byol.toml"),
            ),
        }
    }

    /// The split of the images, and the settings of both trainings of the upper level: the head's
    /// warm-up and the bilevel stage.
    fn task_section(self, task: &Task) -> String {
        let [rate, decay] = match self {
            Self::Resnet18Stl10 | Self::Resnet50ImagenetSimclr => task.simclr,
            Self::Resnet50ImagenetByol => task.byol,
        };
        let held_out = match task.validation {
            Published => String::new(),
            Share => "[data.downstream]\nvalidation_share = 0.2\n".to_owned(),
            PerClass(training, validation) => format!(
                "[data.downstream]\nlabels_per_class = {training}\n\
                 validation_per_class = {validation}\n"
            ),
        };
        format!(
            "{held_out}[warm_up]\nlearning_rate = {rate}\nweight_decay = {decay}\n\
             [align.upper]\nlearning_rate = {rate}\n\
             optimizer = {{ sgd = {{ momentum = 0.9, weight_decay = {decay} }} }}\n"
        )
    }
}
