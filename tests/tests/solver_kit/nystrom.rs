//! The Nyström solver against the dense formula for the same sketch.

use bissl_core::{
    Alternation, AlternationSettings, ConfigError, Coupling, DriveError, Driver, Group,
    Hypergradient, HypergradientSettings, Linear, Machine, Nystrom, NystromSettings, Pending,
    Progress, Register, Reply, Report, Request, Solver, SolverMemory, SolverSettings, Stream,
    Termination, Training, drive,
};

use crate::dense::{DenseDriver, DenseError, banks, linear};
use crate::matrix::{Matrix, Spectral, add, distance, dot, draws, gaussian, norm, scale};
use crate::mfac::{Rounded, solve};
use crate::precision::{self, close};
use crate::protocol::{SGD, level, small};
use crate::quadratic::{Call, Quadratic};
use crate::solve::converse;
use crate::tape::{check, record};

fn nystrom(rank: usize) -> SolverSettings {
    SolverSettings::Nystrom(NystromSettings::new(rank as u8).unwrap())
}

/// E with these eigenvalues, and b.
struct Case {
    excess: Spectral,
    b: Vec<f64>,
}

impl Case {
    fn new(seed: u64, values: Vec<f64>) -> Self {
        let mut draws = draws(seed, 42);
        let b = gaussian(&mut draws, values.len());
        Self { excess: Spectral::new(values, &mut draws), b }
    }

    fn driver(&self) -> DenseDriver<Matrix> {
        linear(self.excess.matrix().scaled_and_shifted(1.0, 1.0), self.b.clone())
    }

    /// `(I + E)^{-1} b`.
    fn exact(&self) -> Vec<f64> {
        self.excess.apply(&self.b, |value| 1.0 / (1.0 + value))
    }

    /// `(I + E Ω (ΩᵀE Ω)^{-1} ΩᵀE)^{-1} b` with the first `rank` draws of the kit's sketch.
    fn dense(&self, rank: usize) -> Vec<f64> {
        let n = self.b.len();
        let e = self.excess.matrix();
        let sketch: Vec<Vec<f64>> =
            (0..rank as u64).map(|index| gaussian(&mut Stream::new(0, 99).at(index), n)).collect();
        let products: Vec<Vec<f64>> = sketch.iter().map(|omega| e.times(omega)).collect();
        let small = Matrix::new(rank, rank, |i, j| dot(&sketch[i], &products[j]));
        let columns: Vec<Vec<f64>> = (0..n)
            .map(|j| {
                let rows: Vec<f64> = products.iter().map(|product| product[j]).collect();
                let weights = small.solve(&rows);
                let zero = vec![0.0; n];
                products.iter().zip(weights).fold(zero, |sum, (product, w)| add(&sum, w, product))
            })
            .collect();
        let identity = |i, j| if i == j { 1.0 } else { 0.0 };
        Matrix::new(n, n, |i, j| identity(i, j) + columns[j][i]).solve(&self.b)
    }

    /// Solution, report, memory of a first solve.
    fn first(&self, rank: usize) -> (Vec<f64>, Report, SolverMemory) {
        let mut driver = self.driver();
        let (report, memory) = solve(nystrom(rank), SolverMemory::default(), &mut driver);
        (driver.read(Register::Solution).to_vec(), report, memory)
    }
}

/// Eigenvalues falling by `ratio`.
fn decaying(n: usize, top: f64, ratio: f64) -> Vec<f64> {
    (0..n).map(|i| top * ratio.powi(i as i32)).collect()
}

/// Even eigenvalues from just above 0 to `top`.
fn even(n: usize, top: f64) -> Vec<f64> {
    (0..n).map(|i| top * (i as f64 + 1.0) / n as f64).collect()
}

/// Relative error allowed: x is what f32 scalars leave of b, and may be far smaller.
fn allowed(case: &Case, expected: &[f64]) -> f64 {
    precision::SCALAR * norm(&case.b) / norm(expected)
}

