//! The subcommands `adapt` and `pretrain`.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use bissl_core::{CgSettings, ConjugateGradient};
use bissl_firmware::{
    Augmentation, Configuration, ConvolutionalDigitsDevice, Hyperparameters, Lengths, Sample,
    Scale, Settings, SmallDigitsDevice, WatchDevice,
};
use bissl_firmware_sim::{
    Adaptation, AlignedImage, DigitsShift, Extract, Pretrained, PretrainedDigits, Surroundings,
    WATCH_VIEWS, Watch, Wearer, adapt, align_wearer, pretrain_digits, write_image,
};
use clap::{Args, Subcommand, ValueEnum, value_parser};
use serde::Serialize;

/// Devices whose networks are pretrained here.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Digits {
    /// Two dense layers behind one in flash, for 16 KiB of RAM
    SmallDigits,
    /// A convolution and a dense layer behind a convolution in flash, for 128 KiB
    ConvolutionalDigits,
}

/// The network sees upright digits without labels, in batches for which no microcontroller has
/// room. The image can be flashed on a board, or given to a simulated device.
#[derive(Debug, Args)]
pub(crate) struct Pretrain {
    /// Whose network
    #[arg(long, value_enum, default_value_t = Digits::SmallDigits)]
    device: Digits,
    /// Seed of weights, batch order and augmentation
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Steps on batches of 64 pictures
    #[arg(long, value_name = "N", default_value_t = PRETRAIN_STEPS, value_parser = value_parser!(u32).range(1..1_000_000))]
    steps: u32,
    /// The image; replaced if it exists
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

const PRETRAIN_STEPS: u32 = 1000;

/// From the same pretrained network the device goes four ways: it trains a head and nothing else,
/// fine-tunes, pretrains further and fine-tunes, or goes through the bilevel stage and fine-tunes.
/// Printed are the shares of held-out frames that it classifies rightly, with the same number of
/// steps in each way: the mean over the seeds, and the standard deviation.
#[derive(Debug, Args)]
pub(crate) struct Adapt {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Digits that are turned and noisy; the pretraining saw others, upright
    Digits(DigitsTask),
    /// Shoulder exercises, by the watch of a person whom the pretraining has not seen
    Watch(WatchTask),
    /// The same by the watch and the person that come with the program: what the boards train
    Wearer(WearerTask),
    /// Write some of a person's windows as the file that comes with the program
    Extract(ExtractTask),
}

#[derive(Debug, Args)]
struct DigitsTask {
    /// Networks and batches of the device
    #[arg(long, value_enum, default_value_t = Digits::SmallDigits)]
    device: Digits,
    /// Turn the pictures by so many degrees
    #[arg(long, default_value_t = DigitsShift::default().degrees, value_parser = finite)]
    degrees: f32,
    /// Noise of each pixel, of 16 levels
    #[arg(long, default_value_t = DigitsShift::default().noise, value_parser = at_least_zero)]
    noise: f32,
    /// Labelled pictures of each class
    #[arg(long, value_name = "N", default_value_t = DigitsShift::default().labelled_per_class)]
    labelled: usize,
    /// Steps of the pretraining
    #[arg(long, value_name = "N", default_value_t = PRETRAIN_STEPS, value_parser = value_parser!(u32).range(1..1_000_000))]
    pretrain_steps: u32,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, Args)]
struct WatchTask {
    /// Folder with recordings.csv and samples.f32le
    #[arg(long, value_name = "FOLDER")]
    data: PathBuf,
    /// Folder of flash images, one for each person that was left out: `watch-N.bin`
    #[arg(long, value_name = "FOLDER")]
    images: PathBuf,
    /// People, by number; all of them if none is named
    #[arg(long, value_name = "N", value_delimiter = ',')]
    subjects: Vec<u32>,
    /// Labelled windows of each recording
    #[arg(long, value_name = "N", default_value_t = 2)]
    labelled: usize,
    #[command(flatten)]
    common: Common,
}

