//! The command `bissl-firmware-sim`.

mod adapt;
mod commands;
#[cfg(feature = "decode")]
mod decode;
mod memory_table;
mod port_table;

use std::fs::File;
use std::io::{BufReader, BufWriter, ErrorKind, Write};
use std::path::{Path as FilePath, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use bissl_core::ConjugateGradient;
use bissl_firmware::{
    Buffer, Configuration, DigitsDevice, Lengths, Settings, SmallDigitsDevice, Tick, memory_table,
};
use bissl_firmware_sim::{
    Comparison, Digits, Outcome, Path, compare, record, replay, small_digits_weights, start,
};
use clap::{Parser, ValueEnum, value_parser};

use crate::commands::Command;

/// Train the simulated microcontroller on 8×8 handwritten digits.
///
/// The device pretrains a small backbone on unlabelled frames (SimCLR), then goes two ways with the
/// same fine-tuning at the end: through the bilevel stage, and straight. Printed are the held-out
/// accuracies, the memory of the device, and a hash of its whole state: the same arguments give the
/// same hash on every processor and in every build profile.
#[derive(Debug, Parser)]
#[command(version, about, args_conflicts_with_subcommands = true)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    /// Networks and batches of the device
    #[arg(long, value_enum, default_value_t = Device::Digits)]
    device: Device,
    /// Seed of weights, batch order and augmentation
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Alternations of the bilevel stage
    #[arg(long, value_name = "T", value_parser = value_parser!(u32).range(1..))]
    #[arg(default_value_t = Lengths::default().alternations)]
    alternations: u32,
    /// Steps of pretraining
    #[arg(long, value_name = "N", value_parser = value_parser!(u32).range(1..))]
    #[arg(default_value_t = Lengths::default().pretrain)]
    pretrain_steps: u32,
    /// Steps of the downstream head's warm-up before the bilevel stage
    #[arg(long, value_name = "N", value_parser = value_parser!(u32).range(1..))]
    #[arg(default_value_t = Lengths::default().warm_up)]
    warm_up_steps: u32,
    /// Steps of fine-tuning, on both paths
    #[arg(long, value_name = "N", value_parser = value_parser!(u32).range(1..))]
    #[arg(default_value_t = Lengths::default().finetune)]
    finetune_steps: u32,
    /// Print every request, reply and event to standard error
    #[arg(long)]
    log: bool,
    /// Print the result as one JSON object
    #[arg(long)]
    json: bool,
    /// Print the device's memory table and train nothing
    #[arg(long, conflicts_with_all = ["record", "replay", "log"])]
    memory: bool,
    /// Train to the end of the bilevel stage and write its request/reply trace to FILE
    #[arg(long, value_name = "FILE", conflicts_with_all = ["replay", "log"])]
    record: Option<PathBuf>,
    /// Replay a request/reply trace through the core, compare every request, and train nothing
    #[arg(long, value_name = "FILE", conflicts_with = "log")]
    replay: Option<PathBuf>,
}

