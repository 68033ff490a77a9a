//! Layers of any type in one network: their passes on a backend and what these keep, with the type
//! erased.

use std::any::Any;
use std::fmt::Debug;
use std::sync::Arc;

use burn_tensor::Tensor;

use super::layer::{Cotangents, Direction, Layer, Passes};
use super::parameters::Parameters;
use super::{AveragePool, BatchNorm, Conv, Linear, MaxPool, Relu};
use crate::kernels::{self, Kernels};

/// What a layer keeps of its forward pass. Only the layer knows the type.
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

/// [`Passes`] with the type of the saved values erased.
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

/// A layer of any type, with its passes on every backend of this build.
#[derive(Debug)]
pub(super) struct AnyLayer {
    layer: Arc<dyn Shared>,
    /// An `Arc<dyn Erased<B>>` of the layer for each backend `B`.
    backends: Vec<Box<dyn Any + Send + Sync>>,
}

trait Shared: Any + Debug + Send + Sync {}

impl<T: Any + Debug + Send + Sync> Shared for T {}

impl AnyLayer {
    /// The layer's passes on the backend `B`.
    ///
    /// # Panics
    /// If the build does not name `B` and the layer comes from another package.
    pub(super) fn on<B: Kernels>(&self) -> &dyn Erased<B> {
        let passes = self.backends.iter().find_map(|on| on.downcast_ref::<Arc<dyn Erased<B>>>());
        passes.map(|passes| &**passes).or_else(|| built_in(&*self.layer)).unwrap_or_else(|| {
            let backend = std::any::type_name::<B>();
            panic!("{:?} has no passes on {backend}, which the build does not name", self.layer)
        })
    }
}

/// The passes of one of this package's layers, for a backend that the build does not name.
fn built_in<B: Kernels>(layer: &dyn Any) -> Option<&dyn Erased<B>> {
    macro_rules! first {
        ($($layer:ty),*) => {
            None$(.or_else(|| layer.downcast_ref::<$layer>().map(|layer| layer as &dyn Erased<B>)))*
        };
    }
    first!(AveragePool, BatchNorm, Conv, Linear, MaxPool, Relu)
}

fn on<B: Kernels>(layer: Arc<impl Passes<B>>) -> Box<dyn Any + Send + Sync> {
    let layer: Arc<dyn Erased<B>> = layer;
    Box::new(layer)
}

macro_rules! passes {
    ($($(#[$meta:meta])* $name:ident, $feature:literal, $type:ident, $bytes:literal, $place:ident;)+) => {
        $(
            /// What a layer needs where this backend is built: its passes on it.
            #[allow(non_snake_case, reason = "a module for each row, named after its backend")]
            pub(super) mod $name {
                /// [`Passes`] on this backend.
                #[cfg(feature = $feature)]
                pub trait On: super::Passes<crate::kernels::$type> {}
                #[cfg(feature = $feature)]
                impl<L: super::Passes<crate::kernels::$type>> On for L {}
                /// Nothing: this backend is not built.
                #[cfg(not(feature = $feature))]
                pub trait On {}
                #[cfg(not(feature = $feature))]
                impl<L> On for L {}
            }
        )+

        /// A layer with passes on every backend of this build. Every layer that implements
        /// [`Passes`] for all `B: Kernels` has them.
        pub trait OnEveryBackend: Layer $(+ $name::On)+ {}

        impl<L: Layer $(+ $name::On)+> OnEveryBackend for L {}

        impl AnyLayer {
            pub(super) fn new<L: OnEveryBackend>(layer: L) -> Self {
                let layer = Arc::new(layer);
                let backends = vec![$(
                    #[cfg(feature = $feature)]
                    on::<kernels::$type>(layer.clone()),
                )+];
                Self { layer, backends }
            }
        }
    };
}
kernels::backends!(passes);

#[cfg(all(test, feature = "flex"))]
mod tests {
    use super::*;
    use crate::network::Init;

    #[test]
    fn a_backend_that_the_build_does_not_name_has_the_package_s_layers() {
        let unnamed = |layer: AnyLayer| AnyLayer { backends: Vec::new(), ..layer };
        let linear = Linear { features_out: 1, bias: false, init: Init::Zero };
        for layer in [
            AnyLayer::new(AveragePool),
            AnyLayer::new(BatchNorm { gamma: Init::One }),
            AnyLayer::new(Conv::same(1, 1, 1)),
            AnyLayer::new(linear),
            AnyLayer::new(MaxPool { kernel: 1, stride: 1, padding: 0 }),
            AnyLayer::new(Relu),
        ] {
            let named = format!("{:?}", layer.on::<kernels::Flex>());
            assert_eq!(format!("{:?}", unnamed(layer).on::<kernels::Flex>()), named);
        }
    }
}
