//! Elementwise operations, one launch each.

use bissl_core::AdamCoefficients;
use burn_cubecl::CubeRuntime;
use burn_cubecl::tensor::CubeTensor;
use cubecl::prelude::*;

use super::layout::dims;
use super::layout::{
    alias, array, channels_last, dense, elements, empty_images, empty_vector, grid, width,
};

/// The function of two elements that [`zip`] applies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Function {
    /// `x + y`.
    Sum,
    /// 0 if `x ≤ 0`, else `y`: where `x` is NaN, too.
    Mask,
}

#[cube(launch_unchecked)]
fn zip<N: Size>(
    x: &Array<Vector<f32, N>>,
    y: &Array<Vector<f32, N>>,
    out: &mut Array<Vector<f32, N>>,
    len: u32,
    #[comptime] f: Function,
) {
    if ABSOLUTE_POS >= len as usize {
        terminate!();
    }
    let (x, y) = (x[ABSOLUTE_POS], y[ABSOLUTE_POS]);
    let zero = Vector::new(0.0f32);
    match f {
        Function::Sum => out[ABSOLUTE_POS] = x + y,
        Function::Mask => {
            // Bits, because a shader compiler may take it that there is no NaN.
            let magnitude = Vector::<u32, N>::reinterpret(x) & Vector::new(0x7fff_ffffu32);
            let is_nan = magnitude.greater_than(Vector::new(0x7f80_0000u32));
            let unmasked = select_many(x.greater_than(zero), y, zero);
            out[ABSOLUTE_POS] = select_many(is_nan, y, unmasked);
        }
    }
}

fn zipped<R: CubeRuntime>(x: CubeTensor<R>, y: CubeTensor<R>, f: Function) -> CubeTensor<R> {
    let (x, y) = (channels_last(x), channels_last(y));
    let out = empty_images(&x, dims(&x));
    let wide = width(elements(&out));
    let work = elements(&out) / wide;
    let (count, dim) = grid(&x, work);
    // SAFETY: all three have `work` vectors, and units past them return.
    unsafe {
        zip::launch_unchecked::<R>(
            &x.client,
            count,
            dim,
            wide,
            array(&x),
            array(&y),
            array(&out),
            work as u32,
            f,
        );
    }
    out
}

/// `x + y` for images.
pub(super) fn add<R: CubeRuntime>(x: CubeTensor<R>, y: CubeTensor<R>) -> CubeTensor<R> {
    zipped(x, y, Function::Sum)
}

/// `max(x, 0)` for images; NaN stays NaN.
pub(super) fn rectify<R: CubeRuntime>(x: CubeTensor<R>) -> CubeTensor<R> {
    zipped(x.clone(), x, Function::Mask)
}

/// 0 if `y ≤ 0`, else `t`; for images.
pub(super) fn rectify_mask<R: CubeRuntime>(y: CubeTensor<R>, t: CubeTensor<R>) -> CubeTensor<R> {
    zipped(y, t, Function::Mask)
}

/// The vectors of a combination that are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Terms {
    Neither,
    First,
    Second,
    Both,
}

#[cube(launch_unchecked)]
fn combine<N: Size>(
    x: &Array<Vector<f32, N>>,
    y: &Array<Vector<f32, N>>,
    out: &mut Array<Vector<f32, N>>,
    a: f32,
    b: f32,
    len: u32,
    #[comptime] terms: Terms,
) {
    if ABSOLUTE_POS >= len as usize {
        terminate!();
    }
    let (a, b) = (Vector::new(a), Vector::new(b));
    match terms {
        Terms::Neither => out[ABSOLUTE_POS] = Vector::new(0.0f32),
        Terms::First => out[ABSOLUTE_POS] = a * x[ABSOLUTE_POS],
        Terms::Second => out[ABSOLUTE_POS] = b * y[ABSOLUTE_POS],
        Terms::Both => out[ABSOLUTE_POS] = fma(a, x[ABSOLUTE_POS], b * y[ABSOLUTE_POS]),
    }
}

