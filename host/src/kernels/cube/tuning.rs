//! The tile of a product, chosen by its shape or by measured time.

use std::time::Instant;

use burn_cubecl::CubeRuntime;
use burn_cubecl::tensor::CubeTensor;

use super::layout::{elements, empty_vector};
use super::operand::{TILES, Tile};
use crate::kernels::{ConvShape, tuning};

/// Timed launches of a tile; the fastest one counts.
const REPETITIONS: usize = 3;

/// The largest tile that still gives the output enough tiles to occupy a device; the smallest if
/// there is none.
fn rule([rows, cols, _]: [usize; 3]) -> usize {
    let enough = |tile: &Tile| rows >= 64 * tile.cube[0] && cols >= tile.cube[1];
    TILES.iter().rposition(enough).unwrap_or(0)
}

/// The tile for a shape, without measuring.
pub(super) fn by_shape(shape: [usize; 3]) -> Tile {
    TILES[rule(shape)]
}

/// The tile for one pass of a convolution, whose product has `shape`; `run` computes it with a
/// given tile into memory as large as `out`.
pub(super) fn tile<R: CubeRuntime>(
    pass: &'static str,
    s: &ConvShape,
    out: &CubeTensor<R>,
    shape: [usize; 3],
    run: impl Fn(Tile, &CubeTensor<R>),
) -> Tile {
    let finished = || cubecl::future::block_on(out.client.sync()).is_ok();
    let [rows, cols, _] = shape;
    let seconds = |way: usize| {
        let tile = TILES[way];
        // More than half of such a tile would be empty.
        if way > 0 && (rows * 2 <= tile.cube[0] || cols * 2 <= tile.cube[1]) {
            return None;
        }
        let scratch = empty_vector(out, elements(out));
        run(tile, &scratch);
        let mut fastest = f64::INFINITY;
        for _ in 0..REPETITIONS {
            // A lost device computes nothing, and looks fast.
            if !finished() {
                return None;
            }
            let start = Instant::now();
            run(tile, &scratch);
            if !finished() {
                return None;
            }
            fastest = fastest.min(start.elapsed().as_secs_f64());
        }
        Some(fastest)
    };
    TILES[tuning::choose(pass, s, TILES.len(), rule(shape), seconds)]
}
