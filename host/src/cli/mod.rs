//! The command line: flags become a validated [`Job`], the job's end becomes an exit code.
//!
//! | code | meaning |
//! |---|---|
//! | 0 | everything was done |
//! | 1 | it failed |
//! | 2 | flags or configuration are wrong; nothing was done |
//! | 130 | interrupted; the checkpoint is written and `--resume` continues |

mod args;
mod curvature;
mod data;
#[cfg(feature = "cube")]
mod device;
mod diff;
mod inspect;
mod interchange;
mod runs;
mod table;
#[cfg(test)]
mod tests;

use std::ffi::OsString;
use std::io::{ErrorKind, Write};
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context;
use serde::de::DeserializeOwned;

pub use table::Table;

use crate::backend::BackendError;
use crate::config::{BackendName, ConfigError, Layers, Preset, RunConfig};
use crate::data::DataError;
use crate::measure::{Format, MeasureJob, Measured, Measurement, SpectrumJob};
use crate::progress::{INTERRUPTED, Interrupt, Progress, Verbosity};
use crate::run::{Checkpoint, Checkpoints, Ending, Origin, Outcome, RunError, RunFolder};
use args::{Invocation, Measure, Parsed, Settings, StageName};
use curvature::SpectrumArguments;

/// What a stage needs: everything checked, the folder of the run open.
#[derive(Debug)]
pub struct Job {
    /// What is to be done.
    pub command: Command,
    /// Every setting.
    pub config: RunConfig,
    /// Asked between steps.
    pub interrupt: Interrupt,
    /// How much is shown.
    pub verbosity: Verbosity,
}

impl Job {
    /// Progress of a stage as this job shows it.
    pub fn progress(&self, label: &str, total: u64, done: u64) -> Progress {
        Progress::new(label, total, done, self.verbosity)
    }

    /// Where stage `stage` of this run stands: its newest valid checkpoint, if there is any.
    ///
    /// Prints a warning for each that is passed over.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub fn newest<S: DeserializeOwned>(
        &self,
        checkpoints: &Checkpoints,
        stage: &str,
        architecture: &str,
    ) -> Result<Option<Checkpoint<S>>, RunError> {
        let newest = checkpoints.newest(Some(stage), Some(architecture))?;
        for error in &newest.passed_over {
            eprintln!("warning: {error}");
        }
        Ok(newest.checkpoint)
    }
}

/// What is to be done. A `run` may hold checkpoints already: then it is continued.
#[derive(Debug)]
pub enum Command {
    /// Paired comparison with and without the bilevel stage.
    Demo {
        /// Where results go.
        run: RunFolder,
    },
    /// Self-supervised pretraining from initial weights.
    Pretrain {
        /// Where results go.
        run: RunFolder,
    },
    /// Head warm-up, then the bilevel stage.
    Align {
        /// Where results go.
        run: RunFolder,
        /// Pretrained weights.
        from: Origin,
    },
    /// Fine-tuning with a fresh head.
    Finetune {
        /// Where results go.
        run: RunFolder,
        /// Pretrained or aligned weights.
        from: Origin,
    },
    /// Held-out accuracy, linear probe and nearest neighbours; writes nothing.
    Evaluate {
        /// The weights.
        from: Origin,
    },
}

impl Command {
    /// The run that it writes.
    fn run(&self) -> Option<&RunFolder> {
        match self {
            Self::Demo { run }
            | Self::Pretrain { run }
            | Self::Align { run, .. }
            | Self::Finetune { run, .. } => Some(run),
            Self::Evaluate { .. } => None,
        }
    }
}

/// Runs the program on the process's arguments.
pub fn main() -> ExitCode {
    match run(std::env::args_os()) {
        Ok(Outcome::Finished) => ExitCode::SUCCESS,
        Ok(Outcome::Interrupted) => ExitCode::from(INTERRUPTED),
        Err(error) => match error.downcast_ref::<clap::Error>() {
            Some(usage) => {
                // Help and version come as errors too, with code 0.
                let _ = usage.print();
                ExitCode::from(u8::try_from(usage.exit_code()).unwrap_or(1))
            }
            None => {
                eprint!("{}", message(&error));
                ExitCode::from(code(&error))
            }
        },
    }
}

