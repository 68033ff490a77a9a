//! Convolution as unfold + matrix product (Chellapilla, Puri, Simard 2006).
//!
//! Columns live in per-thread scratch and are rebuilt in every pass: stored they would be nine times
//! the activations. Images are grouped so that no matrix product is thinner than `COLUMNS_MIN`.

use std::cell::RefCell;
use std::collections::HashMap;

use rayon::prelude::*;

use super::gemm::{Into, Layout, gemm};
use crate::kernels::{ConvShape, Real};

/// Columns that a matrix product should have at least; fewer leave the kernels of `gemm` half empty.
const COLUMNS_MIN: usize = 256;
/// Parts that the weight gradient's sum over the batch is cut into, whatever the number of threads.
const WEIGHT_PARTS_MAX: usize = 8;

thread_local! {
    /// Scratch buffers by purpose and element size, in units of 8 bytes so that both types fit.
    static SCRATCH: RefCell<HashMap<&'static str, Vec<u64>>> = RefCell::new(HashMap::new());
}

/// Lends `len` elements of uninitialised-in-effect scratch: old content, never read before written.
fn with_scratch<T: Real, R>(name: &'static str, len: usize, f: impl FnOnce(&mut [T]) -> R) -> R {
    let words = (len * size_of::<T>()).div_ceil(8);
    let mut buffer = SCRATCH.with(|scratch| scratch.borrow_mut().remove(name)).unwrap_or_default();
    if buffer.len() < words {
        buffer.resize(words, 0);
    }
    let result = f(&mut bytemuck::cast_slice_mut::<u64, T>(&mut buffer)[..len]);
    SCRATCH.with(|scratch| scratch.borrow_mut().insert(name, buffer));
    result
}

impl ConvShape {
    /// Rows of the column matrix.
    fn depth(&self) -> usize {
        self.channels_in * self.kernel * self.kernel
    }

    fn pixels_in(&self) -> usize {
        self.height * self.width
    }

    fn pixels_out(&self) -> usize {
        self.height_out() * self.width_out()
    }

    fn image_in(&self) -> usize {
        self.channels_in * self.pixels_in()
    }

    fn image_out(&self) -> usize {
        self.channels_out * self.pixels_out()
    }

    /// Images whose columns stand side by side in one matrix product.
    fn group(&self) -> usize {
        COLUMNS_MIN.div_ceil(self.pixels_out()).min(self.batch).max(1)
    }

    /// Whether the unfolded image is the image itself.
    fn is_pointwise(&self) -> bool {
        self.kernel == 1 && self.stride == 1 && self.padding == 0
    }
}

/// Output columns `[start, end)` at which kernel column `k` reads inside the image.
fn valid_range(s: &ConvShape, k: usize, size_in: usize, size_out: usize) -> (usize, usize) {
    let start = s.padding.saturating_sub(k).div_ceil(s.stride);
    // Largest o with o·stride + k − padding ≤ size_in − 1.
    let end = match (size_in + s.padding).checked_sub(k + 1) {
        Some(reach) => (reach / s.stride + 1).min(size_out),
        None => 0,
    };
    (start.min(end), end)
}

/// A convolution that keeps the image's size: its column rows are whole shifted planes.
fn is_shift(s: &ConvShape) -> bool {
    s.stride == 1 && s.height_out() == s.height && s.width_out() == s.width
}

/// The part of a plane that a shift by kernel position (ky, kx) keeps: `out[to..to + len]` is
/// `plane[from..from + len]`, but for the columns that wrapped around a border.
fn shift(s: &ConvShape, ky: usize, kx: usize) -> (usize, usize, usize) {
    let pixels = s.pixels_in();
    let (down, up) = (ky * s.width + kx, s.padding * s.width + s.padding);
    let (from, to) = (down.saturating_sub(up), up.saturating_sub(down));
    (from.min(pixels), to.min(pixels), pixels.saturating_sub(from.max(to)))
}

/// Zeroes the columns of a shifted plane that wrapped around a border.
fn clear_wrapped<T: Real>(s: &ConvShape, kx: usize, out: &mut [T]) {
    let (start, end) = valid_range(s, kx, s.width, s.width);
    if start == 0 && end == s.width {
        return;
    }
    for line in out.chunks_exact_mut(s.width) {
        line[..start].fill(T::zero());
        line[end..].fill(T::zero());
    }
}

