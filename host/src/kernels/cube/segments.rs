//! Dot products and scalings of vectors by segments: one launch per vector, whatever the segments.
//!
//! A vector is split into chunks of at most [`CHUNK`] elements, none of which crosses a segment's
//! border; a cube handles a chunk. A dot product sums a chunk on the device, in an order that the
//! chunk's length alone determines, and the chunks on the host in f64. There are no atomics, and
//! the error of a sum does not grow with the length of the vector.

use burn_backend::DType;
use burn_cubecl::CubeRuntime;
use burn_cubecl::tensor::CubeTensor;
use cubecl::prelude::*;
use cubecl::server::Handle;

use super::layout::{array, cubes, dense, elements, empty_vector};

/// Most elements of a chunk.
const CHUNK: usize = 4096;
/// Units that handle a chunk.
const UNITS: u32 = 256;

/// A stretch of a vector within one segment.
#[derive(Clone, Copy, Debug)]
struct Chunk {
    segment: usize,
    start: usize,
    len: usize,
}

fn chunks(offsets: &[usize]) -> Vec<Chunk> {
    let mut chunks = Vec::new();
    for (segment, bounds) in offsets.windows(2).enumerate() {
        for start in (bounds[0]..bounds[1]).step_by(CHUNK) {
            chunks.push(Chunk { segment, start, len: CHUNK.min(bounds[1] - start) });
        }
    }
    chunks
}

/// Start and length of every chunk, on the device.
fn table<R: CubeRuntime>(x: &CubeTensor<R>, chunks: &[Chunk]) -> Handle {
    let table: Vec<u32> = chunks.iter().flat_map(|c| [c.start as u32, c.len as u32]).collect();
    x.client.create_from_slice(bytemuck::cast_slice(&table))
}

#[cube(launch_unchecked)]
fn dot(
    x: &Array<f32>,
    y: &Array<f32>,
    chunks: &Array<u32>,
    out: &mut Array<f32>,
    count: u32,
    first: u32,
) {
    let chunk = CUBE_POS;
    if chunk >= count as usize {
        terminate!();
    }
    let start = chunks[2 * chunk] as usize;
    let len = chunks[2 * chunk + 1] as usize;
    let unit = UNIT_POS as usize;
    let mut sum = 0.0f32;
    for i in range_stepped(unit, len, comptime!(UNITS as usize)) {
        sum = fma(x[start + i], y[start + i], sum);
    }
    let mut sums = SharedMemory::<f32>::new(comptime!(UNITS as usize));
    sums[unit] = sum;
    sync_cube();
    #[unroll]
    for level in 0..8u32 {
        let half = comptime!(UNITS as usize >> (level as usize + 1));
        if unit < half {
            sums[unit] += sums[unit + half];
        }
        sync_cube();
    }
    if unit == 0 {
        out[first as usize + chunk] = sums[0];
    }
}

/// Sums of the chunks of `xᵢ · yᵢ`, pair after pair, as a vector on the device; see [`totals`].
pub(super) fn dots<R: CubeRuntime>(
    pairs: Vec<(CubeTensor<R>, CubeTensor<R>)>,
    offsets: &[usize],
) -> CubeTensor<R> {
    let chunks = chunks(offsets);
    let (of, _) = &pairs[0];
    let out = empty_vector(of, chunks.len() * pairs.len());
    let table = table(of, &chunks);
    for (index, (x, y)) in pairs.into_iter().enumerate() {
        let (x, y) = (dense(x), dense(y));
        // SAFETY: chunks are within the vectors, whose length is the last offset.
        unsafe {
            dot::launch_unchecked::<R>(
                &x.client,
                cubes(&x, chunks.len()),
                CubeDim::new_1d(UNITS),
                array(&x),
                array(&y),
                ArrayArg::from_raw_parts(table.clone(), 2 * chunks.len()),
                array(&out),
                chunks.len() as u32,
                (index * chunks.len()) as u32,
            );
        }
    }
    out
}

/// The dot products, pair after pair and segment after segment, from the sums of the chunks.
pub(super) fn totals(sums: &[f64], offsets: &[usize]) -> Vec<f64> {
    let chunks = chunks(offsets);
    let segments = offsets.len() - 1;
    let pairs = sums.len().checked_div(chunks.len()).unwrap_or(0);
    let mut totals = vec![0.0; pairs * segments];
    for (pair, sums) in sums.chunks_exact(chunks.len().max(1)).enumerate() {
        for (chunk, sum) in chunks.iter().zip(sums) {
            totals[pair * segments + chunk.segment] += sum;
        }
    }
    totals
}

#[cube(launch_unchecked)]
fn scale(
    x: &Array<f32>,
    chunks: &Array<u32>,
    factors: &Array<f32>,
    out: &mut Array<f32>,
    count: u32,
) {
    let chunk = CUBE_POS;
    if chunk >= count as usize {
        terminate!();
    }
    let start = chunks[2 * chunk] as usize;
    let len = chunks[2 * chunk + 1] as usize;
    let factor = factors[chunk];
    for i in range_stepped(UNIT_POS as usize, len, comptime!(UNITS as usize)) {
        out[start + i] = factor * x[start + i];
    }
}

/// `scalars[s] x` on every segment `s`.
pub(super) fn scaled<R: CubeRuntime>(
    x: CubeTensor<R>,
    offsets: &[usize],
    scalars: &[f32],
) -> CubeTensor<R> {
    debug_assert_eq!(x.dtype, DType::F32);
    let x = dense(x);
    let chunks = chunks(offsets);
    let out = empty_vector(&x, elements(&x));
    if chunks.is_empty() {
        return out;
    }
    let factors: Vec<f32> = chunks.iter().map(|chunk| scalars[chunk.segment]).collect();
    let factors = x.client.create_from_slice(bytemuck::cast_slice(&factors));
    // SAFETY: chunks are within the vectors, whose length is the last offset.
    unsafe {
        scale::launch_unchecked::<R>(
            &x.client,
            cubes(&x, chunks.len()),
            CubeDim::new_1d(UNITS),
            array(&x),
            ArrayArg::from_raw_parts(table(&x, &chunks), 2 * chunks.len()),
            ArrayArg::from_raw_parts(factors, chunks.len()),
            array(&out),
            chunks.len() as u32,
        );
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_cover_every_segment_and_cross_no_border() {
        let offsets = [0, 7, 7, CHUNK + 10, 3 * CHUNK];
        let found = chunks(&offsets);
        let mut at = 0;
        for chunk in &found {
            assert_eq!(chunk.start, at);
            assert!(chunk.len > 0 && chunk.len <= CHUNK);
            let bounds = &offsets[chunk.segment..chunk.segment + 2];
            assert!(bounds[0] <= chunk.start && chunk.start + chunk.len <= bounds[1]);
            at += chunk.len;
        }
        assert_eq!(at, 3 * CHUNK);
    }

    #[test]
    fn totals_are_kept_apart_by_pair_and_segment() {
        let offsets = [0, 5, 5, CHUNK + 6];
        assert_eq!(
            totals(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0], &offsets),
            [1.0, 0.0, 5.0, 4.0, 0.0, 11.0]
        );
    }
}
