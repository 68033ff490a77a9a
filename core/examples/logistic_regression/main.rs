//! A bilevel problem of one's own on `bissl-core` alone: how strongly to regularise each feature.
//!
//! Lower level: logistic regression on training data, every feature with its own weight exp(α_j),
//! `L(θ, α) = mean log(1 + exp(−yᵢ xᵢᵀθ)) + ½ Σ_j exp(α_j) θ_j²`. Upper level: the same mean loss
//! on validation data, at θ*(α), as a function of α. Its gradient is `−(∂²L/∂α∂θ) H⁻¹ g`, g the
//! validation gradient and H the Hessian of L at θ*: ten products of conjugate gradients instead of
//! a dense inverse.
//!
//! `docs/own-problem.md` explains it step by step.
//!
//! ```sh
//! cargo run --release -p bissl-core --example logistic_regression
//! ```

mod problem;
mod reference;
mod rows;

use std::time::Instant;

use bissl_core::{DriveError, Register};

use crate::problem::{Missing, Regression};
use crate::reference::{reference, relative_error};

/// Repeats of the timed part.
const REPEATS: usize = 400;

fn main() -> Result<(), DriveError<Missing>> {
    let mut problem = Regression::random(1, 2000, 500);
    let norm = problem.solve_lower()?;
    println!("lower level solved: gradient norm {norm:.1e}");

    let mut record = problem.hypergradient(10)?;
    let mut milliseconds = Vec::with_capacity(REPEATS);
    let processor = processor_milliseconds();
    for _ in 0..REPEATS {
        let started = Instant::now();
        record = problem.hypergradient(10)?;
        milliseconds.push(started.elapsed().as_secs_f64() * 1e3);
    }
    let processor = processor.zip(processor_milliseconds()).map(|(from, to)| to - from);
    milliseconds.sort_by(f64::total_cmp);
    let at = |quarter: usize| milliseconds[quarter * (REPEATS - 1) / 4];
    println!("one hypergradient, {} products, of {REPEATS}:", record.solve.products);
    println!("  elapsed    median {:.2} ms, fastest {:.2} ms", at(2), at(0));
    println!("             quartiles {:.2} and {:.2} ms", at(1), at(3));
    if let Some(total) = processor {
        println!("  processor  mean {:.2} ms", total / REPEATS as f64);
    }

    let found = problem.read(Register::Hypergradient).map_err(DriveError::Problem)?;
    println!("validation loss {:.4}", record.loss_at_lower);
    println!("relative error against f64: {:.1e}", relative_error(found, &reference(&problem)));
    Ok(())
}

/// Time that this thread has had a processor, where Linux tells: what others took does not count.
fn processor_milliseconds() -> Option<f64> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    let nanoseconds: u64 = text.split_whitespace().next()?.parse().ok()?;
    Some(nanoseconds as f64 * 1e-6)
}

#[cfg(test)]
mod tests {
    use bissl_core::{Register, RegisterFile};

    use crate::problem::{Missing, Regression};
    use crate::reference::{reference, relative_error};

    /// Also sizes that are no multiple of a block of rows or of lanes.
    #[test]
    fn the_hypergradient_agrees_with_elimination_in_f64() {
        for (seed, samples, length) in [(1, 40, 6), (2, 41, 16), (3, 83, 37), (4, 7, 1)] {
            let mut problem = Regression::random(seed, samples, length);
            assert!(problem.solve_lower().unwrap() < 1e-5);
            problem.hypergradient(60).unwrap();
            let found = problem.read(Register::Hypergradient).unwrap();
            let error = relative_error(found, &reference(&problem));
            assert!(error < 2e-5, "{samples} rows of {length}: {error:e}");
        }
    }

    #[test]
    fn ten_products_are_enough() {
        let mut problem = Regression::random(1, 400, 100);
        problem.solve_lower().unwrap();
        let record = problem.hypergradient(10).unwrap();
        assert_eq!(record.solve.products, 10);
        let found = problem.read(Register::Hypergradient).unwrap();
        let error = relative_error(found, &reference(&problem));
        assert!(error <= 0.002, "{error:e}");
    }

    #[test]
    fn what_the_problem_does_not_have_is_named() {
        let mut problem = Regression::random(1, 4, 2);
        let error = problem.zero(Register::DirectGradient).unwrap_err();
        assert_eq!(error, Missing::Register(Register::DirectGradient));
        assert!(error.to_string().starts_with("no register DirectGradient, only [Solution"));
    }
}
