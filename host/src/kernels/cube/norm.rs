//! Batch norm in its four passes, three launches each: sums over parts of the rows, coefficients of
//! every channel, and one pass over the elements.
//!
//! Images are matrices of pixels × channels here. The formulas are those of
//! [`slice::norm`](crate::kernels::slice::norm).

use burn_cubecl::CubeRuntime;
use burn_cubecl::tensor::CubeTensor;
use cubecl::prelude::*;

use super::columns::{self, COLUMNS, LANES, Parts, Sums, add_parts, over_lanes, part_sums};
use super::layout::{
    array, channels_last, dense, dims, empty_images, empty_matrix, empty_vector, width,
};

/// Pixels of all images, and channels.
fn matrix<R: CubeRuntime>(x: &CubeTensor<R>) -> [usize; 2] {
    let [batch, channels, height, width] = dims(x);
    [batch * height * width, channels]
}

/// Mean and sum of squared deviations of the union of two groups, from their sizes (Chan et al.
/// 1979).
///
/// Unlike Σx² − (Σx)²/n this loses no digits when the mean is large.
#[cube]
fn merge(n: f32, mean: f32, squares: f32, m: f32, other: f32, other_squares: f32) -> (f32, f32) {
    let total = n + m;
    let share = select(total > 0.0f32, m / max(total, 1.0f32), 0.0f32);
    let apart = other - mean;
    (fma(apart, share, mean), squares + other_squares + apart * apart * (n * share))
}

#[cube(launch_unchecked)]
fn part_moments(
    x: &Array<f32>,
    out: &mut Array<f32>,
    rows: u32,
    cols: u32,
    part_rows: u32,
    across: u32,
    parts: u32,
) {
    let part = CUBE_POS / across as usize;
    if part >= parts as usize {
        terminate!();
    }
    let (columns, lanes) = comptime!((COLUMNS as usize, LANES as usize));
    let cols = cols as usize;
    let column = (CUBE_POS % across as usize) * columns + UNIT_POS_X as usize;
    let lane = UNIT_POS_Y as usize;
    let start = part * part_rows as usize;
    let end = min(start + part_rows as usize, rows as usize);
    let mut count = 0.0f32;
    let mut sum = 0.0f32;
    let mut squares = 0.0f32;
    if column < cols {
        // Deviations are taken from the channel's first value, so a large mean costs no digits.
        let first = x[column];
        for row in range_stepped(start + lane, end, lanes) {
            let deviation = x[row * cols + column] - first;
            sum += deviation;
            squares = fma(deviation, deviation, squares);
            count += 1.0f32;
        }
    }
    let average = sum / max(count, 1.0f32);
    let mut shared = SharedMemory::<f32>::new(comptime!(3 * columns * lanes));
    let at = lane * columns + UNIT_POS_X as usize;
    let third = comptime!(columns * lanes);
    shared[at] = count;
    shared[third + at] = average;
    shared[2 * third + at] = max(squares - sum * average, 0.0f32);
    sync_cube();
    if lane == 0 && column < cols {
        let mut n = shared[at];
        let mut mean = shared[third + at];
        let mut total = shared[2 * third + at];
        #[unroll]
        for other in 1..lanes {
            let from = other * columns + UNIT_POS_X as usize;
            let m = shared[from];
            let merged = merge(n, mean, total, m, shared[third + from], shared[2 * third + from]);
            mean = merged.0;
            total = merged.1;
            n += m;
        }
        out[2 * part * cols + column] = mean;
        out[(2 * part + 1) * cols + column] = total;
    }
}

#[cube(launch_unchecked)]
fn finish_moments(
    x: &Array<f32>,
    parts: &Array<f32>,
    mean_out: &mut Array<f32>,
    variance_out: &mut Array<f32>,
    inv_std_out: &mut Array<f32>,
    rows: u32,
    cols: u32,
    part_rows: u32,
    part_count: u32,
    eps: f32,
) {
    if ABSOLUTE_POS >= cols as usize {
        terminate!();
    }
    let (column, cols) = (ABSOLUTE_POS, cols as usize);
    let mut n = 0.0f32;
    let mut mean = parts[column];
    let mut total = 0.0f32;
    for part in 0..part_count {
        let rows_here = min(part_rows, rows - part * part_rows);
        let m = f32::cast_from(rows_here);
        let at = 2 * part as usize * cols + column;
        let merged = merge(n, mean, total, m, parts[at], parts[at + cols]);
        mean = merged.0;
        total = merged.1;
        n += m;
    }
    let variance = total / n;
    mean_out[column] = x[column] + mean;
    variance_out[column] = variance;
    inv_std_out[column] = 1.0f32 / (variance + eps).sqrt();
}

