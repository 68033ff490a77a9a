//! The contrastive pretext loss.

use crate::{Blank, Real, Rows};

/// NT-Xent, mean over the `V` views (nats); Chen et al. (2020), eq. 1.
///
/// Rows `i` and `i + V/2` are the two views of one frame; `V` is even and at least 4. Rows need not be
/// normalised. A row of norm 0 counts as the constant 0: it has no direction, so its gradient is 0.
///
/// With u = z/|z|, s_ij = u_i·u_j/τ and P_ij the softmax of row i without the diagonal:
/// `L = (1/V) Σ_i (ln Σ_{j≠i} exp s_ij − s_i,pos(i))`.
#[derive(Clone, Debug, PartialEq)]
pub struct NtXent<T, const V: usize, const Z: usize> {
    /// u.
    unit: Rows<T, V, Z>,
    /// |z|.
    norm: [T; V],
    /// P, with 0 on the diagonal.
    softmax: Rows<T, V, V>,
    /// ū.
    unit_cotangent: Rows<T, V, Z>,
    /// u̇, of the latest product.
    unit_tangent: Rows<T, V, Z>,
    /// The tangent of ū, of the latest product.
    unit_cotangent_tangent: Rows<T, V, Z>,
}

impl<T: Blank, const V: usize, const Z: usize> Blank for NtXent<T, V, Z> {
    const BLANK: Self = Self {
        unit: Blank::BLANK,
        norm: Blank::BLANK,
        softmax: Blank::BLANK,
        unit_cotangent: Blank::BLANK,
        unit_tangent: Blank::BLANK,
        unit_cotangent_tangent: Blank::BLANK,
    };
}

impl<T: Real, const V: usize, const Z: usize> NtXent<T, V, Z> {
    /// The loss of `z`, and its gradient into `cotangent`; both stay here for the products to come.
    ///
    /// A norm that is not finite is returned for the loss; there is no gradient then.
    pub fn gradient(&mut self, z: &Rows<T, V, Z>, tau: T, cotangent: &mut Rows<T, V, Z>) -> T {
        self.normalize(z);
        if let Some(norm) = self.norm.iter().find(|norm| !norm.is_finite()) {
            // z over an infinite norm would pass for 0.
            return *norm;
        }
        let loss = self.fill_softmax(tau) / views::<T, V>();
        let weight = T::from_f32(1.0) / (views::<T, V>() * tau);
        self.unit_cotangent = Blank::BLANK;
        for (i, (unit, row)) in self.unit.iter().zip(&self.softmax).enumerate() {
            let mut logit_cotangent = *row;
            for (j, value) in logit_cotangent.iter_mut().enumerate() {
                let target = if positive::<V>(i) == j { T::from_f32(1.0) } else { T::BLANK };
                *value = (*value - target) * weight;
            }
            spread(&logit_cotangent, i, (unit, &self.unit), &mut self.unit_cotangent);
        }
        let rows = self.unit.iter().zip(&self.norm).zip(&self.unit_cotangent);
        for (((unit, norm), bar), out) in rows.zip(cotangent) {
            let along = dot(unit, bar);
            for ((out, bar), unit) in out.iter_mut().zip(bar).zip(unit) {
                *out = divide(*bar - along * *unit, *norm);
            }
        }
        loss
    }

    /// The tangent of the gradient as z moves by `tangent`; `cotangent` is that gradient.
    pub fn gradient_tangent(
        &mut self,
        tangent: &Rows<T, V, Z>,
        tau: T,
        cotangent: &Rows<T, V, Z>,
        out: &mut Rows<T, V, Z>,
    ) {
        self.normalize_tangent(tangent);
        self.cotangent_tangent(tau);
        let at = self.unit.iter().zip(&self.norm).zip(&self.unit_cotangent);
        let moved = self.unit_tangent.iter().zip(&self.unit_cotangent_tangent);
        let outer = tangent.iter().zip(cotangent).zip(out);
        for ((((unit, norm), bar), (unit_dot, bar_dot)), ((tangent, cotangent), out)) in
            at.zip(moved).zip(outer)
        {
            let along = dot(unit, bar);
            let along_dot = dot(unit_dot, bar) + dot(unit, bar_dot);
            let norm_dot = dot(unit, tangent);
            let rows = unit.iter().zip(unit_dot).zip(bar_dot).zip(cotangent).zip(out);
            for ((((unit, unit_dot), bar_dot), cotangent), out) in rows {
                let numerator = *bar_dot - along_dot * *unit - along * *unit_dot;
                *out = divide(numerator - *cotangent * norm_dot, *norm);
            }
        }
    }

