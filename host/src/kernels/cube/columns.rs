//! Sums over the rows of matrices, column by column, for batch norm and biases.
//!
//! Rows are split into parts by their number alone. A cube takes 32 columns of one part; its 8
//! lanes of units each take every eighth row. The second kernel adds the parts. There are no
//! atomics, and the order of additions is fixed.

use burn_cubecl::CubeRuntime;
use burn_cubecl::tensor::CubeTensor;
use cubecl::prelude::*;

use super::layout::{array, cubes, empty_vector};

/// Columns of a cube.
pub(super) const COLUMNS: u32 = 32;
/// Rows that a cube reads at once.
pub(super) const LANES: u32 = 8;
/// Most parts: enough for every multiprocessor, few enough for one cube to add them.
const PARTS: usize = 128;
/// Fewest rows of a part.
const ROWS: usize = 64;

/// The sums over the rows of up to four matrices that a kernel computes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Sums {
    /// Σ a.
    Plain,
    /// Σ a, Σ a b.
    Cross,
    /// With a = ẋ, b = x̂, c = ȳ, d = ȳ̇: Σ a, Σ ab, Σ c, Σ cb, Σ d, Σ db, Σ ca.
    BackwardTangent,
}

impl Sums {
    /// Number of sums.
    pub(super) fn count(self) -> usize {
        match self {
            Self::Plain => 1,
            Self::Cross => 2,
            Self::BackwardTangent => 7,
        }
    }
}

/// How rows are split into parts.
#[derive(Clone, Copy, Debug)]
pub(super) struct Parts {
    /// Number of parts.
    pub(super) count: usize,
    /// Rows of each part but the last.
    pub(super) rows: usize,
}

impl Parts {
    /// The parts of `rows` rows.
    pub(super) fn of(rows: usize) -> Self {
        let each = rows.div_ceil(PARTS).max(ROWS);
        Self { count: rows.div_ceil(each).max(1), rows: each }
    }
}

/// The grid over columns and parts, and the number of cubes across the columns.
pub(super) fn grid<R: CubeRuntime>(
    x: &CubeTensor<R>,
    cols: usize,
    parts: usize,
) -> (CubeCount, CubeDim, u32) {
    let across = cols.div_ceil(COLUMNS as usize);
    (cubes(x, across * parts), CubeDim::new_2d(COLUMNS, LANES), across as u32)
}

/// Adds the terms of row `at` to `sums`.
#[cube]
fn add_terms(
    sums: &mut Array<f32>,
    a: &Array<f32>,
    b: &Array<f32>,
    c: &Array<f32>,
    d: &Array<f32>,
    at: usize,
    #[comptime] kind: Sums,
) {
    let va = a[at];
    match kind {
        Sums::Plain => sums[0] += va,
        Sums::Cross => {
            sums[0] += va;
            sums[1] = fma(va, b[at], sums[1]);
        }
        Sums::BackwardTangent => {
            let vb = b[at];
            let vc = c[at];
            let vd = d[at];
            sums[0] += va;
            sums[1] = fma(va, vb, sums[1]);
            sums[2] += vc;
            sums[3] = fma(vc, vb, sums[3]);
            sums[4] += vd;
            sums[5] = fma(vd, vb, sums[5]);
            sums[6] = fma(vc, va, sums[6]);
        }
    }
}

/// Adds the values of a cube's lanes for every column; lane `k` adds the `k`-th sum and returns it.
#[cube]
pub(super) fn over_lanes(sums: &Array<f32>, #[comptime] count: usize) -> f32 {
    let column = UNIT_POS_X as usize;
    let lane = UNIT_POS_Y as usize;
    let (columns, lanes) = comptime!((COLUMNS as usize, LANES as usize));
    let mut shared = SharedMemory::<f32>::new(comptime!(columns * lanes * count));
    #[unroll]
    for k in 0..count {
        shared[(k * lanes + lane) * columns + column] = sums[k];
    }
    sync_cube();
    let mut total = 0.0f32;
    if lane < count {
        #[unroll]
        for other in 0..lanes {
            total += shared[(lane * lanes + other) * columns + column];
        }
    }
    total
}

