//! Gradient descent on one loss: a single step, and a stage of them.

use crate::error::{get, positive};
use crate::machine::{forward, front, machine, step};
use crate::update::UpdateSettings;
use crate::{
    Bank, Completion, ConfigError, Evaluation, Event, Group, Machine, Optimizer, Pairs, Pending,
    Register, Reply, Request, Schedule, StepRecord, Ticket, UnexpectedReply, Update,
};
use Register::{Banked, Direction, Parameter, Residual};

/// How one level is trained.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct DescentSettings {
    pub(crate) evaluation: Evaluation,
    pub(crate) optimizer: Optimizer,
    pub(crate) schedule: Schedule,
    pub(crate) clip: Option<f32>,
    pub(crate) backbone: bool,
    pub(crate) proximity: Option<f32>,
}

impl DescentSettings {
    /// Descent on `evaluation` of backbone and head; `clip` > 0 limits the total gradient norm.
    ///
    /// # Errors
    /// The setting that is out of its range.
    pub const fn new(
        evaluation: Evaluation,
        optimizer: Optimizer,
        schedule: Schedule,
        clip: Option<f32>,
    ) -> Result<Self, ConfigError> {
        let optimizer = get!(optimizer.validated());
        if let Some(limit) = clip {
            get!(positive("clip", limit));
        }
        Ok(Self { evaluation, optimizer, schedule, clip, backbone: true, proximity: None })
    }

    /// The same with the backbone frozen: only the head is trained.
    #[must_use]
    pub const fn frozen_backbone(self) -> Self {
        Self { backbone: false, ..self }
    }

    /// Steps of the stage.
    pub fn steps(&self) -> u32 {
        self.schedule.steps()
    }

    pub(crate) const fn with_proximity(self, weight: f32) -> Self {
        Self { proximity: Some(weight), ..self }
    }

    fn backbone_group(&self) -> Group {
        match self.evaluation {
            Evaluation::Lower | Evaluation::UpperAtLower => Group::LowerBackbone,
            Evaluation::UpperAtUpper => Group::UpperBackbone,
        }
    }

    fn head(&self) -> (Group, Register) {
        match self.evaluation {
            Evaluation::Lower => (Group::PretextHead, Register::PretextHeadGradient),
            Evaluation::UpperAtLower | Evaluation::UpperAtUpper => {
                (Group::DownstreamHead, Register::DownstreamHeadGradient)
            }
        }
    }
}

/// One step: gradient, proximity term if there is one, update.
///
/// The proximity term is `λ (θ_P − θ_D)`, the difference being formed in `Direction`. Where the
/// loss or the gradient's norm is not finite no parameter changes and the recorded norm is not
/// finite.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct DescentStep {
    settings: DescentSettings,
    index: u32,
    keep: Option<u8>,
    ticket: Ticket,
    state: StepState,
    loss: f32,
    distance: Option<f32>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
enum StepState {
    Gradient,
    Keep { slot: u8 },
    CopyLower { proximity: f32 },
    SubtractUpper { proximity: f32 },
    Distance { proximity: f32 },
    AddProximity { proximity: f32 },
    Update(Update),
    Done { gradient_norm: f32 },
}

impl DescentStep {
    /// Step `index` of a stage, not begun.
    pub fn new(settings: DescentSettings, index: u32) -> Self {
        Self {
            settings,
            index,
            keep: None,
            ticket: Ticket::default(),
            state: StepState::Gradient,
            loss: 0.0,
            distance: None,
        }
    }

    /// The same, putting the loss's own gradient into slot `slot` of `Basis`, for
    /// [`Mfac`](crate::Mfac).
    ///
    /// Before proximity, weight decay and clipping; a frozen backbone has no gradient and keeps
    /// none.
    #[must_use]
    pub fn keeping(self, slot: u8) -> Self {
        Self { keep: self.settings.backbone.then_some(slot), ..self }
    }

    /// The pending request; after the end, the last one.
    pub(crate) fn request(&self) -> Request {
        match self.state {
            StepState::Gradient | StepState::Done { .. } => Request::Gradient {
                evaluation: self.settings.evaluation,
                index: self.index,
                backbone: self.settings.backbone.then_some(Residual),
                head: self.settings.head().1,
            },
            StepState::Keep { slot } => {
                Request::Copy { src: Residual, dst: Banked(Bank::Basis, slot) }
            }
            StepState::CopyLower { .. } => {
                Request::Copy { src: Parameter(Group::LowerBackbone), dst: Direction }
            }
            StepState::SubtractUpper { .. } => {
                let x = Parameter(Group::UpperBackbone);
                Request::Axpby { a: -1.0, x, b: 1.0, y: Direction }
            }
            StepState::Distance { .. } => {
                Request::Dots { pairs: Pairs::new([(Direction, Direction)]) }
            }
            StepState::AddProximity { proximity } => {
                Request::Axpby { a: proximity, x: Direction, b: 1.0, y: Residual }
            }
            StepState::Update(update) => update.request(),
        }
    }

