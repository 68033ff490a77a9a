//! The words of the command line, as typed: nothing here is checked beyond its shape.

use std::collections::HashSet;
use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::LazyLock;
use std::time::Duration;

use clap::{Arg, ArgMatches, Args, CommandFactory, FromArgMatches, Parser, Subcommand};

use super::curvature::{HvpArguments, SpectrumArguments};
use super::data::{BenchDataArguments, CheckArguments};
use super::interchange::{ExportArguments, FeaturesArguments, ImportArguments, PredictArguments};
use super::runs::Best;
use super::words::{Output, Settings};
use crate::config::{Key, Kind, Preset, RunConfig, STAGES, flags_of};
use crate::report::Format;

/// Bilevel self-supervised learning: pretrain, align with the downstream task, fine-tune.
#[derive(Debug, Parser)]
#[command(
    name = "bissl",
    version,
    after_help = "Exit codes: 0 done, 1 failed, 2 wrong flags or \
    configuration, 130 interrupted (checkpoint written, continue with --resume)."
)]
struct Arguments {
    #[command(subcommand)]
    command: Commands,
}

#[derive(Debug, Subcommand)]
enum Commands {
    /// The whole pipeline on embedded images, with and without the bilevel stage, in minutes.
    Demo(RunArguments),
    /// Trains a backbone on unlabelled images, by the pretext loss that --method names.
    Pretrain(RunArguments),
    /// Warms up a head, then aligns a pretrained backbone with the task: the bilevel stage.
    Align(RunArguments),
    /// Fine-tunes a backbone on labelled images with a fresh head.
    Finetune(RunArguments),
    /// Measures a backbone: held-out accuracy, linear probe, nearest neighbours.
    Evaluate {
        #[command(flatten)]
        data: ChangedData,
        #[command(flatten)]
        settings: Settings,
    },
    /// Measures what things cost and how exact they are.
    Bench {
        #[command(subcommand)]
        action: BenchAction,
    },
    /// Prints what a run would cost: products, memory, time of an alternation and of each stage.
    Plan {
        /// Time for `bissl align`, such as 90m, 2h or 1d: chooses tolerance, solver and
        /// alternations.
        #[arg(long, value_name = "DURATION", value_parser = crate::plan::duration)]
        budget: Option<Duration>,
        /// Alternations that are measured, with few lower steps each; where more than one, the
        /// first one's times are not counted.
        #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=10_000))]
        measured: u32,
        /// Steps of pretraining before them, where --from gives no weights.
        #[arg(long, value_name = "N", default_value_t = 10)]
        pretrain_steps: u32,
        #[command(flatten)]
        output: Output,
        #[command(flatten)]
        settings: Settings,
    },
    /// Checks gradients, products, solves and hypergradients before anything is trained on them.
    ///
    /// On closed forms, on a narrowed copy of the network beside the same in f64, and on the
    /// network itself. Exit code 1 if a check fails.
    Verify {
        #[command(flatten)]
        output: Output,
        #[command(flatten)]
        settings: Settings,
    },
    /// Loss, gradient and curvature product of a state in safetensors files, to compare with
    /// another framework's.
    Hvp(HvpArguments),
    /// Largest and smallest eigenvalues of the pretext loss's curvature along a run's checkpoints.
    Spectrum(SpectrumArguments),
    /// Makes a run out of weights that PyTorch saved, to start from with --from.
    Import(ImportArguments),
    /// Writes a run's backbone as a .safetensors file with torchvision's names.
    Export(ExportArguments),
    /// Writes what a run's backbone makes of images, in evaluation mode.
    Features(FeaturesArguments),
    /// Says what a fine-tuned run takes images for: classes and their probabilities.
    ///
    /// Exit code 1 where an image cannot be read; the others have their lines.
    Predict(PredictArguments),
    /// Looks at data sets.
    Data {
        #[command(subcommand)]
        action: DataAction,
    },
    /// Prints what a run, a checkpoint or a file of weights holds, and what import makes of it.
    Inspect {
        /// Folder of a run or of a checkpoint, a .safetensors file or one of torch.save.
        path: PathBuf,
    },
    /// Lists runs, compares them, picks the best.
    #[command(args_conflicts_with_subcommands = true)]
    Runs {
        /// Folder that holds runs, up to three folders deep.
        #[arg(default_value = "runs")]
        folder: PathBuf,
        #[command(flatten)]
        output: Output,
        #[command(subcommand)]
        action: Option<RunsAction>,
    },
    /// Prints configurations.
    Config {
        #[command(subcommand)]
        action: ConfigAction,
    },
}

