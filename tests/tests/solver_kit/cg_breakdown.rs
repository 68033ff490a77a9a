//! Where `cg` has to give up: negative curvature and numbers that are not finite.

use bissl_core::Termination;

use crate::laws::{self, Verdict};
use crate::matrix::{Matrix, Spectral, add, dot, draws, gaussian, norm};
use crate::solve::{Solve, cg, cg_with_faults};
use crate::systems::{self, System, indefinite};

/// The first direction with pᵀAp ≤ 0 ends the run: counted, not followed, and x is the iterate
/// before.
pub(crate) fn stops_before_negative_curvature(system: &System, solve: &Solve) -> Verdict {
    let name = &system.name;
    let first = solve.quotients.iter().position(|quotient| *quotient <= 0.0);
    let Some(first) = first else {
        return Err(format!("{name}: n positive directions of an indefinite operator"));
    };
    if solve.report.termination != Termination::NegativeCurvature {
        return Err(format!("{name}: ended in {:?}", solve.report.termination));
    }
    if (first + 1, first) != (usize::from(solve.report.products), solve.iterates.len()) {
        return Err(format!("{name}: direction {first} was the first negative one"));
    }
    laws::returns_its_last_iterate(system, solve)
}

#[test]
fn an_indefinite_operator_ends_before_its_first_negative_direction() {
    let mut late = 0;
    for n in [2, 3, 5, 8, 12] {
        for seed in 0..40 {
            let system = indefinite(seed, n);
            let solve = cg(&system, 0.0, n as u16);
            stops_before_negative_curvature(&system, &solve).unwrap();
            laws::report_describes_norms(&system, &solve).unwrap();
            laws::report_describes_alignment(&system, &solve).unwrap();
            laws::report_describes_products(&system, &solve).unwrap();
            assert!(solve.report.rayleigh_min.unwrap() < 0.0, "{}", system.name);
            late += usize::from(!solve.iterates.is_empty());
        }
    }
    assert!(late > 50, "only {late} runs took a step before the negative direction");
}

/// What makes the iterate before a useful one: the quadratic model fell at every step.
#[test]
fn the_quadratic_model_fell_at_every_step_before_negative_curvature() {
    for seed in 0..60 {
        let system = indefinite(seed, 9);
        let solve = cg(&system, 0.0, 9);
        let model = |x: &[f64]| 0.5 * dot(x, &system.a.times(x)) - dot(&system.b, x);
        let mut last = 0.0;
        for iterate in &solve.iterates {
            assert!(model(iterate) < last, "{}", system.name);
            last = model(iterate);
        }
    }
}

#[test]
fn negative_curvature_in_the_first_direction_returns_zero() {
    for seed in 0..10 {
        let values = vec![-2.0, 1.0, 3.0, 4.0];
        let mut draws = draws(seed, 20);
        let spectral = Spectral::new(values, &mut draws);
        let b = spectral.in_standard_basis(&[1.5, 0.0, 0.1, 0.0]);
        let system = System::of("first direction negative", seed, &spectral, b);
        let solve = cg(&system, 0.0, 4);
        stops_before_negative_curvature(&system, &solve).unwrap();
        assert_eq!(solve.x, vec![0.0; 4]);
        let report = solve.report;
        assert_eq!((report.products, report.solution_sq, report.alignment), (1, 0.0, 0.0));
        assert_eq!(report.residual_sq, Some(report.rhs_sq));
        assert_eq!(report.residual(), Some(1.0));
        assert_eq!((report.cosine(), report.solution_ratio()), (None, Some(0.0)));
        assert!(report.rayleigh_max.unwrap() < 0.0);
    }
}

#[test]
fn curvature_of_exactly_zero_is_not_positive() {
    let mut system = systems::positive_definite(1, 5);
    system.a = Matrix::new(5, 5, |_, _| 0.0);
    let solve = cg(&system, 0.5, 5);
    assert_eq!(solve.report.termination, Termination::NegativeCurvature);
    assert_eq!((solve.report.products, solve.x), (1, vec![0.0; 5]));
    assert_eq!(solve.report.rayleigh_max, Some(0.0));
}

#[test]
fn a_product_that_is_not_finite_is_reported() {
    for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        let report = cg_with_faults(1.0, |_, _| bad).report;
        assert_eq!((report.termination, report.products), (Termination::NonFinite, 1), "{bad}");
        assert_eq!((report.rayleigh_min, report.rayleigh_max), (None, None), "{bad}");
        let late = cg_with_faults(1.0, |i, p| if i == 1 { bad } else { 1.7 * p }).report;
        assert_eq!((late.termination, late.products), (Termination::NonFinite, 2), "{bad}");
    }
}

#[test]
fn a_right_hand_side_that_is_not_finite_takes_no_product() {
    for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1e30] {
        let mut system = systems::positive_definite(2, 6);
        system.b[3] = bad;
        let report = cg(&system, 0.1, 6).report;
        assert_eq!((report.termination, report.products), (Termination::NonFinite, 0), "{bad}");
    }
}

/// ‖x‖² leaves f32's range upwards although b and the products are inside it.
#[test]
fn a_solution_whose_square_overflows_is_not_finite() {
    let report = cg(&systems::scalar(1e-6, 1e14), 0.5, 3).report;
    assert_eq!((report.termination, report.products), (Termination::NonFinite, 1));
}

/// ‖r‖² leaves f32's range upwards: the operator is not what its first product promised.
#[test]
fn a_residual_whose_square_overflows_is_not_finite() {
    let mut draws = draws(1, 21);
    let b = gaussian(&mut draws, 2);
    // Nearly orthogonal to its product: a huge step along a direction with a huge product.
    let a = Matrix::new(2, 2, |i, j| [[1.0, 1e25], [1e25, 1.0]][i][j]);
    let system = System {
        a,
        b: vec![1.0, 1e-25 * b[0].abs()],
        spectrum: (1.0, 1e25),
        name: "huge residual".into(),
    };
    let report = cg(&system, 0.5, 3).report;
    assert_eq!((report.termination, report.products), (Termination::NonFinite, 1));
}

