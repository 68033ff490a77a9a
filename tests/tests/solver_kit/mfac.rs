//! M-FAC against the dense inverse of its own curvature, alone and inside an alternation.

use bissl_core::{
    Alternation, AlternationSettings, Bank, ConfigError, Coupling, DescentSettings, DescentStep,
    DriveError, Driver, Evaluation, Group, Hypergradient, HypergradientSettings, Level, Linear,
    Machine, Mfac, MfacSettings, Pending, Progress, Register, Reply, Report, Request, Solver,
    SolverMemory, SolverSettings, Termination, Training, drive,
};

use crate::dense::{DenseDriver, DenseError};
use crate::matrix::{Matrix, add, distance, dot, draws, gaussian, norm, scale};
use crate::precision::{self, close};
use crate::protocol::{ADAMW, LARS, SGD, level, small};
use crate::quadratic::{Call, Quadratic};
use crate::tape::{check, nothing_is_taken_after_the_end, record};

/// Rounds what each request writes to f32, as devices do.
#[derive(Debug)]
pub(crate) struct Rounded<'a>(pub(crate) &'a mut DenseDriver<Matrix>);

impl Driver for Rounded<'_> {
    type Error = DriveError<DenseError>;

    fn perform(&mut self, request: &Request, scalars: &mut [f32]) -> Result<Reply, Self::Error> {
        let reply = Linear(self.0).perform(request, scalars)?;
        if let Request::Copy { dst: written, .. }
        | Request::Axpby { y: written, .. }
        | Request::Combine { y: written, .. }
        | Request::Sketch { dst: written, .. }
        | Request::Apply { dst: written, .. } = *request
        {
            let rounded = self.0.read(written).iter().map(|x| f64::from(*x as f32)).collect();
            self.0.write(written, rounded).map_err(DriveError::Problem)?;
        }
        Ok(reply)
    }
}

/// Gradients in the bank, b in place; there is neither a direction nor an operator to apply.
fn filled(gradients: &[Vec<f64>], b: &[f64]) -> DenseDriver<Matrix> {
    use Register::{Product, Residual, Solution};
    let driver = DenseDriver::new(Matrix::new(1, 1, |_, _| f64::NAN))
        .unwritten(b.len(), &[Solution, Product])
        .with(Residual, b.to_vec());
    (0..).zip(gradients).fold(driver, |driver, (slot, gradient)| {
        driver.with(Register::Banked(Bank::Basis, slot), gradient.clone())
    })
}

/// Runs a solver to its end with no more workspace than it says it needs.
pub(crate) fn solve(
    settings: SolverSettings,
    memory: SolverMemory,
    driver: &mut DenseDriver<Matrix>,
) -> (Report, SolverMemory) {
    let mut machine = Solver::new(settings, memory);
    let mut scalars = vec![f32::NAN; settings.facts().scalars(2)];
    match drive(&mut machine, &mut Linear(driver), &mut scalars).unwrap() {
        Progress::Done(report) => (report, machine.memory()),
        Progress::Event(event) => panic!("a solver has no events: {event:?}"),
    }
}

fn mfac(gradients: usize, proximity: f32) -> SolverSettings {
    SolverSettings::Mfac(MfacSettings::new(gradients as u8, proximity).unwrap())
}

/// `λ (λ I + GᵀG/m)^{-1} b`, by elimination.
fn dense(gradients: &[Vec<f64>], lambda: f64, b: &[f64]) -> Vec<f64> {
    let (m, n) = (gradients.len(), b.len());
    let curvature = Matrix::new(m, n, |i, j| gradients[i][j]).gram();
    let system = curvature.scaled_and_shifted(1.0 / m as f64, lambda);
    scale(lambda, &system.solve(b))
}

fn random(seed: u64, m: usize, n: usize) -> (Vec<Vec<f64>>, Vec<f64>) {
    let mut draws = draws(seed, 40);
    let gradients = (0..m).map(|_| gaussian(&mut draws, n)).collect();
    (gradients, gaussian(&mut draws, n))
}

