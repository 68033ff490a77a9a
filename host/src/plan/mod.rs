//! `plan`: estimates the cost of a run from a few short alternations.

mod budget;
mod cost;
mod memory;

use std::fmt;
use std::time::Duration;

use crate::error::Result;
use serde::Serialize;

use crate::backend::{Work, dispatch};
use crate::config::{AlignSettings, RunConfig, SolverName};
use crate::data::streams;
use crate::kernels::Kernels;
use crate::machine::mebibytes;
use crate::model::architecture;
use crate::progress::{self, Verbosity};
use crate::report::Table;
use crate::run::Origin;
use crate::stage::Task;
use crate::stage::memory::{MemoryThere, require_memory};
use crate::stage::start::{Start, Started};
use cost::Cost;

pub(crate) use budget::duration;
pub use budget::{BudgetChoice, Trial};
pub use memory::MemoryReport;

/// Time of a step of the head's warm-up, relative to a gradient: it has a forward pass only.
const FORWARD: f64 = 1.0 / 3.0;

/// The job of `plan`.
#[derive(Debug)]
pub struct PlanJob {
    /// Every setting.
    pub config: RunConfig,
    /// The pretrained weights; `None`: some steps of pretraining from initial weights.
    pub from: Option<Origin>,
    /// Number of these steps, if `from` is `None`.
    pub pretrain_steps: u32,
    /// Number of alternations to measure, at least 1.
    pub measured: u32,
    /// Time budget for `align`. Settings are chosen to keep it.
    pub budget: Option<Duration>,
    /// How much is shown during the measurement.
    pub verbosity: Verbosity,
}

/// The cost of a stage other than the bilevel one.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct StageCost {
    /// Its name.
    pub stage: String,
    /// Number of steps.
    pub steps: u64,
    /// Seconds, estimated from the gradients of the bilevel stage and the ratio of the batches.
    pub seconds: f64,
}

/// The report that `plan` prints.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PlanReport {
    /// Backbone, width, stem and projector.
    pub network: String,
    /// Name of the backend.
    pub backend: String,
    /// Number of CPU threads.
    pub threads: usize,
    /// Solver and curvature.
    pub solver: String,
    /// Pretext images per lower step and per product.
    pub batch: [usize; 2],
    /// Labelled images per upper step.
    pub upper_batch: usize,
    /// Width and height of the images in pixels.
    pub size: usize,
    /// N_L and N_U.
    pub steps: [u32; 2],
    /// T.
    pub alternations: u32,
    /// Number of measured alternations, and lower steps in each.
    pub measured: [u32; 2],
    /// Number of products in each measured alternation.
    pub products: Vec<u32>,
    /// Mean number of products per alternation.
    pub products_per_alternation: f64,
    /// Number of solves that ended at a direction of negative curvature.
    pub negative_curvature: u32,
    /// Seconds of an alternation with all its lower steps.
    pub alternation_s: f64,
    /// Seconds of the lower steps' gradients.
    pub lower_s: f64,
    /// Seconds of the linearisation.
    pub linearization_s: f64,
    /// Seconds of the products.
    pub products_s: f64,
    /// Seconds of the upper steps' gradients.
    pub upper_s: f64,
    /// Seconds of the vector operations of solver and optimisers.
    pub vectors_s: f64,
    /// Seconds of T alternations.
    pub stage_s: f64,
    /// Estimates for the other stages.
    pub other_stages: Vec<StageCost>,
    /// Memory in bytes.
    pub memory: MemoryReport,
    /// What the solver keeps, in words.
    pub solver_memory: String,
    /// The settings chosen for the budget, if there is one.
    pub budget: Option<BudgetChoice>,
}

/// Measures the cost, and chooses settings if there is a budget.
///
/// # Errors
/// Data or checkpoint cannot be read; training diverges; the solver's vectors do not fit into
/// memory; the budget is less than one alternation.
pub fn plan(job: PlanJob) -> Result<PlanReport> {
    dispatch(job.config.backend, job)?
}

impl Work for PlanJob {
    type Output = Result<PlanReport>;

    fn run<B: Kernels>(self, device: B::Device) -> Result<PlanReport> {
        measure::<B>(self, &device)
    }
}