/// A curvature that is positive but below what ‖r‖²/pᵀAp can be in f32.
#[test]
fn a_step_length_that_overflows_is_not_finite() {
    let report = cg(&systems::scalar(1e-39, 1e3), 0.5, 3).report;
    assert_eq!((report.termination, report.products), (Termination::NonFinite, 1));
    assert!(report.rayleigh_max.is_some());
}

/// The machine sees squares in f32; a vector shorter than about 1e-23 looks like zero to it.
#[test]
fn a_right_hand_side_whose_square_underflows_counts_as_zero() {
    let mut system = systems::positive_definite(2, 6);
    system.b = vec![1e-25; 6];
    let solve = cg(&system, 0.1, 6);
    assert_eq!((solve.report.termination, solve.report.products), (Termination::Converged, 0));
    assert_eq!(solve.x, vec![0.0; 6]);
}

/// Near the edge of f32's range squares lose digits; what is reported holds to one unit there.
#[test]
fn subnormal_squares_hold_the_tolerance_to_one_subnormal_unit() {
    for exponent in -23..=-17 {
        for seed in 0..10 {
            let mut system = systems::positive_definite(seed, 6);
            system.b = crate::matrix::scale(10f64.powi(exponent), &system.b);
            let solve = cg(&system, 1e-3, 30);
            if solve.report.termination == Termination::Converged {
                let residual_sq = norm(&system.residual(&solve.x)).powi(2);
                let bound = 1e-6 * dot(&solve.x, &solve.x) * 1.001 + 1.5e-45;
                assert!(residual_sq <= bound, "{}, b of 1e{exponent}", system.name);
            }
        }
    }
}

/// Scalars for the three kinds of dots of a solve.
#[derive(Clone, Copy)]
struct Script {
    rhs_sq: f32,
    /// pᵀAp and pᵀp.
    curvature: [f32; 2],
    /// ‖r‖² and ‖x‖² after the first step.
    norms: [f32; 2],
}

/// Answers with the script up to the second direction; how the solve ended, if it did.
fn follow(script: Script) -> Option<Termination> {
    use bissl_core::{CgSettings, ConjugateGradient, Machine, Pending, Register, Reply, Request};
    let mut machine = ConjugateGradient::new(CgSettings::new(0.1, 5).unwrap());
    let mut scalars = [0.0; 2];
    for _ in 0..60 {
        match machine.pending() {
            Pending::Request(ticket, Request::Dots { pairs }) => {
                let pairs = pairs.as_slice();
                match pairs {
                    [_] => scalars[0] = script.rhs_sq,
                    [(Register::Direction, _), _] => scalars = script.curvature,
                    _ => scalars = script.norms,
                }
                machine.step(ticket, Reply::Scalars(pairs.len() as u32), &mut scalars).unwrap();
            }
            Pending::Request(_, Request::Axpby { y: Register::Direction, .. }) => return None,
            Pending::Request(ticket, _) => machine.step(ticket, Reply::Ack, &mut []).unwrap(),
            Pending::Event(..) => panic!("a solver has no events"),
            Pending::Done(report) => return Some(report.termination),
        }
    }
    panic!("no end after 60 requests");
}

const SOUND: Script = Script { rhs_sq: 1.0, curvature: [1.0, 1.0], norms: [0.5, 1.0] };

/// Also what no consistent driver answers, such as a direction without a square: the machine
/// neither divides by it nor goes on.
#[test]
fn scalars_that_leave_the_range_of_f32_are_not_finite() {
    assert_eq!(follow(SOUND), None, "nothing is wrong here");
    for curvature in [
        [1.0, 0.0],
        [0.0, 0.0],
        [-1.0, 0.0],
        [1.0, -1.0],
        [1.0, f32::NAN],
        [f32::NAN, 1.0],
        [f32::INFINITY, f32::INFINITY],
        [1.0, f32::INFINITY],
        [1e38, 1e-38],
        [1e-39, 1e-39],
    ] {
        let script = Script { curvature, ..SOUND };
        assert_eq!(follow(script), Some(Termination::NonFinite), "{curvature:?}");
    }
    for norms in [
        [f32::INFINITY, 1.0],
        [f32::NAN, 1.0],
        [0.5, f32::INFINITY],
        [0.5, f32::NAN],
        [0.0, f32::NAN],
    ] {
        let script = Script { norms, ..SOUND };
        assert_eq!(follow(script), Some(Termination::NonFinite), "{norms:?}");
    }
    // Everything is finite but the ratio of successive residuals.
    let script = Script { rhs_sq: 1e-20, curvature: [1.0, 1.0], norms: [1e30, 1.0] };
    assert_eq!(follow(script), Some(Termination::NonFinite));
}

/// The step that was refused has not touched x.
#[test]
fn a_late_negative_direction_leaves_the_iterate_of_a_shorter_run() {
    for seed in 0..30 {
        let system = indefinite(seed, 10);
        let solve = cg(&system, 0.0, 10);
        let steps = solve.iterates.len() as u16;
        if steps > 0 {
            let shorter = cg(&system, 0.0, steps);
            assert_eq!(shorter.report.termination, Termination::IterationLimit);
            assert_eq!(shorter.x, solve.x, "{}", system.name);
            assert_eq!(shorter.report.residual_sq, solve.report.residual_sq);
            assert!(norm(&add(&solve.x, -1.0, &shorter.x)) == 0.0);
        }
    }
}
