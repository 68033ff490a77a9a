//! The bilevel stage: lower steps, then upper steps, many times.

use crate::descent::{DescentStep, is_finite};
use crate::error::{at_least_one, get};
use crate::machine::{forward, step};
use crate::update::UpdateSettings;
use crate::{
    Completion, ConfigError, ConjugateGradient, DescentSettings, Evaluation, Event, Group,
    Hypergradient, HypergradientRecord, HypergradientSettings, LinearSolver, Machine, Optimizer,
    Pending, Register, Reply, Request, Schedule, Solver, SolverMemory, Termination, Ticket,
    UnexpectedReply, Update, UpdateReport, UpperRecord,
};

/// How one level of the bilevel stage is trained.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Level {
    /// N_L or N_U, steps in an alternation, at least 1.
    pub steps: u32,
    /// Its recurrence.
    pub optimizer: Optimizer,
    /// Rates over all alternations: covers `alternations · steps`.
    pub schedule: Schedule,
    /// Limit of the total gradient norm.
    pub clip: Option<f32>,
}

/// The bilevel stage.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(bound = ""))]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct AlternationSettings<S: LinearSolver = Solver> {
    alternations: u32,
    lower: DescentSettings,
    lower_steps: u32,
    upper: DescentSettings,
    upper_steps: u32,
    hypergradient: HypergradientSettings<S>,
}

/// Refuses a number of steps that is 0, or too large in all alternations together.
const fn count(name: &'static str, steps: u32, alternations: u32) -> Result<(), ConfigError> {
    get!(at_least_one(name, steps));
    if steps.checked_mul(alternations).is_none() {
        let range = "a total number of steps below 2^32";
        return Err(ConfigError::OutOfRange { name, value: steps as f32, range });
    }
    Ok(())
}

impl AlternationSettings<ConjugateGradient> {
    /// With plain conjugate gradients, also in a constant; otherwise the same as
    /// [`new`](Self::new).
    ///
    /// # Errors
    /// Those of [`new`](Self::new).
    pub const fn with_conjugate_gradient(
        alternations: u32,
        lower: Level,
        upper: Level,
        hypergradient: HypergradientSettings<ConjugateGradient>,
    ) -> Result<Self, ConfigError> {
        Self::assemble(alternations, lower, upper, hypergradient)
    }
}

impl<S: LinearSolver> AlternationSettings<S> {
    /// `alternations` T ≥ 1 of `lower.steps` and `upper.steps`.
    ///
    /// # Errors
    /// The setting that is out of its range; in particular a coupling other than by proximity, for
    /// which there is no lower loss to build here, and a product of counts beyond 2³².
    pub fn new(
        alternations: u32,
        lower: Level,
        upper: Level,
        hypergradient: HypergradientSettings<S>,
    ) -> Result<Self, ConfigError> {
        let gradients = hypergradient.gradients();
        if u32::from(gradients) > lower.steps {
            let (value, range) = (gradients.into(), "at most lower_steps");
            return Err(ConfigError::OutOfRange { name: "gradients", value, range });
        }
        Self::assemble(alternations, lower, upper, hypergradient)
    }

    /// For a solver that uses no lower gradients.
    const fn assemble(
        alternations: u32,
        lower: Level,
        upper: Level,
        hypergradient: HypergradientSettings<S>,
    ) -> Result<Self, ConfigError> {
        get!(at_least_one("alternations", alternations));
        get!(count("lower_steps", lower.steps, alternations));
        get!(count("upper_steps", upper.steps, alternations));
        let Some(proximity) = hypergradient.proximity() else {
            return Err(ConfigError::Zero { name: "proximity" });
        };
        let Level { optimizer, schedule, clip, .. } = lower;
        let descent = DescentSettings::new(Evaluation::Lower, optimizer, schedule, clip);
        let lower_descent = get!(descent).with_proximity(proximity);
        let Level { optimizer, schedule, clip, .. } = upper;
        let descent = DescentSettings::new(Evaluation::UpperAtUpper, optimizer, schedule, clip);
        let upper_descent = get!(descent);
        Ok(Self {
            alternations,
            lower: lower_descent,
            lower_steps: lower.steps,
            upper: upper_descent,
            upper_steps: upper.steps,
            hypergradient,
        })
    }

    /// T.
    pub fn alternations(&self) -> u32 {
        self.alternations
    }

    /// Lower step `index`; where the solver takes gradients, the last of an alternation keep
    /// theirs.
    fn lower_step(&self, index: u32) -> DescentStep {
        let step = DescentStep::new(self.lower, index);
        let first = self.lower_steps - u32::from(self.hypergradient.gradients());
        match index.checked_rem(self.lower_steps).and_then(|step| step.checked_sub(first)) {
            Some(slot) => step.keeping(slot as u8),
            None => step,
        }
    }
}

/// T alternations of N_L lower steps and N_U upper steps (arXiv 2410.02387, algorithm 1).
///
/// Lower first, then upper. The pretext batch of the products is fixed by `Linearize` before the
/// first upper step of an alternation, and what solvers keep is dropped there, but for SOBA's
/// iterate; a solver that takes gradients instead finds those of the last lower steps in `Basis`.
/// Optimiser states and schedules run on over the alternations. The result of the stage is θ_P.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(bound = ""))]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Alternation<S: LinearSolver = Solver> {
    settings: AlternationSettings<S>,
    alternation: u32,
    ticket: Ticket,
    state: State<S>,
    memory: S::Memory,
}

