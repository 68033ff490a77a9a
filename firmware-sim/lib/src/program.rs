//! The superloop: one request per call.

mod state;

use core::marker::PhantomData;

use bissl_core::{
    Alternation, Completion, Descent, Event, Group, LinearSolver, Machine, Pending, Register,
    Reply, Request, Ticket,
};
use serde::{Deserialize, Serialize};

pub(crate) use self::state::StateError;
use crate::configuration::Memory;
use crate::hash::Fnv;
use crate::problem::{Position, Session, classify};
use crate::{Blank, Configuration, Fault, FrameSource, Kernels, Settings, Stage};

/// Most scalars that machine and driver exchange. The longest replies are LARS's pairs of segment
/// norms and the dots with a solver's basis.
pub const SCALARS: usize = 8;

/// A device's program that trains itself: it is the whole state, and nothing is outside it.
///
/// It has no clock, no input and no output: its owner calls [`tick`](Self::tick) and lends it the
/// frames and the kernels. It may be put aside (copied, stored) between any two ticks.
#[derive(Clone, Debug, PartialEq)]
pub struct Program<C: Configuration> {
    memory: C::Memory,
    scalars: [f32; SCALARS],
    position: Position,
    settings: Given<C::Solver>,
    phase: Phase<C::Solver>,
    ticks: u64,
    /// A request was performed, but the machine does not have its reply yet.
    performed: bool,
}

impl<C: Configuration> Default for Program<C> {
    fn default() -> Self {
        Self::new()
    }
}

/// What one tick did.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Tick {
    /// Nothing: training has not begun, or is over.
    Idle,
    /// A stage began and its fresh weights were drawn.
    Begun(Stage),
    /// A request was performed.
    Performed(Exchange),
    /// The machine reported.
    Event(Event),
    /// A stage ended; the next tick begins the next, if there is one.
    Ended(Stage),
}

/// A request with its reply.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Exchange {
    /// The request.
    pub request: Request,
    /// The reply.
    pub reply: Reply,
    /// The workspace as the machine saw it; a reply's scalars are at its front.
    pub scalars: [f32; SCALARS],
}

impl Exchange {
    /// The reply's scalars.
    pub fn reply_scalars(&self) -> &[f32] {
        match self.reply {
            Reply::Ack => &[],
            Reply::Scalars(count) => self.scalars.get(..count as usize).unwrap_or(&self.scalars),
        }
    }
}

/// The representation is fixed so that a device at rest is all zeros: a `static` of it takes no
/// flash.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[repr(u8)]
#[serde(bound = "")]
#[expect(clippy::large_enum_variant, reason = "there is no allocator to box the machine with")]
enum Phase<S: LinearSolver> {
    Idle,
    Ready {
        stage: Stage,
        /// Whether this is the first stage, which initialises the weights.
        first: bool,
    },
    Running {
        stage: Stage,
        machine: Stepper<S>,
    },
    Finished,
    /// Not serialised: a device that failed must not come back as one that did not.
    #[serde(skip)]
    Failed(Fault),
}

/// What the device trains with. As in [`Phase`], the representation is fixed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[repr(u8)]
#[serde(bound = "")]
#[expect(clippy::large_enum_variant, reason = "there is no allocator to box the settings with")]
enum Given<S: LinearSolver> {
    Nothing,
    Settings(Settings<S>),
}

/// The machine of a stage.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(bound = "")]
enum Stepper<S: LinearSolver> {
    Descent(Descent),
    Alternation(Alternation<S>),
}

impl<S: LinearSolver> Stepper<S> {
    fn new(settings: &Settings<S>, stage: Stage) -> Self {
        match (stage, &settings.pretrain, &settings.align) {
            (Stage::Pretrain, Some(pretrain), _) => Self::Descent(Descent::new(*pretrain)),
            (Stage::WarmUp, ..) => Self::Descent(Descent::new(settings.warm_up)),
            (Stage::Align, _, Some(align)) => Self::Alternation(Alternation::new(*align)),
            (Stage::Pretrain | Stage::Align | Stage::Finetune, ..) => {
                Self::Descent(Descent::new(settings.finetune))
            }
        }
    }

    fn pending(&self) -> Pending<Completion> {
        match self {
            Self::Descent(machine) => machine.pending(),
            Self::Alternation(machine) => machine.pending(),
        }
    }

    fn step(&mut self, ticket: Ticket, reply: Reply, scalars: &mut [f32]) -> Result<(), Fault> {
        match self {
            Self::Descent(machine) => machine.step(ticket, reply, scalars)?,
            Self::Alternation(machine) => machine.step(ticket, reply, scalars)?,
        }
        Ok(())
    }
}

impl<C: Configuration> Program<C> {
    /// Bytes of the whole state, without frames and code in flash.
    pub const BYTES: usize = core::mem::size_of::<Self>();