    fn normalize(&mut self, z: &Rows<T, V, Z>) {
        for ((z, unit), norm) in z.iter().zip(&mut self.unit).zip(&mut self.norm) {
            *norm = dot(z, z).sqrt();
            for (unit, z) in unit.iter_mut().zip(z) {
                *unit = divide(*z, *norm);
            }
        }
    }

    /// Fills P; returns the loss summed over the rows.
    fn fill_softmax(&mut self, tau: T) -> T {
        let mut loss = T::BLANK;
        for (i, (unit, row)) in self.unit.iter().zip(&mut self.softmax).enumerate() {
            let mut largest = -T::from_f32(1.0) / tau;
            let mut logit_positive = T::BLANK;
            for (j, (value, other)) in row.iter_mut().zip(&self.unit).enumerate() {
                *value = dot(unit, other) / tau;
                if j != i && *value > largest {
                    largest = *value;
                }
                if j == positive::<V>(i) {
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

    fn normalize_tangent(&mut self, tangent: &Rows<T, V, Z>) {
        let rows = self.unit.iter().zip(&self.norm).zip(tangent).zip(&mut self.unit_tangent);
        for (((unit, norm), tangent), out) in rows {
            let along = dot(unit, tangent);
            for ((out, tangent), unit) in out.iter_mut().zip(tangent).zip(unit) {
                *out = divide(*tangent - along * *unit, *norm);
            }
        }
    }

    /// The tangent of ū: `Σ_j (Ġ_ij + Ġ_ji) u_j + (G_ij + G_ji) u̇_j`, G the cotangent of the logits.
    fn cotangent_tangent(&mut self, tau: T) {
        let weight = T::from_f32(1.0) / (views::<T, V>() * tau);
        self.unit_cotangent_tangent = Blank::BLANK;
        let rows = self.unit.iter().zip(&self.unit_tangent).zip(&self.softmax);
        for (i, ((unit, unit_dot), softmax)) in rows.enumerate() {
            let mut moved = [T::BLANK; V];
            let mut mean = T::BLANK;
            let others = self.unit.iter().zip(&self.unit_tangent);
            for ((value, p), (other, other_dot)) in moved.iter_mut().zip(softmax).zip(others) {
                *value = (dot(unit_dot, other) + dot(unit, other_dot)) / tau;
                mean += *p * *value;
            }
            let mut still = *softmax;
            for (j, (moved, still)) in moved.iter_mut().zip(&mut still).enumerate() {
                *moved = *still * (*moved - mean) * weight;
                let target = if positive::<V>(i) == j { T::from_f32(1.0) } else { T::BLANK };
                *still = (*still - target) * weight;
            }
            let out = &mut self.unit_cotangent_tangent;
            spread(&moved, i, (unit, &self.unit), out);
            spread(&still, i, (unit_dot, &self.unit_tangent), out);
        }
    }
}

/// `out_i += Σ_j g_j u_j` and `out_j += g_j u_i`: what row i of the logits' cotangent does to ū.
fn spread<T: Real, const V: usize, const Z: usize>(
    g: &[T; V],
    i: usize,
    (unit, units): (&[T; Z], &Rows<T, V, Z>),
    out: &mut Rows<T, V, Z>,
) {
    let mut own = [T::BLANK; Z];
    for ((g, other), out) in g.iter().zip(units).zip(out.iter_mut()) {
        for (((own, other), out), unit) in own.iter_mut().zip(other).zip(out).zip(unit) {
            *own += *g * *other;
            *out += *g * *unit;
        }
    }
    if let Some(out) = out.get_mut(i) {
        for (out, own) in out.iter_mut().zip(own) {
            *out += own;
        }
    }
}

/// The other view of the frame of row `i`.
fn positive<const V: usize>(i: usize) -> usize {
    if i < V / 2 { i + V / 2 } else { i - V / 2 }
}

fn views<T: Real, const V: usize>() -> T {
    T::from_f32(V as f32)
}

fn dot<T: Real, const N: usize>(x: &[T; N], y: &[T; N]) -> T {
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