/// Writes image `x` into columns `offset..offset + pixels_out` of a `[depth, row_len]` matrix.
fn unfold<T: Real>(s: &ConvShape, x: &[T], columns: &mut [T], row_len: usize, offset: usize) {
    if is_shift(s) {
        return unfold_shifted(s, x, columns, row_len, offset);
    }
    let (h_out, w_out) = (s.height_out(), s.width_out());
    let mut row = 0;
    for plane in x.chunks_exact(s.pixels_in()) {
        for ky in 0..s.kernel {
            let (y_start, y_end) = valid_range(s, ky, s.height, h_out);
            for kx in 0..s.kernel {
                let (x_start, x_end) = valid_range(s, kx, s.width, w_out);
                let start = row * row_len + offset;
                let out = &mut columns[start..start + h_out * w_out];
                for (oy, line) in out.chunks_exact_mut(w_out).enumerate() {
                    if oy < y_start || oy >= y_end || x_start == x_end {
                        line.fill(T::zero());
                        continue;
                    }
                    let iy = oy * s.stride + ky - s.padding;
                    let ix = x_start * s.stride + kx - s.padding;
                    let source = &plane[iy * s.width + ix..(iy + 1) * s.width];
                    line[..x_start].fill(T::zero());
                    line[x_end..].fill(T::zero());
                    let inside = &mut line[x_start..x_end];
                    if s.stride == 1 {
                        inside.copy_from_slice(&source[..inside.len()]);
                    } else {
                        for (to, from) in inside.iter_mut().zip(source.chunks(s.stride)) {
                            *to = from[0];
                        }
                    }
                }
                row += 1;
            }
        }
    }
}

/// [`unfold`] where one copy moves a whole plane.
fn unfold_shifted<T: Real>(
    s: &ConvShape,
    x: &[T],
    columns: &mut [T],
    row_len: usize,
    offset: usize,
) {
    let mut rows = columns.chunks_exact_mut(row_len);
    for plane in x.chunks_exact(s.pixels_in()) {
        for position in 0..s.kernel * s.kernel {
            let (ky, kx) = (position / s.kernel, position % s.kernel);
            let row = rows.next().expect("one row for each channel and kernel position");
            let out = &mut row[offset..offset + s.pixels_in()];
            let (from, to, len) = shift(s, ky, kx);
            out[..to].fill(T::zero());
            out[to..to + len].copy_from_slice(&plane[from..from + len]);
            out[to + len..].fill(T::zero());
            clear_wrapped(s, kx, out);
        }
    }
}

/// [`fold`] where one addition moves a whole plane.
fn fold_shifted<T: Real>(
    s: &ConvShape,
    columns: &mut [T],
    x: &mut [T],
    row_len: usize,
    offset: usize,
) {
    let mut rows = columns.chunks_exact_mut(row_len);
    for plane in x.chunks_exact_mut(s.pixels_in()) {
        for position in 0..s.kernel * s.kernel {
            let (ky, kx) = (position / s.kernel, position % s.kernel);
            let row = rows.next().expect("one row for each channel and kernel position");
            let out = &mut row[offset..offset + s.pixels_in()];
            clear_wrapped(s, kx, out);
            let (from, to, len) = shift(s, ky, kx);
            for (sum, term) in plane[from..from + len].iter_mut().zip(&out[to..to + len]) {
                *sum = *sum + *term;
            }
        }
    }
}

/// Adds the columns back to the image they came from: the adjoint of [`unfold`]. The columns are
/// scratch afterwards.
fn fold<T: Real>(s: &ConvShape, columns: &mut [T], x: &mut [T], row_len: usize, offset: usize) {
    if is_shift(s) {
        return fold_shifted(s, columns, x, row_len, offset);
    }
    let (h_out, w_out) = (s.height_out(), s.width_out());
    let mut row = 0;
    for plane in x.chunks_exact_mut(s.pixels_in()) {
        for ky in 0..s.kernel {
            let (y_start, y_end) = valid_range(s, ky, s.height, h_out);
            for kx in 0..s.kernel {
                let (x_start, x_end) = valid_range(s, kx, s.width, w_out);
                let start = row * row_len + offset;
                let lines = columns[start..start + h_out * w_out].chunks_exact(w_out);
                for (oy, line) in lines.enumerate().take(y_end).skip(y_start) {
                    if x_start == x_end {
                        continue;
                    }
                    let iy = oy * s.stride + ky - s.padding;
                    let ix = x_start * s.stride + kx - s.padding;
                    let target = &mut plane[iy * s.width + ix..(iy + 1) * s.width];
                    let inside = &line[x_start..x_end];
                    for (to, from) in target.iter_mut().step_by(s.stride).zip(inside) {
                        *to = *to + *from;
                    }
                }
                row += 1;
            }
        }
    }
}

/// Copies `[channels, row_len]` rows to or from image-major order, for a group of images.
fn gather_rows<T: Real>(images: &[T], rows: &mut [T], channels: usize, pixels: usize) {
    let row_len = rows.len() / channels;
    for (i, image) in images.chunks_exact(channels * pixels).enumerate() {
        for (c, plane) in image.chunks_exact(pixels).enumerate() {
            let start = c * row_len + i * pixels;
            rows[start..start + pixels].copy_from_slice(plane);
        }
    }
}

fn scatter_rows<T: Real>(rows: &[T], images: &mut [T], channels: usize, pixels: usize) {
    let row_len = rows.len() / channels;
    for (i, image) in images.chunks_exact_mut(channels * pixels).enumerate() {
        for (c, plane) in image.chunks_exact_mut(pixels).enumerate() {
            let start = c * row_len + i * pixels;
            plane.copy_from_slice(&rows[start..start + pixels]);
        }
    }
}

