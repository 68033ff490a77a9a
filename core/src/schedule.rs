//! Learning rates over a stage.

use crate::ConfigError;
use crate::error::{at_least_one, check, get, positive};

/// Linear warm-up, then cosine decay to a floor; constant where the floor is 1.
///
/// Step `t` of the warm-up's `w` has the rate `peak · (t + 1)/w`: training starts at the warm-up's
/// first value and reaches the peak at its last. Step `t ≥ w` of `n` has
/// `peak · (floor + (1 − floor)(1 + cos(π (t − w)/(n − w)))/2)`.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
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
    pub const fn new(peak: f32, warm_up: u32, steps: u32, floor: f32) -> Result<Self, ConfigError> {
        get!(positive("learning_rate", peak));
        get!(check("floor", floor, floor >= 0.0 && floor <= 1.0, "[0, 1]"));
        get!(at_least_one("steps", steps));
        get!(check("warm_up", warm_up as f32, warm_up <= steps, "at most the number of steps"));
        Ok(Self { peak, warm_up, steps, floor })
    }

    /// The same rate at every step.
    ///
    /// # Errors
    /// As [`Schedule::new`].
    pub const fn constant(rate: f32, steps: u32) -> Result<Self, ConfigError> {
        Self::new(rate, 0, steps, 1.0)
    }

    /// How many steps it covers.
    pub const fn steps(&self) -> u32 {
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
        self.peak * (self.floor + (1.0 - self.floor) * half_cosine(progress))
    }
}

/// `(1 + cos πt)/2` for t in `[0, 1]`, to within 1.5e-7: exactly 1 at 0 and 0 at 1, and never
/// rising.
///
/// As `1 − sin²` and `sin²` of half the angle, which stays below π/4: five terms of the sine's
/// series there, where a library's cosine holds the reduction of any angle, in f64
/// (`docs/decisions/0011-cosine.md`).
fn half_cosine(t: f32) -> f32 {
    let first = t <= 0.5;
    let u = core::f32::consts::FRAC_PI_2 * if first { t } else { 1.0 - t };
    let square = u * u;
    let series = 1.0 / 362_880.0;
    let series = -1.0 / 5040.0 + square * series;
    let series = 1.0 / 120.0 + square * series;
    let series = -1.0 / 6.0 + square * series;
    let sine = u + u * (square * series);
    if first { 1.0 - sine * sine } else { sine * sine }
}

#[cfg(test)]
mod tests {
    use super::half_cosine;

    #[test]
    fn half_a_period_is_that_of_the_cosine() {
        assert_eq!((half_cosine(0.0), half_cosine(1.0)), (1.0, 0.0));
        let mut worst = 0.0f64;
        for n in [3u32, 7, 100, 997, 65_536, 1_000_003] {
            let mut before = 1.0;
            for k in 0..=n {
                let t = k as f32 / n as f32;
                let (found, exact) = (half_cosine(t), cosine(f64::from(t)));
                let error = f64::from(found) - exact;
                worst = worst.max(if error < 0.0 { -error } else { error });
                assert!(found <= before, "{k}/{n}: {before} then {found}");
                before = found;
            }
        }
        assert!(worst < 1.5e-7, "{worst:e}");
    }

    /// `(1 + cos πt)/2` in f64, from the pinned library.
    fn cosine(t: f64) -> f64 {
        0.5 * (1.0 + libm::cos(core::f64::consts::PI * t))
    }
}