#[derive(Debug, Args)]
struct WearerTask {
    /// Seed of the head, batch order and augmentation
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Steps of the head's warm-up
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = value_parser!(u32).range(1..1_000_000))]
    warm_up_steps: u32,
    /// Alternations of the bilevel stage
    #[arg(long, value_name = "T", default_value_t = 2, value_parser = value_parser!(u32).range(1..100_000))]
    alternations: u32,
    /// Steps of fine-tuning after it
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = value_parser!(u32).range(1..1_000_000))]
    finetune_steps: u32,
    /// Print the result as one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct ExtractTask {
    /// Folder with recordings.csv and samples.f32le
    #[arg(long, value_name = "FOLDER")]
    data: PathBuf,
    /// Flash image of the network that is to read them
    #[arg(long, value_name = "FILE")]
    image: PathBuf,
    /// Whose
    #[arg(long, value_name = "N")]
    subject: u32,
    /// Every so many windows without labels, and held out
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = value_parser!(u32).range(1..))]
    every: u32,
    /// The file; replaced if it exists
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

/// A number.
fn finite(text: &str) -> Result<f32, String> {
    match text.parse() {
        Ok(number) if f32::is_finite(number) => Ok(number),
        _ => Err(format!("found `{text}`, expected a finite number")),
    }
}

/// A number that is not negative.
fn at_least_zero(text: &str) -> Result<f32, String> {
    match text.parse() {
        Ok(number) if number >= 0.0 && f32::is_finite(number) => Ok(number),
        _ => Err(format!("found `{text}`, expected a number of at least 0")),
    }
}

#[derive(Debug, Args)]
struct Common {
    /// How many seeds
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = value_parser!(u64).range(1..10_000))]
    seeds: u64,
    /// The first of them
    #[arg(long, default_value_t = 1, value_parser = value_parser!(u64).range(..1 << 60))]
    first_seed: u64,
    /// Alternations of the bilevel stage
    #[arg(long, value_name = "T", value_parser = value_parser!(u32).range(1..100_000))]
    #[arg(default_value_t = 100)]
    alternations: u32,
    /// Steps of the head's warm-up
    #[arg(long, value_name = "N", value_parser = value_parser!(u32).range(1..1_000_000))]
    #[arg(default_value_t = Lengths::default().warm_up)]
    warm_up_steps: u32,
    /// Steps of fine-tuning after the bilevel stage
    #[arg(long, value_name = "N", value_parser = value_parser!(u32).range(1..1_000_000))]
    #[arg(default_value_t = Lengths::default().finetune)]
    finetune_steps: u32,
    /// λ, the weight of ½‖θ_P − θ_D‖²
    #[arg(long, default_value_t = Hyperparameters::default().proximity)]
    proximity: f32,
    /// δ, damping of the linear systems
    #[arg(long, default_value_t = Hyperparameters::default().damping)]
    damping: f32,
    /// Learning rate of the lower level, and of pretraining further
    #[arg(long, default_value_t = 0.003)]
    lower_rate: f32,
    /// Learning rate of the upper level
    #[arg(long, default_value_t = Hyperparameters::default().upper_rate)]
    upper_rate: f32,
    /// Learning rate of fine-tuning
    #[arg(long, default_value_t = Hyperparameters::default().finetune_rate)]
    finetune_rate: f32,
    /// Print the result as one JSON object
    #[arg(long)]
    json: bool,
}

impl Common {
    fn range(&self) -> std::ops::Range<u64> {
        self.first_seed..self.first_seed + self.seeds
    }

    fn lengths(&self) -> Lengths {
        Lengths {
            alternations: self.alternations,
            warm_up: self.warm_up_steps,
            finetune: self.finetune_steps,
            ..Lengths::default()
        }
    }

    fn settings(&self, seed: u64, lengths: Lengths) -> anyhow::Result<Settings> {
        let of = Hyperparameters {
            pretrain_rate: self.lower_rate,
            lower_rate: self.lower_rate,
            upper_rate: self.upper_rate,
            finetune_rate: self.finetune_rate,
            proximity: self.proximity,
            damping: self.damping,
            ..Hyperparameters::default()
        };
        Ok(Settings::with(seed, lengths, &of, CgSettings::new(1e-2, 5)?)?)
    }

    fn adapt<C: Configuration<Solver = ConjugateGradient>, N: Sample>(
        &self,
        seed: u64,
        surroundings: &Surroundings<N>,
        pretrained: Pretrained<'_>,
        views: Option<Augmentation>,
    ) -> anyhow::Result<Adaptation> {
        if surroundings.held_out_labels.is_empty() {
            bail!("--labelled: nothing is left to be held out, expected fewer labelled frames");
        }
        let lengths = self.lengths();
        // This reports why if the longest of the ways is out of range.
        self.settings(seed, lengths)?;
        let settings = |lengths| {
            let settings =
                self.settings(seed, lengths).expect("stages of the same lengths, added up");
            Settings { views: views.unwrap_or(settings.views), ..settings }
        };
        Ok(adapt::<C, N>(surroundings, pretrained, lengths, settings)?)
    }
}

