//! `layerwise`: the reference's recurrence, which is conjugate gradients only where there is one
//! tensor.

use bissl_core::{
    Bank, ConfigError, Coupling, Hypergradient, HypergradientSettings, Layerwise,
    LayerwiseSettings, Linear, Machine, Pending, Register, Reply, Request, Solver, SolverMemory,
    SolverSettings, Termination, Training, UnexpectedReply,
};

use crate::dense::{DenseDriver, linear};
use crate::laws;
use crate::matrix::{Matrix, Spectral, add, distance, dot, draws, gaussian, norm};
use crate::precision::{self, close};
use crate::protocol::small;
use crate::solve::{Solve, cg, watch_on};
use crate::systems::{self, DIMENSIONS, System, block_coupled, definite, indefinite, seeds};
use crate::tape::{check, record};

const WORK: [Register; 4] =
    [Register::Solution, Register::Residual, Register::Direction, Register::Product];

fn machine(iterations: u16) -> Layerwise {
    Layerwise::new(LayerwiseSettings::new(iterations).unwrap())
}

/// The system's registers, split into these parameter tensors.
fn split(system: &System, tensors: &[usize]) -> DenseDriver<Matrix> {
    let driver = linear(system.a.clone(), system.b.clone());
    WORK.into_iter().fold(driver, |driver, register| driver.with_segments(register, tensors))
}

fn layerwise(system: &System, tensors: &[usize], iterations: u16) -> Solve {
    watch_on(&mut split(system, tensors), &mut machine(iterations))
}

/// Lengths of `count` tensors, the last the longest.
fn tensors(n: usize, count: usize) -> Vec<usize> {
    let mut lengths = vec![n / count; count];
    lengths[count - 1] += n % count;
    lengths
}

/// What the recurrence leaves, and the extreme quotients pᵀAp/pᵀp on its way.
struct Reference {
    x: Vec<f64>,
    r: Vec<f64>,
    quotients: Vec<f64>,
}

/// The recurrence as the reference's loop over tensors writes it: vectors in f64, scalars in f32,
/// since a divisor that happens to be near 0 makes another x of any other rounding.
fn reference(system: &System, tensors: &[usize], iterations: usize) -> Reference {
    let n = system.b.len();
    let (mut x, mut r, mut p) = (vec![0.0; n], system.b.clone(), system.b.clone());
    let mut quotients = Vec::new();
    for _ in 0..iterations {
        let product = system.a.times(&p);
        quotients.push(dot(&p, &product) / dot(&p, &p));
        let mut start = 0;
        for length in tensors {
            let at = start..start + length;
            let square = |r: &[f64]| dot(&r[at.clone()], &r[at.clone()]) as f32;
            let before = square(&r);
            let alpha = f64::from(before / dot(&p[at.clone()], &product[at.clone()]) as f32);
            for i in at.clone() {
                x[i] += alpha * p[i];
                r[i] -= alpha * product[i];
            }
            let beta = f64::from(square(&r) / before);
            at.clone().for_each(|i| p[i] = r[i] + beta * p[i]);
            start = at.end;
        }
    }
    Reference { x, r, quotients }
}

#[test]
fn with_one_tensor_it_is_conjugate_gradients_bit_for_bit() {
    for n in DIMENSIONS {
        for system in seeds(n).flat_map(|seed| definite(seed, n)) {
            for iterations in 1..=n.min(6) as u16 {
                let (found, exact) =
                    (layerwise(&system, &[n], iterations), cg(&system, 0.0, iterations));
                assert_eq!(found.x, exact.x, "{}", system.name);
                assert_eq!(found.iterates, exact.iterates, "{}", system.name);
                let mut report = exact.report;
                report.alignment = found.report.alignment;
                assert_eq!(found.report, report, "{}", system.name);
                laws::report_describes_norms(&system, &found).unwrap();
            }
        }
    }
}

