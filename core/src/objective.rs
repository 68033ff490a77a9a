//! What a problem implements; the contract of a port.

use crate::{AdamCoefficients, Bank, Evaluation, Group, Register};

/// Vectors and the operations on them.
///
/// Dots should be accumulated in f64 where the processor has it, and must be summed in an order
/// that does not depend on scheduling: *the same contents give the same scalars, bit for bit*. A
/// factor of exactly 0 means that its vector is not read. The `scalars` slices are exactly as long
/// as needed, except in `segment_dots`, where they are the whole workspace.
pub trait RegisterFile {
    /// What can fail: the device, or a register that this problem does not have.
    type Error;

    /// `dst ← 0`.
    fn zero(&mut self, dst: Register) -> Result<(), Self::Error>;

    /// `dst ← src`.
    fn copy(&mut self, src: Register, dst: Register) -> Result<(), Self::Error>;

    /// `y ← a x + b y`.
    fn axpby(&mut self, a: f32, x: Register, b: f32, y: Register) -> Result<(), Self::Error>;

    /// `scalars[i] ← xᵢ · yᵢ`.
    fn dots(
        &mut self,
        pairs: &[(Register, Register)],
        scalars: &mut [f32],
    ) -> Result<(), Self::Error>;

    /// `scalars[i·S + s] ← xᵢ · yᵢ` over segment `s`; returns `S`, 0 where the workspace is too
    /// short.
    fn segment_dots(
        &mut self,
        pairs: &[(Register, Register)],
        scalars: &mut [f32],
    ) -> Result<u32, Self::Error>;

    /// `y ← scalars[s] x + b y` on every segment `s`.
    fn segment_axpby(
        &mut self,
        scalars: &[f32],
        x: Register,
        b: f32,
        y: Register,
    ) -> Result<(), Self::Error>;

    /// AdamW's update of one group.
    fn adam(
        &mut self,
        group: Group,
        gradient: Register,
        coefficients: &AdamCoefficients,
    ) -> Result<(), Self::Error>;

    /// `scalars[i] ← xᵢ · yᵢ` for the `m` pairs, then `scalars[m + i] ← bankᵢ · x`.
    ///
    /// A device whose scalars are costly to read should override the default, which reads each
    /// alone.
    fn basis_dots(
        &mut self,
        pairs: &[(Register, Register)],
        bank: Bank,
        x: Register,
        scalars: &mut [f32],
    ) -> Result<(), Self::Error> {
        let (front, back) = scalars.split_at_mut(pairs.len().min(scalars.len()));
        if !pairs.is_empty() {
            self.dots(pairs, front)?;
        }
        for (i, scalar) in (0..).zip(back) {
            self.dots(&[(Register::Banked(bank, i), x)], core::slice::from_mut(scalar))?;
        }
        Ok(())
    }

    /// `y ← b y + Σ scalars[i] bankᵢ`.
    fn combine(
        &mut self,
        bank: Bank,
        scalars: &[f32],
        b: f32,
        y: Register,
    ) -> Result<(), Self::Error> {
        self.axpby(0.0, y, b, y)?;
        for (i, scalar) in (0..).zip(scalars) {
            self.axpby(*scalar, Register::Banked(bank, i), 1.0, y)?;
        }
        Ok(())
    }

    /// `dst ←` standard normal draw number `index`.
    fn sketch(&mut self, dst: Register, index: u32) -> Result<(), Self::Error>;
}

/// A symmetric operator, for solving a linear system alone.
pub trait Operator: RegisterFile {
    /// `dst ← A src`.
    fn apply(&mut self, src: Register, dst: Register) -> Result<(), Self::Error>;
}

/// The lower level: the pretext loss L^P(θ_P, φ_P).
pub trait LowerObjective: RegisterFile {
    /// Gradient of L^P on batch `index`; returns the loss.
    ///
    /// Only L^P: proximity, clipping and weight decay are the machines' work. Running statistics
    /// and a moving average, if there are any, move here and nowhere else. `backbone: None`:
    /// frozen.
    fn lower_gradient(
        &mut self,
        index: u32,
        backbone: Option<Register>,
        head: Register,
    ) -> Result<f32, Self::Error>;

    /// Fixes θ_P and pretext batch `index` for the products to come.
    fn linearize(&mut self, index: u32) -> Result<(), Self::Error>;

    /// `dst ← H src`: the backbone block of L^P's curvature on the linearised batch.
    ///
    /// Symmetric, linear, repeatable; touches neither running statistics nor a random stream.
    fn product(&mut self, src: Register, dst: Register) -> Result<(), Self::Error>;

    /// `dst ← −(∂²L/∂upper ∂lower) src`.
    ///
    /// BiSSL's own coupling is (λ/2)‖θ_P − θ_D‖², whose cross derivative is −λ I: the default, a
    /// copy, is that of λ = 1. Only problems with [`Coupling::General`](crate::Coupling) are ever
    /// asked.
    fn cross_product(&mut self, src: Register, dst: Register) -> Result<(), Self::Error> {
        self.copy(src, dst)
    }
}

/// The upper level: the downstream loss L^D(θ, φ_D).
pub trait UpperObjective: RegisterFile {
    /// Gradient of L^D on batch `index` at (θ_P, φ_D) or (θ_D, φ_D); returns the loss.
    ///
    /// `at` is [`Evaluation::UpperAtLower`] or [`Evaluation::UpperAtUpper`]; both are asked with
    /// the same index for one hypergradient and must see the same batch. `backbone: None`: frozen.
    fn upper_gradient(
        &mut self,
        at: Evaluation,
        index: u32,
        backbone: Option<Register>,
        head: Register,
    ) -> Result<f32, Self::Error>;
}
