//! The bilevel problem as the core sees it: the lower objective and the upper objective.

use core::marker::PhantomData;

use bissl_core::{
    BatchOrder, Evaluation, Group, LowerObjective, Register, RegisterFile, Stream, UpperObjective,
};
use serde::{Deserialize, Serialize};

use crate::downstream::Downstream;
use crate::frames::{labelled, unlabelled};
use crate::model::{Model, activations, parameters};
use crate::network::{Sequence, at_least_one};
use crate::plan::Plan;
use crate::pretext::{LowerParameters, Pretext, PretextMemory, take};
use crate::settings::{Settings, Start};
use crate::{Configuration, Corpus, Fault, FrameSource, Kernels, Stage};

/// The purpose of a random stream; together with the stage it is the stream's domain.
#[derive(Clone, Copy)]
enum Purpose {
    Weights,
    Head,
    PretextOrder,
    PretextViews,
    ProductOrder,
    ProductViews,
    DownstreamOrder,
}

/// The state of the problem beside the registers.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Position {
    pub(crate) stage: Stage,
    /// The alternation whose pretext batch is linearised.
    pub(crate) linearized: Option<u32>,
}

impl Position {
    pub(crate) const NEW: Self = Self { stage: Stage::Pretrain, linearized: None };
}

/// The bilevel problem of a device, as the core's traits see it. It borrows the source of frames
/// and the kernels.
///
/// A [`Program`](crate::Program) makes one for each tick. Tests of a port's conformance make one by
/// itself ([`Program::session`](crate::Program::session)).
#[derive(Debug)]
pub struct Session<'a, C: Configuration, S, K> {
    pub(crate) memory: &'a mut [f32],
    pub(crate) position: &'a mut Position,
    pub(crate) settings: &'a Settings<C::Solver>,
    pub(crate) source: &'a S,
    pub(crate) kernels: &'a mut K,
    pub(crate) configuration: PhantomData<C>,
}

/// The memory after the registers, split into its parts.
struct Parts<'a> {
    registers: &'a mut [f32],
    pretext: PretextMemory<'a, f32>,
    scratch: &'a mut [f32],
}

fn parts<'a>(plan: &Plan, memory: &'a mut [f32]) -> Result<Parts<'a>, Fault> {
    let cut = || {
        let mut rest = memory;
        Some(Parts {
            registers: take(&mut rest, plan.registers.floats)?,
            pretext: PretextMemory {
                views: take(&mut rest, plan.views.floats)?,
                values: take(&mut rest, plan.values.floats)?,
                cotangents: take(&mut rest, plan.cotangents.floats)?,
                loss: take(&mut rest, plan.loss.floats)?,
            },
            scratch: take(&mut rest, plan.scratch.floats)?,
        })
    };
    cut().ok_or(Fault::MemoryMismatch)
}

/// A frame on its way from the source to the trained layers.
struct Incoming<'a> {
    frame: &'a mut [f32],
    /// A view of the frame, and the output of the layers in flash for it; empty if no layer is in
    /// flash.
    view: &'a mut [f32],
    trace: &'a mut [f32],
}

impl<'a> Incoming<'a> {
    fn new(model: &Model, mut scratch: &'a mut [f32]) -> Option<Self> {
        let floats = model.input.floats();
        let flash = model.in_flash();
        let of_view = if flash.is_empty() { 0 } else { floats };
        Some(Self {
            frame: take(&mut scratch, floats)?,
            view: take(&mut scratch, of_view)?,
            trace: take(&mut scratch, activations(flash))?,
        })
    }
}

/// The output of the layers in flash for `frame`.
fn through_flash<K: Kernels<f32>>(
    model: &Model,
    weights: &[f32],
    kernels: &mut K,
    (frame, trace): (&[f32], &mut [f32]),
    row: &mut [f32],
) -> Option<()> {
    let layers = model.in_flash();
    let weights = weights.get(..parameters(layers))?;
    Sequence { layers, rows: 1 }.forward(kernels, weights, frame, trace)?;
    let output = trace.get(trace.len().checked_sub(row.len())?..)?;
    row.iter_mut().zip(output).for_each(|(to, from)| *to = *from);
    Some(())
}

