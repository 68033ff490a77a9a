//! The hypergradient of ridge regression, by proximity and by general coupling, against central
//! differences of the validation loss.

use bissl_core::{
    Bank, Coupling, Evaluation, Group, HypergradientSettings, LowerObjective, Register,
    Termination, UpperObjective,
};

use crate::dense::{DenseDriver, DenseError};
use crate::hypergradient::{exact, run};
use crate::matrix::{distance, draws, gaussian};
use crate::precision;
use crate::quadratic::{Call, Quadratic, bilevel, differences};
use crate::ridge::{Ridge, RidgeProblem, driver};

#[test]
fn a_proximity_term_agrees_with_central_differences() {
    for seed in 0..10 {
        for (features, lambda, gamma) in [(1, 0.5f32, 1.0f32), (5, 0.25, 0.5), (12, 1.0, 0.0)] {
            let ridge = Ridge::new(seed, features);
            let u = gaussian(&mut draws(seed, 51), features);
            let (wide_lambda, wide_gamma, phi) = (f64::from(lambda), f64::from(gamma), 0.2);
            let lower = ridge.proximal_solution(&u, wide_lambda);
            let problem = RidgeProblem { ridge: ridge.clone(), weights_are_upper: false };
            let mut driver = driver(problem, lower, u.clone(), phi);
            let coupling = Coupling::Proximity { weight: lambda };
            let settings = HypergradientSettings::new(coupling, 0.0, gamma, exact()).unwrap();
            run(&mut driver, settings, 0);
            let expected =
                differences(&u, |u| ridge.proximity_objective(u, phi, wide_lambda, wide_gamma));
            let error = distance(driver.read(settings.result()), &expected);
            assert!(error <= precision::HYPERGRADIENT, "seed {seed}, {features}: {error:e}");
            let by_head = differences(&[phi], |phi| {
                ridge.proximity_objective(&u, phi[0], wide_lambda, wide_gamma)
            });
            let error = distance(driver.read(Register::DownstreamHeadGradient), &by_head);
            assert!(error <= precision::DIFFERENCES, "seed {seed}, {features}: head {error:e}");
        }
    }
}

#[test]
fn regularisation_weights_agree_with_central_differences() {
    for seed in 0..10 {
        for (features, gamma) in [(1, 1.0f32), (4, 0.5), (9, 0.0), (9, 1.0)] {
            let ridge = Ridge::new(seed, features);
            let mut draws = draws(seed, 52);
            let weights: Vec<f64> =
                (0..features).map(|_| 0.2 + f64::from(draws.uniform())).collect();
            let (wide_gamma, phi) = (f64::from(gamma), -0.1);
            let problem = RidgeProblem { ridge: ridge.clone(), weights_are_upper: true };
            let lower = ridge.solution(&weights);
            let mut driver = driver(problem, lower, weights.clone(), phi);
            let settings =
                HypergradientSettings::new(Coupling::General, 0.0, gamma, exact()).unwrap();
            assert_eq!(settings.result(), Register::Hypergradient);
            assert_eq!(settings.proximity(), None);
            let record = run(&mut driver, settings, 0);
            assert_eq!(record.solve.termination, Termination::Converged);
            assert_eq!(driver.products, 1, "one cross product a hypergradient");
            let expected =
                differences(&weights, |weights| ridge.objective(weights, phi, wide_gamma));
            let error = distance(driver.read(Register::Hypergradient), &expected);
            assert!(error <= precision::HYPERGRADIENT, "seed {seed}, {features}: {error:e}");
            assert_eq!(record.loss_at_upper.is_some(), gamma > 0.0);
        }
    }
}