/// Relative error allowed: x is what f32 scalars leave of b, and may be far smaller. Random
/// gradients in three dimensions are sometimes nearly parallel, which costs a digit.
fn allowed(b: &[f64], expected: &[f64]) -> f64 {
    let scalars = if b.len() <= 3 { 20.0 } else { 1.0 } * precision::SCALAR;
    scalars * norm(b) / norm(expected)
}

fn agrees_with_the_dense_inverse(gradients: &[Vec<f64>], lambda: f32, b: &[f64], case: &str) {
    let mut driver = filled(gradients, b);
    let m = gradients.len();
    let (report, memory) = solve(mfac(m, lambda), SolverMemory::filled(m as u8), &mut driver);
    let expected = dense(gradients, lambda.into(), b);
    let error = distance(driver.read(Register::Solution), &expected);
    assert!(error <= allowed(b, &expected), "{case}: {error:e}");
    assert_eq!(report.termination, Termination::Unverified, "{case}");
    assert_eq!(usize::from(memory.count()), m, "{case}");
}

#[test]
fn solutions_are_those_of_the_dense_inverse() {
    for n in [2, 3, 7, 30, 200] {
        for m in [1, 2, 3, 5, 10, 20] {
            for lambda in [1e-3, 0.1, 1.0, 30.0] {
                for seed in 0..if n < 100 { 5 } else { 1 } {
                    let (gradients, b) = random(seed, m, n);
                    let case = format!("n {n}, m {m}, λ {lambda}, seed {seed}");
                    agrees_with_the_dense_inverse(&gradients, lambda, &b, &case);
                }
            }
        }
    }
}

#[test]
fn vectors_of_f32_are_enough() {
    for (n, m) in [(30, 3), (30, 20), (200, 20)] {
        for lambda in [1e-3, 0.1, 1.0] {
            for seed in 0..10 {
                let (mut gradients, b) = random(seed, m, n);
                gradients[1] = add(&gradients[0], 1e-3, &gradients[1]);
                let expected = dense(&gradients, lambda.into(), &b);
                let mut driver = filled(&gradients, &b);
                let mut machine = Solver::new(mfac(m, lambda), SolverMemory::filled(m as u8));
                drive(&mut machine, &mut Rounded(&mut driver), &mut [f32::NAN; 24]).unwrap();
                let error = norm(&add(driver.read(Register::Solution), -1.0, &expected));
                let case = format!("n {n}, m {m}, λ {lambda}, seed {seed}: {error:e}");
                assert!(error <= 2.0 * precision::SCALAR * norm(&b), "{case}");
            }
        }
    }
}

#[test]
fn duplicated_opposite_and_zero_gradients_are_gradients_too() {
    for seed in 0..10 {
        let (mut gradients, b) = random(seed, 3, 9);
        gradients.push(gradients[0].clone());
        gradients.push(scale(-1.0, &gradients[1]));
        gradients.insert(2, vec![0.0; 9]);
        gradients.push(add(&gradients[0], 2.0, &gradients[1]));
        gradients.push(vec![0.0; 9]);
        for lambda in [0.01, 1.0] {
            agrees_with_the_dense_inverse(&gradients, lambda, &b, &format!("seed {seed}"));
        }
    }
    agrees_with_the_dense_inverse(&[vec![0.0; 4]], 0.5, &[1.0, 2.0, 3.0, 4.0], "zero alone");
}

/// gᵀu of a repeated gradient is below f32's rounding of gᵀg here, and may come out negative.
#[test]
fn gradients_far_above_the_shift_leave_what_is_orthogonal_to_them() {
    for seed in 0..40 {
        let (gradients, b) = random(seed, 1, 12);
        let g = scale(1e4, &gradients[0]);
        let repeated = vec![g.clone(); 6];
        let mut driver = filled(&repeated, &b);
        let (report, _) = solve(mfac(6, 1e-4), SolverMemory::filled(6), &mut driver);
        assert_eq!(report.termination, Termination::Unverified, "seed {seed}");
        let rest = add(&b, -dot(&g, &b) / dot(&g, &g), &g);
        let error = distance(driver.read(Register::Solution), &rest);
        assert!(error <= 10.0 * precision::SCALAR, "seed {seed}: {error:e}");
    }
}