/// One training on each of the ways.
#[derive(Debug, Serialize)]
struct Row {
    /// The person; `None` if there is only one.
    subject: Option<u32>,
    seed: u64,
    adaptation: Adaptation,
}

impl Adapt {
    /// Runs the subcommand; returns the text for standard output.
    pub(crate) fn run(&self) -> anyhow::Result<String> {
        let (rows, json) = match &self.task {
            Task::Digits(task) => (task.rows()?, task.common.json),
            Task::Watch(task) => (task.rows()?, task.common.json),
            Task::Wearer(task) => return task.run(),
            Task::Extract(task) => return task.run(),
        };
        Ok(if json { format!("{}\n", serde_json::to_string(&rows)?) } else { table(&rows) })
    }
}

impl DigitsTask {
    fn rows(&self) -> anyhow::Result<Vec<Row>> {
        match self.device {
            Digits::SmallDigits => self.rows_of::<SmallDigitsDevice>(),
            Digits::ConvolutionalDigits => self.rows_of::<ConvolutionalDigitsDevice>(),
        }
    }

    fn rows_of<C>(&self) -> anyhow::Result<Vec<Row>>
    where
        C: PretrainedDigits + Configuration<Solver = ConjugateGradient>,
    {
        let shift = DigitsShift {
            degrees: self.degrees,
            noise: self.noise,
            labelled_per_class: self.labelled,
            ..DigitsShift::default()
        };
        self.common
            .range()
            .map(|seed| {
                let weights = pretrain_digits::<C>(seed, self.pretrain_steps)?;
                let surroundings = shift.surroundings(seed);
                let scales = &[Scale { scale: 1.0 / 16.0, offset: 0.0 }];
                let pretrained = Pretrained { weights: &weights, scales };
                let adaptation =
                    self.common.adapt::<C, u8>(seed, &surroundings, pretrained, None)?;
                Ok(Row { subject: None, seed, adaptation })
            })
            .collect()
    }
}

impl WearerTask {
    fn run(&self) -> anyhow::Result<String> {
        let lengths = Lengths {
            warm_up: self.warm_up_steps,
            alternations: self.alternations,
            finetune: self.finetune_steps,
            ..Lengths::default()
        };
        let Wearer { before, aligned, held_out, ticks, hash } = align_wearer(self.seed, lengths)?;
        Ok(if self.json {
            let hash = format!("{hash:016x}");
            let value = serde_json::json!({
                "before": before, "aligned": aligned, "held_out": held_out, "ticks": ticks, "hash": hash
            });
            format!("{value}\n")
        } else {
            format!(
                "{before} of {held_out} before, {aligned} aligned; {ticks} ticks, state {hash:016x}\n"
            )
        })
    }
}

/// Each `every`-th window.
fn thin(numbers: &[i16], every: u32) -> Vec<i16> {
    let windows = numbers.chunks_exact(WatchDevice::MODEL.input.floats());
    windows.step_by(every as usize).flatten().copied().collect()
}

impl ExtractTask {
    fn run(&self) -> anyhow::Result<String> {
        let watch = Watch::open(&self.data)?;
        let file = AlignedImage::open(&self.image)?;
        let found = watch.surroundings(self.subject, &file.read(&WatchDevice::MODEL)?)?;
        let every = self.every as usize;
        let extract = Extract {
            unlabelled: thin(&found.unlabelled, self.every),
            labelled: found.labelled,
            labels: found.labels,
            held_out: thin(&found.held_out, self.every),
            held_out_labels: found.held_out_labels.into_iter().step_by(every).collect(),
        };
        let bytes = extract.write();
        replace(&self.out, &bytes)?;
        Ok(format!("{} bytes written to {}\n", bytes.len(), self.out.display()))
    }
}

