//! What the device trains with.

use bissl_core::{
    AlternationSettings, CgSettings, ConfigError, ConjugateGradient, Coupling, DescentSettings,
    Evaluation, HypergradientSettings, Level, LinearSolver, Optimizer, Schedule,
};
use serde::{Deserialize, Serialize};

use crate::Augmentation;

/// τ of NT-Xent.
pub const TEMPERATURE: f32 = 0.5;

/// How a pretext view differs from its frame, a picture.
pub const PRETEXT_VIEWS: Augmentation =
    Augmentation { gain: 0.3, gain_channels: 1, noise: 0.15, shift: [1, 1] };

/// Clipping of the total gradient norm in the bilevel stage.
const CLIP: f32 = 10.0;
/// λ, δ, γ.
const PROXIMITY: f32 = 0.01;
const DAMPING: f32 = 10.0;
const DIRECT_WEIGHT: f32 = 1.0;

/// Parts of the training, in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Stage {
    /// θ_P and φ_P on the pretext loss.
    Pretrain,
    /// φ_D on the features of the frozen θ_P.
    WarmUp,
    /// The bilevel stage.
    Align,
    /// θ_P and a fresh φ_D on the downstream loss.
    Finetune,
}

/// Lengths of the stages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lengths {
    /// Steps of pretraining.
    pub pretrain: u32,
    /// Steps of the head's warm-up.
    pub warm_up: u32,
    /// T.
    pub alternations: u32,
    /// N_L.
    pub lower_steps: u32,
    /// N_U.
    pub upper_steps: u32,
    /// Steps of fine-tuning.
    pub finetune: u32,
}

impl Default for Lengths {
    fn default() -> Self {
        Self {
            pretrain: 1000,
            warm_up: 100,
            alternations: 30,
            lower_steps: 10,
            upper_steps: 4,
            finetune: 200,
        }
    }
}

/// Where the first weights come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Start {
    /// Drawn from the seed's streams.
    Random,
    /// Pretrained elsewhere; the flash has them ([`FrameSource::weights`](crate::FrameSource::weights)).
    Flash,
}

/// Everything that one training is made of.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(bound = "")]
pub struct Settings<S: LinearSolver = ConjugateGradient> {
    /// Of weights, batch order and augmentation.
    pub seed: u64,
    /// Backbone and pretext head before the first step.
    pub start: Start,
    /// How a pretext view differs from its frame.
    pub views: Augmentation,
    /// τ of NT-Xent, above 0.
    pub temperature: f32,
    /// Descent on the pretext loss; `None`: it was done elsewhere.
    pub pretrain: Option<DescentSettings>,
    /// Descent on the downstream loss at θ_P, the backbone frozen.
    pub warm_up: DescentSettings,
    /// The bilevel stage; `None`: from pretraining straight to fine-tuning.
    pub align: Option<AlternationSettings<S>>,
    /// Descent on the downstream loss at θ_P.
    pub finetune: DescentSettings,
}

impl Settings {
    /// The shipped rates and weights at the given lengths, with plain conjugate gradients of at most five
    /// products.
    ///
    /// # Errors
    /// The length that is out of its range.
    pub fn new(seed: u64, lengths: Lengths) -> Result<Self, ConfigError> {
        Self::with_solver(seed, lengths, CgSettings::new(1e-2, 5)?)
    }
}

impl<S: LinearSolver> Settings<S> {
    /// The same with another solver.
    ///
    /// # Errors
    /// The length that is out of its range, or a solver that does not fit.
    pub fn with_solver(
        seed: u64,
        lengths: Lengths,
        solver: S::Settings,
    ) -> Result<Self, ConfigError> {
        let optimizer = Optimizer::Sgd { momentum: 0.9, weight_decay: 1e-4 };
        let descent = |evaluation, rate, steps| {
            let schedule = Schedule::new(rate, steps / 10, steps, 0.01)?;
            DescentSettings::new(evaluation, optimizer, schedule, None)
        };
        let level = |steps: u32, rate| {
            let schedule = Schedule::new(rate, 0, steps.saturating_mul(lengths.alternations), 0.1)?;
            Ok::<_, ConfigError>(Level { steps, optimizer, schedule, clip: Some(CLIP) })
        };
        let coupling = Coupling::Proximity { weight: PROXIMITY };
        let hypergradient =
            HypergradientSettings::with_solver(coupling, DAMPING, DIRECT_WEIGHT, solver)?;
        let align = AlternationSettings::new(
            lengths.alternations,
            level(lengths.lower_steps, 0.01)?,
            level(lengths.upper_steps, 0.02)?,
            hypergradient,
        )?;
        Ok(Self {
            seed,
            start: Start::Random,
            views: PRETEXT_VIEWS,
            temperature: TEMPERATURE,
            pretrain: Some(descent(Evaluation::Lower, 0.01, lengths.pretrain)?),
            warm_up: descent(Evaluation::UpperAtLower, 0.05, lengths.warm_up)?.frozen_backbone(),
            align: Some(align),
            finetune: descent(Evaluation::UpperAtLower, 0.03, lengths.finetune)?,
        })
    }

    /// The same without warm-up and bilevel stage: the conventional path.
    #[must_use]
    pub fn without_alignment(self) -> Self {
        Self { align: None, ..self }
    }

    /// The same from weights in flash, without pretraining here.
    #[must_use]
    pub fn pretrained(self) -> Self {
        Self { start: Start::Flash, pretrain: None, ..self }
    }

    /// The stage that training begins with.
    pub(crate) fn first(&self) -> Stage {
        match (&self.pretrain, &self.align) {
            (Some(_), _) => Stage::Pretrain,
            (None, Some(_)) => Stage::WarmUp,
            (None, None) => Stage::Finetune,
        }
    }

    /// The stage after `stage`; `None` after the last.
    pub(crate) fn after(&self, stage: Stage) -> Option<Stage> {
        match stage {
            Stage::Pretrain if self.align.is_some() => Some(Stage::WarmUp),
            Stage::Pretrain => Some(Stage::Finetune),
            Stage::WarmUp => Some(Stage::Align),
            Stage::Align => Some(Stage::Finetune),
            Stage::Finetune => None,
        }
    }
}
