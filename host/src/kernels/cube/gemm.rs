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
use super::rounding::rounded;
use super::tensor_cores;
use crate::kernels::Precision;

/// Steps of depth that go through shared memory at a time.
pub(super) const DEPTH: usize = 16;
/// Extra floats per row of shared memory, against bank conflicts. A multiple of 4, so that rows
/// stay aligned for wide reads.
const PAD: usize = 4;

/// What a cube and a unit compute.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Tile {
    /// Outputs of a cube, down and across.
    pub(super) cube: [usize; 2],
    /// Outputs of a unit, down and across.
    pub(super) unit: [usize; 2],
}

impl Tile {
    /// Units of a cube.
    pub(super) fn units(&self) -> usize {
        self.cube[0] / self.unit[0] * (self.cube[1] / self.unit[1])
    }
}

/// All tiles: small ones for small outputs and devices, large ones for devices with many registers
/// and outputs of many elements.
pub(super) const TILES: [Tile; 4] = [
    Tile { cube: [32, 32], unit: [4, 4] },
    Tile { cube: [64, 64], unit: [4, 4] },
    Tile { cube: [128, 64], unit: [8, 4] },
    Tile { cube: [128, 128], unit: [8, 8] },
];

/// Where an operand's elements come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Source {
    /// A matrix with any strides.
    Matrix,
    /// Patches of images: the outer index is a pixel, the depth a tap and channel.
    Patches,
    /// Patches with the two indices exchanged.
    PatchesTransposed,
}

/// How a kernel reads an operand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Access {
    pub(super) source: Source,
    /// Whether contiguous elements differ in depth; otherwise they differ in the outer index.
    pub(super) along_depth: bool,
    /// Whether taps go up and to the left, as in a transposed convolution.
    pub(super) reversed: bool,
}

/// Sizes that a kernel needs to find an element of an operand.
#[derive(CubeType, CubeLaunch, Clone, Copy)]
pub(super) struct Geometry {
    outer_stride: u32,
    depth_stride: u32,
    channels: u32,
    height: u32,
    width: u32,
    grid_height: u32,
    grid_width: u32,
    taps_across: u32,
    step_down: u32,
    step_across: u32,
    offset_down: i32,
    offset_across: i32,
}

/// Patches of images with channels last: pixel `(i, j)` of a grid and tap `(s, t)` meet at `(step ·
/// i ± s + offset, …)`; outside of the image the value is 0.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patches {
    pub(super) channels: usize,
    /// Height and width of the images.
    pub(super) size: [usize; 2],
    /// Positions down and across.
    pub(super) grid: [usize; 2],
    /// Taps across.
    pub(super) taps_across: usize,
    pub(super) step: [usize; 2],
    pub(super) offset: [i32; 2],
}

/// An operand: its memory, how it is read, and its sizes.
pub(super) struct Operand<'a, R: CubeRuntime> {
    pub(super) memory: &'a CubeTensor<R>,
    pub(super) access: Access,
    /// Strides of the outer index and of depth, for a matrix.
    pub(super) strides: [usize; 2],
    /// The patches, for images.
    pub(super) patches: Patches,
    /// Elements of one read, 1 or 4.
    pub(super) wide: usize,
}

impl<'a, R: CubeRuntime> Operand<'a, R> {
    /// A matrix whose outer index and depth have these strides and lengths.
    pub(super) fn matrix(
        memory: &'a CubeTensor<R>,
        strides: [usize; 2],
        [outer, depth]: [usize; 2],
    ) -> Self {
        let along_depth = strides[1] == 1;
        let (length, stride) = if along_depth { (depth, strides[0]) } else { (outer, strides[1]) };
        let dense = along_depth || strides[0] == 1;
        let wide =
            if dense && length.is_multiple_of(4) && stride.is_multiple_of(4) { 4 } else { 1 };
        let access = Access { source: Source::Matrix, along_depth, reversed: false };
        let none = Patches {
            channels: 1,
            size: [1; 2],
            grid: [1; 2],
            taps_across: 1,
            step: [1; 2],
            offset: [0; 2],
        };
        Self { memory, access, strides, patches: none, wide }
    }

    /// Patches; with `transposed` the outer index is a tap and channel.
    pub(super) fn patches(
        memory: &'a CubeTensor<R>,
        patches: Patches,
        transposed: bool,
        reversed: bool,
    ) -> Self {
        let source = if transposed { Source::PatchesTransposed } else { Source::Patches };
        let access = Access { source, along_depth: !transposed, reversed };
        let wide = if patches.channels.is_multiple_of(4) { 4 } else { 1 };
        Self { memory, access, strides: [0; 2], patches, wide }
    }

    fn geometry(&self) -> GeometryLaunch<R> {
        let Patches { channels, size, grid, taps_across, step, offset } = self.patches;
        GeometryLaunch::new(
            self.strides[0] as u32,
            self.strides[1] as u32,
            channels as u32,
            size[0] as u32,
            size[1] as u32,
            grid[0] as u32,
            grid[1] as u32,
            taps_across as u32,
            step[0] as u32,
            step[1] as u32,
            offset[0],
            offset[1],
        )
    }
}

