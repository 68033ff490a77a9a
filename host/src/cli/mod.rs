//! The command line: flags become a validated job, the job's end becomes an exit code.
//!
//! | code | meaning |
//! |---|---|
//! | 0 | everything was done |
//! | 1 | it failed |
//! | 2 | flags or configuration are wrong; nothing was done |
//! | 130 | interrupted; the checkpoint is written and `--resume` continues |

mod args;
mod commands;
mod curvature;
mod data;
#[cfg(feature = "cube")]
mod device;
mod diff;
mod inspect;
mod interchange;
mod runs;
#[cfg(test)]
mod tests;
mod words;

use std::ffi::OsString;
use std::io::{ErrorKind, Write};
use std::path::Path;
use std::process::ExitCode;

use crate::error::{Error, Place, Result, fail};

use crate::backend::BackendError;
use crate::bench::{StageJob, StepJob};
use crate::config::{ConfigError, Layers, Preset, RunConfig};
use crate::curvature::SpectrumJob;
use crate::data::DataError;
use crate::interchange::Predictions;
use crate::plan::PlanJob;
use crate::progress::{INTERRUPTED, Interrupt, Verbosity, warn};
use crate::report::Format;
use crate::run::{Ending, Origin, Outcome, RunError, RunFolder, stored_settings, write_atomic};
use crate::text::{self, shown};
use crate::verify::VerifyJob;
use args::{Invocation, Measure, Parsed, Stage};
use commands::{Command, Job};
use curvature::SpectrumArguments;
use interchange::PredictArguments;
use words::Settings;

/// Runs the program on the process's arguments.
pub fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    let parsed = match args::parse(arguments.clone()) {
        Ok(parsed) => parsed,
        // Help and version come as errors too, with code 0.
        Err(usage) => {
            let _ = usage.print();
            return ExitCode::from(u8::try_from(usage.exit_code()).unwrap_or(1));
        }
    };
    match run(parsed, arguments) {
        Ok(Outcome::Finished) => ExitCode::SUCCESS,
        Ok(Outcome::Interrupted) => ExitCode::from(INTERRUPTED),
        Err(error) => {
            eprint!("{}", text::message(&message(&error)));
            ExitCode::from(code(&error))
        }
    }
}

fn run(parsed: Parsed, arguments: Vec<OsString>) -> Result<Outcome> {
    match parsed {
        Parsed::Inspect(path) => print(&inspect::describe(&path)?)?,
        Parsed::ShowPreset(Some(name)) => print(&Preset::named(&name)?.config().to_toml())?,
        Parsed::ShowPreset(None) => print(&Preset::list())?,
        Parsed::ConfigDiff(names, format) => print(&diff::describe(&names, format)?)?,
        Parsed::ListRuns(folder, format) => print(&runs::list(&folder, format)?)?,
        Parsed::CompareRuns(paths, format) => print(&runs::compare(&paths, format)?)?,
        Parsed::BestRun { folder, metric, which, format } => {
            print(&runs::best(&folder, &metric, which, format)?)?;
        }
        Parsed::Stage(stage, invocation) => return start(stage, &invocation, arguments),
        Parsed::Measure(invocation, what, format) => measure(&invocation, what, format)?,
        Parsed::BenchData(arguments) => {
            let (job, format) = arguments.job();
            print(&format.render(&crate::bench::data(&job)?)?)?;
        }
        Parsed::CheckData(arguments) => {
            let (text, verdict) = data::check(&arguments)?;
            print(&text)?;
            verdict?;
        }
        Parsed::Hvp(arguments) => {
            let (job, format) = arguments.job();
            print(&format.render(&crate::curvature::hvp(job)?)?)?;
        }
        Parsed::Spectrum(invocation, arguments) => return spectrum(&invocation, arguments),
        Parsed::Import(invocation, arguments) => {
            let config = resolve(&invocation)?;
            for line in crate::interchange::import(arguments.job(config))? {
                print(&format!("{line}\n"))?;
            }
        }
        Parsed::Export(arguments) => print(&crate::interchange::export(&arguments.job()?)?)?,
        Parsed::Features(arguments) => print(&crate::interchange::features(arguments.job()?)?)?,
        Parsed::Predict(arguments) => predict(&arguments)?,
    }
    Ok(Outcome::Finished)
}