#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(bound = ""))]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
enum State<S: LinearSolver> {
    Lower(DescentStep),
    LowerReport(crate::StepRecord),
    Linearize,
    Hypergradient { index: u32, machine: Hypergradient<S> },
    Update { index: u32, record: HypergradientRecord, machine: Update },
    UpperReport(UpperRecord),
    AlternationReport,
    Done(Completion),
}

impl<S: LinearSolver> Alternation<S> {
    /// The stage, before its first step.
    pub fn new(settings: AlternationSettings<S>) -> Self {
        let state = State::Lower(settings.lower_step(0));
        let (ticket, memory) = (Ticket::default(), S::Memory::default());
        Self { settings, alternation: 0, ticket, state, memory }
    }

    fn advance(&mut self, reply: Reply, scalars: &mut [f32]) -> Result<(), UnexpectedReply> {
        self.state = match self.state {
            State::Lower(mut step) => match forward(&mut step, reply, scalars)? {
                Some(record) if is_finite(&record) => State::LowerReport(record),
                Some(record) => State::Done(Completion::Diverged { index: record.index }),
                None => State::Lower(step),
            },
            State::LowerReport(record) => self.after_lower(record.index),
            State::Linearize => {
                let solver = self.settings.hypergradient.solver();
                self.memory = S::relinearized(&solver, self.memory);
                self.upper(self.alternation * self.settings.upper_steps)
            }
            State::Hypergradient { index, mut machine } => {
                match forward(&mut machine, reply, scalars)? {
                    Some(record) => {
                        self.memory = machine.memory();
                        self.on_hypergradient(index, record)
                    }
                    None => State::Hypergradient { index, machine },
                }
            }
            State::Update { index, record, mut machine } => {
                match forward(&mut machine, reply, scalars)? {
                    Some(report) => self.on_update(index, record, report),
                    None => State::Update { index, record, machine },
                }
            }
            State::UpperReport(record) => self.after_upper(record.index),
            State::AlternationReport => self.after_alternation(),
            State::Done(_) => return Err(UnexpectedReply::Ended),
        };
        Ok(())
    }

    fn after_lower(&mut self, index: u32) -> State<S> {
        let next = index + 1;
        if next < (self.alternation + 1) * self.settings.lower_steps {
            State::Lower(self.settings.lower_step(next))
        } else if self.settings.hypergradient.uses_products() {
            State::Linearize
        } else {
            self.memory = SolverMemory::filled(self.settings.hypergradient.gradients()).into();
            self.upper(self.alternation * self.settings.upper_steps)
        }
    }

    fn upper(&self, index: u32) -> State<S> {
        let machine =
            Hypergradient::new(self.settings.hypergradient, index).with_memory(self.memory);
        State::Hypergradient { index, machine }
    }

    fn on_hypergradient(&self, index: u32, record: HypergradientRecord) -> State<S> {
        let losses = [Some(record.loss_at_lower), record.loss_at_upper];
        let finite = losses.into_iter().flatten().all(f32::is_finite);
        if !finite || record.solve.termination == Termination::NonFinite {
            return State::Done(Completion::Diverged { index });
        }
        let DescentSettings { optimizer, schedule, clip, .. } = self.settings.upper;
        let machine = Update::new(UpdateSettings {
            optimizer,
            clip,
            rate: schedule.rate(index),
            index,
            head: (Group::DownstreamHead, Register::DownstreamHeadGradient),
            backbone: Some((Group::UpperBackbone, self.settings.hypergradient.result())),
        });
        State::Update { index, record, machine }
    }

    fn on_update(&self, index: u32, record: HypergradientRecord, report: UpdateReport) -> State<S> {
        if !report.gradient_norm.is_finite() {
            return State::Done(Completion::Diverged { index });
        }
        State::UpperReport(UpperRecord {
            index,
            alternation: self.alternation,
            hypergradient: record,
            gradient_norm: report.gradient_norm,
            learning_rate: self.settings.upper.schedule.rate(index),
        })
    }

    fn after_upper(&self, index: u32) -> State<S> {
        if index + 1 < (self.alternation + 1) * self.settings.upper_steps {
            self.upper(index + 1)
        } else {
            State::AlternationReport
        }
    }

    fn after_alternation(&mut self) -> State<S> {
        self.alternation += 1;
        if self.alternation < self.settings.alternations {
            let index = self.alternation * self.settings.lower_steps;
            State::Lower(self.settings.lower_step(index))
        } else {
            State::Done(Completion::Finished)
        }
    }
}

impl<S: LinearSolver> Machine for Alternation<S> {
    type Output = Completion;

    fn pending(&self) -> Pending<Completion> {
        let ticket = self.ticket;
        match self.state {
            State::Lower(step) => Pending::Request(ticket, step.request()),
            State::LowerReport(record) => Pending::Event(ticket, Event::Step(record)),
            State::Linearize => {
                Pending::Request(ticket, Request::Linearize { index: self.alternation })
            }
            State::Hypergradient { machine, .. } => Pending::Request(ticket, machine.request()),
            State::Update { machine, .. } => Pending::Request(ticket, machine.request()),
            State::UpperReport(record) => Pending::Event(ticket, Event::UpperStep(record)),
            State::AlternationReport => {
                Pending::Event(ticket, Event::Alternation { index: self.alternation })
            }
            State::Done(completion) => Pending::Done(completion),
        }
    }

    step!();
}
