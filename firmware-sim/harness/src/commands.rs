//! What the subcommands print.

use bissl_firmware::{DigitsDevice, Lengths, Settings};
use bissl_firmware_sim::{
    Cadence, Coverage, CutError, Digits, Endings, FaultFailure, Wear, explore, explore_flips,
    explore_twice, shortest, simulate_faults, start, wear,
};
use clap::{Args, Subcommand, value_parser};

/// Erasures of a page that makers of microcontrollers guarantee in their data sheets.
const ENDURANCE: u32 = 10_000;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Cut the power at every byte of every checkpoint of a short training, cut it twice, flip bits
    PowerCuts(PowerCuts),
    /// Train with a sensor, products, time or replies that are not as they should be
    Faults(Faults),
    /// Print what checkpoints in the bilevel stage cost a flash
    Wear(WearArguments),
    /// Print the bytes of every device, and what batches and solvers change about them
    Memory(crate::memory_table::Memory),
    /// Align a pretrained network with a task on the device, and compare with plain fine-tuning
    Adapt(crate::adapt::Adapt),
    /// Pretrain a network of a device here, and write it as a flash image
    Pretrain(crate::adapt::Pretrain),
    /// Train with matrix products of short integers, and print accuracies and errors of
    /// hypergradients
    Ports(crate::port_table::Ports),
    /// Check the device's arithmetic, or that of a port, against the laws of the conformance kit
    Conformance(crate::port_table::Conformance),
    /// Print the log of a board's image, or of bissl-firmware-log
    #[cfg(feature = "decode")]
    DecodeLog(crate::decode::DecodeLog),
}

/// A checkpoint is written after every tick of the shortest training that has every stage. At each
/// of its bytes the power is cut, a new device recovers from what the flash then holds, and the
/// hash of its whole state must be that of the uninterrupted training, at the checkpoint before or
/// at the new one.
#[derive(Debug, Args)]
pub(crate) struct PowerCuts {
    /// Seed of the training, of torn words and pages, of the second cuts and of the flipped bits
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Pairs of cuts after each tick
    #[arg(long, value_name = "N", default_value_t = 10)]
    pairs: u32,
    /// Flip a bit of each N-th byte of a checkpoint
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = value_parser!(u32).range(1..))]
    flip_every: u32,
    /// Of a page with a valid commit word that is erased from its end, look at N bytes
    #[arg(long, value_name = "N", default_value_t = 64, conflicts_with = "every_byte")]
    thinned: u32,
    /// Look at each byte there as well, which takes minutes
    #[arg(long)]
    every_byte: bool,
    /// Print the result as one JSON object
    #[arg(long)]
    json: bool,
}

/// Each seed draws one fault and puts it into a short training, twice: a bad frame, a stuck sensor,
/// a matrix product that is too large, a time budget that is over, or wrong replies. The device
/// must stop with an error that stays, or end in a right state; a failure prints its seed and how
/// to replay it.
#[derive(Debug, Args)]
pub(crate) struct Faults {
    /// The first seed
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Seeds
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = value_parser!(u64).range(1..))]
    count: u64,
    /// Print the result as one JSON object
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct WearArguments {
    /// Seed of the training
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Alternations of the bilevel stage
    #[arg(long, value_name = "T", value_parser = value_parser!(u32).range(1..))]
    #[arg(default_value_t = Lengths::default().alternations)]
    alternations: u32,
    /// Write a checkpoint after every N ticks; without it, after every alternation
    #[arg(long, value_name = "N", value_parser = value_parser!(u64).range(1..))]
    every_ticks: Option<u64>,
    /// Print the result as one JSON object
    #[arg(long)]
    json: bool,
}

impl Command {
    /// Runs the subcommand; returns the text for standard output.
    pub(crate) fn run(&self) -> anyhow::Result<String> {
        match self {
            Self::PowerCuts(arguments) => Ok(power_cuts(arguments)?),
            Self::Faults(arguments) => Ok(faults(arguments)?),
            Self::Wear(arguments) => wear_of_pages(arguments),
            Self::Memory(arguments) => arguments.run(),
            Self::Adapt(arguments) => arguments.run(),
            Self::Pretrain(arguments) => arguments.run(),
            Self::Ports(arguments) => arguments.run(),
            Self::Conformance(arguments) => arguments.run(),
            #[cfg(feature = "decode")]
            Self::DecodeLog(arguments) => arguments.run(),
        }
    }
}