fn measure<B: Kernels>(job: PlanJob, device: &B::Device) -> Result<PlanReport> {
    let PlanJob { config, from, pretrain_steps, measured, budget, verbosity } = job;
    let (config, start) = (&config, Start { from, pretrain_steps });
    // Read it before this process takes its part.
    let MemoryThere { available, total } = MemoryThere::of(config.backend)?;
    let started = start.make::<B>(config, verbosity, device)?;
    let parameters = started.task.networks.backbone.parameters().len();
    let need = require_memory(config, parameters)?;
    let meter = CostMeter::<B> { config, started: &started, measured, verbosity, device };
    let cost = meter.cost(&config.align)?;
    let align = &config.align;
    let parts = cost.parts(align.lower_steps);
    let other_stages = other_stages(config, &started, &cost)?;
    let budget = match budget {
        None => None,
        Some(budget) => {
            let warm_up = other_stages.iter().find(|stage| stage.stage == "warm-up");
            let warm_up_s = warm_up.map_or(0.0, |stage| stage.seconds);
            Some(meter.choose(&cost, budget.as_secs_f64(), warm_up_s)?)
        }
    };
    let mut memory = MemoryReport::computed(config, &started.task.networks, available)?;
    memory.total = total;
    if cost.peak > 0 {
        memory = memory.measured(align.batch, &cost);
    }
    let short = cost::shortened(config);
    let alternation_s = parts.total();
    let count = cost.products.len() as u32;
    Ok(PlanReport {
        network: architecture(config),
        backend: config.backend.to_string(),
        threads: rayon::current_num_threads(),
        solver: format!("{} with {}", align.solver, align.curvature),
        batch: [align.batch, align.product_batch()],
        upper_batch: align.upper_batch,
        size: config.image.size,
        steps: [align.lower_steps, align.upper_steps],
        alternations: align.alternations,
        measured: [count, short.align.lower_steps],
        products_per_alternation: cost.products_mean(),
        products: cost.products,
        negative_curvature: cost.negative_curvature,
        alternation_s,
        lower_s: parts.lower,
        linearization_s: parts.linearization,
        products_s: parts.products,
        upper_s: parts.upper,
        vectors_s: parts.vectors,
        stage_s: f64::from(align.alternations) * alternation_s,
        other_stages,
        memory,
        solver_memory: need.to_string(),
        budget,
    })
}

/// Steps and seconds of the stages before and after the bilevel stage.
fn other_stages<B: Kernels>(
    config: &RunConfig,
    started: &Started<B>,
    cost: &Cost,
) -> Result<Vec<StageCost>> {
    let Task { images, split, .. } = &started.task;
    let align = &config.align;
    let labelled = |batch: usize| -> Result<u64> {
        let domains = (streams::DOWNSTREAM_ORDER, streams::DOWNSTREAM_VIEW);
        let batches = images.labelled_batches(&split.train, batch, config.seed, domains)?;
        Ok(u64::from(batches.batches_per_epoch()))
    };
    let stage = |name: &str, steps: u64, step_s: f64| StageCost {
        stage: name.to_owned(),
        steps,
        seconds: steps as f64 * step_s,
    };
    let of = |batch: usize, whole: usize| batch as f64 / whole as f64;
    // An upper step has one gradient, or two with a direct term.
    let gradients = if align.direct_weight == 0.0 { 1.0 } else { 2.0 };
    let upper_gradient_s = cost.upper.upper / (gradients * f64::from(align.upper_steps));
    let mut stages = Vec::new();
    if config.from == "none" {
        let domains = (streams::PRETEXT_ORDER, streams::PRETEXT_VIEW);
        let batches = images.pretext_batches(config.pretrain.batch, config.seed, domains)?;
        let steps = u64::from(config.pretrain.epochs) * u64::from(batches.batches_per_epoch());
        let step_s =
            (cost.lower_step[0] + cost.lower_step[1]) * of(config.pretrain.batch, align.batch);
        stages.push(stage("pretrain", steps, step_s));
    }
    let steps = u64::from(config.warm_up.epochs) * labelled(config.warm_up.batch)?;
    let step_s = FORWARD * upper_gradient_s * of(config.warm_up.batch, align.upper_batch);
    stages.push(stage("warm-up", steps, step_s));
    let steps = u64::from(config.finetune.epochs) * labelled(config.finetune.batch)?;
    let step_s = upper_gradient_s * of(config.finetune.batch, align.upper_batch);
    stages.push(stage("finetune", steps, step_s));
    Ok(stages)
}

/// Measures the cost of settings, each once.
struct CostMeter<'a, B: Kernels> {
    config: &'a RunConfig,
    started: &'a Started<B>,
    measured: u32,
    verbosity: Verbosity,
    device: &'a B::Device,
}

impl<B: Kernels> CostMeter<'_, B> {
    fn with(&self, align: &AlignSettings) -> RunConfig {
        RunConfig { align: align.clone(), ..self.config.clone() }
    }

    fn cost(&self, align: &AlignSettings) -> Result<Cost> {
        let config = self.with(align);
        cost::measure::<B>(&config, self.started, self.measured, self.verbosity, self.device)
    }

    fn choose(&self, own: &Cost, budget_s: f64, warm_up_s: f64) -> Result<BudgetChoice> {
        let align = &self.config.align;
        let mfac = AlignSettings { solver: SolverName::Mfac, ..align.clone() };
        let parameters = self.started.task.networks.backbone.parameters().len();
        let mfac_fits = require_memory(&self.with(&mfac), parameters).is_ok();
        let parts = own.parts(align.lower_steps);
        let without_products_s = parts.lower + parts.upper + parts.vectors;
        // Another tolerance changes only the products, so all other times are reused: two timings
        // of the same thing would differ by more than the products do.
        let mut price = |asked: &AlignSettings| -> Result<f64> {
            let facts = asked.solver()?.facts();
            Ok(if asked == align {
                parts.total()
            } else if facts.uses_products {
                let ratio = self.cost(asked)?.products_mean() / own.products_mean();
                without_products_s + parts.linearization + ratio * parts.products
            } else {
                without_products_s + operations(facts.gradients, asked.upper_steps) * own.dot_s
            })
        };
        let mut costs = budget::Costs { price: &mut price, mfac_fits };
        budget::choose(align, budget_s, warm_up_s, &mut costs)
    }
}