#[test]
fn solutions_are_those_of_the_dense_formula_for_the_same_sketch() {
    for n in [1, 2, 3, 7, 20, 60] {
        for rank in [1, 2, 3, 5, 10, 16] {
            if rank > n {
                continue;
            }
            for (what, values) in [
                ("even", even(n, 3.0)),
                ("published damping", even(n, 0.02)),
                ("steep", even(n, 100.0)),
                ("decaying", decaying(n, 5.0, 0.7)),
            ] {
                for seed in 0..3 {
                    let case = Case::new(seed, values.clone());
                    let (x, report, memory) = case.first(rank);
                    let expected = case.dense(rank);
                    let error = distance(&x, &expected);
                    let name = format!("{what}, n {n}, rank {rank}, seed {seed}");
                    assert!(error <= allowed(&case, &expected), "{name}: {error:e}");
                    assert_eq!(report.termination, Termination::Unverified, "{name}");
                    assert_eq!(usize::from(report.products), rank, "{name}");
                    assert_eq!(usize::from(memory.count()), rank, "{name}");
                }
            }
        }
    }
}

/// At δ = 10 the correction is a hundredth of b: it is right too, and not only x.
#[test]
fn the_correction_is_right_at_the_published_damping() {
    for seed in 0..5 {
        let case = Case::new(seed, even(20, 0.02));
        let (x, _, _) = case.first(8);
        let error = distance(&add(&case.b, -1.0, &x), &add(&case.b, -1.0, &case.dense(8)));
        assert!(error <= 1e-3, "seed {seed}: {error:e}");
    }
}

/// A few sketches more than the rank: exactly as many are sometimes nearly dependent.
#[test]
fn a_curvature_of_lower_rank_is_solved_exactly() {
    for (n, nonzero) in [(5, 1), (10, 3), (30, 8), (60, 12)] {
        for top in [0.02, 2.0, 50.0] {
            for seed in 0..4 {
                let mut values = even(nonzero, top);
                values.resize(n, 0.0);
                let case = Case::new(seed, values);
                let exact = case.exact();
                for rank in [nonzero + 2, nonzero + 4] {
                    let (x, report, memory) = case.first(rank);
                    let error = distance(&x, &exact);
                    let name = format!("n {n}, {nonzero} to {top}, rank {rank}, seed {seed}");
                    assert!(error <= 10.0 * allowed(&case, &exact), "{name}: {error:e}");
                    assert_eq!(report.termination, Termination::Unverified, "{name}");
                    assert_eq!(usize::from(memory.count()), nonzero, "{name}");
                }
            }
        }
    }
}

/// The sketches beyond the dimension are rounding once those before are taken out.
#[test]
fn more_sketches_than_dimensions_solve_exactly() {
    for n in [1, 2, 4] {
        for seed in 0..10 {
            let case = Case::new(seed, even(n, 2.0));
            let (x, report, memory) = case.first(10);
            let error = distance(&x, &case.exact());
            assert!(error <= allowed(&case, &x), "n {n}, seed {seed}: {error:e}");
            assert_eq!(usize::from(memory.count()), n);
            assert_eq!(report.products, 10);
        }
    }
}

/// Multiplies every sketch.
struct Scaled<'a>(&'a mut DenseDriver<Matrix>, f64);

impl Driver for Scaled<'_> {
    type Error = DriveError<DenseError>;

    fn perform(&mut self, request: &Request, scalars: &mut [f32]) -> Result<Reply, Self::Error> {
        let reply = Linear(self.0).perform(request, scalars)?;
        if let Request::Sketch { dst, .. } = *request {
            let scaled = scale(self.1, self.0.read(dst));
            self.0.write(dst, scaled).map_err(DriveError::Problem)?;
        }
        Ok(reply)
    }
}

