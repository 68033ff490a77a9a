//! The problem: its data, its vectors, and the core's traits for them.

use bissl_core::{
    AdamCoefficients, CgSettings, ConjugateGradient, Coupling, DriveError, Evaluation, Group,
    Hypergradient, HypergradientRecord, HypergradientSettings, Linear, LowerObjective, Machine,
    Operator, Progress, Register, RegisterFile, SolverSettings, Stream, Training, UpperObjective,
    drive,
};

use crate::rows::{Samples, accumulate, dot};

/// The problem: its data, its parameters, and the vectors that the machines name.
pub(crate) struct Regression {
    pub(crate) training: Samples,
    pub(crate) validation: Samples,
    /// α, the upper variable.
    pub(crate) alpha: Vec<f32>,
    /// θ, the lower variable.
    pub(crate) theta: Vec<f32>,
    /// exp(α), and `p (1 − p)/n` of each training row at θ: what `linearize` finds out for all
    /// products.
    penalty: Vec<f32>,
    curvature: Vec<f32>,
    /// One vector for each entry of [`REGISTERS`].
    vectors: [Vec<f32>; REGISTERS.len()],
}

/// What a hypergradient without a direct term needs.
const REGISTERS: [Register; 5] = [
    Register::Solution,
    Register::Residual,
    Register::Direction,
    Register::Product,
    Register::Hypergradient,
];

/// Gradients of a head are asked for by name; there is none, and nobody writes to this.
const NO_HEAD: Register = Register::PretextHeadGradient;

/// What this problem does not have.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Missing {
    Register(Register),
    Operation(&'static str),
}

impl std::fmt::Display for Missing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Register(register) => write!(f, "no register {register:?}, only {REGISTERS:?}"),
            Self::Operation(name) => write!(f, "logistic regression has no {name}"),
        }
    }
}

/// 1/(1 + e^−z).
fn sigmoid(z: f32) -> f32 {
    1.0 / (1.0 + (-z).exp())
}

/// Mean loss at θ; its gradient goes to `out`.
fn loss_and_gradient(samples: &Samples, theta: &[f32], out: &mut [f32]) -> f32 {
    let scale = 1.0 / samples.labels.len() as f32;
    let mut loss = 0.0;
    accumulate(samples, theta, out, |i, score| {
        let margin = samples.labels[i] * score;
        // log(1 + e^−m) and e^−m/(1 + e^−m) without overflow.
        let small = (-margin.abs()).exp();
        loss += f64::from((-margin).max(0.0) + small.ln_1p());
        let wrong = if margin > 0.0 { small } else { 1.0 } / (1.0 + small);
        -samples.labels[i] * wrong * scale
    });
    loss as f32 * scale
}

impl Regression {
    /// Random data of a sparse truth: `samples` rows for each level, `length` features.
    pub(crate) fn random(seed: u64, samples: usize, length: usize) -> Self {
        let mut truth = Stream::new(seed, 0).at(0);
        let truth: Vec<f32> =
            (0..length).map(|j| if j % 5 == 0 { truth.normal() } else { 0.0 }).collect();
        let scale = (5.0 / length as f32).sqrt();
        let draw = |domain| {
            let mut labels = Vec::with_capacity(samples);
            let mut features = Vec::with_capacity(samples * length);
            for i in 0..samples {
                let mut draws = Stream::new(seed, domain).at(i as u64);
                let row: Vec<f32> = (0..length).map(|_| draws.normal()).collect();
                let score = 2.0 * scale * dot(&row, &truth) as f32;
                labels.push(if draws.chance(sigmoid(score)) { 1.0 } else { -1.0 });
                features.extend(row);
            }
            Samples { features, labels }
        };
        let mut draws = Stream::new(seed, 3).at(0);
        Self {
            training: draw(1),
            validation: draw(2),
            alpha: (0..length).map(|_| draws.uniform_in(-2.0, 0.0)).collect(),
            theta: vec![0.0; length],
            penalty: vec![0.0; length],
            curvature: vec![0.0; samples],
            vectors: REGISTERS.map(|_| vec![0.0; length]),
        }
    }

