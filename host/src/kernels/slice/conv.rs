//! Convolution as unfold + matrix product (Chellapilla, Puri, Simard 2006).
//!
//! Columns are in per-thread scratch and are rebuilt in every pass: stored, they would take nine
//! times the memory of the activations. The matrix product runs over tiles of `COLUMNS` columns:
//! rows of a large image, or several small images side by side. So the columns of shallow layers
//! stay in the second-level cache, and no product is too thin for the kernels of `gemm`.
//!
//! Every pass takes a sum of terms of one shape, because the tangent of each pass is such a sum.

use std::cell::RefCell;
use std::collections::HashMap;
use std::mem::MaybeUninit;
use std::ops::Range;

use rayon::prelude::*;

use super::gemm::{Into, Layout, gemm};
use super::written::{written, zeroed};
use crate::kernels::{ConvShape, Real};

/// Columns of a tile, as far as whole rows and whole images allow.
const COLUMNS: usize = 256;
/// A batch is split into at least this many groups of images, if it has enough: otherwise one
/// thread would do all the work of a small batch of small images.
const GROUPS_MIN: usize = 4;
/// Tasks that the weight gradient is split into, whatever the number of threads. It is split into
/// blocks of input channels first, and only then into parts of the batch, each of which needs its
/// own sum.
const WEIGHT_TASKS: usize = 8;
/// Input channels of a block of the weight gradient.
const WEIGHT_CHANNELS: usize = 64;

thread_local! {
    /// Scratch buffers by purpose and element size, in units of 8 bytes so that both types fit.
    static SCRATCH: RefCell<HashMap<&'static str, Vec<u64>>> = RefCell::new(HashMap::new());
}

/// Lends `len` elements of scratch with arbitrary old content, which must be written before it is
/// read.
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
        self.channels_in * self.positions()
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

    /// Images of a tile.
    fn group(&self) -> usize {
        let shared = self.batch.div_ceil(GROUPS_MIN);
        COLUMNS.div_ceil(self.pixels_out()).min(shared).max(1)
    }

    /// Output rows of the tiles that an image is split into.
    fn tiles(&self) -> impl Iterator<Item = Rows> + use<> {
        let (height, width) = (self.height_out(), self.width_out());
        let rows = (COLUMNS / width).clamp(1, height);
        (0..height).step_by(rows).map(move |start| Rows {
            start,
            end: (start + rows).min(height),
            width,
        })
    }

    /// Whether the unfolded image is the image itself.
    fn is_pointwise(&self) -> bool {
        self.kernel == [1, 1] && self.stride == [1, 1] && self.padding == 0
    }

    /// Whether the convolution keeps the image's size: its column rows are then shifted planes.
    fn is_shift(&self) -> bool {
        self.stride == [1, 1] && self.height_out() == self.height && self.width_out() == self.width
    }
}

/// Rows `start..end` of an output image.
#[derive(Clone, Copy, Debug)]
struct Rows {
    start: usize,
    end: usize,
    width: usize,
}

impl Rows {
    fn offset(&self) -> usize {
        self.start * self.width
    }

    fn pixels(&self) -> usize {
        (self.end - self.start) * self.width
    }
}

/// Indices `[start, end)` along one side of the output, of `size_out`, at which element `k` of the
/// kernel reads inside the image.
fn valid_range(
    (padding, stride): (usize, usize),
    k: usize,
    size_in: usize,
    size_out: usize,
) -> (usize, usize) {
    let start = padding.saturating_sub(k).div_ceil(stride);
    // Largest o with o·stride + k − padding ≤ size_in − 1.
    let end = match (size_in + padding).checked_sub(k + 1) {
        Some(reach) => (reach / stride + 1).min(size_out),
        None => 0,
    };
    (start.min(end), end)
}

/// Output rows at which kernel row `ky` reads inside the image.
fn valid_rows(s: &ConvShape, ky: usize) -> (usize, usize) {
    valid_range((s.padding, s.stride[0]), ky, s.height, s.height_out())
}

/// Output columns at which kernel column `kx` reads inside the image.
fn valid_columns(s: &ConvShape, kx: usize) -> (usize, usize) {
    valid_range((s.padding, s.stride[1]), kx, s.width, s.width_out())
}

