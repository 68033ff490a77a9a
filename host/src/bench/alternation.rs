//! `bench stage`: an alternation of the bilevel stage compared with the published algorithm.
//!
//! Both run on the same kernels and batches from the same start. The published algorithm solves
//! every system with five layer-wise iterations from zero, and differentiates the gradient anew in
//! each product. Ours is the configured solver.

use std::cell::RefCell;
use std::fmt;

use crate::error::{Result, fail};
use bissl_core::{
    Alternation, Completion, Event, LowerObjective, Progress as Driven, UpperRecord, drive,
};
use serde::Serialize;

use super::exact::{SolveError, compare};
use crate::backend::{Work, dispatch};
use crate::config::{AlignSettings, RunConfig, SolverName};
use crate::data::{DataError, TwoViews};
use crate::driver::observed::{Observed, Seconds, Solved};
use crate::driver::{Problem, Source, Sources, upload};
use crate::kernels::{Kernels, allocator};
use crate::model::architecture;
use crate::network::Curvature;
use crate::progress::{Progress, Verbosity};
use crate::report::Table;
use crate::run::Origin;
use crate::stage::bilevel::Steps;
use crate::stage::start::{Start, Started};

/// N_c of the published algorithm.
const REFERENCE_ITERATIONS: u16 = 5;

/// Measurements of one algorithm, as means over the alternations.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ContenderReport {
    /// Solver and curvature.
    pub algorithm: String,
    /// Seconds per alternation.
    pub alternation_s: f64,
    /// Seconds of the lower steps' gradients.
    pub lower_s: f64,
    /// Seconds of linearisations; part of the products if each product makes its own.
    pub linearization_s: f64,
    /// Seconds of products.
    pub products_s: f64,
    /// Seconds of the upper steps' gradients.
    pub upper_s: f64,
    /// Seconds of the vector operations of solvers and optimisers.
    pub vectors_s: f64,
    /// Number of products in each alternation.
    pub products: Vec<u32>,
    /// Number of products in each solve of the first alternation.
    pub products_by_solve: Vec<u16>,
    /// Number of solves that ended at a direction of negative curvature.
    pub negative_curvature: u32,
    /// Peak bytes; 0 if unknown.
    pub peak_bytes: usize,
    /// Largest ‖x − x*‖/‖b − x*‖ over all solves.
    pub correction_missed_max: Option<f64>,
    /// Largest ‖x − x*‖/‖x* + γ g_D‖.
    pub hypergradient_error_max: Option<f64>,
    /// Largest ‖b − x*‖/‖x* + γ g_D‖.
    pub identity_error: Option<f64>,
    /// Largest recomputed residual of an x*, relative to ‖x*‖.
    pub exact_residual_max: Option<f64>,
    /// Smallest and largest Rayleigh quotient of H in the solves.
    pub rayleigh: Option<[f32; 2]>,
}

/// The report that `bench stage` prints.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct StageReport {
    /// Backbone, width, stem and projector.
    pub network: String,
    /// Name of the backend.
    pub backend: String,
    /// Pretext images per lower step and per product.
    pub batch: [usize; 2],
    /// Labelled images per upper step.
    pub upper_batch: usize,
    /// Width and height of the images in pixels.
    pub size: usize,
    /// Number of CPU threads.
    pub threads: usize,
    /// N_L and N_U.
    pub steps: [u32; 2],
    /// λ.
    pub proximity: f32,
    /// δ.
    pub damping: f32,
    /// Alternations of each algorithm.
    pub alternations: u32,
    /// Seconds of our algorithm divided by those of the published one.
    pub time_ratio: f64,
    /// Seconds per alternation of our algorithm.
    pub alternation_s: f64,
    /// Seconds per alternation of the published algorithm.
    pub reference_alternation_s: f64,
    /// Products of our algorithm in all alternations.
    pub products_ours: u32,
    /// Products of the published algorithm in all alternations.
    pub products_reference: u32,
    /// Largest share of the correction that our solves missed.
    pub correction_missed_max: Option<f64>,
    /// Largest relative error of our hypergradients.
    pub hypergradient_error_max: Option<f64>,
    /// Largest relative error of our hypergradients if x were b.
    pub identity_error: Option<f64>,
    /// Share of the lower gradients in our time.
    pub lower_share: f64,
    /// Peak memory of our algorithm divided by that of the published one.
    pub peak_memory_ratio: Option<f64>,
    /// Our algorithm in detail.
    pub ours: ContenderReport,
    /// The published algorithm in detail.
    pub reference: ContenderReport,
}