    /// A device at rest. It is a constant of zeros, so a `static` holds it without a copy on the
    /// stack or in flash.
    pub const fn new() -> Self {
        const {
            let floats = core::mem::size_of::<C::Memory>() / core::mem::size_of::<f32>();
            assert!(floats == C::PLAN.floats, "`Memory` is `[f32; Plan::new(&MODEL).floats]`");
        }
        Self {
            memory: C::Memory::BLANK,
            scalars: [0.0; SCALARS],
            position: Position::NEW,
            settings: Given::Nothing,
            phase: Phase::Idle,
            ticks: 0,
            performed: false,
        }
    }

    /// Starts the training from its beginning, whatever the device did before.
    pub fn begin(&mut self, settings: Settings<C::Solver>) {
        self.scalars = [0.0; SCALARS];
        self.ticks = 0;
        self.phase = Phase::Ready { stage: settings.first(), first: true };
        self.settings = Given::Settings(settings);
        self.performed = false;
    }

    /// Takes the conventional path: the next stage is fine-tuning.
    ///
    /// Has an effect only between [`Tick::Ended`]`(Pretrain)` and the next tick.
    pub fn skip_alignment(&mut self) {
        if let (Given::Settings(settings), Phase::Ready { stage, first: false }) =
            (&mut self.settings, &mut self.phase)
            && *stage == Stage::WarmUp
        {
            settings.align = None;
            *stage = Stage::Finetune;
        }
    }

    /// Ticks since [`begin`](Self::begin) that did something.
    pub fn ticks(&self) -> u64 {
        self.ticks
    }

    /// The alignment stage's machine, while that stage runs.
    pub fn alternation(&self) -> Option<&Alternation<C::Solver>> {
        match &self.phase {
            Phase::Running { machine: Stepper::Alternation(machine), .. } => Some(machine),
            _ => None,
        }
    }

    /// FNV-1a of everything that determines how training continues: parameters, momenta, work
    /// vectors, machine, settings, positions.
    ///
    /// Activations are left out: a linearisation is a function of the parameters and its number,
    /// which are included.
    ///
    /// # Errors
    /// The fault that stopped the device, or a number of the state is not finite.
    pub fn hash(&self) -> Result<u64, Fault> {
        let mut hash = Fnv::new();
        match &self.phase {
            Phase::Failed(fault) => return Err(*fault),
            Phase::Idle => hash.write(&[0]),
            Phase::Ready { stage, first } => hash.write_value(&(1u8, stage, first))?,
            Phase::Running { stage, machine } => hash.write_value(&(2u8, stage, machine))?,
            Phase::Finished => hash.write(&[3]),
        }
        hash.write(&self.ticks.to_le_bytes());
        hash.write_value(&self.settings)?;
        hash.write_value(&self.position)?;
        hash.write_floats(&self.scalars)?;
        hash.write_floats(self.registers())?;
        Ok(hash.value())
    }

    /// The parameters of a group (of the backbone, the trained ones): layer by layer, W then b.
    pub fn parameters(&self, group: Group) -> &[f32] {
        let place = C::PLAN.register(Register::Parameter(group));
        place.and_then(|(_, span)| self.memory.floats().get(span.range())).unwrap_or(&[])
    }

    /// Parameters, momenta and work vectors.
    pub(crate) fn registers(&self) -> &[f32] {
        self.memory.floats().get(C::PLAN.registers.range()).unwrap_or(&[])
    }

    pub(crate) fn registers_mut(&mut self) -> &mut [f32] {
        self.memory.floats_mut().get_mut(C::PLAN.registers.range()).unwrap_or(&mut [])
    }

    /// Performs one request of the pending machine, or acknowledges one event.
    ///
    /// Its time is bounded by that of a pretext gradient or of a curvature product. It is made of
    /// [`pending`](Self::pending), [`perform`](Self::perform) and [`complete`](Self::complete); a
    /// device whose accelerator works asynchronously calls these instead.
    ///
    /// # Errors
    /// The fault that stopped the device, now or at an earlier tick.
    pub fn tick<S: FrameSource, K: Kernels<f32>>(
        &mut self,
        source: &S,
        kernels: &mut K,
    ) -> Result<Tick, Fault> {
        match &self.phase {
            Phase::Idle | Phase::Finished => Ok(Tick::Idle),
            Phase::Failed(fault) => Err(*fault),
            Phase::Ready { .. } => {
                let begun = self.begin_stage(source, kernels);
                self.counted(begun)
            }
            Phase::Running { .. } => match self.pending() {
                Some((ticket, request)) => {
                    let reply = self.perform(source, kernels, &request)?;
                    let exchange = Exchange { request, reply, scalars: self.scalars };
                    self.complete(ticket, reply)?;
                    Ok(Tick::Performed(exchange))
                }
                None => self.advance(),
            },
        }
    }

    /// Counts a tick that did something; a fault stops the device.
    fn counted(&mut self, tick: Result<Tick, Fault>) -> Result<Tick, Fault> {
        match tick {
            Ok(_) => self.ticks = self.ticks.wrapping_add(1),
            Err(fault) => self.phase = Phase::Failed(fault),
        }
        tick
    }

