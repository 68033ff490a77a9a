//! Reverse-mode differentiation in f64 over the slice kernels. It repeats the first-order passes
//! without Burn and without the layers' own code, so that the two can be compared.

use crate::kernels::slice::gemm::{Into, Layout, gemm};
use crate::kernels::slice::{conv, norm, pool};
use crate::kernels::{ConvShape, PoolShape, Precision};
use crate::network::{EPSILON, Segment};

/// A value on the tape.
#[derive(Clone, Copy, Debug)]
pub(super) struct Var(usize);

/// `[batch, channels, height, width]`.
type Dims = [usize; 4];

enum Op {
    Input,
    Conv { x: Var, shape: ConvShape, weight: usize },
    Norm { x: Var, shape: norm::NormShape, gamma: usize, beta: usize, kept: norm::Forward<f64> },
    Relu { x: Var },
    MaxPool { x: Var, shape: PoolShape, indices: Vec<u32> },
    Mean { x: Var, pixels: usize },
    Linear { x: Var, weight: usize, bias: Option<usize> },
    Add { x: Var, y: Var },
}

struct Entry {
    op: Op,
    dims: Dims,
    value: Vec<f64>,
}

/// A computation with parameters from one flat vector.
pub(super) struct Tape<'p> {
    parameters: &'p [f64],
    entries: Vec<Entry>,
}

impl<'p> Tape<'p> {
    pub(super) fn new(parameters: &'p [f64]) -> Self {
        Self { parameters, entries: Vec::new() }
    }

    fn push(&mut self, op: Op, dims: Dims, value: Vec<f64>) -> Var {
        debug_assert_eq!(dims.iter().product::<usize>(), value.len());
        self.entries.push(Entry { op, dims, value });
        Var(self.entries.len() - 1)
    }

    pub(super) fn dims(&self, x: Var) -> Dims {
        self.entries[x.0].dims
    }

    pub(super) fn value(&self, x: Var) -> &[f64] {
        &self.entries[x.0].value
    }