#[cube(launch_unchecked)]
fn sum_parts(
    a: &Array<f32>,
    b: &Array<f32>,
    c: &Array<f32>,
    d: &Array<f32>,
    out: &mut Array<f32>,
    rows: u32,
    cols: u32,
    part_rows: u32,
    across: u32,
    parts: u32,
    #[comptime] kind: Sums,
) {
    let part = CUBE_POS / across as usize;
    if part >= parts as usize {
        terminate!();
    }
    let column = (CUBE_POS % across as usize) * comptime!(COLUMNS as usize) + UNIT_POS_X as usize;
    let count = comptime!(kind.count());
    let mut sums = Array::<f32>::new(count);
    #[unroll]
    for k in 0..count {
        sums[k] = 0.0f32;
    }
    if column < cols as usize {
        let start = part * part_rows as usize;
        let end = min(start + part_rows as usize, rows as usize);
        for row in range_stepped(start + UNIT_POS_Y as usize, end, comptime!(LANES as usize)) {
            add_terms(&mut sums, a, b, c, d, row * cols as usize + column, kind);
        }
    }
    let total = over_lanes(&sums, count);
    if (UNIT_POS_Y as usize) < count && column < cols as usize {
        out[(part * count + UNIT_POS_Y as usize) * cols as usize + column] = total;
    }
}

/// Sums of each part, `[parts, kind.count(), cols]`, over matrices of `rows` × `cols`.
///
/// Matrices that the kind does not use may be any of the others.
pub(super) fn part_sums<R: CubeRuntime>(
    matrices: [&CubeTensor<R>; 4],
    [rows, cols]: [usize; 2],
    parts: Parts,
    kind: Sums,
) -> CubeTensor<R> {
    let [a, b, c, d] = matrices;
    let out = empty_vector(a, parts.count * kind.count() * cols);
    let (count, dim, across) = grid(a, cols, parts.count);
    // SAFETY: every index is within `rows` × `cols`, or within the parts of `out`.
    unsafe {
        sum_parts::launch_unchecked::<R>(
            &a.client,
            count,
            dim,
            array(a),
            array(b),
            array(c),
            array(d),
            array(&out),
            rows as u32,
            cols as u32,
            parts.rows as u32,
            across,
            parts.count as u32,
            kind,
        );
    }
    out
}

/// The sum of every [`LANES`]-th part of a unit's column, starting at the unit's lane: `count`
/// sums.
#[cube]
pub(super) fn add_parts(
    parts: &Array<f32>,
    part_count: usize,
    cols: usize,
    column: usize,
    #[comptime] count: usize,
) -> Array<f32> {
    let mut sums = Array::<f32>::new(count);
    #[unroll]
    for k in 0..count {
        sums[k] = 0.0f32;
    }
    if column < cols {
        for part in range_stepped(UNIT_POS_Y as usize, part_count, comptime!(LANES as usize)) {
            #[unroll]
            for k in 0..count {
                sums[k] += parts[(part * count + k) * cols + column];
            }
        }
    }
    sums
}

#[cube(launch_unchecked)]
fn finish_plain(sums: &Array<f32>, out: &mut Array<f32>, cols: u32, across: u32, parts: u32) {
    if CUBE_POS >= across as usize {
        terminate!();
    }
    let column = CUBE_POS * comptime!(COLUMNS as usize) + UNIT_POS_X as usize;
    let lane_sums = add_parts(sums, parts as usize, cols as usize, column, 1usize);
    let total = over_lanes(&lane_sums, 1usize);
    if UNIT_POS_Y == 0 && column < cols as usize {
        out[column] = total;
    }
}

/// Sum over the rows of a dense matrix.
pub(super) fn sum_rows<R: CubeRuntime>(x: &CubeTensor<R>, shape: [usize; 2]) -> CubeTensor<R> {
    let [rows, cols] = shape;
    let parts = Parts::of(rows);
    let sums = part_sums([x; 4], shape, parts, Sums::Plain);
    let out = empty_vector(x, cols);
    let (count, dim, across) = grid(x, cols, 1);
    // SAFETY: every index is within the parts, or is a column.
    unsafe {
        finish_plain::launch_unchecked::<R>(
            &x.client,
            count,
            dim,
            array(&sums),
            array(&out),
            cols as u32,
            across,
            parts.count as u32,
        );
    }
    out
}
