//! What a product reads and where it writes: operands through an index map, tiles of the output.

use burn_cubecl::CubeRuntime;
use burn_cubecl::tensor::CubeTensor;
use cubecl::prelude::*;

use crate::kernels::Precision;

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

/// All tiles: small ones for small outputs and devices, large ones where registers and outputs
/// abound.
pub(super) const TILES: [Tile; 4] = [
    Tile { cube: [32, 32], unit: [4, 4] },
    Tile { cube: [64, 64], unit: [4, 4] },
    Tile { cube: [128, 64], unit: [8, 4] },
    Tile { cube: [128, 128], unit: [8, 8] },
];

/// Where an operand's elements come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Source {
    /// A matrix of any strides.
    Matrix,
    /// Patches of images: the outer index is a pixel, the depth a tap and channel.
    Patches,
    /// The same with the two indices exchanged.
    PatchesTransposed,
}

/// How a kernel reads an operand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Access {
    pub(super) source: Source,
    /// Whether elements that lie side by side differ in depth; else they differ in the outer index.
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

/// Patches of images with channels last: pixel `(i, j)` of a grid and tap `(s, t)` meet at
/// `(step · i ± s + offset, …)`, outside of the image at 0.
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
    /// Strides of the outer index and of depth, of a matrix.
    pub(super) strides: [usize; 2],
    /// Of images.
    pub(super) patches: Patches,
    /// Elements that are read at once, 1 or 4.
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

    pub(super) fn geometry(&self) -> GeometryLaunch<R> {
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

/// Where the rows of the output go.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rows {
    /// Grid positions down and across that the rows run over, image after image.
    pub(super) grid: [usize; 2],
    /// Height and width of the images that they are pixels of.
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
    pub(super) fn launch<R: CubeRuntime>(self) -> RowMapLaunch<R> {
        let Self { grid, size, step, first } = self;
        let [a, b, c, d] = [grid, size, step, first].map(|pair| pair.map(|n| n as u32));
        RowMapLaunch::new(a[0], a[1], b[0], b[1], c[0], c[1], d[0], d[1])
    }
}

/// What is fixed when the kernel is compiled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Plan {
    pub(super) tile: Tile,
    pub(super) a: Access,
    pub(super) b: Access,
    /// Whether rows go to pixels by [`Rows`]; else they follow each other.
    pub(super) pixels: bool,
    /// Whether the product is added to what the output holds.
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
        // Below zero wraps around and is too large as well.
        let (r, c) = (u32::cast_from(r), u32::cast_from(c));
        let mut value = Vector::new(0.0f32);
        if r < g.height && c < g.width {
            let at = ((image * g.height + r) * g.width + c) * g.channels + channel;
            value = x[(at / wide) as usize];
        }
        value
    }
}

/// Outer index and depth, within the tile, of the `index`-th vector that is staged.
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

/// Which line of the output a row of a part of the product is.
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