/// General coupling damps with δ itself: `A v = H v + δ v`.
#[test]
fn general_coupling_damps_the_whole_hessian() {
    let ridge = Ridge::new(3, 6);
    let weights = vec![0.5; 6];
    let lower = ridge.solution(&weights);
    let solve_at = |delta: f32, weights: Vec<f64>| {
        let problem = RidgeProblem { ridge: ridge.clone(), weights_are_upper: true };
        let mut driver = driver(problem, lower.clone(), weights, 0.0);
        let settings = HypergradientSettings::new(Coupling::General, delta, 0.0, exact()).unwrap();
        let report = run(&mut driver, settings, 0).solve;
        (driver.read(Register::Hypergradient).to_vec(), report)
    };
    // δ on top of λ is the same operator as a larger λ, and the quotients are those of H without δ.
    let (damped, with_damping) = solve_at(1.5, weights.clone());
    let (shifted, with_weights) = solve_at(0.0, vec![2.0; 6]);
    assert!(distance(&damped, &shifted) <= precision::HYPERGRADIENT);
    let difference = with_weights.rayleigh_max.unwrap() - with_damping.rayleigh_max.unwrap();
    assert!((difference - 1.5).abs() < 1e-4, "{difference}");
    assert!(with_damping.rayleigh_max.unwrap() > 0.5);
}

/// A quadratic problem that states its proximity as part of a general lower loss with λ = 1.
struct AsGeneral(DenseDriver<Quadratic>);

macro_rules! delegate {
    ($($name:ident($($argument:ident: $kind:ty),*) -> $result:ty;)*) => {
        $(fn $name(&mut self, $($argument: $kind),*) -> $result { self.0.$name($($argument),*) })*
    };
}

impl bissl_core::RegisterFile for AsGeneral {
    type Error = DenseError;
    delegate! {
        zero(dst: Register) -> Result<(), DenseError>;
        copy(src: Register, dst: Register) -> Result<(), DenseError>;
        axpby(a: f32, x: Register, b: f32, y: Register) -> Result<(), DenseError>;
        dots(pairs: &[(Register, Register)], scalars: &mut [f32]) -> Result<(), DenseError>;
        segment_dots(pairs: &[(Register, Register)], scalars: &mut [f32]) -> Result<u32, DenseError>;
        segment_axpby(scalars: &[f32], x: Register, b: f32, y: Register) -> Result<(), DenseError>;
        adam(group: Group, gradient: Register, coefficients: &bissl_core::AdamCoefficients)
            -> Result<(), DenseError>;
        basis_dots(pairs: &[(Register, Register)], bank: Bank, x: Register, scalars: &mut [f32])
            -> Result<(), DenseError>;
        combine(bank: Bank, scalars: &[f32], b: f32, y: Register) -> Result<(), DenseError>;
        sketch(dst: Register, index: u32) -> Result<(), DenseError>;
    }
}

impl LowerObjective for AsGeneral {
    delegate! {
        lower_gradient(index: u32, backbone: Option<Register>, head: Register)
            -> Result<f32, DenseError>;
        linearize(index: u32) -> Result<(), DenseError>;
    }

    fn product(&mut self, src: Register, dst: Register) -> Result<(), DenseError> {
        use bissl_core::RegisterFile;
        self.0.product(src, dst)?;
        self.0.axpby(1.0, src, 1.0, dst)
    }
}

impl UpperObjective for AsGeneral {
    delegate! {
        upper_gradient(at: Evaluation, index: u32, backbone: Option<Register>, head: Register)
            -> Result<f32, DenseError>;
    }
}

/// The default cross product is that of a proximity term with λ = 1.
#[test]
fn the_default_cross_product_makes_proximity_a_case_of_general_coupling() {
    let values = [0.1, 0.7, 1.5, 3.0];
    let mut by_proximity = bilevel(Quadratic::new(1, &values, 2), 1);
    let general =
        by_proximity.clone().unwritten(4, &[Register::Hypergradient, Register::DirectGradient]);
    let coupling = Coupling::Proximity { weight: 1.0 };
    let settings = HypergradientSettings::new(coupling, 0.0, 0.5, exact()).unwrap();
    run(&mut by_proximity, settings, 0);
    let settings = HypergradientSettings::new(Coupling::General, 0.0, 0.5, exact()).unwrap();
    let mut general = AsGeneral(general);
    let mut machine = bissl_core::Hypergradient::new(settings, 0);
    let mut training = bissl_core::Training(&mut general);
    bissl_core::drive(&mut machine, &mut training, &mut [0.0; 4]).unwrap();
    let found = general.0.read(Register::Hypergradient);
    assert!(distance(found, by_proximity.read(Register::Solution)) <= precision::HYPERGRADIENT);
    assert!(general.0.problem.calls.contains(&Call::Product));
}
