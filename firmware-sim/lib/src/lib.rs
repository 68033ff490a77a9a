//! The device program: bilevel self-supervised training on fixed arrays.
//!
//! A sensor delivers 8 × 8 frames, most of them unlabelled. The device pretrains a small backbone on
//! them (NT-Xent on two augmented views), aligns it with its task by the bilevel stage, and fine-tunes
//! it, driven by the state machines of `bissl-core`: the same that train on a PC.
//!
//! | part | what it is |
//! |---|---|
//! | [`Device`] | the whole state and the superloop: one [`tick`](Device::tick), one request |
//! | [`Checkpoints`] | the state in flash, in two slots: what a power cut leaves behind |
//! | [`FrameSource`] | where frames come from: flash, or a sensor |
//! | [`Kernels`] | matrix products and elementwise operations; what an accelerator port replaces |
//! | [`network`] | layers with the four passes of a Hessian-vector product, and the losses |
//! | [`Pretext`], [`Downstream`] | the two levels' arithmetic, generic in the float type |
//! | [`shape`] | the sizes of the shipped configuration |
//!
//! No allocator, no panic, no clock. Training is bit-identical on every processor: floats are only
//! added, subtracted, multiplied, divided and compared, sums have a fixed order, other functions come
//! from the pinned `libm`, and random numbers are integers.
#![no_std]
#![forbid(unsafe_code)]

mod checkpoint;
mod device;
mod downstream;
mod fault;
mod frames;
mod hash;
mod kernels;
mod memory;
pub mod network;
mod pretext;
mod problem;
mod real;
mod registers;
mod settings;
pub mod shape;
mod vector;

pub use checkpoint::{BLOCK, CheckpointError, Checkpoints, Crc, Restored, Saved, SlotState};
pub use device::{Device, Exchange, SCALARS, Tick};
pub use downstream::Downstream;
pub use fault::{Corpus, Fault};
pub use frames::{Augmentation, FlashFrames, Frame, FrameSource};
pub use hash::Fnv;
pub use kernels::{Kernels, Portable, Rows};
pub use memory::{Buffer, memory_table};
pub use pretext::{LowerParameters, Pretext};
pub use real::{Blank, Real};
pub use settings::{Lengths, PRETEXT_VIEWS, Settings, Stage, TEMPERATURE};
pub use vector::{Pair, Vector};