/// The part of a plane shifted by kernel position (ky, kx) that is in `rows`: `out[to..to + len]`
/// is `plane[from..from + len]`, except for the columns that wrapped around a border.
fn shift(s: &ConvShape, rows: Rows, ky: usize, kx: usize) -> (usize, usize, usize) {
    let (ahead, behind) = (rows.offset() + ky * s.width + kx, s.padding * s.width + s.padding);
    let (from, to) = (ahead.saturating_sub(behind), behind.saturating_sub(ahead));
    let (from, to) = (from.min(s.pixels_in()), to.min(rows.pixels()));
    (from, to, (s.pixels_in() - from).min(rows.pixels() - to))
}

/// Zeroes the columns of a shifted plane that wrapped around a border.
fn clear_wrapped<T: Real>(s: &ConvShape, kx: usize, out: &mut [T]) {
    let (start, end) = valid_columns(s, kx);
    if start == 0 && end == s.width {
        return;
    }
    for line in out.chunks_exact_mut(s.width) {
        line[..start].fill(T::zero());
        line[end..].fill(T::zero());
    }
}

/// Writes `rows` of the unfolded channels in `x` into columns `offset..` of a matrix with rows of
/// `row_len`.
fn unfold<T: Real>(
    s: &ConvShape,
    rows: Rows,
    x: &[T],
    columns: &mut [T],
    (row_len, offset): (usize, usize),
) {
    let positions = s.positions();
    let mut lines = columns.chunks_exact_mut(row_len);
    for plane in x.chunks_exact(s.pixels_in()) {
        for (position, line) in lines.by_ref().take(positions).enumerate() {
            let (ky, kx) = (position / s.kernel[1], position % s.kernel[1]);
            let out = &mut line[offset..offset + rows.pixels()];
            if s.is_shift() {
                let (from, to, len) = shift(s, rows, ky, kx);
                out[..to].fill(T::zero());
                out[to..to + len].copy_from_slice(&plane[from..from + len]);
                out[to + len..].fill(T::zero());
                clear_wrapped(s, kx, out);
            } else {
                unfold_plane(s, rows, plane, (ky, kx), out);
            }
        }
    }
}

fn unfold_plane<T: Real>(
    s: &ConvShape,
    rows: Rows,
    plane: &[T],
    (ky, kx): (usize, usize),
    out: &mut [T],
) {
    let (y_start, y_end) = valid_rows(s, ky);
    let (x_start, x_end) = valid_columns(s, kx);
    for (oy, line) in (rows.start..).zip(out.chunks_exact_mut(rows.width)) {
        if oy < y_start || oy >= y_end || x_start == x_end {
            line.fill(T::zero());
            continue;
        }
        let iy = oy * s.stride[0] + ky - s.padding;
        let ix = x_start * s.stride[1] + kx - s.padding;
        let source = &plane[iy * s.width + ix..(iy + 1) * s.width];
        line[..x_start].fill(T::zero());
        line[x_end..].fill(T::zero());
        let inside = &mut line[x_start..x_end];
        if s.stride[1] == 1 {
            inside.copy_from_slice(&source[..inside.len()]);
        } else {
            for (to, from) in inside.iter_mut().zip(source.chunks(s.stride[1])) {
                *to = from[0];
            }
        }
    }
}

/// Adds columns back to the image that they came from: the adjoint of [`unfold`]. Destroys the
/// content of the columns.
fn fold<T: Real>(
    s: &ConvShape,
    rows: Rows,
    columns: &mut [T],
    x: &mut [T],
    (row_len, offset): (usize, usize),
) {
    let positions = s.positions();
    let mut lines = columns.chunks_exact_mut(row_len);
    for plane in x.chunks_exact_mut(s.pixels_in()) {
        for (position, line) in lines.by_ref().take(positions).enumerate() {
            let (ky, kx) = (position / s.kernel[1], position % s.kernel[1]);
            let terms = &mut line[offset..offset + rows.pixels()];
            if s.is_shift() {
                clear_wrapped(s, kx, terms);
                let (from, to, len) = shift(s, rows, ky, kx);
                for (sum, term) in plane[from..from + len].iter_mut().zip(&terms[to..to + len]) {
                    *sum = *sum + *term;
                }
            } else {
                fold_plane(s, rows, terms, (ky, kx), plane);
            }
        }
    }
}

fn fold_plane<T: Real>(
    s: &ConvShape,
    rows: Rows,
    terms: &[T],
    (ky, kx): (usize, usize),
    plane: &mut [T],
) {
    let (y_start, y_end) = valid_rows(s, ky);
    let (x_start, x_end) = valid_columns(s, kx);
    if x_start == x_end {
        return;
    }
    for (oy, line) in (rows.start..).zip(terms.chunks_exact(rows.width)) {
        if oy < y_start || oy >= y_end {
            continue;
        }
        let iy = oy * s.stride[0] + ky - s.padding;
        let ix = x_start * s.stride[1] + kx - s.padding;
        let target = &mut plane[iy * s.width + ix..(iy + 1) * s.width];
        for (to, from) in target.iter_mut().step_by(s.stride[1]).zip(&line[x_start..x_end]) {
            *to = *to + *from;
        }
    }
}

