//! Networks with the four passes that exact Hessian-vector products need, and the losses on top.
//!
//! A [`Layer`] has forward, tangent, backward, and the tangent of backward (Pearlmutter 1994); a
//! [`Network`] is a sequence of them with residual sums, over one flat parameter vector. A
//! [`Linearization`] keeps one batch's values, so that each product afterwards costs the tangent work
//! alone. Losses see only the small outputs and are written once, on [dual tensors](dual::Dual).

pub mod arithmetic;
pub mod dual;
pub mod layer;
pub mod loss;
pub mod multi_label;
pub mod pretext;

mod batch_norm;
mod block;
mod conv;
mod layered;
mod linear;
mod linearization;
mod parameters;
mod pool;
mod relu;
mod resnet;
mod sequence;
mod tower;

pub use batch_norm::{BatchNorm, EPSILON};
pub use conv::Conv;
pub use layer::{Cotangents, Direction, Layer, Saved};
pub use layered::{LayerSpec, layered, layered_features, plain_head};
pub use linear::Linear;
pub use linearization::{Curvature, Linearization, LinearizationSettings, Recompute};
pub use parameters::{Init, ParameterTable, Segment};
pub use pool::{AveragePool, MaxPool};
pub use relu::Relu;
pub use resnet::{
    Architecture, BackboneSettings, Stem, backbone, classifier, mlp_head, output_width,
    predicting_head,
};
pub use sequence::{Backward, Bars, Forward, Linearized, Network, Want};
pub use tower::{Gradients, Running, Tower, TowerParameters};
