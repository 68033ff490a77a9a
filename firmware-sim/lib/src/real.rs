//! The number type: f32 on the device, f64 where tests need the precision of an oracle.

use core::ops::{Add, AddAssign, Div, Mul, Neg, Sub};

/// A float with the few functions that the device program uses, all of them from `libm`.
pub trait Real:
    'static
    + Copy
    + PartialOrd
    + Blank
    + Add<Output = Self>
    + Sub<Output = Self>
    + Mul<Output = Self>
    + Div<Output = Self>
    + Neg<Output = Self>
    + AddAssign
{
    /// The nearest value.
    fn from_f32(value: f32) -> Self;
    /// The nearest f32.
    fn to_f32(self) -> f32;
    /// eˣ.
    fn exp(self) -> Self;
    /// The natural logarithm.
    fn ln(self) -> Self;
    /// √x, correctly rounded.
    fn sqrt(self) -> Self;
    /// Whether it is neither infinite nor NaN.
    fn is_finite(self) -> bool;
}

macro_rules! real {
    ($real:ty: $exp:path, $ln:path, $sqrt:path) => {
        impl Real for $real {
            fn from_f32(value: f32) -> Self {
                value as Self
            }

            fn to_f32(self) -> f32 {
                self as f32
            }

            fn exp(self) -> Self {
                $exp(self)
            }

            fn ln(self) -> Self {
                $ln(self)
            }

            fn sqrt(self) -> Self {
                $sqrt(self)
            }

            fn is_finite(self) -> bool {
                Self::is_finite(self)
            }
        }
    };
}

real!(f32: libm::expf, libm::logf, libm::sqrtf);
real!(f64: libm::exp, libm::log, libm::sqrt);

/// Storage whose zeroed form is a constant, so that a `static` can hold it from the start and it
/// never moves.
pub trait Blank {
    /// All zeros.
    const BLANK: Self;
}

impl Blank for f32 {
    const BLANK: Self = 0.0;
}

impl Blank for f64 {
    const BLANK: Self = 0.0;
}

impl Blank for u8 {
    const BLANK: Self = 0;
}

impl Blank for () {
    const BLANK: Self = ();
}

impl<B: Blank, const N: usize> Blank for [B; N] {
    const BLANK: Self = [B::BLANK; N];
}
