//! The layout of a device's one array of floats.
//!
//! | part | lives |
//! |---|---|
//! | registers | always; this is what checkpoints hold |
//! | linearisation: views, values, cotangents, loss | from a pretext gradient to the next |
//! | scratch | for one request: tangents of a product, *or* the downstream batch, *or* a frame on its way in |
//!
//! Registers whose lifetimes do not overlap share memory. The pretext head's gradient shares it
//! with the solver's iterate and product, since a lower step has neither. The downstream head's
//! direct term shares it with residual and direction, since a solve is over when that term is
//! taken.

use bissl_core::{Bank, Group, Register};

use crate::Fault;
use crate::model::{Model, activations, parameters};

/// A part of the array.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// Its first float.
    pub start: usize,
    /// Floats.
    pub floats: usize,
}

impl Span {
    /// From the first float to the one after the last.
    pub const fn range(self) -> core::ops::Range<usize> {
        self.start..self.start + self.floats
    }

    const fn after(self) -> usize {
        self.start + self.floats
    }
}

/// The space that a register's vector is in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Space {
    /// θ, the trained part of it.
    Backbone,
    /// φ_P.
    PretextHead,
    /// φ_D.
    DownstreamHead,
}

/// The layout of a model's memory; a constant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Floats of θ.
    pub backbone: usize,
    /// Floats of φ_P.
    pub pretext_head: usize,
    /// Floats of φ_D.
    pub downstream_head: usize,
    basis: usize,
    basis_products: usize,
    /// Floats of the two vectors that a head's vector may share memory with; 0 if it may not.
    room: usize,
    /// All registers.
    pub registers: Span,
    /// Rows of the pretext network, as inputs of the trained layers.
    pub views: Span,
    /// Outputs of all layers of the pretext network.
    pub values: Span,
    /// Their cotangents.
    pub cotangents: Span,
    /// Unit vectors, their cotangents, norms, softmax.
    pub loss: Span,
    /// Working memory of one request.
    pub scratch: Span,
    /// Floats in all.
    pub floats: usize,
    /// Floats of the scratch that a product needs.
    pub product_scratch: usize,
    /// Floats of the scratch that a downstream gradient needs.
    pub downstream_scratch: usize,
}

/// Vectors of the backbone's length that every device has: parameters, momenta, the solver's four.
pub(crate) const BACKBONE_VECTORS: usize = 8;
const PRETEXT_VECTORS: usize = 2;
const DOWNSTREAM_VECTORS: usize = 3;

const fn max(a: usize, b: usize) -> usize {
    if a > b { a } else { b }
}

impl Plan {
    /// The layout for `model`.
    ///
    /// # Panics
    /// The model is invalid ([`Model::check`]); in a constant, this is a compile error.
    pub const fn new(model: &Model) -> Self {
        model.check();
        let backbone = parameters(model.trained());
        let pretext_head = parameters(model.projector);
        let downstream_head = model.classifier().parameters();
        let (basis, basis_products) = (model.basis as usize, model.basis_products as usize);
        let vectors = BACKBONE_VECTORS + basis + basis_products;
        let room = if model.shared { 2 * backbone } else { 0 };
        let apart = Self::beyond(pretext_head, room) + Self::beyond(downstream_head, room);
        let floats = vectors * backbone
            + PRETEXT_VECTORS * pretext_head
            + DOWNSTREAM_VECTORS * downstream_head
            + apart;
        let registers = Span { start: 0, floats };

        let rows = 2 * model.pretext_batch as usize;
        let inner = activations(model.trained()) + activations(model.projector);
        let embedding = model.embedding();
        let views = Span { start: registers.after(), floats: rows * model.trained_inputs() };
        let values = Span { start: views.after(), floats: rows * inner };
        let cotangents = Span { start: values.after(), floats: rows * inner };
        let loss = Span { start: cotangents.after(), floats: rows * (2 * embedding + 1 + rows) };

        let product_rows = 2 * model.product_batch as usize;
        let product_scratch = product_rows * (2 * inner + 2 * embedding + product_rows + 1);
        let samples = model.downstream_batch as usize;
        let of_sample = activations(model.trained()) + model.classes as usize;
        let incoming = if model.frozen == 0 {
            model.input.floats()
        } else {
            2 * model.input.floats() + activations(model.in_flash())
        };
        let downstream_scratch = samples * (model.trained_inputs() + 1 + 2 * of_sample) + incoming;
        let scratch =
            Span { start: loss.after(), floats: max(product_scratch, downstream_scratch) };
        Self {
            backbone,
            pretext_head,
            downstream_head,
            basis,
            basis_products,
            room,
            registers,
            views,
            values,
            cotangents,
            loss,
            scratch,
            floats: scratch.after(),
            product_scratch,
            downstream_scratch,
        }
    }

