//! The laws of conjugate gradients, as checks of one watched solve. None looks at the machine.

use bissl_core::Termination;

use crate::krylov::optima;
use crate::matrix::{add, distance, dot, norm};
use crate::precision::{self, close};
use crate::solve::Solve;
use crate::systems::System;

/// What a law says: nothing, or how it was broken.
pub(crate) type Verdict = Result<(), String>;

fn require(holds: bool, message: impl FnOnce() -> String) -> Verdict {
    if holds { Ok(()) } else { Err(message()) }
}

/// The norms of the report are those of the returned x.
pub(crate) fn report_describes_norms(system: &System, solve: &Solve) -> Verdict {
    let (report, x, b) = (&solve.report, &solve.x, &system.b);
    let agree = |what: &str, found: f64, expected: f64, scale: f64| {
        require(close(found, expected, precision::REPORT, scale), || {
            format!("{}: {what} is reported as {found:e}, of x it is {expected:e}", system.name)
        })
    };
    agree("‖b‖²", report.rhs_sq.into(), dot(b, b), 0.0)?;
    agree("‖x‖²", report.solution_sq.into(), dot(x, x), 0.0)?;
    let Some(residual_sq) = report.residual_sq else {
        return Err(format!("{}: the residual is not reported", system.name));
    };
    // The recurrence for r differs from b − A x by rounding in f64, of the size of its terms.
    let rounding = 1e-7 * (norm(b) + system.spectrum.1.abs() * norm(x));
    let residual = norm(&system.residual(x));
    agree("‖r‖", f64::from(residual_sq).sqrt(), residual, rounding)?;
    if norm(b) > 0.0 {
        let ratio = report.residual().ok_or("‖r‖/‖b‖ is missing")?;
        agree("‖r‖/‖b‖", ratio.into(), residual / norm(b), rounding / norm(b))?;
        let ratio = report.solution_ratio().ok_or("‖x‖/‖b‖ is missing")?;
        agree("‖x‖/‖b‖", ratio.into(), norm(x) / norm(b), 0.0)?;
    }
    Ok(())
}

/// The same without the residual, of a report that has none; with the last iterate as x.
pub(crate) fn report_without_residual_describes(system: &System, solve: &Solve) {
    let (report, x, b) = (&solve.report, &solve.x, &system.b);
    for (found, expected) in [(report.rhs_sq, dot(b, b)), (report.solution_sq, dot(x, x))] {
        assert!(close(found.into(), expected, precision::REPORT, 0.0), "{}", system.name);
    }
    report_describes_alignment(system, solve).unwrap();
    report_describes_products(system, solve).unwrap();
    returns_its_last_iterate(system, solve).unwrap();
}

/// bᵀx and cos(x, b) are those of the returned x.
pub(crate) fn report_describes_alignment(system: &System, solve: &Solve) -> Verdict {
    let (report, x, b) = (&solve.report, &solve.x, &system.b);
    let agree = |what: &str, found: f64, expected: f64, scale: f64| {
        require((found - expected).abs() <= precision::ALIGNMENT * scale, || {
            format!("{}: {what} is reported as {found:e}, of x it is {expected:e}", system.name)
        })
    };
    let norms = norm(b) * norm(x);
    agree("bᵀx", report.alignment.into(), dot(b, x), norms)?;
    match report.cosine() {
        Some(cosine) => agree("cos(x, b)", cosine.into(), dot(b, x) / norms, 1.0),
        None => require(norms == 0.0, || format!("{}: cos(x, b) is missing", system.name)),
    }
}