    fn slot(register: Register) -> Result<usize, Missing> {
        let found = REGISTERS.iter().position(|known| *known == register);
        found.ok_or(Missing::Register(register))
    }

    pub(crate) fn read(&self, register: Register) -> Result<&[f32], Missing> {
        Ok(&self.vectors[Self::slot(register)?])
    }

    /// Lets `change` overwrite one vector while it reads everything else.
    fn write(
        &mut self,
        register: Register,
        change: impl FnOnce(&Self, &mut [f32]) -> Result<(), Missing>,
    ) -> Result<(), Missing> {
        let slot = Self::slot(register)?;
        let mut vector = std::mem::take(&mut self.vectors[slot]);
        let result = change(self, &mut vector);
        self.vectors[slot] = vector;
        result
    }

    /// Newton's method on the lower level; returns ‖∇L‖ at the end.
    ///
    /// Each step is a linear solve with the same Hessian, by the core's conjugate gradients.
    pub(crate) fn solve_lower(&mut self) -> Result<f64, DriveError<Missing>> {
        let settings = CgSettings::new(1e-6, 200).expect("a tolerance below one");
        let mut norm = f64::INFINITY;
        for index in 0..12 {
            self.linearize(index)
                .and_then(|()| self.lower_gradient(index, Some(Register::Residual), NO_HEAD))
                .map_err(DriveError::Problem)?;
            let gradient = self.read(Register::Residual).map_err(DriveError::Problem)?;
            norm = dot(gradient, gradient).sqrt();
            let mut solver = ConjugateGradient::new(settings);
            run(&mut solver, &mut Linear(self))?;
            let step = self.read(Register::Solution).map_err(DriveError::Problem)?.to_vec();
            self.theta.iter_mut().zip(step).for_each(|(theta, step)| *theta -= step);
        }
        self.linearize(0).map_err(DriveError::Problem)?;
        Ok(norm)
    }

    /// The hypergradient at (θ, α), left in its register; θ has been linearised.
    pub(crate) fn hypergradient(
        &mut self,
        products: u16,
    ) -> Result<HypergradientRecord, DriveError<Missing>> {
        let stop = CgSettings::new(0.0, products).expect("at least one product");
        let solver = SolverSettings::ConjugateGradient(stop);
        let settings = HypergradientSettings::new(Coupling::General, 0.0, 0.0, solver)
            .expect("weights are not negative");
        run(&mut Hypergradient::new(settings, 0), &mut Training(self))
    }
}

/// Runs a machine that has no events to its end.
fn run<M: Machine, D>(machine: &mut M, driver: &mut D) -> Result<M::Output, D::Error>
where
    D: bissl_core::Driver<Error = DriveError<Missing>>,
{
    match drive(machine, driver, &mut [0.0; 4])? {
        Progress::Done(output) => Ok(output),
        Progress::Event(_) => unreachable!("solves and hypergradients have no events"),
    }
}

impl RegisterFile for Regression {
    type Error = Missing;

    fn zero(&mut self, dst: Register) -> Result<(), Missing> {
        self.write(dst, |_, dst| {
            dst.fill(0.0);
            Ok(())
        })
    }

    fn copy(&mut self, src: Register, dst: Register) -> Result<(), Missing> {
        self.write(dst, |problem, dst| {
            dst.copy_from_slice(problem.read(src)?);
            Ok(())
        })
    }

    fn axpby(&mut self, a: f32, x: Register, b: f32, y: Register) -> Result<(), Missing> {
        self.write(y, |problem, y| {
            for (y, x) in y.iter_mut().zip(problem.read(x)?) {
                // A factor of 0 reads nothing: the vector may hold anything.
                let kept = if b == 0.0 { 0.0 } else { b * *y };
                *y = if a == 0.0 { kept } else { a * x + kept };
            }
            Ok(())
        })
    }

    fn dots(&mut self, pairs: &[(Register, Register)], scalars: &mut [f32]) -> Result<(), Missing> {
        for ((x, y), scalar) in pairs.iter().zip(scalars) {
            *scalar = dot(self.read(*x)?, self.read(*y)?) as f32;
        }
        Ok(())
    }