/// Copies a group of images into `[channels, row_len]` rows, side by side.
fn gather_rows<T: Real>(images: &[T], rows: &mut [T], channels: usize, pixels: usize) {
    let row_len = rows.len() / channels;
    for (i, image) in images.chunks_exact(channels * pixels).enumerate() {
        for (c, plane) in image.chunks_exact(pixels).enumerate() {
            let start = c * row_len + i * pixels;
            rows[start..start + pixels].copy_from_slice(plane);
        }
    }
}

/// Copies the matrix `[channels_out, images·pixels]` of a tile into its images.
fn scatter_rows<T: Real>(s: &ConvShape, rows: Rows, matrix: &[T], images: &mut [MaybeUninit<T>]) {
    let (pixels, row_len) = (rows.pixels(), matrix.len() / s.channels_out);
    for (i, image) in images.chunks_exact_mut(s.image_out()).enumerate() {
        for (c, plane) in image.chunks_exact_mut(s.pixels_out()).enumerate() {
            let start = c * row_len + i * pixels;
            let tile = &mut plane[rows.offset()..rows.offset() + pixels];
            tile.write_copy_of_slice(&matrix[start..start + pixels]);
        }
    }
}

/// Calls `f` with the column matrix of `rows` of `images`, side by side; the slice holds `channels`
/// planes of each image.
fn with_columns<'a, T: Real, R>(
    s: &ConvShape,
    rows: Rows,
    channels: usize,
    images: impl ExactSizeIterator<Item = &'a [T]> + Clone,
    f: impl FnOnce(&[T], Layout) -> R,
) -> R {
    let (depth, row_len) = (channels * s.positions(), images.len() * rows.pixels());
    if let (1, true, Some(image)) = (images.len(), s.is_pointwise(), images.clone().next()) {
        return f(&image[rows.offset()..], tile_of_image(depth, s.pixels_out(), rows));
    }
    with_scratch("columns", depth * row_len, |columns: &mut [T]| {
        for (i, image) in images.enumerate() {
            unfold(s, rows, image, columns, (row_len, i * rows.pixels()));
        }
        f(columns, Layout::dense(depth, row_len))
    })
}

/// Calls `f` with the matrix `[channels_out, images·pixels]` of `rows` of output-shaped images.
fn with_rows<T: Real, R>(
    s: &ConvShape,
    rows: Rows,
    y: &[T],
    f: impl FnOnce(&[T], Layout) -> R,
) -> R {
    if y.len() == s.image_out() {
        return f(&y[rows.offset()..], tile_of_image(s.channels_out, s.pixels_out(), rows));
    }
    debug_assert_eq!(rows.pixels(), s.pixels_out(), "several images make one tile");
    with_scratch("rows", y.len(), |matrix: &mut [T]| {
        gather_rows(y, matrix, s.channels_out, s.pixels_out());
        f(matrix, Layout::dense(s.channels_out, matrix.len() / s.channels_out))
    })
}

/// Layout of `rows` of an image with `channels` planes; the slice begins at their first pixel.
fn tile_of_image(channels: usize, plane: usize, rows: Rows) -> Layout {
    Layout { cols: rows.pixels(), ..Layout::dense(channels, plane) }
}

/// Images `range` of a batch of images of `len` elements.
fn images<T>(
    batch: &[T],
    range: Range<usize>,
    len: usize,
) -> impl ExactSizeIterator<Item = &[T]> + Clone {
    batch[range.start * len..range.end * len].chunks_exact(len)
}

/// The first of several terms overwrites; the others are added.
fn into(term: usize) -> Into {
    if term == 0 { Into::Overwrite } else { Into::Accumulate }
}

