//! Settings of the core's machines, which need the number of steps.

use bissl_core::{
    AlternationSettings, CgSettings, ConfigError, Coupling, DescentSettings, Evaluation,
    HypergradientSettings, LayerwiseSettings, Level, MfacSettings, NeumannSettings,
    NystromSettings, Optimizer, RecycledCgSettings, Schedule, SobaSettings, SolverSettings,
};

use super::names::SolverName;
use super::settings::{
    AlignSettings, FinetuneSettings, LevelSettings, PretrainSettings, WarmUpSettings,
};

/// `epochs · steps_per_epoch`.
fn steps(epochs: u32, steps_per_epoch: u32) -> Result<u32, ConfigError> {
    epochs.checked_mul(steps_per_epoch).ok_or(ConfigError::OutOfRange {
        name: "epochs",
        value: epochs as f32,
        range: "a total number of steps below 2^32",
    })
}

impl PretrainSettings {
    /// Descent of L^P over `steps_per_epoch` ≥ 1 steps per epoch.
    ///
    /// # Errors
    /// Too many steps.
    pub fn descent(&self, steps_per_epoch: u32) -> Result<DescentSettings, ConfigError> {
        let total = steps(self.epochs, steps_per_epoch)?;
        let warm_up = steps(self.warm_up_epochs, steps_per_epoch)?;
        let schedule = Schedule::new(self.learning_rate, warm_up, total, self.floor)?;
        DescentSettings::new(Evaluation::Lower, self.optimizer, schedule, self.clip)
    }
}

impl WarmUpSettings {
    /// Descent of L^D in φ_D only, at `(θ_D, φ_D)`, over `steps_per_epoch` ≥ 1 steps per epoch.
    ///
    /// # Errors
    /// Too many steps.
    pub fn descent(&self, steps_per_epoch: u32) -> Result<DescentSettings, ConfigError> {
        let schedule =
            Schedule::constant(self.learning_rate, steps(self.epochs, steps_per_epoch)?)?;
        let optimizer = Optimizer::Sgd { momentum: self.momentum, weight_decay: self.weight_decay };
        let descent = DescentSettings::new(Evaluation::UpperAtUpper, optimizer, schedule, None)?;
        Ok(descent.frozen_backbone())
    }
}

impl FinetuneSettings {
    /// Descent of L^D at `(θ_D, φ_D)` over `steps_per_epoch` ≥ 1 steps per epoch.
    ///
    /// # Errors
    /// Too many steps.
    pub fn descent(&self, steps_per_epoch: u32) -> Result<DescentSettings, ConfigError> {
        let total = steps(self.epochs, steps_per_epoch)?;
        let schedule = Schedule::new(self.learning_rate, 0, total, self.floor)?;
        let optimizer = Optimizer::Sgd { momentum: self.momentum, weight_decay: self.weight_decay };
        DescentSettings::new(Evaluation::UpperAtUpper, optimizer, schedule, None)
    }
}

impl LevelSettings {
    /// `steps` per alternation; learning rates follow a schedule over all `alternations`.
    fn level(&self, steps: u32, alternations: u32) -> Result<Level, ConfigError> {
        let total = steps.checked_mul(alternations).ok_or(ConfigError::OutOfRange {
            name: "alternations",
            value: alternations as f32,
            range: "a total number of steps below 2^32",
        })?;
        let schedule = Schedule::new(self.learning_rate, self.warm_up_steps, total, self.floor)?;
        Ok(Level { steps, optimizer: self.optimizer, schedule, clip: self.clip })
    }
}

impl AlignSettings {
    /// Number of gradients m of M-FAC.
    pub fn mfac_gradients(&self) -> usize {
        self.mfac_gradients.unwrap_or(self.lower_steps as usize)
    }

    /// The chosen solver with its settings.
    ///
    /// # Errors
    /// A setting is out of its range.
    pub fn solver(&self) -> Result<SolverSettings, ConfigError> {
        let stop = CgSettings::new(self.tolerance, self.iterations)?
            .with_correction_tolerance(self.correction_tolerance)?;
        Ok(match self.solver {
            SolverName::Cg => SolverSettings::ConjugateGradient(stop),
            SolverName::RecycledCg => {
                let (capacity, verify_every) = (self.recycle_capacity, self.verify_every);
                let settings = RecycledCgSettings::new(stop, capacity, verify_every)?;
                SolverSettings::RecycledCg(settings.extrapolating())
            }
            SolverName::Layerwise => {
                SolverSettings::Layerwise(LayerwiseSettings::new(self.iterations)?)
            }
            SolverName::Neumann => SolverSettings::Neumann(
                NeumannSettings::new(self.tolerance, self.iterations)?
                    .with_correction_tolerance(self.correction_tolerance)?,
            ),
            SolverName::Nystrom => {
                SolverSettings::Nystrom(NystromSettings::new(self.nystrom_rank)?)
            }
            SolverName::Mfac => {
                let gradients = self.mfac_gradients();
                let range = "at most 255 gradients";
                let name = "mfac_gradients";
                let value = gradients as f32;
                let gradients = u8::try_from(gradients).map_err(|_| ConfigError::OutOfRange {
                    name,
                    value,
                    range,
                })?;
                SolverSettings::Mfac(MfacSettings::new(gradients, self.proximity)?)
            }
            SolverName::Soba => SolverSettings::Soba(SobaSettings::new(self.soba_step)?),
            SolverName::Identity => SolverSettings::Identity,
        })
    }

    /// Settings of the bilevel stage.
    ///
    /// # Errors
    /// Too many steps.
    pub fn alternation(&self) -> Result<AlternationSettings, ConfigError> {
        let solver = self.solver()?;
        let coupling = Coupling::Proximity { weight: self.proximity };
        let hypergradient =
            HypergradientSettings::new(coupling, self.damping, self.direct_weight, solver)?;
        AlternationSettings::new(
            self.alternations,
            self.lower.level(self.lower_steps, self.alternations)?,
            self.upper.level(self.upper_steps, self.alternations)?,
            hypergradient,
        )
    }
}
