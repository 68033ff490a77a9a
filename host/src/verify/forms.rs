//! Bilevel problems whose hypergradient has a closed form.

use bissl_core::{Draws, Stream};

use super::dense::{Matrix, add, dot, norm, scale};

/// κ of the direct terms of the regressions, `½ κ ‖u − 1‖²`.
const DIRECT: f64 = 0.3;

/// A bilevel problem in f64: lower variable w, upper variable u, downstream head φ.
pub(super) trait Form {
    fn name(&self) -> &'static str;

    /// Lengths of w, u and φ.
    fn lengths(&self) -> [usize; 3];

    /// The lower loss and its gradient in w, without the proximity term, which the machine adds.
    fn lower(&self, w: &[f64], u: &[f64]) -> (f64, Vec<f64>);

    /// The Hessian of the lower loss in w.
    fn hessian(&self, w: &[f64], u: &[f64]) -> Matrix;

    /// −(∂²L/∂u ∂w) x.
    fn cross(&self, w: &[f64], u: &[f64], x: &[f64]) -> Vec<f64>;

    /// The upper loss at (w, φ), and its gradients in w and φ.
    fn at_lower(&self, w: &[f64], phi: &[f64]) -> (f64, Vec<f64>, Vec<f64>);

    /// The direct part of the upper loss at (u, φ), and its gradients in u and φ.
    fn at_upper(&self, u: &[f64], phi: &[f64]) -> (f64, Vec<f64>, Vec<f64>);

    /// The solution w of the lower level. `proximity` is λ, the weight of the proximity term, if
    /// there is one.
    fn solution(&self, u: &[f64], proximity: f64) -> Vec<f64>;

    /// The upper level's objective, with the lower level solved exactly.
    fn objective(&self, u: &[f64], phi: &[f64], proximity: f64, direct_weight: f64) -> f64 {
        let w = self.solution(u, proximity);
        self.at_lower(&w, phi).0 + direct_weight * self.at_upper(u, phi).0
    }
}

fn gaussian(draws: &mut Draws, len: usize) -> Vec<f64> {
    (0..len).map(|_| f64::from(draws.normal())).collect()
}

/// A symmetric matrix with these eigenvalues and the eigenvectors of a random reflection.
fn symmetric(draws: &mut Draws, eigenvalues: &[f64]) -> Matrix {
    let n = eigenvalues.len();
    let axis = gaussian(draws, n);
    let axis = scale(1.0 / norm(&axis), &axis);
    let reflection = Matrix::new(n, n, |i, j| f64::from(i == j) - 2.0 * axis[i] * axis[j]);
    Matrix::new(n, n, |i, j| {
        (0..n).map(|k| reflection.at(i, k) * eigenvalues[k] * reflection.at(k, j)).sum()
    })
}

/// `L^P = ½ θᵀQθ − cᵀθ`, `L^D = ½ zᵀSz − sᵀz` with `z = (θ, φ)`.
#[derive(Clone, Debug)]
pub(super) struct Quadratic {
    q: Matrix,
    c: Vec<f64>,
    s_matrix: Matrix,
    s: Vec<f64>,
}

/// Length of θ.
pub(super) const BACKBONE: usize = 12;
const HEAD: usize = 3;

impl Quadratic {
    /// The eigenvalues of Q range from 0.05 to 0.9, below λ + δ = 1, so that series converge.
    pub(super) fn new(seed: u64) -> Self {
        let mut draws = Stream::new(seed, 0).at(0);
        let spread = |k: usize| 0.05 + 0.85 * k as f64 / (BACKBONE - 1) as f64;
        let values: Vec<f64> = (0..BACKBONE).map(spread).collect();
        let upper: Vec<f64> = (0..BACKBONE + HEAD).map(|k| 0.2 + 0.05 * k as f64).collect();
        Self {
            q: symmetric(&mut draws, &values),
            c: gaussian(&mut draws, BACKBONE),
            s_matrix: symmetric(&mut draws, &upper),
            s: gaussian(&mut draws, BACKBONE + HEAD),
        }
    }
}

impl Form for Quadratic {
    fn name(&self) -> &'static str {
        "quadratic"
    }

    fn lengths(&self) -> [usize; 3] {
        [BACKBONE, BACKBONE, HEAD]
    }

    fn lower(&self, w: &[f64], _: &[f64]) -> (f64, Vec<f64>) {
        let product = self.q.times(w);
        (0.5 * dot(w, &product) - dot(&self.c, w), add(&product, -1.0, &self.c))
    }

    fn hessian(&self, _: &[f64], _: &[f64]) -> Matrix {
        self.q.clone()
    }

    /// The machine adds the cross derivative of the proximity term.
    fn cross(&self, _: &[f64], _: &[f64], x: &[f64]) -> Vec<f64> {
        vec![0.0; x.len()]
    }

    fn at_lower(&self, w: &[f64], phi: &[f64]) -> (f64, Vec<f64>, Vec<f64>) {
        let z = [w, phi].concat();
        let product = self.s_matrix.times(&z);
        let mut gradient = add(&product, -1.0, &self.s);
        let by_phi = gradient.split_off(w.len());
        (0.5 * dot(&z, &product) - dot(&self.s, &z), gradient, by_phi)
    }

    fn at_upper(&self, u: &[f64], phi: &[f64]) -> (f64, Vec<f64>, Vec<f64>) {
        self.at_lower(u, phi)
    }

    fn solution(&self, u: &[f64], proximity: f64) -> Vec<f64> {
        self.q.scaled_and_shifted(1.0, proximity).solve(&add(&self.c, proximity, u))
    }
}

