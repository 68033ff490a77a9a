//! Pools over images with channels last: one unit per output (per input in backward passes) and
//! channel.
//!
//! The backward pass gathers from the windows that cover a pixel, in row-major order, so that no
//! atomics are needed.

use burn_cubecl::CubeRuntime;
use burn_cubecl::tensor::CubeTensor;
use cubecl::prelude::*;

use super::layout::{array, channels_last, dims, elements, empty_images, empty_indices, grid};
use crate::kernels::PoolShape;

/// Sizes of a max-pool on the device.
#[derive(CubeType, CubeLaunch, Clone, Copy)]
struct Window {
    channels: u32,
    height: u32,
    width: u32,
    height_out: u32,
    width_out: u32,
    kernel: u32,
    stride: u32,
    padding: u32,
}

fn window<R: CubeRuntime>(s: &PoolShape, channels: usize) -> WindowLaunch<R> {
    let [h, w] = [s.height_out(), s.width_out()];
    let [c, height, width, h, w, kernel, stride, padding] =
        [channels, s.height, s.width, h, w, s.kernel, s.stride, s.padding].map(|n| n as u32);
    WindowLaunch::new(c, height, width, h, w, kernel, stride, padding)
}

/// Whether `x` is NaN, even if the compiler folds comparisons of NaN to false.
#[cube]
fn is_nan(x: f32) -> bool {
    (u32::reinterpret(x) & 0x7fff_ffffu32) > 0x7f80_0000u32
}

#[cube(launch_unchecked)]
fn forward(x: &Array<f32>, y: &mut Array<f32>, winners: &mut Array<i32>, s: Window, len: u32) {
    if ABSOLUTE_POS >= len as usize {
        terminate!();
    }
    let at = ABSOLUTE_POS as u32;
    let channel = at % s.channels;
    let pixel = at / s.channels;
    let column = (pixel % s.width_out) * s.stride;
    let row = ((pixel / s.width_out) % s.height_out) * s.stride;
    let image = pixel / (s.width_out * s.height_out);
    let mut best = 0.0f32;
    let mut winner = 0u32;
    let mut found = false;
    for i in 0..s.kernel {
        for j in 0..s.kernel {
            // An index below zero wraps around and is too large as well.
            let (r, c) = (row + i - s.padding, column + j - s.padding);
            if r < s.height && c < s.width {
                let index = r * s.width + c;
                let value =
                    x[((image * s.height * s.width + index) * s.channels + channel) as usize];
                let wins = !found || value > best || (is_nan(value) && !is_nan(best));
                if wins {
                    best = value;
                    winner = index;
                    found = true;
                }
            }
        }
    }
    y[ABSOLUTE_POS] = best;
    winners[ABSOLUTE_POS] = i32::cast_from(winner);
}

#[cube(launch_unchecked)]
fn gather(x: &Array<f32>, winners: &Array<i32>, y: &mut Array<f32>, s: Window, len: u32) {
    if ABSOLUTE_POS >= len as usize {
        terminate!();
    }
    let at = ABSOLUTE_POS as u32;
    let image = at / (s.channels * s.width_out * s.height_out);
    let index = u32::cast_from(winners[ABSOLUTE_POS]);
    let from = (image * s.height * s.width + index) * s.channels + at % s.channels;
    y[ABSOLUTE_POS] = x[from as usize];
}

#[cube(launch_unchecked)]
fn backward(y_bar: &Array<f32>, winners: &Array<i32>, x_bar: &mut Array<f32>, s: Window, len: u32) {
    if ABSOLUTE_POS >= len as usize {
        terminate!();
    }
    let at = ABSOLUTE_POS as u32;
    let channel = at % s.channels;
    let pixel = at / s.channels;
    let column = pixel % s.width + s.padding;
    let row = (pixel / s.width) % s.height + s.padding;
    let image = pixel / (s.width * s.height);
    let own = i32::cast_from(pixel % (s.width * s.height));
    // The windows that cover the pixel.
    let row_end = min(row / s.stride + 1, s.height_out);
    let column_end = min(column / s.stride + 1, s.width_out);
    let mut row_start = 0u32;
    if row + 1 > s.kernel {
        row_start = (row + s.stride - s.kernel) / s.stride;
    }
    let mut column_start = 0u32;
    if column + 1 > s.kernel {
        column_start = (column + s.stride - s.kernel) / s.stride;
    }
    let mut sum = 0.0f32;
    for r in row_start..row_end {
        for c in column_start..column_end {
            let from = ((image * s.height_out + r) * s.width_out + c) * s.channels + channel;
            if winners[from as usize] == own {
                sum += y_bar[from as usize];
            }
        }
    }
    x_bar[ABSOLUTE_POS] = sum;
}

/// Maxima and the positions in their planes.
pub(super) fn max_pool<R: CubeRuntime>(
    s: &PoolShape,
    x: CubeTensor<R>,
) -> (CubeTensor<R>, CubeTensor<R>) {
    let x = channels_last(x);
    let [batch, channels, _, _] = dims(&x);
    let out = [batch, channels, s.height_out(), s.width_out()];
    let (y, winners) = (empty_images(&x, out), empty_indices(&x, out));
    let (count, dim) = grid(&x, elements(&y));
    // SAFETY: units past the outputs return, and reads are of pixels of the image.
    unsafe {
        forward::launch_unchecked::<R>(
            &x.client,
            count,
            dim,
            array(&x),
            array(&y),
            array(&winners),
            window(s, channels),
            elements(&y) as u32,
        );
    }
    (y, winners)
}

