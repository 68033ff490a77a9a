//! The vectors that the machines name.

use bissl_core::{Group, Register};

use crate::pretext::LowerParameters;
use crate::shape::{ClassifierParameters, EncoderParameters, ProjectorParameters};
use crate::{Blank, Fault, Kernels, Vector};

/// Every vector of the training state: parameters, momenta, gradients, the solver's work.
///
/// Each space is an array, so that two of its vectors can be borrowed at once, checked.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Registers {
    pub(crate) backbone: [EncoderParameters<f32>; 8],
    pub(crate) pretext: [ProjectorParameters<f32>; 3],
    pub(crate) downstream: [ClassifierParameters<f32>; 4],
}

impl Blank for Registers {
    const BLANK: Self =
        Self { backbone: Blank::BLANK, pretext: Blank::BLANK, downstream: Blank::BLANK };
}

/// Where a register is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Slot {
    Backbone(usize),
    Pretext(usize),
    Downstream(usize),
}

/// Slots that the objectives use by name.
pub(crate) const LOWER_BACKBONE: usize = 0;
pub(crate) const UPPER_BACKBONE: usize = 1;
pub(crate) const PRETEXT_HEAD: usize = 0;
pub(crate) const DOWNSTREAM_HEAD: usize = 0;

/// Where `register` is on this device.
pub(crate) fn slot(register: Register) -> Result<Slot, Fault> {
    Ok(match register {
        Register::Parameter(Group::LowerBackbone) => Slot::Backbone(LOWER_BACKBONE),
        Register::Parameter(Group::UpperBackbone) => Slot::Backbone(UPPER_BACKBONE),
        Register::Momentum(Group::LowerBackbone) => Slot::Backbone(2),
        Register::Momentum(Group::UpperBackbone) => Slot::Backbone(3),
        Register::Solution => Slot::Backbone(4),
        Register::Residual => Slot::Backbone(5),
        Register::Direction => Slot::Backbone(6),
        Register::Product => Slot::Backbone(7),
        Register::Parameter(Group::PretextHead) => Slot::Pretext(PRETEXT_HEAD),
        Register::Momentum(Group::PretextHead) => Slot::Pretext(1),
        Register::PretextHeadGradient => Slot::Pretext(2),
        Register::Parameter(Group::DownstreamHead) => Slot::Downstream(DOWNSTREAM_HEAD),
        Register::Momentum(Group::DownstreamHead) => Slot::Downstream(1),
        Register::DownstreamHeadGradient => Slot::Downstream(2),
        Register::DownstreamHeadDirect => Slot::Downstream(3),
        missing => return Err(Fault::RegisterMissing(missing)),
    })
}

/// An operation on one or two vectors of the same space, whichever space that is.
pub(crate) trait Operation {
    /// `y` is read and written; `x` is another vector.
    fn pair<V: Vector<f32>>(&mut self, x: &V, y: &mut V);

    /// `x` and `y` are the same vector.
    fn single<V: Vector<f32>>(&mut self, y: &mut V);
}

impl Registers {
    /// Performs `operation` on two registers.
    pub(crate) fn perform<O: Operation>(
        &mut self,
        x: Register,
        y: Register,
        operation: &mut O,
    ) -> Result<(), Fault> {
        let differ = Fault::RegistersDiffer(x, y);
        match (slot(x)?, slot(y)?) {
            (Slot::Backbone(i), Slot::Backbone(j)) => on(&mut self.backbone, i, j, operation),
            (Slot::Pretext(i), Slot::Pretext(j)) => on(&mut self.pretext, i, j, operation),
            (Slot::Downstream(i), Slot::Downstream(j)) => on(&mut self.downstream, i, j, operation),
            _ => None,
        }
        .ok_or(differ)
    }

