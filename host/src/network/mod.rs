//! Networks with the four passes that exact Hessian-vector products need, and the losses on top.
//!
//! A [`Layer`] has forward, tangent, backward, and the tangent of backward ([`Passes`], Pearlmutter
//! 1994); a [`Network`] is a sequence of them with residual sums, over one flat parameter vector,
//! composed by a [`Builder`]. A [`Linearization`] keeps one batch's values, so that each product
//! afterwards costs the tangent work alone. Losses see only the small outputs and are written once,
//! on [dual tensors](dual::Dual).
//!
//! One file a layer. Another one of this package is a file, its lines here, and its name in
//! `built_in` (`erased.rs`); one of another package needs nothing here.

pub mod arithmetic;
pub mod dual;
pub mod layer;
pub mod loss;
pub mod multi_label;
pub mod pretext;

mod batch_norm;
mod block;
mod builder;
mod conv;
mod erased;
mod layered;
mod linear;
mod linearization;
mod parameters;
mod plan;
mod pool;
mod relu;
mod resnet;
mod sequence;
mod shape;
mod statistics;
mod tower;

pub use batch_norm::{BatchNorm, EPSILON, NormSaved};
pub use builder::Builder;
pub use conv::Conv;
pub use erased::{OnEveryBackend, Saved};
pub use layer::{Cotangents, Direction, Layer, Layout, Passes};
pub use layered::{LayerSpec, layered, layered_features, plain_head};
pub use linear::Linear;
pub use linearization::{Curvature, Linearization, LinearizationSettings, Recompute};
pub use parameters::{Init, ParameterTable, Parameters, Segment};
pub use pool::{AveragePool, MaxPool};
pub use relu::Relu;
pub use resnet::{
    Architecture, BackboneSettings, Stem, backbone, classifier, feature_maps, mlp_head,
    output_width, predicting_head,
};
pub use sequence::{Backward, Bars, Forward, Linearized, Network, Want};
pub use shape::{BuildError, Shape, Unfit};
pub use statistics::StatisticsUpdates;
pub use tower::{Gradients, Running, Tower, TowerParameters};
