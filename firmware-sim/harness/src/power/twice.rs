//! Two power cuts in succession.

use bissl_core::{Draws, Stream};
use bissl_firmware::{BLOCK, CheckpointError, Configuration, FrameSource, Kernels, Program, Tick};
use serde::Serialize;

use super::{CUTS, CutError, hash, pages, recover, save, stopped};
use crate::SimulatedDevice;
use crate::flash::{FlashError, SimulatedFlash};

const POWER_CUT: CheckpointError<FlashError> = CheckpointError::Flash(FlashError::PowerCut);

/// What was tried with two power cuts each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Twice {
    /// Pairs of cuts.
    pub pairs: u64,
    /// Recoveries that gave the older of the two allowed checkpoints.
    pub left_old: u64,
}

/// Runs a training. After each tick, as often as `count` says for it, this function cuts power
/// while a checkpoint is written, recovers, goes on by one tick, cuts power while that state is
/// written, recovers, and writes a whole checkpoint.
///
/// The seed draws where power is cut, with equal odds for four kinds of place: the block with the
/// commit word as it is erased, that block's page, the commit word as it is written, and anywhere.
/// Recovery itself writes nothing ([`explore`](super::explore) asserts it), so a cut during
/// recovery changes nothing.
///
/// # Errors
/// The first recovery that gives neither of the two allowed states.
pub fn explore_twice<C, S, K, const PAGE: usize, const WORD: usize>(
    mut simulated: SimulatedDevice<C, S, K>,
    seed: u64,
    count: impl Fn(u64) -> u32,
) -> Result<Twice, CutError>
where
    C: Configuration,
    S: FrameSource + Clone,
    K: Kernels<f32> + Clone,
{
    let mut flash = SimulatedFlash::<PAGE, WORD>::new(pages::<C, PAGE, WORD>(), seed);
    let (mut tried, mut old) = (Twice::default(), None);
    loop {
        let tick = simulated.device.ticks();
        for trial in 0..u64::from(count(tick)) {
            let mut draws = Stream::new(seed, CUTS).at((tick << 32) | trial);
            let mut flash = flash.clone();
            let mut survivor = simulated.clone();
            let mut before = old;
            for _ in 0..2 {
                let new = hash(&survivor.device, tick)?;
                // Before the first checkpoint the only state to go back to is the beginning.
                let beginning = survivor.device.clone();
                let left = cut_once(&mut survivor, &mut flash, &mut draws, [before, Some(new)])?;
                if left.is_none() {
                    survivor.device = beginning;
                }
                tried.left_old += u64::from(left == before);
                before = left;
                survivor.tick().map_err(|fault| stopped(tick, fault))?;
            }
            save(&mut flash, &survivor.device).map_err(|error| CutError::Save { tick, error })?;
            tried.pairs += 1;
        }
        save(&mut flash, &simulated.device).map_err(|error| CutError::Save { tick, error })?;
        old = Some(hash(&simulated.device, tick)?);
        if simulated.tick().map_err(|fault| stopped(tick, fault))? == Tick::Idle {
            return Ok(tried);
        }
    }
}

/// Cuts power while a checkpoint is written, and recovers. Returns the hash of the recovered state,
/// one of `may`; `None` if there was no checkpoint before and there is none now.
fn cut_once<
    C: Configuration,
    S: FrameSource,
    K: Kernels<f32>,
    const PAGE: usize,
    const WORD: usize,
>(
    survivor: &mut SimulatedDevice<C, S, K>,
    flash: &mut SimulatedFlash<PAGE, WORD>,
    draws: &mut Draws,
    may: [Option<u64>; 2],
) -> Result<Option<u64>, CutError> {
    let tick = survivor.device.ticks();
    let byte =
        draw_cut(flash, &survivor.device, draws).map_err(|error| CutError::Save { tick, error })?;
    flash.cut_after(byte);
    let cut = save(flash, &survivor.device);
    assert_eq!(cut, Err(POWER_CUT), "power goes before the checkpoint is whole");
    flash.power_on();
    let (change, byte) = (0, byte as usize);
    recover(survivor, flash).map_err(|error| CutError::Recovery { tick, change, byte, error })?;
    let [rest, found] = [&Program::<C>::new(), &survivor.device].map(|device| hash(device, tick));
    let (rest, found) = (rest?, found?);
    let left = (found != rest).then_some(found);
    if may.contains(&left) {
        return Ok(left);
    }
    let [old, new] = may.map(|hash| hash.unwrap_or(rest));
    Err(CutError::WrongState { tick, change, byte, found, old, new })
}

/// Bytes of the next checkpoint after which power is cut.
fn draw_cut<C: Configuration, const PAGE: usize, const WORD: usize>(
    flash: &SimulatedFlash<PAGE, WORD>,
    device: &Program<C>,
    draws: &mut Draws,
) -> Result<u64, CheckpointError<FlashError>> {
    let mut rehearsal = flash.clone();
    let before = flash.traffic();
    save(&mut rehearsal, device)?;
    let after = rehearsal.traffic();
    let erased = (after.erased - before.erased) * PAGE as u64;
    let bytes = erased + after.written - before.written;
    let commit = WORD.max(4) as u64;
    let (from, count) = match draws.below(4) {
        0 => (0, BLOCK as u64),
        1 => (0, PAGE as u64),
        2 => (bytes - commit, commit),
        _ => (0, bytes),
    };
    Ok(from + u64::from(draws.below(count as u32)))
}