/// What is rounding is told by its share, not by its size.
#[test]
fn the_length_of_the_sketches_does_not_matter() {
    for factor in [1e-6, 1e-3, 1e3, 1e6] {
        for seed in 0..10 {
            let case = Case::new(seed, even(3, 2.0));
            let mut driver = case.driver();
            let mut machine = Solver::new(nystrom(8), SolverMemory::default());
            let mut scaled = Scaled(&mut driver, factor);
            drive(&mut machine, &mut scaled, &mut [f32::NAN; 16]).unwrap();
            assert_eq!(machine.memory().count(), 3, "{factor}, seed {seed}");
            let error = distance(driver.read(Register::Solution), &case.exact());
            assert!(error <= 10.0 * precision::SCALAR, "{factor}, seed {seed}: {error:e}");
        }
    }
}

#[test]
fn the_error_falls_with_the_rank_on_decaying_spectra() {
    for ratio in [0.3, 0.5, 0.7] {
        for seed in 0..5 {
            let case = Case::new(seed, decaying(40, 20.0, ratio));
            let exact = case.exact();
            let solutions = [1, 2, 4, 8, 16].map(|rank| case.first(rank).0);
            // Ê grows towards E, so bᵀx falls towards its value at the solution.
            let excess = solutions.each_ref().map(|x| dot(&case.b, &add(x, -1.0, &exact)));
            let floor = 1e-4 * dot(&case.b, &case.b);
            for pair in excess.windows(2) {
                let falls = pair[1] < pair[0] || pair[1].abs() <= floor;
                assert!(falls, "{ratio}, {seed}: {excess:?}");
            }
            let errors = solutions.map(|x| distance(&x, &exact));
            assert!(errors[4] <= 0.2 * errors[0], "{ratio}, {seed}: {errors:?}");
        }
    }
}

#[test]
fn later_solves_use_no_product_and_no_sketch() {
    for seed in 0..5 {
        let case = Case::new(seed, even(12, 3.0));
        let mut driver = case.driver();
        let (_, mut memory) = solve(nystrom(5), SolverMemory::default(), &mut driver);
        assert_eq!(driver.products, 5);
        for again in 0..3 {
            let b = gaussian(&mut draws(seed, 43 + again), 12);
            driver = [Register::Direction, Register::Product]
                .into_iter()
                .fold(driver.with(Register::Residual, b.clone()), |driver, register| {
                    driver.with(register, vec![f64::NAN; 12])
                });
            let (report, next) = solve(nystrom(5), memory, &mut driver);
            memory = next;
            assert_eq!((report.products, driver.products), (0, 5));
            assert_eq!((report.rayleigh_min, report.rayleigh_max), (None, None));
            assert_eq!(driver.read(Register::Residual), b);
            assert!(driver.read(Register::Direction).iter().all(|x| x.is_nan()));
            let of = Case { b, ..Case::new(seed, even(12, 3.0)) };
            let expected = of.dense(5);
            let error = distance(driver.read(Register::Solution), &expected);
            assert!(error <= allowed(&of, &expected), "seed {seed}: {error:e}");
        }
    }
}

#[test]
fn the_report_describes_the_returned_vector_and_the_directions() {
    for seed in 0..10 {
        let case = Case::new(seed, even(20, 3.0));
        let (x, report, _) = case.first(6);
        let agree = |found: f32, expected: f64| {
            assert!(close(found.into(), expected, precision::REPORT, 0.0), "{found} {expected}");
        };
        agree(report.rhs_sq, dot(&case.b, &case.b));
        agree(report.solution_sq, dot(&x, &x));
        agree(report.alignment, dot(&case.b, &x));
        assert_eq!(report.residual_sq, None);
        let (low, high) = (report.rayleigh_min.unwrap(), report.rayleigh_max.unwrap());
        assert!(1.0 < low && low < high && high < 4.0, "{low} {high}");
        // The first direction is the first draw.
        let first = gaussian(&mut Stream::new(0, 99).at(0), 20);
        let product = case.excess.matrix().times(&first);
        let quotient = 1.0 + dot(&first, &product) / dot(&first, &first);
        let (_, one, _) = case.first(1);
        agree(one.rayleigh_max.unwrap(), quotient);
        agree(one.rayleigh_min.unwrap(), quotient);
        assert!(f64::from(high) >= quotient - 1e-5 && f64::from(low) <= quotient + 1e-5);
    }
}

