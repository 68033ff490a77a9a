//! Ridge regression as lower level, its validation loss as upper level.
//!
//! Lower: `½‖Xw − y‖²/m + ½ Σ λⱼ wⱼ²`. Upper: `½‖X'w + φ − y'‖²/m'`, φ an intercept, and as direct
//! term `½ κ Σ (λⱼ − 1)²`. The upper variable is λ, one regularisation weight a feature.

use bissl_core::{Evaluation, Group, LowerObjective, Register, UpperObjective};

use crate::dense::{DenseDriver, DenseError};
use crate::matrix::{Matrix, add, dot, draws, gaussian, scale};

#[derive(Clone, Debug)]
pub(crate) struct Ridge {
    training: (Matrix, Vec<f64>),
    validation: (Matrix, Vec<f64>),
}

/// κ.
const DIRECT: f64 = 0.3;

impl Ridge {
    pub(crate) fn new(seed: u64, features: usize) -> Self {
        let mut draws = draws(seed, 50);
        let truth = gaussian(&mut draws, features);
        let mut split = |samples: usize| {
            let x = Matrix::new(samples, features, |_, _| f64::from(draws.normal()));
            let y = add(&x.times(&truth), 0.5, &gaussian(&mut draws, samples));
            (x, y)
        };
        Self { training: split(features + 6), validation: split(features + 4) }
    }

    /// XᵀX/m + diag(λ).
    fn hessian(&self, weights: &[f64]) -> Matrix {
        let (x, y) = &self.training;
        let gram = x.gram().scaled_and_shifted(1.0 / y.len() as f64, 0.0);
        let n = weights.len();
        Matrix::new(n, n, |i, j| gram.at(i, j) + if i == j { weights[i] } else { 0.0 })
    }

    /// w*(λ).
    pub(crate) fn solution(&self, weights: &[f64]) -> Vec<f64> {
        let (x, y) = &self.training;
        self.hessian(weights).solve(&scale(1.0 / y.len() as f64, &x.transposed_times(y)))
    }

    /// The validation loss with its gradients by w and φ.
    fn validation(&self, w: &[f64], phi: f64) -> (f64, Vec<f64>, f64) {
        let (x, y) = &self.validation;
        let count = y.len() as f64;
        let error: Vec<f64> =
            x.times(w).iter().zip(y).map(|(predicted, y)| predicted + phi - y).collect();
        let gradient = scale(1.0 / count, &x.transposed_times(&error));
        (0.5 * dot(&error, &error) / count, gradient, error.iter().sum::<f64>() / count)
    }

    fn direct(weights: &[f64]) -> (f64, Vec<f64>) {
        let offset: Vec<f64> = weights.iter().map(|weight| weight - 1.0).collect();
        (0.5 * DIRECT * dot(&offset, &offset), scale(DIRECT, &offset))
    }

    /// What the upper level minimises, the lower level solved exactly.
    pub(crate) fn objective(&self, weights: &[f64], phi: f64, gamma: f64) -> f64 {
        self.validation(&self.solution(weights), phi).0 + gamma * Self::direct(weights).0
    }

    /// The same where the lower regularisation is `(λ/2)‖w − u‖²`, u the upper variable.
    pub(crate) fn proximity_objective(&self, u: &[f64], phi: f64, lambda: f64, gamma: f64) -> f64 {
        self.validation(&self.proximal_solution(u, lambda), phi).0 + gamma * Self::direct(u).0
    }

    /// argmin of `½‖Xw − y‖²/m + (λ/2)‖w − u‖²`.
    pub(crate) fn proximal_solution(&self, u: &[f64], lambda: f64) -> Vec<f64> {
        let (x, y) = &self.training;
        let right = add(&scale(1.0 / y.len() as f64, &x.transposed_times(y)), lambda, u);
        self.hessian(&vec![lambda; u.len()]).solve(&right)
    }
}

/// Which lower level the driver's products belong to.
#[derive(Clone, Debug)]
pub(crate) struct RidgeProblem {
    pub(crate) ridge: Ridge,
    /// Whether λ of `UpperBackbone` regularises (general coupling), or the upper variable is the
    /// centre of a proximity term that the machine knows about.
    pub(crate) weights_are_upper: bool,
}

fn upper_variable(driver: &DenseDriver<RidgeProblem>) -> Result<Vec<f64>, DenseError> {
    driver.look(Register::Parameter(Group::UpperBackbone)).cloned()
}

impl LowerObjective for DenseDriver<RidgeProblem> {
    fn lower_gradient(
        &mut self,
        _: u32,
        _: Option<Register>,
        _: Register,
    ) -> Result<f32, DenseError> {
        Err(DenseError::NoSuchOperation)
    }

    fn linearize(&mut self, _: u32) -> Result<(), DenseError> {
        Ok(())
    }

    fn product(&mut self, src: Register, dst: Register) -> Result<(), DenseError> {
        let mut weights = upper_variable(self)?;
        if !self.problem.weights_are_upper {
            weights.fill(0.0);
        }
        let product = self.problem.ridge.hessian(&weights).times(self.look(src)?);
        self.write(dst, product)
    }

    /// `−∂²L/∂λⱼ∂wⱼ = −wⱼ`.
    fn cross_product(&mut self, src: Register, dst: Register) -> Result<(), DenseError> {
        if !self.problem.weights_are_upper {
            return Err(DenseError::NoSuchOperation);
        }
        self.products += 1;
        let w = self.look(Register::Parameter(Group::LowerBackbone))?;
        let product = w.iter().zip(self.look(src)?).map(|(w, x)| -w * x).collect();
        self.write(dst, product)
    }
}

impl UpperObjective for DenseDriver<RidgeProblem> {
    fn upper_gradient(
        &mut self,
        at: Evaluation,
        _: u32,
        backbone: Option<Register>,
        head: Register,
    ) -> Result<f32, DenseError> {
        let phi = self.look(Register::Parameter(Group::DownstreamHead))?[0];
        let w = self.look(Register::Parameter(Group::LowerBackbone))?;
        let (loss, gradient, by_head) = match at {
            Evaluation::UpperAtLower => self.problem.ridge.validation(w, phi),
            _ => {
                let (loss, gradient) = Ridge::direct(&upper_variable(self)?);
                (loss, gradient, 0.0)
            }
        };
        if let Some(backbone) = backbone {
            self.write(backbone, gradient)?;
        }
        self.write(head, vec![by_head])?;
        Ok(loss as f32)
    }
}

/// The registers of a ridge problem at `w = lower`, upper variable `upper`, intercept `phi`.
pub(crate) fn driver(
    problem: RidgeProblem,
    lower: Vec<f64>,
    upper: Vec<f64>,
    phi: f64,
) -> DenseDriver<RidgeProblem> {
    use Register::{
        DirectGradient, Direction, DownstreamHeadDirect, DownstreamHeadGradient, Hypergradient,
        Parameter, Product, Residual, Solution,
    };
    let n = lower.len();
    DenseDriver::new(problem)
        .unwritten(n, &[Solution, Residual, Direction, Product])
        .unwritten(upper.len(), &[Hypergradient, DirectGradient])
        .unwritten(1, &[DownstreamHeadGradient, DownstreamHeadDirect])
        .with(Parameter(Group::LowerBackbone), lower)
        .with(Parameter(Group::UpperBackbone), upper)
        .with(Parameter(Group::DownstreamHead), vec![phi])
}
