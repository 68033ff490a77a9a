//! A driver that times every request and keeps the vectors of the solves.

use std::time::Instant;

use bissl_core::{DriveError, Driver, Evaluation, Register, Reply, Request, Training};

use super::{DriverError, Problem};
use crate::kernels::{Kernels, allocator, read};

/// Seconds spent on each kind of request.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Seconds {
    /// Gradients of L^P.
    pub(crate) lower: f64,
    /// Linearisations.
    pub(crate) linearization: f64,
    /// Products.
    pub(crate) products: f64,
    /// Gradients of L^D.
    pub(crate) upper: f64,
    /// Vector operations of solvers and optimisers.
    pub(crate) vectors: f64,
}

impl Seconds {
    pub(crate) fn total(&self) -> f64 {
        self.lower + self.linearization + self.products + self.upper + self.vectors
    }
}

/// One linear solve and its hypergradient, on the host.
#[derive(Clone, Debug)]
pub(crate) struct Solved {
    /// b = g_P.
    pub(crate) rhs: Vec<f32>,
    /// x.
    pub(crate) solution: Vec<f32>,
    /// g_D.
    pub(crate) direct: Vec<f32>,
}

/// Performs requests on a problem and observes them.
pub(crate) struct Observed<'p, 'n, B: Kernels> {
    pub(crate) problem: &'p mut Problem<'n, B>,
    pub(crate) seconds: Seconds,
    pub(crate) products: u32,
    pub(crate) solves: Vec<Solved>,
    /// Index of the product batch of the current alternation.
    pub(crate) linearized: u32,
    /// Peak bytes, without what this driver keeps.
    pub(crate) peak: usize,
    /// Whether every product differentiates the gradient anew, as the published algorithm does.
    rebuilds: bool,
    kept: usize,
}

impl<'p, 'n, B: Kernels> Observed<'p, 'n, B> {
    pub(crate) fn new(problem: &'p mut Problem<'n, B>, rebuilds: bool) -> Self {
        allocator::reset_peak();
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

    /// Returns and resets the seconds, the number of products, and the solves.
    pub(crate) fn take(&mut self) -> (Seconds, u32, Vec<Solved>) {
        self.note_peak();
        self.kept = 0;
        let solves = std::mem::take(&mut self.solves);
        (std::mem::take(&mut self.seconds), std::mem::take(&mut self.products), solves)
    }

    /// Restarts the measurement of the peak; memory used since the last request does not count.
    pub(crate) fn resume(&mut self) {
        allocator::reset_peak();
    }

    fn note_peak(&mut self) {
        self.peak = self.peak.max(allocator::peak().saturating_sub(self.kept));
        allocator::reset_peak();
    }

    fn keep(&mut self, register: Register) -> Result<Vec<f32>, DriverError> {
        self.note_peak();
        let before = allocator::live();
        let tensor = self.problem.registers.get(register)?;
        let values = read(tensor).into_iter().map(|x| x as f32).collect();
        self.kept += allocator::live().saturating_sub(before);
        allocator::reset_peak();
        Ok(values)
    }

    /// Keeps x before the direct gradient is computed.
    fn before(&mut self, request: &Request) -> Result<(), DriverError> {
        if let Request::Gradient { evaluation: Evaluation::UpperAtUpper, .. } = request {
            let solution = self.keep(Register::Solution)?;
            if let Some(solved) = self.solves.last_mut() {
                solved.solution = solution;
            }
        }
        Ok(())
    }

    /// Keeps b and g_D after they are computed.
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