    fn part(&self, offset: usize, len: usize) -> &'p [f64] {
        &self.parameters[offset..offset + len]
    }

    pub(super) fn input(&mut self, dims: Dims, value: Vec<f64>) -> Var {
        self.push(Op::Input, dims, value)
    }

    /// A convolution with "same" padding, as in the networks.
    pub(super) fn conv(&mut self, x: Var, weight: &Segment, stride: usize) -> Var {
        let [batch, channels_in, height, width] = self.dims(x);
        let (channels_out, kernel) = (weight.shape[0], weight.shape[2]);
        let padding = kernel / 2;
        let (kernel, stride) = ([kernel; 2], [stride; 2]);
        let shape = ConvShape {
            batch,
            channels_in,
            channels_out,
            height,
            width,
            kernel,
            stride,
            padding,
            precision: Precision::F32,
        };
        let y = conv::forward(&shape, &[(self.value(x), self.part(weight.offset, weight.len()))]);
        self.push(Op::Conv { x, shape, weight: weight.offset }, shape.output(), y)
    }

    pub(super) fn norm(&mut self, x: Var, gamma: &Segment, beta: &Segment) -> Var {
        let dims @ [batch, channels, height, width] = self.dims(x);
        let shape = norm::NormShape { batch, channels, pixels: height * width };
        let (gamma, beta) = (gamma.offset, beta.offset);
        let parts = (self.part(gamma, channels), self.part(beta, channels));
        let mut kept = norm::forward(&shape, self.value(x), parts.0, parts.1, EPSILON);
        let y = std::mem::take(&mut kept.y);
        self.push(Op::Norm { x, shape, gamma, beta, kept }, dims, y)
    }

    pub(super) fn relu(&mut self, x: Var) -> Var {
        let y = self.value(x).iter().map(|x| x.max(0.0)).collect();
        self.push(Op::Relu { x }, self.dims(x), y)
    }

    pub(super) fn max_pool(&mut self, x: Var, kernel: usize, stride: usize, padding: usize) -> Var {
        let [batch, channels, height, width] = self.dims(x);
        let shape = PoolShape { planes: batch * channels, height, width, kernel, stride, padding };
        let (y, indices) = pool::max_forward(&shape, self.value(x));
        let dims = [batch, channels, shape.height_out(), shape.width_out()];
        self.push(Op::MaxPool { x, shape, indices }, dims, y)
    }

    /// Mean over the pixels.
    pub(super) fn mean(&mut self, x: Var) -> Var {
        let [batch, channels, height, width] = self.dims(x);
        let pixels = height * width;
        let y = pool::mean(pixels, self.value(x));
        self.push(Op::Mean { x, pixels }, [batch, channels, 1, 1], y)
    }

    pub(super) fn linear(&mut self, x: Var, weight: &Segment, bias: Option<&Segment>) -> Var {
        let ([batch, from, ..], to) = (self.dims(x), weight.shape[0]);
        let w = self.part(weight.offset, weight.len());
        let mut y = product(
            (self.value(x), Layout::dense(batch, from)),
            (w, Layout::dense(to, from).transposed()),
            (batch, to),
        );
        if let Some(bias) = bias {
            for row in y.chunks_mut(to) {
                row.iter_mut().zip(self.part(bias.offset, to)).for_each(|(y, b)| *y += b);
            }
        }
        let op = Op::Linear { x, weight: weight.offset, bias: bias.map(|bias| bias.offset) };
        self.push(op, [batch, to, 1, 1], y)
    }

    pub(super) fn add(&mut self, x: Var, y: Var) -> Var {
        let sum = self.value(x).iter().zip(self.value(y)).map(|(x, y)| x + y).collect();
        self.push(Op::Add { x, y }, self.dims(x), sum)
    }

    /// From the cotangent of `y` to the cotangents of the parameters and of `input`.
    pub(super) fn backward(&self, y: Var, bar: Vec<f64>, input: Var) -> (Vec<f64>, Vec<f64>) {
        let mut by_parameters = vec![0.0; self.parameters.len()];
        let mut bars: Vec<Vec<f64>> = vec![Vec::new(); self.entries.len()];
        bars[y.0] = bar;
        for at in (0..=y.0).rev() {
            let bar = std::mem::take(&mut bars[at]);
            if bar.is_empty() || at == input.0 {
                bars[at] = bar;
                continue;
            }
            for (to, cotangent) in self.backpropagate(&self.entries[at], bar, &mut by_parameters) {
                accumulate(&mut bars[to.0], cotangent);
            }
        }
        (by_parameters, std::mem::take(&mut bars[input.0]))
    }

    /// The cotangents of an entry's operands. Adds the cotangents of its parameters to `by`.
    fn backpropagate(&self, entry: &Entry, bar: Vec<f64>, by: &mut [f64]) -> Vec<(Var, Vec<f64>)> {
        let mut parameter = |offset: usize, values: &[f64]| {
            by[offset..offset + values.len()].iter_mut().zip(values).for_each(|(p, v)| *p += v);
        };
        match &entry.op {
            Op::Input => Vec::new(),
            Op::Conv { x, shape, weight } => {
                let w_bar = conv::weight_gradient(shape, &[(self.value(*x), &bar)]);
                let w = self.part(*weight, w_bar.len());
                parameter(*weight, &w_bar);
                vec![(*x, conv::input_gradient(shape, &[(w, &bar)]))]
            }
            Op::Norm { x, shape, gamma, beta, kept } => {
                let saved = norm::Saved {
                    gamma: self.part(*gamma, shape.channels),
                    normalized: &kept.normalized,
                    inv_std: &kept.inv_std,
                };
                let (x_bar, gamma_bar, beta_bar) = norm::backward(shape, saved, &bar);
                parameter(*gamma, &gamma_bar);
                parameter(*beta, &beta_bar);
                vec![(*x, x_bar)]
            }
            Op::Relu { x } => {
                let masked =
                    bar.iter().zip(&entry.value).map(|(b, y)| if *y > 0.0 { *b } else { 0.0 });
                vec![(*x, masked.collect())]
            }
            Op::MaxPool { x, shape, indices } => vec![(*x, pool::scatter(shape, &bar, indices))],
            Op::Mean { x, pixels } => vec![(*x, pool::spread(*pixels, &bar))],
            Op::Linear { x, weight, bias } => {
                let ([batch, from, ..], to) = (self.dims(*x), entry.dims[1]);
                let rows = Layout::dense(batch, to);
                let inputs = Layout::dense(batch, from);
                let w_bar =
                    product((&bar, rows.transposed()), (self.value(*x), inputs), (to, from));
                parameter(*weight, &w_bar);
                if let Some(bias) = bias {
                    bar.chunks(to).for_each(|row| parameter(*bias, row));
                }
                let w = (self.part(*weight, to * from), Layout::dense(to, from));
                vec![(*x, product((&bar, rows), w, (batch, from)))]
            }
            Op::Add { x, y } => vec![(*x, bar.clone()), (*y, bar)],
        }
    }
}

fn accumulate(sum: &mut Vec<f64>, term: Vec<f64>) {
    if sum.is_empty() {
        *sum = term;
    } else {
        sum.iter_mut().zip(term).for_each(|(sum, term)| *sum += term);
    }
}

fn product(a: (&[f64], Layout), b: (&[f64], Layout), (rows, columns): (usize, usize)) -> Vec<f64> {
    let mut out = vec![0.0; rows * columns];
    gemm((&mut out, Layout::dense(rows, columns)), a, b, Into::Overwrite);
    out
}
