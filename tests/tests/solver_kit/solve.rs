//! One solve, watched: what the machine returned and everything it did on the way.

use bissl_core::{
    CgSettings, ConjugateGradient, Driver, Linear, Machine, Pending, Register, Reply, Report,
    Request,
};

use crate::dense::{DenseDriver, linear};
use crate::matrix::{Matrix, dot};
use crate::systems::System;

/// A solve and its history.
#[derive(Clone, Debug)]
pub(crate) struct Solve {
    pub(crate) report: Report,
    /// `Solution` at the end.
    pub(crate) x: Vec<f64>,
    /// `Solution` after each update.
    pub(crate) iterates: Vec<Vec<f64>>,
    /// pᵀAp/pᵀp of each product, in f64.
    pub(crate) quotients: Vec<f64>,
}

/// A machine that asks for more than this is not going to end.
const REQUESTS_MAX: usize = 20_000;

/// Runs a solver to its end.
pub(crate) fn watch<M: Machine<Output = Report>>(mut machine: M, system: &System) -> Solve {
    let mut driver = linear(system.a.clone(), system.b.clone());
    watch_on(&mut driver, &mut machine)
}

/// The same on registers in which an earlier solve may have left something; b in `Residual`.
pub(crate) fn watch_on<M: Machine<Output = Report>>(
    driver: &mut DenseDriver<Matrix>,
    machine: &mut M,
) -> Solve {
    let (mut iterates, mut quotients) = (Vec::new(), Vec::new());
    let report = converse(driver, machine, |driver, request, _| match *request {
        Request::Axpby { y: Register::Solution, .. }
        | Request::SegmentAxpby { y: Register::Solution, .. } => {
            iterates.push(driver.read(Register::Solution).to_vec());
        }
        Request::Apply { src, dst } => {
            let direction = driver.read(src);
            quotients.push(dot(direction, driver.read(dst)) / dot(direction, direction));
        }
        _ => {}
    });
    let x = driver.read(Register::Solution).to_vec();
    Solve { report, x, iterates, quotients }
}

/// Runs a solver to its end. `watch` sees the registers after each request, and may change them.
pub(crate) fn converse<M: Machine<Output = Report>>(
    driver: &mut DenseDriver<Matrix>,
    machine: &mut M,
    mut watch: impl FnMut(&mut DenseDriver<Matrix>, &Request, Reply),
) -> Report {
    let mut scalars = [f32::NAN; 64];
    for _ in 0..REQUESTS_MAX {
        let (ticket, request) = match machine.pending() {
            Pending::Request(ticket, request) => (ticket, request),
            Pending::Event(..) => panic!("a solver has no events"),
            Pending::Done(report) => return report,
        };
        let reply = Linear(driver).perform(&request, &mut scalars).unwrap();
        watch(driver, &request, reply);
        machine.step(ticket, reply, &mut scalars).unwrap();
    }
    panic!("more than {REQUESTS_MAX} requests");
}

/// `cg` with these settings.
pub(crate) fn cg(system: &System, tolerance: f32, iterations_max: u16) -> Solve {
    let settings = CgSettings::new(tolerance, iterations_max).unwrap();
    watch(ConjugateGradient::new(settings), system)
}

/// The conditions of a solve in which the operator gives what `product(i)` says in call i, on
/// `a x = b` in one dimension: for faults that no matrix has.
pub(crate) fn cg_with_faults(b: f64, product: impl Fn(usize, f64) -> f64) -> Solve {
    let mut driver = linear(Matrix::new(1, 1, |_, _| 1.0), vec![b]);
    let mut machine = ConjugateGradient::new(CgSettings::new(0.0, 50).unwrap());
    let report = converse(&mut driver, &mut machine, |driver, request, _| {
        if let Request::Apply { src, dst } = *request {
            let value = product(driver.products - 1, driver.read(src)[0]);
            driver.write(dst, vec![value]).unwrap();
        }
    });
    let x = driver.read(Register::Solution).to_vec();
    Solve { report, x, iterates: Vec::new(), quotients: Vec::new() }
}
