//! The product of two operands that are read through an index map: `out[m, n] = Σ_k a(m, k) b(n,
//! k)`.
//!
//! One kernel serves matrix products and all three passes of a convolution. An operand is a matrix
//! with any strides, or the patches of images, which are never materialised. A cube computes a tile
//! of the output; 16 steps of depth at a time go through shared memory, and a unit keeps its part
//! of the tile in registers.
//!
//! Every output is one chain of fused multiply-adds over ascending `k` (or of products of
//! fragments, if [`super::tensor_cores`] multiply), whatever the tile. So a tile may be chosen by
//! measured time without changing a bit. If the depth is split into parts, the split follows from
//! the shape alone, and the parts are added in order.

use burn_cubecl::CubeRuntime;
use burn_cubecl::tensor::CubeTensor;
use cubecl::prelude::*;
use half::bf16;

use super::layout::{array, cubes, empty_vector, grid};
use super::operand::{Access, Geometry, Operand, Plan, RowMap, Rows, Tile, fetch, line, place};
use super::rounding::rounded;
use super::tensor_cores;
use crate::kernels::Precision;

/// Steps of depth that go through shared memory at a time.
pub(super) const DEPTH: usize = 16;
/// Extra floats per row of shared memory, against bank conflicts. A multiple of 4, so that rows
/// stay aligned for wide reads.
const PAD: usize = 4;

/// Writes what [`fetch`] read to shared memory, `[DEPTH][length + PAD]`, rounded to the precision.
#[cube]
fn stage<N: Size>(
    registers: &Array<Vector<f32, N>>,
    shared: &mut SharedMemory<f32>,
    #[comptime] length: usize,
    #[comptime] units: usize,
    #[comptime] access: Access,
    #[comptime] precision: Precision,
) {
    let wide = N::value();
    let share = comptime!(length * DEPTH / wide / units);
    let line = comptime!((length + PAD) as u32);
    #[unroll]
    for v in 0..share {
        let index = comptime!((v * units) as u32) + UNIT_POS;
        let (o, d) = place(index, length, DEPTH, wide, access.along_depth);
        let value = registers[v];
        #[unroll]
        for e in 0..wide {
            let element = rounded(value[e], precision);
            if comptime!(access.along_depth) {
                shared[((d + comptime!(e as u32)) * line + o) as usize] = element;
            } else {
                shared[(d * line + o + comptime!(e as u32)) as usize] = element;
            }
        }
    }
}

/// Offset of the `i`-th of a unit's rows (or columns) within a tile. They come in groups of 4, so
/// that adjacent units read and write adjacent elements.
#[cube]
fn offset(
    unit: u32,
    #[comptime] i: usize,
    #[comptime] each: usize,
    #[comptime] length: usize,
) -> u32 {
    let stride = comptime!((length / each * 4) as u32);
    comptime!((i / 4) as u32) * stride + unit * 4u32 + comptime!((i % 4) as u32)
}

