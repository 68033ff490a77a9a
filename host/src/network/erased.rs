//! Layers of any type in one network: their passes on a backend, and what these keep, without the type.

use std::any::Any;
use std::fmt::Debug;

use burn_tensor::Tensor;

use super::layer::{Cotangents, Direction, Layer, Passes};
use super::parameters::Parameters;
use super::{AveragePool, BatchNorm, Conv, Linear, MaxPool, Relu};
use crate::kernels::{self, Kernels};

/// What a layer keeps of its forward pass; only the layer knows its type.
#[derive(Debug)]
pub struct Saved(Box<dyn Kept>);

trait Kept: Any + Debug + Send {}

impl<T: Any + Debug + Send> Kept for T {}

impl Saved {
    fn get<T: 'static>(&self) -> &T {
        let kept: &dyn Any = &*self.0;
        kept.downcast_ref().expect("a network's passes get what its own forward pass kept")
    }
}

/// [`Passes`] without the type of what they keep.
pub(super) trait Erased<B: Kernels>: Debug + Send + Sync {
    fn forward(&self, p: Parameters<'_, B>, x: Tensor<B, 4>) -> (Tensor<B, 4>, Saved);

    fn evaluate(
        &self,
        p: Parameters<'_, B>,
        running: Parameters<'_, B>,
        x: Tensor<B, 4>,
    ) -> Tensor<B, 4>;

    fn tangent(
        &self,
        p: Parameters<'_, B>,
        saved: &Saved,
        x_dot: Option<&Tensor<B, 4>>,
        p_dot: Option<Parameters<'_, B>>,
    ) -> Option<Tensor<B, 4>>;

    fn backward(
        &self,
        p: Parameters<'_, B>,
        saved: &Saved,
        y_bar: &Tensor<B, 4>,
        out: &mut Cotangents<B>,
    ) -> Option<Tensor<B, 4>>;

    fn backward_tangent(
        &self,
        p: Parameters<'_, B>,
        saved: &Saved,
        direction: Direction<'_, B>,
        y_bar: &Tensor<B, 4>,
        out: &mut Cotangents<B>,
    ) -> Option<Tensor<B, 4>>;

    fn batch_statistics(&self, saved: &Saved) -> Vec<Tensor<B, 1>>;
}

impl<B: Kernels, L: Passes<B>> Erased<B> for L {
    fn forward(&self, p: Parameters<'_, B>, x: Tensor<B, 4>) -> (Tensor<B, 4>, Saved) {
        let (y, kept) = Passes::forward(self, p, x);
        (y, Saved(Box::new(kept)))
    }

    fn evaluate(
        &self,
        p: Parameters<'_, B>,
        running: Parameters<'_, B>,
        x: Tensor<B, 4>,
    ) -> Tensor<B, 4> {
        Passes::evaluate(self, p, running, x)
    }

    fn tangent(
        &self,
        p: Parameters<'_, B>,
        saved: &Saved,
        x_dot: Option<&Tensor<B, 4>>,
        p_dot: Option<Parameters<'_, B>>,
    ) -> Option<Tensor<B, 4>> {
        Passes::tangent(self, p, saved.get(), x_dot, p_dot)
    }

    fn backward(
        &self,
        p: Parameters<'_, B>,
        saved: &Saved,
        y_bar: &Tensor<B, 4>,
        out: &mut Cotangents<B>,
    ) -> Option<Tensor<B, 4>> {
        Passes::backward(self, p, saved.get(), y_bar, out)
    }

    fn backward_tangent(
        &self,
        p: Parameters<'_, B>,
        saved: &Saved,
        direction: Direction<'_, B>,
        y_bar: &Tensor<B, 4>,
        out: &mut Cotangents<B>,
    ) -> Option<Tensor<B, 4>> {
        Passes::backward_tangent(self, p, saved.get(), direction, y_bar, out)
    }

    fn batch_statistics(&self, saved: &Saved) -> Vec<Tensor<B, 1>> {
        Passes::batch_statistics(self, saved.get())
    }
}

type Opaque = Box<dyn Any + Send + Sync>;

/// A layer of any type, with its passes on every backend of this build.
#[derive(Debug)]
pub(super) struct AnyLayer {
    layer: Opaque,
    /// For each backend `B` of this build a `Box<dyn Erased<B>>`.
    backends: Vec<Opaque>,
    pub(super) is_piecewise_linear: bool,
}

impl AnyLayer {
    /// The layer's passes on the backend `B`.
    ///
    /// # Panics
    /// If `B` is none of this build's own, and the layer is none of this package's.
    pub(super) fn on<B: Kernels>(&self) -> &dyn Erased<B> {
        let passes = self.backends.iter().find_map(|on| on.downcast_ref::<Box<dyn Erased<B>>>());
        passes.map(|passes| &**passes).or_else(|| built_in(&*self.layer)).unwrap_or_else(|| {
            let backend = std::any::type_name::<B>();
            panic!(
                "a layer of another package knows the backends of the build alone, found {backend}"
            )
        })
    }
}

/// The passes of a layer of this package, for a backend that the build does not name.
fn built_in<B: Kernels>(layer: &(dyn Any + Send + Sync)) -> Option<&dyn Erased<B>> {
    macro_rules! first {
        ($($layer:ty),*) => {
            None$(.or_else(|| layer.downcast_ref::<$layer>().map(|layer| layer as &dyn Erased<B>)))*
        };
    }
    first!(AveragePool, BatchNorm, Conv, Linear, MaxPool, Relu)
}

fn erased<B: Kernels>(layer: &impl Passes<B>) -> Opaque {
    let layer: Box<dyn Erased<B>> = Box::new(layer.clone());
    Box::new(layer)
}

macro_rules! backends {
    ($($on:ident: $backend:ident if $feature:literal),*) => {
        $(
            #[cfg(feature = $feature)]
            pub trait $on: Passes<kernels::$backend> {}
            #[cfg(feature = $feature)]
            impl<L: Passes<kernels::$backend>> $on for L {}
            #[cfg(not(feature = $feature))]
            pub trait $on {}
            #[cfg(not(feature = $feature))]
            impl<L> $on for L {}
        )*

        /// A layer with passes on every backend of this build: each whose [`Passes`] are written for every
        /// `B: Kernels`.
        pub trait OnEveryBackend: Layer $(+ $on)* {}

        impl<L: Layer $(+ $on)*> OnEveryBackend for L {}

        impl AnyLayer {
            pub(super) fn new<L: OnEveryBackend>(layer: L) -> Self {
                let is_piecewise_linear = layer.is_piecewise_linear();
                let backends = vec![$(
                    #[cfg(feature = $feature)]
                    erased::<kernels::$backend>(&layer),
                )*];
                Self { layer: Box::new(layer), backends, is_piecewise_linear }
            }
        }
    };
}

backends! {
    OnFlex: Flex if "flex",
    OnCandle: Candle if "candle",
    OnNdArray: NdArray if "ndarray",
    OnCuda: Cuda if "cuda",
    OnWgpu: Wgpu if "wgpu"
}
