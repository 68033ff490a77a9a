//! Measures a few short alternations with the configured solver, and the time of each part.

use std::time::Instant;

use crate::error::{Result, fail};
use bissl_core::{
    Alternation, Completion, Event, Progress as Driven, Register, RegisterFile, Termination, drive,
};

use crate::config::{AlignSettings, RunConfig};
use crate::driver::observed::{Observed, Seconds};
use crate::kernels::{Kernels, allocator};
use crate::progress::{Progress, Verbosity};
use crate::stage::bilevel::Steps;
use crate::stage::start::Started;

/// Lower steps of a measured alternation. They all cost the same, so a few give the time of N_L.
const LOWER_STEPS: u32 = 3;
/// Repetitions of one vector operation.
const OPERATIONS: u32 = 5;

/// Costs of an alternation, as means over those measured.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Cost {
    /// Seconds of one lower step: gradient, then optimiser.
    pub(super) lower_step: [f64; 2],
    /// Seconds of all upper steps.
    pub(super) upper: Seconds,
    /// Number of products in each alternation.
    pub(super) products: Vec<u32>,
    /// Number of solves that ended at a direction of negative curvature.
    pub(super) negative_curvature: u32,
    /// Seconds of one dot product of the backbone's length.
    pub(super) dot_s: f64,
    pub(super) activations: u64,
    pub(super) linearization: u64,
    pub(super) peak: u64,
}

impl Cost {
    /// Mean number of products per alternation.
    pub(super) fn products_mean(&self) -> f64 {
        f64::from(self.products.iter().sum::<u32>()) / self.products.len() as f64
    }

    /// Seconds of an alternation with `lower_steps`, by part.
    pub(super) fn parts(&self, lower_steps: u32) -> Seconds {
        let lower_steps = f64::from(lower_steps);
        Seconds {
            lower: lower_steps * self.lower_step[0],
            vectors: lower_steps * self.lower_step[1] + self.upper.vectors,
            ..self.upper
        }
    }
}

/// The configuration with short lower phases.
pub(super) fn shortened(config: &RunConfig) -> RunConfig {
    let mut short = config.clone();
    let align = &mut short.align;
    // A solver may need the gradients of the last lower steps: keep that many steps.
    let needed = align.solver().map_or(0, |solver| solver.facts().gradients.into());
    align.mfac_gradients = Some(align.mfac_gradients());
    align.lower_steps = align.lower_steps.min(LOWER_STEPS.max(needed));
    let steps = align.alternations.saturating_mul(align.lower_steps);
    align.lower.warm_up_steps = align.lower.warm_up_steps.min(steps);
    short
}

/// Drives `alternations` ≥ 1 of a shortened configuration.
///
/// If there are several, the times exclude the first one, which pays for compiling kernels.
///
/// # Errors
/// Data cannot be read, or a loss or solve is not finite.
pub(super) fn measure<B: Kernels>(
    config: &RunConfig,
    started: &Started<B>,
    alternations: u32,
    verbosity: Verbosity,
    device: &B::Device,
) -> Result<Cost> {
    let config = &shortened(config);
    let align = &config.align;
    let alternations = alternations.min(align.alternations);
    allocator::watch::<B>(device);
    let before = allocator::live();
    let steps = Steps::of(align, alternations)?;
    let sources = started.batches(config)?.ahead(&steps);
    let mut problem = started.problem(config, sources)?;
    let mut run = Run {
        align,
        observed: Observed::new(&mut problem, false),
        scalars: Vec::new(),
        progress: Progress::new("measure", steps.total(), 0, verbosity),
        cost: Cost::default(),
        before,
        watches: true,
    };
    run.scalars = vec![0.0; run.observed.problem.registers.scalars()];
    let mut machine = Alternation::new(align.alternation()?);
    let mut seen = Vec::new();
    for index in 0..alternations {
        seen.push(run.alternation(&mut machine)?);
        // On a device the first alternation measures the memory, and the others the times.
        if index == 0 {
            allocator::unwatch();
            run.watches = B::ON_HOST;
        }
    }
    run.progress.finish();
    let Run { mut cost, .. } = run;
    let kept = if seen.len() > 1 { &seen[1..] } else { &seen[..] };
    let mean =
        |part: fn(&[Seconds; 2]) -> f64| kept.iter().map(part).sum::<f64>() / kept.len() as f64;
    let lower_steps = f64::from(align.lower_steps);
    cost.lower_step = [
        mean(|[lower, _]| lower.lower) / lower_steps,
        mean(|[lower, _]| lower.vectors) / lower_steps,
    ];
    cost.upper = Seconds {
        lower: 0.0,
        linearization: mean(|[_, upper]| upper.linearization),
        products: mean(|[_, upper]| upper.products),
        upper: mean(|[_, upper]| upper.upper),
        vectors: mean(|[_, upper]| upper.vectors),
    };
    let pairs = [(Register::Solution, Register::Residual)];
    let started = Instant::now();
    for _ in 0..OPERATIONS {
        problem.registers.dots(&pairs, &mut [0.0])?;
    }
    cost.dot_s = started.elapsed().as_secs_f64() / f64::from(OPERATIONS);
    Ok(cost)
}

