//! Numerical outcomes: values that the caller decides about, never errors.

/// How a linear solve ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "kebab-case"))]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Termination {
    /// ‖r‖ ≤ tolerance · ‖x‖.
    Converged,
    /// The allowed products are used up.
    IterationLimit,
    /// A direction with pᵀAp ≤ 0 appeared; x is the iterate before it.
    NegativeCurvature,
    /// A scalar was infinite or NaN, or a squared norm left the range of f32; x must not be used.
    NonFinite,
    /// No product of this solve's own has verified x.
    Unverified,
    /// The series grows; x is the sum before that.
    Diverging,
}

/// What is known about one solve of `A x = b`. Squares are kept so that solvers need no roots.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Report {
    /// How it ended.
    pub termination: Termination,
    /// Products with the operator that were used.
    pub products: u16,
    /// ‖b‖².
    pub rhs_sq: f32,
    /// ‖x‖².
    pub solution_sq: f32,
    /// ‖r‖² of the returned x; `None` where no product of this solve verified it.
    pub residual_sq: Option<f32>,
    /// bᵀx.
    pub alignment: f32,
    /// Largest pᵀAp/pᵀp seen, a lower bound of the top eigenvalue; of `H` in a hypergradient's
    /// report.
    pub rayleigh_max: Option<f32>,
    /// Smallest pᵀAp/pᵀp seen, an upper bound of the lowest eigenvalue; of `H` in a hypergradient's
    /// report.
    pub rayleigh_min: Option<f32>,
}

impl Report {
    /// Of a solve that used no product: only x = b = 0 is known to solve the system.
    pub(crate) fn without_products(
        termination: Termination,
        rhs_sq: f32,
        [solution_sq, alignment]: [f32; 2],
    ) -> Self {
        let residual_sq = (termination == Termination::Converged).then_some(0.0);
        let (rayleigh_max, rayleigh_min) = (None, None);
        Self {
            termination,
            products: 0,
            rhs_sq,
            solution_sq,
            residual_sq,
            alignment,
            rayleigh_max,
            rayleigh_min,
        }
    }

    /// ‖r‖/‖b‖; `None` where unverified or b = 0.
    ///
    /// The tolerance is compared with `residual() / solution_ratio()`.
    pub fn residual(&self) -> Option<f32> {
        self.residual_sq.filter(|_| self.rhs_sq > 0.0).map(|sq| libm::sqrtf(sq / self.rhs_sq))
    }

    /// cos(x, b); `None` where either is zero.
    pub fn cosine(&self) -> Option<f32> {
        let norms = libm::sqrtf(self.rhs_sq) * libm::sqrtf(self.solution_sq);
        (norms > 0.0).then(|| self.alignment / norms)
    }

    /// ‖x − b‖/‖b‖, what second order changes; `None` where b = 0.
    ///
    /// Formed from the squares, so a correction below about 0.001 is lost in f32's rounding.
    pub fn correction(&self) -> Option<f32> {
        let squared = correction_sq(self.rhs_sq, self.solution_sq, self.alignment);
        (self.rhs_sq > 0.0).then(|| libm::sqrtf(squared / self.rhs_sq))
    }

    /// ‖x‖/‖b‖; `None` where b = 0.
    pub fn solution_ratio(&self) -> Option<f32> {
        (self.rhs_sq > 0.0).then(|| libm::sqrtf(self.solution_sq / self.rhs_sq))
    }
}

/// The smallest and the largest pᵀAp/pᵀp seen.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub(crate) struct Rayleigh {
    range: Option<(f32, f32)>,
}

impl Rayleigh {
    /// Takes one more quotient; `false` where the scalars have left f32's range.
    ///
    /// A direction whose square under- or overflowed gives no quotient.
    pub(crate) fn see(&mut self, curvature: f32, direction_sq: f32) -> bool {
        let quotient = curvature / direction_sq;
        let in_range = direction_sq > 0.0 && direction_sq.is_finite();
        if !(in_range && curvature.is_finite() && quotient.is_finite()) {
            return false;
        }
        self.range = Some(match self.range {
            None => (quotient, quotient),
            Some((low, high)) => (
                if quotient < low { quotient } else { low },
                if quotient > high { quotient } else { high },
            ),
        });
        true
    }

    pub(crate) fn max(&self) -> Option<f32> {
        self.range.map(|(_, high)| high)
    }

    pub(crate) fn min(&self) -> Option<f32> {
        self.range.map(|(low, _)| low)
    }
}

/// What a solve that starts from x = 0 has measured so far: its report, but for how it ends.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub(crate) struct Measured {
    pub(crate) rhs_sq: f32,
    pub(crate) residual_sq: f32,
    pub(crate) solution_sq: f32,
    pub(crate) alignment: f32,
    pub(crate) rayleigh: Rayleigh,
    pub(crate) products: u16,
}

impl Measured {
    /// Takes ‖b‖², which is ‖r‖² at x = 0; how the solve ends if there is nothing to solve.
    pub(crate) fn on_right_hand_side(&mut self, [rhs_sq]: [f32; 1]) -> Option<Termination> {
        (self.rhs_sq, self.residual_sq) = (rhs_sq, rhs_sq);
        if !rhs_sq.is_finite() {
            Some(Termination::NonFinite)
        } else if rhs_sq == 0.0 {
            Some(Termination::Converged)
        } else {
            None
        }
    }

    /// ‖x − b‖².
    pub(crate) fn correction_sq(&self) -> f32 {
        correction_sq(self.rhs_sq, self.solution_sq, self.alignment)
    }

    pub(crate) fn report(&self, termination: Termination) -> Report {
        Report {
            termination,
            products: self.products,
            rhs_sq: self.rhs_sq,
            solution_sq: self.solution_sq,
            residual_sq: Some(self.residual_sq),
            alignment: self.alignment,
            rayleigh_max: self.rayleigh.max(),
            rayleigh_min: self.rayleigh.min(),
        }
    }
}

/// ‖x − b‖² from its parts; never below 0.
pub(crate) fn correction_sq(rhs_sq: f32, solution_sq: f32, alignment: f32) -> f32 {
    let squared = (solution_sq - alignment) + (rhs_sq - alignment);
    if squared > 0.0 { squared } else { 0.0 }
}

/// One step of descent.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct StepRecord {
    /// Step number within the stage, from 0.
    pub index: u32,
    /// The loss before the step, on the step's batch.
    pub loss: f32,
    /// Norm of the whole gradient before clipping, proximity included; NaN where the loss was not
    /// finite.
    pub gradient_norm: f32,
    /// Rate of the step.
    pub learning_rate: f32,
    /// ‖θ_P − θ_D‖ before the step, where the step has a proximity term.
    pub distance: Option<f32>,
}

/// One upper step: its hypergradient and what was done with it.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct UpperRecord {
    /// Upper step number within the stage, from 0.
    pub index: u32,
    /// Number of its alternation, from 0.
    pub alternation: u32,
    /// What its hypergradient found.
    pub hypergradient: crate::HypergradientRecord,
    /// Norm of (G_θ, G_φ) before clipping.
    pub gradient_norm: f32,
    /// Rate of the step.
    pub learning_rate: f32,
}

/// How a training machine ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Completion {
    /// All steps were taken.
    Finished,
    /// A loss, gradient or solve was not finite; the parameters are those before that step.
    Diverged {
        /// Step number, within the level, that was not taken.
        index: u32,
    },
}