impl<C: Configuration, S: FrameSource, K: Kernels<f32>> Session<'_, C, S, K> {
    const MODEL: &'static Model = C::MODEL_REF;

    /// What products are derivatives of: the loss on product batch `index`, and its gradient,
    /// written to `backbone` and `head`.
    ///
    /// [`linearize`](LowerObjective::linearize) draws other batches than
    /// [`lower_gradient`](LowerObjective::lower_gradient), so differences of the latter's gradients
    /// are not the products.
    ///
    /// # Errors
    /// Frames are missing or not sound, or the loss is not finite.
    pub fn product_gradient(
        &mut self,
        index: u32,
        backbone: Option<Register>,
        head: Register,
    ) -> Result<f32, Fault> {
        self.position.linearized = None;
        let batch = Self::MODEL.product_batch;
        self.read_views((Purpose::ProductOrder, Purpose::ProductViews), batch, index)?;
        let loss = self.pretext_gradient(batch, backbone, Some(head))?;
        finite(loss, Evaluation::Lower, index)
    }

    fn stream(&self, purpose: Purpose) -> Stream {
        Stream::new(self.settings.seed, purpose as u16 * 8 + self.position.stage as u16)
    }

    /// Prepares the vectors for a stage: sets momenta to 0 and draws the weights that start afresh,
    /// all of them in the `first` stage.
    ///
    /// # Errors
    /// Frames or weights are missing.
    pub fn begin(&mut self, stage: Stage, first: bool) -> Result<(), Fault> {
        *self.position = Position { stage, linearized: None };
        for (corpus, needed) in [
            (Corpus::Unlabelled, u32::from(Self::MODEL.pretext_batch)),
            (Corpus::Labelled, u32::from(Self::MODEL.downstream_batch)),
        ] {
            let found = self.source.count(corpus);
            if found < needed {
                return Err(Fault::TooFewFrames { corpus, found, needed });
            }
        }
        if first {
            match self.settings.start {
                Start::Random => self.draw_lower()?,
                Start::Flash => self.load_lower()?,
            }
        }
        match stage {
            Stage::Pretrain => {}
            Stage::WarmUp | Stage::Finetune => self.draw_head()?,
            Stage::Align => self.copy(
                Register::Parameter(Group::LowerBackbone),
                Register::Parameter(Group::UpperBackbone),
            )?,
        }
        for group in
            [Group::LowerBackbone, Group::UpperBackbone, Group::PretextHead, Group::DownstreamHead]
        {
            self.zero(Register::Momentum(group))?;
        }
        Ok(())
    }

    fn draw_lower(&mut self) -> Result<(), Fault> {
        if Self::MODEL.frozen > 0 {
            // The layers in flash come from a pretrained network, and the other layers belong to
            // them.
            self.weights()?;
        }
        let mut draws = self.stream(Purpose::Weights).at(0);
        let encoder = C::PLAN.span(Register::Parameter(Group::LowerBackbone))?.range();
        let projector = C::PLAN.span(Register::Parameter(Group::PretextHead))?.range();
        for (layers, range) in
            [(Self::MODEL.trained(), encoder), (Self::MODEL.projector, projector)]
        {
            let parameters = self.memory.get_mut(range).ok_or(Fault::MemoryMismatch)?;
            let sequence = Sequence { layers, rows: 1 };
            sequence.initialize(parameters, &mut draws).ok_or(Fault::MemoryMismatch)?;
        }
        Ok(())
    }

    /// The weights in flash, if their number is the model's.
    fn weights(&self) -> Result<&[f32], Fault> {
        let weights = self.source.weights();
        let (found, needed) = (weights.len() as u32, Self::MODEL.image_weights() as u32);
        if found == needed { Ok(weights) } else { Err(Fault::WeightsMissing { found, needed }) }
    }

    fn load_lower(&mut self) -> Result<(), Fault> {
        self.weights()?;
        let weights = self.source.weights();
        let frozen = parameters(Self::MODEL.in_flash());
        let encoder = parameters(Self::MODEL.encoder);
        let trained = weights.get(frozen..encoder).unwrap_or(&[]);
        let projector = weights.get(encoder..).unwrap_or(&[]);
        for (register, from) in [
            (Register::Parameter(Group::LowerBackbone), trained),
            (Register::Parameter(Group::PretextHead), projector),
        ] {
            let range = C::PLAN.span(register)?.range();
            let to = self.memory.get_mut(range).ok_or(Fault::MemoryMismatch)?;
            to.iter_mut().zip(from).for_each(|(to, from)| *to = *from);
            if !to.iter().all(|weight| weight.is_finite()) {
                return Err(Fault::StateNotFinite);
            }
        }
        Ok(())
    }

    fn draw_head(&mut self) -> Result<(), Fault> {
        let mut draws = self.stream(Purpose::Head).at(0);
        let range = C::PLAN.span(Register::Parameter(Group::DownstreamHead))?.range();
        let head = self.memory.get_mut(range).ok_or(Fault::MemoryMismatch)?;
        let layers = &[Self::MODEL.classifier()];
        Sequence { layers, rows: 1 }.initialize(head, &mut draws).ok_or(Fault::MemoryMismatch)
    }

    /// Fills the pretext network's rows with two views of each frame of batch `index`.
    fn read_views(
        &mut self,
        (order, views): (Purpose, Purpose),
        batch_frames: u16,
        index: u32,
    ) -> Result<(), Fault> {
        let (order, views) = (self.stream(order), self.stream(views));
        let count = self.source.count(Corpus::Unlabelled);
        let batch = BatchOrder::new(order, count, u32::from(batch_frames))?;
        let model = Self::MODEL;
        let Parts { pretext, scratch, .. } = parts(&C::PLAN, self.memory)?;
        let incoming = Incoming::new(model, scratch).ok_or(Fault::MemoryMismatch)?;
        let Incoming { frame, view, trace } = incoming;
        let width = at_least_one(model.trained_inputs());
        let half = usize::from(batch_frames) * width;
        let (firsts, rest) =
            pretext.views.split_at_mut_checked(half).ok_or(Fault::MemoryMismatch)?;
        for (row, (first, second)) in
            (0..u32::from(batch_frames)).zip(firsts.chunks_mut(width).zip(rest.chunks_mut(width)))
        {
            unlabelled(self.source, model, batch.item(index, row), frame)?;
            let mut draws = views.at((u64::from(index) << 32) | u64::from(row));
            for to in [first, second] {
                if model.frozen == 0 {
                    self.settings.views.view(&model.input, frame, &mut draws, to);
                } else {
                    self.settings.views.view(&model.input, frame, &mut draws, view);
                    let weights = self.source.weights();
                    through_flash(model, weights, self.kernels, (view, trace), to)
                        .ok_or(Fault::MemoryMismatch)?;
                }
            }
        }
        Ok(())
    }

    /// The loss on the views that were read; writes gradients to the registers that are given.
    fn pretext_gradient(
        &mut self,
        batch: u16,
        backbone: Option<Register>,
        head: Option<Register>,
    ) -> Result<f32, Fault> {
        let Parts { registers, pretext, .. } = parts(&C::PLAN, self.memory)?;
        let mut pretext = Pretext::new(Self::MODEL, batch, pretext, self.settings.temperature)
            .ok_or(Fault::MemoryMismatch)?;
        let [lower, own] = [Group::LowerBackbone, Group::PretextHead].map(Register::Parameter);
        let names = [Some(lower), Some(own), backbone, head];
        let [encoder, projector, to_backbone, to_head] = C::PLAN.disjoint(registers, names)?;
        let at = LowerParameters { encoder, projector };
        let loss = pretext.gradient(
            self.kernels,
            at,
            backbone.map(|_| to_backbone),
            head.map(|_| to_head),
        );
        loss.ok_or(Fault::MemoryMismatch)
    }

    /// Reads labelled batch `index`.
    fn read_labelled(&mut self, index: u32) -> Result<(), Fault> {
        let count = self.source.count(Corpus::Labelled);
        let order = self.stream(Purpose::DownstreamOrder);
        let model = Self::MODEL;
        let rows = model.downstream_batch;
        let batch = BatchOrder::new(order, count, u32::from(rows))?;
        let Parts { scratch, .. } = parts(&C::PLAN, self.memory)?;
        let (downstream, rest) =
            Downstream::new(model, usize::from(rows), scratch).ok_or(Fault::MemoryMismatch)?;
        let mut incoming = Incoming::new(model, rest).ok_or(Fault::MemoryMismatch)?;
        let width = at_least_one(model.trained_inputs());
        let rows = downstream.frames.chunks_mut(width).zip(downstream.labels.iter_mut());
        for (row, (to, label)) in (0..).zip(rows) {
            let number = labelled(self.source, model, batch.item(index, row), incoming.frame)?;
            *label = f32::from(number);
            take_in(model, self.source.weights(), self.kernels, &mut incoming, to)?;
        }
        Ok(())
    }
}