#[cube(launch_unchecked)]
fn apply_forward<N: Size>(
    x: &Array<Vector<f32, N>>,
    mean: &Array<Vector<f32, N>>,
    inv_std: &Array<Vector<f32, N>>,
    gamma: &Array<Vector<f32, N>>,
    beta: &Array<Vector<f32, N>>,
    normalized: &mut Array<Vector<f32, N>>,
    y: &mut Array<Vector<f32, N>>,
    work: u32,
    across: u32,
) {
    if ABSOLUTE_POS >= work as usize {
        terminate!();
    }
    let c = ABSOLUTE_POS % across as usize;
    let value = (x[ABSOLUTE_POS] - mean[c]) * inv_std[c];
    normalized[ABSOLUTE_POS] = value;
    y[ABSOLUTE_POS] = fma(gamma[c], value, beta[c]);
}

/// The result of [`forward`]: y, x̂, 1/√(σ² + ε), μ, σ².
pub(super) struct Forward<R: CubeRuntime> {
    pub(super) y: CubeTensor<R>,
    pub(super) normalized: CubeTensor<R>,
    pub(super) inv_std: CubeTensor<R>,
    pub(super) mean: CubeTensor<R>,
    pub(super) variance: CubeTensor<R>,
}

/// Normalises by batch statistics.
pub(super) fn forward<R: CubeRuntime>(
    x: CubeTensor<R>,
    gamma: CubeTensor<R>,
    beta: CubeTensor<R>,
    eps: f64,
) -> Forward<R> {
    let x = channels_last(x);
    let [rows, cols] = matrix(&x);
    let parts = Parts::of(rows);
    let moments = empty_vector(&x, 2 * parts.count * cols);
    let (count, dim, across) = columns::grid(&x, cols, parts.count);
    // SAFETY: every index is within `rows` × `cols`, or within the parts.
    unsafe {
        part_moments::launch_unchecked::<R>(
            &x.client,
            count,
            dim,
            array(&x),
            array(&moments),
            rows as u32,
            cols as u32,
            parts.rows as u32,
            across,
            parts.count as u32,
        );
    }
    let [mean, variance, inv_std] = std::array::from_fn(|_| empty_vector(&x, cols));
    let (count, dim) = super::layout::grid(&x, cols);
    // SAFETY: every index is a column, or a column of a part.
    unsafe {
        finish_moments::launch_unchecked::<R>(
            &x.client,
            count,
            dim,
            array(&x),
            array(&moments),
            array(&mean),
            array(&variance),
            array(&inv_std),
            rows as u32,
            cols as u32,
            parts.rows as u32,
            parts.count as u32,
            eps as f32,
        );
    }
    let (normalized, y) = (empty_images(&x, dims(&x)), empty_images(&x, dims(&x)));
    let (gamma, beta) = (dense(gamma), dense(beta));
    let wide = width(cols);
    let work = rows * cols / wide;
    let (count, dim) = super::layout::grid(&x, work);
    // SAFETY: images have `work` vectors, columns `cols / wide`.
    unsafe {
        apply_forward::launch_unchecked::<R>(
            &x.client,
            count,
            dim,
            wide,
            array(&x),
            array(&mean),
            array(&inv_std),
            array(&gamma),
            array(&beta),
            array(&normalized),
            array(&y),
            work as u32,
            (cols / wide) as u32,
        );
    }
    Forward { y, normalized, inv_std, mean, variance }
}

/// The passes whose result is a linear combination of images with coefficients for each channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Pass {
    /// ẏ from ẋ and x̂.
    Tangent,
    /// x̄ from ȳ and x̂.
    Backward,
    /// x̄̇ from ȳ, ȳ̇, ẋ and x̂.
    BackwardTangent,
}

impl Pass {
    fn sums(self) -> Sums {
        match self {
            Self::Tangent | Self::Backward => Sums::Cross,
            Self::BackwardTangent => Sums::BackwardTangent,
        }
    }

    /// Coefficients of a channel: one for each image, and the constant.
    fn coefficients(self) -> usize {
        match self {
            Self::Tangent | Self::Backward => 3,
            Self::BackwardTangent => 5,
        }
    }
}