#[test]
fn without_curvature_the_answer_is_the_right_hand_side() {
    let case = Case::new(1, vec![0.0; 6]);
    let (x, report, memory) = case.first(3);
    assert_eq!(x, case.b);
    assert_eq!((report.termination, report.products), (Termination::Unverified, 3));
    assert_eq!(memory.count(), 0);
}

#[test]
fn a_zero_right_hand_side_is_solved_by_zero() {
    let mut case = Case::new(2, even(6, 1.0));
    case.b = vec![0.0; 6];
    let (x, report, memory) = case.first(3);
    assert_eq!(x, case.b);
    assert_eq!((report.termination, report.residual_sq), (Termination::Converged, Some(0.0)));
    assert_eq!(memory.count(), 3);
}

#[test]
fn clearly_negative_curvature_answers_with_the_right_hand_side() {
    for (n, top) in [(1, 1.0), (4, 3.0), (12, 0.1)] {
        for seed in 0..5 {
            let case = Case::new(seed, even(n, -top));
            let mut driver = case.driver();
            let settings = nystrom(4);
            let (report, memory) = solve(settings, SolverMemory::default(), &mut driver);
            assert_eq!(report.termination, Termination::NegativeCurvature);
            assert_eq!((report.products, driver.products), (1, 1));
            assert!(report.rayleigh_min.unwrap() < 1.0);
            assert_eq!(driver.read(Register::Solution), case.b);
            let (report, _) = solve(settings, memory, &mut driver);
            assert_eq!((report.termination, report.products), (Termination::Unverified, 0));
            assert_eq!(driver.read(Register::Solution), case.b);
        }
    }
}

/// One negative eigenvalue among positive ones is met sooner or later, and what was kept is not
/// used.
#[test]
fn negative_curvature_after_good_directions_drops_them() {
    for seed in 0..10 {
        let mut values = even(3, 2.0);
        values.push(-1.0);
        let case = Case::new(seed, values);
        let (x, report, memory) = case.first(4);
        assert_eq!(report.termination, Termination::NegativeCurvature, "seed {seed}");
        assert_eq!(x, case.b);
        assert_eq!(memory.count(), 0);
        assert!((1..=4).contains(&report.products));
    }
    let late = (0..10).any(|seed| {
        let mut values = even(3, 2.0);
        values.push(-1.0);
        Case::new(seed, values).first(4).1.products > 1
    });
    assert!(late, "some of them keep a direction first");
}

/// What rounding makes of a zero eigenvalue is neither curvature nor its negative.
#[test]
fn curvature_within_rounding_of_zero_is_left_out() {
    for tiny in [1e-8, -1e-8] {
        for seed in 0..5 {
            let mut values = even(3, 2.0);
            values.resize(9, tiny);
            let case = Case::new(seed, values);
            let (x, report, memory) = case.first(6);
            assert_eq!(report.termination, Termination::Unverified, "{tiny}, seed {seed}");
            assert_eq!(memory.count(), 3);
            assert!(distance(&x, &case.exact()) <= 1e-5);
        }
    }
}

