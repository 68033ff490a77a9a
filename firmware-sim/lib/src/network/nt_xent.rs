//! The contrastive pretext loss.

use crate::Real;

/// NT-Xent, mean over the views (nats); Chen et al. (2020), eq. 1.
///
/// Rows `i` and `i + V/2` of V views are the two views of one frame; V is even and at least 4. Rows
/// need not be normalised. A row of norm 0 counts as the constant 0: it has no direction, so its
/// gradient is 0.
///
/// With u = z/|z|, s_ij = u_i·u_j/τ, and P_ij the softmax of row i without the diagonal: `L = (1/V)
/// Σ_i (ln Σ_{j≠i} exp s_ij − s_i,pos(i))`.
///
/// The slices hold what a gradient saves for later products.
#[derive(Debug)]
pub struct NtXent<'a, T> {
    /// V.
    pub views: usize,
    /// Z, floats of a row of z.
    pub width: usize,
    /// τ.
    pub tau: T,
    /// u, `[V][Z]`.
    pub unit: &'a mut [T],
    /// ū, `[V][Z]`.
    pub unit_cotangent: &'a mut [T],
    /// |z|, `[V]`.
    pub norm: &'a mut [T],
    /// P, `[V][V]`, 0 on the diagonal.
    pub softmax: &'a mut [T],
}

/// Working memory of a product.
#[derive(Debug)]
pub struct NtXentScratch<'a, T> {
    /// u̇, `[V][Z]`.
    pub unit_tangent: &'a mut [T],
    /// The tangent of ū, `[V][Z]`.
    pub unit_cotangent_tangent: &'a mut [T],
    /// ṡ, `[V][V]`.
    pub logit_tangent: &'a mut [T],
    /// Σ_j P_ij ṡ_ij, `[V]`.
    pub mean: &'a mut [T],
}

impl<T: Real> NtXent<'_, T> {
    /// The loss of `z`, `[V][Z]`. Writes its gradient to `cotangent` and saves what later products
    /// need.
    ///
    /// If a norm is not finite, it is returned as the loss and no gradient is computed.
    pub fn gradient(&mut self, z: &[T], cotangent: &mut [T]) -> T {
        let (views, width) = (self.views, self.width);
        self.normalize(z);
        if let Some(norm) = self.norm.iter().find(|norm| !norm.is_finite()) {
            // z divided by an infinite norm would look like 0.
            return *norm;
        }
        let loss = self.fill_softmax() / self.count();
        let weight = self.weight();
        let logits = Logits { softmax: self.softmax, views };
        for i in 0..views {
            let bar = row_mut(self.unit_cotangent, i, width);
            bar.fill(T::BLANK);
            for j in 0..views {
                // One coefficient for row i and row j: s_ij and s_ji are the same product.
                let g = (logits.cotangent(i, j) + logits.cotangent(j, i)) * weight;
                accumulate(g, row(self.unit, j, width), bar);
            }
            let unit = row(self.unit, i, width);
            let along = dot(unit, bar);
            let norm = at(self.norm, i);
            let out = row_mut(cotangent, i, width);
            for ((out, bar), unit) in out.iter_mut().zip(bar.iter()).zip(unit) {
                *out = divide(*bar - along * *unit, norm);
            }
        }
        loss
    }

    /// The tangent of the gradient as z moves along `tangent`; `cotangent` is that gradient.
    ///
    /// With `None` for `cotangent`, the Gauss-Newton part of that tangent: the masked logits s are
    /// the output of the inner function, and the cross entropy, which is convex in them, is the
    /// outer one.
    pub fn gradient_tangent(
        &self,
        scratch: &mut NtXentScratch<'_, T>,
        tangent: &[T],
        cotangent: Option<&[T]>,
        out: &mut [T],
    ) {
        let width = self.width;
        self.normalize_tangent(tangent, scratch.unit_tangent);
        self.cotangent_tangent(scratch, cotangent.is_some());
        for i in 0..self.views {
            let (unit, norm) = (row(self.unit, i, width), at(self.norm, i));
            let unit_dot = row(scratch.unit_tangent, i, width);
            let bar_dot = row(scratch.unit_cotangent_tangent, i, width);
            let out = row_mut(out, i, width);
            let Some(cotangent) = cotangent else {
                let along = dot(unit, bar_dot);
                for ((out, bar_dot), unit) in out.iter_mut().zip(bar_dot).zip(unit) {
                    *out = divide(*bar_dot - along * *unit, norm);
                }
                continue;
            };
            let bar = row(self.unit_cotangent, i, width);
            let along = dot(unit, bar);
            let along_dot = dot(unit_dot, bar) + dot(unit, bar_dot);
            let norm_dot = dot(unit, row(tangent, i, width));
            let gradient = row(cotangent, i, width);
            let values = unit.iter().zip(unit_dot).zip(bar_dot).zip(gradient).zip(out);
            for ((((unit, unit_dot), bar_dot), gradient), out) in values {
                let numerator = *bar_dot - along_dot * *unit - along * *unit_dot;
                *out = divide(numerator - *gradient * norm_dot, norm);
            }
        }
    }

    fn count(&self) -> T {
        T::from_f32(self.views as f32)
    }

    /// The weight of every logit's cotangent.
    fn weight(&self) -> T {
        T::from_f32(1.0) / (self.count() * self.tau)
    }

    fn normalize(&mut self, z: &[T]) {
        for (i, norm) in self.norm.iter_mut().enumerate() {
            let z = row(z, i, self.width);
            *norm = dot(z, z).sqrt();
            for (unit, z) in row_mut(self.unit, i, self.width).iter_mut().zip(z) {
                *unit = divide(*z, *norm);
            }
        }
    }

    /// Fills P; returns the loss summed over the rows.
    fn fill_softmax(&mut self) -> T {
        let mut loss = T::BLANK;
        for i in 0..self.views {
            let unit = row(self.unit, i, self.width);
            let logits = row_mut(self.softmax, i, self.views);
            let mut largest = -T::from_f32(1.0) / self.tau;
            let mut logit_positive = T::BLANK;
            for (j, value) in logits.iter_mut().enumerate() {
                *value = dot(unit, row(self.unit, j, self.width)) / self.tau;
                if j != i && *value > largest {
                    largest = *value;
                }
                if j == positive(self.views, i) {
                    logit_positive = *value;
                }
            }
            let mut sum = T::BLANK;
            for (j, value) in logits.iter_mut().enumerate() {
                *value = if j == i { T::BLANK } else { (*value - largest).exp() };
                sum += *value;
            }
            for value in logits.iter_mut() {
                *value = *value / sum;
            }
            loss += sum.ln() + largest - logit_positive;
        }
        loss
    }

    fn normalize_tangent(&self, tangent: &[T], out: &mut [T]) {
        for i in 0..self.views {
            let (unit, norm) = (row(self.unit, i, self.width), at(self.norm, i));
            let tangent = row(tangent, i, self.width);
            let along = dot(unit, tangent);
            let out = row_mut(out, i, self.width);
            for ((out, tangent), unit) in out.iter_mut().zip(tangent).zip(unit) {
                *out = divide(*tangent - along * *unit, norm);
            }
        }
    }

    /// The tangent of ū: `Σ_j (Ġ_ij + Ġ_ji) u_j + (G_ij + G_ji) u̇_j`, with G the cotangent of the
    /// logits. The second term is added only if `full`.
    fn cotangent_tangent(&self, scratch: &mut NtXentScratch<'_, T>, full: bool) {
        let (views, width) = (self.views, self.width);
        let NtXentScratch { unit_tangent, unit_cotangent_tangent, logit_tangent, mean } = scratch;
        let logits = Logits { softmax: self.softmax, views };
        for (i, mean) in mean.iter_mut().enumerate() {
            *mean = T::BLANK;
            let (unit, unit_dot) = (row(self.unit, i, width), row(unit_tangent, i, width));
            for (j, moved) in row_mut(logit_tangent, i, views).iter_mut().enumerate() {
                let (other, other_dot) = (row(self.unit, j, width), row(unit_tangent, j, width));
                *moved = (dot(unit_dot, other) + dot(unit, other_dot)) / self.tau;
                *mean += logits.probability(i, j) * *moved;
            }
        }
        let weight = self.weight();
        let moved = |i: usize, j: usize| {
            let logit = at(logit_tangent, i * views + j);
            logits.probability(i, j) * (logit - at(mean, i))
        };
        for i in 0..views {
            let out = row_mut(unit_cotangent_tangent, i, width);
            out.fill(T::BLANK);
            for j in 0..views {
                accumulate((moved(i, j) + moved(j, i)) * weight, row(self.unit, j, width), out);
                if full {
                    let g = (logits.cotangent(i, j) + logits.cotangent(j, i)) * weight;
                    accumulate(g, row(unit_tangent, j, width), out);
                }
            }
        }
    }
}

