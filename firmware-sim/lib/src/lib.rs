//! The device program: bilevel self-supervised training on fixed arrays.
//!
//! A sensor delivers frames (pictures, or windows of samples), most of them unlabelled. The device
//! has an encoder, which was pretrained elsewhere and kept in flash, or which the device pretrains
//! itself (NT-Xent on two augmented views). It aligns the encoder with its task by the bilevel
//! stage and then fine-tunes it. The state machines of `bissl-core` drive the training, the same
//! ones as on a PC.
//!
//! | part | what it is |
//! |---|---|
//! | [`Program`] | the whole state and the superloop: one [`tick`](Program::tick), one request |
//! | [`Configuration`] | what a device is made of, chosen at compile time |
//! | [`Model`], [`Layer`] | networks as data: their sizes, and what of them is trained |
//! | [`Plan`] | where everything lies in memory |
//! | [`Checkpoints`] | the state in flash, in two slots: what a power cut leaves behind |
//! | [`Image`] | a network that was pretrained elsewhere, read from flash |
//! | [`FrameSource`] | what is in flash: frames, and pretrained weights |
//! | [`Kernels`] | matrix products and elementwise operations; what an accelerator port replaces |
//! | [`network`] | the four passes of a Hessian-vector product, and the losses |
//! | [`Pretext`], [`Downstream`] | the two levels' arithmetic, generic in the float type |
//!
//! No allocator, no panic, no clock. Training is bit-identical on every processor: floats are only
//! added, subtracted, multiplied, divided and compared, sums have a fixed order, all other
//! functions come from the pinned `libm`, and random numbers are integers.
#![no_std]
#![forbid(unsafe_code)]

mod checkpoint;
mod configuration;
mod downstream;
mod fault;
mod frames;
mod hash;
mod image;
mod kernels;
mod memory;
mod model;
pub mod network;
mod plan;
mod pretext;
mod problem;
mod program;
mod real;
mod registers;
mod settings;
mod shipped;

pub use checkpoint::{BLOCK, CheckpointError, Checkpoints, Crc, Restored, Saved, SlotState};
pub use configuration::{Configuration, Memory};
pub use downstream::Downstream;
pub use fault::{Corpus, Fault};
pub use frames::{Augmentation, FlashFrames, FrameSource, Sample, Scale};
pub use hash::Fnv;
pub use image::{CHANNELS_MAX, Image, ImageError, Part, image_words, layer_words};
pub use kernels::{Blocked, Compact, Kernels, Matrix, MatrixMut};
pub use memory::{Buffer, memory_table};
pub use model::{Convolution, Curvature, Input, Layer, Model, activations, outputs, parameters};
pub use plan::{Plan, Space, Span};
pub use pretext::{LowerParameters, Pretext, PretextMemory};
pub use problem::Session;
pub use program::{Exchange, Program, SCALARS, Tick};
pub use real::{Blank, Real};
pub use settings::{Hyperparameters, Lengths, PRETEXT_VIEWS, Settings, Stage, Start, TEMPERATURE};
pub use shipped::{
    ConvolutionalDigitsDevice, DigitsDevice, LargeDigitsDevice, SmallDigitsDevice, WatchDevice,
};
