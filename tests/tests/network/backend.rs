//! The backend under test: the device if there is one, else the most exact that was asked for.

use bissl::kernels::{Kernels, Real};
use burn_backend::BackendTypes;

#[cfg(feature = "cuda-emulation")]
pub(crate) type B = crate::cuda_emulation::Emulated;
#[cfg(all(feature = "wgpu", not(feature = "cuda-emulation")))]
pub(crate) type B = bissl::kernels::Wgpu;
#[cfg(all(feature = "ndarray", not(feature = "device")))]
pub(crate) type B = bissl::kernels::NdArray;
#[cfg(all(feature = "candle", not(any(feature = "ndarray", feature = "device"))))]
pub(crate) type B = bissl::kernels::Candle;
#[cfg(not(any(feature = "candle", feature = "ndarray", feature = "device")))]
pub(crate) type B = bissl::kernels::Flex;

/// What judges a whole network: Burn's own operations, which are wrong on devices.
#[cfg(all(feature = "device", feature = "ndarray"))]
pub(crate) type Oracle = bissl::kernels::NdArray;
#[cfg(not(all(feature = "device", feature = "ndarray")))]
pub(crate) type Oracle = B;

/// What may be expected of a backend's arithmetic.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Precision {
    /// Step of central differences of smooth functions of values near 1: the error is about
    /// step² + rounding/step.
    pub(crate) step: f64,
    /// Relative error of such a difference.
    pub(crate) difference: f64,
    /// Relative error of two ways to compute the same thing, over hundreds of roundings.
    pub(crate) equal: f64,
}

/// The precision of a backend.
pub(crate) fn precision<B: Kernels>() -> Precision {
    let bits = 8 * size_of::<<B as BackendTypes>::FloatElem>();
    let unit = <B as BackendTypes>::FloatElem::of(1.0).wide();
    assert_eq!(unit, 1.0, "the element type computes");
    match bits {
        64 => Precision { step: 1e-5, difference: 1e-8, equal: 1e-11 },
        _ => Precision { step: 1e-2, difference: 2e-3, equal: 2e-5 },
    }
}
