//! The lower level's arithmetic: NT-Xent of a batch of views, its gradient and curvature products.

use crate::model::{Curvature, Model, activations};
use crate::network::{Direction, NtXent, NtXentScratch, Sequence};
use crate::{Kernels, Real};

/// The pretext loss on a batch of views, with everything that products need later.
///
/// Gradients and products share the memory, so a gradient ends the previous linearisation.
#[derive(Debug)]
pub struct Pretext<'a, T> {
    model: &'static Model,
    rows: usize,
    /// `[view][input of the trained layers]`; rows `i` and `i + V/2` are views of one frame.
    pub views: &'a mut [T],
    values: Pass<'a, T>,
    cotangents: Pass<'a, T>,
    loss: NtXent<'a, T>,
}

/// What one pass leaves in the pretext network.
#[derive(Debug)]
struct Pass<'a, T> {
    encoder: &'a mut [T],
    projector: &'a mut [T],
}

/// The trained part of θ_P, and φ_P.
#[derive(Clone, Copy, Debug)]
pub struct LowerParameters<'a, T> {
    /// θ_P.
    pub encoder: &'a [T],
    /// φ_P.
    pub projector: &'a [T],
}

/// The parts of the memory, in the order of [`Plan`](crate::Plan).
#[derive(Debug)]
pub struct PretextMemory<'a, T> {
    /// Views.
    pub views: &'a mut [T],
    /// Values.
    pub values: &'a mut [T],
    /// Cotangents.
    pub cotangents: &'a mut [T],
    /// Unit vectors, their cotangents, norms, softmax.
    pub loss: &'a mut [T],
}

/// Takes the first `floats` floats off the front.
pub(crate) fn take<'a, T>(rest: &mut &'a mut [T], floats: usize) -> Option<&'a mut [T]> {
    let (taken, behind) = core::mem::take(rest).split_at_mut_checked(floats)?;
    *rest = behind;
    Some(taken)
}

impl<'a, T: Real> Pass<'a, T> {
    fn new(model: &Model, rows: usize, memory: &mut &'a mut [T]) -> Option<Self> {
        let encoder = take(memory, rows * activations(model.trained()))?;
        let projector = take(memory, rows * activations(model.projector))?;
        Some(Self { encoder, projector })
    }

    /// The backbone's output, the last in its trace.
    fn features(&self, model: &Model, rows: usize) -> Option<&[T]> {
        self.encoder.get(self.encoder.len().checked_sub(rows * model.features())?..)
    }

    fn output(&self, model: &Model, rows: usize) -> Option<&[T]> {
        self.projector.get(self.projector.len().checked_sub(rows * model.embedding())?..)
    }

    fn output_mut(&mut self, model: &Model, rows: usize) -> Option<&mut [T]> {
        self.projector.get_mut(self.projector.len().checked_sub(rows * model.embedding())?..)
    }
}

impl<'a, T: Real> Pretext<'a, T> {
    /// The loss on batches of `batch` frames. `None` if the memory is shorter than the plan says.
    pub fn new(
        model: &'static Model,
        batch: u16,
        memory: PretextMemory<'a, T>,
        tau: T,
    ) -> Option<Self> {
        let PretextMemory { mut views, mut values, mut cotangents, mut loss } = memory;
        let rows = 2 * usize::from(batch);
        let width = model.embedding();
        Some(Self {
            model,
            rows,
            views: take(&mut views, rows * model.trained_inputs())?,
            values: Pass::new(model, rows, &mut values)?,
            cotangents: Pass::new(model, rows, &mut cotangents)?,
            loss: NtXent {
                views: rows,
                width,
                tau,
                unit: take(&mut loss, rows * width)?,
                unit_cotangent: take(&mut loss, rows * width)?,
                norm: take(&mut loss, rows)?,
                softmax: take(&mut loss, rows * rows)?,
            },
        })
    }

