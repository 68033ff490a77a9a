//! Learning rates over a stage.

#[cfg(feature = "serde")]
use serde::{Deserialize, Serialize};

use crate::ConfigError;
use crate::error::{check, positive};

/// Linear warm-up, then cosine decay to a floor; constant where the floor is 1.
///
/// Step `t` of the warm-up's `w` has the rate `peak · (t + 1)/w`: training starts at the warm-up's
/// first value and reaches the peak at its last. Step `t ≥ w` of `n` has
/// `peak · (floor + (1 − floor)(1 + cos(π (t − w)/(n − w)))/2)`.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(Serialize, Deserialize))]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Schedule {
    peak: f32,
    warm_up: u32,
    steps: u32,
    floor: f32,
}

impl Schedule {
    /// A schedule over `steps` ≥ 1 steps, the first `warm_up` ≤ `steps` of them rising; `peak` > 0;
    /// `floor` in `[0, 1]` is the last rate as a fraction of the peak.
    ///
    /// # Errors
    /// The setting that is out of its range.
    pub fn new(peak: f32, warm_up: u32, steps: u32, floor: f32) -> Result<Self, ConfigError> {
        positive("learning_rate", peak)?;
        check("floor", floor, (0.0..=1.0).contains(&floor), "[0, 1]")?;
        if steps == 0 {
            return Err(ConfigError::Zero { name: "steps" });
        }
        check("warm_up", warm_up as f32, warm_up <= steps, "at most the number of steps")?;
        Ok(Self { peak, warm_up, steps, floor })
    }

    /// The same rate at every step.
    ///
    /// # Errors
    /// As [`Schedule::new`].
    pub fn constant(rate: f32, steps: u32) -> Result<Self, ConfigError> {
        Self::new(rate, 0, steps, 1.0)
    }

    /// How many steps it covers.
    pub fn steps(&self) -> u32 {
        self.steps
    }

    /// The rate of step `index`, from 0; past the end, the floor.
    pub fn rate(&self, index: u32) -> f32 {
        if index < self.warm_up {
            return self.peak * ((index + 1) as f32 / self.warm_up as f32);
        }
        if index >= self.steps {
            return self.peak * self.floor;
        }
        let progress = (index - self.warm_up) as f32 / (self.steps - self.warm_up) as f32;
        let cosine = libm::cosf(core::f32::consts::PI * progress);
        self.peak * (self.floor + (1.0 - self.floor) * 0.5 * (1.0 + cosine))
    }
}