    /// θ_P, φ_P, and room for their gradients.
    pub(crate) fn lower(
        &mut self,
        backbone: Option<Register>,
        head: Option<Register>,
    ) -> Result<LowerOperands<'_>, Fault> {
        let backbone = backbone.map(backbone_slot).transpose()?;
        let head = head.map(pretext_slot).transpose()?;
        let (encoder, encoder_gradient) = operands(&mut self.backbone, LOWER_BACKBONE, backbone)?;
        let (projector, projector_gradient) = operands(&mut self.pretext, PRETEXT_HEAD, head)?;
        let at = LowerParameters { encoder, projector };
        Ok(LowerOperands { at, encoder_gradient, projector_gradient })
    }

    /// θ of `group`, φ_D, and room for their gradients.
    pub(crate) fn upper(
        &mut self,
        encoder: usize,
        backbone: Option<Register>,
        head: Register,
    ) -> Result<UpperOperands<'_>, Fault> {
        let missing = Fault::RegisterMissing(head);
        let backbone = backbone.map(backbone_slot).transpose()?;
        let head = downstream_slot(head)?;
        let (encoder, encoder_gradient) = operands(&mut self.backbone, encoder, backbone)?;
        let (classifier, gradient) = operands(&mut self.downstream, DOWNSTREAM_HEAD, Some(head))?;
        let classifier_gradient = gradient.ok_or(missing)?;
        Ok(UpperOperands { encoder, classifier, encoder_gradient, classifier_gradient })
    }

    /// θ_P, φ_P, a direction, and room for its product with H.
    pub(crate) fn product(
        &mut self,
        src: Register,
        dst: Register,
    ) -> Result<ProductOperands<'_>, Fault> {
        let slots = [LOWER_BACKBONE, backbone_slot(src)?, backbone_slot(dst)?];
        let disjoint = self.backbone.get_disjoint_mut(slots);
        let [encoder, direction, out] = disjoint.map_err(|_| Fault::RegistersDiffer(src, dst))?;
        let [projector, ..] = &self.pretext;
        Ok(ProductOperands { at: LowerParameters { encoder, projector }, direction, out })
    }

    /// Calls `visit` on every segment of every register, in order.
    pub(crate) fn visit(&self, visit: &mut impl FnMut(&[f32])) {
        let mut first = |segment: &[f32], _: &[f32]| visit(segment);
        self.backbone.iter().for_each(|v| v.zip(v, &mut first));
        self.pretext.iter().for_each(|v| v.zip(v, &mut first));
        self.downstream.iter().for_each(|v| v.zip(v, &mut first));
    }
}

impl Registers {
    /// Floats of all registers.
    pub(crate) const FLOATS: u32 = (size_of::<Self>() / size_of::<f32>()) as u32;

    /// Calls `visit` on every segment of every register, in the order of [`visit`](Self::visit).
    pub(crate) fn visit_mut(&mut self, visit: &mut impl FnMut(&mut [f32])) {
        self.backbone.iter_mut().for_each(|v| v.each_mut(visit));
        self.pretext.iter_mut().for_each(|v| v.each_mut(visit));
        self.downstream.iter_mut().for_each(|v| v.each_mut(visit));
    }
}

/// What a lower gradient reads and writes.
pub(crate) struct LowerOperands<'a> {
    pub(crate) at: LowerParameters<'a, f32>,
    pub(crate) encoder_gradient: Option<&'a mut EncoderParameters<f32>>,
    pub(crate) projector_gradient: Option<&'a mut ProjectorParameters<f32>>,
}

/// What an upper gradient reads and writes.
pub(crate) struct UpperOperands<'a> {
    pub(crate) encoder: &'a EncoderParameters<f32>,
    pub(crate) classifier: &'a ClassifierParameters<f32>,
    pub(crate) encoder_gradient: Option<&'a mut EncoderParameters<f32>>,
    pub(crate) classifier_gradient: &'a mut ClassifierParameters<f32>,
}

/// What a curvature product reads and writes.
pub(crate) struct ProductOperands<'a> {
    pub(crate) at: LowerParameters<'a, f32>,
    pub(crate) direction: &'a EncoderParameters<f32>,
    pub(crate) out: &'a mut EncoderParameters<f32>,
}

fn backbone_slot(register: Register) -> Result<usize, Fault> {
    match slot(register)? {
        Slot::Backbone(index) => Ok(index),
        _ => Err(Fault::RegisterMissing(register)),
    }
}

