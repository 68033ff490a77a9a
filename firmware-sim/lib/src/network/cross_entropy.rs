//! The downstream loss.

use crate::{Real, Rows};

/// Cross entropy of `logits`, mean over the `R` samples (nats); its gradient goes into `cotangent`.
///
/// A label that is not below `C` is no class: its row's target is 0 everywhere. Callers check labels
/// where frames are read.
pub fn cross_entropy<T: Real, const R: usize, const C: usize>(
    labels: &[u8; R],
    logits: &Rows<T, R, C>,
    cotangent: &mut Rows<T, R, C>,
) -> T {
    let samples = T::from_f32(R as f32);
    let mut loss = T::BLANK;
    for ((row, label), out) in logits.iter().zip(labels).zip(cotangent) {
        let mut largest = row.first().copied().unwrap_or(T::BLANK);
        let mut target = T::BLANK;
        for (class, value) in row.iter().enumerate() {
            if *value > largest {
                largest = *value;
            }
            if class == usize::from(*label) {
                target = *value;
            }
        }
        let mut sum = T::BLANK;
        for (out, value) in out.iter_mut().zip(row) {
            *out = (*value - largest).exp();
            sum += *out;
        }
        loss += sum.ln() + largest - target;
        for (class, out) in out.iter_mut().enumerate() {
            let hot = if class == usize::from(*label) { T::from_f32(1.0) } else { T::BLANK };
            *out = (*out / sum - hot) / samples;
        }
    }
    loss / samples
}

/// The class of the largest logit; the first of several.
pub fn largest<T: Real, const C: usize>(logits: &[T; C]) -> u8 {
    let mut best = (0, logits.first().copied().unwrap_or(T::BLANK));
    for (class, value) in (0..).zip(logits) {
        if *value > best.1 {
            best = (class, *value);
        }
    }
    best.0
}