/// Calls `f` with the column matrix `[depth, images·pixels_out]` of a group.
fn with_columns<T: Real, R>(s: &ConvShape, x: &[T], f: impl FnOnce(&[T], Layout) -> R) -> R {
    let images = x.len() / s.image_in();
    let row_len = images * s.pixels_out();
    let layout = Layout::dense(s.depth(), row_len);
    if s.is_pointwise() && images == 1 {
        return f(x, layout);
    }
    with_scratch("columns", s.depth() * row_len, |columns: &mut [T]| {
        for (i, image) in x.chunks_exact(s.image_in()).enumerate() {
            unfold(s, image, columns, row_len, i * s.pixels_out());
        }
        f(columns, layout)
    })
}

/// Calls `f` with the rows `[channels_out, images·pixels_out]` of a group's output-shaped images.
fn with_rows<T: Real, R>(s: &ConvShape, y: &[T], f: impl FnOnce(&[T], Layout) -> R) -> R {
    let images = y.len() / s.image_out();
    let layout = Layout::dense(s.channels_out, images * s.pixels_out());
    if images == 1 {
        return f(y, layout);
    }
    with_scratch("rows", y.len(), |rows: &mut [T]| {
        gather_rows(y, rows, s.channels_out, s.pixels_out());
        f(rows, layout)
    })
}

/// `y = w ∗ x`. `x`: `[batch, channels_in, height, width]`, `w`: `[channels_out, channels_in, k, k]`.
pub fn forward<T: Real>(s: &ConvShape, x: &[T], w: &[T]) -> Vec<T> {
    let mut y = vec![T::zero(); s.batch * s.image_out()];
    let weights = Layout::dense(s.channels_out, s.depth());
    let group = s.group();
    y.par_chunks_mut(group * s.image_out()).zip(x.par_chunks(group * s.image_in())).for_each(
        |(y, x)| {
            with_columns(s, x, |columns, layout| {
                let out = Layout::dense(s.channels_out, layout.cols);
                if y.len() == s.image_out() {
                    gemm((y, out), (w, weights), (columns, layout), Into::Overwrite);
                } else {
                    with_scratch("rows", y.len(), |rows: &mut [T]| {
                        gemm((rows, out), (w, weights), (columns, layout), Into::Overwrite);
                        scatter_rows(rows, y, s.channels_out, s.pixels_out());
                    });
                }
            });
        },
    );
    y
}

/// Gradient with respect to the input, from `dy` of the output's shape.
pub fn input_gradient<T: Real>(s: &ConvShape, w: &[T], dy: &[T]) -> Vec<T> {
    let mut dx = vec![T::zero(); s.batch * s.image_in()];
    let weights = Layout::dense(s.channels_out, s.depth()).transposed();
    let group = s.group();
    dx.par_chunks_mut(group * s.image_in()).zip(dy.par_chunks(group * s.image_out())).for_each(
        |(dx, dy)| {
            with_rows(s, dy, |rows, layout| {
                let out = Layout::dense(s.depth(), layout.cols);
                if s.is_pointwise() && dx.len() == s.image_in() {
                    gemm((dx, out), (w, weights), (rows, layout), Into::Overwrite);
                    return;
                }
                with_scratch("columns", s.depth() * layout.cols, |columns: &mut [T]| {
                    gemm((columns, out), (w, weights), (rows, layout), Into::Overwrite);
                    for (i, image) in dx.chunks_exact_mut(s.image_in()).enumerate() {
                        fold(s, columns, image, layout.cols, i * s.pixels_out());
                    }
                });
            });
        },
    );
    dx
}

/// Gradient with respect to the weight: the batch is cut into a fixed number of parts, each summed in
/// order, and the parts' sums are added in order.
pub fn weight_gradient<T: Real>(s: &ConvShape, x: &[T], dy: &[T]) -> Vec<T> {
    let group = s.group();
    let groups = s.batch.div_ceil(group);
    let per_part = groups.div_ceil(WEIGHT_PARTS_MAX) * group;
    let weights = Layout::dense(s.channels_out, s.depth());
    let parts: Vec<Vec<T>> = x
        .par_chunks(per_part * s.image_in())
        .zip(dy.par_chunks(per_part * s.image_out()))
        .map(|(x, dy)| {
            let mut sum = vec![T::zero(); s.channels_out * s.depth()];
            let mut into = Into::Overwrite;
            let pairs = x.chunks(group * s.image_in()).zip(dy.chunks(group * s.image_out()));
            for (x, dy) in pairs {
                with_columns(s, x, |columns, layout| {
                    with_rows(s, dy, |rows, rows_layout| {
                        let columns = (columns, layout.transposed());
                        gemm((&mut sum, weights), (rows, rows_layout), columns, into);
                    });
                });
                into = Into::Accumulate;
            }
            sum
        })
        .collect();
    let mut parts = parts.into_iter();
    let mut total = parts.next().unwrap_or_default();
    for part in parts {
        for (to, from) in total.iter_mut().zip(&part) {
            *to = *to + *from;
        }
    }
    total
}
