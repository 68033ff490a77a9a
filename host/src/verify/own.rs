//! Checks the user's own configuration: one short alternation, then the operator at its end.

use std::cell::Cell;
use std::hash::{DefaultHasher, Hasher};
use std::rc::Rc;

use crate::error::{Result, fail};
use bissl_core::conformance::{self, Kit, Law, Outcome, Verdict};
use bissl_core::{
    Alternation, Completion, Event, Group, LowerObjective, Progress, Register, Stream, Termination,
    UpperRecord, drive,
};

use super::checks::{Check, Checks};
use super::dense::{add, norm, scale, wide};
use crate::config::RunConfig;
use crate::data::{Labelled, TwoViews};
use crate::driver::observed::{Observed, Solved};
use crate::driver::{Problem, Source, Sources, download, upload, upload_inputs};
use crate::kernels::{Kernels, Precision};
use crate::network::StatisticsUpdates;
use crate::progress::Verbosity;
use crate::stage::bilevel::Batches;
use crate::stage::start::Start;

/// Maximum number of input values in a batch: 16 images of 64 pixels in three channels.
const INPUTS_MAX: usize = 16 * 3 * 64 * 64;
const IMAGES_MIN: usize = 4;
const IMAGES_MAX: usize = 16;
/// Lower and upper steps before the operator is checked. Two solves give recycling a history.
const STEPS: u32 = 2;

/// Group of the checks in this file.
const GROUP: &str = "own configuration";
/// Domain of the random direction for products.
const NOISE: u16 = 8;

/// Laws that are not measured here. In f32 the difference of two losses of a large network is
/// mostly rounding, and that of two gradients depends on rectifiers that switch in between, however
/// short the step. The narrow network is compared with f64 instead.
const BY_DIFFERENCES: [Law; 7] = [
    Law::LowerDifferences,
    Law::LowerHeadDifferences,
    Law::UpperDifferences,
    Law::UpperAtUpperDifferences,
    Law::UpperHeadDifferences,
    Law::ProductDifferences,
    Law::CrossProductDifferences,
];

/// Tolerances of the laws: for f32 the kit's own. Operands of 11 or 8 bits also round directions
/// and cotangents, so products are only as linear and symmetric as that.
fn tolerances(precision: Precision) -> conformance::Settings {
    let rounding = match precision {
        Precision::F32 => conformance::Settings::DEFAULT.rounding,
        Precision::Tf32 => 5e-3,
        Precision::Bf16 => 5e-2,
    };
    conformance::Settings { rounding, ..conformance::Settings::DEFAULT }
}

/// Bound relative to ‖b‖ + ‖x‖ + ‖Hx‖/(λ+δ), the terms whose difference is the residual. The
/// recurrence and the recomputed residual differ by f32's rounding of these terms, 1e-6 per
/// iteration.
const RESIDUAL: f64 = 1e-3;
/// Bound relative to the tolerance.
const STOPPING: f64 = 1.05;

/// The configuration with as few steps and images as the checks need. Notes what it changed.
pub(super) fn reduced(config: &RunConfig, checks: &mut Checks) -> RunConfig {
    let mut small = config.clone();
    let input: usize = config.input().iter().product();
    let images = (INPUTS_MAX / input).clamp(IMAGES_MIN, IMAGES_MAX);
    let align = &mut small.align;
    align.product_batch = Some(align.product_batch().min(images));
    align.batch = align.batch.min(images);
    align.upper_batch = align.upper_batch.min(images);
    align.lower_steps = align.lower_steps.min(STEPS);
    align.upper_steps = align.upper_steps.min(STEPS);
    let gradients = align.mfac_gradients().min(align.lower_steps as usize);
    align.mfac_gradients = Some(gradients);
    align.alternations = 1;
    // The last solve must report a residual.
    align.verify_every = 1;
    (align.lower.warm_up_steps, align.upper.warm_up_steps) = (0, 0);
    // x is read when the direct gradient is requested.
    if align.direct_weight == 0.0 {
        align.direct_weight = 1.0;
        checks.note("own configuration: align.direct_weight 1 instead of 0".to_owned());
    }
    checks.note(format!(
        "own configuration: network and image size as they are, batches of at most {images} images \
         ({} configured), {} lower and {} upper steps",
        config.align.batch, align.lower_steps, align.upper_steps
    ));
    small
}

/// Counts the batches that a problem requests.
#[derive(Clone, Debug, Default)]
struct Position(Rc<Cell<u64>>);

impl Position {
    fn counted<T: 'static>(&self, source: Source<T>) -> Source<T> {
        let count = Rc::clone(&self.0);
        Box::new(move |index| {
            count.set(count.get() + 1);
            source(index)
        })
    }
}

/// Hash of the bits of some floats.
fn hash<'a>(parts: impl IntoIterator<Item = &'a [f32]>) -> u64 {
    let mut hasher = DefaultHasher::new();
    for part in parts {
        hasher.write_usize(part.len());
        hasher.write(bytemuck::cast_slice(part));
    }
    hasher.finish()
}