#[test]
fn later_solves_use_what_the_first_has_prepared_and_change_nothing() {
    for seed in 0..5 {
        let (gradients, b) = random(seed, 6, 15);
        let settings = mfac(6, 0.2);
        let mut driver = filled(&gradients, &b);
        let (_, mut memory) = solve(settings, SolverMemory::filled(6), &mut driver);
        let bank = |driver: &DenseDriver<Matrix>| -> Vec<Vec<f64>> {
            let slot = |i| driver.read(Register::Banked(Bank::Basis, i)).to_vec();
            (0..6).map(slot).collect()
        };
        let prepared = bank(&driver);
        for _ in 0..3 {
            let b = gaussian(&mut draws(seed, 41), 15);
            driver = driver
                .with(Register::Residual, b.clone())
                .with(Register::Product, vec![f64::NAN; 15]);
            (_, memory) = solve(settings, memory, &mut driver);
            let expected = dense(&gradients, 0.2, &b);
            let error = distance(driver.read(Register::Solution), &expected);
            assert!(error <= allowed(&b, &expected), "seed {seed}: {error:e}");
            assert_eq!(driver.read(Register::Residual), b);
            assert_eq!(bank(&driver), prepared);
            assert_eq!(memory.count(), 6);
        }
    }
}

#[test]
fn the_report_describes_the_returned_vector() {
    for seed in 0..10 {
        let (gradients, b) = random(seed, 4, 11);
        let mut driver = filled(&gradients, &b);
        let (report, _) = solve(mfac(4, 0.3), SolverMemory::filled(4), &mut driver);
        let x = driver.read(Register::Solution);
        let agree = |found: f32, expected: f64| {
            assert!(close(found.into(), expected, precision::REPORT, 0.0), "{found} {expected}");
        };
        agree(report.rhs_sq, dot(&b, &b));
        agree(report.solution_sq, dot(x, x));
        agree(report.alignment, dot(&b, x));
        agree(report.cosine().unwrap(), dot(&b, x) / norm(x) / norm(&b));
        assert_eq!((report.products, report.residual_sq), (0, None));
        assert_eq!((report.rayleigh_min, report.rayleigh_max), (None, None));
        assert_eq!(driver.products, 0);
    }
}

#[test]
fn without_gradients_the_answer_is_the_right_hand_side() {
    let b = [1.0, -2.0, 0.5];
    let mut driver = filled(&[], &b);
    let (report, memory) = solve(mfac(5, 0.3), SolverMemory::default(), &mut driver);
    assert_eq!(report.termination, Termination::Unverified);
    assert_eq!(driver.read(Register::Solution), b);
    assert_eq!(memory.count(), 0);
}

#[test]
fn a_zero_right_hand_side_is_solved_by_zero() {
    let (gradients, _) = random(1, 3, 5);
    let mut driver = filled(&gradients, &[0.0; 5]);
    let (report, _) = solve(mfac(3, 0.3), SolverMemory::filled(3), &mut driver);
    assert_eq!((report.termination, report.residual_sq), (Termination::Converged, Some(0.0)));
    assert_eq!(driver.read(Register::Solution), [0.0; 5]);
}

#[test]
fn only_as_many_gradients_as_were_set_are_used() {
    let (gradients, b) = random(2, 5, 8);
    let mut driver = filled(&gradients, &b);
    let (_, memory) = solve(mfac(3, 0.3), SolverMemory::filled(5), &mut driver);
    let expected = dense(&gradients[..3], 0.3f32.into(), &b);
    assert!(distance(driver.read(Register::Solution), &expected) <= 1e-5);
    assert_eq!(memory.count(), 3);
    // And a bank that holds fewer is averaged over those.
    let mut driver = filled(&gradients[..2], &b);
    solve(mfac(3, 0.3), SolverMemory::filled(2), &mut driver);
    let expected = dense(&gradients[..2], 0.3f32.into(), &b);
    assert!(distance(driver.read(Register::Solution), &expected) <= 1e-5);
}

