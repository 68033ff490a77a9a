//! `identity`: x = b, and a report that claims no more than that.

use bissl_core::{Identity, Solver, SolverMemory, SolverSettings, Termination};

use crate::solve::watch;
use crate::systems::{self, DIMENSIONS, seeds};

#[test]
fn the_right_hand_side_is_the_solution_and_nothing_is_verified() {
    for n in DIMENSIONS {
        for system in seeds(n).flat_map(|seed| systems::definite(seed, n)) {
            let solve = watch(Identity::new(), &system);
            assert_eq!(solve.x, system.b, "{}", system.name);
            let report = solve.report;
            assert_eq!(report.termination, Termination::Unverified, "{}", system.name);
            assert_eq!((report.products, solve.quotients.len()), (0, 0));
            assert_eq!((report.residual_sq, report.residual()), (None, None));
            let rhs_sq = crate::matrix::dot(&system.b, &system.b) as f32;
            assert_eq!(
                (report.rhs_sq, report.solution_sq, report.alignment),
                (rhs_sq, rhs_sq, rhs_sq)
            );
            assert!((report.cosine().unwrap() - 1.0).abs() < 1e-6, "{}", system.name);
            assert_eq!(report.solution_ratio(), Some(1.0));
            assert_eq!((report.rayleigh_min, report.rayleigh_max), (None, None));
        }
    }
}

#[test]
fn a_right_hand_side_of_zero_is_solved_exactly() {
    let mut system = systems::positive_definite(0, 4);
    system.b = vec![0.0; 4];
    let solve = watch(Identity::default(), &system);
    assert_eq!(solve.report.termination, Termination::Converged);
    assert_eq!(solve.report.residual_sq, Some(0.0));
    assert_eq!(solve.report.residual(), None);
    assert_eq!(solve.x, vec![0.0; 4]);
}

#[test]
fn a_right_hand_side_that_is_not_finite_is_reported() {
    for bad in [f64::NAN, f64::INFINITY, 1e30] {
        let mut system = systems::positive_definite(0, 4);
        system.b[1] = bad;
        let report = watch(Identity::new(), &system).report;
        assert_eq!(report.termination, Termination::NonFinite, "{bad}");
        assert_eq!(report.residual_sq, None);
    }
}

#[test]
fn the_choice_of_a_solver_is_that_solver() {
    use bissl_core::{CgSettings, ConjugateGradient};
    let system = systems::positive_definite(4, 9);
    let settings = CgSettings::new(1e-3, 7).unwrap();
    let chosen = SolverSettings::ConjugateGradient(settings);
    let (by_choice, direct) = (
        watch(Solver::new(chosen, SolverMemory::default()), &system),
        watch(ConjugateGradient::new(settings), &system),
    );
    assert_eq!((by_choice.x, by_choice.report), (direct.x, direct.report));
    let by_choice = watch(Solver::new(SolverSettings::Identity, SolverMemory::default()), &system);
    assert_eq!(by_choice.report, watch(Identity::new(), &system).report);
    assert!(chosen.facts().uses_products && !SolverSettings::Identity.facts().uses_products);
}