/// The elements of the winners.
pub(super) fn max_pool_tangent<R: CubeRuntime>(
    s: &PoolShape,
    x_dot: CubeTensor<R>,
    winners: &CubeTensor<R>,
) -> CubeTensor<R> {
    let x_dot = channels_last(x_dot);
    let y_dot = empty_images(&x_dot, dims(winners));
    let (count, dim) = grid(&x_dot, elements(&y_dot));
    // SAFETY: units past the outputs return, and winners are pixels of the image.
    unsafe {
        gather::launch_unchecked::<R>(
            &x_dot.client,
            count,
            dim,
            array(&x_dot),
            array(winners),
            array(&y_dot),
            window(s, dims(winners)[1]),
            elements(&y_dot) as u32,
        );
    }
    y_dot
}

/// Sums of the cotangents of the windows that a pixel won.
pub(super) fn max_pool_backward<R: CubeRuntime>(
    s: &PoolShape,
    y_bar: CubeTensor<R>,
    winners: &CubeTensor<R>,
) -> CubeTensor<R> {
    let y_bar = channels_last(y_bar);
    let [batch, channels, _, _] = dims(winners);
    let x_bar = empty_images(&y_bar, [batch, channels, s.height, s.width]);
    let (count, dim) = grid(&y_bar, elements(&x_bar));
    // SAFETY: units past the pixels return, and windows are within the outputs.
    unsafe {
        backward::launch_unchecked::<R>(
            &y_bar.client,
            count,
            dim,
            array(&y_bar),
            array(winners),
            array(&x_bar),
            window(s, channels),
            elements(&x_bar) as u32,
        );
    }
    x_bar
}

#[cube(launch_unchecked)]
fn mean(x: &Array<f32>, y: &mut Array<f32>, pixels: u32, channels: u32, share: f32, len: u32) {
    if ABSOLUTE_POS >= len as usize {
        terminate!();
    }
    let channels = channels as usize;
    let first = (ABSOLUTE_POS / channels) * pixels as usize * channels + ABSOLUTE_POS % channels;
    // Four sums allow four reads in flight at a time, and have a smaller error.
    let mut sums = Array::<f32>::new(4usize);
    #[unroll]
    for k in 0..4usize {
        sums[k] = 0.0f32;
    }
    let whole = pixels / 4 * 4;
    for pixel in range_stepped(0u32, whole, 4u32) {
        #[unroll]
        for k in 0..4usize {
            sums[k] += x[first + (pixel as usize + k) * channels];
        }
    }
    for pixel in whole..pixels {
        sums[0] += x[first + pixel as usize * channels];
    }
    y[ABSOLUTE_POS] = ((sums[0] + sums[1]) + (sums[2] + sums[3])) * share;
}

/// Mean over the pixels.
pub(super) fn average_pool<R: CubeRuntime>(x: CubeTensor<R>) -> CubeTensor<R> {
    let x = channels_last(x);
    let [batch, channels, height, width] = dims(&x);
    let y = empty_images(&x, [batch, channels, 1, 1]);
    let (count, dim) = grid(&x, elements(&y));
    // SAFETY: units past the outputs return, and reads are of pixels of the image.
    unsafe {
        mean::launch_unchecked::<R>(
            &x.client,
            count,
            dim,
            array(&x),
            array(&y),
            (height * width) as u32,
            channels as u32,
            1.0 / (height * width) as f32,
            elements(&y) as u32,
        );
    }
    y
}

#[cube(launch_unchecked)]
fn spread(
    y_bar: &Array<f32>,
    x_bar: &mut Array<f32>,
    image: u32,
    channels: u32,
    share: f32,
    len: u32,
) {
    if ABSOLUTE_POS >= len as usize {
        terminate!();
    }
    let at = ABSOLUTE_POS as u32;
    let from = at / image * channels + at % channels;
    x_bar[ABSOLUTE_POS] = y_bar[from as usize] * share;
}

/// The adjoint of [`average_pool`].
pub(super) fn average_pool_backward<R: CubeRuntime>(
    y_bar: CubeTensor<R>,
    height: usize,
    width: usize,
) -> CubeTensor<R> {
    let y_bar = channels_last(y_bar);
    let [batch, channels, _, _] = dims(&y_bar);
    let x_bar = empty_images(&y_bar, [batch, channels, height, width]);
    let (count, dim) = grid(&y_bar, elements(&x_bar));
    // SAFETY: units past the pixels return; every image has its `channels` means.
    unsafe {
        spread::launch_unchecked::<R>(
            &y_bar.client,
            count,
            dim,
            array(&y_bar),
            array(&x_bar),
            (channels * height * width) as u32,
            channels as u32,
            1.0 / (height * width) as f32,
            elements(&x_bar) as u32,
        );
    }
    x_bar
}
