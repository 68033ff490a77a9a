//! The core's registers as plain f32 slices over a closed form.

use std::collections::HashMap;

use bissl_core::{
    AdamCoefficients, Evaluation, Group, LowerObjective, Register, RegisterFile, Stream,
    UpperObjective,
};
use thiserror::Error;

use super::dense::{dot, wide};
use super::forms::Form;

/// A request that the hypergradient of a closed form never makes.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("the closed forms do not {0}")]
pub(super) struct Unasked(&'static str);

/// A closed form with its vectors. The vectors are f32, as in training; the form itself computes in
/// f64.
pub(super) struct Slices<F> {
    pub(super) form: F,
    vectors: HashMap<Register, Vec<f32>>,
    sketches: Stream,
}

impl<F: Form> Slices<F> {
    pub(super) fn new(form: F, seed: u64) -> Self {
        Self { form, vectors: HashMap::new(), sketches: Stream::new(seed, 1) }
    }

    fn len(&self, register: Register) -> usize {
        let [lower, upper, head] = self.form.lengths();
        match register {
            Register::Parameter(Group::DownstreamHead)
            | Register::DownstreamHeadGradient
            | Register::DownstreamHeadDirect => head,
            Register::Parameter(Group::UpperBackbone)
            | Register::Hypergradient
            | Register::DirectGradient => upper,
            _ => lower,
        }
    }

    /// The vector, or zeros if it was never written.
    pub(super) fn read(&self, register: Register) -> Vec<f32> {
        let zeros = || vec![0.0; self.len(register)];
        self.vectors.get(&register).cloned().unwrap_or_else(zeros)
    }

    pub(super) fn wide(&self, register: Register) -> Vec<f64> {
        wide(&self.read(register))
    }

    /// Writes a vector, rounded to f32.
    pub(super) fn write(&mut self, register: Register, values: &[f64]) {
        assert_eq!(values.len(), self.len(register), "{register:?} has one length");
        self.vectors.insert(register, values.iter().map(|x| *x as f32).collect());
    }

    fn lower_point(&self) -> [Vec<f64>; 2] {
        [Group::LowerBackbone, Group::UpperBackbone]
            .map(|group| self.wide(Register::Parameter(group)))
    }
}

impl<F: Form> RegisterFile for Slices<F> {
    type Error = Unasked;

    fn zero(&mut self, dst: Register) -> Result<(), Unasked> {
        self.vectors.remove(&dst);
        Ok(())
    }

    fn copy(&mut self, src: Register, dst: Register) -> Result<(), Unasked> {
        let values = self.read(src);
        self.vectors.insert(dst, values);
        Ok(())
    }

    fn axpby(&mut self, a: f32, x: Register, b: f32, y: Register) -> Result<(), Unasked> {
        let (from, mut to) = (self.read(x), self.read(y));
        for (to, from) in to.iter_mut().zip(from) {
            // A factor of 0 means that the vector is not read.
            let kept = if b == 0.0 { 0.0 } else { b * *to };
            *to = if a == 0.0 { kept } else { a * from + kept };
        }
        self.vectors.insert(y, to);
        Ok(())
    }

    fn dots(&mut self, pairs: &[(Register, Register)], scalars: &mut [f32]) -> Result<(), Unasked> {
        for ((x, y), scalar) in pairs.iter().zip(scalars) {
            *scalar = dot(&self.wide(*x), &self.wide(*y)) as f32;
        }
        Ok(())
    }

    /// There is one segment.
    fn segment_dots(
        &mut self,
        pairs: &[(Register, Register)],
        scalars: &mut [f32],
    ) -> Result<u32, Unasked> {
        let Some(scalars) = scalars.get_mut(..pairs.len()) else { return Ok(0) };
        self.dots(pairs, scalars).map(|()| 1)
    }

    fn segment_axpby(
        &mut self,
        scalars: &[f32],
        x: Register,
        b: f32,
        y: Register,
    ) -> Result<(), Unasked> {
        self.axpby(scalars[0], x, b, y)
    }

    fn adam(&mut self, _: Group, _: Register, _: &AdamCoefficients) -> Result<(), Unasked> {
        Err(Unasked("take optimiser steps"))
    }

    fn sketch(&mut self, dst: Register, index: u32) -> Result<(), Unasked> {
        let mut draws = self.sketches.at(u64::from(index));
        let values: Vec<f32> = (0..self.len(dst)).map(|_| draws.normal()).collect();
        self.vectors.insert(dst, values);
        Ok(())
    }
}

impl<F: Form> LowerObjective for Slices<F> {
    fn lower_gradient(
        &mut self,
        _: u32,
        backbone: Option<Register>,
        _: Register,
    ) -> Result<f32, Unasked> {
        let [w, u] = self.lower_point();
        let (loss, gradient) = self.form.lower(&w, &u);
        if let Some(register) = backbone {
            self.write(register, &gradient);
        }
        Ok(loss as f32)
    }

    /// A form has one batch.
    fn linearize(&mut self, _: u32) -> Result<(), Unasked> {
        Ok(())
    }

    fn product(&mut self, src: Register, dst: Register) -> Result<(), Unasked> {
        let [w, u] = self.lower_point();
        let product = self.form.hessian(&w, &u).times(&self.wide(src));
        self.write(dst, &product);
        Ok(())
    }

    fn cross_product(&mut self, src: Register, dst: Register) -> Result<(), Unasked> {
        let [w, u] = self.lower_point();
        let product = self.form.cross(&w, &u, &self.wide(src));
        self.write(dst, &product);
        Ok(())
    }
}

impl<F: Form> UpperObjective for Slices<F> {
    fn upper_gradient(
        &mut self,
        at: Evaluation,
        _: u32,
        backbone: Option<Register>,
        head: Register,
    ) -> Result<f32, Unasked> {
        let ([w, u], phi) =
            (self.lower_point(), self.wide(Register::Parameter(Group::DownstreamHead)));
        let (loss, gradient, by_head) = match at {
            Evaluation::UpperAtLower => self.form.at_lower(&w, &phi),
            Evaluation::UpperAtUpper => self.form.at_upper(&u, &phi),
            Evaluation::Lower => return Err(Unasked("call the lower gradient an upper one")),
        };
        if let Some(register) = backbone {
            self.write(register, &gradient);
        }
        self.write(head, &by_head);
        Ok(loss as f32)
    }
}