#[test]
fn with_several_tensors_it_is_the_recurrence_of_the_reference() {
    for (n, count) in [(4, 2), (7, 3), (13, 5), (30, 4), (64, 20)] {
        for seed in seeds(n) {
            for system in [block_coupled(seed, n), systems::near_identity(seed, n)] {
                let lengths = tensors(n, count);
                for iterations in 1..=4 {
                    let expected = reference(&system, &lengths, iterations);
                    let found = layerwise(&system, &lengths, iterations as u16);
                    let error = distance(&found.x, &expected.x);
                    assert!(error <= precision::DENSE, "{}: {error:e}", system.name);
                    assert_eq!(found.report.termination, Termination::IterationLimit);
                    assert_eq!(found.iterates.len(), iterations, "{}", system.name);
                    let seen = |best: fn(f64, f64) -> f64| {
                        expected.quotients.iter().copied().reduce(best).unwrap()
                    };
                    let (low, high) = (found.report.rayleigh_min, found.report.rayleigh_max);
                    for (found, expected) in [(low, seen(f64::min)), (high, seen(f64::max))] {
                        assert!(close(found.unwrap().into(), expected, precision::REPORT, 0.0));
                    }
                }
            }
        }
    }
}

#[test]
fn with_several_tensors_it_is_not_conjugate_gradients() {
    for seed in 0..20 {
        let system = block_coupled(seed, 20);
        let (found, exact) = (layerwise(&system, &[10, 10], 5), cg(&system, 0.0, 5));
        let gap = distance(&found.x, &exact.x);
        assert!(gap > 1e-2, "{}: only {gap:e} apart", system.name);
        assert_eq!(found.report.products, exact.report.products);
    }
}

/// Why the report has no residual: what the recurrence calls r is another vector.
#[test]
fn with_several_tensors_the_recurrences_residual_is_not_that_of_x() {
    for seed in 0..20 {
        let system = block_coupled(seed, 20);
        let expected = reference(&system, &[10, 10], 3);
        let gap = distance(&expected.r, &system.residual(&expected.x));
        assert!(gap > 1e-2, "{}: only {gap:e} apart", system.name);
        let report = layerwise(&system, &[10, 10], 3).report;
        assert_eq!((report.residual_sq, report.residual()), (None, None));
    }
}

#[test]
fn the_report_describes_the_x_that_is_returned() {
    for n in DIMENSIONS {
        for system in seeds(n).flat_map(|seed| definite(seed, n)) {
            let solve = layerwise(&system, &[n / 2, n - n / 2], 3);
            laws::report_without_residual_describes(&system, &solve);
        }
    }
}

/// Coupled tensors and curvature far above the damping: x is then worse than no solve at all.
#[test]
fn where_curvature_is_far_above_the_damping_the_error_grows() {
    for seed in 0..20 {
        let mut draws = draws(seed, 30);
        let values = (0..24).map(|i| if i < 4 { 1000.0 } else { 1.0 }).collect();
        let spectral = Spectral::new(values, &mut draws);
        let b = gaussian(&mut draws, 24);
        let system = System::of("curvature above damping", seed, &spectral, b);
        let exact = spectral.apply(&system.b, |value| 1.0 / value);
        let error = |x: &[f64]| norm(&add(x, -1.0, &exact));
        let identity = error(&system.b);
        for iterations in [5, 10] {
            let found = error(&layerwise(&system, &[6; 4], iterations).x);
            assert!(found > 1.2 * identity, "{}: {found:e} from {identity:e}", system.name);
            let conjugate = error(&cg(&system, 0.0, iterations).x);
            assert!(conjugate < 0.9 * identity, "{}: {conjugate:e}", system.name);
        }
    }
}

#[test]
fn negative_curvature_is_divided_by_and_shows_in_the_quotients() {
    let mut negative = 0;
    for seed in 0..40 {
        let system = indefinite(seed, 8);
        let (expected, found) = (reference(&system, &[4, 4], 2), layerwise(&system, &[4, 4], 2));
        assert_eq!(found.report.termination, Termination::IterationLimit, "{}", system.name);
        assert_eq!(found.report.products, 2);
        let error = distance(&found.x, &expected.x);
        assert!(error <= precision::DENSE, "{}: {error:e}", system.name);
        negative += usize::from(found.report.rayleigh_min.unwrap() < 0.0);
    }
    assert!(negative > 10, "only {negative} runs saw negative curvature");
}