#[test]
fn gradients_that_are_not_finite_end_the_solve_and_empty_the_bank() {
    for bad in [f64::NAN, f64::INFINITY, 1e30] {
        for which in 0..3 {
            let (mut gradients, b) = random(3, 3, 4);
            gradients[which][1] = bad;
            let mut driver = filled(&gradients, &b);
            let (report, memory) = solve(mfac(3, 0.3), SolverMemory::filled(3), &mut driver);
            assert_eq!(report.termination, Termination::NonFinite, "{bad} in {which}");
            assert_eq!(memory, SolverMemory::default());
            let untouched = driver.read(Register::Solution);
            assert!(untouched.iter().all(|x| x.is_nan()));
        }
    }
}

#[test]
fn a_right_hand_side_that_is_not_finite_ends_the_solve_and_leaves_the_bank_prepared() {
    let (gradients, good) = random(4, 3, 4);
    for bad in [f64::NAN, f64::INFINITY, 1e30] {
        let mut driver = filled(&gradients, &[1.0, bad, 0.0, 2.0]);
        let (report, memory) = solve(mfac(3, 0.3), SolverMemory::filled(3), &mut driver);
        assert_eq!(report.termination, Termination::NonFinite, "{bad}");
        driver = driver.with(Register::Residual, good.clone());
        let (report, _) = solve(mfac(3, 0.3), memory, &mut driver);
        assert_eq!(report.termination, Termination::Unverified, "{bad}");
        let expected = dense(&gradients, 0.3f32.into(), &good);
        assert!(distance(driver.read(Register::Solution), &expected) <= 1e-5);
    }
}

/// ‖b‖² is in f32's range and bᵀx with it; a kept factor beyond it shows in ‖x‖² alone.
#[test]
fn a_solution_that_is_not_finite_is_not_called_one() {
    let (gradients, b) = random(5, 2, 4);
    let mut driver = filled(&gradients, &b);
    let (_, memory) = solve(mfac(2, 0.3), SolverMemory::filled(2), &mut driver);
    for factor in [vec![1e22; 4], vec![f64::NAN; 4]] {
        driver = driver.with(Register::Banked(Bank::Basis, 1), factor);
        let (report, _) = solve(mfac(2, 0.3), memory, &mut driver);
        assert_eq!(report.termination, Termination::NonFinite);
    }
}

#[test]
fn the_first_and_later_solves_keep_the_protocol() {
    let (gradients, b) = random(6, 3, 4);
    for b in [b, vec![0.0; 4]] {
        let settings = MfacSettings::new(3, 0.4).unwrap();
        let mut driver = filled(&gradients, &b);
        for memory in [SolverMemory::filled(3), SolverMemory::default()] {
            check(&record(Mfac::new(settings, memory), &mut Linear(&mut driver), 6));
        }
        let (_, memory) = solve(mfac(3, 0.4), SolverMemory::filled(3), &mut driver);
        check(&record(Solver::new(mfac(3, 0.4), memory), &mut Linear(&mut driver), 6));
    }
    let bad = vec![gradients[0].clone(), vec![f64::NAN; 4]];
    let mut driver = filled(&bad, &[1.0; 4]);
    let machine = Solver::new(mfac(2, 0.4), SolverMemory::filled(2));
    check(&record(machine, &mut Linear(&mut driver), 6));
    let mut driver = filled(&gradients, &[f64::INFINITY; 4]);
    let machine = Solver::new(mfac(3, 0.4), SolverMemory::filled(3));
    nothing_is_taken_after_the_end(&record(machine, &mut Linear(&mut driver), 6));
}

#[test]
fn settings_say_what_is_used() {
    let settings = mfac(7, 0.5);
    let facts = settings.facts();
    assert!(!facts.uses_products);
    assert_eq!((facts.basis, facts.basis_products, facts.gradients), (7, 0, 7));
    let settings = MfacSettings::new(7, 0.5).unwrap();
    assert_eq!((settings.gradients(), settings.proximity()), (7, 0.5));
}

