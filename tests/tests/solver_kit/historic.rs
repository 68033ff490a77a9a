//! The laws refuse the mistakes that published packages ship.
//!
//! A plain f64 conjugate gradient method with one mistake at a time. Without a mistake it passes,
//! so it is the mistake that the laws find. The same mistakes were put into the core itself:
//! docs/results/mutants.md.

use bissl_core::{Report, Termination};

use crate::laws;
use crate::matrix::{add, dot};
use crate::solve::Solve;
use crate::systems::{System, block_coupled, indefinite, positive_definite};

#[derive(Clone, Copy, Debug, PartialEq)]
enum Mistake {
    None,
    /// hypertorch: the loop ends before the new iterate is stored.
    PreviousIterate,
    /// The ICLR code of BiSSL: Σ rr/(d·Ad) over blocks instead of Σ rr / Σ d·Ad.
    SumOfBlockSteps,
    /// An ε that should keep the denominator from 0.
    Epsilon,
    /// β from the old residual over the new one.
    BetaUpsideDown,
    /// β = 0: steepest descent.
    NoBeta,
    /// The test looks at ‖r‖/‖b‖ while the documentation says ‖r‖/‖x‖.
    RelativeToRightHandSide,
}

/// Both halves' `xᵀy`.
fn halves(x: &[f64], y: &[f64]) -> [f64; 2] {
    let half = x.len() / 2;
    [dot(&x[..half], &y[..half]), dot(&x[half..], &y[half..])]
}

fn step_length(mistake: Mistake, r: &[f64], p: &[f64], product: &[f64]) -> f64 {
    match mistake {
        Mistake::SumOfBlockSteps => {
            halves(r, r).iter().zip(halves(p, product)).map(|(rr, curvature)| rr / curvature).sum()
        }
        Mistake::Epsilon => dot(r, r) / (dot(p, product) + 1e-12),
        _ => dot(r, r) / dot(p, product),
    }
}

fn conjugate_gradients(mistake: Mistake, system: &System, (tolerance, limit): (f64, u16)) -> Solve {
    let b = &system.b;
    let (mut x, mut r, mut p) = (vec![0.0; b.len()], b.clone(), b.clone());
    let (mut iterates, mut quotients): (Vec<Vec<f64>>, Vec<f64>) = (Vec::new(), Vec::new());
    let termination = loop {
        let product = system.a.times(&p);
        quotients.push(dot(&p, &product) / dot(&p, &p));
        if dot(&p, &product) <= 0.0 && mistake != Mistake::Epsilon {
            break Termination::NegativeCurvature;
        }
        let alpha = step_length(mistake, &r, &p, &product);
        x = add(&x, alpha, &p);
        let old = dot(&r, &r);
        r = add(&r, -alpha, &product);
        iterates.push(x.clone());
        let size = if mistake == Mistake::RelativeToRightHandSide { b } else { &x };
        if dot(&r, &r) <= tolerance * tolerance * dot(size, size) {
            break Termination::Converged;
        }
        if iterates.len() == usize::from(limit) {
            break Termination::IterationLimit;
        }
        let beta = match mistake {
            Mistake::BetaUpsideDown => old / dot(&r, &r),
            Mistake::NoBeta => 0.0,
            _ => dot(&r, &r) / old,
        };
        p = add(&r, beta, &p);
    };
    if mistake == Mistake::PreviousIterate {
        iterates.pop();
        x = iterates.last().cloned().unwrap_or(vec![0.0; b.len()]);
        r = system.residual(&x);
    }
    let extreme = |choose: fn(f64, f64) -> f64| quotients.iter().copied().reduce(choose);
    let report = Report {
        termination,
        products: quotients.len() as u16,
        rhs_sq: dot(b, b) as f32,
        solution_sq: dot(&x, &x) as f32,
        residual_sq: Some(dot(&r, &r) as f32),
        alignment: dot(b, &x) as f32,
        rayleigh_max: extreme(f64::max).map(|q| q as f32),
        rayleigh_min: extreme(f64::min).map(|q| q as f32),
    };
    Solve { report, x, iterates, quotients }
}

/// Whether any law refuses the run, over the systems that every test of `cg` uses.
fn is_refused(mistake: Mistake) -> bool {
    let mut tiny = positive_definite(3, 7);
    tiny.b = crate::matrix::scale(1e-12, &tiny.b);
    [positive_definite(1, 7), block_coupled(2, 8), tiny].iter().any(|system| {
        let stop = (1e-4, 5);
        laws::all(system, &conjugate_gradients(mistake, system, stop), (stop.0, 5)).is_err()
    })
}

#[test]
fn the_laws_accept_conjugate_gradients_without_a_mistake() {
    assert!(!is_refused(Mistake::None));
}

#[test]
fn the_iterate_before_the_converged_one_is_refused() {
    assert!(is_refused(Mistake::PreviousIterate));
}

#[test]
fn the_sum_of_block_step_lengths_is_refused() {
    assert!(is_refused(Mistake::SumOfBlockSteps));
}

#[test]
fn an_epsilon_in_the_denominator_is_refused() {
    assert!(is_refused(Mistake::Epsilon));
    let system = indefinite(0, 6);
    let solve = conjugate_gradients(Mistake::Epsilon, &system, (0.0, 6));
    assert!(crate::cg_breakdown::stops_before_negative_curvature(&system, &solve).is_err());
}

#[test]
fn a_wrong_beta_is_refused() {
    assert!(is_refused(Mistake::BetaUpsideDown));
    assert!(is_refused(Mistake::NoBeta));
}

#[test]
fn a_tolerance_relative_to_the_right_hand_side_is_refused() {
    let system = crate::systems::scaled_solution(5, 7);
    let stop = (2e-2, 7);
    let solve = conjugate_gradients(Mistake::RelativeToRightHandSide, &system, stop);
    assert!(laws::stops_at_the_first_good_iterate(&system, &solve, (stop.0, 7)).is_err());
}
