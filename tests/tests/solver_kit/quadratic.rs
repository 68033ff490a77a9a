//! A bilevel problem whose lower level can be solved exactly.
//!
//! `L^P = ½ θᵀQθ − cᵀθ + ½ ρ‖φ − φ₀‖²` and `L^D = ½ zᵀSz − sᵀz` with `z = (θ, φ_D)`: the downstream
//! head is coupled to the backbone, the pretext head is not (its response is ignored by the
//! method).

use bissl_core::{Evaluation, Group, LowerObjective, Register, UpperObjective};

use crate::dense::{DenseDriver, DenseError};
use crate::matrix::{Matrix, Spectral, add, dot, draws, gaussian, scale};

/// What was asked of the problem, in order.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Call {
    Gradient(Evaluation, u32),
    Linearize(u32),
    Product,
}

#[derive(Clone, Debug)]
pub(crate) struct Quadratic {
    /// Q with its spectrum.
    pub(crate) curvature: Spectral,
    q: Matrix,
    c: Vec<f64>,
    pub(crate) pretext_target: Vec<f64>,
    s_matrix: Matrix,
    s: Vec<f64>,
    /// Batches differ by a shift of c and s with the step number; 0: all batches are the same.
    pub(crate) batch_noise: f64,
    /// The evaluation and step whose loss is not the loss.
    pub(crate) wrong_loss: Option<(Evaluation, u32, f32)>,
    pub(crate) calls: Vec<Call>,
    /// The batch of the products; `None` until `linearize`.
    pub(crate) linearized: Option<u32>,
}

/// ρ.
const PRETEXT_WEIGHT: f64 = 0.7;

impl Quadratic {
    /// Backbone of `values.len()`, Q with these eigenvalues, downstream head of `head`, pretext
    /// head of 2.
    pub(crate) fn new(seed: u64, values: &[f64], head: usize) -> Self {
        let mut draws = draws(seed, 30);
        let n = values.len();
        let curvature = Spectral::new(values.to_vec(), &mut draws);
        let upper_values = (0..n + head).map(|_| 0.2 + f64::from(draws.uniform())).collect();
        Self {
            q: curvature.matrix(),
            curvature,
            c: gaussian(&mut draws, n),
            pretext_target: gaussian(&mut draws, 2),
            s_matrix: Spectral::new(upper_values, &mut draws).matrix(),
            s: gaussian(&mut draws, n + head),
            batch_noise: 0.0,
            wrong_loss: None,
            calls: Vec::new(),
            linearized: Some(0),
        }
    }

    /// The same with a linear upper loss: g_P = g_D = `gradient`, head gradient 0.
    pub(crate) fn with_upper_gradient(mut self, gradient: &[f64]) -> Self {
        let n = self.s.len();
        self.s_matrix = Matrix::new(n, n, |_, _| 0.0);
        self.s = scale(-1.0, gradient);
        self.s.resize(n, 0.0);
        self
    }

    fn shifted(&self, vector: &[f64], index: u32) -> Vec<f64> {
        let shift = self.batch_noise * (f64::from(index) + 1.0).sin();
        vector.iter().map(|x| x + shift).collect()
    }

    fn told(&self, loss: f64, at: Evaluation, index: u32) -> f32 {
        match self.wrong_loss {
            Some((evaluation, step, wrong)) if (evaluation, step) == (at, index) => wrong,
            _ => loss as f32,
        }
    }

    /// L^P and its gradients by θ and φ_P.
    pub(crate) fn lower(
        &self,
        theta: &[f64],
        phi: &[f64],
        index: u32,
    ) -> (f64, Vec<f64>, Vec<f64>) {
        let c = self.shifted(&self.c, index);
        let product = self.q.times(theta);
        let offset = add(phi, -1.0, &self.pretext_target);
        let loss = 0.5 * dot(theta, &product) - dot(&c, theta)
            + 0.5 * PRETEXT_WEIGHT * dot(&offset, &offset);
        (loss, add(&product, -1.0, &c), scale(PRETEXT_WEIGHT, &offset))
    }

    /// L^D and its gradients by θ and φ_D.
    pub(crate) fn upper(
        &self,
        theta: &[f64],
        phi: &[f64],
        index: u32,
    ) -> (f64, Vec<f64>, Vec<f64>) {
        let s = self.shifted(&self.s, index);
        let z = [theta, phi].concat();
        let product = self.s_matrix.times(&z);
        let loss = 0.5 * dot(&z, &product) - dot(&s, &z);
        let mut backbone = add(&product, -1.0, &s);
        let head = backbone.split_off(theta.len());
        (loss, backbone, head)
    }

    /// θ_P*(θ_D), the minimiser of `L^P + (λ/2)‖θ − θ_D‖²`.
    pub(crate) fn lower_solution(&self, theta_upper: &[f64], proximity: f64) -> Vec<f64> {
        let right = add(&self.shifted(&self.c, 0), proximity, theta_upper);
        self.q.scaled_and_shifted(1.0, proximity).solve(&right)
    }