/// The loss of a [`Regression`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Link {
    /// Ridge: `½ (z − y)²`, regularised by `½ Σ uⱼ wⱼ²`.
    Squares,
    /// Logistic: `ln(1 + e^z) − y z` with y 0 or 1, regularised by `½ Σ e^{uⱼ} wⱼ²`.
    Logistic,
}

impl Link {
    /// The loss of one sample and its first two derivatives in z.
    fn sample(self, z: f64, y: f64) -> [f64; 3] {
        match self {
            Self::Squares => [0.5 * (z - y) * (z - y), z - y, 1.0],
            Self::Logistic => {
                let p = 1.0 / (1.0 + (-z).exp());
                [z.max(0.0) + (-z.abs()).exp().ln_1p() - y * z, p - y, p * (1.0 - p)]
            }
        }
    }

    /// The weight of `½ w²`, and its derivative in u.
    fn weight(self, u: f64) -> [f64; 2] {
        match self {
            Self::Squares => [u, 1.0],
            Self::Logistic => [u.exp(), u.exp()],
        }
    }
}

/// A regression with one regularisation weight per feature. Its upper level is the validation loss,
/// with an intercept φ; the upper variable is the logarithms (or values) of the weights.
#[derive(Clone, Debug)]
pub(super) struct Regression {
    link: Link,
    training: (Matrix, Vec<f64>),
    validation: (Matrix, Vec<f64>),
}

impl Regression {
    pub(super) fn new(link: Link, seed: u64, features: usize) -> Self {
        let mut draws = Stream::new(seed, 0).at(1);
        let truth = gaussian(&mut draws, features);
        let mut split = |samples: usize| {
            let values = gaussian(&mut draws, samples * features);
            let x = Matrix::new(samples, features, |i, j| values[i * features + j]);
            let noisy = add(&x.times(&truth), 0.5, &gaussian(&mut draws, samples));
            let y = match link {
                Link::Squares => noisy,
                Link::Logistic => noisy.iter().map(|z| f64::from(*z > 0.0)).collect(),
            };
            (x, y)
        };
        Self { link, training: split(3 * features), validation: split(2 * features) }
    }

    /// Mean loss, and its first and second derivatives in each sample's z.
    fn fit(&self, (x, y): &(Matrix, Vec<f64>), w: &[f64], shift: f64) -> (f64, Vec<f64>, Vec<f64>) {
        let count = y.len() as f64;
        let samples: Vec<_> =
            x.times(w).iter().zip(y).map(|(z, y)| self.link.sample(z + shift, *y)).collect();
        let loss = samples.iter().map(|sample| sample[0]).sum::<f64>() / count;
        let column = |k: usize| samples.iter().map(|sample| sample[k] / count).collect();
        (loss, column(1), column(2))
    }
}

impl Form for Regression {
    fn name(&self) -> &'static str {
        match self.link {
            Link::Squares => "ridge",
            Link::Logistic => "logistic",
        }
    }

    fn lengths(&self) -> [usize; 3] {
        let features = self.training.0.row(0).len();
        [features, features, 1]
    }

    fn lower(&self, w: &[f64], u: &[f64]) -> (f64, Vec<f64>) {
        let (mut loss, slopes, _) = self.fit(&self.training, w, 0.0);
        let mut gradient = self.training.0.transposed_times(&slopes);
        for ((g, w), u) in gradient.iter_mut().zip(w).zip(u) {
            let [weight, _] = self.link.weight(*u);
            loss += 0.5 * weight * w * w;
            *g += weight * w;
        }
        (loss, gradient)
    }

    fn hessian(&self, w: &[f64], u: &[f64]) -> Matrix {
        let (_, _, curvatures) = self.fit(&self.training, w, 0.0);
        let x = &self.training.0;
        let root = Matrix::new(x.rows(), w.len(), |i, j| curvatures[i].sqrt() * x.at(i, j));
        let gram = root.gram();
        let diagonal = |i: usize| self.link.weight(u[i])[0];
        Matrix::new(w.len(), w.len(), |i, j| gram.at(i, j) + if i == j { diagonal(i) } else { 0.0 })
    }

    fn cross(&self, w: &[f64], u: &[f64], x: &[f64]) -> Vec<f64> {
        w.iter().zip(u).zip(x).map(|((w, u), x)| -self.link.weight(*u)[1] * w * x).collect()
    }

    fn at_lower(&self, w: &[f64], phi: &[f64]) -> (f64, Vec<f64>, Vec<f64>) {
        let (loss, slopes, _) = self.fit(&self.validation, w, phi[0]);
        (loss, self.validation.0.transposed_times(&slopes), vec![slopes.iter().sum()])
    }

    fn at_upper(&self, u: &[f64], phi: &[f64]) -> (f64, Vec<f64>, Vec<f64>) {
        let offset: Vec<f64> = u.iter().map(|u| u - 1.0).collect();
        let loss = 0.5 * DIRECT * dot(&offset, &offset);
        (loss, scale(DIRECT, &offset), vec![0.0; phi.len()])
    }

    /// Newton's method from 0. One step is exact for ridge; eight converge fully for logistic.
    fn solution(&self, u: &[f64], _: f64) -> Vec<f64> {
        (0..8).fold(vec![0.0; u.len()], |w, _| {
            let (_, gradient) = self.lower(&w, u);
            add(&w, -1.0, &self.hessian(&w, u).solve(&gradient))
        })
    }
}