#[test]
fn a_tensor_without_a_gradient_stays_at_zero() {
    for seed in 0..10 {
        let mut system = block_coupled(seed, 12);
        system.b[4..8].fill(0.0);
        let solve = layerwise(&system, &[4, 4, 4], 4);
        assert_eq!(solve.report.termination, Termination::IterationLimit, "{}", system.name);
        assert_eq!(solve.x[4..8], [0.0; 4]);
        // The other two go their way as if it were not there.
        let rest: Vec<usize> = (0..4).chain(8..12).collect();
        let without = System {
            a: Matrix::new(8, 8, |i, j| system.a.at(rest[i], rest[j])),
            b: rest.iter().map(|i| system.b[*i]).collect(),
            ..system.clone()
        };
        let expected = layerwise(&without, &[4, 4], 4);
        let found: Vec<f64> = rest.iter().map(|i| solve.x[*i]).collect();
        assert!(distance(&found, &expected.x) <= precision::SOLUTION, "{}", system.name);
    }
}

#[test]
fn a_right_hand_side_of_zero_takes_no_product() {
    let mut system = block_coupled(1, 6);
    system.b = vec![0.0; 6];
    let solve = layerwise(&system, &[3, 3], 5);
    let report = solve.report;
    assert_eq!((report.termination, report.products), (Termination::Converged, 0));
    assert_eq!((solve.x, report.residual_sq), (vec![0.0; 6], Some(0.0)));
    assert_eq!((report.solution_sq, report.alignment), (0.0, 0.0));
}

/// `diag(2, 4) x = (1, 1)`, which one iteration solves without rounding.
fn exhausted() -> System {
    System {
        a: Matrix::new(2, 2, |i, j| [[2.0, 0.0], [0.0, 4.0]][i][j]),
        b: vec![1.0, 1.0],
        spectrum: (2.0, 4.0),
        name: "diagonal".into(),
    }
}

#[test]
fn nothing_left_ends_the_solve_and_only_with_one_tensor_that_is_convergence() {
    let solve = layerwise(&exhausted(), &[1, 1], 5);
    assert_eq!(solve.x, [0.5, 0.25]);
    let report = solve.report;
    assert_eq!((report.termination, report.products), (Termination::Unverified, 1));
    assert_eq!((report.residual_sq, report.solution_sq, report.alignment), (None, 0.3125, 0.75));
    let one = layerwise(&systems::scalar(2.0, 3.0), &[1], 5);
    assert_eq!((one.report.termination, one.report.products), (Termination::Converged, 1));
    assert_eq!((one.x, one.report.residual_sq), (vec![1.5], Some(0.0)));
}

#[test]
fn a_right_hand_side_that_is_not_finite_takes_no_product() {
    for bad in [f64::NAN, f64::INFINITY, 1e30] {
        let mut system = block_coupled(2, 6);
        system.b[3] = bad;
        let report = layerwise(&system, &[3, 3], 6).report;
        assert_eq!((report.termination, report.products), (Termination::NonFinite, 0), "{bad}");
        assert_ne!(report.residual_sq, Some(0.0), "{bad}");
    }
}

/// pᵀAp of a tensor is 0 and its residual is not: the reference would go on with infinities.
#[test]
fn a_step_length_that_is_not_finite_is_reported() {
    let system = System {
        a: Matrix::new(2, 2, |i, j| [[0.0, 1.0], [1.0, 0.0]][i][j]),
        b: vec![1.0, 0.0],
        spectrum: (-1.0, 1.0),
        name: "exchange".into(),
    };
    let solve = layerwise(&system, &[1, 1], 3);
    assert_eq!(solve.report.termination, Termination::NonFinite);
    assert_eq!((solve.report.products, solve.iterates.len()), (1, 0));
}

