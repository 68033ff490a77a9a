//! Settings of the core's machines, once the number of steps is known.

use bissl_core::{
    AlternationSettings, CgSettings, ConfigError, Coupling, DescentSettings, Evaluation,
    HypergradientSettings, Level, Optimizer, Schedule, SolverSettings,
};

use super::{
    AlignSettings, FinetuneSettings, LevelSettings, PretrainSettings, SolverName, WarmUpSettings,
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
    /// Descent of L^P over `steps_per_epoch` ≥ 1 steps an epoch.
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
    /// Descent of L^D in φ_D alone, at `(θ_D, φ_D)`, over `steps_per_epoch` ≥ 1 steps an epoch.
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
    /// Descent of L^D at `(θ_D, φ_D)` over `steps_per_epoch` ≥ 1 steps an epoch.
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
    /// `steps` an alternation, rates over all `alternations`.
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
    /// The bilevel stage.
    ///
    /// # Errors
    /// Too many steps.
    pub fn alternation(&self) -> Result<AlternationSettings, ConfigError> {
        let solver = match self.solver {
            SolverName::Cg => {
                SolverSettings::ConjugateGradient(CgSettings::new(self.tolerance, self.iterations)?)
            }
            SolverName::Identity => SolverSettings::Identity,
        };
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