struct Run<'r, 'p, 'n, B: Kernels> {
    align: &'r AlignSettings,
    observed: Observed<'p, 'n, B>,
    scalars: Vec<f32>,
    progress: Progress,
    cost: Cost,
    /// Bytes in use before the problem was made.
    before: usize,
    /// Whether the bytes in use are the memory of the tensors.
    watches: bool,
}

fn plus(sum: &mut Seconds, term: Seconds) {
    sum.lower += term.lower;
    sum.linearization += term.linearization;
    sum.products += term.products;
    sum.upper += term.upper;
    sum.vectors += term.vectors;
}

impl<B: Kernels> Run<'_, '_, '_, B> {
    /// Runs one alternation; returns the seconds of its lower and of its upper phase.
    fn alternation(&mut self, machine: &mut Alternation) -> Result<[Seconds; 2]> {
        let mut phases = [Seconds::default(); 2];
        let mut products = 0;
        loop {
            match drive(machine, &mut self.observed, &mut self.scalars)? {
                Driven::Event(Event::Step(record)) => {
                    self.progress.step(Some(record.loss));
                    plus(&mut phases[0], self.observed.take().0);
                    self.lower_peak();
                }
                Driven::Event(Event::UpperStep(record)) => {
                    let solve = record.hypergradient.solve;
                    let negative = solve.termination == Termination::NegativeCurvature;
                    self.cost.negative_curvature += u32::from(negative);
                    self.progress.step(Some(record.hypergradient.loss_at_lower));
                    // Take the vectors after every step, or those of all solves would pile up.
                    let (seconds, count, _) = self.observed.take();
                    plus(&mut phases[1], seconds);
                    products += count;
                }
                Driven::Event(Event::Alternation { .. }) => {
                    self.cost.products.push(products);
                    self.upper_peak();
                    return Ok(phases);
                }
                Driven::Done(Completion::Finished) => return Ok(phases),
                Driven::Done(Completion::Diverged { index }) => fail!(
                    "plan: loss, gradient or solve of {} is not finite at step {index}",
                    self.align.solver
                ),
            }
        }
    }

    /// Measures what a lower step needs beyond what is in use between steps.
    fn lower_peak(&mut self) {
        let peak = std::mem::take(&mut self.observed.peak);
        if !self.watches {
            return;
        }
        let activations = peak.saturating_sub(allocator::live()) as u64;
        self.cost.activations = self.cost.activations.max(activations);
        self.cost.peak = self.cost.peak.max(peak.saturating_sub(self.before) as u64);
    }

    fn upper_peak(&mut self) {
        let peak = std::mem::take(&mut self.observed.peak);
        if !self.watches {
            return self.observed.problem.release();
        }
        self.cost.peak = self.cost.peak.max(peak.saturating_sub(self.before) as u64);
        let held = allocator::live();
        // The next lower step would release it anyway.
        self.observed.problem.release();
        let linearization = held.saturating_sub(allocator::live()) as u64;
        self.cost.linearization = self.cost.linearization.max(linearization);
        self.observed.resume();
    }
}