/// Computes the coefficients and cotangents of one channel from its sums.
#[cube(launch_unchecked)]
fn finish_pass(
    parts: &Array<f32>,
    gamma: &Array<f32>,
    inv_std: &Array<f32>,
    first_dot: &Array<f32>,
    second_dot: &Array<f32>,
    coefficients: &mut Array<f32>,
    gamma_bar: &mut Array<f32>,
    beta_bar: &mut Array<f32>,
    rows: u32,
    cols: u32,
    across: u32,
    part_count: u32,
    #[comptime] pass: Pass,
) {
    if CUBE_POS >= across as usize {
        terminate!();
    }
    let count = comptime!(pass.sums().count());
    let columns = comptime!(COLUMNS as usize);
    let cols = cols as usize;
    let column = CUBE_POS * columns + UNIT_POS_X as usize;
    let lane_sums = add_parts(parts, part_count as usize, cols, column, count);
    let total = over_lanes(&lane_sums, count);
    let mut totals = SharedMemory::<f32>::new(comptime!(columns * count));
    if (UNIT_POS_Y as usize) < count {
        totals[UNIT_POS_Y as usize * columns + UNIT_POS_X as usize] = total;
    }
    sync_cube();
    if UNIT_POS_Y == 0 && column < cols {
        let n = f32::cast_from(rows);
        let at = UNIT_POS_X as usize;
        let inv = inv_std[column];
        let scale = gamma[column] * inv;
        match pass {
            Pass::Tangent => {
                let mean = totals[at] / n;
                let m = totals[columns + at] / n;
                coefficients[column] = scale;
                coefficients[cols + column] = first_dot[column] - scale * m;
                coefficients[2 * cols + column] = second_dot[column] - scale * mean;
            }
            Pass::Backward => {
                coefficients[column] = scale;
                coefficients[cols + column] = -scale * (totals[columns + at] / n);
                coefficients[2 * cols + column] = -scale * (totals[at] / n);
                gamma_bar[column] = totals[columns + at];
                beta_bar[column] = totals[at];
            }
            Pass::BackwardTangent => {
                let gamma = gamma[column];
                let gamma_dot = first_dot[column];
                let mean = totals[at] / n;
                let m = totals[columns + at] / n;
                let sum_g = totals[2 * columns + at];
                let sum_gx = totals[3 * columns + at];
                let sum_h = totals[4 * columns + at];
                let sum_hx = totals[5 * columns + at];
                let sum_gd = totals[6 * columns + at];
                let sum_g_dot = inv * (sum_gd - mean * sum_g - m * sum_gx);
                let a = gamma * sum_g / n;
                let b = gamma * sum_gx / n;
                let a_dot = (gamma_dot * sum_g + gamma * sum_h) / n;
                let b_dot = (gamma_dot * sum_gx + gamma * sum_hx + gamma * sum_g_dot) / n;
                let inv_dot = -inv * inv * m;
                coefficients[column] = inv_dot * gamma + inv * gamma_dot;
                coefficients[cols + column] = scale;
                coefficients[2 * cols + column] = -inv * inv * b;
                coefficients[3 * cols + column] = inv * inv * b * m - inv_dot * b - inv * b_dot;
                coefficients[4 * cols + column] = inv * inv * b * mean - inv_dot * a - inv * a_dot;
                gamma_bar[column] = sum_hx + sum_g_dot;
                beta_bar[column] = sum_h;
            }
        }
    }
}

#[cube(launch_unchecked)]
fn apply_pass<N: Size>(
    a: &Array<Vector<f32, N>>,
    b: &Array<Vector<f32, N>>,
    c: &Array<Vector<f32, N>>,
    d: &Array<Vector<f32, N>>,
    coefficients: &Array<Vector<f32, N>>,
    out: &mut Array<Vector<f32, N>>,
    work: u32,
    across: u32,
    #[comptime] pass: Pass,
) {
    if ABSOLUTE_POS >= work as usize {
        terminate!();
    }
    let across = across as usize;
    let column = ABSOLUTE_POS % across;
    let constant = comptime!(pass.coefficients() - 1);
    let mut sum =
        fma(coefficients[column], a[ABSOLUTE_POS], coefficients[constant * across + column]);
    sum = fma(coefficients[across + column], b[ABSOLUTE_POS], sum);
    if comptime!(constant == 4) {
        sum = fma(coefficients[2 * across + column], c[ABSOLUTE_POS], sum);
        sum = fma(coefficients[3 * across + column], d[ABSOLUTE_POS], sum);
    }
    out[ABSOLUTE_POS] = sum;
}

/// γ, and what [`forward`] saved.
pub(super) struct Saved<R: CubeRuntime> {
    pub(super) gamma: CubeTensor<R>,
    pub(super) normalized: CubeTensor<R>,
    pub(super) inv_std: CubeTensor<R>,
}