#[test]
fn settings_outside_their_range_are_refused() {
    assert_eq!(MfacSettings::new(0, 1.0), Err(ConfigError::Zero { name: "gradients" }));
    for bad in [0.0, -1.0, f32::NAN, f32::INFINITY] {
        let error = MfacSettings::new(3, bad).unwrap_err();
        assert!(matches!(error, ConfigError::OutOfRange { name: "proximity", .. }), "{error}");
    }
    let hypergradient = |coupling| HypergradientSettings::new(coupling, 0.0, 1.0, mfac(3, 0.5));
    let error = hypergradient(Coupling::Proximity { weight: 0.25 }).unwrap_err();
    assert_eq!(error.to_string(), "mfac proximity is 0.5, expected the coupling's proximity");
    let error = hypergradient(Coupling::General).unwrap_err();
    assert_eq!(error, ConfigError::NeedsProximity { solver: "mfac" });
    let message = "solver mfac on a general coupling, expected one by proximity";
    assert_eq!(error.to_string(), message);
    let good = hypergradient(Coupling::Proximity { weight: 0.5 }).unwrap();
    let with = |steps| AlternationSettings::new(2, level(SGD, steps, 2), level(SGD, 1, 2), good);
    let error = with(2).unwrap_err();
    assert_eq!(error.to_string(), "gradients is 3, expected at most lower_steps");
    assert!(with(3).is_ok() && with(4).is_ok());
}

const PROXIMITY: f32 = 0.5;
const DIRECT: f32 = 0.4;

fn hypergradient(gradients: usize) -> HypergradientSettings {
    let coupling = Coupling::Proximity { weight: PROXIMITY };
    // The damping is the other solvers': it must not enter.
    HypergradientSettings::new(coupling, 7.0, DIRECT, mfac(gradients, PROXIMITY)).unwrap()
}

fn with_bank(mut driver: DenseDriver<Quadratic>, count: u8) -> DenseDriver<Quadratic> {
    let slots: Vec<Register> = (0..count).map(|i| Register::Banked(Bank::Basis, i)).collect();
    driver = driver.unwritten(5, &slots);
    driver
}

fn group(driver: &DenseDriver<Quadratic>, group: Group) -> Vec<f64> {
    driver.read(Register::Parameter(group)).to_vec()
}

/// Gradients of L^P alone at the parameters of each lower step, and g_P at those of each upper
/// step, computed beside the stage; the solution is looked at when the direct evaluation is asked
/// for.
fn solves_with_the_last_lower_gradients(lower: Level, upper: Level, m: usize, seed: u64) {
    let case = format!("{:?}, m {m}, seed {seed}", lower.optimizer);
    let settings = AlternationSettings::new(3, lower, upper, hypergradient(m)).unwrap();
    let mut driver = with_bank(small(seed), m as u8);
    let mut machine = Alternation::new(settings);
    let mut scalars = vec![f32::NAN; 64];
    let (mut gradients, mut solves) = (Vec::new(), 0);
    loop {
        let (ticket, reply) = match machine.pending() {
            Pending::Done(_) => break,
            Pending::Event(ticket, _) => (ticket, Reply::Ack),
            Pending::Request(ticket, request) => {
                let (theta, phi) =
                    (group(&driver, Group::LowerBackbone), group(&driver, Group::PretextHead));
                match request {
                    Request::Gradient { evaluation: Evaluation::Lower, index, .. } => {
                        gradients.push(driver.problem.lower(&theta, &phi, index).1);
                    }
                    Request::Gradient { evaluation: Evaluation::UpperAtUpper, index, .. } => {
                        let head = group(&driver, Group::DownstreamHead);
                        let b = driver.problem.upper(&theta, &head, index).1;
                        let last = &gradients[gradients.len() - m..];
                        let expected = dense(last, PROXIMITY.into(), &b);
                        let error = distance(driver.read(Register::Solution), &expected);
                        assert!(error <= allowed(&b, &expected), "{case}: {error:e}");
                        solves += 1;
                    }
                    _ => {}
                }
                (ticket, Training(&mut driver).perform(&request, &mut scalars).unwrap())
            }
        };
        machine.step(ticket, reply, &mut scalars).unwrap();
    }
    assert_eq!(solves, 3 * upper.steps, "{case}");
    assert_eq!(gradients.len(), 3 * lower.steps as usize, "{case}");
    let second_order = |call: &Call| matches!(call, Call::Product | Call::Linearize(_));
    assert!(!driver.problem.calls.iter().any(second_order), "{case}");
}

