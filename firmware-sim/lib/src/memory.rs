//! Bytes of each buffer.

use core::mem::size_of;

use crate::plan::{BACKBONE_VECTORS, Plan};
use crate::{Configuration, Program};

/// One line of the memory table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Buffer {
    /// What the buffer holds.
    pub name: &'static str,
    /// Number of such buffers.
    pub count: u32,
    /// Bytes of one buffer.
    pub bytes: u32,
}

impl Buffer {
    const fn new(name: &'static str, count: usize, floats: usize) -> Self {
        Self { name, count: count as u32, bytes: (floats * size_of::<f32>()) as u32 }
    }

    /// Bytes of all such buffers.
    pub const fn total(&self) -> u32 {
        self.count * self.bytes
    }
}

/// Lines of [`memory_table`].
const LINES: usize = 12;

/// Every buffer of a [`Program`]. The last line is the rest: machine, settings, positions, scalars.
/// The totals add up to [`Program::BYTES`].
///
/// The scratch is as long as the longer of its two uses. Gradients of heads that fit over the
/// solver's vectors take no memory; those that do not fit have a line of their own.
pub const fn memory_table<C: Configuration>() -> [Buffer; LINES] {
    let plan: Plan = C::PLAN;
    let basis = plan.backbone_vectors() - BACKBONE_VECTORS;
    let listed = BACKBONE_VECTORS * plan.backbone
        + basis * plan.backbone
        + 2 * plan.pretext_head
        + 3 * plan.downstream_head;
    let named = [
        Buffer::new("backbone: parameters (lower, upper)", 2, plan.backbone),
        Buffer::new("backbone: momenta (lower, upper)", 2, plan.backbone),
        Buffer::new("backbone: solver and gradients", 4, plan.backbone),
        Buffer::new("backbone: what the solver keeps", basis, plan.backbone),
        Buffer::new("pretext head: parameters, momentum", 2, plan.pretext_head),
        Buffer::new("downstream head: parameters, momentum, gradient", 3, plan.downstream_head),
        Buffer::new("heads: gradients without room above", 1, plan.registers.floats - listed),
        Buffer::new("pretext: views", 1, plan.views.floats),
        Buffer::new("pretext: values, cotangents", 2, plan.values.floats),
        Buffer::new("pretext: loss", 1, plan.loss.floats),
        Buffer::new("scratch: product, or downstream batch", 1, plan.scratch.floats),
    ];
    let mut table = [Buffer::new("machine, settings, positions, scalars", 1, 0); LINES];
    let mut rest = Program::<C>::BYTES as u32;
    let mut i = 0;
    while i < named.len() {
        rest -= named[i].total();
        table[i] = named[i];
        i += 1;
    }
    table[named.len()].bytes = rest;
    table
}