/// Writes what an image is taken for; images that cannot be read are named at the end.
fn predict(arguments: &PredictArguments) -> Result<()> {
    let Predictions { text, unreadable, overlooked } =
        crate::interchange::predict(&arguments.job()?)?;
    match &arguments.out {
        Some(path) => write_atomic(path, text.as_bytes())?,
        None => print(&text)?,
    }
    overlooked.iter().for_each(|line| warn(&format!("warning: {line}")));
    if unreadable.is_empty() {
        return Ok(());
    }
    let count = unreadable.len();
    unreadable.iter().for_each(|reason| warn(&format!("warning: {reason}")));
    fail!("{count} images cannot be read, expected none: they have no line")
}

/// Checks everything, then hands over to the stage.
fn start(stage: Stage, invocation: &Invocation, arguments: Vec<OsString>) -> Result<Outcome> {
    let config = resolve(invocation)?;
    crate::backend::require(config.backend)?;
    let verbosity = invocation.settings.verbosity();
    prepare(&config, verbosity)?;
    let was_there = invocation.out.exists();
    let command = open(stage, invocation, &config)?;
    let writes = command.run().is_some();
    if let Some(run) = command.run() {
        let arguments = arguments.iter().map(|word| word.to_string_lossy().into_owned());
        run.begin(arguments.collect(), config.threads)?;
    }
    let interrupt = Interrupt::install().map_err(Error::failed).at("cannot catch Ctrl-C")?;
    if invocation.settings.verbose {
        eprint!("{}", config.to_lines());
    }
    let ended = commands::run(Job {
        command,
        config,
        accept_changed: invocation.accept_changed,
        interrupt,
        verbosity,
        strict: invocation.strict,
    });
    if writes {
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
        let (name, out) = (invocation.command, shown(&invocation.out));
        if writes {
            eprintln!("interrupted; to continue: bissl {name} --out {out} --resume");
        } else {
            eprintln!("interrupted");
        }
    }
    Ok(outcome)
}

/// Checks everything, measures, and prints.
fn measure(invocation: &Invocation, what: Measure, format: Format) -> Result<()> {
    let config = resolve(invocation)?;
    let from = match config.from.as_str() {
        "none" => None,
        path => Some(Origin::of(Path::new(path))?),
    };
    let verbosity = invocation.settings.verbosity();
    prepare(&config, verbosity)?;
    match what {
        Measure::Step { repeats } => {
            print(&format.render(&crate::bench::step(StepJob { config, repeats })?)?)
        }
        Measure::Stage { alternations, pretrain_steps, reference_errors } => {
            let job = StageJob {
                config,
                from,
                pretrain_steps,
                alternations,
                reference_errors,
                verbosity,
            };
            print(&format.render(&crate::bench::stage(job)?)?)
        }
        Measure::Plan { measured, pretrain_steps, budget } => {
            let job = PlanJob { config, from, pretrain_steps, measured, budget, verbosity };
            print(&format.render(&crate::plan::plan(job)?)?)
        }
        Measure::Verify => {
            let report = crate::verify::verify(VerifyJob { config, from, verbosity })?;
            print(&format.render(&report)?)?;
            Ok(report.verdict()?)
        }
    }
}

/// Checks everything, then looks at the run's checkpoints.
fn spectrum(invocation: &Invocation, arguments: SpectrumArguments) -> Result<Outcome> {
    let SpectrumArguments { run, checkpoints, eigenvalues, iterations, curvature, .. } = arguments;
    if iterations < 2 * eigenvalues {
        let message = format!(
            "found {iterations}, expected at least {}: twice --eigenvalues",
            2 * eigenvalues
        );
        return Err(ConfigError::Section { place: "--iterations".to_owned(), message }.into());
    }
    let config = resolve(invocation)?;
    let verbosity = invocation.settings.verbosity();
    prepare(&config, verbosity)?;
    let job = SpectrumJob {
        origin: Origin::of(&run)?,
        checkpoints,
        eigenvalues: eigenvalues.into(),
        iterations: iterations.into(),
        curvature: curvature.unwrap_or(config.align.curvature),
        config,
        verbosity,
        interrupt: Interrupt::install().map_err(Error::failed).at("cannot catch Ctrl-C")?,
    };
    let Some(report) = crate::curvature::spectrum(job)? else {
        eprintln!("interrupted");
        return Ok(Outcome::Interrupted);
    };
    if let Some(path) = arguments.plot {
        write_atomic(&path, report.chart().to_svg().as_bytes())?;
    }
    print(&arguments.output.format().render(&report)?)?;
    Ok(Outcome::Finished)
}

