//! The bilevel problem as the core sees it: registers, the lower objective, the upper objective.

use bissl_core::{
    AdamCoefficients, BatchOrder, Evaluation, Group, LowerObjective, Register, RegisterFile,
    Request, Stream, UpperObjective,
};

use crate::downstream::Downstream;
use crate::frames::{labelled, unlabelled};
use crate::network::Layer;
use crate::pretext::Pretext;
use crate::registers::{
    Axpby, CopyTo, DOWNSTREAM_HEAD, Dots, LOWER_BACKBONE, LowerOperands, PRETEXT_HEAD,
    ProductOperands, Registers, UPPER_BACKBONE, UpperOperands, Zero,
};
use crate::settings::{PRETEXT_VIEWS, TEMPERATURE};
use crate::shape::{Classifier, DOWNSTREAM_BATCH, Encoder, PIXELS, PRETEXT_BATCH, Projector};
use crate::{Blank, Corpus, Fault, FrameSource, Kernels, Stage};

/// What a random stream is for; with the stage it makes the stream's domain.
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

/// Vectors, and the networks' working memory.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Problem {
    pub(crate) registers: Registers,
    pub(crate) pretext: Pretext<f32>,
    pub(crate) downstream: Downstream<f32>,
    pub(crate) seed: u64,
    pub(crate) stage: Stage,
    /// The alternation whose pretext batch the kept linearisation is of.
    pub(crate) linearized: Option<u32>,
}

impl Problem {
    pub(crate) const fn new() -> Self {
        Self {
            registers: Registers::BLANK,
            pretext: Pretext::BLANK,
            downstream: Downstream::BLANK,
            seed: 0,
            stage: Stage::Pretrain,
            linearized: None,
        }
    }

    fn stream(&self, purpose: Purpose) -> Stream {
        Stream::new(self.seed, purpose as u16 * 8 + self.stage as u16)
    }
}

/// The problem with what is lent for one tick: where frames come from, and what multiplies matrices.
pub(crate) struct Session<'a, S, K> {
    pub(crate) problem: &'a mut Problem,
    pub(crate) source: &'a S,
    pub(crate) kernels: &'a mut K,
}