#[cube(launch_unchecked)]
fn multiply<NA: Size, NB: Size>(
    a: &Array<Vector<f32, NA>>,
    b: &Array<Vector<f32, NB>>,
    out: &mut Array<f32>,
    a_geometry: Geometry,
    b_geometry: Geometry,
    map: RowMap,
    rows: u32,
    cols: u32,
    depth: u32,
    part_depth: u32,
    tiles_across: u32,
    tiles: u32,
    cube_count: u32,
    #[comptime] plan: Plan,
) {
    if CUBE_POS >= cube_count as usize {
        terminate!();
    }
    let [height, width] = comptime!(plan.tile.cube);
    let [unit_rows, unit_cols] = comptime!(plan.tile.unit);
    let units = comptime!(plan.tile.units());
    let cube = CUBE_POS as u32;
    let part = cube / tiles;
    let tile = cube % tiles;
    let first_row = tile / tiles_across * comptime!(height as u32);
    let first_col = tile % tiles_across * comptime!(width as u32);
    let start = part * part_depth;
    let end = min(start + part_depth, depth);
    let units_across = comptime!((width / unit_cols) as u32);
    let unit_row = UNIT_POS / units_across;
    let unit_col = UNIT_POS % units_across;

    let mut a_shared = SharedMemory::<f32>::new_aligned(comptime!(DEPTH * (height + PAD)), 16usize);
    let mut b_shared = SharedMemory::<f32>::new_aligned(comptime!(DEPTH * (width + PAD)), 16usize);
    let (a_wide, b_wide) = (NA::value(), NB::value());
    let mut a_next = Array::<Vector<f32, NA>>::new(comptime!(height * DEPTH / a_wide / units));
    let mut b_next = Array::<Vector<f32, NB>>::new(comptime!(width * DEPTH / b_wide / units));
    let mut sums = Array::<f32>::new(comptime!(unit_rows * unit_cols));
    let mut a_line = Array::<f32>::new(unit_rows);
    let mut b_line = Array::<f32>::new(unit_cols);

    #[unroll]
    for i in 0..unit_rows {
        #[unroll]
        for j in 0..unit_cols {
            sums[i * unit_cols + j] = 0.0f32;
        }
    }

    fetch(a, &a_geometry, &mut a_next, first_row, rows, start, end, height, DEPTH, units, plan.a);
    fetch(b, &b_geometry, &mut b_next, first_col, cols, start, end, width, DEPTH, units, plan.b);
    for k in range_stepped(start, end, comptime!(DEPTH as u32)) {
        stage(&a_next, &mut a_shared, height, units, plan.a, plan.precision);
        stage(&b_next, &mut b_shared, width, units, plan.b, plan.precision);
        sync_cube();
        // The next stage is loaded while this one is computed; past the end it reads nothing.
        let next = k + comptime!(DEPTH as u32);
        fetch(
            a,
            &a_geometry,
            &mut a_next,
            first_row,
            rows,
            next,
            end,
            height,
            DEPTH,
            units,
            plan.a,
        );
        fetch(b, &b_geometry, &mut b_next, first_col, cols, next, end, width, DEPTH, units, plan.b);
        for d in 0..comptime!(DEPTH as u32) {
            #[unroll]
            for i in 0..unit_rows {
                let at =
                    d * comptime!((height + PAD) as u32) + offset(unit_row, i, unit_rows, height);
                a_line[i] = a_shared[at as usize];
            }
            #[unroll]
            for j in 0..unit_cols {
                let at =
                    d * comptime!((width + PAD) as u32) + offset(unit_col, j, unit_cols, width);
                b_line[j] = b_shared[at as usize];
            }
            #[unroll]
            for i in 0..unit_rows {
                #[unroll]
                for j in 0..unit_cols {
                    sums[i * unit_cols + j] = fma(a_line[i], b_line[j], sums[i * unit_cols + j]);
                }
            }
        }
        sync_cube();
    }

    #[unroll]
    for i in 0..unit_rows {
        let row = first_row + offset(unit_row, i, unit_rows, height);
        if row < rows {
            let line = line(part, row, rows, &map, plan.pixels);
            #[unroll]
            for j in 0..unit_cols {
                let col = first_col + offset(unit_col, j, unit_cols, width);
                if col < cols {
                    let at = (line * cols + col) as usize;
                    if comptime!(plan.accumulate) {
                        out[at] += sums[i * unit_cols + j];
                    } else {
                        out[at] = sums[i * unit_cols + j];
                    }
                }
            }
        }
    }
}

/// How the parts of a split depth become the output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Order {
    /// In the same order.
    Rows,
    /// From `[channels_out, taps, channels_in]` to torch's `[channels_out, channels_in, taps]`.
    Weight,
}

#[cube(launch_unchecked)]
fn add_parts(
    parts: &Array<f32>,
    out: &mut Array<f32>,
    len: u32,
    part_count: u32,
    taps: u32,
    channels: u32,
    #[comptime] order: Order,
    #[comptime] accumulate: bool,
) {
    if ABSOLUTE_POS >= len as usize {
        terminate!();
    }
    let mut sum = 0.0f32;
    for part in 0..part_count {
        sum += parts[(part * len) as usize + ABSOLUTE_POS];
    }
    let mut to = ABSOLUTE_POS;
    if comptime!(order == Order::Weight) {
        let at = ABSOLUTE_POS as u32;
        let channel = at % channels;
        let tap = at / channels % taps;
        let filter = at / (channels * taps);
        to = ((filter * channels + channel) * taps + tap) as usize;
    }
    if comptime!(accumulate) {
        out[to] += sum;
    } else {
        out[to] = sum;
    }
}

/// The depth is split for fewer outputs than this, so that a GPU has enough cubes.
const ENOUGH_OUTPUTS: usize = 1 << 22;
/// Least depth of a part.
const PART_DEPTH: usize = 256;