/// Base, file, flags, `--set`, in this order.
fn resolve(invocation: &Invocation) -> Result<RunConfig> {
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
    let (config, notes) = layers.resolve_with_notes()?;
    notes.iter().for_each(|note| eprintln!("{note}"));
    Ok(config)
}

/// The stored settings of the run that is resumed, else those of the run that is started from, else
/// a preset.
fn base(invocation: &Invocation) -> Result<Layers> {
    let Settings { preset, .. } = &invocation.settings;
    if invocation.resume {
        let Origin::Run(run) = Origin::of(&invocation.out)? else {
            return Err(ConfigError::Resume { path: invocation.out.clone() }.into());
        };
        return stored(&run);
    }
    if let Some(name) = preset {
        return Ok(Layers::preset(Preset::named(name)?));
    }
    if let Some(from) = invocation.from() {
        return stored(&Origin::of(Path::new(from))?.run_path());
    }
    Ok(Layers::preset(match invocation.command {
        "demo" => Preset::Demo,
        "bench stage" => Preset::BenchStage,
        "bench step" => Preset::Bench,
        _ => Preset::Default,
    }))
}

/// The settings of a run; says on the standard error which of them an older program did not store.
fn stored(run: &Path) -> Result<Layers> {
    let layers = stored_settings(run)?;
    let absent = layers.absent();
    if !absent.is_empty() {
        let (path, keys) = (run.join("config.toml"), absent.join(", "));
        let text = "written by an older version of bissl: defaults for";
        crate::progress::warn(&format!("warning: {}: {text} {keys}", shown(&path)));
    }
    Ok(layers)
}

fn open(stage: Stage, invocation: &Invocation, config: &RunConfig) -> Result<Command> {
    let from = || -> Result<Origin> {
        if config.from == "none" {
            let command = invocation.command;
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
    Ok(match stage {
        Stage::Demo => Command::Demo { run: run()? },
        Stage::Pretrain => Command::Pretrain { run: run()? },
        Stage::Align => Command::Align { from: from()?, run: run()? },
        Stage::Finetune => Command::Finetune { from: from()?, run: run()? },
        Stage::Evaluate => Command::Evaluate { from: from()? },
    })
}

/// Starts the threads of setting `threads`, and sets up what a device keeps between processes. Once
/// a process.
///
/// # Errors
/// The system has no threads left; see [`device::prepare`].
fn prepare(config: &RunConfig, verbosity: Verbosity) -> Result<()> {
    if config.threads > 0 {
        rayon::ThreadPoolBuilder::new()
            .num_threads(config.threads)
            .build_global()
            .map_err(Error::failed)
            .at("cannot start the threads of setting `threads`")?;
    }
    #[cfg(feature = "cube")]
    device::prepare(config.backend, verbosity)?;
    #[cfg(not(feature = "cube"))]
    let _ = verbosity;
    Ok(())
}

/// Writes to the standard output; a reader that has gone away is no error.
fn print(text: &str) -> Result<()> {
    match std::io::stdout().write_all(text::message(text).as_bytes()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        result => result.at("cannot write to the standard output"),
    }
}

/// `error: …` and what it was caused by, a line each.
fn message(error: &Error) -> String {
    let mut text = format!("error: {error}\n");
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        let words = error.to_string();
        // Some errors state their cause themselves.
        if !text.contains(&words) {
            text += &format!("  because: {words}\n");
        }
        cause = error.source();
    }
    text
}

/// 2 where the user asked for something impossible, 1 where something possible failed.
fn code(error: &Error) -> u8 {
    match error.kind() {
        Error::Config(_)
        | Error::Setting(_)
        | Error::Backend(BackendError::NotBuilt { .. })
        | Error::Data(
            DataError::MissingFolder { .. }
            | DataError::UnknownFormat { .. }
            | DataError::AmbiguousFormat { .. },
        )
        | Error::Run(
            RunError::Occupied { .. }
            | RunError::Differs { .. }
            | RunError::NotFound { .. }
            | RunError::Config(_),
        ) => 2,
        _ => 1,
    }
}