/// `y = Σ w ∗ x` over the terms `(x, w)`. `x`: `[batch, channels_in, height, width]`,
/// `w`: `[channels_out, channels_in, kernel height, kernel width]`.
///
/// # Panics
/// There is no term.
pub(crate) fn forward<T: Real>(s: &ConvShape, terms: &[(&[T], &[T])]) -> Vec<T> {
    assert!(!terms.is_empty(), "a sum has a term");
    let weights = Layout::dense(s.channels_out, s.depth());
    let group = s.group();
    let tiles_of_group = |(index, y): (usize, &mut [MaybeUninit<T>])| {
        let range = index * group..index * group + y.len() / s.image_out();
        for rows in s.tiles() {
            let cols = range.len() * rows.pixels();
            with_scratch("outputs", s.channels_out * cols, |matrix: &mut [T]| {
                for (term, (x, w)) in terms.iter().enumerate() {
                    let inputs = images(x, range.clone(), s.image_in());
                    with_columns(s, rows, s.channels_in, inputs, |columns, layout| {
                        let out = Layout::dense(s.channels_out, cols);
                        gemm((matrix, out), (w, weights), (columns, layout), into(term));
                    });
                }
                scatter_rows(s, rows, matrix, y);
            });
        }
    };
    // SAFETY: the chunks cover the output, the tiles of a group cover its images, and
    // `scatter_rows` writes every channel of a tile.
    unsafe {
        written(s.batch * s.image_out(), |y| {
            y.par_chunks_mut(group * s.image_out()).enumerate().for_each(tiles_of_group);
        })
    }
}

/// Gradient with respect to the input, summed over the terms `(w, dy)`; `dy` has the output's
/// shape.
///
/// # Panics
/// There is no term.
pub(crate) fn input_gradient<T: Real>(s: &ConvShape, terms: &[(&[T], &[T])]) -> Vec<T> {
    assert!(!terms.is_empty(), "a sum has a term");
    let weights = Layout::dense(s.channels_out, s.depth()).transposed();
    let group = s.group();
    let tiles_of_group = |(index, dx): (usize, &mut [MaybeUninit<T>])| {
        let dx = zeroed(dx);
        let range = index * group..index * group + dx.len() / s.image_in();
        let outputs = range.start * s.image_out()..range.end * s.image_out();
        for rows in s.tiles() {
            let cols = range.len() * rows.pixels();
            with_scratch("columns", s.depth() * cols, |columns: &mut [T]| {
                for (term, (w, dy)) in terms.iter().enumerate() {
                    with_rows(s, rows, &dy[outputs.clone()], |matrix, layout| {
                        let out = Layout::dense(s.depth(), cols);
                        gemm((columns, out), (w, weights), (matrix, layout), into(term));
                    });
                }
                for (i, image) in dx.chunks_exact_mut(s.image_in()).enumerate() {
                    fold(s, rows, columns, image, (cols, i * rows.pixels()));
                }
            });
        }
    };
    // SAFETY: the chunks cover the output, and each is filled with zeros first.
    unsafe {
        written(s.batch * s.image_in(), |dx| {
            dx.par_chunks_mut(group * s.image_in()).enumerate().for_each(tiles_of_group);
        })
    }
}

/// Gradient with respect to the weight, summed over the terms `(x, dy)`.
///
/// Blocks of input channels and parts of the batch are computed separately, each in the order of
/// its images, and the parts are added in order.
///
/// # Panics
/// There is no term.
pub(crate) fn weight_gradient<T: Real>(s: &ConvShape, terms: &[(&[T], &[T])]) -> Vec<T> {
    assert!(!terms.is_empty(), "a sum has a term");
    let group = s.group();
    let blocks = s.channels_in.div_ceil(WEIGHT_CHANNELS);
    let parts = (WEIGHT_TASKS / blocks).clamp(1, s.batch.div_ceil(group));
    let per_part = s.batch.div_ceil(group).div_ceil(parts) * group;
    let parts = s.batch.div_ceil(per_part);
    let sums: Vec<Vec<T>> = (0..parts * blocks)
        .into_par_iter()
        .map(|task| {
            let (part, first) = (task / blocks, task % blocks * WEIGHT_CHANNELS);
            let channels = first..s.channels_in.min(first + WEIGHT_CHANNELS);
            let range = part * per_part..s.batch.min((part + 1) * per_part);
            weight_block(s, terms, range, channels)
        })
        .collect();
    let positions = s.positions();
    let mut total = vec![T::zero(); s.channels_out * s.depth()];
    total.par_chunks_exact_mut(s.depth()).enumerate().for_each(|(channel, row)| {
        for part in sums.chunks_exact(blocks) {
            for (to, from) in row.chunks_mut(WEIGHT_CHANNELS * positions).zip(part) {
                let from = &from[channel * to.len()..(channel + 1) * to.len()];
                let channels = to.len() / positions;
                for (c, to) in to.chunks_exact_mut(positions).enumerate() {
                    for (to, from) in to.iter_mut().zip(from[c..].iter().step_by(channels)) {
                        *to = *to + *from;
                    }
                }
            }
        }
    });
    total
}