/// `a x + b y`, written over `y` if nobody else holds it; a vector whose factor is 0 is not read.
pub(super) fn axpby<R: CubeRuntime>(
    a: f64,
    x: CubeTensor<R>,
    b: f64,
    y: CubeTensor<R>,
) -> CubeTensor<R> {
    let in_place = y.can_mut();
    let (x, y) = (dense(x), dense(y));
    let terms = match (a == 0.0, b == 0.0) {
        (true, true) => Terms::Neither,
        (false, true) => Terms::First,
        (true, false) => Terms::Second,
        (false, false) => Terms::Both,
    };
    let out = if in_place { y.clone() } else { empty_vector(&y, elements(&y)) };
    let wide = width(elements(&y));
    let work = elements(&y) / wide;
    let (count, dim) = grid(&y, work);
    let target = if in_place { alias(&out, 1) } else { array(&out) };
    // SAFETY: all three have `work` vectors, and units past them return; no unit reads an element
    // that another one writes.
    unsafe {
        combine::launch_unchecked::<R>(
            &y.client,
            count,
            dim,
            wide,
            array(&x),
            array(&y),
            target,
            a as f32,
            b as f32,
            work as u32,
            terms,
        );
    }
    out
}

#[cube(launch_unchecked)]
fn adam_step(
    gradient: &Array<f32>,
    parameter: &mut Array<f32>,
    first: &mut Array<f32>,
    second: &mut Array<f32>,
    coefficients: &Array<f32>,
    len: u32,
) {
    if ABSOLUTE_POS >= len as usize {
        terminate!();
    }
    let (beta1, beta2) = (coefficients[1], coefficients[3]);
    let g = gradient[ABSOLUTE_POS] * coefficients[0];
    let m = first[ABSOLUTE_POS] * beta1 + g * coefficients[2];
    let v = second[ABSOLUTE_POS] * beta2 + g * g * coefficients[4];
    let scale = v.sqrt() * coefficients[5] + coefficients[6];
    parameter[ABSOLUTE_POS] =
        parameter[ABSOLUTE_POS] * coefficients[7] - m / scale * coefficients[8];
    first[ABSOLUTE_POS] = m;
    second[ABSOLUTE_POS] = v;
}

/// A tensor that may be written: the tensor itself, or a copy if somebody else holds it.
fn owned<R: CubeRuntime>(x: CubeTensor<R>) -> CubeTensor<R> {
    if x.can_mut() {
        return dense(x);
    }
    let out = empty_vector(&x, elements(&x));
    axpby(1.0, x, 0.0, out)
}

/// AdamW's update of parameters, first and second moments: [`AdamCoefficients::update`].
pub(super) fn adam<R: CubeRuntime>(
    c: &AdamCoefficients,
    gradient: CubeTensor<R>,
    [parameter, first, second]: [CubeTensor<R>; 3],
) -> [CubeTensor<R>; 3] {
    let gradient = dense(gradient);
    let updated = [owned(parameter), owned(first), owned(second)];
    let coefficients = [
        c.clip,
        c.beta1,
        1.0 - c.beta1,
        c.beta2,
        1.0 - c.beta2,
        c.second_scale,
        c.epsilon,
        c.decay,
        c.rate,
    ];
    let handle = gradient.client.create_from_slice(bytemuck::cast_slice(&coefficients));
    let len = elements(&gradient);
    let (count, dim) = grid(&gradient, len);
    let [parameter, first, second] = &updated;
    // SAFETY: all vectors have `len` elements, and units past them return.
    unsafe {
        adam_step::launch_unchecked::<R>(
            &gradient.client,
            count,
            dim,
            array(&gradient),
            array(parameter),
            array(first),
            array(second),
            ArrayArg::from_raw_parts(handle, coefficients.len()),
            len as u32,
        );
    }
    updated
}
