//! What the device trains with.

use bissl_core::{
    AlternationSettings, CgSettings, ConfigError, ConjugateGradient, Coupling, DescentSettings,
    Evaluation, HypergradientSettings, Level, LinearSolver, Optimizer, Schedule,
};
use serde::{Deserialize, Serialize};

use crate::Augmentation;

/// τ of NT-Xent.
pub const TEMPERATURE: f32 = 0.5;

/// How a pretext view of a picture differs from its frame.
pub const PRETEXT_VIEWS: Augmentation =
    Augmentation { gain: 0.3, gain_channels: 1, noise: 0.15, shift: [1, 1] };

/// Limit of the total gradient norm in the bilevel stage.
const CLIP: f32 = 10.0;

/// Learning rates of the stages and weights of the bilevel stage.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Hyperparameters {
    /// Learning rate of pretraining.
    pub pretrain_rate: f32,
    /// Learning rate of the head's warm-up.
    pub warm_up_rate: f32,
    /// Learning rate of the lower level.
    pub lower_rate: f32,
    /// Learning rate of the upper level.
    pub upper_rate: f32,
    /// Learning rate of fine-tuning.
    pub finetune_rate: f32,
    /// λ.
    pub proximity: f32,
    /// δ.
    pub damping: f32,
    /// γ.
    pub direct_weight: f32,
}

impl Hyperparameters {
    /// Chosen on the embedded digits.
    pub const DEFAULT: Self = Self {
        pretrain_rate: 0.01,
        warm_up_rate: 0.05,
        lower_rate: 0.01,
        upper_rate: 0.02,
        finetune_rate: 0.03,
        proximity: 0.01,
        damping: 10.0,
        direct_weight: 1.0,
    };
}

impl Default for Hyperparameters {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// The stages of the training, in order.
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
    /// Pretrained elsewhere and stored in flash
    /// ([`FrameSource::weights`](crate::FrameSource::weights)).
    Flash,
}

/// Everything that determines one training.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(bound = "")]
pub struct Settings<S: LinearSolver = ConjugateGradient> {
    /// Seed of weights, batch order and augmentation.
    pub seed: u64,
    /// Where backbone and pretext head start from.
    pub start: Start,
    /// How a pretext view differs from its frame.
    pub views: Augmentation,
    /// τ of NT-Xent, above 0.
    pub temperature: f32,
    /// Descent on the pretext loss; `None` if it was done elsewhere.
    pub pretrain: Option<DescentSettings>,
    /// Descent on the downstream loss at θ_P, with the backbone frozen.
    pub warm_up: DescentSettings,
    /// The bilevel stage; `None` to go straight from pretraining to fine-tuning.
    pub align: Option<AlternationSettings<S>>,
    /// Descent on the downstream loss at θ_P.
    pub finetune: DescentSettings,
}

/// Unwraps the value or returns the error: `?` does not work in constants.
macro_rules! get {
    ($result:expr) => {
        match $result {
            Ok(value) => value,
            Err(error) => return Err(error),
        }
    };
}

const OPTIMIZER: Optimizer = Optimizer::Sgd { momentum: 0.9, weight_decay: 1e-4 };

/// A descent whose rate warms up for a tenth of its steps.
const fn descent(
    evaluation: Evaluation,
    rate: f32,
    steps: u32,
) -> Result<DescentSettings, ConfigError> {
    let schedule = get!(Schedule::new(rate, steps / 10, steps, 0.01));
    DescentSettings::new(evaluation, OPTIMIZER, schedule, None)
}

/// A level of the bilevel stage.
const fn level(steps: u32, alternations: u32, rate: f32) -> Result<Level, ConfigError> {
    let schedule = get!(Schedule::new(rate, 0, steps.saturating_mul(alternations), 0.1));
    Ok(Level { steps, optimizer: OPTIMIZER, schedule, clip: Some(CLIP) })
}

/// Both levels.
const fn levels(lengths: &Lengths, of: &Hyperparameters) -> Result<(Level, Level), ConfigError> {
    let lower = get!(level(lengths.lower_steps, lengths.alternations, of.lower_rate));
    let upper = get!(level(lengths.upper_steps, lengths.alternations, of.upper_rate));
    Ok((lower, upper))
}

impl Settings {
    /// The shipped rates and weights at the given lengths, with plain conjugate gradients of at
    /// most five products. If this is evaluated in a constant, the program holds the result and
    /// none of the code that checks it.
    ///
    /// # Errors
    /// A length is out of its range.
    pub const fn new(seed: u64, lengths: Lengths) -> Result<Self, ConfigError> {
        let of = &Hyperparameters::DEFAULT;
        let solver = get!(CgSettings::new(1e-2, 5));
        let coupling = Coupling::Proximity { weight: of.proximity };
        let hypergradient = get!(HypergradientSettings::with_conjugate_gradient(
            coupling,
            of.damping,
            of.direct_weight,
            solver
        ));
        let (lower, upper) = get!(levels(&lengths, of));
        let align = get!(AlternationSettings::with_conjugate_gradient(
            lengths.alternations,
            lower,
            upper,
            hypergradient
        ));
        Self::assemble(seed, lengths, of, align)
    }
}

impl<S: LinearSolver> Settings<S> {
    /// Settings with the given rates, weights and solver.
    ///
    /// # Errors
    /// A length, rate or weight is out of its range, or the solver does not fit.
    pub fn with(
        seed: u64,
        lengths: Lengths,
        of: &Hyperparameters,
        solver: S::Settings,
    ) -> Result<Self, ConfigError> {
        let coupling = Coupling::Proximity { weight: of.proximity };
        let hypergradient =
            HypergradientSettings::with_solver(coupling, of.damping, of.direct_weight, solver)?;
        let (lower, upper) = levels(&lengths, of)?;
        let align = AlternationSettings::new(lengths.alternations, lower, upper, hypergradient)?;
        Self::assemble(seed, lengths, of, align)
    }

    const fn assemble(
        seed: u64,
        lengths: Lengths,
        of: &Hyperparameters,
        align: AlternationSettings<S>,
    ) -> Result<Self, ConfigError> {
        let pretrain = get!(descent(Evaluation::Lower, of.pretrain_rate, lengths.pretrain));
        let at = Evaluation::UpperAtLower;
        Ok(Self {
            seed,
            start: Start::Random,
            views: PRETEXT_VIEWS,
            temperature: TEMPERATURE,
            pretrain: Some(pretrain),
            warm_up: get!(descent(at, of.warm_up_rate, lengths.warm_up)).frozen_backbone(),
            align: Some(align),
            finetune: get!(descent(at, of.finetune_rate, lengths.finetune)),
        })
    }

    /// These settings without warm-up and bilevel stage: the conventional path.
    #[must_use]
    pub const fn without_alignment(self) -> Self {
        Self { align: None, ..self }
    }

    /// These settings, starting from weights in flash.
    #[must_use]
    pub const fn from_flash(self) -> Self {
        Self { start: Start::Flash, ..self }
    }

    /// These settings, starting from weights in flash, without pretraining.
    #[must_use]
    pub const fn pretrained(self) -> Self {
        Self { pretrain: None, ..self.from_flash() }
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
