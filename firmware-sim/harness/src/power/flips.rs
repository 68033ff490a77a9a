//! Flipped bits.

use bissl_core::Stream;
use bissl_firmware::{BLOCK, Checkpoints, Configuration, FrameSource, Kernels, SlotState};

use super::{CUTS, CutError, pages, save, stopped};
use crate::SimulatedDevice;
use crate::flash::SimulatedFlash;

/// Writes two checkpoints, one tick apart, and flips a bit, drawn by the seed, in each byte of the
/// newer one that `bytes` selects. Each flip must be found, and the older checkpoint must be the
/// valid one. Returns the number of flips.
///
/// `bytes` gets the number of bytes of the checkpoint and returns some of them.
///
/// # Errors
/// The first flipped bit that leaves the newer checkpoint valid or damages the older one.
pub fn explore_flips<C, S, K, I, const PAGE: usize, const WORD: usize>(
    mut simulated: SimulatedDevice<C, S, K>,
    seed: u64,
    bytes: impl FnOnce(u32) -> I,
) -> Result<u64, CutError>
where
    C: Configuration,
    S: FrameSource,
    K: Kernels<f32>,
    I: IntoIterator<Item = u32>,
{
    let mut flash = SimulatedFlash::<PAGE, WORD>::new(pages::<C, PAGE, WORD>(), seed);
    let tick = simulated.device.ticks();
    let at_save = |error| CutError::Save { tick, error };
    save(&mut flash, &simulated.device).map_err(at_save)?;
    simulated.tick().map_err(|fault| stopped(tick, fault))?;
    let saved = save(&mut flash, &simulated.device).map_err(at_save)?;
    let slot = flash.bytes().len() / 2;
    // Commit word, header and seal take a block each.
    let blocks = 3 + saved.bytes.div_ceil(BLOCK as u32);
    let mut draws = Stream::new(seed, CUTS).at(tick);
    let mut flips = 0;
    for byte in bytes(blocks * BLOCK as u32) {
        let (place, bit) = (slot + byte as usize, draws.below(8));
        flash.flip(place, bit);
        let checkpoints = Checkpoints::<C, _>::open(&mut flash, 0).map_err(at_save)?;
        let [older, newer] = *checkpoints.slots();
        if matches!(newer, SlotState::Valid { .. }) || !matches!(older, SlotState::Valid { .. }) {
            return Err(CutError::Flip { byte, bit, older, newer });
        }
        flash.flip(place, bit);
        flips += 1;
    }
    Ok(flips)
}