#[derive(Debug, Subcommand)]
enum DataAction {
    /// Decodes every image and says what was found: classes, parts, sizes, broken files,
    /// duplicates.
    ///
    /// Exit code 1 where images are broken or the same picture is in more than one part.
    Check(CheckArguments),
}

#[derive(Debug, Subcommand)]
enum BenchAction {
    /// An alternation of the bilevel stage beside the published algorithm: time, products, errors,
    /// memory.
    Stage {
        /// Alternations of either algorithm.
        #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=10_000))]
        alternations: u32,
        /// Steps of pretraining before them, where --from gives no weights.
        #[arg(long, value_name = "N", default_value_t = 600)]
        pretrain_steps: u32,
        /// Compare the published algorithm's solves with exact ones, too; takes as long again.
        #[arg(long)]
        reference_errors: bool,
        #[command(flatten)]
        output: Output,
        #[command(flatten)]
        settings: Settings,
    },
    /// One gradient and one product with either curvature: time and memory.
    Step {
        /// Repetitions; medians are printed.
        #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=10_000))]
        repeats: u32,
        #[command(flatten)]
        output: Output,
        #[command(flatten)]
        settings: Settings,
    },
    /// Decoding and the paper's pretext augmentation of a folder's images: images a second.
    Data(BenchDataArguments),
}

#[derive(Debug, Subcommand)]
enum ConfigAction {
    /// Prints a preset as a complete, commented configuration file; without a name, the presets'
    /// names.
    Show {
        /// Such as default, fast, demo or paper-resnet50-imagenet-simclr/voc07.
        preset: Option<String>,
    },
    /// Prints every setting that differs between two configurations.
    Diff {
        /// A preset, the folder of a run, or a TOML file (over `default` if it is not complete).
        first: String,
        /// The same.
        second: String,
        #[command(flatten)]
        output: Output,
    },
}

#[derive(Debug, Subcommand)]
enum RunsAction {
    /// Prints the settings in which runs differ, and their metrics side by side.
    Compare {
        /// Folders of runs.
        #[arg(required = true, num_args = 2..)]
        runs: Vec<PathBuf>,
        #[command(flatten)]
        output: Output,
    },
    /// Prints the path of the run with the best metric.
    Best {
        /// Folder that holds runs, up to three folders deep.
        folder: PathBuf,
        /// STAGE/NAME, or NAME where one stage has it: validation, online_probe, test_accuracy,
        /// loss.
        #[arg(long, value_name = "NAME")]
        metric: String,
        /// The lowest is the best, as of a loss.
        #[arg(long)]
        lowest: bool,
        #[command(flatten)]
        output: Output,
    },
}

#[derive(Debug, Args)]
struct RunArguments {
    /// Folder of the run; must be absent or empty [default: runs/COMMAND].
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Continue the run in --out from its newest valid checkpoint, with its settings.
    #[arg(long, conflicts_with = "preset")]
    resume: bool,
    /// End with exit code 1 where there is nothing to learn: a gradient of exactly 0, features
    /// without spread, one image, one class, identical images, a batch larger than the set.
    #[arg(long)]
    strict: bool,
    #[command(flatten)]
    data: ChangedData,
    #[command(flatten)]
    settings: Settings,
}

/// What becomes of data that differ from a run's record.
#[derive(Clone, Copy, Debug, Default, Args)]
pub(super) struct ChangedData {
    /// Go on where images of a run are missing or changed: draws a new split, and holds out no
    /// image whose label an earlier stage has seen.
    #[arg(long)]
    accept_changed_data: bool,
}

