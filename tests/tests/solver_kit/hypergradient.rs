//! The whole hypergradient on a quadratic bilevel problem: closed form and central differences.

use bissl_core::{
    CgSettings, Coupling, Evaluation, Group, Hypergradient, HypergradientRecord,
    HypergradientSettings, LowerObjective, Progress, Register, SolverSettings, Termination,
    Training, UpperObjective, drive,
};

use crate::dense::{DenseDriver, DenseError};
use crate::matrix::{add, distance, dot, scale};
use crate::precision;
use crate::quadratic::{Call, Quadratic, bilevel, differences};

/// `cg` as far as f32 goes.
pub(crate) fn exact() -> SolverSettings {
    SolverSettings::ConjugateGradient(CgSettings::new(1e-7, 200).unwrap())
}

/// Runs the hypergradient of upper step `index`; the results are in the registers.
pub(crate) fn run<P>(
    driver: &mut DenseDriver<P>,
    settings: HypergradientSettings,
    index: u32,
) -> HypergradientRecord
where
    DenseDriver<P>: LowerObjective<Error = DenseError> + UpperObjective<Error = DenseError>,
{
    let mut machine = Hypergradient::new(settings, index);
    match drive(&mut machine, &mut Training(driver), &mut [f32::NAN; 4]).unwrap() {
        Progress::Done(record) => record,
        Progress::Event(event) => panic!("a hypergradient has no events: {event:?}"),
    }
}

fn settings(lambda: f32, delta: f32, gamma: f32, solver: SolverSettings) -> HypergradientSettings {
    HypergradientSettings::new(Coupling::Proximity { weight: lambda }, delta, gamma, solver)
        .unwrap()
}

/// Eigenvalues of H from 0 to 4.
fn problem(seed: u64, n: usize) -> Quadratic {
    let values: Vec<f64> = (0..n).map(|i| 4.0 * i as f64 / n as f64).collect();
    Quadratic::new(seed, &values, 3)
}

fn parameter(driver: &DenseDriver<Quadratic>, group: Group) -> Vec<f64> {
    driver.read(Register::Parameter(group)).to_vec()
}

/// `(G_θ, G_φ)` by `(I + Q/(λ+δ))^{-1} g_P + γ g_D`, from the spectrum.
fn closed_form(
    driver: &DenseDriver<Quadratic>,
    (lambda, delta, gamma): (f32, f32, f32),
    index: u32,
) -> (Vec<f64>, Vec<f64>) {
    let problem = &driver.problem;
    let phi = parameter(driver, Group::DownstreamHead);
    let (_, at_lower, head) = problem.upper(&parameter(driver, Group::LowerBackbone), &phi, index);
    let (_, at_upper, direct) =
        problem.upper(&parameter(driver, Group::UpperBackbone), &phi, index);
    let (damped, gamma) = (f64::from(lambda) + f64::from(delta), f64::from(gamma));
    let implicit = problem.curvature.apply(&at_lower, |q| 1.0 / (1.0 + q / damped));
    (add(&implicit, gamma, &at_upper), add(&head, gamma, &direct))
}

#[test]
fn backbone_and_head_agree_with_the_closed_form() {
    for (n, seeds) in [(1, 5), (2, 5), (5, 10), (20, 5), (100, 1)] {
        for seed in 0..seeds {
            for (lambda, delta, gamma) in [
                (0.5, 0.0, 1.0),
                (0.5, 1.5, 0.3),
                (1e-3, 10.0, 1.0),
                (2.0, 0.0, 0.0),
                (1.0, 3.0, 2.0),
            ] {
                let mut problem = problem(seed, n);
                problem.batch_noise = 0.5;
                let mut driver = bilevel(problem, seed);
                let expected = closed_form(&driver, (lambda, delta, gamma), 7);
                let settings = settings(lambda, delta, gamma, exact());
                assert_eq!(settings.result(), Register::Solution);
                let record = run(&mut driver, settings, 7);
                let case = format!("seed {seed}, n {n}, λ {lambda}, δ {delta}, γ {gamma}");
                assert_eq!(record.solve.termination, Termination::Converged, "{case}");
                let backbone = distance(driver.read(Register::Solution), &expected.0);
                assert!(backbone <= precision::HYPERGRADIENT, "{case}: {backbone:e}");
                let head = distance(driver.read(Register::DownstreamHeadGradient), &expected.1);
                assert!(head <= precision::SCALAR, "{case}: {head:e}");
            }
        }
    }
}