#[test]
fn a_solution_whose_square_overflows_is_not_finite() {
    let report = layerwise(&systems::scalar(1e-6, 1e14), &[1], 1).report;
    assert_eq!((report.termination, report.products), (Termination::NonFinite, 1));
}

/// Scalars of one run with two tensors: p_sᵀ(Ap)_s, r_sᵀr_s and p_sᵀp_s; r_sᵀr_s after the step;
/// xᵀx, bᵀx.
#[derive(Clone, Copy)]
struct Script {
    curvatures: [f32; 6],
    after: [f32; 2],
    norms: [f32; 2],
}

const SOUND: Script =
    Script { curvatures: [1.0, 2.0, 1.0, 1.0, 1.0, 1.0], after: [0.5, 0.25], norms: [1.0, 1.0] };

/// How a run of `iterations` ends, answered with the script.
fn follow(script: Script, iterations: u16) -> Termination {
    let mut machine = machine(iterations);
    for _ in 0..60 {
        let mut scalars = [0.0; 6];
        let (ticket, request) = match machine.pending() {
            Pending::Request(ticket, request) => (ticket, request),
            Pending::Event(..) => panic!("a solver has no events"),
            Pending::Done(report) => return report.termination,
        };
        let answer: &[f32] = match request {
            Request::Dots { pairs } if pairs.as_slice().len() == 1 => &[2.0],
            Request::Dots { .. } => &script.norms,
            Request::SegmentDots { pairs } if pairs.as_slice().len() == 3 => &script.curvatures,
            Request::SegmentDots { .. } => &script.after,
            _ => &[],
        };
        scalars[..answer.len()].copy_from_slice(answer);
        // What stood behind a shorter answer is still there.
        if answer.len() == 2 {
            scalars[2..4].copy_from_slice(&script.curvatures[2..4]);
        }
        let count = answer.len() as u32;
        let reply = if count > 0 { Reply::Scalars(count) } else { Reply::Ack };
        machine.step(ticket, reply, &mut scalars).unwrap();
    }
    panic!("no end after 60 requests");
}

#[test]
fn scalars_that_leave_the_range_of_f32_are_not_finite() {
    assert_eq!(follow(SOUND, 2), Termination::IterationLimit, "nothing is wrong here");
    for (i, bad) in (0..6).flat_map(|i| [f32::NAN, f32::INFINITY].map(|bad| (i, bad))) {
        let mut script = SOUND;
        script.curvatures[i] = bad;
        assert_eq!(follow(script, 2), Termination::NonFinite, "{i}: {bad}");
    }
    for at in 0..2 {
        let mut script = SOUND;
        script.curvatures[at] = 0.0;
        assert_eq!(follow(script, 2), Termination::NonFinite, "no curvature in tensor {at}");
        for (bad, iterations) in [(f32::NAN, 1), (f32::INFINITY, 1), (f32::NAN, 2)] {
            let mut script = SOUND;
            script.after[at] = bad;
            assert_eq!(follow(script, iterations), Termination::NonFinite, "{at}: {bad}");
            let mut script = SOUND;
            script.norms[at] = bad;
            assert_eq!(follow(script, iterations), Termination::NonFinite, "{at}: {bad}");
        }
    }
    // Everything is finite but the ratio of successive residuals.
    let mut script = SOUND;
    (script.curvatures[2], script.after[0]) = (1e-20, 1e30);
    assert_eq!(follow(script, 2), Termination::NonFinite);
}