/// What was asked for.
#[derive(Debug)]
pub(super) enum Parsed {
    Inspect(PathBuf),
    ShowPreset(Option<String>),
    ConfigDiff([String; 2], Format),
    ListRuns(PathBuf, Format),
    CompareRuns(Vec<PathBuf>, Format),
    BestRun { folder: PathBuf, metric: String, which: Best, format: Format },
    Stage(Stage, Invocation),
    Measure(Invocation, Measure, Format),
    BenchData(BenchDataArguments),
    CheckData(CheckArguments),
    Hvp(HvpArguments),
    Spectrum(Invocation, SpectrumArguments),
    Import(Invocation, ImportArguments),
    Export(ExportArguments),
    Features(FeaturesArguments),
    Predict(PredictArguments),
}

/// What is measured, as typed.
#[derive(Clone, Copy, Debug)]
pub(super) enum Measure {
    Stage { alternations: u32, pretrain_steps: u32, reference_errors: bool },
    Step { repeats: u32 },
    Plan { measured: u32, pretrain_steps: u32, budget: Option<Duration> },
    Verify,
}

/// A command with settings.
#[derive(Debug)]
pub(super) struct Invocation {
    /// Its name, such as `bench stage`.
    pub(super) command: &'static str,
    pub(super) out: PathBuf,
    pub(super) resume: bool,
    pub(super) accept_changed: bool,
    pub(super) strict: bool,
    pub(super) settings: Settings,
    /// Flag as typed, key, value.
    pub(super) overrides: Vec<(String, &'static str, String)>,
}

/// The commands that run stages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    Demo,
    Pretrain,
    Align,
    Finetune,
    Evaluate,
}

impl Invocation {
    fn new(command: &'static str, arguments: RunArguments, matches: &ArgMatches) -> Self {
        let RunArguments { out, resume, strict, data, settings } = arguments;
        let out = out.unwrap_or_else(|| PathBuf::from("runs").join(command));
        let overrides = flags_of(command)
            .filter_map(|(flag, key)| {
                let value = matches.get_one::<String>(flag.name)?;
                Some((format!("--{}", flag.name), key.name.as_str(), value.clone()))
            })
            .collect();
        let accept_changed = data.accept_changed_data;
        Self { command, out, resume, accept_changed, strict, settings, overrides }
    }

    /// One that writes no run.
    fn reading(command: &'static str, settings: Settings, matches: &ArgMatches) -> Self {
        let data = ChangedData::default();
        let arguments = RunArguments { out: None, resume: false, strict: false, data, settings };
        Self::new(command, arguments, matches)
    }

    /// The value of `--from`.
    pub(super) fn from(&self) -> Option<&str> {
        let (_, _, value) = self.overrides.iter().find(|(_, key, _)| *key == "from")?;
        Some(value)
    }
}

/// The grammar, with the flags that override settings in their commands.
pub(super) fn grammar() -> clap::Command {
    STAGES.iter().fold(Arguments::command(), |command, stage| match stage.split_once(' ') {
        Some((group, action)) => command
            .mut_subcommand(group, |group| group.mut_subcommand(action, |own| flagged(own, stage))),
        None => command.mut_subcommand(stage, |own| flagged(own, stage)),
    })
}

/// A command with its flags.
fn flagged(command: clap::Command, stage: &'static str) -> clap::Command {
    let mut named = HashSet::new();
    command.args(flags_of(stage).filter(|(flag, _)| named.insert(flag.name)).map(|(flag, key)| {
        let own = Arg::new(flag.name)
            .long(flag.name)
            .value_name(flag.value)
            .allow_negative_numbers(true)
            .help(help(stage, key))
            .help_heading("Settings");
        match key.kind {
            Kind::Switch => own.num_args(0..=1).require_equals(true).default_missing_value("true"),
            _ => own,
        }
    }))
}

