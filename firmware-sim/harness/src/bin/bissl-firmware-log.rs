//! Writes the training of the simulated device as defmt frames to standard output. The records are
//! those of a board.
//!
//! This is a separate program, since defmt needs a logger and a place for its format strings in the
//! ELF file (`build.rs`, Linux only). `bissl-firmware-sim decode-log` turns the frames into text,
//! with this program as the image.

#[path = "../../../boards/src/log.rs"]
mod log;

use std::process::ExitCode;

use bissl_firmware::{DigitsDevice, Lengths, Settings, Tick};
use bissl_firmware_sim::{Digits, start};
use clap::Parser;

mod transport {
    use std::io::Write;

    /// Writes a piece of a frame to standard output.
    pub(crate) fn write(bytes: &[u8]) {
        if let Err(error) = std::io::stdout().write_all(bytes) {
            eprintln!("error: cannot write to standard output: {error}");
            std::process::exit(1);
        }
    }
}

/// Train the simulated microcontroller and write its log as defmt frames to standard output.
///
/// It takes the way through the bilevel stage, as `bissl-firmware-sim` does with the same
/// arguments.
#[derive(Debug, Parser)]
#[command(version, about)]
struct Arguments {
    /// Seed of weights, batch order and augmentation
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Alternations of the bilevel stage
    #[arg(long, value_name = "T", default_value_t = Lengths::default().alternations)]
    alternations: u32,
    /// Steps of pretraining
    #[arg(long, value_name = "N", default_value_t = Lengths::default().pretrain)]
    pretrain_steps: u32,
    /// Steps of the downstream head's warm-up before the bilevel stage
    #[arg(long, value_name = "N", default_value_t = Lengths::default().warm_up)]
    warm_up_steps: u32,
    /// Steps of fine-tuning
    #[arg(long, value_name = "N", default_value_t = Lengths::default().finetune)]
    finetune_steps: u32,
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
    let mut simulated = start::<DigitsDevice>(&digits, settings);
    let end = loop {
        match simulated.tick() {
            Ok(Tick::Idle) => break simulated.device.hash(),
            Ok(tick) => log::tick(simulated.device.ticks(), &tick),
            Err(fault) => break Err(fault),
        }
    };
    let ticks = simulated.device.ticks();
    match end {
        Ok(hash) => {
            log::finished(ticks, hash);
            ExitCode::SUCCESS
        }
        Err(fault) => {
            log::stopped(ticks, &fault);
            eprintln!("error: device stopped at tick {ticks}: {fault}");
            ExitCode::FAILURE
        }
    }
}
