//! Allowed errors, relative unless said otherwise. One table, each entry with its reason.

/// Rounding to f32 and a handful of operations on the result.
pub(crate) const SCALAR: f64 = 1e-6;

/// Relative residual after as many products as dimensions, at most 10, condition at most 30.
pub(crate) const N_STEPS: f64 = 5e-3;

/// bᵀx by the recurrence, which relies on conjugate directions, relative to ‖b‖‖x‖.
pub(crate) const ALIGNMENT: f64 = 2e-4;

/// What a report says, recomputed in f64 from the vectors: f32 scalars, some dozens of them summed.
pub(crate) const REPORT: f64 = 2e-5;

/// A solution that has converged as far as f32 step lengths allow; the vectors are f64.
pub(crate) const SOLUTION: f64 = 1e-5;

/// CG iterates against the optimum over the Krylov space. Step lengths in f32 lose conjugacy in the
/// last digits of f32, and the systems here amplify that by less than 100.
pub(crate) const KRYLOV: f64 = 5e-5;

/// |PᵀAP − I| of kept directions: coefficients in f32, of which what is left may be a thousandth.
pub(crate) const CONJUGACY: f64 = 1e-3;

/// A whole hypergradient: one solve, one operator scaling in f32.
pub(crate) const HYPERGRADIENT: f64 = 2e-5;

/// Dense references in f64 against each other.
pub(crate) const DENSE: f64 = 1e-9;

/// Central differences in f64 of a smooth function, step near the cube root of the precision.
pub(crate) const DIFFERENCES: f64 = 1e-6;

/// Recurrences of optimisers over some dozens of steps, coefficients in f32, vectors in f64.
pub(crate) const RECURRENCE: f64 = 1e-5;

/// Whether two numbers agree to `relative`, or both are below it times `scale`.
pub(crate) fn close(found: f64, expected: f64, relative: f64, scale: f64) -> bool {
    (found - expected).abs() <= relative * expected.abs().max(scale)
}
