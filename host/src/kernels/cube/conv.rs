//! The three passes of a convolution as products over patches, see [`super::gemm`].
//!
//! The gradient of the input at stride s splits into s × s products, one for every phase of the
//! pixels modulo s. Each phase meets its own taps only, and no product multiplies zeros. A phase
//! without taps (a 1×1 kernel at stride 2 has three) has depth 0 and writes zeros.

use burn_cubecl::CubeRuntime;
use burn_cubecl::tensor::CubeTensor;
use cubecl::prelude::*;

use super::gemm::{Order, Product};
use super::layout::{
    array, channels_last, dense, elements, empty_images, empty_matrix, empty_weight, grid,
};
use super::operand::{Operand, Patches, Rows, Tile};
use super::tuning;
use crate::kernels::ConvShape;

/// The taps of a kernel that a product uses: every `step`-th from `first` on.
#[derive(Clone, Copy, Debug)]
struct Taps {
    count: [usize; 2],
    first: [usize; 2],
    step: [usize; 2],
}

#[derive(CubeType, CubeLaunch, Clone, Copy)]
struct Packing {
    taps_across: u32,
    first_down: u32,
    first_across: u32,
    step_down: u32,
    step_across: u32,
    kernel_width: u32,
    depth_channels: u32,
    outer_channels: u32,
    depth_stride: u32,
    outer_stride: u32,
}

/// `out[tap, depth channel, outer channel]` from a weight in torch's layout.
#[cube(launch_unchecked)]
fn pack(w: &Array<f32>, out: &mut Array<f32>, p: Packing, len: u32) {
    if ABSOLUTE_POS >= len as usize {
        terminate!();
    }
    let at = ABSOLUTE_POS as u32;
    let outer = at % p.outer_channels;
    let at = at / p.outer_channels;
    let depth = at % p.depth_channels;
    let tap = at / p.depth_channels;
    let down = tap / p.taps_across * p.step_down + p.first_down;
    let across = tap % p.taps_across * p.step_across + p.first_across;
    let from = outer * p.outer_stride + depth * p.depth_stride + down * p.kernel_width + across;
    out[ABSOLUTE_POS] = w[from as usize];
}

/// Which of a weight's two channels is the depth of a product.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Depth {
    In,
    Out,
}

/// The weight as a matrix of taps and depth channels × outer channels.
fn packed<R: CubeRuntime>(
    s: &ConvShape,
    w: CubeTensor<R>,
    taps: Taps,
    depth: Depth,
) -> CubeTensor<R> {
    let w = dense(w);
    let [height, width] = s.kernel;
    let (by_out, by_in) = (s.channels_in * height * width, height * width);
    let (depth_channels, outer_channels, depth_stride, outer_stride) = match depth {
        Depth::In => (s.channels_in, s.channels_out, by_in, by_out),
        Depth::Out => (s.channels_out, s.channels_in, by_out, by_in),
    };
    let [down, across] = taps.count;
    let out = empty_matrix(&w, [down * across * depth_channels, outer_channels]);
    let len = elements(&out);
    if len == 0 {
        return out;
    }
    let (count, dim) = grid(&w, len);
    let packing = PackingLaunch::new(
        across as u32,
        taps.first[0] as u32,
        taps.first[1] as u32,
        taps.step[0] as u32,
        taps.step[1] as u32,
        width as u32,
        depth_channels as u32,
        outer_channels as u32,
        depth_stride as u32,
        outer_stride as u32,
    );
    // SAFETY: units past the output return; taps and channels are within the weight.
    unsafe {
        pack::launch_unchecked::<R>(
            &w.client,
            count,
            dim,
            array(&w),
            array(&out),
            packing,
            len as u32,
        );
    }
    out
}

/// A packed weight as the second operand: the outer channels are contiguous.
fn weight_operand<R: CubeRuntime>(w: &CubeTensor<R>) -> Operand<'_, R> {
    let shape = w.meta.shape();
    Operand::matrix(w, [1, shape[1]], [shape[1], shape[0]])
}

/// Patches of the input at the positions of the output.
fn input_patches(s: &ConvShape) -> Patches {
    let padding = -(s.padding as i32);
    Patches {
        channels: s.channels_in,
        size: [s.height, s.width],
        grid: [s.height_out(), s.width_out()],
        taps_across: s.kernel[1],
        step: s.stride,
        offset: [padding, padding],
    }
}