    fn output(&self) -> Option<StepRecord> {
        let StepState::Done { gradient_norm } = self.state else { return None };
        Some(StepRecord {
            index: self.index,
            loss: self.loss,
            gradient_norm,
            learning_rate: self.settings.schedule.rate(self.index),
            distance: self.distance,
        })
    }

    fn advance(&mut self, reply: Reply, scalars: &mut [f32]) -> Result<(), UnexpectedReply> {
        self.state = match self.state {
            StepState::Gradient => self.on_gradient(front(scalars)?),
            StepState::Keep { .. } => self.after_gradient(),
            StepState::CopyLower { proximity } => StepState::SubtractUpper { proximity },
            StepState::SubtractUpper { proximity } => StepState::Distance { proximity },
            StepState::Distance { proximity } => {
                let [distance_sq] = front(scalars)?;
                self.distance = Some(libm::sqrtf(distance_sq));
                StepState::AddProximity { proximity }
            }
            StepState::AddProximity { .. } => self.update(),
            StepState::Update(mut update) => match forward(&mut update, reply, scalars)? {
                Some(report) => StepState::Done { gradient_norm: report.gradient_norm },
                None => StepState::Update(update),
            },
            StepState::Done { .. } => return Err(UnexpectedReply::Ended),
        };
        Ok(())
    }

    fn on_gradient(&mut self, [loss]: [f32; 1]) -> StepState {
        self.loss = loss;
        match self.keep {
            // The gradient may still be finite, but it must not be followed.
            _ if !loss.is_finite() => StepState::Done { gradient_norm: f32::NAN },
            Some(slot) => StepState::Keep { slot },
            None => self.after_gradient(),
        }
    }

    /// What follows the loss's own gradient.
    fn after_gradient(&self) -> StepState {
        match self.settings.proximity {
            Some(proximity) => StepState::CopyLower { proximity },
            None => self.update(),
        }
    }

    fn update(&self) -> StepState {
        StepState::Update(Update::new(UpdateSettings {
            optimizer: self.settings.optimizer,
            clip: self.settings.clip,
            rate: self.settings.schedule.rate(self.index),
            index: self.index,
            head: self.settings.head(),
            backbone: self.settings.backbone.then_some((self.settings.backbone_group(), Residual)),
        }))
    }
}

machine!(DescentStep => StepRecord);

/// A whole stage of plain descent: pretraining, head warm-up, fine-tuning.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Descent {
    settings: DescentSettings,
    ticket: Ticket,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
enum State {
    Step(DescentStep),
    Report(StepRecord),
    Done(Completion),
}

impl Descent {
    /// The stage, before its first step.
    pub fn new(settings: DescentSettings) -> Self {
        let state = State::Step(DescentStep::new(settings, 0));
        Self { settings, ticket: Ticket::default(), state }
    }

    fn advance(&mut self, reply: Reply, scalars: &mut [f32]) -> Result<(), UnexpectedReply> {
        self.state = match self.state {
            State::Step(mut step) => match forward(&mut step, reply, scalars)? {
                Some(record) if is_finite(&record) => State::Report(record),
                Some(record) => State::Done(Completion::Diverged { index: record.index }),
                None => State::Step(step),
            },
            State::Report(record) if record.index + 1 < self.settings.steps() => {
                State::Step(DescentStep::new(self.settings, record.index + 1))
            }
            State::Report(_) => State::Done(Completion::Finished),
            State::Done(_) => return Err(UnexpectedReply::Ended),
        };
        Ok(())
    }
}

impl Machine for Descent {
    type Output = Completion;

    fn pending(&self) -> Pending<Completion> {
        match self.state {
            State::Step(step) => Pending::Request(self.ticket, step.request()),
            State::Report(record) => Pending::Event(self.ticket, Event::Step(record)),
            State::Done(completion) => Pending::Done(completion),
        }
    }

    step!();
}

/// Whether the step was taken.
pub(crate) fn is_finite(record: &StepRecord) -> bool {
    record.gradient_norm.is_finite()
}
