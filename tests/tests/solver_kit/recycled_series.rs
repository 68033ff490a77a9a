//! Tool: solves one after the other with the same A, the banks kept between them.

use bissl_core::{
    Bank, CgSettings, RecycledCg, RecycledCgSettings, Register, Reply, Request, SolverMemory,
};

use crate::dense::{DenseDriver, linear};
use crate::matrix::{Matrix, Spectral, add, dot, draws, gaussian, norm, scale};
use crate::solve::{Solve, converse};
use crate::systems::System;

/// The banks and what the solver knows of them.
pub(crate) struct Series {
    pub(crate) settings: RecycledCgSettings,
    pub(crate) driver: DenseDriver<Matrix>,
    pub(crate) memory: SolverMemory,
    system: System,
}

/// One solve of a series.
pub(crate) struct Solved {
    /// A with this solve's b.
    pub(crate) system: System,
    pub(crate) solve: Solve,
    /// The kept directions when it began.
    pub(crate) before: Vec<Vec<f64>>,
    /// `P Pᵀb`.
    pub(crate) projection: Vec<f64>,
    /// Replies that carried scalars.
    pub(crate) reads: usize,
    /// Registers of the banks that were written, in order.
    pub(crate) written: Vec<Register>,
    /// The most vectors of a bank that a request named.
    pub(crate) count_max: u8,
}

/// Neither tolerance, so that only the limit stops.
pub(crate) fn limited(iterations_max: u16, capacity: u8) -> RecycledCgSettings {
    until(0.0, iterations_max, capacity)
}

/// Every solve verified.
pub(crate) fn until(tolerance: f32, iterations_max: u16, capacity: u8) -> RecycledCgSettings {
    RecycledCgSettings::new(CgSettings::new(tolerance, iterations_max).unwrap(), capacity, 1)
        .unwrap()
}

impl Series {
    /// Empty banks; `system` gives A and names failures.
    pub(crate) fn new(system: &System, settings: RecycledCgSettings) -> Self {
        let driver = linear(system.a.clone(), system.b.clone());
        let memory = SolverMemory::default();
        Self { settings, driver, memory, system: system.clone() }
    }

    /// Solves `A x = b`.
    pub(crate) fn solve(&mut self, b: &[f64]) -> Solved {
        self.solve_with_faults(b, |_, product| product)
    }

    /// The same with an operator that gives `fault(i, A p)` in the solve's call i.
    pub(crate) fn solve_with_faults(
        &mut self,
        b: &[f64],
        fault: impl Fn(usize, Vec<f64>) -> Vec<f64>,
    ) -> Solved {
        let mut system = self.system.clone();
        system.b = b.to_vec();
        self.driver.write(Register::Residual, b.to_vec()).unwrap();
        let before = self.bank(Bank::Basis);
        let mut machine = RecycledCg::new(self.settings, self.memory);
        let (mut iterates, mut quotients) = (Vec::new(), Vec::new());
        let (mut reads, mut written, mut count_max) = (0, Vec::new(), 0);
        let mut projection = Vec::new();
        let report = converse(&mut self.driver, &mut machine, |driver, request, reply| {
            reads += usize::from(matches!(reply, Reply::Scalars(1..)));
            match *request {
                Request::Combine { y: Register::Solution, .. } => {
                    projection = driver.read(Register::Solution).to_vec();
                }
                Request::Axpby { y: Register::Solution, .. } => {
                    iterates.push(driver.read(Register::Solution).to_vec());
                }
                Request::Axpby { y, .. } if matches!(y, Register::Banked(..)) => written.push(y),
                Request::BasisDots { count, .. } => count_max = count.max(count_max),
                Request::Apply { src, dst } => {
                    let product = fault(quotients.len(), driver.read(dst).to_vec());
                    let direction = driver.read(src);
                    quotients.push(dot(direction, &product) / dot(direction, direction));
                    driver.write(dst, product).unwrap();
                }
                _ => {}
            }
        });
        self.memory = machine.memory();
        let x = self.driver.read(Register::Solution).to_vec();
        let solve = Solve { report, x, iterates, quotients };
        Solved { system, solve, before, projection, reads, written, count_max }
    }