/// Hashes of the state around a product.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Fingerprint {
    /// Parameters and momenta of all groups, and the target network's parameters.
    parameters: u64,
    /// Running means and variances of all batch norms, including the target network's.
    statistics: u64,
    /// The next values of the random streams, which decide the coming batches.
    streams: u64,
    /// Number of batches requested so far.
    position: u64,
}

/// A linearised problem, and its next batches.
struct Own<'p, 'n, B: Kernels> {
    problem: &'p mut Problem<'n, B>,
    batches: &'p Batches,
    position: Position,
}

impl<B: Kernels> Own<'_, '_, B> {
    fn times(&self, v: &[f32]) -> Result<Vec<f32>> {
        let direction = upload::<B, 1>(v.to_vec(), [v.len()], self.problem.registers.device());
        Ok(download(&self.problem.curvature_product(&direction)?))
    }

    /// The network's input for a batch, wherever the batch is augmented.
    fn seen(&self, TwoViews { views, batch, shape }: TwoViews) -> [Vec<f32>; 2] {
        let device = self.problem.registers.device();
        upload_inputs::<B, 2>(views, batch, shape, device).map(|view| download(&view))
    }
}

impl<B: Kernels> Own<'_, '_, B> {
    /// Which parts of the state changed while products ran as in training, each 0 or 1.
    fn side_effects(&mut self, seed: u64) -> Result<[(&'static str, f64); 4]> {
        let stream = Stream::new(seed, NOISE);
        let len = self.problem.networks().backbone.parameters().len();
        let v = (0..len).map(|i| stream.at(i as u64).normal()).collect();
        self.problem.registers.write(Register::Direction, v)?;
        let before = self.fingerprint()?;
        self.problem.product(Register::Direction, Register::Product)?;
        self.problem.product(Register::Product, Register::Solution)?;
        let after = self.fingerprint()?;
        let changed = |before: u64, after: u64| f64::from(before != after);
        let statistics = changed(before.statistics, after.statistics);
        Ok([
            ("parameters untouched by products", changed(before.parameters, after.parameters)),
            match self.problem.settings().statistics {
                StatisticsUpdates::LowerSteps => {
                    ("running statistics untouched by products", statistics)
                }
                StatisticsUpdates::EveryPass => {
                    ("running statistics move with every product", 1.0 - statistics)
                }
            },
            ("random streams untouched by products", changed(before.streams, after.streams)),
            ("data position untouched by products", changed(before.position, after.position)),
        ])
    }

    fn fingerprint(&mut self) -> Result<Fingerprint> {
        let mut vectors = Vec::new();
        for group in
            [Group::LowerBackbone, Group::PretextHead, Group::UpperBackbone, Group::DownstreamHead]
        {
            for register in [Register::Parameter(group), Register::Momentum(group)] {
                if self.problem.registers.is_set(register) {
                    vectors.push(self.problem.registers.read(register)?);
                }
            }
        }
        let running = &self.problem.statistics;
        let mut statistics =
            [&running.lower_backbone, &running.upper_backbone, &running.pretext_head]
                .map(|statistics| download(statistics))
                .to_vec();
        if let Some(target) = self.problem.target()? {
            vectors.extend([&target.parameters.backbone, &target.parameters.head].map(download));
            statistics.extend([&target.statistics.0, &target.statistics.1].map(download));
        }
        let next = STEPS;
        let lower = self.seen(self.batches.lower.make(next)?);
        let product = self.seen(self.batches.product.make(1)?);
        let Labelled { images, batch, shape, .. } = self.batches.upper.make(next)?;
        let device = self.problem.registers.device();
        let upper = upload_inputs::<B, 1>(images, batch, shape, device).map(|x| download(&x));
        let inputs = lower.iter().chain(&product).chain(&upper);
        Ok(Fingerprint {
            parameters: hash(vectors.iter().map(Vec::as_slice)),
            statistics: hash(statistics.iter().map(Vec::as_slice)),
            streams: hash(inputs.map(Vec::as_slice)),
            position: self.position.0.get(),
        })
    }
}

/// Drives one alternation to its end.
fn alternate<B: Kernels>(
    config: &RunConfig,
    observed: &mut Observed<'_, '_, B>,
) -> Result<Vec<UpperRecord>> {
    let mut machine = Alternation::new(config.align.alternation()?);
    let mut scalars = vec![0.0; observed.problem.registers.scalars()];
    let mut records = Vec::new();
    loop {
        match drive(&mut machine, observed, &mut scalars)? {
            Progress::Event(Event::UpperStep(record)) => records.push(record),
            Progress::Event(_) => {}
            Progress::Done(Completion::Finished) => return Ok(records),
            Progress::Done(Completion::Diverged { index }) => {
                fail!("own configuration: loss, gradient or solve is not finite at step {index}")
            }
        }
    }
}

/// Compares the recomputed ‖b − A x‖ with what the solver reported and with its stopping limit.
fn residual<B: Kernels>(
    own: &Own<'_, '_, B>,
    config: &RunConfig,
    (solves, records): (&[Solved], &[UpperRecord]),
    checks: &mut Checks,
) -> Result<()> {
    let align = &config.align;
    let reports = records.iter().map(|record| record.hypergradient.solve);
    // The last solve that reports a residual: recycling verifies only some of its solves.
    let last = solves.iter().zip(reports).rev().find_map(|(solved, report)| {
        let reported = report.residual()?;
        Some((solved, report, reported))
    });
    let Some((solved, report, reported)) = last else {
        let solver = align.solver;
        checks.leave_out(format!("{GROUP}: residual of a solve: {solver} reports none"));
        return Ok(());
    };
    let shift = 1.0 / f64::from(align.proximity + align.damping);
    let (rhs, x) = (wide(&solved.rhs), wide(&solved.solution));
    let product = scale(shift, &wide(&own.times(&solved.solution)?));
    let remainder = norm(&add(&add(&rhs, -1.0, &x), -1.0, &product));
    let size = norm(&rhs) + norm(&x) + norm(&product);
    let error = (remainder - f64::from(reported) * norm(&rhs)).abs() / size;
    checks.add(Check::new(GROUP, "residual of the solve, reported", error, RESIDUAL));
    let stops = align.solver()?.facts().stops_by_tolerance;
    if report.termination == Termination::Converged && stops {
        let by_solution = f64::from(align.tolerance) * norm(&x);
        let by_correction = f64::from(align.correction_tolerance) * norm(&add(&x, -1.0, &rhs));
        let error = remainder / by_solution.max(by_correction);
        checks.add(Check::new(GROUP, "residual of the solve, over its limit", error, STOPPING));
    }
    Ok(())
}

/// Checks the residual of a solve, the side effects of products, and the core's laws of a backend.
///
/// # Errors
/// Data or checkpoint cannot be read, or training diverges.
pub(super) fn check<B: Kernels>(
    config: &RunConfig,
    start: &Start,
    verbosity: Verbosity,
    device: &B::Device,
    checks: &mut Checks,
) -> Result<()> {
    let config = &reduced(config, checks);
    let started = start.make::<B>(config, verbosity, device)?;
    let batches = started.batches(config)?;
    let position = Position::default();
    let (lower, product, upper) =
        (batches.lower.clone(), batches.product.clone(), batches.upper.clone());
    let sources = Sources {
        lower: Some(position.counted(Box::new(move |index| lower.make(index)))),
        product: Some(position.counted(Box::new(move |index| product.make(index)))),
        upper: Some(position.counted(Box::new(move |index| upper.make(index)))),
    };
    let mut problem = started.problem(config, sources)?;
    let mut observed = Observed::new(&mut problem, false);
    let records = alternate(config, &mut observed)?;
    let (_, _, solves) = observed.take();
    if !problem.is_linearized() {
        // The solver uses no products; check the operator all the same.
        problem.linearize(0)?;
    }
    let mut own = Own { problem: &mut problem, batches: &batches, position };
    residual(&own, config, (&solves, &records), checks)?;
    for (name, changed) in own.side_effects(config.seed)? {
        checks.add(Check::new(GROUP, name, changed, 0.0));
    }
    conformance(&mut problem, config, checks)
}

/// Checks the core's laws of a backend on this problem. The registers hold nothing useful
/// afterwards.
fn conformance<B: Kernels>(
    problem: &mut Problem<'_, B>,
    config: &RunConfig,
    checks: &mut Checks,
) -> Result<()> {
    let kit =
        Kit::new(tolerances(config.precision)).with_product_gradient(Problem::product_gradient);
    let mut scalars = vec![0.0; problem.registers.scalars()];
    problem.hold_target(true);
    for law in Law::ALL.into_iter().filter(|law| !BY_DIFFERENCES.contains(law)) {
        match kit.check(problem, law, &mut scalars)? {
            // The curvature is so indefinite that the solve ends before its first product.
            Outcome::Judged(Verdict { measured, .. })
                if law == Law::HypergradientRepeats && measured.is_nan() =>
            {
                checks.leave_out(format!(
                    "{GROUP}: {}: there was no solve to check",
                    law.statement()
                ));
            }
            Outcome::Judged(Verdict { measured, limit, .. }) => {
                let (error, bound) = (f64::from(measured), f64::from(limit));
                checks.add(Check::new(GROUP, law.statement(), error, bound));
            }
            Outcome::Unsupported { error, .. } => {
                checks.leave_out(format!("{GROUP}: {}: {error}", law.statement()));
            }
            Outcome::NotAsked { .. } => {}
        }
    }
    problem.hold_target(false);
    Ok(())
}