impl WatchTask {
    fn rows(&self) -> anyhow::Result<Vec<Row>> {
        let mut watch = Watch::open(&self.data)?;
        watch.labelled_per_recording = self.labelled;
        let classes = watch.exercises().len();
        if classes != usize::from(WatchDevice::MODEL.classes) {
            let expected = WatchDevice::MODEL.classes;
            bail!("{}: found {classes} exercises, expected {expected}", self.data.display());
        }
        let subjects =
            if self.subjects.is_empty() { watch.subjects() } else { self.subjects.clone() };
        let mut rows = vec![];
        for subject in subjects {
            let file = AlignedImage::open(&self.images.join(format!("watch-{subject}.bin")))?;
            let image = file.read(&WatchDevice::MODEL)?;
            let surroundings = watch.surroundings(subject, &image)?;
            let scales = image.scales();
            let channels = usize::from(WatchDevice::MODEL.input.channels);
            let pretrained = Pretrained { weights: image.weights(), scales: &scales[..channels] };
            for seed in self.common.range() {
                let adaptation = self.common.adapt::<WatchDevice, i16>(
                    seed,
                    &surroundings,
                    pretrained,
                    Some(WATCH_VIEWS),
                )?;
                rows.push(Row { subject: Some(subject), seed, adaptation });
            }
        }
        Ok(rows)
    }
}

/// Mean and standard deviation of the accuracies, person by person, and over all.
fn table(rows: &[Row]) -> String {
    let mut text = format!(
        "{:<10} {:>6} {:>9} {:>16} {:>16} {:>16} {:>16}\n",
        "subject", "seeds", "held out", "head alone", "fine-tuned", "pretrained on", "bilevel"
    );
    let mut subjects: Vec<Option<u32>> = rows.iter().map(|row| row.subject).collect();
    subjects.dedup();
    let several = subjects.len() > 1;
    for subject in subjects {
        let rows: Vec<&Row> = rows.iter().filter(|row| row.subject == subject).collect();
        let name = subject.map_or("-".to_owned(), |subject| subject.to_string());
        text += &line(&name, &rows);
    }
    if several {
        text += &line("all", &rows.iter().collect::<Vec<_>>());
    }
    text
}

fn line(name: &str, rows: &[&Row]) -> String {
    let held_out: u32 = rows.iter().map(|row| row.adaptation.held_out).sum();
    let of = |pick: fn(&Adaptation) -> u32| {
        let shares: Vec<f64> = rows
            .iter()
            .map(|Row { adaptation, .. }| {
                f64::from(pick(adaptation)) / f64::from(adaptation.held_out)
            })
            .collect();
        let count = shares.len() as f64;
        let mean = shares.iter().sum::<f64>() / count;
        let squares: f64 = shares.iter().map(|share| (share - mean).powi(2)).sum();
        format!("{mean:.3} ± {:.3}", (squares / (count - 1.0).max(1.0)).sqrt())
    };
    format!(
        "{name:<10} {:>6} {:>9} {:>16} {:>16} {:>16} {:>16}\n",
        rows.len(),
        held_out / rows.len() as u32,
        of(|a| a.before),
        of(|a| a.finetuned),
        of(|a| a.continued),
        of(|a| a.aligned)
    )
}

impl Pretrain {
    /// Runs the subcommand; returns the text for standard output.
    pub(crate) fn run(&self) -> anyhow::Result<String> {
        let (model, weights) = match self.device {
            Digits::SmallDigits => (
                SmallDigitsDevice::MODEL,
                pretrain_digits::<SmallDigitsDevice>(self.seed, self.steps)?,
            ),
            Digits::ConvolutionalDigits => (
                ConvolutionalDigitsDevice::MODEL,
                pretrain_digits::<ConvolutionalDigitsDevice>(self.seed, self.steps)?,
            ),
        };
        // The device stores levels; 16 of them are full scale.
        let bytes = write_image(&model, &[[1.0 / 16.0, 0.0, 16.0]], &weights);
        replace(&self.out, &bytes)?;
        Ok(format!(
            "{} weights, {} bytes written to {}\n",
            weights.len(),
            bytes.len(),
            self.out.display()
        ))
    }
}

/// Writes a temporary file next to it, then renames: nobody sees a half-written file.
fn replace(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let beside = path.with_extension("partial");
    let write = || {
        let mut file = File::create(&beside)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        std::fs::rename(&beside, path)
    };
    write().with_context(|| format!("cannot write {}", path.display()))
}