/// With vectors of f32, of which a product leaves less: what is left of a zero eigenvalue is not
/// taken for a negative one, and does not spoil the others.
#[test]
fn vectors_of_f32_give_the_correction_as_well_as_they_resolve_it() {
    for (n, nonzero) in [(40, 3), (40, 8), (200, 5)] {
        for top in [0.002, 0.02, 2.0, 50.0] {
            for seed in 0..10 {
                let mut values = even(nonzero, top);
                values.resize(n, 0.0);
                let case = Case::new(seed, values);
                let mut driver = case.driver();
                let mut machine = Solver::new(nystrom(nonzero + 4), SolverMemory::default());
                let mut scalars = [f32::NAN; 16];
                let ended = drive(&mut machine, &mut Rounded(&mut driver), &mut scalars).unwrap();
                let Progress::Done(report) = ended else { panic!("a solver has no events") };
                let name = format!("n {n}, {nonzero} to {top}, seed {seed}");
                assert_eq!(report.termination, Termination::Unverified, "{name}");
                let error = norm(&add(driver.read(Register::Solution), -1.0, &case.exact()));
                assert_eq!(usize::from(machine.memory().count()), nonzero, "{name}");
                assert!(error <= 5e-5 * norm(&case.b), "{name}: {error:e}");
            }
        }
    }
}

/// As the solver asks: the answer `fault(i, …)` takes the place of product i.
fn with_fault(fault: impl Fn(usize, Vec<f64>) -> Vec<f64>) -> (Report, SolverMemory) {
    let case = Case::new(3, even(6, 2.0));
    let mut driver = case.driver();
    let mut machine = Solver::new(nystrom(4), SolverMemory::default());
    let report = converse(&mut driver, &mut machine, |driver, request, _| {
        if let Request::Apply { dst, .. } = *request {
            let product = fault(driver.products - 1, driver.read(dst).to_vec());
            driver.write(dst, product).unwrap();
        }
    });
    (report, machine.memory())
}

#[test]
fn products_that_are_not_finite_end_the_solve_and_empty_the_bank() {
    for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        for which in 0..4 {
            let (report, memory) = with_fault(|i, mut product| {
                if i == which {
                    product.fill(bad);
                }
                product
            });
            assert_eq!(report.termination, Termination::NonFinite, "{bad} in {which}");
            assert_eq!(usize::from(report.products), which + 1);
            assert_eq!(memory, SolverMemory::default());
        }
    }
    assert_eq!(with_fault(|_, product| product).0.termination, Termination::Unverified);
}

#[test]
fn a_right_hand_side_that_is_not_finite_ends_the_solve_and_leaves_the_bank_prepared() {
    let case = Case::new(4, even(6, 2.0));
    for bad in [f64::NAN, f64::INFINITY, 1e30] {
        let mut driver = case.driver().with(Register::Residual, vec![bad; 6]);
        let (report, memory) = solve(nystrom(3), SolverMemory::default(), &mut driver);
        assert_eq!(report.termination, Termination::NonFinite);
        driver = driver.with(Register::Residual, case.b.clone());
        let (report, _) = solve(nystrom(3), memory, &mut driver);
        assert_eq!((report.termination, report.products), (Termination::Unverified, 0));
        let error = distance(driver.read(Register::Solution), &case.dense(3));
        assert!(error <= 1e-5, "{error:e}");
    }
    // Also where the operator is not semi-definite.
    let mut driver = Case::new(4, even(6, -2.0)).driver().with(Register::Residual, vec![1e30; 6]);
    let (report, _) = solve(nystrom(3), SolverMemory::default(), &mut driver);
    assert_eq!(report.termination, Termination::NonFinite);
}

#[test]
fn the_first_and_later_solves_keep_the_protocol() {
    let settings = NystromSettings::new(3).unwrap();
    let mut singular = even(2, 1.0);
    singular.resize(5, 0.0);
    for values in [even(5, 2.0), singular, even(5, -1.0), vec![f64::NAN; 5]] {
        let case = Case::new(5, values);
        let mut driver = case.driver();
        let machine = Nystrom::new(settings, SolverMemory::default());
        check(&record(machine, &mut Linear(&mut driver), 6));
        let (_, memory) = solve(nystrom(3), SolverMemory::default(), &mut driver);
        check(&record(Solver::new(nystrom(3), memory), &mut Linear(&mut driver), 6));
    }
}

