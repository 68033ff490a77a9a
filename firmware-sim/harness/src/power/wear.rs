//! The wear of a flash by checkpoints.

use bissl_core::Event;
use bissl_firmware::{Configuration, FrameSource, Kernels, Tick};
use serde::Serialize;

use super::{CutError, pages, save, stopped};
use crate::{SimulatedDevice, SimulatedFlash};

/// When checkpoints are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cadence {
    /// After each alternation.
    Alternations,
    /// After every this many ticks.
    Ticks(u64),
}

/// The wear of a flash by checkpoints.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Wear {
    /// Bytes of a page.
    pub page_bytes: u32,
    /// Pages of a slot.
    pub slot_pages: u32,
    /// Alternations of the run.
    pub alternations: u32,
    /// Ticks of its bilevel stage.
    pub ticks: u64,
    /// Checkpoints written in that stage.
    pub checkpoints: u32,
    /// Bytes of state in them.
    pub state_bytes: u64,
    /// Bytes written to the flash for them.
    pub written_bytes: u64,
    /// Pages erased for them.
    pub erased_pages: u64,
    /// Erasures of the page that was erased most often.
    pub erasures_max: u32,
}

impl Wear {
    /// Bytes written for each byte of state.
    pub fn write_amplification(&self) -> f64 {
        self.written_bytes as f64 / self.state_bytes as f64
    }

    /// Pages erased for each alternation.
    pub fn erasures_per_alternation(&self) -> f64 {
        self.erased_pages as f64 / f64::from(self.alternations)
    }

    /// Alternations until a page that lasts for `endurance` erasures is worn out.
    pub fn alternations_to_wear(&self, endurance: u32) -> f64 {
        f64::from(endurance) * f64::from(self.alternations) / f64::from(self.erasures_max)
    }
}

/// Trains to the end of the bilevel stage with checkpoints in it, and counts their cost.
///
/// # Errors
/// The device's fault, or a checkpoint that could not be written.
pub fn wear<
    C: Configuration,
    S: FrameSource,
    K: Kernels<f32>,
    const PAGE: usize,
    const WORD: usize,
>(
    mut simulated: SimulatedDevice<C, S, K>,
    cadence: Cadence,
) -> Result<Wear, CutError> {
    let mut flash = SimulatedFlash::<PAGE, WORD>::new(pages::<C, PAGE, WORD>(), 0);
    let (mut checkpoints, mut alternations, mut ticks, mut state_bytes) = (0, 0, 0, 0);
    loop {
        let tick = simulated.device.ticks();
        let inside = simulated.device.alternation().is_some();
        let done = simulated.tick().map_err(|fault| stopped(tick, fault))?;
        if !inside {
            if done == Tick::Idle {
                break;
            }
            continue;
        }
        ticks += 1;
        let ended = matches!(done, Tick::Event(Event::Alternation { .. }));
        alternations += u32::from(ended);
        let due = match cadence {
            Cadence::Alternations => ended,
            Cadence::Ticks(count) => ticks % count == 0,
        };
        if due {
            let saved = save(&mut flash, &simulated.device)
                .map_err(|error| CutError::Save { tick, error })?;
            checkpoints += 1;
            state_bytes += u64::from(saved.bytes);
        }
    }
    let traffic = flash.traffic();
    Ok(Wear {
        page_bytes: PAGE as u32,
        slot_pages: pages::<C, PAGE, WORD>() as u32 / 2,
        alternations,
        ticks,
        checkpoints,
        state_bytes,
        written_bytes: traffic.written,
        erased_pages: traffic.erased,
        erasures_max: flash.wear().iter().copied().max().unwrap_or(0),
    })
}
