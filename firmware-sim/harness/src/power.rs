//! Power cuts: the moments at which they are tried, and what recovery makes of them.

mod explore;
mod flips;
mod twice;
mod wear;

use bissl_firmware::{
    CheckpointError, Checkpoints, Configuration, Fault, FrameSource, Kernels, Lengths, Program,
    Saved, Settings, SlotState,
};

pub use self::explore::{Coverage, Explored, explore};
pub use self::flips::explore_flips;
pub use self::twice::{Twice, explore_twice};
pub use self::wear::{Cadence, Wear, wear};
use crate::flash::{FlashError, SimulatedFlash};
use crate::{Path, SimulatedDevice, Stopped};

/// Domain of the streams that determine where power is cut and which bits flip.
const CUTS: u16 = 0xc075;

/// Pages that the two slots take in a flash with pages of `PAGE` bytes.
pub fn pages<C: Configuration, const PAGE: usize, const WORD: usize>() -> usize {
    Checkpoints::<C, SimulatedFlash<PAGE, WORD>>::BYTES as usize / PAGE
}

/// The shortest training that has every stage, a second alternation, and a second solve on the
/// linearisation of the first.
pub fn shortest(seed: u64) -> Settings {
    let lengths = Lengths {
        pretrain: 1,
        warm_up: 1,
        alternations: 2,
        lower_steps: 1,
        upper_steps: 2,
        finetune: 1,
    };
    Settings::new(seed, lengths).expect("these lengths are in range")
}

/// What was wrong after a power cut.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum CutError {
    /// The device stopped by itself.
    #[error(transparent)]
    Stopped(#[from] Stopped),
    /// Checkpoints could not be written.
    #[error("checkpoint after tick {tick}: {error}")]
    Save {
        /// Ticks until then.
        tick: u64,
        /// The cause.
        error: CheckpointError<FlashError>,
    },
    /// Recovery failed.
    #[error("recovery from a cut at byte {byte} of change {change} after tick {tick}: {error}")]
    Recovery {
        /// Ticks until then.
        tick: u64,
        /// The number of the change within the checkpoint.
        change: usize,
        /// Bytes of the change that were done.
        byte: usize,
        /// The cause.
        error: CheckpointError<FlashError>,
    },
    /// Recovery gave neither the old nor the new state.
    #[error(
        "after a cut at byte {byte} of change {change} after tick {tick}, recovery gave the state \
         {found:016x}, expected {old:016x} or {new:016x}"
    )]
    WrongState {
        /// Ticks until then.
        tick: u64,
        /// The number of the change within the checkpoint.
        change: usize,
        /// Bytes of the change that were done.
        byte: usize,
        /// Hash of the recovered device.
        found: u64,
        /// Hash of the previous checkpoint, or of a device at rest if there is none.
        old: u64,
        /// Hash of the checkpoint that was being written.
        new: u64,
    },
    /// A flipped bit was not found, or it damaged the other checkpoint as well.
    #[error(
        "with bit {bit} of byte {byte} of the newer checkpoint flipped, the slots hold: {older}; {newer}; \
         expected the older checkpoint and damage"
    )]
    Flip {
        /// The byte in the slot.
        byte: u32,
        /// The bit, 0 to 7.
        bit: u32,
        /// What the slot of the older checkpoint holds.
        older: SlotState,
        /// What the slot of the newer checkpoint holds.
        newer: SlotState,
    },
}

/// Restores a new device from flash; returns its hash, which is that of a device at rest if there
/// is no checkpoint.
///
/// # Errors
/// The flash fails, or the device fails while it computes its linearisation again.
pub fn recover<
    C: Configuration,
    S: FrameSource,
    K: Kernels<f32>,
    const PAGE: usize,
    const WORD: usize,
>(
    simulated: &mut SimulatedDevice<C, S, K>,
    flash: &mut SimulatedFlash<PAGE, WORD>,
) -> Result<[SlotState; 2], CheckpointError<FlashError>> {
    let SimulatedDevice { device, frames, kernels } = simulated;
    let mut checkpoints = Checkpoints::<C, _>::open(flash, 0)?;
    checkpoints.restore(device, frames, kernels)?;
    Ok(*checkpoints.slots())
}

/// Opens the checkpoints in `flash` and writes one.
///
/// # Errors
/// The flash fails, or the device has failed.
pub fn save<C: Configuration, const PAGE: usize, const WORD: usize>(
    flash: &mut SimulatedFlash<PAGE, WORD>,
    device: &Program<C>,
) -> Result<Saved, CheckpointError<FlashError>> {
    Checkpoints::<C, _>::open(flash, 0).and_then(|mut checkpoints| checkpoints.save(device))
}

fn stopped(tick: u64, fault: Fault) -> Stopped {
    Stopped { path: Path::Aligned, tick, fault }
}

fn hash<C: Configuration>(device: &Program<C>, tick: u64) -> Result<u64, Stopped> {
    device.hash().map_err(|fault| stopped(tick, fault))
}
