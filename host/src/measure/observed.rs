//! A driver that takes the time of every request and keeps what the solves were about.

use std::time::Instant;

use bissl_core::{DriveError, Driver, Evaluation, Register, Reply, Request, Training};

use super::memory;
use crate::driver::{DriverError, Problem};
use crate::kernels::{Kernels, read};

/// Seconds by what they went into.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Seconds {
    /// Gradients of L^P.
    pub(super) lower: f64,
    /// Linearisations.
    pub(super) linearization: f64,
    /// Products.
    pub(super) products: f64,
    /// Gradients of L^D.
    pub(super) upper: f64,
    /// Vector operations of solvers and optimisers.
    pub(super) vectors: f64,
}

impl Seconds {
    pub(super) fn total(&self) -> f64 {
        self.lower + self.linearization + self.products + self.upper + self.vectors
    }
}

/// One linear solve and its hypergradient, on the host.
#[derive(Clone, Debug)]
pub(super) struct Solved {
    /// b = g_P.
    pub(super) rhs: Vec<f32>,
    /// x.
    pub(super) solution: Vec<f32>,
    /// g_D.
    pub(super) direct: Vec<f32>,
}

/// Performs requests on a problem and watches.
pub(super) struct Observed<'p, 'n, B: Kernels> {
    pub(super) problem: &'p mut Problem<'n, B>,
    pub(super) seconds: Seconds,
    pub(super) products: u32,
    pub(super) solves: Vec<Solved>,
    /// Batch of the products of the present alternation.
    pub(super) linearized: u32,
    /// Peak bytes without what is kept here.
    pub(super) peak: usize,
    /// Every product differentiates the gradient anew, as the published algorithm does.
    rebuilds: bool,
    kept: usize,
}

impl<'p, 'n, B: Kernels> Observed<'p, 'n, B> {
    pub(super) fn new(problem: &'p mut Problem<'n, B>, rebuilds: bool) -> Self {
        memory::reset_peak();
        Self {
            problem,
            seconds: Seconds::default(),
            products: 0,
            solves: Vec::new(),
            linearized: 0,
            peak: 0,
            rebuilds,
            kept: 0,
        }
    }

    /// Forgets the solves, begins new sums.
    pub(super) fn take(&mut self) -> (Seconds, u32, Vec<Solved>) {
        self.note_peak();
        self.kept = 0;
        let solves = std::mem::take(&mut self.solves);
        (std::mem::take(&mut self.seconds), std::mem::take(&mut self.products), solves)
    }

    /// Begins a new peak; what ran in between is not this driver's.
    pub(super) fn resume(&mut self) {
        memory::reset_peak();
    }

    fn note_peak(&mut self) {
        self.peak = self.peak.max(memory::peak().saturating_sub(self.kept));
        memory::reset_peak();
    }

    fn keep(&mut self, register: Register) -> Result<Vec<f32>, DriverError> {
        self.note_peak();
        let before = memory::live();
        let tensor = self.problem.registers.get(register)?;
        let values = read(tensor).into_iter().map(|x| x as f32).collect();
        self.kept += memory::live().saturating_sub(before);
        memory::reset_peak();
        Ok(values)
    }

    /// What is to be kept before a request is performed: x, when the direct gradient is asked for.
    fn before(&mut self, request: &Request) -> Result<(), DriverError> {
        if let Request::Gradient { evaluation: Evaluation::UpperAtUpper, .. } = request {
            let solution = self.keep(Register::Solution)?;
            if let Some(solved) = self.solves.last_mut() {
                solved.solution = solution;
            }
        }
        Ok(())
    }

    /// What is to be kept after it: b and g_D.
    fn after(&mut self, request: &Request) -> Result<(), DriverError> {
        match request {
            Request::Gradient { evaluation: Evaluation::UpperAtLower, .. } => {
                let rhs = self.keep(Register::Residual)?;
                self.solves.push(Solved { rhs, solution: Vec::new(), direct: Vec::new() });
            }
            Request::Gradient { evaluation: Evaluation::UpperAtUpper, .. } => {
                let direct = self.keep(Register::Product)?;
                if let Some(solved) = self.solves.last_mut() {
                    solved.direct = direct;
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn time(&mut self, request: &Request) -> &mut f64 {
        match request {
            Request::Gradient { evaluation: Evaluation::Lower, .. } => &mut self.seconds.lower,
            Request::Gradient { .. } => &mut self.seconds.upper,
            Request::Linearize { .. } => &mut self.seconds.linearization,
            Request::Product { .. } => &mut self.seconds.products,
            _ => &mut self.seconds.vectors,
        }
    }

    fn compute(
        &mut self,
        request: &Request,
        scalars: &mut [f32],
    ) -> Result<Reply, DriveError<DriverError>> {
        match *request {
            Request::Linearize { index } => {
                self.linearized = index;
                if self.rebuilds {
                    return Ok(Reply::Ack);
                }
            }
            Request::Product { .. } => {
                self.products += 1;
                if self.rebuilds {
                    // Forward, backward, and the derivative of both: nine forward units.
                    self.problem
                        .linearize_with_gradient(self.linearized)
                        .map_err(DriveError::Problem)?;
                }
            }
            _ => {}
        }
        let reply = Training(&mut *self.problem).perform(request, scalars)?;
        if self.rebuilds && matches!(request, Request::Product { .. }) {
            self.problem.release();
        }
        Ok(reply)
    }
}

impl<B: Kernels> Driver for Observed<'_, '_, B> {
    type Error = DriveError<DriverError>;

    fn perform(&mut self, request: &Request, scalars: &mut [f32]) -> Result<Reply, Self::Error> {
        self.before(request).map_err(DriveError::Problem)?;
        let start = Instant::now();
        let reply = self.compute(request, scalars)?;
        B::wait(self.problem.registers.device());
        *self.time(request) += start.elapsed().as_secs_f64();
        self.after(request).map_err(DriveError::Problem)?;
        Ok(reply)
    }
}
