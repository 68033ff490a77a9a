//! The upper level's arithmetic: cross entropy of a batch of labelled frames.

use crate::network::{Gradient, Layer, Point, cross_entropy, largest};
use crate::shape::{
    CLASSES, Classifier, ClassifierParameters, DOWNSTREAM_BATCH, Encoder, EncoderParameters,
    FEATURES, PIXELS,
};
use crate::{Blank, Kernels, Real, Rows};

const R: usize = DOWNSTREAM_BATCH;
type EncoderTrace<T> = <Encoder<R> as Layer<T>>::Trace;

/// The downstream loss on the frames in `frames`.
#[derive(Clone, Debug, PartialEq)]
pub struct Downstream<T: Real> {
    /// `[sample][pixel]`.
    pub frames: Rows<T, R, PIXELS>,
    /// Their classes, below `CLASSES`.
    pub labels: [u8; R],
    values: EncoderTrace<T>,
    features: Rows<T, R, FEATURES>,
    logits: Rows<T, R, CLASSES>,
    logit_cotangents: Rows<T, R, CLASSES>,
    cotangents: EncoderTrace<T>,
    feature_cotangents: Rows<T, R, FEATURES>,
}

impl<T: Real> Blank for Downstream<T> {
    const BLANK: Self = Self {
        frames: Blank::BLANK,
        labels: Blank::BLANK,
        values: Blank::BLANK,
        features: Blank::BLANK,
        logits: Blank::BLANK,
        logit_cotangents: Blank::BLANK,
        cotangents: Blank::BLANK,
        feature_cotangents: Blank::BLANK,
    };
}

impl<T: Real> Downstream<T> {
    /// The loss at (θ, φ_D); the head's gradient, and the backbone's where there is room for it.
    pub fn gradient<K: Kernels<T>>(
        &mut self,
        kernels: &mut K,
        (encoder, classifier): (&EncoderParameters<T>, &ClassifierParameters<T>),
        encoder_gradient: Option<&mut EncoderParameters<T>>,
        classifier_gradient: &mut ClassifierParameters<T>,
    ) -> T {
        let Self { frames, labels, values, features, logits, .. } = self;
        Encoder::forward(kernels, encoder, frames, values, features);
        Classifier::forward(kernels, classifier, features, &mut (), logits);
        let loss = cross_entropy(labels, logits, &mut self.logit_cotangents);

        let Self { cotangents, feature_cotangents, logit_cotangents, .. } = self;
        let at = Point { parameters: classifier, input: &*features, trace: &(), output: &*logits };
        let input = encoder_gradient.is_some().then_some(&mut *feature_cotangents);
        let wanted = Gradient { input, parameters: Some(classifier_gradient) };
        Classifier::backward(kernels, at, logit_cotangents, &mut (), wanted);
        if encoder_gradient.is_some() {
            let at = Point { parameters: encoder, input: frames, trace: values, output: features };
            let wanted = Gradient { input: None, parameters: encoder_gradient };
            Encoder::backward(kernels, at, feature_cotangents, cotangents, wanted);
        }
        loss
    }
}

/// The class of one frame.
pub(crate) fn classify<T: Real, K: Kernels<T>>(
    kernels: &mut K,
    encoder: &EncoderParameters<T>,
    classifier: &ClassifierParameters<T>,
    frame: &[T; PIXELS],
) -> u8 {
    let mut trace = <Encoder<1> as Layer<T>>::Trace::BLANK;
    let mut features = Rows::<T, 1, FEATURES>::BLANK;
    let mut logits = Rows::<T, 1, CLASSES>::BLANK;
    // One row as a batch of one, without a copy.
    Encoder::forward(kernels, encoder, core::array::from_ref(frame), &mut trace, &mut features);
    Classifier::forward(kernels, classifier, &features, &mut (), &mut logits);
    let [row] = &logits;
    largest(row)
}