/// The class that θ_P and φ_D predict for a frame.
pub(crate) fn classify<C: Configuration, S: FrameSource, K: Kernels<f32>>(
    memory: &mut [f32],
    source: &S,
    kernels: &mut K,
    frame: &[f32],
) -> Result<u8, Fault> {
    let model = C::MODEL_REF;
    let Parts { registers, scratch, .. } = parts(&C::PLAN, memory)?;
    let (mut downstream, rest) = Downstream::new(model, 1, scratch).ok_or(Fault::MemoryMismatch)?;
    let mut incoming = Incoming::new(model, rest).ok_or(Fault::MemoryMismatch)?;
    incoming.frame.iter_mut().zip(frame).for_each(|(to, from)| *to = *from);
    take_in(model, source.weights(), kernels, &mut incoming, downstream.frames)?;
    let [lower, head] = [Group::LowerBackbone, Group::DownstreamHead].map(Register::Parameter);
    let [encoder, classifier, ..] =
        C::PLAN.disjoint(registers, [Some(lower), Some(head), None, None])?;
    downstream.classify(kernels, (encoder, classifier)).ok_or(Fault::MemoryMismatch)
}

/// The frame that was read, as an input of the trained layers.
fn take_in<K: Kernels<f32>>(
    model: &Model,
    weights: &[f32],
    kernels: &mut K,
    incoming: &mut Incoming<'_>,
    to: &mut [f32],
) -> Result<(), Fault> {
    let Incoming { frame, trace, .. } = incoming;
    if model.frozen == 0 {
        to.iter_mut().zip(frame.iter()).for_each(|(to, from)| *to = *from);
        return Ok(());
    }
    through_flash(model, weights, kernels, (frame, trace), to).ok_or(Fault::MemoryMismatch)
}