#[test]
fn an_alternation_solves_with_the_gradients_of_its_last_lower_steps() {
    for optimizer in [SGD, LARS, ADAMW] {
        for m in [1, 2, 4] {
            for seed in 0..3 {
                let (lower, upper) = (level(optimizer, 4, 3), level(SGD, 2, 3));
                solves_with_the_last_lower_gradients(lower, upper, m, seed);
            }
        }
    }
}

#[test]
fn alternations_keep_the_protocol() {
    let settings =
        AlternationSettings::new(2, level(SGD, 3, 2), level(SGD, 2, 2), hypergradient(2)).unwrap();
    let mut driver = with_bank(small(7), 2);
    check(&record(Alternation::new(settings), &mut Training(&mut driver), 8));
}

#[test]
fn a_hypergradient_alone_solves_with_the_bank_that_its_driver_has_filled() {
    let (gradients, _) = random(8, 3, 5);
    let mut driver = (0..)
        .zip(&gradients)
        .fold(small(8), |driver, (i, g)| driver.with(Register::Banked(Bank::Basis, i), g.clone()));
    let mut machine = Hypergradient::new(hypergradient(3), 4).with_memory(SolverMemory::filled(3));
    drive(&mut machine, &mut Training(&mut driver), &mut [f32::NAN; 8]).unwrap();
    let head = group(&driver, Group::DownstreamHead);
    let at = |backbone| driver.problem.upper(&group(&driver, backbone), &head, 4).1;
    let implicit = dense(&gradients, PROXIMITY.into(), &at(Group::LowerBackbone));
    let expected = add(&implicit, DIRECT.into(), &at(Group::UpperBackbone));
    let error = distance(driver.read(Register::Solution), &expected);
    assert!(error <= precision::HYPERGRADIENT, "{error:e}");
    assert_eq!(machine.memory().count(), 3);
}

fn step(frozen: bool) -> (DescentStep, DenseDriver<Quadratic>) {
    let schedule = level(SGD, 3, 3).schedule;
    let settings = DescentSettings::new(Evaluation::Lower, SGD, schedule, Some(0.5)).unwrap();
    let settings = if frozen { settings.frozen_backbone() } else { settings };
    let driver = with_bank(small(9), 3);
    (DescentStep::new(settings, 1).keeping(2), driver)
}

fn take(mut machine: DescentStep, driver: &mut DenseDriver<Quadratic>) {
    drive(&mut machine, &mut Training(driver), &mut [f32::NAN; 8]).unwrap();
}

/// Of a step without proximity too: the gradient as the loss gives it, before decay and clipping.
#[test]
fn a_step_keeps_the_gradient_of_the_loss_itself() {
    let (machine, mut driver) = step(false);
    let (theta, phi) = (group(&driver, Group::LowerBackbone), group(&driver, Group::PretextHead));
    let gradient = driver.problem.lower(&theta, &phi, 1).1;
    take(machine, &mut driver);
    assert!(norm(&gradient) > 0.5, "clipping has to bite");
    assert_eq!(driver.read(Register::Banked(Bank::Basis, 2)), gradient);
    assert_ne!(group(&driver, Group::LowerBackbone), theta);
}

#[test]
fn a_frozen_backbone_and_a_loss_that_is_not_finite_keep_nothing() {
    let (machine, mut driver) = step(true);
    take(machine, &mut driver);
    assert!(driver.read(Register::Banked(Bank::Basis, 2)).iter().all(|x| x.is_nan()));
    let (machine, mut driver) = step(false);
    driver.problem.wrong_loss = Some((Evaluation::Lower, 1, f32::NAN));
    take(machine, &mut driver);
    assert!(driver.read(Register::Banked(Bank::Basis, 2)).iter().all(|x| x.is_nan()));
}

#[test]
fn steps_that_keep_keep_the_protocol() {
    for frozen in [false, true] {
        let (machine, mut driver) = step(frozen);
        check(&record(machine, &mut Training(&mut driver), 6));
    }
}
