//! The product of [`super::gemm`] on tensor cores, if a device has them for the precision.
//!
//! Operands are read, and outputs written, in the same places as there. Stages are rounded to the
//! format when they are written to shared memory. Planes multiply them by fragments of 16 × 16
//! outputs, and fragments go through shared memory once more on the way to the output.
//!
//! Every output is one chain of products of fragments over ascending `k`, whatever the tile; the
//! format determines whether a product covers 8 or 16 steps. The order in which a fragment adds,
//! and how it rounds in between, depends on the device, but is the same for every fragment.

use cubecl::cmma::{Matrix, MatrixIdent, MatrixLayout};
use cubecl::ir::features::{MmaConfig, Plane};
use cubecl::ir::{ElemType, FloatKind};
use cubecl::prelude::*;

use super::operand::{Access, Geometry, Plan, RowMap, Tile, fetch, line, place};
use super::rounding::rounded;
use crate::kernels::Precision;

/// Steps of depth that go through shared memory at a time.
const DEPTH: usize = 32;
/// Outputs of a fragment, down and across.
const SIDE: usize = 16;
/// Units that compute a fragment together.
const PLANE: usize = 32;
/// Extra elements per line of shared memory: lines of any format stay aligned as fragments must be,
/// and neighbours are in different banks.
const PAD: usize = 8;
/// Alignment in bytes of a fragment's start in shared memory.
const ALIGNMENT: usize = 32;
/// Length of a line of outputs in shared memory.
const OUTPUT_LINE: usize = SIDE + 4;

/// Steps of depth of a fragment.
fn steps(precision: Precision) -> usize {
    if precision == Precision::Tf32 { 8 } else { 16 }
}

/// Whether a device has tensor cores that multiply in the precision.
pub(super) fn multiply_in<R: Runtime>(precision: Precision, client: &ComputeClient<R>) -> bool {
    let properties = client.properties();
    let planes = [properties.hardware.plane_size_min, properties.hardware.plane_size_max];
    let has = |format: FloatKind, precision: Precision| {
        properties.features.matmul.cmma.contains(&MmaConfig {
            a_type: ElemType::Float(format).into(),
            b_type: ElemType::Float(format).into(),
            cd_type: ElemType::Float(FloatKind::F32).into(),
            m: SIDE as u32,
            n: SIDE as u32,
            k: steps(precision) as u32,
        })
    };
    // CubeCL also lists bf16 for NVIDIA's generations before these, which had neither.
    let formats = has(FloatKind::TF32, Precision::Tf32) && has(FloatKind::BF16, Precision::Bf16);
    precision != Precision::F32
        && formats
        && properties.features.plane.contains(Plane::Sync)
        && planes == [PLANE as u32; 2]
}

/// Fragments of a plane, down and across. A tile has four planes down and two across; a small one
/// has two planes down.
fn fragments(tile: Tile) -> [usize; 2] {
    let planes = tile.units() / PLANE;
    let down = planes.min(4);
    [tile.cube[0] / down / SIDE, tile.cube[1] / (planes / down) / SIDE]
}

/// Length of a line of a stage: the dimension that is contiguous in the operand's memory, and
/// padding.
fn stage_line(length: usize, access: Access) -> usize {
    PAD + if access.along_depth { DEPTH } else { length }
}

/// Vectors of a stage.
fn stage_vectors(length: usize, access: Access, wide: usize) -> usize {
    let lines = if access.along_depth { length } else { DEPTH };
    lines * stage_line(length, access) / wide
}

/// Writes what was fetched to shared memory, rounded to the format.
#[cube]
fn stage<N: Size, T: Float>(
    registers: &Array<Vector<f32, N>>,
    shared: &mut SharedMemory<Vector<T, N>>,
    #[comptime] length: usize,
    #[comptime] units: usize,
    #[comptime] access: Access,
    #[comptime] precision: Precision,
) {
    let wide = N::value();
    let share = comptime!(length * DEPTH / wide / units);
    let line = comptime!(stage_line(length, access) as u32);
    #[unroll]
    for v in 0..share {
        let index = comptime!((v * units) as u32) + UNIT_POS;
        let (o, d) = place(index, length, DEPTH, wide, access.along_depth);
        let value = registers[v];
        let mut at = d * line + o;
        if comptime!(access.along_depth) {
            at = o * line + d;
        }
        let mut narrow = Vector::<T, N>::empty();
        #[unroll]
        for e in 0..wide {
            // The conversion to TF32 alone would round ties away from 0.
            narrow[e] = T::cast_from(rounded(value[e], precision));
        }
        shared[(at / comptime!(wide as u32)) as usize] = narrow;
    }
}