    /// The request that waits for its reply. `None` if the next [`tick`](Self::tick) does something
    /// else, which needs no waiting.
    #[inline(never)]
    pub fn pending(&self) -> Option<(Ticket, Request)> {
        match &self.phase {
            Phase::Running { machine, .. } => match machine.pending() {
                Pending::Request(ticket, request) => Some((ticket, request)),
                Pending::Event(..) | Pending::Done(_) => None,
            },
            _ => None,
        }
    }

    /// Performs a request and keeps the scalars of its reply. The machine does not learn of it
    /// until [`complete`](Self::complete).
    ///
    /// # Errors
    /// The fault that stops the device. [`Fault::PerformedAlready`], for a request whose reply has
    /// not been handed on, does not stop it.
    #[inline(never)]
    pub fn perform<S: FrameSource, K: Kernels<f32>>(
        &mut self,
        source: &S,
        kernels: &mut K,
        request: &Request,
    ) -> Result<Reply, Fault> {
        let Given::Settings(settings) = &self.settings else { return Err(Fault::NotAsked) };
        if self.performed {
            return Err(Fault::PerformedAlready);
        }
        let mut session = Session::<C, _, _> {
            memory: self.memory.floats_mut(),
            position: &mut self.position,
            settings,
            source,
            kernels,
            configuration: PhantomData,
        };
        self.performed = true;
        let reply = session.perform(request, &mut self.scalars);
        if let Err(fault) = reply {
            self.phase = Phase::Failed(fault);
        }
        reply
    }

    /// Hands the machine the reply to the request with this ticket.
    ///
    /// # Errors
    /// The reply is for another request, of the wrong kind, or came before
    /// [`perform`](Self::perform). It changes nothing: late and reordered completions are caught
    /// here.
    #[inline(never)]
    pub fn complete(&mut self, ticket: Ticket, reply: Reply) -> Result<(), Fault> {
        let Phase::Running { machine, .. } = &mut self.phase else { return Err(Fault::NotAsked) };
        if !self.performed {
            return Err(Fault::NotPerformed);
        }
        machine.step(ticket, reply, &mut self.scalars)?;
        self.performed = false;
        self.ticks = self.ticks.wrapping_add(1);
        Ok(())
    }

    /// A separate function, because its frame holds a whole machine, which must not be on the stack
    /// below a request.
    #[inline(never)]
    fn begin_stage<S: FrameSource, K: Kernels<f32>>(
        &mut self,
        source: &S,
        kernels: &mut K,
    ) -> Result<Tick, Fault> {
        let Phase::Ready { stage, first } = self.phase else { return Ok(Tick::Idle) };
        let Given::Settings(settings) = &self.settings else { return Ok(Tick::Idle) };
        let mut session = Session::<C, _, _> {
            memory: self.memory.floats_mut(),
            position: &mut self.position,
            settings,
            source,
            kernels,
            configuration: PhantomData,
        };
        session.begin(stage, first)?;
        self.phase = Phase::Running { stage, machine: Stepper::new(settings, stage) };
        Ok(Tick::Begun(stage))
    }

    /// Acknowledges an event, or ends a stage.
    #[inline(never)]
    fn advance(&mut self) -> Result<Tick, Fault> {
        let Phase::Running { stage, machine, .. } = &mut self.phase else { return Ok(Tick::Idle) };
        let tick = match machine.pending() {
            Pending::Event(ticket, event) => {
                machine.step(ticket, Reply::Ack, &mut self.scalars)?;
                Ok(Tick::Event(event))
            }
            Pending::Done(Completion::Diverged { index }) => {
                Err(Fault::Diverged { stage: *stage, index })
            }
            Pending::Done(Completion::Finished) => Ok(self.end_stage()),
            Pending::Request(..) => return Ok(Tick::Idle),
        };
        self.counted(tick)
    }

    /// A separate function, for the same reason as [`begin_stage`](Self::begin_stage).
    #[inline(never)]
    fn end_stage(&mut self) -> Tick {
        let Phase::Running { stage, .. } = self.phase else { return Tick::Idle };
        let Given::Settings(settings) = &self.settings else { return Tick::Idle };
        self.phase = match settings.after(stage) {
            Some(stage) => Phase::Ready { stage, first: false },
            None => Phase::Finished,
        };
        Tick::Ended(stage)
    }

    /// The problem by itself, for tests of a port. What is done to it is done to this device's
    /// memory, so a training does not survive it.
    pub fn session<'a, S: FrameSource, K: Kernels<f32>>(
        &'a mut self,
        settings: &'a Settings<C::Solver>,
        source: &'a S,
        kernels: &'a mut K,
    ) -> Session<'a, C, S, K> {
        self.phase = Phase::Idle;
        Session {
            memory: self.memory.floats_mut(),
            position: &mut self.position,
            settings,
            source,
            kernels,
            configuration: PhantomData,
        }
    }

    /// The class that θ_P and φ_D predict for a frame, whose length must be the model's.
    ///
    /// # Errors
    /// The flash does not hold the weights.
    pub fn classify<S: FrameSource, K: Kernels<f32>>(
        &mut self,
        source: &S,
        kernels: &mut K,
        frame: &[f32],
    ) -> Result<u8, Fault> {
        classify::<C, _, _>(self.memory.floats_mut(), source, kernels, frame)
    }
}
