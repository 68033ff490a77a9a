//! The pretext losses once more, as plain loops in f64: value, gradient by the outputs, and the variables
//! of the convex part that Gauss-Newton is cut at.

use super::dense::{add, dot, norm, scale};
use crate::network::pretext::{Pretext, Vicreg};

/// A loss at some outputs.
#[derive(Clone, Debug)]
pub(super) struct Terms {
    pub(super) loss: f64,
    /// Its gradient by the outputs.
    pub(super) bars: Vec<f64>,
    /// The variables of the convex part.
    pub(super) inner: Vec<f64>,
}

/// The loss of `rows` outputs, view A above view B. `targets`: what every row should predict, as
/// [`targets`] gives it; of methods without a target network nothing.
pub(super) fn terms(pretext: &Pretext, outputs: &[f64], rows: usize, targets: &[f64]) -> Terms {
    match pretext {
        Pretext::Simclr(loss) => nt_xent(outputs, rows, loss.temperature),
        Pretext::Byol(_) => prediction(outputs, rows, targets),
        Pretext::Vicreg(loss) => vicreg(outputs, rows, loss),
    }
}

/// vᵀ G v of Gauss-Newton, from the tangents of the convex part's variables along v.
pub(super) fn quadratic_form(
    pretext: &Pretext,
    inner: &[f64],
    tangents: &[f64],
    rows: usize,
) -> f64 {
    match pretext {
        Pretext::Simclr(_) => softmax_form(inner, tangents, rows),
        Pretext::Byol(_) => 4.0 / rows as f64 * dot(tangents, tangents),
        Pretext::Vicreg(loss) => vicreg_form(inner, tangents, rows, loss),
    }
}

/// A target network's outputs as the rows that are predicted: normalised, each view's for the other one.
pub(super) fn targets(outputs: &[f64], rows: usize) -> Vec<f64> {
    let (a, b) = outputs.split_at(outputs.len() / 2);
    let width = outputs.len() / rows;
    b.chunks(width).chain(a.chunks(width)).flat_map(|row| scale(1.0 / norm(row), row)).collect()
}

/// x̄ of u = x/‖x‖.
fn through_norm(unit: &[f64], length: f64, unit_bar: &[f64]) -> Vec<f64> {
    scale(1.0 / length, &add(unit_bar, -dot(unit_bar, unit), unit))
}

/// softmax of row `i` without its own column.
fn probabilities(logits: &[f64], rows: usize, i: usize) -> Vec<f64> {
    let row = &logits[i * rows..(i + 1) * rows];
    let others = || row.iter().enumerate().filter(|(j, _)| *j != i).map(|(_, x)| *x);
    let top = others().fold(f64::NEG_INFINITY, f64::max);
    let total: f64 = others().map(|x| (x - top).exp()).sum();
    let share = |(j, x): (usize, &f64)| if j == i { 0.0 } else { (x - top).exp() / total };
    row.iter().enumerate().map(share).collect()
}

/// The mean over the anchors of the variance of their logits' tangents under the softmax.
fn softmax_form(logits: &[f64], tangents: &[f64], rows: usize) -> f64 {
    let anchor = |i: usize| {
        let shares = probabilities(logits, rows, i);
        let tangents = &tangents[i * rows..(i + 1) * rows];
        let mean = dot(&shares, tangents);
        let spread = |(share, tangent): (&f64, &f64)| share * (tangent - mean) * (tangent - mean);
        shares.iter().zip(tangents).map(spread).sum::<f64>()
    };
    (0..rows).map(anchor).sum::<f64>() / rows as f64
}