    fn encoder(&self) -> Sequence<'static> {
        Sequence { layers: self.model.trained(), rows: self.rows }
    }

    fn projector(&self) -> Sequence<'static> {
        Sequence { layers: self.model.projector, rows: self.rows }
    }

    /// The loss. Gradients are written where there is room for them, and what products need is
    /// kept.
    ///
    /// `None` if a slice does not have the model's length.
    pub fn gradient<K: Kernels<T>>(
        &mut self,
        kernels: &mut K,
        at: LowerParameters<'_, T>,
        encoder: Option<&mut [T]>,
        projector: Option<&mut [T]>,
    ) -> Option<T> {
        let (model, rows) = (self.model, self.rows);
        let (lower, upper) = (self.encoder(), self.projector());
        lower.forward(kernels, at.encoder, self.views, self.values.encoder)?;
        let Pass { encoder: trace, projector: outer } = &mut self.values;
        let features = trace.get(trace.len().checked_sub(rows * model.features())?..)?;
        upper.forward(kernels, at.projector, features, outer)?;

        let output = self.values.output(model, rows)?;
        let loss = self.loss.gradient(output, self.cotangents.output_mut(model, rows)?);
        let features = self.values.features(model, rows)?;
        let start = self.cotangents.encoder.len().checked_sub(rows * model.features())?;
        upper.backward(
            kernels,
            (at.projector, features, self.values.projector),
            self.cotangents.projector,
            (self.cotangents.encoder.get_mut(start..), projector),
        )?;
        lower.backward(
            kernels,
            (at.encoder, self.views, self.values.encoder),
            self.cotangents.encoder,
            (None, encoder),
        )?;
        Some(loss)
    }

    /// `out ← H direction`: the backbone block of the loss's curvature, on the batch and at the
    /// parameters of the latest [`gradient`](Self::gradient).
    ///
    /// `at` must be those parameters. Nothing of first order is computed again. `None` if a slice
    /// does not have the model's length.
    pub fn product<K: Kernels<T>>(
        &self,
        kernels: &mut K,
        at: LowerParameters<'_, T>,
        mut scratch: &mut [T],
        direction: &[T],
        out: &mut [T],
    ) -> Option<()> {
        let (model, rows, width) = (self.model, self.rows, self.model.embedding());
        let (lower, upper) = (self.encoder(), self.projector());
        let dots = Pass::new(model, rows, &mut scratch)?;
        let mut moved = Pass::new(model, rows, &mut scratch)?;
        let mut of_loss = NtXentScratch {
            unit_tangent: take(&mut scratch, rows * width)?,
            unit_cotangent_tangent: take(&mut scratch, rows * width)?,
            logit_tangent: take(&mut scratch, rows * rows)?,
            mean: take(&mut scratch, rows)?,
        };
        let features = self.values.features(model, rows)?;
        let encoder_at = (at.encoder, &*self.views, &*self.values.encoder);
        let projector_at = (at.projector, features, &*self.values.projector);
        let encoder_direction = Direction { input: None, parameters: Some(direction) };
        lower.tangent(kernels, encoder_at, encoder_direction, dots.encoder)?;
        let start = dots.encoder.len().checked_sub(rows * model.features())?;
        let features_dot = dots.encoder.get(start..)?;
        let projector_direction = Direction { input: Some(features_dot), parameters: None };
        upper.tangent(kernels, projector_at, projector_direction, dots.projector)?;

        let bars = match model.curvature {
            Curvature::Hessian => Some(&self.cotangents),
            Curvature::GaussNewton => None,
        };
        // The projector's last layer is linear, so the cotangent of its output is the loss's own.
        let output_bar = match bars {
            Some(bars) => Some(bars.output(model, rows)?),
            None => None,
        };
        let output_dot = dots.output(model, rows)?;
        self.loss.gradient_tangent(
            &mut of_loss,
            output_dot,
            output_bar,
            moved.output_mut(model, rows)?,
        );
        upper.backward_tangent(
            kernels,
            projector_at,
            (projector_direction, dots.projector),
            bars.map(|bars| &*bars.projector),
            moved.projector,
            (moved.encoder.get_mut(start..), None),
        )?;
        lower.backward_tangent(
            kernels,
            encoder_at,
            (encoder_direction, dots.encoder),
            bars.map(|bars| &*bars.encoder),
            moved.encoder,
            (None, Some(out)),
        )
    }
}