/// The loss, or a fault if it is not finite.
fn finite(loss: f32, evaluation: Evaluation, index: u32) -> Result<f32, Fault> {
    if loss.is_finite() { Ok(loss) } else { Err(Fault::LossNotFinite { evaluation, index }) }
}

impl<C: Configuration, S: FrameSource, K: Kernels<f32>> LowerObjective for Session<'_, C, S, K> {
    fn lower_gradient(
        &mut self,
        index: u32,
        backbone: Option<Register>,
        head: Register,
    ) -> Result<f32, Fault> {
        self.position.linearized = None;
        let batch = Self::MODEL.pretext_batch;
        self.read_views((Purpose::PretextOrder, Purpose::PretextViews), batch, index)?;
        let loss = self.pretext_gradient(batch, backbone, Some(head))?;
        finite(loss, Evaluation::Lower, index)
    }

    fn linearize(&mut self, index: u32) -> Result<(), Fault> {
        self.position.linearized = None;
        let batch = Self::MODEL.product_batch;
        self.read_views((Purpose::ProductOrder, Purpose::ProductViews), batch, index)?;
        let loss = self.pretext_gradient(batch, None, None)?;
        finite(loss, Evaluation::Lower, index)?;
        self.position.linearized = Some(index);
        Ok(())
    }

    fn product(&mut self, src: Register, dst: Register) -> Result<(), Fault> {
        if self.position.linearized.is_none() {
            return Err(Fault::NotLinearized);
        }
        let Parts { registers, pretext, scratch } = parts(&C::PLAN, self.memory)?;
        let batch = Self::MODEL.product_batch;
        let pretext = Pretext::new(Self::MODEL, batch, pretext, self.settings.temperature)
            .ok_or(Fault::MemoryMismatch)?;
        let [lower, head] = [Group::LowerBackbone, Group::PretextHead].map(Register::Parameter);
        let names = [lower, head, src, dst].map(Some);
        let [encoder, projector, direction, out] = C::PLAN.disjoint(registers, names)?;
        let at = LowerParameters { encoder, projector };
        pretext.product(self.kernels, at, scratch, direction, out).ok_or(Fault::MemoryMismatch)
    }
}

impl<C: Configuration, S: FrameSource, K: Kernels<f32>> UpperObjective for Session<'_, C, S, K> {
    fn upper_gradient(
        &mut self,
        at: Evaluation,
        index: u32,
        backbone: Option<Register>,
        head: Register,
    ) -> Result<f32, Fault> {
        self.read_labelled(index)?;
        let group = match at {
            Evaluation::UpperAtUpper => Group::UpperBackbone,
            Evaluation::UpperAtLower | Evaluation::Lower => Group::LowerBackbone,
        };
        let [encoder, classifier] = [group, Group::DownstreamHead].map(Register::Parameter);
        let Parts { registers, scratch, .. } = parts(&C::PLAN, self.memory)?;
        let rows = usize::from(Self::MODEL.downstream_batch);
        let (mut downstream, _) =
            Downstream::new(Self::MODEL, rows, scratch).ok_or(Fault::MemoryMismatch)?;
        let names = [Some(encoder), Some(classifier), backbone, Some(head)];
        let [encoder, classifier, to_backbone, to_head] = C::PLAN.disjoint(registers, names)?;
        let point = (&*encoder, &*classifier);
        let loss = downstream.gradient(self.kernels, point, backbone.map(|_| to_backbone), to_head);
        finite(loss.ok_or(Fault::MemoryMismatch)?, at, index)
    }
}
