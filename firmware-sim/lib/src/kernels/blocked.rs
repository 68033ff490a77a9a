//! Loops for in-order processors: a tile of sums stays in registers while the operands stream past.
//!
//! A multiply-accumulate without fusion is two instructions, so half of one per instruction is the
//! upper limit. A plain loop adds two loads, a store and the loop's own instructions to each. A
//! tile of 4 × 4 sums uses each load four times and stores at the end. The order of each element's
//! sum does not change, so the bits are those of [`Compact`](super::Compact).

use core::slice::ChunksExact;

use super::tile::{Four, Tile, accumulate, accumulate_wide, dots, dots_row};
use super::{Kernels, Matrix, MatrixMut};
use crate::Real;

/// Sums of a tile along each side.
const SIDE: usize = 4;

/// Tiles of 4 × 4 sums; tiles of 1 × 16 or 1 × 4 where rows are wide, overlap, or are left over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Blocked;

impl<T: Real> Kernels<T> for Blocked {
    fn multiply_transposed(&mut self, x: Matrix<'_, T>, w: Matrix<'_, T>, mut y: MatrixMut<'_, T>) {
        let mut r = 0;
        while let (Some(xs), Some(ys)) = (x.four(r), y.four(r)) {
            let [y0, y1, y2, y3] = ys.map(|row| row.as_chunks_mut::<SIDE>());
            let places = y0.0.iter_mut().zip(y1.0).zip(y2.0).zip(y3.0);
            let mut o = 0;
            for (((t0, t1), t2), t3) in places {
                let Some(ws) = w.four(o) else { return };
                let mut tile = [*t0, *t1, *t2, *t3];
                dots(xs, ws, &mut tile);
                [*t0, *t1, *t2, *t3] = tile;
                o += SIDE;
            }
            for (x, rest) in xs.into_iter().zip([y0.1, y1.1, y2.1, y3.1]) {
                dot_each(x, &w, o, rest);
            }
            r += SIDE;
        }
        while let (Some(x), Some(y)) = (x.row(r), y.row(r)) {
            let (places, rest) = y.as_chunks_mut::<SIDE>();
            let mut o = 0;
            for place in places {
                let Some(ws) = w.four(o) else { return };
                dots_row(x, ws, place);
                o += SIDE;
            }
            dot_each(x, &w, o, rest);
            r += 1;
        }
    }

    fn multiply(&mut self, y: Matrix<'_, T>, w: Matrix<'_, T>, mut x: MatrixMut<'_, T>) {
        let mut r = 0;
        // Wide rows, and rows that overlap, are done one at a time in tiles of 1 × 16.
        let narrow = x.columns() < SIDE * SIDE && x.stride() >= x.columns();
        while narrow && let (Some(ys), Some(xs)) = (y.four(r), x.four(r)) {
            let [x0, x1, x2, x3] = xs.map(|row| row.as_chunks_mut::<SIDE>());
            let places = x0.0.iter_mut().zip(x1.0).zip(x2.0).zip(x3.0);
            let [Some((l0, b0)), Some((l1, b1)), Some((l2, b2)), Some((l3, b3))] =
                ys.map(|row| row.split_last())
            else {
                return;
            };
            let (bodies, lasts) = ([b0, b1, b2, b3], [*l0, *l1, *l2, *l3]);
            let mut i = 0;
            for (((t0, t1), t2), t3) in places {
                let mut tile = [*t0, *t1, *t2, *t3];
                stream(bodies, lasts, w.columns_from(i), &mut tile);
                [*t0, *t1, *t2, *t3] = tile;
                i += SIDE;
            }
            for (y, rest) in ys.into_iter().zip([x0.1, x1.1, x2.1, x3.1]) {
                accumulate_each(y, &w, i, rest);
            }
            r += SIDE;
        }
        while let (Some(y), Some(x)) = (y.row(r), x.row(r)) {
            let (places, _) = x.as_chunks_mut::<SIDE>();
            let Some((last, body)) = y.split_last() else { return };
            let mut i = 0;
            for place in places.as_chunks_mut::<SIDE>().0 {
                stream_row(body, *last, w.columns_from(i), place);
                i += SIDE * SIDE;
            }
            let rest = x.get_mut(i..).unwrap_or(&mut []);
            accumulate_each(y, &w, i, rest);
            r += 1;
        }
    }

