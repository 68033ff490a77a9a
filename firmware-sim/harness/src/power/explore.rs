//! One power cut, at every possible place.

use std::ops::Range;

use bissl_core::Stream;
use bissl_firmware::{CheckpointError, Configuration, FrameSource, Kernels, Program, Tick};
use serde::Serialize;

use super::{CUTS, CutError, hash, pages, recover, save, stopped};
use crate::SimulatedDevice;
use crate::flash::{Change, SimulatedFlash, Tear};

/// The bytes of a change at which power is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coverage {
    /// All bytes.
    EveryByte,
    /// All bytes, except in a page with a valid commit word that is erased from its end. There each
    /// byte makes another damaged checkpoint, and only this many bytes are tried, drawn by the
    /// seed.
    Thinned(u32),
}

/// What was tried with one power cut each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Explored {
    /// Checkpoints written, one after each tick.
    pub checkpoints: u64,
    /// Pages erased and blocks written for them.
    pub changes: u64,
    /// Power cuts.
    pub cuts: u64,
    /// Cuts after which the previous checkpoint was the newest.
    pub left_old: u64,
    /// Recoveries that were run; each other one would read the same bytes as one of these.
    pub recoveries: u64,
}

/// A recovery that was run: the bytes that it read, and the hash of the recovered device.
///
/// A recovery is a function of what it reads: one that would read the same bytes ends the same way.
struct Recovery {
    read: Vec<(Range<usize>, Vec<u8>)>,
    hash: u64,
}

impl Recovery {
    /// Whether the recovery reads none of these bytes, so that their values do not matter.
    fn ignores(&self, bytes: &Range<usize>) -> bool {
        self.read.iter().all(|(read, _)| read.end <= bytes.start || bytes.end <= read.start)
    }

    /// Whether a recovery from `flash` would read the same bytes.
    fn is_that_of(&self, flash: &[u8]) -> bool {
        self.read.iter().all(|(range, bytes)| flash[range.clone()] == **bytes)
    }
}

/// Recoveries that are remembered; searching more of them takes longer than running one.
const SEEN_MAX: usize = 8;

/// Runs a training and writes a checkpoint after every tick. At every byte, or at those that
/// `coverage` selects, power is cut, and a new device recovers from what the flash then holds.
///
/// The hash of each recovered state is compared with those of the uninterrupted run, the old and
/// the new: equal states have equal futures. The training runs only once: the recorded changes of
/// each uninterrupted checkpoint are repeated one by one, and torn.
///
/// # Errors
/// The first recovery that ends in another state.
pub fn explore<C, S, K, const PAGE: usize, const WORD: usize>(
    mut simulated: SimulatedDevice<C, S, K>,
    seed: u64,
    coverage: Coverage,
) -> Result<Explored, CutError>
where
    C: Configuration,
    S: FrameSource + Clone,
    K: Kernels<f32> + Clone,
{
    let mut flash = SimulatedFlash::<PAGE, WORD>::new(pages::<C, PAGE, WORD>(), seed);
    let mut explorer =
        Explorer { scratch: simulated.clone(), seen: vec![], explored: Explored::default(), seed };
    let mut old = hash(&Program::<C>::new(), 0)?;
    loop {
        let tick = simulated.device.ticks();
        let new = hash(&simulated.device, tick)?;
        let mut image = flash.clone();
        flash.start_journal();
        save(&mut flash, &simulated.device).map_err(|error| CutError::Save { tick, error })?;
        let changes = flash.take_journal();
        explorer.checkpoint(&mut image, &changes, Moment { tick, old, new }, coverage)?;
        assert!(image.bytes() == flash.bytes(), "the changes make the flash");
        old = new;
        if simulated.tick().map_err(|fault| stopped(tick, fault))? == Tick::Idle {
            return Ok(explorer.explored);
        }
    }
}

/// The two checkpoints between which power is cut.
#[derive(Clone, Copy)]
struct Moment {
    tick: u64,
    /// Hash of the previous checkpoint, or of a device at rest if there is none.
    old: u64,
    /// Hash of the checkpoint that is being written.
    new: u64,
}

struct Explorer<C: Configuration, S, K> {
    /// The device that recovers; its previous content must not matter.
    scratch: SimulatedDevice<C, S, K>,
    /// The latest recoveries, the last one used at the end.
    seen: Vec<Recovery>,
    explored: Explored,
    seed: u64,
}