/// At δ = 0 and an exactly solved lower level this is the derivative of the bilevel objective.
#[test]
fn undamped_hypergradient_agrees_with_central_differences_of_the_bilevel_objective() {
    for seed in 0..8 {
        for (n, lambda, gamma) in
            [(1, 0.5f32, 0.5f32), (4, 0.25, 1.0), (4, 2.0, 0.0), (15, 1.0, 0.3)]
        {
            let mut driver = bilevel(problem(seed, n), seed);
            let upper = parameter(&driver, Group::UpperBackbone);
            let phi = parameter(&driver, Group::DownstreamHead);
            let (wide_lambda, wide_gamma) = (f64::from(lambda), f64::from(gamma));
            let lower = driver.problem.lower_solution(&upper, wide_lambda);
            driver = driver.with(Register::Parameter(Group::LowerBackbone), lower);
            run(&mut driver, settings(lambda, 0.0, gamma, exact()), 0);
            let problem = &driver.problem;
            let by_backbone =
                differences(&upper, |u| problem.objective(u, &phi, wide_lambda, wide_gamma));
            let by_head =
                differences(&phi, |p| problem.objective(&upper, p, wide_lambda, wide_gamma));
            let case = format!("seed {seed}, n {n}, λ {lambda}, γ {gamma}");
            let error = distance(driver.read(Register::Solution), &by_backbone);
            assert!(error <= precision::HYPERGRADIENT, "{case}: {error:e}");
            let error = distance(driver.read(Register::DownstreamHeadGradient), &by_head);
            assert!(error <= precision::DIFFERENCES, "{case}: {error:e}");
        }
    }
}

#[test]
fn evaluations_come_once_each_in_order_on_the_batch_of_the_step() {
    use Evaluation::{UpperAtLower, UpperAtUpper};
    let mut driver = bilevel(problem(1, 6), 1);
    let record = run(&mut driver, settings(0.5, 0.0, 0.3, exact()), 41);
    let calls = &driver.problem.calls;
    assert_eq!(calls[0], Call::Gradient(UpperAtLower, 41));
    assert_eq!(calls[calls.len() - 1], Call::Gradient(UpperAtUpper, 41));
    let inner = &calls[1..calls.len() - 1];
    assert!(inner.iter().all(|call| *call == Call::Product));
    assert_eq!(inner.len(), usize::from(record.solve.products));
    assert!(record.solve.products > 1);
}

/// The registers of the direct term do not even exist here.
#[test]
fn a_direct_weight_of_zero_asks_for_no_upper_evaluation() {
    let mut driver = bilevel(problem(2, 6), 2);
    let without = {
        use Register::{Direction, DownstreamHeadGradient, Parameter, Product, Residual, Solution};
        DenseDriver::new(driver.problem.clone())
            .unwritten(6, &[Solution, Residual, Direction, Product])
            .unwritten(3, &[DownstreamHeadGradient])
            .with(Parameter(Group::LowerBackbone), parameter(&driver, Group::LowerBackbone))
            .with(Parameter(Group::DownstreamHead), parameter(&driver, Group::DownstreamHead))
    };
    let mut without = without;
    let record = run(&mut without, settings(0.5, 0.1, 0.0, exact()), 0);
    assert_eq!(record.loss_at_upper, None);
    let calls = &without.problem.calls;
    assert!(!calls.contains(&Call::Gradient(Evaluation::UpperAtUpper, 0)));
    let expected = closed_form(&driver, (0.5, 0.1, 0.0), 0);
    let found = without.read(Register::Solution);
    assert!(distance(found, &expected.0) <= precision::HYPERGRADIENT);
    // And the smallest weight above 0 does ask.
    let record = run(&mut driver, settings(0.5, 0.1, f32::MIN_POSITIVE, exact()), 0);
    assert!(record.loss_at_upper.is_some());
}

#[test]
fn the_direct_term_scales_with_its_weight() {
    let result = |gamma: f32| {
        let mut driver = bilevel(problem(3, 8), 3);
        run(&mut driver, settings(0.5, 1.0, gamma, exact()), 0);
        let head = driver.read(Register::DownstreamHeadGradient).to_vec();
        [driver.read(Register::Solution).to_vec(), head].concat()
    };
    let (none, one, four) = (result(0.0), result(1.0), result(4.0));
    let direct = add(&one, -1.0, &none);
    assert!(distance(&add(&none, 4.0, &direct), &four) <= precision::SCALAR);
}

#[test]
fn the_record_gives_both_losses_and_quotients_of_h() {
    for seed in 0..6 {
        let mut driver = bilevel(problem(seed, 12), seed);
        let (lambda, delta) = (0.5, 1.5);
        let record = run(&mut driver, settings(lambda, delta, 1.0, exact()), 5);
        let phi = parameter(&driver, Group::DownstreamHead);
        let problem = &driver.problem;
        let loss = |group| problem.upper(&parameter(&driver, group), &phi, 5).0 as f32;
        assert_eq!(record.loss_at_lower, loss(Group::LowerBackbone));
        assert_eq!(record.loss_at_upper, Some(loss(Group::UpperBackbone)));
        let low = f64::from(record.solve.rayleigh_min.unwrap());
        let high = f64::from(record.solve.rayleigh_max.unwrap());
        let slack = 2.0 * precision::REPORT;
        assert!(low >= -slack && high <= 4.0 * 11.0 / 12.0 + slack && low < high, "{low} {high}");
        // The first direction is g_P itself.
        let gradient = problem.upper(&parameter(&driver, Group::LowerBackbone), &phi, 5).1;
        let quotient =
            dot(&gradient, &problem.hessian_times(&gradient)) / dot(&gradient, &gradient);
        assert!(low <= quotient + slack && quotient <= high + slack, "seed {seed}");
    }
}

