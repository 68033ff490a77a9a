//! The element types that the CPU kernels compute in.

use burn_backend::Element;
use num_traits::Float;

/// `f32` for training, `f64` for oracles.
pub trait Real:
    Element + Float + bytemuck::Pod + Send + Sync + Default + std::iter::Sum + 'static
{
    /// Nearest value to an `f64`.
    fn of(value: f64) -> Self;

    /// The value as `f64`, exact for both types.
    fn wide(self) -> f64;
}

impl Real for f32 {
    fn of(value: f64) -> Self {
        value as Self
    }

    fn wide(self) -> f64 {
        f64::from(self)
    }
}

impl Real for f64 {
    fn of(value: f64) -> Self {
        value
    }

    fn wide(self) -> f64 {
        self
    }
}