/// Products are counted, and the extreme quotients are those of the directions that were used.
pub(crate) fn report_describes_products(system: &System, solve: &Solve) -> Verdict {
    let report = &solve.report;
    require(usize::from(report.products) == solve.quotients.len(), || {
        let (told, done) = (report.products, solve.quotients.len());
        format!("{}: {told} products are reported, {done} were done", system.name)
    })?;
    let extreme = |choose: fn(f64, f64) -> f64| solve.quotients.iter().copied().reduce(choose);
    let scale = system.spectrum.0.abs().max(system.spectrum.1.abs());
    for (found, expected) in
        [(report.rayleigh_min, extreme(f64::min)), (report.rayleigh_max, extreme(f64::max))]
    {
        let agrees = match (found, expected) {
            (Some(found), Some(expected)) => {
                close(found.into(), expected, precision::REPORT, scale)
            }
            (found, expected) => found.is_none() && expected.is_none(),
        };
        require(agrees, || {
            format!("{}: quotient {found:?} is reported, {expected:?} was seen", system.name)
        })?;
    }
    Ok(())
}

/// x is the last iterate, and 0 if there was none.
pub(crate) fn returns_its_last_iterate(system: &System, solve: &Solve) -> Verdict {
    let zero = vec![0.0; system.b.len()];
    let last = solve.iterates.last().unwrap_or(&zero);
    require(*last == solve.x, || format!("{}: x is not the last iterate", system.name))
}

/// Iterate k minimises the quadratic over the k-th Krylov space.
pub(crate) fn iterates_are_optimal(system: &System, solve: &Solve, count: usize) -> Verdict {
    for (k, (found, expected)) in solve.iterates.iter().zip(optima(system, count)).enumerate() {
        let error = distance(found, &expected);
        require(error <= precision::KRYLOV, || {
            format!("{}: iterate {} is off its optimum by {error:e}", system.name, k + 1)
        })?;
    }
    Ok(())
}

/// The error in the norm of A falls with every iterate, until f32 step lengths stop it.
pub(crate) fn error_decreases(system: &System, solve: &Solve) -> Verdict {
    let exact = system.a.solve(&system.b);
    let error_of = |x: &[f64]| {
        let error = add(x, -1.0, &exact);
        dot(&error, &system.a.times(&error)).sqrt()
    };
    let mut last = error_of(&vec![0.0; exact.len()]);
    let floor = precision::SCALAR * last;
    for (k, iterate) in solve.iterates.iter().enumerate() {
        let error = error_of(iterate);
        require(error < last || error <= floor, || {
            format!("{}: error {error:e} of iterate {} after {last:e}", system.name, k + 1)
        })?;
        last = error;
    }
    Ok(())
}

/// ‖b − A x‖/‖x‖ of each iterate, from the vectors.
pub(crate) fn ratios(system: &System, solve: &Solve) -> Vec<f64> {
    solve.iterates.iter().map(|x| norm(&system.residual(x)) / norm(x)).collect()
}

/// The run ends at the first iterate with ‖r‖ ≤ tolerance ‖x‖ and says so; or, if there is none
/// among `limit`, after exactly `limit` products, and says that.
///
/// `tolerance` should lie well between the ratios of the system; see [`ratios`].
pub(crate) fn stops_at_the_first_good_iterate(
    system: &System,
    solve: &Solve,
    (tolerance, limit): (f64, usize),
) -> Verdict {
    let ratios = ratios(system, solve);
    let expected = match ratios.iter().position(|ratio| *ratio <= tolerance) {
        Some(first) => (Termination::Converged, first + 1),
        None => (Termination::IterationLimit, limit),
    };
    let found = (solve.report.termination, usize::from(solve.report.products));
    let ratio = norm(&system.residual(&solve.x)) / norm(&solve.x);
    let good = found.0 != Termination::Converged || ratio <= tolerance;
    require(found == expected && found.1 == ratios.len() && good, || {
        let name = &system.name;
        format!("{name}: ended {found:?} at ratio {ratio:e}, expected {expected:?} ({ratios:?})")
    })
}

/// All laws that hold for a definite system.
pub(crate) fn all(system: &System, solve: &Solve, stop: (f64, usize)) -> Verdict {
    report_describes_norms(system, solve)?;
    report_describes_alignment(system, solve)?;
    report_describes_products(system, solve)?;
    returns_its_last_iterate(system, solve)?;
    iterates_are_optimal(system, solve, 6)?;
    error_decreases(system, solve)?;
    stops_at_the_first_good_iterate(system, solve, stop)
}
