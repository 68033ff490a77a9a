//! Bilevel problems written as losses: a smooth one, and a small network with rectifiers.

use bissl_core::Stream;

use crate::number::Number;

/// Lengths of the three spaces, and the losses.
pub(crate) trait Losses {
    /// Parameter tensors of the backbone.
    const SEGMENTS: &'static [usize];
    const PRETEXT_HEAD: usize;
    const DOWNSTREAM_HEAD: usize;
    /// Whether θ_D enters the lower loss.
    const GENERAL: bool;

    /// L^P on batch `index`.
    fn lower<T: Number>(theta: &[T], phi: &[T], upper: &[T], index: u32) -> T;
    /// L^D on batch `index`.
    fn upper<T: Number>(theta: &[T], phi: &[T], index: u32) -> T;
}

fn constants<T: Number>(domain: u16, index: u32, row: usize, count: usize) -> Vec<T> {
    let mut draws = Stream::new(17, domain).at((u64::from(index) << 16) | row as u64);
    (0..count).map(|_| T::new(draws.normal().into())).collect()
}

fn dot<T: Number>(x: &[T], y: &[T]) -> T {
    x.iter().zip(y).fold(T::new(0.0), |sum, (x, y)| sum + *x * *y)
}

/// log(1 + exp(x)).
fn softplus<T: Number>(x: T) -> T {
    if x.value() > 0.0 { x + (T::new(1.0) + (-x).exp()).ln() } else { (T::new(1.0) + x.exp()).ln() }
}

/// Mean logistic loss of rows drawn from `domain`, scored by (θ, φ).
fn logistic<T: Number>(domain: u16, index: u32, theta: &[T], phi: &[T]) -> T {
    const ROWS: usize = 24;
    let mut sum = T::new(0.0);
    for row in 0..ROWS {
        let features: Vec<T> = constants(domain, index, row, theta.len() + phi.len());
        let (front, back) = features.split_at(theta.len());
        let score = dot(front, theta) + dot(back, phi);
        sum = sum + softplus(if row % 2 == 0 { score } else { -score });
    }
    sum / T::new(ROWS as f64)
}

/// Logistic regression on both levels.
pub(crate) struct Logistic;

impl Losses for Logistic {
    const SEGMENTS: &'static [usize] = &[5, 4, 3];
    const PRETEXT_HEAD: usize = 3;
    const DOWNSTREAM_HEAD: usize = 4;
    const GENERAL: bool = false;

    fn lower<T: Number>(theta: &[T], phi: &[T], _: &[T], index: u32) -> T {
        logistic(1, index, theta, phi) + T::new(0.05) * dot(theta, theta)
    }

    fn upper<T: Number>(theta: &[T], phi: &[T], index: u32) -> T {
        logistic(2, index, theta, phi)
    }
}

/// Logistic regression with a ridge whose weights exp(α) are the upper variable.
pub(crate) struct Ridge;

impl Losses for Ridge {
    const SEGMENTS: &'static [usize] = Logistic::SEGMENTS;
    const PRETEXT_HEAD: usize = Logistic::PRETEXT_HEAD;
    const DOWNSTREAM_HEAD: usize = Logistic::DOWNSTREAM_HEAD;
    const GENERAL: bool = true;

    fn lower<T: Number>(theta: &[T], phi: &[T], upper: &[T], index: u32) -> T {
        let ridge = theta.iter().zip(upper).map(|(theta, alpha)| alpha.exp() * *theta * *theta);
        let ridge = ridge.fold(T::new(0.0), |sum, term| sum + term);
        logistic(1, index, theta, phi) + T::new(0.5) * ridge
    }

    fn upper<T: Number>(theta: &[T], phi: &[T], index: u32) -> T {
        logistic(2, index, theta, phi)
    }
}

const PIXELS: usize = 6;
const HIDDEN: usize = 6;
const FEATURES: usize = 4;
const PROJECTED: usize = 3;
const CLASSES: usize = 3;