/// P, and the logits' cotangents that follow from it.
struct Logits<'a, T> {
    softmax: &'a [T],
    views: usize,
}

impl<T: Real> Logits<'_, T> {
    fn probability(&self, i: usize, j: usize) -> T {
        at(self.softmax, i * self.views + j)
    }

    /// P_ij, minus 1 for the positive pair.
    fn cotangent(&self, i: usize, j: usize) -> T {
        let target = if positive(self.views, i) == j { T::from_f32(1.0) } else { T::BLANK };
        self.probability(i, j) - target
    }
}

/// Row `i` of a matrix with `width` columns; empty beyond its end.
fn row<T>(matrix: &[T], i: usize, width: usize) -> &[T] {
    matrix.get(i * width..).and_then(|rest| rest.get(..width)).unwrap_or(&[])
}

fn row_mut<T>(matrix: &mut [T], i: usize, width: usize) -> &mut [T] {
    matrix.get_mut(i * width..).and_then(|rest| rest.get_mut(..width)).unwrap_or(&mut [])
}

/// Element `i`; 0 beyond the end.
fn at<T: Real>(vector: &[T], i: usize) -> T {
    vector.get(i).copied().unwrap_or(T::BLANK)
}

/// `y ← y + a x`.
fn accumulate<T: Real>(a: T, x: &[T], y: &mut [T]) {
    for (x, y) in x.iter().zip(y) {
        *y += a * *x;
    }
}

/// The other view of the frame of row `i`.
fn positive(views: usize, i: usize) -> usize {
    if i < views / 2 { i + views / 2 } else { i.wrapping_sub(views / 2) }
}

fn dot<T: Real>(x: &[T], y: &[T]) -> T {
    let mut sum = T::BLANK;
    for (x, y) in x.iter().zip(y) {
        sum += *x * *y;
    }
    sum
}

/// `x / norm`; 0 where the norm is 0.
fn divide<T: Real>(x: T, norm: T) -> T {
    if norm == T::BLANK { T::BLANK } else { x / norm }
}