/// `y = Σ w ∗ x` over the terms `(x, w)`.
pub(super) fn forward<R: CubeRuntime>(
    s: &ConvShape,
    terms: Vec<(CubeTensor<R>, CubeTensor<R>)>,
) -> CubeTensor<R> {
    let taps = Taps { count: s.kernel, first: [0; 2], step: [1; 2] };
    let shape =
        [s.batch * s.height_out() * s.width_out(), s.channels_out, s.positions() * s.channels_in];
    let y = empty_images(&terms[0].0, s.output());
    for (index, (x, w)) in terms.into_iter().enumerate() {
        let x = channels_last(x);
        let w = packed(s, w, taps, Depth::In);
        let product = Product {
            a: Operand::patches(&x, input_patches(s), false, false),
            b: weight_operand(&w),
            shape,
            precision: s.precision,
        };
        let run = |out: &CubeTensor<R>, tile: Tile, accumulate| {
            product.write(out, tile, None, accumulate);
        };
        let tile = tuning::tile("conv", s, &y, shape, |tile, scratch| run(scratch, tile, false));
        run(&y, tile, index > 0);
    }
    y
}

/// One direction of a phase: its taps, its positions, and where they meet the output's cotangent.
struct Phase {
    taps: usize,
    first_tap: usize,
    positions: usize,
    offset: i32,
}

fn phase(remainder: usize, kernel: usize, stride: usize, padding: usize, size: usize) -> Phase {
    let first_tap = (remainder + padding) % stride;
    Phase {
        taps: kernel.saturating_sub(first_tap).div_ceil(stride),
        first_tap,
        positions: size.saturating_sub(remainder).div_ceil(stride),
        offset: ((remainder + padding) / stride) as i32,
    }
}

/// x̄, summed over the terms `(w, ȳ)`.
pub(super) fn input_gradient<R: CubeRuntime>(
    s: &ConvShape,
    terms: Vec<(CubeTensor<R>, CubeTensor<R>)>,
) -> CubeTensor<R> {
    let terms: Vec<_> = terms.into_iter().map(|(w, y)| (w, channels_last(y))).collect();
    let x_bar = empty_images(&terms[0].1, [s.batch, s.channels_in, s.height, s.width]);
    let [down, across] = s.stride;
    for (i, j) in (0..down).flat_map(|i| (0..across).map(move |j| (i, j))) {
        let vertical = phase(i, s.kernel[0], down, s.padding, s.height);
        let horizontal = phase(j, s.kernel[1], across, s.padding, s.width);
        let taps = Taps {
            count: [vertical.taps, horizontal.taps],
            first: [vertical.first_tap, horizontal.first_tap],
            step: s.stride,
        };
        let positions = [vertical.positions, horizontal.positions];
        let depth = vertical.taps * horizontal.taps * s.channels_out;
        let shape = [s.batch * positions[0] * positions[1], s.channels_in, depth];
        if shape[0] == 0 {
            continue;
        }
        let rows =
            Rows { grid: positions, size: [s.height, s.width], step: s.stride, first: [i, j] };
        let patches = Patches {
            channels: s.channels_out,
            size: [s.height_out(), s.width_out()],
            grid: positions,
            taps_across: horizontal.taps.max(1),
            step: [1; 2],
            offset: [vertical.offset, horizontal.offset],
        };
        for (index, (w, y_bar)) in terms.iter().enumerate() {
            let w = packed(s, w.clone(), taps, Depth::Out);
            let product = Product {
                a: Operand::patches(y_bar, patches, false, true),
                b: weight_operand(&w),
                shape,
                precision: s.precision,
            };
            let run = |out: &CubeTensor<R>, tile: Tile, accumulate| {
                product.write(out, tile, Some(rows), accumulate);
            };
            let tile = if depth == 0 {
                tuning::by_shape(shape)
            } else {
                tuning::tile("conv_input", s, &x_bar, shape, |tile, scratch| {
                    run(scratch, tile, false);
                })
            };
            run(&x_bar, tile, index > 0);
        }
    }
    x_bar
}

/// w̄, summed over the terms `(x, ȳ)`: the depth runs over every pixel of the batch and is split
/// into parts.
pub(super) fn weight_gradient<R: CubeRuntime>(
    s: &ConvShape,
    terms: Vec<(CubeTensor<R>, CubeTensor<R>)>,
) -> CubeTensor<R> {
    let pixels = s.batch * s.height_out() * s.width_out();
    let shape = [s.channels_out, s.positions() * s.channels_in, pixels];
    let w_bar =
        empty_weight(&terms[0].0, [s.channels_out, s.channels_in, s.kernel[0], s.kernel[1]]);
    for (index, (x, y_bar)) in terms.into_iter().enumerate() {
        let (x, y_bar) = (channels_last(x), channels_last(y_bar));
        let product = Product {
            a: Operand::matrix(&y_bar, [1, s.channels_out], [s.channels_out, pixels]),
            b: Operand::patches(&x, input_patches(s), true, false),
            shape,
            precision: s.precision,
        };
        let run = |out: &CubeTensor<R>, tile: Tile, accumulate| {
            product.write_in_parts(out, tile, Order::Weight, s.positions(), accumulate);
        };
        let tile = tuning::tile("conv_weight", s, &w_bar, shape, |tile, scratch| {
            run(scratch, tile, false)
        });
        run(&w_bar, tile, index > 0);
    }
    w_bar
}