/// The fragment of a stage at `(outer, depth)`.
#[cube]
fn fragment<N: Size, T: Float>(
    shared: &SharedMemory<Vector<T, N>>,
    outer: u32,
    depth: u32,
    #[comptime] ident: MatrixIdent,
    #[comptime] length: usize,
    #[comptime] access: Access,
    #[comptime] steps: usize,
) -> Matrix<T> {
    let wide = N::value();
    let line = comptime!(stage_line(length, access) as u32);
    // The rows of the second operand are its depth.
    let by_rows = comptime!(access.along_depth == (ident == MatrixIdent::A));
    let layout = comptime!(if by_rows { MatrixLayout::RowMajor } else { MatrixLayout::ColMajor });
    let mut at = depth * line + outer;
    if comptime!(access.along_depth) {
        at = outer * line + depth;
    }
    let at = at / comptime!(wide as u32);
    // SAFETY: it is loaded immediately.
    let matrix = unsafe { Matrix::<T>::uninitialized(ident, SIDE, SIDE, steps, layout) };
    let from = shared.slice(at as usize, comptime!(stage_vectors(length, access, wide)));
    cmma::load(&matrix, &from, line);
    matrix
}

#[cube(launch_unchecked)]
pub(super) fn multiply<NA: Size, NB: Size, T: Float>(
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
    let [down, across] = comptime!(fragments(plan.tile));
    let units = comptime!(plan.tile.units());
    let steps = comptime!(steps(plan.precision));
    let cube = CUBE_POS as u32;
    let part = cube / tiles;
    let tile = cube % tiles;
    let first_row = tile / tiles_across * comptime!(height as u32);
    let first_col = tile % tiles_across * comptime!(width as u32);
    let start = part * part_depth;
    let end = min(start + part_depth, depth);
    let plane = UNIT_POS / comptime!(PLANE as u32);
    let planes_across = comptime!((width / (SIDE * across)) as u32);
    let plane_row = plane / planes_across * comptime!((SIDE * down) as u32);
    let plane_col = plane % planes_across * comptime!((SIDE * across) as u32);

    let (a_wide, b_wide) = (NA::value(), NB::value());
    let mut a_shared = SharedMemory::<Vector<T, NA>>::new_aligned(
        comptime!(stage_vectors(height, plan.a, a_wide)),
        ALIGNMENT,
    );
    let mut b_shared = SharedMemory::<Vector<T, NB>>::new_aligned(
        comptime!(stage_vectors(width, plan.b, b_wide)),
        ALIGNMENT,
    );
    let mut a_next = Array::<Vector<f32, NA>>::new(comptime!(height * DEPTH / a_wide / units));
    let mut b_next = Array::<Vector<f32, NB>>::new(comptime!(width * DEPTH / b_wide / units));
    let mut sums = Sequence::<Matrix<f32>>::new();
    #[unroll]
    for _ in 0..comptime!(down * across) {
        sums.push(Matrix::<f32>::from_value(
            MatrixIdent::Accumulator,
            SIDE,
            SIDE,
            steps,
            MatrixLayout::Undefined,
            0.0f32,
        ));
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
        #[unroll]
        for step in 0..comptime!(DEPTH / steps) {
            let d = comptime!((step * steps) as u32);
            let mut b_line = Sequence::<Matrix<T>>::new();
            #[unroll]
            for j in 0..across {
                let outer = plane_col + comptime!((j * SIDE) as u32);
                let ident = MatrixIdent::B;
                b_line.push(fragment(&b_shared, outer, d, ident, width, plan.b, steps));
            }
            #[unroll]
            for i in 0..down {
                let outer = plane_row + comptime!((i * SIDE) as u32);
                let ident = MatrixIdent::A;
                let a_line = fragment(&a_shared, outer, d, ident, height, plan.a, steps);
                #[unroll]
                for j in 0..across {
                    let sum = sums.index(comptime!(i * across + j));
                    cmma::execute::<T, T, f32, f32>(&a_line, b_line.index(j), sum, sum);
                }
            }
        }
        sync_cube();
    }

    // Each plane has its own room for one fragment of outputs.
    let place_elements = comptime!(SIDE * OUTPUT_LINE);
    let mut outputs =
        SharedMemory::<f32>::new_aligned(comptime!(units / PLANE * place_elements), ALIGNMENT);
    let place_first = plane * comptime!(place_elements as u32);
    let lane = UNIT_POS % comptime!(PLANE as u32);
    #[unroll]
    for i in 0..down {
        #[unroll]
        for j in 0..across {
            cmma::store(
                &mut outputs.slice_mut(
                    place_first as usize,
                    (place_first + comptime!(place_elements as u32)) as usize,
                ),
                sums.index(comptime!(i * across + j)),
                comptime!(OUTPUT_LINE as u32),
                MatrixLayout::RowMajor,
            );
            sync_plane();
            #[unroll]
            for v in 0..comptime!(SIDE * SIDE / PLANE) {
                let r = lane / comptime!(SIDE as u32) + comptime!((v * PLANE / SIDE) as u32);
                let c = lane % comptime!(SIDE as u32);
                let row = first_row + plane_row + comptime!((i * SIDE) as u32) + r;
                let col = first_col + plane_col + comptime!((j * SIDE) as u32) + c;
                if row < rows && col < cols {
                    let at = (line(part, row, rows, &map, plan.pixels) * cols + col) as usize;
                    let from = place_first + r * comptime!(OUTPUT_LINE as u32) + c;
                    let sum = outputs[from as usize];
                    if comptime!(plan.accumulate) {
                        out[at] += sum;
                    } else {
                        out[at] = sum;
                    }
                }
            }
            sync_plane();
        }
    }
}