#[test]
fn one_product_reports_the_quotient_of_h_along_the_gradient() {
    let one = SolverSettings::ConjugateGradient(CgSettings::new(0.0, 1).unwrap());
    for (lambda, delta) in [(0.5, 0.0), (1e-3, 10.0)] {
        let mut driver = bilevel(problem(4, 12), 4);
        let record = run(&mut driver, settings(lambda, delta, 0.0, one), 0);
        let phi = parameter(&driver, Group::DownstreamHead);
        let g = driver.problem.upper(&parameter(&driver, Group::LowerBackbone), &phi, 0).1;
        let quotient = dot(&g, &driver.problem.hessian_times(&g)) / dot(&g, &g);
        for found in [record.solve.rayleigh_min.unwrap(), record.solve.rayleigh_max.unwrap()] {
            let allowed = precision::SCALAR * f64::from(lambda + delta) + precision::SCALAR;
            assert!((f64::from(found) - quotient).abs() <= allowed, "{found} {quotient}");
        }
    }
}

#[test]
fn identity_gives_the_sum_of_both_gradients_without_products() {
    let mut driver = bilevel(problem(5, 9), 5);
    driver.problem.linearized = None;
    let phi = parameter(&driver, Group::DownstreamHead);
    let at = |group| driver.problem.upper(&parameter(&driver, group), &phi, 2);
    let (lower, upper) = (at(Group::LowerBackbone), at(Group::UpperBackbone));
    let settings = settings(0.5, 0.0, 0.25, SolverSettings::Identity);
    assert!(!settings.uses_products());
    let record = run(&mut driver, settings, 2);
    assert_eq!(record.solve.products, 0);
    assert_eq!(record.solve.rayleigh_max, None);
    assert!(distance(driver.read(Register::Solution), &add(&lower.1, 0.25, &upper.1)) < 1e-15);
    let head = driver.read(Register::DownstreamHeadGradient);
    assert!(distance(head, &add(&lower.2, 0.25, &upper.2)) < 1e-15);
}

/// H = 0: x = b after at most one product, whatever the damping.
#[test]
fn a_lower_loss_without_curvature_answers_with_the_gradient_itself() {
    for (lambda, delta) in [(0.5, 0.0), (1e-3, 10.0)] {
        let mut driver = bilevel(Quadratic::new(9, &[0.0; 6], 2), 9);
        let phi = parameter(&driver, Group::DownstreamHead);
        let at_lower = parameter(&driver, Group::LowerBackbone);
        let gradient = driver.problem.upper(&at_lower, &phi, 0).1;
        let record = run(&mut driver, settings(lambda, delta, 0.0, exact()), 0);
        assert_eq!(record.solve.termination, Termination::Converged);
        assert!(record.solve.products <= 1);
        assert!(distance(driver.read(Register::Solution), &gradient) <= precision::SCALAR);
    }
}

#[test]
fn negative_curvature_at_once_leaves_the_direct_term() {
    let problem = Quadratic::new(6, &[-5.0, -6.0, -7.0], 2);
    let mut driver = bilevel(problem, 6);
    let phi = parameter(&driver, Group::DownstreamHead);
    let direct = driver.problem.upper(&parameter(&driver, Group::UpperBackbone), &phi, 0).1;
    let record = run(&mut driver, settings(1.0, 2.0, 0.5, exact()), 0);
    assert_eq!(record.solve.termination, Termination::NegativeCurvature);
    assert_eq!(record.solve.products, 1);
    assert!(record.solve.rayleigh_max.unwrap() < -3.0);
    assert_eq!(driver.read(Register::Solution), scale(0.5, &direct));
}

#[test]
fn damping_beyond_the_negative_curvature_makes_the_system_solvable() {
    let values = [-0.9, 0.5, 2.0];
    for (delta, solvable) in [(0.0, false), (9.0, true)] {
        let mut driver = bilevel(Quadratic::new(7, &values, 1), 7);
        let record = run(&mut driver, settings(0.5, delta, 0.0, exact()), 0);
        let converged = record.solve.termination == Termination::Converged;
        assert_eq!(converged, solvable, "δ {delta}");
        assert!(record.solve.rayleigh_min.unwrap() >= -0.9001);
    }
}

#[test]
fn a_gradient_that_is_not_finite_ends_before_the_direct_evaluation() {
    for bad in [f64::NAN, f64::INFINITY] {
        for solver in [exact(), SolverSettings::Identity] {
            let mut driver = bilevel(problem(8, 4), 8);
            driver = driver.with(Register::Parameter(Group::LowerBackbone), vec![bad; 4]);
            let record = run(&mut driver, settings(1.0, 0.0, 1.0, solver), 3);
            assert_eq!(record.solve.termination, Termination::NonFinite);
            assert_eq!(record.loss_at_upper, None);
            let calls = &driver.problem.calls;
            assert_eq!(*calls, [Call::Gradient(Evaluation::UpperAtLower, 3)]);
        }
    }
}