/// Meaning, range and default of a key.
fn help(command: &str, key: &Key) -> String {
    static PRESETS: LazyLock<[RunConfig; 4]> = LazyLock::new(|| {
        [Preset::Default, Preset::Demo, Preset::Bench, Preset::BenchStage].map(Preset::config)
    });
    let [default, demo, bench, bench_stage] = &*PRESETS;
    let config = match command {
        "demo" => demo,
        "bench stage" => bench_stage,
        "bench step" => bench,
        _ => default,
    };
    let value = config.value(&key.name).unwrap_or_default();
    format!("{}; {} [default: {value}; key: {}]", key.help, key.kind, key.name)
}

/// Reads the command line, the program's name first.
pub(super) fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Parsed, clap::Error> {
    let matches = grammar().try_get_matches_from(arguments)?;
    let Arguments { command } = Arguments::from_arg_matches(&matches)?;
    let mut own = &matches;
    while let Some((_, inner)) = own.subcommand() {
        own = inner;
    }
    let stage =
        |stage, name, arguments| Parsed::Stage(stage, Invocation::new(name, arguments, own));
    let measure = |name, measure, output: Output, settings| {
        Parsed::Measure(Invocation::reading(name, settings, own), measure, output.format())
    };
    Ok(match command {
        Commands::Demo(arguments) => stage(Stage::Demo, "demo", arguments),
        Commands::Pretrain(arguments) => stage(Stage::Pretrain, "pretrain", arguments),
        Commands::Align(arguments) => stage(Stage::Align, "align", arguments),
        Commands::Finetune(arguments) => stage(Stage::Finetune, "finetune", arguments),
        Commands::Evaluate { data, settings } => {
            let arguments =
                RunArguments { out: None, resume: false, strict: false, data, settings };
            stage(Stage::Evaluate, "evaluate", arguments)
        }
        Commands::Bench { action } => match action {
            BenchAction::Stage {
                alternations,
                pretrain_steps,
                reference_errors,
                output,
                settings,
            } => {
                let what = Measure::Stage { alternations, pretrain_steps, reference_errors };
                measure("bench stage", what, output, settings)
            }
            BenchAction::Step { repeats, output, settings } => {
                measure("bench step", Measure::Step { repeats }, output, settings)
            }
            BenchAction::Data(arguments) => Parsed::BenchData(arguments),
        },
        Commands::Plan { budget, measured, pretrain_steps, output, settings } => {
            let what = Measure::Plan { measured, pretrain_steps, budget };
            measure("plan", what, output, settings)
        }
        Commands::Verify { output, settings } => {
            measure("verify", Measure::Verify, output, settings)
        }
        Commands::Hvp(arguments) => Parsed::Hvp(arguments),
        Commands::Spectrum(arguments) => {
            let settings = arguments.settings.clone();
            let mut invocation = Invocation::reading("spectrum", settings, own);
            let run = arguments.run.to_string_lossy().into_owned();
            invocation.overrides.push(("--run".to_owned(), "from", run));
            Parsed::Spectrum(invocation, arguments)
        }
        Commands::Import(arguments) => {
            let settings = arguments.settings.clone();
            Parsed::Import(Invocation::reading("import", settings, own), arguments)
        }
        Commands::Export(arguments) => Parsed::Export(arguments),
        Commands::Features(arguments) => Parsed::Features(arguments),
        Commands::Predict(arguments) => Parsed::Predict(arguments),
        Commands::Data { action: DataAction::Check(arguments) } => Parsed::CheckData(arguments),
        Commands::Inspect { path } => Parsed::Inspect(path),
        Commands::Runs { folder, output, action } => match action {
            None => Parsed::ListRuns(folder, output.format()),
            Some(RunsAction::Compare { runs, output }) => {
                Parsed::CompareRuns(runs, output.format())
            }
            Some(RunsAction::Best { folder, metric, lowest, output }) => {
                let which = if lowest { Best::Lowest } else { Best::Highest };
                Parsed::BestRun { folder, metric, which, format: output.format() }
            }
        },
        Commands::Config { action } => match action {
            ConfigAction::Show { preset } => Parsed::ShowPreset(preset),
            ConfigAction::Diff { first, second, output } => {
                Parsed::ConfigDiff([first, second], output.format())
            }
        },
    })
}