    fn segment_dots(&mut self, _: &[(Register, Register)], _: &mut [f32]) -> Result<u32, Missing> {
        Err(Missing::Operation("parameter tensors"))
    }

    fn segment_axpby(
        &mut self,
        _: &[f32],
        _: Register,
        _: f32,
        _: Register,
    ) -> Result<(), Missing> {
        Err(Missing::Operation("parameter tensors"))
    }

    fn adam(&mut self, _: Group, _: Register, _: &AdamCoefficients) -> Result<(), Missing> {
        Err(Missing::Operation("optimiser state"))
    }

    fn sketch(&mut self, _: Register, _: u32) -> Result<(), Missing> {
        Err(Missing::Operation("sketches"))
    }
}

impl LowerObjective for Regression {
    fn lower_gradient(
        &mut self,
        _: u32,
        backbone: Option<Register>,
        _: Register,
    ) -> Result<f32, Missing> {
        let dst = backbone.ok_or(Missing::Operation("head of its own"))?;
        let mut loss = 0.0;
        self.write(dst, |problem, dst| {
            loss = loss_and_gradient(&problem.training, &problem.theta, dst);
            for ((dst, alpha), theta) in dst.iter_mut().zip(&problem.alpha).zip(&problem.theta) {
                let pull = alpha.exp() * theta;
                (loss, *dst) = (loss + 0.5 * pull * theta, *dst + pull);
            }
            Ok(())
        })?;
        Ok(loss)
    }

    /// Everything about θ that the products share: one pass over the data instead of one a product.
    fn linearize(&mut self, _: u32) -> Result<(), Missing> {
        self.penalty = self.alpha.iter().map(|alpha| alpha.exp()).collect();
        let scale = 1.0 / self.curvature.len() as f32;
        let rows = self.training.features.chunks_exact(self.theta.len());
        for (curvature, row) in self.curvature.iter_mut().zip(rows) {
            let p = sigmoid(dot(row, &self.theta) as f32);
            *curvature = p * (1.0 - p) * scale;
        }
        Ok(())
    }

    /// `H v = Xᵀ (c ∘ X v) + exp(α) ∘ v`.
    fn product(&mut self, src: Register, dst: Register) -> Result<(), Missing> {
        self.write(dst, |problem, dst| {
            let v = problem.read(src)?;
            accumulate(&problem.training, v, dst, |i, score| problem.curvature[i] * score);
            for ((dst, penalty), v) in dst.iter_mut().zip(&problem.penalty).zip(v) {
                *dst += penalty * v;
            }
            Ok(())
        })
    }

    /// `∂²L/∂α_j∂θ_j = exp(α_j) θ_j`, and nothing off the diagonal.
    fn cross_product(&mut self, src: Register, dst: Register) -> Result<(), Missing> {
        self.write(dst, |problem, dst| {
            let factors = problem.penalty.iter().zip(&problem.theta);
            for ((dst, x), (penalty, theta)) in dst.iter_mut().zip(problem.read(src)?).zip(factors)
            {
                *dst = -penalty * theta * x;
            }
            Ok(())
        })
    }
}

impl UpperObjective for Regression {
    /// The validation loss at θ; there is no head, and α enters only through θ.
    fn upper_gradient(
        &mut self,
        _: Evaluation,
        _: u32,
        backbone: Option<Register>,
        _: Register,
    ) -> Result<f32, Missing> {
        let dst = backbone.ok_or(Missing::Operation("head of its own"))?;
        let mut loss = 0.0;
        self.write(dst, |problem, dst| {
            loss = loss_and_gradient(&problem.validation, &problem.theta, dst);
            Ok(())
        })?;
        Ok(loss)
    }
}

/// For the lower level's Newton steps: the Hessian as the operator of a linear system.
impl Operator for Regression {
    fn apply(&mut self, src: Register, dst: Register) -> Result<(), Missing> {
        self.product(src, dst)
    }
}