#[test]
fn it_keeps_the_protocol() {
    let mut zero = block_coupled(1, 5);
    zero.b = vec![0.0; 5];
    let cases = [
        (block_coupled(1, 5), vec![2, 3], 3),
        (block_coupled(2, 6), vec![6], 2),
        (indefinite(3, 7), vec![1, 2, 4], 2),
        (zero, vec![2, 3], 2),
        (exhausted(), vec![1, 1], 3),
    ];
    for (system, lengths, iterations) in cases {
        let settings = LayerwiseSettings::new(iterations).unwrap();
        let choice = SolverSettings::Layerwise(settings);
        let workspace = choice.facts().scalars(lengths.len());
        let mut driver = split(&system, &lengths);
        let tape = record(Layerwise::new(settings), &mut Linear(&mut driver), workspace);
        check(&tape);
        let mut driver = split(&system, &lengths);
        let solver = Solver::new(choice, SolverMemory::default());
        let chosen = record(solver, &mut Linear(&mut driver), workspace);
        check(&chosen);
        assert_eq!(chosen.output, tape.output);
    }
}

/// What the workspace keeps between replies outlasts the lowering of products onto H.
#[test]
fn it_keeps_the_protocol_inside_a_hypergradient() {
    let coupling = Coupling::Proximity { weight: 0.5 };
    let solver = SolverSettings::Layerwise(LayerwiseSettings::new(3).unwrap());
    let settings = HypergradientSettings::new(coupling, 0.5, 0.7, solver).unwrap();
    let mut driver = small(1).unwritten(5, &[Register::Banked(Bank::Basis, 0)]);
    driver.problem.linearized = Some(0);
    driver =
        WORK.into_iter().fold(driver, |driver, register| driver.with_segments(register, &[2, 3]));
    let tape = record(Hypergradient::new(settings, 3), &mut Training(&mut driver), 6);
    check(&tape);
    let asks = |wanted: fn(&Request) -> bool| {
        tape.exchanges.iter().filter(|e| e.request.as_ref().is_some_and(wanted)).count()
    };
    assert_eq!(asks(|request| matches!(request, Request::Product { .. })), 3);
    assert_eq!(asks(|request| matches!(request, Request::SegmentDots { .. })), 6);
}

/// The workspace that the settings name is enough for any number of tensors.
#[test]
fn the_longest_reply_has_three_scalars_a_tensor() {
    let system = block_coupled(1, 64);
    let choice = SolverSettings::Layerwise(LayerwiseSettings::new(3).unwrap());
    for (count, expected) in [(1, 5), (2, 6), (20, 60), (64, 192)] {
        assert_eq!(choice.facts().scalars(count), expected);
        let mut driver = split(&system, &tensors(64, count));
        record(
            Solver::new(choice, SolverMemory::default()),
            &mut Linear(&mut driver),
            choice.facts().scalars(count),
        );
    }
    let facts = choice.facts();
    assert_eq!((facts.basis, facts.basis_products), (1, 0));
    assert!(facts.uses_products);
}

#[test]
fn another_number_of_tensors_is_refused() {
    let mut machine = machine(2);
    let mut scalars = [1.0; 12];
    let mut counts = Vec::new();
    while let Pending::Request(ticket, request) = machine.pending() {
        let answer = match request {
            Request::Dots { pairs } => Reply::Scalars(pairs.as_slice().len() as u32),
            Request::SegmentDots { pairs } => {
                let pairs = pairs.as_slice().len() as u32;
                for found in counts.last().map_or(0..0, |_| 1..4) {
                    let (before, wrong) = (machine, Reply::Scalars(found * pairs));
                    if found != 2 {
                        let refused = machine.step(ticket, wrong, &mut scalars).unwrap_err();
                        let expected = Reply::Scalars(2 * pairs);
                        let error = UnexpectedReply::WrongReply { expected, found: wrong };
                        assert_eq!((refused, machine), (error, before));
                    }
                }
                counts.push(pairs);
                Reply::Scalars(2 * pairs)
            }
            _ => Reply::Ack,
        };
        machine.step(ticket, answer, &mut scalars).unwrap();
    }
    assert_eq!(counts, [3, 1, 3, 1]);
}

#[test]
fn it_needs_an_iteration() {
    assert_eq!(LayerwiseSettings::new(0), Err(ConfigError::Zero { name: "iterations" }));
    assert!(LayerwiseSettings::new(1).is_ok() && LayerwiseSettings::new(u16::MAX).is_ok());
}