/// The job of `bench stage`.
#[derive(Debug)]
pub struct StageJob {
    /// Every setting.
    pub config: RunConfig,
    /// The pretrained weights; `None`: some steps of pretraining from initial weights.
    pub from: Option<Origin>,
    /// Number of these steps, if `from` is `None`.
    pub pretrain_steps: u32,
    /// Alternations of each algorithm, at least 1. A shorter stage is extended to this.
    pub alternations: u32,
    /// Whether to compare the published algorithm's solves with exact ones, too.
    pub reference_errors: bool,
    /// How much is shown during the measurement.
    pub verbosity: Verbosity,
}

/// Runs both algorithms.
///
/// # Errors
/// γ = 0; data, start or an exact solve fails; a loss is not finite.
pub fn stage(job: StageJob) -> Result<StageReport> {
    dispatch(job.config.backend, job)?
}

impl Work for StageJob {
    type Output = Result<StageReport>;

    fn run<B: Kernels>(self, device: B::Device) -> Result<StageReport> {
        measure::<B>(self, &device)
    }
}

fn measure<B: Kernels>(job: StageJob, device: &B::Device) -> Result<StageReport> {
    let StageJob { mut config, from, pretrain_steps, alternations, reference_errors, verbosity } =
        job;
    // A finished machine does nothing more, and its rounds would count as 0 s.
    config.align.alternations = config.align.alternations.max(alternations);
    let config = &config;
    let align = &config.align;
    if align.direct_weight == 0.0 {
        fail!(
            "bench stage: align.direct_weight is 0, expected above 0: the benchmark finds the \
             end of each solve by the direct-gradient request that follows it"
        );
    }
    let start = Start { from, pretrain_steps };
    let started = start.make::<B>(config, verbosity, device)?;
    let published = AlignSettings {
        solver: SolverName::Layerwise,
        iterations: REFERENCE_ITERATIONS,
        curvature: Curvature::Hessian,
        recompute: false,
        ..align.clone()
    };
    let contend = |align: &AlignSettings, rebuilds, compares| {
        let config = RunConfig { align: align.clone(), ..config.clone() };
        Contender { config: &config, started: &started, rebuilds, compares }
            .measure(alternations, verbosity)
    };
    let ours = contend(align, false, true)?;
    let reference = contend(&published, true, reference_errors)?;
    let with_memory = ours.peak_bytes > 0 && reference.peak_bytes > 0;
    Ok(StageReport {
        network: architecture(config),
        backend: config.backend.to_string(),
        batch: [align.batch, align.product_batch()],
        upper_batch: align.upper_batch,
        size: config.image.size,
        threads: rayon::current_num_threads(),
        steps: [align.lower_steps, align.upper_steps],
        proximity: align.proximity,
        damping: align.damping,
        alternations,
        time_ratio: ours.alternation_s / reference.alternation_s,
        alternation_s: ours.alternation_s,
        reference_alternation_s: reference.alternation_s,
        products_ours: ours.products.iter().sum(),
        products_reference: reference.products.iter().sum(),
        correction_missed_max: ours.correction_missed_max,
        hypergradient_error_max: ours.hypergradient_error_max,
        identity_error: ours.identity_error,
        lower_share: ours.lower_s / ours.alternation_s,
        peak_memory_ratio: with_memory
            .then(|| ours.peak_bytes as f64 / reference.peak_bytes as f64),
        ours,
        reference,
    })
}

/// One of the two algorithms.
struct Contender<'a, B: Kernels> {
    config: &'a RunConfig,
    started: &'a Started<B>,
    rebuilds: bool,
    compares: bool,
}

/// Measurements of one alternation.
struct Measured {
    seconds: Seconds,
    products: u32,
    records: Vec<UpperRecord>,
    errors: Vec<Option<SolveError>>,
}

