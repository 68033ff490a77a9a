//! The downstream loss.

use super::layer::at_least_one;
use crate::Real;

/// Cross entropy of `logits`, `[sample][class]`, mean over the samples (nats). Writes its gradient
/// to `cotangent`.
///
/// Labels are whole numbers below the number of classes, one for each sample, stored in floats like
/// everything else on the device. For any other number the row's target is 0 everywhere. Callers
/// check labels when they read frames.
pub fn cross_entropy<T: Real>(labels: &[T], logits: &[T], cotangent: &mut [T]) -> T {
    let samples = T::from_f32(labels.len() as f32);
    let classes = at_least_one(logits.len().checked_div(labels.len()).unwrap_or(1));
    let mut loss = T::BLANK;
    let rows = logits.chunks(classes).zip(labels).zip(cotangent.chunks_mut(classes));
    for ((row, label), out) in rows {
        let is_target = |class: usize| T::from_f32(class as f32) == *label;
        let mut largest = row.first().copied().unwrap_or(T::BLANK);
        let mut target = T::BLANK;
        for (class, value) in row.iter().enumerate() {
            if *value > largest {
                largest = *value;
            }
            if is_target(class) {
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
            let hot = if is_target(class) { T::from_f32(1.0) } else { T::BLANK };
            *out = (*out / sum - hot) / samples;
        }
    }
    loss / samples
}

/// The class of the largest logit; the first one in a tie.
pub fn largest<T: Real>(logits: &[T]) -> u8 {
    let mut best = (0, logits.first().copied().unwrap_or(T::BLANK));
    for (class, value) in (0..=u8::MAX).zip(logits) {
        if *value > best.1 {
            best = (class, *value);
        }
    }
    best.0
}