/// The image that a pass computes, and the cotangents of γ and β (which the tangent does not have).
///
/// `summed` are the matrices that are summed, `combined` those of the result.
fn run<R: CubeRuntime>(
    saved: &Saved<R>,
    dots: [&CubeTensor<R>; 2],
    summed: [&CubeTensor<R>; 4],
    combined: [&CubeTensor<R>; 4],
    pass: Pass,
) -> [CubeTensor<R>; 3] {
    let x = summed[0];
    let [rows, cols] = matrix(x);
    let parts = Parts::of(rows);
    let sums = part_sums(summed, [rows, cols], parts, pass.sums());
    let coefficients = empty_matrix(x, [pass.coefficients(), cols]);
    let (gamma_bar, beta_bar) = (empty_vector(x, cols), empty_vector(x, cols));
    let (count, dim, across) = columns::grid(x, cols, 1);
    // SAFETY: every index is a column of one of the parts, sums or coefficients.
    unsafe {
        finish_pass::launch_unchecked::<R>(
            &x.client,
            count,
            dim,
            array(&sums),
            array(&saved.gamma),
            array(&saved.inv_std),
            array(dots[0]),
            array(dots[1]),
            array(&coefficients),
            array(&gamma_bar),
            array(&beta_bar),
            rows as u32,
            cols as u32,
            across,
            parts.count as u32,
            pass,
        );
    }
    let out = empty_images(x, dims(x));
    let wide = width(cols);
    let work = rows * cols / wide;
    let (count, dim) = super::layout::grid(x, work);
    let [a, b, c, d] = combined;
    // SAFETY: images have `work` vectors, a row of coefficients `cols / wide`.
    unsafe {
        apply_pass::launch_unchecked::<R>(
            &x.client,
            count,
            dim,
            wide,
            array(a),
            array(b),
            array(c),
            array(d),
            array(&coefficients),
            array(&out),
            work as u32,
            (cols / wide) as u32,
            pass,
        );
    }
    [out, gamma_bar, beta_bar]
}

impl<R: CubeRuntime> Saved<R> {
    /// The same tensors in the layout that the kernels expect.
    fn arranged(self) -> Self {
        Self {
            gamma: dense(self.gamma),
            normalized: channels_last(self.normalized),
            inv_std: dense(self.inv_std),
        }
    }
}

/// ẏ from ẋ, γ̇, β̇.
pub(super) fn tangent<R: CubeRuntime>(
    saved: Saved<R>,
    x_dot: CubeTensor<R>,
    gamma_dot: CubeTensor<R>,
    beta_dot: CubeTensor<R>,
) -> CubeTensor<R> {
    let (saved, x_dot) = (saved.arranged(), channels_last(x_dot));
    let dots = [&dense(gamma_dot), &dense(beta_dot)];
    let images = [&x_dot, &saved.normalized, &x_dot, &x_dot];
    let [y_dot, _, _] = run(&saved, dots, images, images, Pass::Tangent);
    y_dot
}

/// (x̄, γ̄, β̄) from ȳ.
pub(super) fn backward<R: CubeRuntime>(
    saved: Saved<R>,
    y_bar: CubeTensor<R>,
) -> [CubeTensor<R>; 3] {
    let (saved, y_bar) = (saved.arranged(), channels_last(y_bar));
    let images = [&y_bar, &saved.normalized, &y_bar, &y_bar];
    run(&saved, [&saved.gamma; 2], images, images, Pass::Backward)
}

/// (x̄̇, γ̄̇, β̄̇) from (ẋ, γ̇) and (ȳ, ȳ̇).
pub(super) fn backward_tangent<R: CubeRuntime>(
    saved: Saved<R>,
    (x_dot, gamma_dot): (CubeTensor<R>, CubeTensor<R>),
    (y_bar, y_bar_dot): (CubeTensor<R>, CubeTensor<R>),
) -> [CubeTensor<R>; 3] {
    let (saved, x_dot) = (saved.arranged(), channels_last(x_dot));
    let (y_bar, y_bar_dot) = (channels_last(y_bar), channels_last(y_bar_dot));
    let gamma_dot = dense(gamma_dot);
    let summed = [&x_dot, &saved.normalized, &y_bar, &y_bar_dot];
    let combined = [&y_bar, &y_bar_dot, &x_dot, &saved.normalized];
    run(&saved, [&gamma_dot; 2], summed, combined, Pass::BackwardTangent)
}
