//! The networks of the device: the four passes over layers, and the two losses.

mod cross_entropy;
mod geometry;
mod layer;
mod nt_xent;
mod sequence;

pub use cross_entropy::{cross_entropy, largest};
pub(crate) use layer::at_least_one;
pub use nt_xent::{NtXent, NtXentScratch};
pub use sequence::{Direction, Sequence};