impl<S: FrameSource, K: Kernels<f32>> Session<'_, S, K> {
    /// Makes the vectors ready for a stage: fresh weights where they are due, momenta 0.
    pub(crate) fn begin(&mut self, seed: u64, stage: Stage) -> Result<(), Fault> {
        self.problem.seed = seed;
        self.problem.stage = stage;
        self.problem.linearized = None;
        for (corpus, needed) in [
            (Corpus::Unlabelled, PRETEXT_BATCH as u32),
            (Corpus::Labelled, DOWNSTREAM_BATCH as u32),
        ] {
            let found = self.source.count(corpus);
            if found < needed {
                return Err(Fault::TooFewFrames { corpus, found, needed });
            }
        }
        match stage {
            Stage::Pretrain => self.draw_lower(),
            Stage::WarmUp | Stage::Finetune => self.draw_head(),
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

    fn draw_lower(&mut self) {
        let mut draws = self.problem.stream(Purpose::Weights).at(0);
        if let Some(encoder) = self.problem.registers.backbone.get_mut(LOWER_BACKBONE) {
            <Encoder<1> as Layer<f32>>::initialize(encoder, &mut draws);
        }
        if let Some(projector) = self.problem.registers.pretext.get_mut(PRETEXT_HEAD) {
            <Projector<1> as Layer<f32>>::initialize(projector, &mut draws);
        }
    }

    fn draw_head(&mut self) {
        let mut draws = self.problem.stream(Purpose::Head).at(0);
        if let Some(classifier) = self.problem.registers.downstream.get_mut(DOWNSTREAM_HEAD) {
            <Classifier<1> as Layer<f32>>::initialize(classifier, &mut draws);
        }
    }

    /// Fills the pretext network's rows with the two views of each frame of batch `index`.
    fn read_views(&mut self, order: Purpose, views: Purpose, index: u32) -> Result<(), Fault> {
        let (order, views) = (self.problem.stream(order), self.problem.stream(views));
        let count = self.source.count(Corpus::Unlabelled);
        let batch = BatchOrder::new(order, count, PRETEXT_BATCH as u32)?;
        let (firsts, seconds) = self.problem.pretext.views.split_at_mut(PRETEXT_BATCH);
        let mut frame = [0.0; PIXELS];
        for (row, (first, second)) in (0..).zip(firsts.iter_mut().zip(seconds)) {
            unlabelled(self.source, batch.item(index, row), &mut frame)?;
            let mut draws = views.at((u64::from(index) << 32) | u64::from(row));
            PRETEXT_VIEWS.view(&frame, &mut draws, first);
            PRETEXT_VIEWS.view(&frame, &mut draws, second);
        }
        Ok(())
    }

    fn read_labelled(&mut self, index: u32) -> Result<(), Fault> {
        let count = self.source.count(Corpus::Labelled);
        let order = self.problem.stream(Purpose::DownstreamOrder);
        let batch = BatchOrder::new(order, count, DOWNSTREAM_BATCH as u32)?;
        let rows =
            self.problem.downstream.frames.iter_mut().zip(&mut self.problem.downstream.labels);
        for (row, (frame, label)) in (0..).zip(rows) {
            *label = labelled(self.source, batch.item(index, row), frame)?;
        }
        Ok(())
    }

    /// Gradient of the pretext loss on the rows as they are.
    fn pretext_gradient(
        &mut self,
        backbone: Option<Register>,
        head: Option<Register>,
    ) -> Result<f32, Fault> {
        let LowerOperands { at, encoder_gradient, projector_gradient } =
            self.problem.registers.lower(backbone, head)?;
        let kernels = &mut *self.kernels;
        Ok(self.problem.pretext.gradient(
            kernels,
            &at,
            TEMPERATURE,
            encoder_gradient,
            projector_gradient,
        ))
    }
}

/// The loss, if it is a number.
fn finite(loss: f32, evaluation: Evaluation, index: u32) -> Result<f32, Fault> {
    if loss.is_finite() { Ok(loss) } else { Err(Fault::LossNotFinite { evaluation, index }) }
}

impl<S: FrameSource, K: Kernels<f32>> RegisterFile for Session<'_, S, K> {
    type Error = Fault;

    fn zero(&mut self, dst: Register) -> Result<(), Fault> {
        self.problem.registers.perform(dst, dst, &mut Zero)
    }

    fn copy(&mut self, src: Register, dst: Register) -> Result<(), Fault> {
        self.problem.registers.perform(src, dst, &mut CopyTo)
    }

    fn axpby(&mut self, a: f32, x: Register, b: f32, y: Register) -> Result<(), Fault> {
        self.segment_axpby(&[a], x, b, y)
    }

    fn dots(&mut self, pairs: &[(Register, Register)], scalars: &mut [f32]) -> Result<(), Fault> {
        for ((x, y), scalar) in pairs.iter().zip(scalars) {
            *scalar = 0.0;
            let mut dots = Dots { kernels: &mut *self.kernels, sink: |dot| *scalar += dot };
            self.problem.registers.perform(*x, *y, &mut dots)?;
        }
        Ok(())
    }

    fn segment_dots(
        &mut self,
        pairs: &[(Register, Register)],
        scalars: &mut [f32],
    ) -> Result<u32, Fault> {
        let mut room = scalars.iter_mut();
        let mut count = 0u32;
        let mut short = false;
        for (x, y) in pairs {
            let sink = |dot| match room.next() {
                Some(scalar) => {
                    *scalar = dot;
                    count = count.saturating_add(1);
                }
                None => short = true,
            };
            self.problem.registers.perform(
                *x,
                *y,
                &mut Dots { kernels: &mut *self.kernels, sink },
            )?;
        }
        if short {
            return Err(Fault::ShortWorkspace);
        }
        Ok(count.checked_div(pairs.len() as u32).unwrap_or(0))
    }

    fn segment_axpby(
        &mut self,
        scalars: &[f32],
        x: Register,
        b: f32,
        y: Register,
    ) -> Result<(), Fault> {
        let mut axpby = Axpby { kernels: &mut *self.kernels, a: scalars, b };
        self.problem.registers.perform(x, y, &mut axpby)
    }

    fn adam(
        &mut self,
        group: Group,
        gradient: Register,
        coefficients: &AdamCoefficients,
    ) -> Result<(), Fault> {
        // There is no room for second moments on this device.
        Err(Fault::Unsupported(Request::Adam { group, gradient, coefficients: *coefficients }))
    }

    fn sketch(&mut self, dst: Register, index: u32) -> Result<(), Fault> {
        Err(Fault::Unsupported(Request::Sketch { dst, index }))
    }
}

impl<S: FrameSource, K: Kernels<f32>> LowerObjective for Session<'_, S, K> {
    fn lower_gradient(
        &mut self,
        index: u32,
        backbone: Option<Register>,
        head: Register,
    ) -> Result<f32, Fault> {
        self.problem.linearized = None;
        self.read_views(Purpose::PretextOrder, Purpose::PretextViews, index)?;
        let loss = self.pretext_gradient(backbone, Some(head))?;
        finite(loss, Evaluation::Lower, index)
    }

    fn linearize(&mut self, index: u32) -> Result<(), Fault> {
        self.problem.linearized = None;
        self.read_views(Purpose::ProductOrder, Purpose::ProductViews, index)?;
        let loss = self.pretext_gradient(None, None)?;
        finite(loss, Evaluation::Lower, index)?;
        self.problem.linearized = Some(index);
        Ok(())
    }

    fn product(&mut self, src: Register, dst: Register) -> Result<(), Fault> {
        if self.problem.linearized.is_none() {
            return Err(Fault::NotLinearized);
        }
        let ProductOperands { at, direction, out } = self.problem.registers.product(src, dst)?;
        self.problem.pretext.product(self.kernels, &at, TEMPERATURE, direction, out);
        Ok(())
    }
}

impl<S: FrameSource, K: Kernels<f32>> UpperObjective for Session<'_, S, K> {
    fn upper_gradient(
        &mut self,
        at: Evaluation,
        index: u32,
        backbone: Option<Register>,
        head: Register,
    ) -> Result<f32, Fault> {
        self.read_labelled(index)?;
        let group = match at {
            Evaluation::UpperAtUpper => UPPER_BACKBONE,
            Evaluation::UpperAtLower | Evaluation::Lower => LOWER_BACKBONE,
        };
        let UpperOperands { encoder, classifier, encoder_gradient, classifier_gradient } =
            self.problem.registers.upper(group, backbone, head)?;
        let loss = self.problem.downstream.gradient(
            self.kernels,
            (encoder, classifier),
            encoder_gradient,
            classifier_gradient,
        );
        finite(loss, at, index)
    }
}