    /// The vectors in use of one bank.
    pub(crate) fn bank(&self, bank: Bank) -> Vec<Vec<f64>> {
        let registers = (0..self.memory.count()).map(|i| Register::Banked(bank, i));
        registers.map(|register| self.driver.read(register).to_vec()).collect()
    }

    /// The largest entry of |PᵀAP − I|, A from the matrix and not from the bank.
    pub(crate) fn conjugacy_error(&self) -> f64 {
        let basis = self.bank(Bank::Basis);
        let mut worst = 0.0f64;
        for (i, p) in basis.iter().enumerate() {
            let product = self.system.a.times(p);
            for (j, q) in basis.iter().enumerate() {
                let expected = f64::from(u8::from(i == j));
                // A NaN is worse than anything.
                let error = (dot(q, &product) - expected).abs();
                worst = if error <= worst { worst } else { error };
            }
        }
        worst
    }

    /// `b + P (PᵀAP)⁻¹ (Pᵀb − (AP)ᵀb)` with A from the matrix (`docs/method.md`).
    pub(crate) fn prediction(&self, b: &[f64]) -> Vec<f64> {
        let basis = self.bank(Bank::Basis);
        let products: Vec<Vec<f64>> = basis.iter().map(|p| self.system.a.times(p)).collect();
        if basis.is_empty() {
            return b.to_vec();
        }
        let gram = Matrix::new(basis.len(), basis.len(), |i, j| dot(&basis[i], &products[j]));
        let right: Vec<f64> =
            basis.iter().zip(&products).map(|(p, ap)| dot(p, b) - dot(ap, b)).collect();
        combination(b, &basis, &gram.solve(&right))
    }
}

/// `start + Σ coordinates[i] vectors[i]`.
pub(crate) fn combination(start: &[f64], vectors: &[Vec<f64>], coordinates: &[f64]) -> Vec<f64> {
    vectors.iter().zip(coordinates).fold(start.to_vec(), |sum, (v, c)| add(&sum, *c, v))
}

/// The x in `span(vectors)` with `xᵀ(b − A x)` stationary, from an orthonormal basis of the span.
pub(crate) fn galerkin(system: &System, vectors: &[Vec<f64>]) -> Vec<f64> {
    let mut basis: Vec<Vec<f64>> = Vec::new();
    for vector in vectors {
        let mut rest = vector.clone();
        for _ in 0..2 {
            for direction in &basis {
                rest = add(&rest, -dot(direction, &rest), direction);
            }
        }
        if norm(&rest) > 1e-7 * norm(vector) {
            basis.push(scale(1.0 / norm(&rest), &rest));
        }
    }
    let products: Vec<Vec<f64>> = basis.iter().map(|v| system.a.times(v)).collect();
    let projected = Matrix::new(basis.len(), basis.len(), |i, j| dot(&basis[i], &products[j]));
    let right: Vec<f64> = basis.iter().map(|v| dot(v, &system.b)).collect();
    combination(&vec![0.0; system.b.len()], &basis, &projected.solve(&right))
}

/// `count` right-hand sides as in training: each the one before and a new part of `step` its size.
pub(crate) fn drifting(seed: u64, n: usize, count: usize, step: f64) -> Vec<Vec<f64>> {
    let mut draws = draws(seed, 40);
    let mut b = gaussian(&mut draws, n);
    (0..count)
        .map(|_| {
            let part = gaussian(&mut draws, n);
            b = add(&b, step * norm(&b) / norm(&part), &part);
            b.clone()
        })
        .collect()
}

/// `I + H/(λ+δ)` as networks have it: ten eigenvalues from `top` down, the rest near 0.
pub(crate) fn curved(seed: u64, n: usize, top: f64) -> System {
    let mut draws = draws(seed, 41);
    let values = (0..n)
        .map(|i| {
            let outlier = if i < 10 { 0.7f64.powi(i as i32) } else { 0.0 };
            1.0 + top * (outlier + 0.003 * f64::from(draws.uniform()))
        })
        .collect();
    let spectral = Spectral::new(values, &mut draws);
    let b = gaussian(&mut draws, n);
    System::of(&format!("top eigenvalue {top}"), seed, &spectral, b)
}