fn run(arguments: impl IntoIterator<Item = OsString>) -> anyhow::Result<Outcome> {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    match args::parse(arguments.clone())? {
        Parsed::Inspect(path) => print(&inspect::describe(&path)?)?,
        Parsed::ShowPreset(Some(name)) => print(&Preset::named(&name)?.to_toml())?,
        Parsed::ShowPreset(None) => print(&Preset::list())?,
        Parsed::ConfigDiff(names, format) => print(&diff::describe(&names, format)?)?,
        Parsed::ListRuns(folder, format) => print(&runs::list(&folder, format)?)?,
        Parsed::CompareRuns(paths, format) => print(&runs::compare(&paths, format)?)?,
        Parsed::BestRun { folder, metric, which, format } => {
            print(&runs::best(&folder, &metric, which, format)?)?;
        }
        Parsed::Stage(invocation) => return start(&invocation, arguments),
        Parsed::Measure(invocation, measure, format) => {
            let measured = measured(&invocation, measure, format)?;
            print(&measured.text)?;
            measured.verdict?;
        }
        Parsed::BenchData(arguments) => print(&crate::measure::data(&arguments.job())?)?,
        Parsed::CheckData(arguments) => {
            let (text, verdict) = data::check(&arguments)?;
            print(&text)?;
            verdict?;
        }
        Parsed::Hvp(arguments) => print(&crate::measure::hvp(arguments.job())?)?,
        Parsed::Spectrum(invocation, arguments) => return spectrum(&invocation, arguments),
        Parsed::Import(invocation, arguments) => {
            let config = resolve(&invocation)?;
            for line in crate::interchange::import(arguments.job(config))? {
                print(&format!("{line}\n"))?;
            }
        }
        Parsed::Export(arguments) => print(&crate::interchange::export(&arguments.job()?)?)?,
        Parsed::Features(arguments) => print(&crate::interchange::features(arguments.job()?)?)?,
    }
    Ok(Outcome::Finished)
}

/// Checks everything, then hands over to the stage.
fn start(invocation: &Invocation, arguments: Vec<OsString>) -> anyhow::Result<Outcome> {
    let config = resolve(invocation)?;
    crate::backend::require(config.backend)?;
    let settings = &invocation.settings;
    let verbosity = if settings.quiet { Verbosity::Quiet } else { Verbosity::Progress };
    prepare(config.backend, verbosity)?;
    let was_there = invocation.out.exists();
    let command = open(invocation, &config)?;
    if let Some(run) = command.run() {
        let arguments = arguments.iter().map(|word| word.to_string_lossy().into_owned());
        run.begin(arguments.collect(), config.threads)?;
    }
    let interrupt = Interrupt::install().context("cannot catch Ctrl-C")?;
    if verbosity == Verbosity::Progress {
        eprint!("{}", config.to_lines());
    }
    let ended = crate::stage::run(Job { command, config, interrupt, verbosity });
    if invocation.writes() {
        let ending = ended.as_ref().map_or(Ending::Failed, |outcome| (*outcome).into());
        let written = RunFolder::end(&invocation.out, ending);
        if ended.is_ok() {
            written?;
        } else if !invocation.resume {
            // The first failure is the one to report.
            let _ = RunFolder::discard_unused(&invocation.out, was_there);
        }
    }
    let outcome = ended?;
    if outcome == Outcome::Interrupted {
        let (name, out) = (invocation.stage.name(), invocation.out.display());
        if invocation.writes() {
            eprintln!("interrupted; to continue: bissl {name} --out {out} --resume");
        } else {
            eprintln!("interrupted");
        }
    }
    Ok(outcome)
}

/// Checks everything, then measures.
fn measured(invocation: &Invocation, measure: Measure, format: Format) -> anyhow::Result<Measured> {
    let config = resolve(invocation)?;
    let from = || match config.from.as_str() {
        "none" => Ok(None),
        path => Origin::of(Path::new(path)).map(Some),
    };
    let measurement = match measure {
        Measure::Step { repeats } => Measurement::Step { repeats },
        Measure::Stage { alternations, pretrain_steps, reference_errors } => {
            Measurement::Stage { from: from()?, pretrain_steps, alternations, reference_errors }
        }
        Measure::Plan { measured, pretrain_steps, budget } => {
            Measurement::Plan { from: from()?, pretrain_steps, measured, budget }
        }
        Measure::Verify => Measurement::Verify { from: from()? },
    };
    let quiet = invocation.settings.quiet;
    let verbosity = if quiet { Verbosity::Quiet } else { Verbosity::Progress };
    prepare(config.backend, verbosity)?;
    crate::measure::run(MeasureJob { measurement, config, verbosity, format })
}

/// Checks everything, then looks at the run's checkpoints.
fn spectrum(invocation: &Invocation, arguments: SpectrumArguments) -> anyhow::Result<Outcome> {
    let SpectrumArguments { run, checkpoints, eigenvalues, iterations, curvature, .. } = arguments;
    if iterations < 2 * eigenvalues {
        let message = format!(
            "found {iterations}, expected at least {}: twice --eigenvalues",
            2 * eigenvalues
        );
        return Err(ConfigError::Section { place: "--iterations".to_owned(), message }.into());
    }
    let config = resolve(invocation)?;
    let verbosity = if invocation.settings.quiet { Verbosity::Quiet } else { Verbosity::Progress };
    prepare(config.backend, verbosity)?;
    let job = SpectrumJob {
        origin: Origin::of(&run)?,
        which: checkpoints,
        eigenvalues: eigenvalues.into(),
        iterations: iterations.into(),
        curvature: curvature.unwrap_or(config.align.curvature),
        config,
        json: arguments.json,
        plot: arguments.plot,
        verbosity,
        interrupt: Interrupt::install().context("cannot catch Ctrl-C")?,
    };
    match crate::measure::spectrum(job)? {
        Some(text) => {
            print(&text)?;
            Ok(Outcome::Finished)
        }
        None => {
            eprintln!("interrupted");
            Ok(Outcome::Interrupted)
        }
    }
}

