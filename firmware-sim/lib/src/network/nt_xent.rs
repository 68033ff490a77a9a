//! The contrastive pretext loss.

use super::layer::at_least_one;
use crate::Real;

/// NT-Xent, mean over the views (nats); Chen et al. (2020), eq. 1.
///
/// Rows `i` and `i + V/2` of V views are the two views of one frame; V is even and at least 4. Rows need
/// not be normalised. A row of norm 0 counts as the constant 0: it has no direction, so its gradient is 0.
///
/// With u = z/|z|, s_ij = u_i·u_j/τ and P_ij the softmax of row i without the diagonal:
/// `L = (1/V) Σ_i (ln Σ_{j≠i} exp s_ij − s_i,pos(i))`.
///
/// The slices are what a gradient leaves for the products to come.
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

/// What a product needs for itself.
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
    /// The loss of `z`, `[V][Z]`, and its gradient into `cotangent`; both stay here for the products to come.
    ///
    /// A norm that is not finite is returned for the loss; there is no gradient then.
    pub fn gradient(&mut self, z: &[T], cotangent: &mut [T]) -> T {
        let width = at_least_one(self.width);
        self.normalize(z);
        if let Some(norm) = self.norm.iter().find(|norm| !norm.is_finite()) {
            // z over an infinite norm would pass for 0.
            return *norm;
        }
        let loss = self.fill_softmax() / self.count();
        let weight = self.weight();
        let logits = Logits { softmax: self.softmax, views: self.views };
        for (i, bar) in self.unit_cotangent.chunks_mut(width).enumerate() {
            bar.fill(T::BLANK);
            for (j, other) in self.unit.chunks(width).enumerate() {
                // Of row i and of row j: s_ij and s_ji are the same product.
                let g = (logits.cotangent(i, j) + logits.cotangent(j, i)) * weight;
                accumulate(g, other, bar);
            }
        }
        let rows =
            self.unit.chunks(width).zip(self.norm.iter()).zip(self.unit_cotangent.chunks(width));
        for (((unit, norm), bar), out) in rows.zip(cotangent.chunks_mut(width)) {
            let along = dot(unit, bar);
            for ((out, bar), unit) in out.iter_mut().zip(bar).zip(unit) {
                *out = divide(*bar - along * *unit, *norm);
            }
        }
        loss
    }

    /// The tangent of the gradient as z moves by `tangent`; `cotangent` is that gradient.
    ///
    /// `None` for it: the Gauss-Newton matrix's part of it, with the masked logits s as the inner
    /// function's output and the cross entropy, which is convex in them, as the outer one.
    pub fn gradient_tangent(
        &self,
        scratch: &mut NtXentScratch<'_, T>,
        tangent: &[T],
        cotangent: Option<&[T]>,
        out: &mut [T],
    ) {
        let width = at_least_one(self.width);
        self.normalize_tangent(tangent, scratch.unit_tangent);
        self.cotangent_tangent(scratch, cotangent.is_some());
        let at =
            self.unit.chunks(width).zip(self.norm.iter()).zip(self.unit_cotangent.chunks(width));
        let dots =
            scratch.unit_tangent.chunks(width).zip(scratch.unit_cotangent_tangent.chunks(width));
        let rows = at.zip(dots).zip(tangent.chunks(width)).zip(out.chunks_mut(width));
        let mut gradients = cotangent.map(|cotangent| cotangent.chunks(width));
        for (((((unit, norm), bar), (unit_dot, bar_dot)), tangent), out) in rows {
            let Some(gradients) = &mut gradients else {
                let along = dot(unit, bar_dot);
                for ((out, bar_dot), unit) in out.iter_mut().zip(bar_dot).zip(unit) {
                    *out = divide(*bar_dot - along * *unit, *norm);
                }
                continue;
            };
            let gradient = gradients.next().unwrap_or(&[]);
            let along = dot(unit, bar);
            let along_dot = dot(unit_dot, bar) + dot(unit, bar_dot);
            let norm_dot = dot(unit, tangent);
            let values = unit.iter().zip(unit_dot).zip(bar_dot).zip(gradient).zip(out);
            for ((((unit, unit_dot), bar_dot), gradient), out) in values {
                let numerator = *bar_dot - along_dot * *unit - along * *unit_dot;
                *out = divide(numerator - *gradient * norm_dot, *norm);
            }
        }
    }

    fn count(&self) -> T {
        T::from_f32(self.views as f32)
    }

    /// What every logit's cotangent is weighted with.
    fn weight(&self) -> T {
        T::from_f32(1.0) / (self.count() * self.tau)
    }

    fn normalize(&mut self, z: &[T]) {
        let width = at_least_one(self.width);
        let rows = z.chunks(width).zip(self.unit.chunks_mut(width)).zip(self.norm.iter_mut());
        for ((z, unit), norm) in rows {
            *norm = dot(z, z).sqrt();
            for (unit, z) in unit.iter_mut().zip(z) {
                *unit = divide(*z, *norm);
            }
        }
    }

    /// Fills P; returns the loss summed over the rows.
    fn fill_softmax(&mut self) -> T {
        let width = at_least_one(self.width);
        let mut loss = T::BLANK;
        let rows = self.unit.chunks(width).zip(self.softmax.chunks_mut(at_least_one(self.views)));
        for (i, (unit, row)) in rows.enumerate() {
            let mut largest = -T::from_f32(1.0) / self.tau;
            let mut logit_positive = T::BLANK;
            for (j, (value, other)) in row.iter_mut().zip(self.unit.chunks(width)).enumerate() {
                *value = dot(unit, other) / self.tau;
                if j != i && *value > largest {
                    largest = *value;
                }
                if j == positive(self.views, i) {
                    logit_positive = *value;
                }
            }
            let mut sum = T::BLANK;
            for (j, value) in row.iter_mut().enumerate() {
                *value = if j == i { T::BLANK } else { (*value - largest).exp() };
                sum += *value;
            }
            for value in row.iter_mut() {
                *value = *value / sum;
            }
            loss += sum.ln() + largest - logit_positive;
        }
        loss
    }

    fn normalize_tangent(&self, tangent: &[T], out: &mut [T]) {
        let width = at_least_one(self.width);
        let at = self.unit.chunks(width).zip(self.norm.iter()).zip(tangent.chunks(width));
        for (((unit, norm), tangent), out) in at.zip(out.chunks_mut(width)) {
            let along = dot(unit, tangent);
            for ((out, tangent), unit) in out.iter_mut().zip(tangent).zip(unit) {
                *out = divide(*tangent - along * *unit, *norm);
            }
        }
    }

    /// The tangent of ū: `Σ_j (Ġ_ij + Ġ_ji) u_j + (G_ij + G_ji) u̇_j`, G the cotangent of the logits;
    /// the second term only where `full`.
    fn cotangent_tangent(&self, scratch: &mut NtXentScratch<'_, T>, full: bool) {
        let width = at_least_one(self.width);
        let views = at_least_one(self.views);
        let NtXentScratch { unit_tangent, unit_cotangent_tangent, logit_tangent, mean } = scratch;
        let pairs = self.unit.chunks(width).zip(unit_tangent.chunks(width));
        let rows = pairs.zip(self.softmax.chunks(views));
        let outs = logit_tangent.chunks_mut(views).zip(mean.iter_mut());
        for (((unit, unit_dot), softmax), (moved, mean)) in rows.zip(outs) {
            *mean = T::BLANK;
            let others = self.unit.chunks(width).zip(unit_tangent.chunks(width));
            for ((moved, p), (other, other_dot)) in moved.iter_mut().zip(softmax).zip(others) {
                *moved = (dot(unit_dot, other) + dot(unit, other_dot)) / self.tau;
                *mean += *p * *moved;
            }
        }
        let weight = self.weight();
        let logits = Logits { softmax: self.softmax, views: self.views };
        let moved = |i: usize, j: usize| {
            let of_row = mean.get(i).copied().unwrap_or(T::BLANK);
            let logit = logit_tangent.get(i * self.views + j).copied().unwrap_or(T::BLANK);
            logits.probability(i, j) * (logit - of_row)
        };
        for (i, out) in unit_cotangent_tangent.chunks_mut(width).enumerate() {
            out.fill(T::BLANK);
            let others = self.unit.chunks(width).zip(unit_tangent.chunks(width));
            for (j, (other, other_dot)) in others.enumerate() {
                accumulate((moved(i, j) + moved(j, i)) * weight, other, out);
                if full {
                    let g = (logits.cotangent(i, j) + logits.cotangent(j, i)) * weight;
                    accumulate(g, other_dot, out);
                }
            }
        }
    }
}

/// P, and the cotangents of the logits that it gives.
struct Logits<'a, T> {
    softmax: &'a [T],
    views: usize,
}

impl<T: Real> Logits<'_, T> {
    fn probability(&self, i: usize, j: usize) -> T {
        self.softmax.get(i * self.views + j).copied().unwrap_or(T::BLANK)
    }

    /// P_ij, less 1 for the positive.
    fn cotangent(&self, i: usize, j: usize) -> T {
        let target = if positive(self.views, i) == j { T::from_f32(1.0) } else { T::BLANK };
        self.probability(i, j) - target
    }
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
