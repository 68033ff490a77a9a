//! Networks with the four passes that exact Hessian-vector products need, and the losses on top.
//!
//! A [`Layer`] has four passes ([`Passes`], Pearlmutter 1994): forward, tangent, backward, and the
//! tangent of backward. A [`Network`] is a sequence of layers with residual sums over one flat
//! parameter vector; a [`Builder`] composes it. A [`Linearization`] keeps one batch's values, so
//! that each product costs only the tangent work. Losses see only the small outputs and are written
//! once, on [dual tensors](dual::Dual).
//!
//! Each layer has its own file. A new layer of this package is a file, its lines here, and its name
//! in `built_in` (`erased.rs`). A layer of another package changes nothing here.

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
mod head;
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
pub use head::{classifier, mlp_head, plain_head};
pub use layer::{Cotangents, Direction, Layer, Layout, Passes};
pub use layered::{LayerSpec, layered, layered_features};
pub use linear::Linear;
pub use linearization::{Curvature, Linearization, LinearizationSettings, Recompute};
pub use parameters::{Init, ParameterTable, Parameters, Segment};
pub use pool::{AveragePool, MaxPool};
pub use relu::Relu;
pub use resnet::{Architecture, BackboneSettings, Stem, backbone, feature_maps, output_width};
pub use sequence::{Forward, Network};
pub use shape::{BuildError, Shape, Unfit};
pub use statistics::StatisticsUpdates;
pub use tower::{Gradients, Running, Tower, TowerParameters};
