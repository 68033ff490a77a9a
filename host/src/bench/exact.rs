//! Solves to six digits, against which other solves are measured.

use crate::error::{Result, fail};
use bissl_core::{
    CgSettings, DriveError, Driver, Progress, RecycledCg, RecycledCgSettings, Register, Reply,
    Request, SolverMemory, Termination, Vectors, drive,
};

use crate::driver::observed::Solved;
use crate::driver::{DriverError, Problem, Registers};
use crate::kernels::Kernels;

/// Exact solves stop at ‖r‖ ≤ this share of ‖x‖.
const TOLERANCE: f32 = 1e-6;
const ITERATIONS_MAX: u16 = 400;
const CAPACITY: u8 = 32;

/// Error of one solve relative to the exact one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct SolveError {
    /// ‖x − x*‖/‖b − x*‖: the share of the second-order correction missed.
    pub(super) correction_missed: f64,
    /// ‖x − x*‖/‖x* + γ g_D‖.
    pub(super) hypergradient: f64,
    /// ‖b − x*‖/‖x* + γ g_D‖: the error of a hypergradient without any second-order correction.
    pub(super) identity: f64,
    /// ‖b − A x*‖/‖x*‖, recomputed.
    pub(super) exact_residual: f64,
}

/// The operator of one alternation, with its own registers.
struct System<'p, 'n, B: Kernels> {
    problem: &'p Problem<'n, B>,
    registers: Registers<B>,
    /// 1/(λ + δ).
    scale: f32,
}

impl<B: Kernels> Driver for System<'_, '_, B> {
    type Error = DriveError<DriverError>;

    fn perform(&mut self, request: &Request, scalars: &mut [f32]) -> Result<Reply, Self::Error> {
        let Request::Apply { src, dst } = *request else {
            return Vectors(&mut self.registers).perform(request, scalars);
        };
        let mut product = || {
            let direction = self.registers.get(src)?;
            let product = self.problem.curvature_product(&direction)?;
            self.registers.set(dst, product)
        };
        product().map_err(DriveError::Problem)?;
        let shift = Request::Axpby { a: 1.0, x: src, b: self.scale, y: dst };
        Vectors(&mut self.registers).perform(&shift, scalars)
    }
}

impl<B: Kernels> System<'_, '_, B> {
    fn solve(&mut self, memory: &mut SolverMemory, scalars: &mut [f32]) -> Result<Termination> {
        let stop = CgSettings::new(TOLERANCE, ITERATIONS_MAX)?;
        let mut machine = RecycledCg::new(RecycledCgSettings::new(stop, CAPACITY, 1)?, *memory);
        loop {
            if let Progress::Done(report) = drive(&mut machine, self, scalars)? {
                *memory = machine.memory();
                return Ok(report.termination);
            }
        }
    }

    /// ‖b − A x‖/‖x‖.
    fn residual(&mut self, rhs: &[f32], solution: &[f32], scalars: &mut [f32]) -> Result<f64> {
        self.registers.write(Register::Solution, solution.to_vec())?;
        let apply = Request::Apply { src: Register::Solution, dst: Register::Product };
        self.perform(&apply, scalars)?;
        let product = self.registers.read(Register::Product)?;
        Ok(distance(rhs, &product) / norm(solution))
    }
}

/// ‖x‖.
fn norm(x: &[f32]) -> f64 {
    x.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt()
}

/// ‖x − y‖.
fn distance(x: &[f32], y: &[f32]) -> f64 {
    x.iter().zip(y).map(|(x, y)| (f64::from(*x) - f64::from(*y)).powi(2)).sum::<f64>().sqrt()
}

/// Compares the solves of one alternation with exact ones on the same linearisation.
///
/// `None` for a solve whose operator showed negative curvature: solvers do not aim at x* then.
///
/// # Errors
/// An exact solve does not reach its tolerance.
pub(super) fn compare<B: Kernels>(
    problem: &Problem<'_, B>,
    solves: &[Solved],
    shift: f32,
    direct_weight: f32,
) -> Result<Vec<Option<SolveError>>> {
    let mut system = System { problem, registers: problem.empty_registers(), scale: 1.0 / shift };
    let mut scalars = vec![0.0; system.registers.scalars()];
    let mut memory = SolverMemory::default();
    let mut errors = Vec::new();
    for solved in solves {
        let rhs = &solved.rhs;
        system.registers.write(Register::Residual, rhs.clone())?;
        match system.solve(&mut memory, &mut scalars)? {
            Termination::Converged => {}
            Termination::NegativeCurvature => {
                errors.push(None);
                continue;
            }
            other => fail!(
                "the exact solve ended in {other:?} before |r| <= {TOLERANCE} |x| \
                 in {ITERATIONS_MAX} products"
            ),
        }
        let exact = system.registers.read(Register::Solution)?;
        let exact_residual = system.residual(rhs, &exact, &mut scalars)?;
        let hypergradient: Vec<f32> =
            exact.iter().zip(&solved.direct).map(|(x, g)| x + direct_weight * g).collect();
        let size = norm(&hypergradient);
        let (error, correction) = (distance(&solved.solution, &exact), distance(rhs, &exact));
        errors.push(Some(SolveError {
            correction_missed: error / correction,
            hypergradient: error / size,
            identity: correction / size,
            exact_residual,
        }));
    }
    Ok(errors)
}