/// The weight's gradient for some images and some input channels: `[channels_out, kernel height,
/// kernel width, channels]`.
///
/// The images are transposed to channels last. A row of the transposed column matrix is then a few
/// copies of contiguous memory, and `gemm` need not transpose that matrix itself.
fn weight_block<T: Real>(
    s: &ConvShape,
    terms: &[(&[T], &[T])],
    range: Range<usize>,
    channels: Range<usize>,
) -> Vec<T> {
    let depth = channels.len() * s.positions();
    let block = Layout::dense(s.channels_out, depth);
    let planes = channels.start * s.pixels_in()..channels.end * s.pixels_in();
    let mut sum = vec![T::zero(); block.rows * block.cols];
    let mut into = Into::Overwrite;
    for start in range.clone().step_by(s.group()) {
        let group = start..range.end.min(start + s.group());
        for (x, dy) in terms {
            let inputs = images(x, group.clone(), s.image_in()).map(|x| &x[planes.clone()]);
            let dy = &dy[group.start * s.image_out()..group.end * s.image_out()];
            with_channels_last(s, inputs, planes.len(), |x| {
                for rows in s.tiles() {
                    let tile = Layout::dense(group.len() * rows.pixels(), depth);
                    with_scratch("columns", tile.rows * tile.cols, |columns: &mut [T]| {
                        let images = columns.chunks_exact_mut(rows.pixels() * depth);
                        for (image, columns) in x.chunks_exact(planes.len()).zip(images) {
                            unfold_transposed(s, rows, channels.len(), image, columns);
                        }
                        with_rows(s, rows, dy, |matrix, layout| {
                            gemm((&mut sum, block), (matrix, layout), (columns, tile), into);
                        });
                    });
                    into = Into::Accumulate;
                }
            });
        }
    }
    sum
}

/// Calls `f` with images of `len` elements, transposed from `[channels, pixels]` to `[pixels,
/// channels]`.
fn with_channels_last<'a, T: Real, R>(
    s: &ConvShape,
    images: impl ExactSizeIterator<Item = &'a [T]>,
    len: usize,
    f: impl FnOnce(&[T]) -> R,
) -> R {
    with_scratch("channels last", images.len() * len, |turned: &mut [T]| {
        for (image, turned) in images.zip(turned.chunks_exact_mut(len)) {
            transpose(image, turned, s.pixels_in());
        }
        f(turned)
    })
}

/// `to[j, i] = from[i, j]` for rows of `cols` elements.
fn transpose<T: Real>(from: &[T], to: &mut [T], cols: usize) {
    /// Rows at a time, so that a cache line is filled before it is evicted.
    const BLOCK: usize = 16;
    let rows = from.len() / cols;
    for first in (0..rows).step_by(BLOCK) {
        let block = BLOCK.min(rows - first);
        for (j, to) in to.chunks_exact_mut(rows).enumerate() {
            for (i, to) in to[first..first + block].iter_mut().enumerate() {
                *to = from[(first + i) * cols + j];
            }
        }
    }
}

/// Writes rows `rows` of an image with channels last as the transposed column matrix `[pixels,
/// kernel height, kernel width, channels]`.
fn unfold_transposed<T: Real>(
    s: &ConvShape,
    rows: Rows,
    channels: usize,
    x: &[T],
    columns: &mut [T],
) {
    let [kernel_height, kernel_width] = s.kernel;
    let line = kernel_width * channels;
    for (pixel, out) in columns.chunks_exact_mut(kernel_height * line).enumerate() {
        let (oy, ox) = (rows.start + pixel / rows.width, pixel % rows.width);
        // Kernel columns that read inside the image.
        let left = s.padding.saturating_sub(ox * s.stride[1]).min(kernel_width);
        let right = (s.width + s.padding).saturating_sub(ox * s.stride[1]);
        let right = right.min(kernel_width).max(left);
        for (ky, out) in out.chunks_exact_mut(line).enumerate() {
            let y = oy * s.stride[0] + ky;
            if y < s.padding || y >= s.height + s.padding || left == right {
                out.fill(T::zero());
                continue;
            }
            let start = (y - s.padding) * s.width + ox * s.stride[1] + left - s.padding;
            let inside = left * channels..right * channels;
            out[..inside.start].fill(T::zero());
            out[inside.end..].fill(T::zero());
            let len = inside.len();
            out[inside].copy_from_slice(&x[start * channels..start * channels + len]);
        }
    }
}