fn pretext_slot(register: Register) -> Result<usize, Fault> {
    match slot(register)? {
        Slot::Pretext(index) => Ok(index),
        _ => Err(Fault::RegisterMissing(register)),
    }
}

fn downstream_slot(register: Register) -> Result<usize, Fault> {
    match slot(register)? {
        Slot::Downstream(index) => Ok(index),
        _ => Err(Fault::RegisterMissing(register)),
    }
}

/// One vector to read and, perhaps, another to write.
fn operands<V, const N: usize>(
    vectors: &mut [V; N],
    read: usize,
    write: Option<usize>,
) -> Result<(&V, Option<&mut V>), Fault> {
    match write {
        Some(write) => {
            let [read, write] = vectors
                .get_disjoint_mut([read, write])
                .map_err(|_| Fault::GradientOverParameter)?;
            Ok((read, Some(write)))
        }
        None => Ok((vectors.get(read).ok_or(Fault::GradientOverParameter)?, None)),
    }
}

fn on<O: Operation, V: Vector<f32>, const N: usize>(
    vectors: &mut [V; N],
    x: usize,
    y: usize,
    operation: &mut O,
) -> Option<()> {
    if x == y {
        operation.single(vectors.get_mut(y)?);
    } else {
        let [x, y] = vectors.get_disjoint_mut([x, y]).ok()?;
        operation.pair(x, y);
    }
    Some(())
}

/// `y ← x`.
pub(crate) struct CopyTo;

impl Operation for CopyTo {
    fn pair<V: Vector<f32>>(&mut self, x: &V, y: &mut V) {
        y.zip_mut(x, &mut |y, x| {
            for (y, x) in y.iter_mut().zip(x) {
                *y = *x;
            }
        });
    }

    fn single<V: Vector<f32>>(&mut self, _: &mut V) {}
}

/// `y ← 0`.
pub(crate) struct Zero;

impl Operation for Zero {
    fn pair<V: Vector<f32>>(&mut self, _: &V, y: &mut V) {
        self.single(y);
    }

    fn single<V: Vector<f32>>(&mut self, y: &mut V) {
        y.each_mut(&mut |y| y.fill(0.0));
    }
}

/// `y ← aₛ x + b y` on segment `s`; the last factor serves all segments after it.
pub(crate) struct Axpby<'a, K> {
    pub(crate) kernels: &'a mut K,
    pub(crate) a: &'a [f32],
    pub(crate) b: f32,
}

impl<K: Kernels<f32>> Operation for Axpby<'_, K> {
    fn pair<V: Vector<f32>>(&mut self, x: &V, y: &mut V) {
        let mut factors = self.a.iter().chain(core::iter::repeat(self.a.last().unwrap_or(&0.0)));
        y.zip_mut(x, &mut |y, x| {
            if let Some(a) = factors.next() {
                self.kernels.axpby(*a, x, self.b, y);
            }
        });
    }

    fn single<V: Vector<f32>>(&mut self, y: &mut V) {
        let mut factors = self.a.iter().chain(core::iter::repeat(self.a.last().unwrap_or(&0.0)));
        y.each_mut(&mut |y| {
            if let Some(a) = factors.next() {
                // A factor of 0 reads nothing, here as in the kernel.
                let factor = *a + self.b;
                y.iter_mut().for_each(|y| *y = if factor == 0.0 { 0.0 } else { factor * *y });
            }
        });
    }
}

/// Hands on one dot for each segment, in order.
pub(crate) struct Dots<'a, K, F> {
    pub(crate) kernels: &'a mut K,
    pub(crate) sink: F,
}

impl<K: Kernels<f32>, F: FnMut(f32)> Operation for Dots<'_, K, F> {
    fn pair<V: Vector<f32>>(&mut self, x: &V, y: &mut V) {
        x.zip(y, &mut |x, y| (self.sink)(self.kernels.dot(x, y)));
    }

    fn single<V: Vector<f32>>(&mut self, y: &mut V) {
        y.zip(y, &mut |x, y| (self.sink)(self.kernels.dot(x, y)));
    }
}