/// NT-Xent; the variables are `z zᵀ/τ`, the diagonal not meant.
fn nt_xent(outputs: &[f64], rows: usize, temperature: f64) -> Terms {
    let width = outputs.len() / rows;
    let lengths: Vec<f64> = outputs.chunks(width).map(norm).collect();
    let units: Vec<Vec<f64>> =
        outputs.chunks(width).zip(&lengths).map(|(o, length)| scale(1.0 / length, o)).collect();
    let logits: Vec<f64> = (0..rows * rows)
        .map(|at| dot(&units[at / rows], &units[at % rows]) / temperature)
        .collect();
    let mut loss = 0.0;
    let mut logit_bars = vec![0.0; rows * rows];
    for i in 0..rows {
        let target = (i + rows / 2) % rows;
        let shares = probabilities(&logits, rows, i);
        loss -= shares[target].ln() / rows as f64;
        for (j, share) in shares.iter().enumerate() {
            logit_bars[i * rows + j] = (share - f64::from(j == target)) / rows as f64;
        }
    }
    let mut bars = Vec::with_capacity(outputs.len());
    for (i, unit) in units.iter().enumerate() {
        // A unit enters its row and its column.
        let mut unit_bar = vec![0.0; width];
        for (j, other) in units.iter().enumerate() {
            let weight = (logit_bars[i * rows + j] + logit_bars[j * rows + i]) / temperature;
            unit_bar = add(&unit_bar, weight, other);
        }
        bars.extend(through_norm(unit, lengths[i], &unit_bar));
    }
    Terms { loss, bars, inner: logits }
}

/// BYOL's; the variables are the normalised predictions.
fn prediction(outputs: &[f64], rows: usize, targets: &[f64]) -> Terms {
    let width = outputs.len() / rows;
    let (mut loss, mut bars, mut inner) = (0.0, Vec::new(), Vec::new());
    // Two predictions an image, so 2/rows in the place of 1/batch.
    let share = 2.0 / rows as f64;
    for (row, target) in outputs.chunks(width).zip(targets.chunks(width)) {
        let length = norm(row);
        let unit = scale(1.0 / length, row);
        loss += share * (2.0 - 2.0 * dot(&unit, target));
        bars.extend(through_norm(&unit, length, &scale(-2.0 * share, target)));
        inner.extend(unit);
    }
    Terms { loss, bars, inner }
}

/// The covariance matrix of centred rows.
fn covariance(centred: &[Vec<f64>]) -> Vec<f64> {
    let width = centred[0].len();
    let entry = |at: usize| {
        let product = |row: &Vec<f64>| row[at / width] * row[at % width];
        centred.iter().map(product).sum::<f64>() / (centred.len() - 1) as f64
    };
    (0..width * width).map(entry).collect()
}

/// VICReg's; the variables are the differences of the views, then both covariance matrices.
fn vicreg(outputs: &[f64], rows: usize, loss: &Vicreg) -> Terms {
    let (batch, width) = (rows / 2, outputs.len() / rows);
    let (a, b) = outputs.split_at(outputs.len() / 2);
    let difference = add(a, -1.0, b);
    let pull = loss.invariance / (batch * width) as f64;
    let mut value = pull * dot(&difference, &difference);
    let mut inner = difference.clone();
    let mut bars = Vec::with_capacity(outputs.len());
    for (view, sign) in [(a, 2.0), (b, -2.0)] {
        let mean = view.chunks(width).fold(vec![0.0; width], |sum, row| add(&sum, 1.0, row));
        let mean = scale(1.0 / batch as f64, &mean);
        let centred: Vec<_> = view.chunks(width).map(|row| add(row, -1.0, &mean)).collect();
        let matrix = covariance(&centred);
        let mut matrix_bar = vec![0.0; matrix.len()];
        for (at, (entry, bar)) in matrix.iter().zip(&mut matrix_bar).enumerate() {
            let share = 1.0 / width as f64;
            if at / width != at % width {
                value += loss.covariance * share * entry * entry;
                *bar = 2.0 * loss.covariance * share * entry;
            } else if (entry + loss.epsilon).sqrt() < loss.deviation {
                let deviation = (entry + loss.epsilon).sqrt();
                value += loss.variance * share * (loss.deviation - deviation);
                *bar = -0.5 * loss.variance * share / deviation;
            }
        }
        for (row, difference) in centred.iter().zip(difference.chunks(width)) {
            // The matrix and its cotangent are symmetric, and a centred row's sum is 0 already.
            let through =
                |j: usize| (0..width).map(|i| row[i] * matrix_bar[i * width + j]).sum::<f64>();
            let spread: Vec<f64> = (0..width).map(through).collect();
            let spread = scale(2.0 / (batch - 1) as f64, &spread);
            bars.extend(add(&spread, sign * pull, difference));
        }
        inner.extend(matrix);
    }
    Terms { loss: value, bars, inner }
}