/// `rectifier(W x + b)`, weights first.
fn dense<T: Number>(parameters: &[T], input: &[T], outputs: usize) -> Vec<T> {
    let (weights, biases) = parameters.split_at(input.len() * outputs);
    let rows = weights.chunks_exact(input.len()).zip(biases);
    rows.map(|(row, bias)| dot(row, input) + *bias).collect()
}

fn encode<T: Number>(theta: &[T], input: &[T]) -> Vec<T> {
    let (first, second) = theta.split_at((PIXELS + 1) * HIDDEN);
    let hidden: Vec<T> = dense(first, input, HIDDEN).into_iter().map(Number::rectified).collect();
    dense(second, &hidden, FEATURES).into_iter().map(Number::rectified).collect()
}

/// Cross entropy of `scores`, the loss of class `label`.
fn cross_entropy<T: Number>(scores: &[T], label: usize) -> T {
    let largest = scores.iter().map(|score| score.value()).fold(f64::MIN, f64::max);
    let shifted: Vec<T> = scores.iter().map(|score| *score - T::new(largest)).collect();
    let sum = shifted.iter().fold(T::new(0.0), |sum, score| sum + score.exp());
    sum.ln() - shifted[label]
}

/// Two layers with rectifiers under a contrastive loss and a classifier, as on the device.
pub(crate) struct Rectified;

impl Losses for Rectified {
    const SEGMENTS: &'static [usize] = &[PIXELS * HIDDEN, HIDDEN, HIDDEN * FEATURES, FEATURES];
    const PRETEXT_HEAD: usize = (FEATURES + 1) * PROJECTED;
    const DOWNSTREAM_HEAD: usize = (FEATURES + 1) * CLASSES;
    const GENERAL: bool = false;

    /// NT-Xent of eight frames in two noisy views, temperature 0.5.
    fn lower<T: Number>(theta: &[T], phi: &[T], _: &[T], index: u32) -> T {
        const FRAMES: usize = 8;
        let unit = |row: usize| {
            let frame: Vec<T> = constants(3, index, row / 2, PIXELS);
            let noise: Vec<T> = constants(4, index, row, PIXELS);
            let view = frame.iter().zip(&noise).map(|(x, n)| *x + T::new(0.3) * *n);
            let projected = dense(phi, &encode(theta, &view.collect::<Vec<T>>()), PROJECTED);
            let norm = (dot(&projected, &projected) + T::new(1e-6)).sqrt();
            projected.into_iter().map(|x| x / norm).collect::<Vec<T>>()
        };
        let rows: Vec<Vec<T>> = (0..2 * FRAMES).map(unit).collect();
        let mut sum = T::new(0.0);
        for (i, row) in rows.iter().enumerate() {
            let others = rows.iter().enumerate().filter(|(j, _)| *j != i);
            let scores: Vec<T> = others.map(|(_, other)| dot(row, other) * T::new(2.0)).collect();
            let partner = i ^ 1;
            sum = sum + cross_entropy(&scores, partner - usize::from(partner > i));
        }
        sum / T::new(2.0 * FRAMES as f64)
    }

    fn upper<T: Number>(theta: &[T], phi: &[T], index: u32) -> T {
        const FRAMES: usize = 9;
        let mut sum = T::new(0.0);
        for row in 0..FRAMES {
            let frame: Vec<T> = constants(5, index, row, PIXELS);
            let scores = dense(phi, &encode(theta, &frame), CLASSES);
            sum = sum + cross_entropy(&scores, row % CLASSES);
        }
        sum / T::new(FRAMES as f64)
    }
}

/// Constant losses: every gradient is 0, and there is nothing to measure.
pub(crate) struct Constant;

impl Losses for Constant {
    const SEGMENTS: &'static [usize] = &[2, 2];
    const PRETEXT_HEAD: usize = 2;
    const DOWNSTREAM_HEAD: usize = 2;
    const GENERAL: bool = false;

    fn lower<T: Number>(_: &[T], _: &[T], _: &[T], _: u32) -> T {
        T::new(1.0)
    }

    fn upper<T: Number>(_: &[T], _: &[T], _: u32) -> T {
        T::new(1.0)
    }
}