#[test]
fn settings_say_what_is_used_and_refuse_the_rest() {
    let settings = nystrom(7);
    let facts = settings.facts();
    assert!(facts.uses_products);
    assert_eq!((facts.basis, facts.basis_products, facts.gradients), (7, 7, 0));
    assert_eq!(NystromSettings::new(7).unwrap().rank(), 7);
    assert_eq!(NystromSettings::new(0), Err(ConfigError::Zero { name: "rank" }));
    let error = HypergradientSettings::new(Coupling::General, 1.0, 1.0, nystrom(2)).unwrap_err();
    assert_eq!(error, ConfigError::NeedsProximity { solver: "nystrom" });
}

const DAMPING: f32 = 0.7;

fn hypergradient(rank: usize) -> HypergradientSettings {
    let coupling = Coupling::Proximity { weight: 0.5 };
    HypergradientSettings::new(coupling, DAMPING, 0.0, nystrom(rank)).unwrap()
}

/// E is H/(λ+δ), with the rank of H; quotients are reported of H.
#[test]
fn a_whole_hypergradient_is_the_closed_form_where_the_rank_suffices() {
    for seed in 0..5 {
        let problem = Quadratic::new(seed, &[0.0, 3.0, 0.0, 0.5, 0.0], 2);
        let mut driver = crate::quadratic::bilevel(problem, seed).unwritten(5, &banks());
        let theta = driver.read(Register::Parameter(Group::LowerBackbone)).to_vec();
        let phi = driver.read(Register::Parameter(Group::DownstreamHead)).to_vec();
        let b = driver.problem.upper(&theta, &phi, 0).1;
        let damped = 0.5 + f64::from(DAMPING);
        let expected = driver.problem.curvature.apply(&b, |value| 1.0 / (1.0 + value / damped));
        let mut machine = Hypergradient::new(hypergradient(3), 0);
        drive(&mut machine, &mut Training(&mut driver), &mut [f32::NAN; 16]).unwrap();
        let error = distance(driver.read(Register::Solution), &expected);
        assert!(error <= precision::HYPERGRADIENT, "seed {seed}: {error:e}");
        let Pending::Done(record) = machine.pending() else { panic!("it has ended") };
        let (low, high) = (record.solve.rayleigh_min.unwrap(), record.solve.rayleigh_max.unwrap());
        assert!(-1e-5 < low && low <= high && high < 3.0, "{low} {high}");
        assert_eq!(record.solve.products, 3);
    }
}

/// One preparation an alternation, always with the same sketch.
#[test]
fn every_alternation_prepares_once_with_the_same_sketch() {
    let settings =
        AlternationSettings::new(3, level(SGD, 2, 3), level(SGD, 4, 3), hypergradient(2)).unwrap();
    let mut driver = small(6).unwritten(5, &banks());
    let tape = record(Alternation::new(settings), &mut Training(&mut driver), 16);
    let mut asked = Vec::new();
    for exchange in &tape.exchanges {
        if let Some(Request::Sketch { index, .. }) = exchange.request {
            asked.push(index);
        }
    }
    assert_eq!(asked, [0, 1, 0, 1, 0, 1]);
    let calls = &driver.problem.calls;
    let count = |wanted: Call| calls.iter().filter(|call| **call == wanted).count();
    assert_eq!(count(Call::Product), 6);
    for alternation in 0..3 {
        assert_eq!(count(Call::Linearize(alternation)), 1);
    }
    let settings =
        AlternationSettings::new(2, level(SGD, 1, 2), level(SGD, 2, 2), hypergradient(2)).unwrap();
    let mut driver = small(6).unwritten(5, &banks());
    check(&record(Alternation::new(settings), &mut Training(&mut driver), 8));
}