/// Second derivatives of squares and of hinges, which are convex in a variance.
fn vicreg_form(inner: &[f64], tangents: &[f64], rows: usize, loss: &Vicreg) -> f64 {
    // batch · width differences and 2 width² covariances.
    let batch = rows / 2;
    let width = (1..).find(|width| batch * width + 2 * width * width >= inner.len()).unwrap_or(1);
    let (differences, matrices) = tangents.split_at(batch * width);
    let mut form = 2.0 * loss.invariance / (batch * width) as f64 * dot(differences, differences);
    for (at, (entry, tangent)) in inner[batch * width..].iter().zip(matrices).enumerate() {
        let at = at % (width * width);
        let deviation = (entry + loss.epsilon).sqrt();
        let weight = if at / width != at % width {
            2.0 * loss.covariance
        } else if deviation < loss.deviation {
            0.25 * loss.variance / deviation.powi(3)
        } else {
            0.0
        };
        form += weight / width as f64 * tangent * tangent;
    }
    form
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::pretext::{Byol, NtXent};
    use crate::verify::dense::differences;

    fn methods() -> [Pretext; 3] {
        [
            Pretext::Simclr(NtXent { temperature: 0.4 }),
            Pretext::Byol(Byol { decay: 0.9, predictor: vec![3] }),
            Pretext::Vicreg(Vicreg {
                invariance: 25.0,
                variance: 20.0,
                covariance: 1.5,
                // Some features of the example vary more, some less.
                deviation: 0.75,
                epsilon: 1e-2,
            }),
        ]
    }

    fn numbers(from: f64) -> Vec<f64> {
        (0..18).map(|i| (from + 2.7 * f64::from(i)).sin()).collect()
    }

    #[test]
    fn the_losses_have_the_gradients_that_they_say() {
        let (outputs, targets) = (numbers(1.0), targets(&numbers(5.0), 6));
        for method in methods() {
            let loss = |outputs: &[f64]| terms(&method, outputs, 6, &targets).loss;
            let gradient = terms(&method, &outputs, 6, &targets).bars;
            let expected = differences(&outputs, loss);
            let error = norm(&add(&gradient, -1.0, &expected)) / norm(&expected);
            assert!(error < 1e-8, "{method:?}: {error:e}");
        }
    }

    /// The outer part as a function of its variables, for the quadratic form.
    #[test]
    fn the_forms_are_the_second_derivatives_of_the_convex_parts() {
        // Along a straight line of variables the second difference of the outer part is the form. NT-Xent's
        // and VICReg's variables are not free, but every line through them is one of the outer part's.
        let (outputs, targets) = (numbers(1.0), targets(&numbers(5.0), 6));
        for method in methods() {
            let inner = terms(&method, &outputs, 6, &targets).inner;
            let line: Vec<f64> = (0..inner.len()).map(|i| (0.3 + 1.9 * i as f64).cos()).collect();
            let outer = |inner: &[f64]| match &method {
                Pretext::Simclr(_) => {
                    (0..6).map(|i| -probabilities(inner, 6, i)[(i + 3) % 6].ln() / 6.0).sum::<f64>()
                }
                Pretext::Byol(_) => {
                    let distance = add(inner, -1.0, &targets);
                    dot(&distance, &distance) / 3.0
                }
                Pretext::Vicreg(loss) => {
                    let (differences, matrices) = inner.split_at(9);
                    let mut value = loss.invariance / 9.0 * dot(differences, differences);
                    for (at, entry) in matrices.iter().enumerate() {
                        let gap = loss.deviation - (entry + loss.epsilon).sqrt();
                        value += match (at % 9) % 4 {
                            0 => loss.variance / 3.0 * gap.max(0.0),
                            _ => loss.covariance / 3.0 * entry * entry,
                        };
                    }
                    value
                }
            };
            let step = 1e-4;
            let at = |factor: f64| outer(&add(&inner, factor * step, &line));
            let expected = (at(1.0) - 2.0 * at(0.0) + at(-1.0)) / (step * step);
            let found = quadratic_form(&method, &inner, &line, 6);
            let error = (found - expected).abs() / expected;
            assert!(error < 1e-5, "{method:?}: {found}, expected {expected}");
        }
    }
}