fn power_cuts(arguments: &PowerCuts) -> Result<String, CutError> {
    let PowerCuts { seed, pairs, flip_every, thinned, every_byte, json } = *arguments;
    let digits = Digits::embedded();
    let device = || start::<DigitsDevice>(&digits, shortest(seed));
    let coverage = if every_byte { Coverage::EveryByte } else { Coverage::Thinned(thinned) };
    let once = explore::<_, _, _, 4096, 4>(device(), seed, coverage)?;
    let twice = explore_twice::<_, _, _, 4096, 4>(device(), seed, |_| pairs)?;
    let bytes = |count| (0..count).step_by(flip_every as usize);
    let flips = explore_flips::<_, _, _, _, 4096, 4>(device(), seed, bytes)?;
    if json {
        let value =
            serde_json::json!({ "seed": seed, "once": once, "twice": twice, "flips": flips });
        return Ok(format!("{value}\n"));
    }
    let new = once.cuts - once.left_old;
    Ok(format!(
        "{:>10} checkpoints, one after each tick\n\
         {:>10} pages erased or blocks written\n\
         {:>10} power cuts: {} left the state before, {new} the new one, none another\n\
         {:>10} recoveries run; the others would have read the same bytes as one of these\n\
         {:>10} pairs of cuts; none left another state than the two that it may\n\
         {flips:>10} flipped bits, each found\n",
        once.checkpoints, once.changes, once.cuts, once.left_old, once.recoveries, twice.pairs
    ))
}

fn faults(arguments: &Faults) -> Result<String, FaultFailure> {
    let Faults { seed, count, json } = *arguments;
    let endings = simulate_faults(&Digits::embedded(), seed, count)?;
    if json {
        return Ok(format!(
            "{}\n",
            serde_json::json!({ "seed": seed, "count": count, "endings": endings })
        ));
    }
    let mut text = format!(
        "{:<24} {:>10} {:>14} {:>20}\n",
        "fault", "stopped", "right state", "other finite state"
    );
    for (name, Endings { stopped, same, other }) in &endings {
        text += &format!("{name:<24} {stopped:>10} {same:>14} {other:>20}\n");
    }
    Ok(text)
}

fn wear_of_pages(arguments: &WearArguments) -> anyhow::Result<String> {
    let WearArguments { seed, alternations, every_ticks, json } = *arguments;
    let settings = Settings::new(seed, Lengths { alternations, ..Lengths::default() })?;
    let cadence = every_ticks.map_or(Cadence::Alternations, Cadence::Ticks);
    let digits = Digits::embedded();
    let device = || start::<DigitsDevice>(&digits, settings);
    let table = [
        wear::<_, _, _, 2_048, 4>(device(), cadence)?,
        wear::<_, _, _, 4_096, 4>(device(), cadence)?,
        wear::<_, _, _, 16_384, 4>(device(), cadence)?,
        wear::<_, _, _, 65_536, 4>(device(), cadence)?,
    ];
    if let (Some(every), [Wear { checkpoints: 0, ticks, .. }, ..]) = (every_ticks, &table) {
        anyhow::bail!(
            "--every-ticks: found {every}, expected at most the {ticks} ticks of the stage"
        );
    }
    Ok(if json { format!("{}\n", serde_json::to_string(&table)?) } else { wear_text(&table) })
}

fn wear_text(table: &[Wear]) -> String {
    let mut text = String::new();
    if let Some(first) = table.first() {
        let Wear { alternations, ticks, checkpoints, state_bytes, written_bytes, .. } = first;
        let each = state_bytes.checked_div(u64::from(*checkpoints)).unwrap_or(0);
        text += &format!(
            "{alternations} alternations, {ticks} ticks, {checkpoints} checkpoints of {each} bytes of \
             state\n{written_bytes} bytes written, {:.4} for each byte of state\n\n",
            first.write_amplification()
        );
    }
    text += &format!(
        "{:>11} {:>11} {:>24} {:>34}\n",
        "page, bytes", "slot, pages", "erasures per alternation", "alternations to 10 000 erasures"
    );
    for wear in table {
        text += &format!(
            "{:>11} {:>11} {:>24.2} {:>34.0}\n",
            wear.page_bytes,
            wear.slot_pages,
            wear.erasures_per_alternation(),
            wear.alternations_to_wear(ENDURANCE)
        );
    }
    text
}