/// Vector operations of an alternation with m gradients instead of products: m copies, m(m − 1)/2
/// dots and as many sums for the factors, and 2m per solve.
fn operations(gradients: u8, solves: u32) -> f64 {
    let m = f64::from(gradients);
    m * m + 2.0 * m * f64::from(solves)
}

impl PlanReport {
    fn write_times(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut table = Table::new(["", "seconds", "share"]);
        let mut row = |name: &str, seconds: f64| {
            let share = 100.0 * seconds / self.alternation_s;
            table.row([name.to_owned(), format!("{seconds:.3}"), format!("{share:.1} %")]);
        };
        row("alternation", self.alternation_s);
        row("  lower gradients", self.lower_s);
        row("  linearisation", self.linearization_s);
        row("  products", self.products_s);
        row("  upper gradients", self.upper_s);
        row("  vectors", self.vectors_s);
        write!(f, "{table}")?;
        let [measured, lower_steps] = self.measured;
        let [all, _] = self.steps;
        writeln!(
            f,
            "measured on {measured} alternation(s) of {lower_steps} lower steps, scaled to {all}"
        )?;
        writeln!(
            f,
            "{:.1} products per alternation, measured {:?}",
            self.products_per_alternation, self.products
        )?;
        if self.negative_curvature > 0 {
            writeln!(
                f,
                "{} solves ended at negative curvature: with barely pretrained weights, \
                 products are not those of a run; give --from",
                self.negative_curvature
            )?;
        }
        let Self { alternations, stage_s, .. } = self;
        writeln!(
            f,
            "bilevel stage: {alternations} alternations, {}",
            progress::duration(*stage_s)
        )?;
        for StageCost { stage, steps, seconds } in &self.other_stages {
            writeln!(f, "{stage}: {steps} steps, about {}", progress::duration(*seconds))?;
        }
        Ok(())
    }

    fn write_memory(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let memory = &self.memory;
        let mut table = Table::new(["memory", ""]);
        let mut row = |name: &str, bytes: Option<u64>| {
            let size = bytes.map_or("not known".to_owned(), mebibytes);
            table.row([name.to_owned(), size]);
        };
        row("parameters", Some(memory.parameters));
        if memory.target > 0 {
            row("target network", Some(memory.target));
        }
        row("momenta", Some(memory.momenta));
        row("work vectors", Some(memory.work));
        row("solver, at most", Some(memory.solver));
        row("activations of a lower step", memory.activations);
        row("linearisation", memory.linearization);
        row("peak, measured", memory.peak);
        row("available", memory.available);
        row("total", memory.total);
        write!(f, "{table}")?;
        writeln!(f, "{}", self.solver_memory)?;
        match memory.largest_batch {
            Some(largest) => writeln!(
                f,
                "largest align.batch that fits: about {largest}, if the other batches grow with it"
            ),
            None => Ok(()),
        }
    }
}

fn write_budget(f: &mut fmt::Formatter<'_>, choice: &BudgetChoice) -> fmt::Result {
    let BudgetChoice { budget_s, warm_up_s, trials, reason, flags } = choice;
    let (budget, warm_up) = (progress::duration(*budget_s), progress::duration(*warm_up_s));
    writeln!(f, "budget {budget} for align, of which its warm-up takes about {warm_up}")?;
    let mut table = Table::new(["solver", "correction missed", "alternations", "stage", ""]);
    for trial in trials {
        let share = trial.correction_tolerance.map_or("-".to_owned(), |share| format!("{share}"));
        table.row([
            trial.solver.clone(),
            share,
            trial.alternations.to_string(),
            progress::duration(trial.stage_s),
            (if trial.fits { "fits" } else { "too long" }).to_owned(),
        ]);
    }
    write!(f, "{table}")?;
    writeln!(f, "chosen: {reason}")?;
    writeln!(f, "  {flags}")
}

impl fmt::Display for PlanReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ([batch, product_batch], [lower_steps, upper_steps]) = (self.batch, self.steps);
        writeln!(
            f,
            "{}, {batch} images of {} px in two views ({product_batch} in products), \
             {} labelled, {} on {} threads",
            self.network, self.size, self.upper_batch, self.backend, self.threads
        )?;
        writeln!(f, "{}, N_L {lower_steps}, N_U {upper_steps}", self.solver)?;
        self.write_times(f)?;
        self.write_memory(f)?;
        match &self.budget {
            Some(choice) => write_budget(f, choice),
            None => Ok(()),
        }
    }
}