/// Product batches, cached: a second linearisation at the same index reuses the batch.
fn cached(make: impl Fn(u32) -> Result<TwoViews, DataError> + 'static) -> Source<TwoViews> {
    let kept: RefCell<Option<(u32, TwoViews)>> = RefCell::new(None);
    Box::new(move |index| {
        let mut kept = kept.borrow_mut();
        if let Some((of, views)) = &*kept
            && *of == index
        {
            return Ok(views.clone());
        }
        let views = make(index)?;
        *kept = Some((index, views.clone()));
        Ok(views)
    })
}

impl<B: Kernels> Contender<'_, B> {
    fn problem(&self, steps: &Steps) -> Result<Problem<'_, B>> {
        let batches = self.started.batches(self.config)?;
        let product = batches.product.clone();
        let sources = Sources {
            product: Some(cached(move |index| product.make(index))),
            ..batches.ahead(&Steps { products: 0, ..*steps })
        };
        self.started.problem(self.config, sources)
    }

    fn measure(&self, alternations: u32, verbosity: Verbosity) -> Result<ContenderReport> {
        let align = &self.config.align;
        let label = if self.rebuilds { "published" } else { "ours" };
        let steps = Steps::of(align, alternations)?;
        let mut progress = Progress::new(label, steps.total(), 0, verbosity);
        let before = allocator::live();
        let mut problem = self.problem(&steps)?;
        warm_kernels(&mut problem)?;
        let mut scalars = vec![0.0; problem.registers.scalars()];
        let mut machine = Alternation::new(align.alternation()?);
        let mut observed = Observed::new(&mut problem, self.rebuilds);
        let mut seen = Vec::new();
        for _ in 0..alternations {
            let records = alternation(&mut machine, &mut observed, &mut scalars, &mut progress)?;
            let (seconds, products, solves) = observed.take();
            let errors =
                if self.compares { self.errors(&mut observed, &solves)? } else { Vec::new() };
            drop(solves);
            observed.resume();
            seen.push(Measured { seconds, products, records, errors });
        }
        progress.finish();
        let peak_bytes = observed.peak.saturating_sub(before);
        Ok(report(format!("{} with {}", align.solver, align.curvature), &seen, peak_bytes))
    }

    fn errors(
        &self,
        observed: &mut Observed<'_, '_, B>,
        solves: &[Solved],
    ) -> Result<Vec<Option<SolveError>>> {
        let align = &self.config.align;
        if !observed.problem.is_linearized() {
            observed.problem.linearize(observed.linearized)?;
        }
        let shift = align.proximity + align.damping;
        let errors = compare(observed.problem, solves, shift, align.direct_weight)?;
        observed.problem.release();
        Ok(errors)
    }
}

/// Makes one product and drops it. The first product pays for threads, for the memory of a
/// linearisation, and on a device for compiling kernels; otherwise the first algorithm would pay.
fn warm_kernels<B: Kernels>(problem: &mut Problem<'_, B>) -> Result<()> {
    problem.linearize_with_gradient(0)?;
    let parameters = problem.networks().backbone.parameters().len();
    let device = problem.registers.device().clone();
    drop(problem.curvature_product(&upload(vec![0.0; parameters], [parameters], &device))?);
    B::wait(&device);
    problem.release();
    Ok(())
}

/// Drives one alternation to its end.
fn alternation<B: Kernels>(
    machine: &mut Alternation,
    observed: &mut Observed<'_, '_, B>,
    scalars: &mut [f32],
    progress: &mut Progress,
) -> Result<Vec<UpperRecord>> {
    let mut records = Vec::new();
    loop {
        match drive(machine, observed, scalars)? {
            Driven::Event(Event::Step(record)) => progress.step(Some(record.loss)),
            Driven::Event(Event::UpperStep(record)) => {
                progress.step(Some(record.hypergradient.loss_at_lower));
                records.push(record);
            }
            Driven::Event(Event::Alternation { .. }) => return Ok(records),
            Driven::Done(Completion::Finished) => return Ok(records),
            Driven::Done(Completion::Diverged { index }) => {
                fail!("loss, gradient or solve is not finite at step {index}")
            }
        }
    }
}