/// Where the rows of the output are written.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rows {
    /// Grid positions down and across that the rows run over, image after image.
    pub(super) grid: [usize; 2],
    /// Height and width of the images that the rows are pixels of.
    pub(super) size: [usize; 2],
    /// Pixels between the positions of the grid.
    pub(super) step: [usize; 2],
    /// First pixel.
    pub(super) first: [usize; 2],
}

#[derive(CubeType, CubeLaunch, Clone, Copy)]
pub(super) struct RowMap {
    grid_height: u32,
    grid_width: u32,
    height: u32,
    width: u32,
    step_down: u32,
    step_across: u32,
    first_down: u32,
    first_across: u32,
}

impl Rows {
    fn launch<R: CubeRuntime>(self) -> RowMapLaunch<R> {
        let Self { grid, size, step, first } = self;
        let [a, b, c, d] = [grid, size, step, first].map(|pair| pair.map(|n| n as u32));
        RowMapLaunch::new(a[0], a[1], b[0], b[1], c[0], c[1], d[0], d[1])
    }
}

/// The choices that are fixed when the kernel is compiled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Plan {
    pub(super) tile: Tile,
    pub(super) a: Access,
    pub(super) b: Access,
    /// Whether rows are mapped to pixels by [`Rows`]; otherwise they are contiguous.
    pub(super) pixels: bool,
    /// Whether the product is added to the output's content.
    pub(super) accumulate: bool,
    pub(super) precision: Precision,
}

/// The vector of an operand that starts at `(outer, depth)`.
#[cube]
fn element<N: Size>(
    x: &Array<Vector<f32, N>>,
    g: &Geometry,
    outer: u32,
    depth: u32,
    #[comptime] access: Access,
) -> Vector<f32, N> {
    let wide = N::value() as u32;
    if comptime!(access.source == Source::Matrix) {
        x[((outer * g.outer_stride + depth * g.depth_stride) / wide) as usize]
    } else {
        let mut pixel = outer;
        let mut tap = depth;
        if comptime!(access.source == Source::PatchesTransposed) {
            pixel = depth;
            tap = outer;
        }
        let channel = tap % g.channels;
        let tap = tap / g.channels;
        let across = i32::cast_from(tap % g.taps_across);
        let down = i32::cast_from(tap / g.taps_across);
        let column = i32::cast_from(pixel % g.grid_width * g.step_across) + g.offset_across;
        let pixel = pixel / g.grid_width;
        let row = i32::cast_from(pixel % g.grid_height * g.step_down) + g.offset_down;
        let image = pixel / g.grid_height;
        let mut r = row + down;
        let mut c = column + across;
        if comptime!(access.reversed) {
            r = row - down;
            c = column - across;
        }
        // An index below zero wraps around and is too large as well.
        let (r, c) = (u32::cast_from(r), u32::cast_from(c));
        let mut value = Vector::new(0.0f32);
        if r < g.height && c < g.width {
            let at = ((image * g.height + r) * g.width + c) * g.channels + channel;
            value = x[(at / wide) as usize];
        }
        value
    }
}

/// Outer index and depth, within the tile, of the `index`-th vector of a stage.
#[cube]
pub(super) fn place(
    index: u32,
    #[comptime] length: usize,
    #[comptime] steps: usize,
    #[comptime] wide: usize,
    #[comptime] along_depth: bool,
) -> (u32, u32) {
    if comptime!(along_depth) {
        let across = comptime!((steps / wide) as u32);
        (index / across, index % across * comptime!(wide as u32))
    } else {
        let across = comptime!((length / wide) as u32);
        (index % across * comptime!(wide as u32), index / across)
    }
}

/// Reads the unit's share of a stage of an operand into registers; 0 past the ends.
#[cube]
pub(super) fn fetch<N: Size>(
    x: &Array<Vector<f32, N>>,
    g: &Geometry,
    registers: &mut Array<Vector<f32, N>>,
    first: u32,
    outer_len: u32,
    depth: u32,
    depth_end: u32,
    #[comptime] length: usize,
    #[comptime] steps: usize,
    #[comptime] units: usize,
    #[comptime] access: Access,
) {
    let wide = N::value();
    let share = comptime!(length * steps / wide / units);
    #[unroll]
    for v in 0..share {
        let index = comptime!((v * units) as u32) + UNIT_POS;
        let (o, d) = place(index, length, steps, wide, access.along_depth);
        let (o, d) = (first + o, depth + d);
        let mut value = Vector::new(0.0f32);
        if o < outer_len && d < depth_end {
            value = element(x, g, o, d, access);
        }
        registers[v] = value;
    }
}

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

/// The line of the output to which a row of a part of the product belongs.
#[cube]
pub(super) fn line(part: u32, row: u32, rows: u32, map: &RowMap, #[comptime] pixels: bool) -> u32 {
    if comptime!(pixels) {
        let column = row % map.grid_width * map.step_across + map.first_across;
        let above = row / map.grid_width;
        let down = above % map.grid_height * map.step_down + map.first_down;
        (above / map.grid_height * map.height + down) * map.width + column
    } else {
        part * rows + row
    }
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