/// The devices of `bissl_firmware` that see digits.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Device {
    /// For 128 KiB of RAM
    Digits,
    /// For 16 KiB
    SmallDigits,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let lengths = Lengths {
        pretrain: arguments.pretrain_steps,
        warm_up: arguments.warm_up_steps,
        alternations: arguments.alternations,
        finetune: arguments.finetune_steps,
        ..Lengths::default()
    };
    let settings = match Settings::new(arguments.seed, lengths) {
        Ok(settings) => settings,
        Err(error) => {
            eprintln!("error: {error}");
            return ExitCode::from(2);
        }
    };
    let digits = Digits::embedded();
    let result = match arguments.device {
        Device::Digits => run::<DigitsDevice>(&arguments, settings, &digits),
        Device::SmallDigits => small_digits_weights().and_then(|weights| {
            let digits = digits.with_weights(&weights);
            run::<SmallDigitsDevice>(&arguments, settings.from_flash(), &digits)
        }),
    };
    match result.and_then(|text| print(&text)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Runs the command; returns the text for standard output.
fn run<C: Configuration<Solver = ConjugateGradient>>(
    arguments: &Arguments,
    settings: Settings,
    digits: &Digits,
) -> anyhow::Result<String> {
    if let Some(command) = &arguments.command {
        return command.run();
    }
    if arguments.memory {
        let table = memory_table::<C>();
        return Ok(if arguments.json { memory_json(&table) } else { memory_text(&table) });
    }
    if let Some(path) = &arguments.replay {
        return replay_file(path, arguments.json);
    }
    if let Some(path) = &arguments.record {
        let open = || format!("cannot create {}", path.display());
        let file = BufWriter::new(File::create(path).with_context(open)?);
        let requests = record(&mut start::<C>(digits, settings), file)
            .with_context(|| format!("recording to {}", path.display()))?;
        return Ok(if arguments.json {
            format!("{}\n", serde_json::json!({ "requests": requests }))
        } else {
            format!("{requests} requests written to {}\n", path.display())
        });
    }
    let mut silent = |_: Path, _: &Tick| {};
    let mut log = |path: Path, tick: &Tick| {
        // If the reader of the log is gone, the training still goes on.
        let _ = writeln!(std::io::stderr(), "{path:?} {tick:?}");
    };
    let comparison = if arguments.log {
        compare::<C>(digits, settings, &mut log)
    } else {
        compare::<C>(digits, settings, &mut silent)
    }?;
    let table = memory_table::<C>();
    Ok(if arguments.json {
        let memory = memory_value(&table);
        let value =
            serde_json::json!({ "seed": arguments.seed, "paths": comparison, "memory": memory });
        format!("{value}\n")
    } else {
        format!("{}\n{}", memory_text(&table), comparison_text(&comparison))
    })
}

fn replay_file(path: &FilePath, json: bool) -> anyhow::Result<String> {
    let file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
    let report = replay(BufReader::new(file)).with_context(|| path.display().to_string())?;
    Ok(if json {
        format!("{}\n", serde_json::to_string(&report)?)
    } else {
        let end = match report.completion {
            Some(completion) => format!("the machine ended: {completion:?}"),
            None => "the trace stops before the machine's end".to_owned(),
        };
        format!("{} requests equal, {} events; {end}\n", report.requests, report.events)
    })
}

fn memory_text(table: &[Buffer]) -> String {
    let mut text = format!("{:<54} {:>5} {:>8} {:>8}\n", "buffer", "count", "bytes", "total");
    for buffer in table {
        let Buffer { name, count, bytes } = buffer;
        text += &format!("{name:<54} {count:>5} {bytes:>8} {:>8}\n", buffer.total());
    }
    let total: u32 = table.iter().map(Buffer::total).sum();
    text + &format!("{:<54} {:>5} {:>8} {total:>8}\n", "device", "", "")
}

fn memory_value(table: &[Buffer]) -> serde_json::Value {
    let lines: Vec<_> = table
        .iter()
        .map(|buffer| {
            let Buffer { name, count, bytes } = buffer;
            serde_json::json!({ "buffer": name, "count": count, "bytes": bytes })
        })
        .collect();
    let total: u32 = table.iter().map(Buffer::total).sum();
    serde_json::json!({ "buffers": lines, "total": total })
}

fn memory_json(table: &[Buffer]) -> String {
    format!("{}\n", memory_value(table))
}

fn comparison_text(comparison: &Comparison) -> String {
    let line = |name: &str, outcome: &Outcome| {
        let Outcome { correct, held_out, ticks, hash } = outcome;
        let accuracy = outcome.accuracy();
        format!("{name:<46} {accuracy:>8.3} {correct:>5}/{held_out:<4} {ticks:>8} {hash:016x}\n")
    };
    format!("{:<46} {:>8} {:>10} {:>8} {}\n", "path", "accuracy", "held out", "ticks", "state hash")
        + &line("pretrain, warm up, align, fine-tune", &comparison.aligned)
        + &line("pretrain, fine-tune", &comparison.conventional)
}

/// Writes to standard output; it is no failure if the reader is gone.
fn print(text: &str) -> anyhow::Result<()> {
    match std::io::stdout().lock().write_all(text.as_bytes()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(error).context("cannot write to standard output")
        }
        _ => Ok(()),
    }
}
