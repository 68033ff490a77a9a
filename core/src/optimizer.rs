//! Optimiser recurrences as coefficients; the [`Update`](crate::Update) machine asks for the
//! vectors.

use crate::ConfigError;
use crate::error::{fraction, get, non_negative, positive};

/// Which recurrence turns a gradient g into a step, at rate η (the schedule's).
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "lowercase", deny_unknown_fields))]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Optimizer {
    /// `d = g + wd·p`, `m ← μ m + d`, `p ← p − η m`.
    Sgd {
        /// μ in `[0, 1)`.
        momentum: f32,
        /// wd ≥ 0, coupled.
        weight_decay: f32,
    },
    /// You, Gitman, Ginsburg (2017): `d = g + wd·p`, `m ← μ m + (c‖p‖/‖d‖) d`, `p ← p − η m`, the
    /// ratio taken for each parameter tensor, 1 where a norm is 0.
    Lars {
        /// μ in `[0, 1)`.
        momentum: f32,
        /// wd ≥ 0, coupled.
        weight_decay: f32,
        /// c > 0, the trust coefficient (0.001).
        trust: f32,
    },
    /// Loshchilov, Hutter (2019): decoupled weight decay.
    Adamw {
        /// β₁ in `[0, 1)`.
        beta1: f32,
        /// β₂ in `[0, 1)`.
        beta2: f32,
        /// ε > 0, part of the published recurrence.
        epsilon: f32,
        /// wd ≥ 0, decoupled.
        weight_decay: f32,
    },
}

impl Optimizer {
    /// The same, if every coefficient is in its range.
    ///
    /// # Errors
    /// The coefficient that is not.
    pub const fn validated(self) -> Result<Self, ConfigError> {
        match self {
            Self::Sgd { momentum, weight_decay } => {
                get!(fraction("momentum", momentum));
                get!(non_negative("weight_decay", weight_decay));
            }
            Self::Lars { momentum, weight_decay, trust } => {
                get!(fraction("momentum", momentum));
                get!(non_negative("weight_decay", weight_decay));
                get!(positive("trust", trust));
            }
            Self::Adamw { beta1, beta2, epsilon, weight_decay } => {
                get!(fraction("beta1", beta1));
                get!(fraction("beta2", beta2));
                get!(positive("epsilon", epsilon));
                get!(non_negative("weight_decay", weight_decay));
            }
        }
        Ok(self)
    }

    /// Whether it keeps a second moment.
    pub fn has_second_moment(&self) -> bool {
        matches!(self, Self::Adamw { .. })
    }
}

/// Factors of one AdamW step.
///
/// `g ← clip·g`, `m ← β₁ m + (1 − β₁) g`, `v ← β₂ v + (1 − β₂) g²`,
/// `p ← decay·p − rate · m / (√v · second_scale + ε)`; the bias corrections are in `rate` and
/// `second_scale`.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct AdamCoefficients {
    /// Factor of the gradient.
    pub clip: f32,
    /// β₁.
    pub beta1: f32,
    /// β₂.
    pub beta2: f32,
    /// 1 − η wd.
    pub decay: f32,
    /// η / (1 − β₁^t).
    pub rate: f32,
    /// 1 / √(1 − β₂^t).
    pub second_scale: f32,
    /// ε.
    pub epsilon: f32,
}

impl AdamCoefficients {
    /// Updates one element; every driver uses this, so all agree to the bit.
    pub fn update(&self, gradient: f32, parameter: &mut f32, first: &mut f32, second: &mut f32) {
        let g = self.clip * gradient;
        *first = self.beta1 * *first + (1.0 - self.beta1) * g;
        *second = self.beta2 * *second + (1.0 - self.beta2) * (g * g);
        let scale = libm::sqrtf(*second) * self.second_scale + self.epsilon;
        *parameter = self.decay * *parameter - self.rate * (*first / scale);
    }

    /// The factors of step `index` (from 0) at rate `rate`.
    pub(crate) fn at(
        index: u32,
        rate: f32,
        clip: f32,
        (beta1, beta2): (f32, f32),
        epsilon: f32,
        weight_decay: f32,
    ) -> Self {
        let correction1 = 1.0 - power(beta1, index + 1);
        let correction2 = 1.0 - power(beta2, index + 1);
        Self {
            clip,
            beta1,
            beta2,
            decay: 1.0 - rate * weight_decay,
            rate: rate / correction1,
            second_scale: 1.0 / libm::sqrtf(correction2),
            epsilon,
        }
    }
}

/// `base^exponent` by squaring.
fn power(base: f32, mut exponent: u32) -> f32 {
    let (mut result, mut square) = (1.0, base);
    while exponent > 0 {
        if exponent & 1 == 1 {
            result *= square;
        }
        square *= square;
        exponent >>= 1;
    }
    result
}

/// LARS: `trust · ‖p‖/‖d‖`, 1 where either norm is 0.
pub fn lars_ratio(trust: f32, parameter_sq: f32, gradient_sq: f32) -> f32 {
    if parameter_sq > 0.0 && gradient_sq > 0.0 {
        trust * (libm::sqrtf(parameter_sq) / libm::sqrtf(gradient_sq))
    } else {
        1.0
    }
}

/// The factor that brings a gradient of norm `norm` down to `limit`; 1 where it is not above.
pub fn clip_factor(norm: f32, limit: Option<f32>) -> f32 {
    match limit {
        Some(limit) if norm > limit => limit / norm,
        _ => 1.0,
    }
}