    /// The bilevel objective, the lower level solved exactly.
    pub(crate) fn objective(
        &self,
        theta_upper: &[f64],
        phi: &[f64],
        lambda: f64,
        gamma: f64,
    ) -> f64 {
        let lower = self.lower_solution(theta_upper, lambda);
        self.upper(&lower, phi, 0).0 + gamma * self.upper(theta_upper, phi, 0).0
    }

    /// H v.
    pub(crate) fn hessian_times(&self, v: &[f64]) -> Vec<f64> {
        self.q.times(v)
    }
}

/// The registers of a bilevel stage without optimiser states; parameters random from `seed`.
pub(crate) fn bilevel(problem: Quadratic, seed: u64) -> DenseDriver<Quadratic> {
    use Register::{
        Direction, DownstreamHeadDirect, DownstreamHeadGradient, Parameter, PretextHeadGradient,
        Product, Residual, Solution,
    };
    let mut draws = draws(seed, 31);
    let n = problem.c.len();
    let (head, pretext) = (problem.s.len() - n, problem.pretext_target.len());
    let parameters = [
        (Group::LowerBackbone, gaussian(&mut draws, n)),
        (Group::PretextHead, gaussian(&mut draws, pretext)),
        (Group::UpperBackbone, gaussian(&mut draws, n)),
        (Group::DownstreamHead, gaussian(&mut draws, head)),
    ];
    let driver = DenseDriver::new(problem)
        .unwritten(n, &[Solution, Residual, Direction, Product])
        .unwritten(head, &[DownstreamHeadGradient, DownstreamHeadDirect])
        .unwritten(pretext, &[PretextHeadGradient]);
    parameters.into_iter().fold(driver, |driver, (group, vector)| {
        let zeros = vec![0.0; vector.len()];
        driver
            .with(Register::Momentum(group), zeros.clone())
            .with(Register::SecondMoment(group), zeros)
            .with(Parameter(group), vector)
    })
}

impl LowerObjective for DenseDriver<Quadratic> {
    fn lower_gradient(
        &mut self,
        index: u32,
        backbone: Option<Register>,
        head: Register,
    ) -> Result<f32, DenseError> {
        self.problem.calls.push(Call::Gradient(Evaluation::Lower, index));
        let theta = self.look(Register::Parameter(Group::LowerBackbone))?;
        let phi = self.look(Register::Parameter(Group::PretextHead))?;
        let (loss, by_backbone, by_head) = self.problem.lower(theta, phi, index);
        if let Some(backbone) = backbone {
            self.write(backbone, by_backbone)?;
        }
        self.write(head, by_head)?;
        Ok(self.problem.told(loss, Evaluation::Lower, index))
    }

    fn linearize(&mut self, index: u32) -> Result<(), DenseError> {
        self.problem.calls.push(Call::Linearize(index));
        self.problem.linearized = Some(index);
        Ok(())
    }

    fn product(&mut self, src: Register, dst: Register) -> Result<(), DenseError> {
        self.problem.linearized.ok_or(DenseError::NoSuchOperation)?;
        self.problem.calls.push(Call::Product);
        self.products += 1;
        let product = self.problem.hessian_times(self.look(src)?);
        self.write(dst, product)
    }
}

impl UpperObjective for DenseDriver<Quadratic> {
    fn upper_gradient(
        &mut self,
        at: Evaluation,
        index: u32,
        backbone: Option<Register>,
        head: Register,
    ) -> Result<f32, DenseError> {
        self.problem.calls.push(Call::Gradient(at, index));
        let group = match at {
            Evaluation::UpperAtLower => Group::LowerBackbone,
            Evaluation::UpperAtUpper => Group::UpperBackbone,
            Evaluation::Lower => return Err(DenseError::NoSuchOperation),
        };
        let theta = self.look(Register::Parameter(group))?;
        let phi = self.look(Register::Parameter(Group::DownstreamHead))?;
        let (loss, by_backbone, by_head) = self.problem.upper(theta, phi, index);
        if let Some(backbone) = backbone {
            self.write(backbone, by_backbone)?;
        }
        self.write(head, by_head)?;
        Ok(self.problem.told(loss, at, index))
    }
}

/// Central differences of `f` along each coordinate of `x`.
pub(crate) fn differences(x: &[f64], f: impl Fn(&[f64]) -> f64) -> Vec<f64> {
    let step = 1e-5;
    (0..x.len())
        .map(|i| {
            let (mut above, mut below) = (x.to_vec(), x.to_vec());
            above[i] += step;
            below[i] -= step;
            (f(&above) - f(&below)) / (above[i] - below[i])
        })
        .collect()
}
