//! The lower level's arithmetic: NT-Xent of a batch of views, its gradient and curvature products.

use crate::network::{Direction, Gradient, Layer, Moved, NtXent, Passed, Point};
use crate::shape::{
    EMBEDDING, Encoder, EncoderParameters, FEATURES, PIXELS, Projector, ProjectorParameters, VIEWS,
};
use crate::{Blank, Kernels, Real, Rows};

type EncoderTrace<T> = <Encoder<VIEWS> as Layer<T>>::Trace;
type ProjectorTrace<T> = <Projector<VIEWS> as Layer<T>>::Trace;

/// What one pass leaves in the pretext network.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Pass<T: Real> {
    encoder: EncoderTrace<T>,
    features: Rows<T, VIEWS, FEATURES>,
    projector: ProjectorTrace<T>,
    output: Rows<T, VIEWS, EMBEDDING>,
}

impl<T: Real> Blank for Pass<T> {
    const BLANK: Self = Self {
        encoder: Blank::BLANK,
        features: Blank::BLANK,
        projector: Blank::BLANK,
        output: Blank::BLANK,
    };
}

/// The pretext loss on the views in `views`, with everything that is kept for products.
///
/// Gradients and products share the memory, so a gradient ends the linearisation before it.
#[derive(Clone, Debug, PartialEq)]
pub struct Pretext<T: Real> {
    /// `[view][pixel]`; rows `i` and `i + PRETEXT_BATCH` are views of one frame.
    pub views: Rows<T, VIEWS, PIXELS>,
    values: Pass<T>,
    tangents: Pass<T>,
    cotangents: Pass<T>,
    cotangent_tangents: Pass<T>,
    loss: NtXent<T, VIEWS, EMBEDDING>,
}

impl<T: Real> Blank for Pretext<T> {
    const BLANK: Self = Self {
        views: Blank::BLANK,
        values: Blank::BLANK,
        tangents: Blank::BLANK,
        cotangents: Blank::BLANK,
        cotangent_tangents: Blank::BLANK,
        loss: Blank::BLANK,
    };
}

/// θ_P and φ_P.
#[derive(Debug)]
pub struct LowerParameters<'a, T: Real> {
    /// θ_P.
    pub encoder: &'a EncoderParameters<T>,
    /// φ_P.
    pub projector: &'a ProjectorParameters<T>,
}

impl<T: Real> Pretext<T> {
    /// The loss; its gradients go where there is room for them, and what products need stays.
    pub fn gradient<K: Kernels<T>>(
        &mut self,
        kernels: &mut K,
        at: &LowerParameters<'_, T>,
        tau: T,
        encoder: Option<&mut EncoderParameters<T>>,
        projector: Option<&mut ProjectorParameters<T>>,
    ) -> T {
        let Pass { encoder: inner, features, projector: outer, output } = &mut self.values;
        Encoder::forward(kernels, at.encoder, &self.views, inner, features);
        Projector::forward(kernels, at.projector, features, outer, output);

        let bars = &mut self.cotangents;
        let loss = self.loss.gradient(output, tau, &mut bars.output);
        let (encoder_at, projector_at) = points(at, &self.views, &self.values);
        let wanted = Gradient { input: Some(&mut bars.features), parameters: projector };
        let Pass { projector: trace, output, .. } = bars;
        Projector::backward(kernels, projector_at, output, trace, wanted);
        let wanted = Gradient { input: None, parameters: encoder };
        let Pass { encoder: trace, features, .. } = bars;
        Encoder::backward(kernels, encoder_at, features, trace, wanted);
        loss
    }

    /// `out ← H direction`: the backbone block of the loss's Hessian, on the batch and at the
    /// parameters of the latest [`gradient`](Self::gradient).
    ///
    /// `at` must be those parameters. Of the first order nothing is computed again.
    pub fn product<K: Kernels<T>>(
        &mut self,
        kernels: &mut K,
        at: &LowerParameters<'_, T>,
        tau: T,
        direction: &EncoderParameters<T>,
        out: &mut EncoderParameters<T>,
    ) {
        let dots = &mut self.tangents;
        let (encoder_at, projector_at) = points(at, &self.views, &self.values);
        let moved = Direction { input: None, parameters: Some(direction) };
        Encoder::tangent(kernels, encoder_at, moved, &mut dots.encoder, &mut dots.features);
        let moved = Direction { input: Some(&dots.features), parameters: None };
        Projector::tangent(kernels, projector_at, moved, &mut dots.projector, &mut dots.output);

        let moved = &mut self.cotangent_tangents;
        // The projector's last layer is linear, so its output's cotangent is still the loss's own.
        let bars = &self.cotangents;
        self.loss.gradient_tangent(&self.tangents.output, tau, &bars.output, &mut moved.output);
        let dots = &self.tangents;
        let (encoder_at, projector_at) = points(at, &self.views, &self.values);
        Projector::backward_tangent(
            kernels,
            projector_at,
            Moved {
                direction: Direction { input: Some(&dots.features), parameters: None },
                trace: &dots.projector,
            },
            Passed { output: &bars.output, trace: &bars.projector },
            &mut moved.output,
            &mut moved.projector,
            Gradient { input: Some(&mut moved.features), parameters: None },
        );
        Encoder::backward_tangent(
            kernels,
            encoder_at,
            Moved {
                direction: Direction { input: None, parameters: Some(direction) },
                trace: &dots.encoder,
            },
            Passed { output: &bars.features, trace: &bars.encoder },
            &mut moved.features,
            &mut moved.encoder,
            Gradient { input: None, parameters: Some(out) },
        );
    }
}

/// Where the two networks were evaluated.
fn points<'a, T: Real>(
    at: &LowerParameters<'a, T>,
    views: &'a Rows<T, VIEWS, PIXELS>,
    values: &'a Pass<T>,
) -> (Point<'a, T, Encoder<VIEWS>>, Point<'a, T, Projector<VIEWS>>) {
    let Pass { encoder, features, projector, output } = values;
    (
        Point { parameters: at.encoder, input: views, trace: encoder, output: features },
        Point { parameters: at.projector, input: features, trace: projector, output },
    )
}