/// Base, file, flags, `--set`, in this order.
fn resolve(invocation: &Invocation) -> anyhow::Result<RunConfig> {
    let Invocation { settings, overrides, .. } = invocation;
    let mut layers = base(invocation)?;
    if let Some(path) = &settings.config {
        layers = layers.file(path)?;
    }
    for (flag, key, value) in overrides {
        layers = layers.flag(flag, key, value);
    }
    for assignment in &settings.set {
        layers = layers.set(assignment)?;
    }
    Ok(layers.resolve()?)
}

/// The stored settings of the run that is resumed, else those of the run that is started from, else a
/// preset.
fn base(invocation: &Invocation) -> anyhow::Result<Layers> {
    let Settings { preset, .. } = &invocation.settings;
    if invocation.resume {
        let Origin::Run(run) = Origin::of(&invocation.out)? else {
            return Err(ConfigError::Resume { path: invocation.out.clone() }.into());
        };
        return Ok(Layers::stored(&run.join("config.toml"))?);
    }
    if let Some(name) = preset {
        return Ok(Layers::preset(Preset::named(name)?));
    }
    if let Some(from) = invocation.from() {
        return Ok(Layers::stored(&Origin::of(Path::new(from))?.config_path())?);
    }
    Ok(Layers::preset(match invocation.stage {
        StageName::Demo => Preset::Demo,
        StageName::BenchStage => Preset::BenchStage,
        StageName::BenchStep => Preset::Bench,
        _ => Preset::Default,
    }))
}

fn open(invocation: &Invocation, config: &RunConfig) -> anyhow::Result<Command> {
    let from = || -> anyhow::Result<Origin> {
        if config.from == "none" {
            let command = invocation.stage.name();
            return Err(ConfigError::NoOrigin { command }.into());
        }
        let origin = Origin::of(Path::new(&config.from))?;
        origin.checkpoint_path()?;
        Ok(origin)
    };
    let out = &invocation.out;
    let run = || -> Result<RunFolder, RunError> {
        if invocation.resume {
            RunFolder::resume(out, config)
        } else {
            RunFolder::create(out, config)
        }
    };
    // The origin first: a run that cannot start leaves no folder.
    Ok(match invocation.stage {
        StageName::Demo => Command::Demo { run: run()? },
        StageName::Pretrain => Command::Pretrain { run: run()? },
        StageName::Align => Command::Align { from: from()?, run: run()? },
        StageName::Finetune => Command::Finetune { from: from()?, run: run()? },
        StageName::Evaluate => Command::Evaluate { from: from()? },
        StageName::BenchStage
        | StageName::BenchStep
        | StageName::Plan
        | StageName::Verify
        | StageName::Spectrum
        | StageName::Import => {
            unreachable!("measurements open no run: see `measured` and `spectrum`")
        }
    })
}

/// Sets up what a device keeps between processes.
///
/// # Errors
/// See [`device::prepare`].
#[cfg(feature = "cube")]
fn prepare(backend: BackendName, verbosity: Verbosity) -> anyhow::Result<()> {
    device::prepare(backend, verbosity)
}

/// Without devices nothing is kept.
#[cfg(not(feature = "cube"))]
#[expect(clippy::unnecessary_wraps, reason = "as with devices")]
fn prepare(_: BackendName, _: Verbosity) -> anyhow::Result<()> {
    Ok(())
}

/// Writes to the standard output; a reader that has gone away is no error.
fn print(text: &str) -> anyhow::Result<()> {
    match std::io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        result => result.context("cannot write to the standard output"),
    }
}

/// `error: …` and what it was caused by, a line each.
fn message(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain() {
        let cause = cause.to_string();
        // Some errors state their cause themselves.
        if text.is_empty() {
            text = format!("error: {cause}\n");
        } else if !text.contains(&cause) {
            text += &format!("  because: {cause}\n");
        }
    }
    text
}

/// 2 where the user asked for something impossible, 1 where something possible failed.
fn code(error: &anyhow::Error) -> u8 {
    let is_usage = error.chain().any(|cause| {
        cause.is::<ConfigError>()
            || cause.is::<bissl_core::ConfigError>()
            || matches!(cause.downcast_ref(), Some(BackendError::NotBuilt { .. }))
            || matches!(
                cause.downcast_ref(),
                Some(
                    DataError::MissingFolder { .. }
                        | DataError::UnknownFormat { .. }
                        | DataError::AmbiguousFormat { .. }
                )
            )
            || matches!(
                cause.downcast_ref(),
                Some(
                    RunError::Occupied { .. }
                        | RunError::Differs { .. }
                        | RunError::NotFound { .. }
                        | RunError::Config(_)
                )
            )
    });
    if is_usage { 2 } else { 1 }
}