    /// Floats of memory of its own for a head's vector: all of them if it does not fit in `room`,
    /// else 0.
    const fn beyond(head: usize, room: usize) -> usize {
        if head > room { head } else { 0 }
    }

    /// Place and space of a register; `None` if this device has no such register.
    pub const fn register(&self, register: Register) -> Option<(Space, Span)> {
        let heads = self.vectors() * self.backbone;
        let downstream = heads + PRETEXT_VECTORS * self.pretext_head;
        let beyond = downstream + DOWNSTREAM_VECTORS * self.downstream_head;
        let (space, start) = match register {
            Register::Parameter(Group::LowerBackbone) => (Space::Backbone, 0),
            Register::Parameter(Group::UpperBackbone) => (Space::Backbone, 1),
            Register::Momentum(Group::LowerBackbone) => (Space::Backbone, 2),
            Register::Momentum(Group::UpperBackbone) => (Space::Backbone, 3),
            Register::Solution => (Space::Backbone, 4),
            Register::Product => (Space::Backbone, 5),
            Register::Residual => (Space::Backbone, 6),
            Register::Direction => (Space::Backbone, 7),
            Register::Banked(Bank::Basis, i) if (i as usize) < self.basis => {
                (Space::Backbone, BACKBONE_VECTORS + i as usize)
            }
            Register::Banked(Bank::BasisProduct, i) if (i as usize) < self.basis_products => {
                (Space::Backbone, BACKBONE_VECTORS + self.basis + i as usize)
            }
            Register::Parameter(Group::PretextHead) => (Space::PretextHead, heads),
            Register::Momentum(Group::PretextHead) => {
                (Space::PretextHead, heads + self.pretext_head)
            }
            Register::PretextHeadGradient => {
                let apart = Self::beyond(self.pretext_head, self.room) > 0;
                (Space::PretextHead, if apart { beyond } else { 4 * self.backbone })
            }
            Register::Parameter(Group::DownstreamHead) => (Space::DownstreamHead, downstream),
            Register::Momentum(Group::DownstreamHead) => {
                (Space::DownstreamHead, downstream + self.downstream_head)
            }
            Register::DownstreamHeadGradient => {
                (Space::DownstreamHead, downstream + 2 * self.downstream_head)
            }
            Register::DownstreamHeadDirect => {
                let apart = Self::beyond(self.downstream_head, self.room) > 0;
                let behind = beyond + Self::beyond(self.pretext_head, self.room);
                (Space::DownstreamHead, if apart { behind } else { 6 * self.backbone })
            }
            _ => return None,
        };
        let span = match space {
            Space::Backbone => Span { start: start * self.backbone, floats: self.backbone },
            Space::PretextHead => Span { start, floats: self.pretext_head },
            Space::DownstreamHead => Span { start, floats: self.downstream_head },
        };
        Some((space, span))
    }

    /// The place of a register.
    ///
    /// # Errors
    /// [`Fault::RegisterMissing`].
    pub(crate) fn span(&self, register: Register) -> Result<Span, Fault> {
        self.register(register).map(|(_, span)| span).ok_or(Fault::RegisterMissing(register))
    }

    /// Four registers at once, with an empty slice for `None`: callers that need fewer share this
    /// one function.
    ///
    /// # Errors
    /// A register does not exist, or two share storage; no request needs both at a time.
    pub(crate) fn disjoint<'a>(
        &self,
        memory: &'a mut [f32],
        registers: [Option<Register>; 4],
    ) -> Result<[&'a mut [f32]; 4], Fault> {
        let mut ranges = [const { 0..0 }; 4];
        for (range, register) in ranges.iter_mut().zip(registers) {
            if let Some(register) = register {
                *range = self.span(register)?.range();
            }
        }
        memory.get_disjoint_mut(ranges).map_err(|_| Fault::RegistersShareMemory)
    }

    const fn vectors(&self) -> usize {
        BACKBONE_VECTORS + self.basis + self.basis_products
    }

    /// Vectors of the backbone's length.
    pub const fn backbone_vectors(&self) -> usize {
        self.vectors()
    }
}
