//! Sums that stay in registers.
//!
//! The loops are unrolled by hand. A compiler that optimises for size would keep a loop, and the
//! tile would then live in memory.

use crate::Real;

/// One side of a tile.
pub(super) type Four<T> = [T; 4];

/// Sixteen sums.
pub(super) type Tile<T> = [Four<T>; 4];

/// `tile[a][b] += x_a · w_b`, summed by rising index. The slices have one length.
#[inline(always)]
pub(super) fn dots<T: Real>(x: [&[T]; 4], w: [&[T]; 4], tile: &mut Tile<T>) {
    let [x0, x1, x2, x3] = x.map(|row| row.as_chunks::<4>());
    let [w0, w1, w2, w3] = w.map(|row| row.as_chunks::<4>());
    let left = x0.0.iter().zip(x1.0).zip(x2.0).zip(x3.0);
    let right = w0.0.iter().zip(w1.0).zip(w2.0).zip(w3.0);
    let mut sums = *tile;
    for ((((x0, x1), x2), x3), (((w0, w1), w2), w3)) in left.zip(right) {
        let [a0, b0, c0, d0] = *x0;
        let [a1, b1, c1, d1] = *x1;
        let [a2, b2, c2, d2] = *x2;
        let [a3, b3, c3, d3] = *x3;
        let [e0, f0, g0, h0] = *w0;
        let [e1, f1, g1, h1] = *w1;
        let [e2, f2, g2, h2] = *w2;
        let [e3, f3, g3, h3] = *w3;
        accumulate(&mut sums, [a0, a1, a2, a3], &[e0, e1, e2, e3]);
        accumulate(&mut sums, [b0, b1, b2, b3], &[f0, f1, f2, f3]);
        accumulate(&mut sums, [c0, c1, c2, c3], &[g0, g1, g2, g3]);
        accumulate(&mut sums, [d0, d1, d2, d3], &[h0, h1, h2, h3]);
    }
    let left = x0.1.iter().zip(x1.1).zip(x2.1).zip(x3.1);
    let right = w0.1.iter().zip(w1.1).zip(w2.1).zip(w3.1);
    for ((((x0, x1), x2), x3), (((w0, w1), w2), w3)) in left.zip(right) {
        accumulate(&mut sums, [*x0, *x1, *x2, *x3], &[*w0, *w1, *w2, *w3]);
    }
    *tile = sums;
}

/// `row[b] += x · w_b`, summed by rising index. The slices have one length.
#[inline(always)]
pub(super) fn dots_row<T: Real>(x: &[T], w: [&[T]; 4], row: &mut Four<T>) {
    let [w0, w1, w2, w3] = w;
    let mut sums = *row;
    for ((((x, w0), w1), w2), w3) in x.iter().zip(w0).zip(w1).zip(w2).zip(w3) {
        accumulate_row(&mut sums, *x, &[*w0, *w1, *w2, *w3]);
    }
    *row = sums;
}

/// `tile[a][b] += x_a w_b`.
#[inline(always)]
pub(super) fn accumulate<T: Real>(tile: &mut Tile<T>, x: Four<T>, w: &Four<T>) {
    let [t0, t1, t2, t3] = tile;
    let [x0, x1, x2, x3] = x;
    accumulate_row(t0, x0, w);
    accumulate_row(t1, x1, w);
    accumulate_row(t2, x2, w);
    accumulate_row(t3, x3, w);
}

/// `row[b] += x w_b`.
#[inline(always)]
fn accumulate_row<T: Real>(row: &mut Four<T>, x: T, w: &Four<T>) {
    let [s0, s1, s2, s3] = row;
    let [w0, w1, w2, w3] = *w;
    *s0 += x * w0;
    *s1 += x * w1;
    *s2 += x * w2;
    *s3 += x * w3;
}

/// `tile[a][b] += x w_{4a + b}`.
#[inline(always)]
pub(super) fn accumulate_wide<T: Real>(tile: &mut Tile<T>, x: T, w: &[T; 16]) {
    let [t0, t1, t2, t3] = tile;
    let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = *w;
    accumulate_row(t0, x, &[a, b, c, d]);
    accumulate_row(t1, x, &[e, f, g, h]);
    accumulate_row(t2, x, &[i, j, k, l]);
    accumulate_row(t3, x, &[m, n, o, p]);
}