impl<C: Configuration, S: FrameSource, K: Kernels<f32>> Explorer<C, S, K> {
    fn checkpoint<const PAGE: usize, const WORD: usize>(
        &mut self,
        image: &mut SimulatedFlash<PAGE, WORD>,
        changes: &[Change],
        moment: Moment,
        coverage: Coverage,
    ) -> Result<(), CutError> {
        // The latest recovery was from the flash as it is now; the others are outdated.
        self.seen.drain(..self.seen.len().saturating_sub(1));
        self.explored.checkpoints += 1;
        for (number, change) in changes.iter().enumerate() {
            self.explored.changes += 1;
            let begun = self.outcome(image, moment, (number, 0))?;
            self.judge(begun, moment, (number, 0), &[moment.old])?;
            let tear: Tear<WORD> = image.tear(change);
            // Only the last change, which writes the commit word, can make the new checkpoint
            // valid.
            let last = number + 1 == changes.len();
            let may = if last { &[moment.old, moment.new][..] } else { &[moment.old] };
            for byte in self.bytes(&tear, moment.tick, number, coverage) {
                image.put(&tear, byte);
                let found = self.outcome(image, moment, (number, byte));
                image.undo(&tear);
                self.judge(found?, moment, (number, byte), may)?;
            }
            let error =
                |error| CutError::Save { tick: moment.tick, error: CheckpointError::Flash(error) };
            image.apply(change).map_err(error)?;
        }
        let end = (changes.len(), 0);
        let found = self.outcome(image, moment, end)?;
        self.judge(found, moment, end, &[moment.new])
    }

    /// The bytes of a change at which a recovery must be tried.
    fn bytes<const WORD: usize>(
        &mut self,
        tear: &Tear<WORD>,
        tick: u64,
        number: usize,
        coverage: Coverage,
    ) -> Vec<usize> {
        let range = tear.range();
        if self.seen.last().is_some_and(|latest| latest.ignores(&range)) {
            self.explored.cuts += range.len() as u64 - 1;
            self.explored.left_old += range.len() as u64 - 1;
            return vec![];
        }
        match coverage {
            Coverage::Thinned(count) if tear.is_backward() => {
                let index = (tick << 32) | number as u64;
                let mut draws = Stream::new(self.seed, CUTS).at(index);
                (0..count).map(|_| 1 + draws.below(range.len() as u32 - 1) as usize).collect()
            }
            _ => (1..range.len()).collect(),
        }
    }

    fn judge(
        &mut self,
        found: u64,
        Moment { tick, old, new }: Moment,
        (change, byte): (usize, usize),
        may: &[u64],
    ) -> Result<(), CutError> {
        self.explored.cuts += 1;
        self.explored.left_old += u64::from(found == old);
        if may.contains(&found) {
            Ok(())
        } else {
            Err(CutError::WrongState { tick, change, byte, found, old, new })
        }
    }

    /// The hash of the device that recovers from `image`.
    fn outcome<const PAGE: usize, const WORD: usize>(
        &mut self,
        image: &mut SimulatedFlash<PAGE, WORD>,
        Moment { tick, .. }: Moment,
        (change, byte): (usize, usize),
    ) -> Result<u64, CutError> {
        let same = self.seen.iter().rposition(|seen| seen.is_that_of(image.bytes()));
        if let Some(same) = same.map(|same| self.seen.remove(same)) {
            let hash = same.hash;
            self.seen.push(same);
            return Ok(hash);
        }
        self.explored.recoveries += 1;
        let before = image.traffic();
        image.start_watch();
        let recovered = recover(&mut self.scratch, image);
        let read = image.take_watch();
        recovered.map_err(|error| CutError::Recovery { tick, change, byte, error })?;
        let after = image.traffic();
        assert_eq!(
            (before.written, before.erased),
            (after.written, after.erased),
            "recovery writes nothing, so a second cut in it changes nothing"
        );
        let hash = hash(&self.scratch.device, tick)?;
        let bytes = |range: Range<usize>| (range.clone(), image.bytes()[range].to_vec());
        if self.seen.len() == SEEN_MAX {
            self.seen.remove(0);
        }
        self.seen.push(Recovery { read: read.into_iter().map(bytes).collect(), hash });
        Ok(hash)
    }
}
