//! Passes over the data: one for a gradient, one for a product.

/// Labelled rows: `features` is `[samples, length]`, row by row; `labels` are +1 or −1.
pub(crate) struct Samples {
    pub(crate) features: Vec<f32>,
    pub(crate) labels: Vec<f32>,
}

/// Independent sums in a dot; enough for the compiler to use the processor's vector units.
const LANES: usize = 16;

/// Rows that are worked on together: they share the loads of the vectors they meet.
const ROWS: usize = 4;

/// `out ← Σᵢ weight(i, xᵢᵀv) xᵢ` over all rows, which is a gradient as well as a product.
///
/// Where the processor has wide vector units they are used, with the same bits as the result.
pub(crate) fn accumulate(
    samples: &Samples,
    v: &[f32],
    out: &mut [f32],
    weight: impl FnMut(usize, f32) -> f32,
) {
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("avx2") {
        #[target_feature(enable = "avx2")]
        fn wide(s: &Samples, v: &[f32], out: &mut [f32], weight: impl FnMut(usize, f32) -> f32) {
            accumulate_rows(s, v, out, weight);
        }
        // SAFETY: the processor has just said that it has what `wide` is compiled for.
        return unsafe { wide(samples, v, out, weight) };
    }
    accumulate_rows(samples, v, out, weight);
}

/// The same for whatever processor the caller is compiled for.
///
/// Memory is what such a pass waits for, so the features are read once: the second half of the work
/// on a block of rows finds them in the cache.
#[inline(always)]
fn accumulate_rows(
    samples: &Samples,
    v: &[f32],
    out: &mut [f32],
    mut weight: impl FnMut(usize, f32) -> f32,
) {
    out.fill(0.0);
    let blocks = samples.features.chunks_exact(ROWS * v.len());
    let rest = blocks.remainder();
    let mut index = 0;
    for block in blocks {
        let rows: [&[f32]; ROWS] = std::array::from_fn(|k| &block[k * v.len()..(k + 1) * v.len()]);
        let factors = rows_times(rows, v).map(|score| {
            index += 1;
            weight(index - 1, score)
        });
        add_rows(rows, factors, out);
    }
    for row in rest.chunks_exact(v.len()) {
        let factor = weight(index, dot(row, v) as f32);
        out.iter_mut().zip(row).for_each(|(out, x)| *out += factor * x);
        index += 1;
    }
}

/// `xₖᵀv`.
#[inline(always)]
fn rows_times([a, b, c, d]: [&[f32]; ROWS], v: &[f32]) -> [f32; ROWS] {
    let (lanes, v_rest) = v.as_chunks::<LANES>();
    let [(a, a_rest), (b, b_rest), (c, c_rest), (d, d_rest)] =
        [a, b, c, d].map(|row| row.as_chunks::<LANES>());
    // Four arrays and not an array of arrays, which the compiler does not keep in registers.
    let (mut s, mut t, mut u, mut w) = ([0.0; LANES], [0.0; LANES], [0.0; LANES], [0.0; LANES]);
    for ((((v, a), b), c), d) in lanes.iter().zip(a).zip(b).zip(c).zip(d) {
        for l in 0..LANES {
            s[l] += a[l] * v[l];
            t[l] += b[l] * v[l];
            u[l] += c[l] * v[l];
            w[l] += d[l] * v[l];
        }
    }
    let sums = [s, t, u, w].map(sum);
    let rests = [a_rest, b_rest, c_rest, d_rest];
    let rests = rests.map(|rest| rest.iter().zip(v_rest).map(|(x, v)| x * v).sum::<f32>());
    std::array::from_fn(|k| sums[k] + rests[k])
}

/// The sum of all lanes, by halves: no chain of sixteen additions that wait for each other.
#[inline(always)]
fn sum(mut lanes: [f32; LANES]) -> f32 {
    for half in [8, 4, 2, 1] {
        for l in 0..half {
            lanes[l] += lanes[l + half];
        }
    }
    lanes[0]
}

/// `out ← out + Σₖ factorₖ xₖ`.
#[inline(always)]
fn add_rows([a, b, c, d]: [&[f32]; ROWS], f: [f32; ROWS], out: &mut [f32]) {
    for ((((out, a), b), c), d) in out.iter_mut().zip(a).zip(b).zip(c).zip(d) {
        *out += (f[0] * a + f[1] * b) + (f[2] * c + f[3] * d);
    }
}

/// `xᵀy`, accumulated in f64 in a fixed order.
pub(crate) fn dot(x: &[f32], y: &[f32]) -> f64 {
    x.iter().zip(y).map(|(x, y)| f64::from(*x) * f64::from(*y)).sum()
}
