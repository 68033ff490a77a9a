//! Which buffer takes how many bytes.

use core::mem::size_of;

use crate::device::Device;
use crate::network::NtXent;
use crate::pretext::Pass;
use crate::shape::{
    ClassifierParameters, DOWNSTREAM_BATCH, EMBEDDING, EncoderParameters, PIXELS,
    ProjectorParameters, VIEWS,
};
use crate::{Downstream, Pretext, Rows};

/// One line of the memory table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Buffer {
    /// What it holds.
    pub name: &'static str,
    /// How many of these there are.
    pub count: u32,
    /// Bytes of one.
    pub bytes: u32,
}

impl Buffer {
    const fn new<V>(name: &'static str, count: u32) -> Self {
        Self { name, count, bytes: size_of::<V>() as u32 }
    }

    /// Bytes of all.
    pub const fn total(&self) -> u32 {
        self.count * self.bytes
    }
}

/// Every buffer of [`Device`]; the last line is what the others leave: machine, settings,
/// positions, padding. The totals add up to [`Device::BYTES`].
pub const fn memory_table() -> [Buffer; 12] {
    type Views = Rows<f32, VIEWS, PIXELS>;
    type Frames = Rows<f32, DOWNSTREAM_BATCH, PIXELS>;
    let loss = Buffer::new::<NtXent<f32, VIEWS, EMBEDDING>>("pretext: loss", 1);
    let rest_of_downstream = (size_of::<Downstream<f32>>() - size_of::<Frames>()) as u32;
    let named = [
        Buffer::new::<EncoderParameters<f32>>("backbone: parameters (lower, upper)", 2),
        Buffer::new::<EncoderParameters<f32>>("backbone: momenta (lower, upper)", 2),
        Buffer::new::<EncoderParameters<f32>>("backbone: solver and gradients", 4),
        Buffer::new::<ProjectorParameters<f32>>("pretext head: parameters, momentum, gradient", 3),
        Buffer::new::<ClassifierParameters<f32>>("downstream head: the same and direct term", 4),
        Buffer::new::<Views>("pretext: views", 1),
        Buffer::new::<Pass<f32>>("pretext: values, tangents, cotangents, their tangents", 4),
        loss,
        Buffer::new::<Frames>("downstream: frames", 1),
        Buffer {
            name: "downstream: activations, cotangents, labels",
            count: 1,
            bytes: rest_of_downstream,
        },
        Buffer::new::<[f32; crate::SCALARS]>("scalar workspace", 1),
    ];
    let mut table = [loss; 12];
    let mut rest = Device::BYTES as u32;
    let mut i = 0;
    while i < named.len() {
        rest -= named[i].total();
        table[i] = named[i];
        i += 1;
    }
    table[named.len()] = Buffer { name: "machine, settings, positions", count: 1, bytes: rest };
    table
}

/// What the shipped configuration may take: 128 KiB of RAM (STM32F405) less stack and the board's own.
#[cfg(not(feature = "small"))]
const BUDGET: usize = 96 * 1024;
/// Of 16 KiB (nRF51822, FE310) three and a half are for the stack.
#[cfg(feature = "small")]
const BUDGET: usize = 12 * 1024 + 512 - 16;
const _: () = assert!(Device::BYTES <= BUDGET);

/// The pretext network's memory is what the table says it is.
const _: () = assert!(
    size_of::<Pretext<f32>>()
        == size_of::<Rows<f32, VIEWS, PIXELS>>()
            + 4 * size_of::<Pass<f32>>()
            + size_of::<NtXent<f32, VIEWS, EMBEDDING>>()
);
