//! The upper level's arithmetic: cross entropy of a batch of labelled frames.

use crate::model::{Layer, Model, activations};
use crate::network::{Sequence, cross_entropy, largest};
use crate::pretext::take;
use crate::{Kernels, Real};

/// The downstream loss on a batch of frames; it keeps nothing.
#[derive(Debug)]
pub struct Downstream<'a, T> {
    model: &'static Model,
    rows: usize,
    /// `[sample][input of the trained layers]`.
    pub frames: &'a mut [T],
    /// Their classes, whole numbers below the model's.
    pub labels: &'a mut [T],
    values: &'a mut [T],
    logits: &'a mut [T],
    cotangents: &'a mut [T],
    logit_cotangents: &'a mut [T],
}

impl<'a, T: Real> Downstream<'a, T> {
    /// The loss on `rows` samples, and the memory that is left over. `None` if `memory` is shorter
    /// than the plan says.
    pub fn new(
        model: &'static Model,
        rows: usize,
        mut memory: &'a mut [T],
    ) -> Option<(Self, &'a mut [T])> {
        let rest = &mut memory;
        let inner = rows * activations(model.trained());
        let logits = rows * usize::from(model.classes);
        let downstream = Self {
            model,
            rows,
            frames: take(rest, rows * model.trained_inputs())?,
            labels: take(rest, rows)?,
            values: take(rest, inner)?,
            logits: take(rest, logits)?,
            cotangents: take(rest, inner)?,
            logit_cotangents: take(rest, logits)?,
        };
        Some((downstream, memory))
    }

    /// Evaluates both networks: logits, and everything below them.
    fn forward<K: Kernels<T>>(
        &mut self,
        kernels: &mut K,
        (encoder, classifier): (&[T], &[T]),
        head: &[Layer],
    ) -> Option<()> {
        let rows = self.rows;
        Sequence { layers: self.model.trained(), rows }.forward(
            kernels,
            encoder,
            self.frames,
            self.values,
        )?;
        let start = self.values.len().checked_sub(rows * self.model.features())?;
        let features = self.values.get(start..)?;
        Sequence { layers: head, rows }.forward(kernels, classifier, features, self.logits)
    }

    /// The loss at (θ, φ_D). Writes the head's gradient, and the backbone's if there is room for
    /// it.
    ///
    /// `None` if a slice does not have the model's length.
    pub fn gradient<K: Kernels<T>>(
        &mut self,
        kernels: &mut K,
        at: (&[T], &[T]),
        encoder_gradient: Option<&mut [T]>,
        classifier_gradient: &mut [T],
    ) -> Option<T> {
        let (encoder, classifier) = at;
        let (rows, head) = (self.rows, [self.model.classifier()]);
        self.forward(kernels, at, &head)?;
        let loss = cross_entropy(self.labels, self.logits, self.logit_cotangents);

        let start = self.values.len().checked_sub(rows * self.model.features())?;
        let features = self.values.get(start..)?;
        let wanted = match &encoder_gradient {
            Some(_) => Some(self.cotangents.get_mut(start..)?),
            None => None,
        };
        Sequence { layers: &head, rows }.backward(
            kernels,
            (classifier, features, self.logits),
            self.logit_cotangents,
            (wanted, Some(classifier_gradient)),
        )?;
        if encoder_gradient.is_some() {
            Sequence { layers: self.model.trained(), rows }.backward(
                kernels,
                (encoder, self.frames, self.values),
                self.cotangents,
                (None, encoder_gradient),
            )?;
        }
        Some(loss)
    }

    /// The class of the first frame.
    pub(crate) fn classify<K: Kernels<T>>(
        &mut self,
        kernels: &mut K,
        at: (&[T], &[T]),
    ) -> Option<u8> {
        self.forward(kernels, at, &[self.model.classifier()])?;
        Some(largest(self.logits.get(..usize::from(self.model.classes))?))
    }
}
