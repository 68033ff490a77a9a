//! The networks of the device: layers with four passes, and the two losses.

mod cross_entropy;
mod dense;
mod layer;
mod nt_xent;

pub use cross_entropy::{cross_entropy, largest};
pub use dense::{Activation, Dense, DenseParameters, Linear, Relu};
pub use layer::{Chain, ChainTrace, Direction, Gradient, Layer, Moved, Passed, Point};
pub use nt_xent::NtXent;