fn report(algorithm: String, seen: &[Measured], peak_bytes: usize) -> ContenderReport {
    let mean = |part: fn(&Seconds) -> f64| {
        seen.iter().map(|alternation| part(&alternation.seconds)).sum::<f64>() / seen.len() as f64
    };
    let errors: Vec<SolveError> =
        seen.iter().flat_map(|alternation| alternation.errors.iter().flatten().copied()).collect();
    let largest = |part: fn(&SolveError) -> f64| errors.iter().map(part).reduce(f64::max);
    let solves = || seen.iter().flat_map(|a| a.records.iter().map(|r| r.hypergradient.solve));
    let low = solves().filter_map(|solve| solve.rayleigh_min).reduce(f32::min);
    let high = solves().filter_map(|solve| solve.rayleigh_max).reduce(f32::max);
    let negative = solves()
        .filter(|solve| solve.termination == bissl_core::Termination::NegativeCurvature)
        .count();
    let by_solve = |alternation: &Measured| {
        alternation.records.iter().map(|record| record.hypergradient.solve.products).collect()
    };
    ContenderReport {
        algorithm,
        alternation_s: mean(Seconds::total),
        lower_s: mean(|seconds| seconds.lower),
        linearization_s: mean(|seconds| seconds.linearization),
        products_s: mean(|seconds| seconds.products),
        upper_s: mean(|seconds| seconds.upper),
        vectors_s: mean(|seconds| seconds.vectors),
        products: seen.iter().map(|alternation| alternation.products).collect(),
        products_by_solve: seen.first().map(by_solve).unwrap_or_default(),
        negative_curvature: negative as u32,
        peak_bytes,
        correction_missed_max: largest(|error| error.correction_missed),
        hypergradient_error_max: largest(|error| error.hypergradient),
        identity_error: largest(|error| error.identity),
        exact_residual_max: largest(|error| error.exact_residual),
        rayleigh: low.zip(high).map(|(low, high)| [low, high]),
    }
}

impl fmt::Display for StageReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [batch, product_batch] = self.batch;
        let [lower_steps, upper_steps] = self.steps;
        writeln!(
            f,
            "{}, {batch} images of {} px in two views ({product_batch} in products), \
             {} labelled, {} on {} threads",
            self.network, self.size, self.upper_batch, self.backend, self.threads
        )?;
        writeln!(
            f,
            "N_L {lower_steps}, N_U {upper_steps}, lambda {}, delta {}, mean of {} alternation(s)",
            self.proximity, self.damping, self.alternations
        )?;
        let sides = [&self.ours, &self.reference];
        let mut table = Table::new(["", &self.ours.algorithm, "published algorithm"]);
        let mut row = |name: &str, cell: &dyn Fn(&ContenderReport) -> String| {
            let cells = sides.map(cell);
            table.row([name.to_owned()].into_iter().chain(cells));
        };
        let part = |side: &ContenderReport, seconds: f64| {
            format!("{seconds:.2} s {:4.1} %", 100.0 * seconds / side.alternation_s)
        };
        let optional = |value: Option<f64>| value.map_or("-".to_owned(), |x| format!("{x:.2e}"));
        row("alternation", &|side| format!("{:.2} s", side.alternation_s));
        row("  lower gradients", &|side| part(side, side.lower_s));
        row("  linearisation", &|side| part(side, side.linearization_s));
        row("  products", &|side| part(side, side.products_s));
        row("  upper gradients", &|side| part(side, side.upper_s));
        row("  vectors", &|side| part(side, side.vectors_s));
        row("products", &|side| format!("{:?}", side.products));
        row("products of each solve", &|side| format!("{:?}", side.products_by_solve));
        row("negative curvature", &|side| side.negative_curvature.to_string());
        row("correction missed, max", &|side| optional(side.correction_missed_max));
        row("hypergradient error, max", &|side| optional(side.hypergradient_error_max));
        row("  of x = b", &|side| optional(side.identity_error));
        row("residual of x*, max", &|side| optional(side.exact_residual_max));
        row("Rayleigh quotients of H", &|side| {
            side.rayleigh.map_or("-".to_owned(), |[low, high]| format!("{low:.3} to {high:.3}"))
        });
        row("peak memory", &|side| match side.peak_bytes {
            0 => "-".to_owned(),
            bytes => format!("{:.0} MiB", bytes as f64 / f64::from(1 << 20)),
        });
        write!(f, "{table}")?;
        writeln!(f, "time ratio {:.3}", self.time_ratio)
    }
}
