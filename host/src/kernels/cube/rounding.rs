//! Rounding of operands to the formats that tensor cores multiply in.

use cubecl::prelude::*;

use crate::kernels::Precision;

/// `x` with the significand of the precision, rounded to nearest, ties to even; sums stay f32.
///
/// A product of two such operands is exact in f32, so multiply-adds of rounded operands have the
/// errors of tensor cores on any device.
#[cube]
pub(super) fn rounded(x: f32, #[comptime] precision: Precision) -> f32 {
    let dropped = comptime!(precision.dropped_bits());
    if comptime!(dropped == 0) {
        x
    } else {
        let bits = u32::reinterpret(x);
        let half = comptime!((1u32 << (dropped - 1)) - 1);
        let kept = comptime!(!((1u32 << dropped) - 1));
        let odd = (bits >> dropped) & 1u32;
        let nearest = (bits + half + odd) & kept;
        // Infinities and NaN are kept: a carry would change them into something else.
        let finite = (bits & 0x7f80_0000u32) != 0x7f80_0000u32;
        f32::reinterpret(select(finite, nearest, bits))
    }
}