/// Depth of the parts. It must be a function of the shape alone, since it determines the bits.
pub(super) fn part_depth([rows, cols, depth]: [usize; 3]) -> usize {
    let wanted = ENOUGH_OUTPUTS.div_ceil((rows * cols).max(1));
    let parts = wanted.min(depth.div_ceil(PART_DEPTH)).clamp(1, 256);
    depth.div_ceil(parts).next_multiple_of(DEPTH).max(DEPTH)
}

/// A product to compute.
pub(super) struct Product<'a, R: CubeRuntime> {
    pub(super) a: Operand<'a, R>,
    pub(super) b: Operand<'a, R>,
    /// Rows, columns and depth.
    pub(super) shape: [usize; 3],
    pub(super) precision: Precision,
}

impl<R: CubeRuntime> Product<'_, R> {
    fn launch(
        &self,
        out: &CubeTensor<R>,
        tile: Tile,
        part_depth: usize,
        rows: Option<Rows>,
        accumulate: bool,
    ) {
        let [row_count, cols, depth] = self.shape;
        let parts = depth.div_ceil(part_depth).max(1);
        let across = cols.div_ceil(tile.cube[1]);
        let tiles = across * row_count.div_ceil(tile.cube[0]);
        let plan = Plan {
            tile,
            a: self.a.access,
            b: self.b.access,
            pixels: rows.is_some(),
            accumulate,
            precision: self.precision,
        };
        let all = Rows { grid: [1; 2], size: [1; 2], step: [1; 2], first: [0; 2] };
        macro_rules! launch {
            ($kernel:path) => {
                // SAFETY: units past the rows, columns or depth neither read nor write.
                unsafe {
                    $kernel(
                        &out.client,
                        cubes(out, tiles * parts),
                        CubeDim::new_1d(tile.units() as u32),
                        self.a.wide,
                        self.b.wide,
                        wide_array(&self.a),
                        wide_array(&self.b),
                        array(out),
                        self.a.geometry(),
                        self.b.geometry(),
                        rows.unwrap_or(all).launch(),
                        row_count as u32,
                        cols as u32,
                        depth as u32,
                        part_depth as u32,
                        across as u32,
                        tiles as u32,
                        (tiles * parts) as u32,
                        plan,
                    )
                }
            };
        }
        match self.precision {
            Precision::Tf32 if tensor_cores::multiply_in(Precision::Tf32, &out.client) => {
                launch!(tensor_cores::multiply::launch_unchecked::<tf32, R>)
            }
            Precision::Bf16 if tensor_cores::multiply_in(Precision::Bf16, &out.client) => {
                launch!(tensor_cores::multiply::launch_unchecked::<bf16, R>)
            }
            _ => launch!(multiply::launch_unchecked::<R>),
        }
    }

    /// Writes the product to `out` (or adds it), to contiguous rows or to pixels; the depth is
    /// never split if rows go to pixels.
    pub(super) fn write(
        &self,
        out: &CubeTensor<R>,
        tile: Tile,
        rows: Option<Rows>,
        accumulate: bool,
    ) {
        let whole = self.shape[2].next_multiple_of(DEPTH).max(DEPTH);
        self.launch(out, tile, whole, rows, accumulate);
    }

    /// Writes the product to `out` (or adds it) with the depth split into parts; `taps` is for
    /// [`Order::Weight`].
    pub(super) fn write_in_parts(
        &self,
        out: &CubeTensor<R>,
        tile: Tile,
        order: Order,
        taps: usize,
        accumulate: bool,
    ) {
        let [rows, cols, depth] = self.shape;
        let part_depth = part_depth(self.shape);
        let parts = depth.div_ceil(part_depth).max(1);
        if parts == 1 && order == Order::Rows {
            return self.launch(out, tile, part_depth, None, accumulate);
        }
        let len = rows * cols;
        let sums = empty_vector(out, parts * len);
        self.launch(&sums, tile, part_depth, None, false);
        let (count, dim) = grid(out, len);
        // SAFETY: units past the outputs return; there are `parts` times as many sums.
        unsafe {
            add_parts::launch_unchecked::<R>(
                &out.client,
                count,
                dim,
                array(&sums),
                array(out),
                len as u32,
                parts as u32,
                taps as u32,
                (cols / taps) as u32,
                order,
                accumulate,
            );
        }
    }
}

fn wide_array<R: CubeRuntime>(operand: &Operand<'_, R>) -> ArrayArg<R> {
    super::layout::whole(operand.memory)
}
