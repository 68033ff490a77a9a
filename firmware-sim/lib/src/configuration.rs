//! What a device is made of, chosen when its program is compiled.

use core::fmt::Debug;

use bissl_core::LinearSolver;

use crate::Blank;
use crate::model::Model;
use crate::plan::Plan;

/// A device: its networks and batches, and the memory that they need.
///
/// ```
/// use bissl_firmware::{Configuration, Input, Layer, Model, Curvature, Plan, Program};
///
/// #[derive(Clone, Copy, Debug, PartialEq)]
/// struct Small;
///
/// impl Configuration for Small {
///     const MODEL: Model = Model {
///         input: Input { channels: 1, height: 8, width: 8, range: [0.0, 1.0] },
///         encoder: &[Layer::Dense { inputs: 64, outputs: 4, bias: true, relu: true }],
///         frozen: 0,
///         projector: &[Layer::Dense { inputs: 4, outputs: 4, bias: false, relu: false }],
///         classes: 10,
///         pretext_batch: 4,
///         product_batch: 4,
///         downstream_batch: 4,
///         curvature: Curvature::Hessian,
///         basis: 0,
///         basis_products: 0,
///         shared: true,
///     };
///     type Memory = [f32; Plan::new(&Self::MODEL).floats];
///     type Solver = bissl_core::ConjugateGradient;
/// }
///
/// // What it takes is known before anything runs.
/// const _: () = assert!(Program::<Small>::BYTES <= 16 * 1024);
/// ```
pub trait Configuration: 'static + Copy + Debug + PartialEq {
    /// Networks and batches.
    const MODEL: Model;

    /// `[f32; Plan::new(&Self::MODEL).floats]`. Rust cannot express this for all configurations at
    /// once.
    type Memory: Memory;

    /// The solver of the upper level's linear systems. `bissl_core::Solver` contains every solver
    /// and lets settings choose at run time; a single solver takes less flash, RAM and stack.
    type Solver: LinearSolver;

    /// Whether something works tensor by tensor: LARS, or the layer-wise solver. A device that
    /// needs neither pays no flash for it.
    const SEGMENTS: bool = false;

    /// The layout of the memory.
    const PLAN: Plan = Plan::new(&Self::MODEL);

    /// The model as a `'static` reference, for those who keep one.
    const MODEL_REF: &'static Model = &Self::MODEL;
}

/// An array of floats.
pub trait Memory: Blank + Clone + Debug + PartialEq {
    /// All floats.
    fn floats(&self) -> &[f32];

    /// All floats, to write.
    fn floats_mut(&mut self) -> &mut [f32];
}

impl<const N: usize> Memory for [f32; N] {
    fn floats(&self) -> &[f32] {
        self
    }

    fn floats_mut(&mut self) -> &mut [f32] {
        self
    }
}