    fn outer(&mut self, y: Matrix<'_, T>, x: Matrix<'_, T>, mut w: MatrixMut<'_, T>) {
        let mut o = 0;
        // Windows whose starts are closer than a tile is wide cannot be tiled.
        let narrow = x.stride() < SIDE;
        while !narrow && let Some(ws) = w.four(o) {
            let [w0, w1, w2, w3] = ws.map(|row| row.as_chunks_mut::<SIDE>());
            let places = w0.0.iter_mut().zip(w1.0).zip(w2.0).zip(w3.0);
            let mut i = 0;
            for (((t0, t1), t2), t3) in places {
                let mut tile = [*t0, *t1, *t2, *t3];
                let ((ys, y), (xs, x)) = (y.columns_from(o), x.columns_from(i));
                for (y, x) in ys.zip(xs).chain([(y, x)]) {
                    let (Some(y), Some(x)) = (y.first_chunk(), x.first_chunk()) else { return };
                    accumulate(&mut tile, *y, x);
                }
                [*t0, *t1, *t2, *t3] = tile;
                i += SIDE;
            }
            for (o, rest) in (o..).zip([w0.1, w1.1, w2.1, w3.1]) {
                accumulate_rows(&y, o, &x, i, rest);
            }
            o += SIDE;
        }
        while let Some(row) = w.row(o) {
            accumulate_rows(&y, o, &x, 0, row);
            o += 1;
        }
    }
}

/// `tile[a] += Σ_o y_a[o] w[o][i..i + 4]` with rising o; the last term is passed separately.
#[inline(always)]
fn stream<T: Real>(
    [y0, y1, y2, y3]: [&[T]; SIDE],
    last_y: Four<T>,
    (body, last): (ChunksExact<'_, T>, &[T]),
    tile: &mut Tile<T>,
) {
    let mut sums = *tile;
    for ((((y0, y1), y2), y3), w) in y0.iter().zip(y1).zip(y2).zip(y3).zip(body) {
        let Some(w) = w.first_chunk() else { return };
        accumulate(&mut sums, [*y0, *y1, *y2, *y3], w);
    }
    let Some(w) = last.first_chunk() else { return };
    accumulate(&mut sums, last_y, w);
    *tile = sums;
}

/// `tile += Σ_o y[o] w[o][i..i + 16]` with rising o; the last term is passed separately.
#[inline(always)]
fn stream_row<T: Real>(
    y: &[T],
    last_y: T,
    (body, last): (ChunksExact<'_, T>, &[T]),
    tile: &mut Tile<T>,
) {
    let mut sums = *tile;
    for (y, w) in y.iter().zip(body) {
        let Some(w) = w.first_chunk::<{ SIDE * SIDE }>() else { return };
        accumulate_wide(&mut sums, *y, w);
    }
    let Some(w) = last.first_chunk::<{ SIDE * SIDE }>() else { return };
    accumulate_wide(&mut sums, last_y, w);
    *tile = sums;
}

/// `y[k] += x · w[o + k]`.
fn dot_each<T: Real>(x: &[T], w: &Matrix<'_, T>, o: usize, y: &mut [T]) {
    for (y, o) in y.iter_mut().zip(o..) {
        let Some(w) = w.row(o) else { return };
        let mut sum = *y;
        for (x, w) in x.iter().zip(w) {
            sum += *x * *w;
        }
        *y = sum;
    }
}

/// `x[k] += Σ_o y[o] w[o][i + k]`.
fn accumulate_each<T: Real>(y: &[T], w: &Matrix<'_, T>, i: usize, x: &mut [T]) {
    if x.is_empty() {
        return;
    }
    let (body, last) = w.columns_from(i);
    for (y, w) in y.iter().zip(body.chain([last])) {
        for (x, w) in x.iter_mut().zip(w) {
            *x += *y * *w;
        }
    }
}

/// `w[k] += Σ_r y[r][o] x[r][i + k]`.
fn accumulate_rows<T: Real>(y: &Matrix<'_, T>, o: usize, x: &Matrix<'_, T>, i: usize, w: &mut [T]) {
    if w.is_empty() {
        return;
    }
    for r in 0..y.rows() {
        let (Some(y), Some(x)) = (y.row(r), x.row(r)) else { return };
        let (Some(y), Some(x)) = (y.get(o), x.get(i..)) else { return };
        for (w, x) in w.iter_mut().zip(x) {
            *w += *y * *x;
        }
    }
}
