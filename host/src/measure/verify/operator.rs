//! What every curvature operator has to be: linear, symmetric, repeatable, without side effects.

use anyhow::Result;

use super::dense::{add, dot, norm, relative, scale, wide};

/// Hashes of everything that a product must leave alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fingerprint {
    /// Parameters and momenta of all groups, and the target network's parameters.
    pub(super) parameters: u64,
    /// Running means and variances of all batch norms, the target network's too.
    pub(super) statistics: u64,
    /// What the random streams give next: the coming batches.
    pub(super) streams: u64,
    /// Batches that were asked for so far.
    pub(super) position: u64,
}

/// A curvature operator with its surroundings.
pub(super) trait Surveyed {
    /// H v.
    fn product(&mut self, v: &[f32]) -> Result<Vec<f32>>;

    /// What stands around it now.
    fn fingerprint(&mut self) -> Result<Fingerprint>;
}

/// |⟨u, Hv⟩ − ⟨Hu, v⟩| over the larger of the two, with u = Hv: there neither is small by chance, as it
/// is with a random u.
pub(super) fn symmetry(operator: &mut impl Surveyed, v: &[f32]) -> Result<f64> {
    let hv = operator.product(v)?;
    let hhv = operator.product(&hv)?;
    let (left, right) = (dot(&wide(&hv), &wide(&hv)), dot(&wide(&hhv), &wide(v)));
    let larger = left.abs().max(right.abs());
    Ok(if left == right { 0.0 } else { (left - right).abs() / larger })
}

/// ‖H(2u − v/2) − (2Hu − Hv/2)‖ over the sum of the terms' norms.
///
/// The factors are powers of two, so that the argument is rounded by the addition alone.
pub(super) fn linearity(operator: &mut impl Surveyed, u: &[f32], v: &[f32]) -> Result<f64> {
    let (a, b) = (2.0f32, -0.5f32);
    let mixed: Vec<f32> = u.iter().zip(v).map(|(u, v)| a * u + b * v).collect();
    let found = wide(&operator.product(&mixed)?);
    let hu = scale(f64::from(a), &wide(&operator.product(u)?));
    let hv = scale(f64::from(b), &wide(&operator.product(v)?));
    let distance = norm(&add(&found, -1.0, &add(&hu, 1.0, &hv)));
    let size = norm(&hu) + norm(&hv);
    Ok(if distance == 0.0 { 0.0 } else { distance / size })
}

/// How far the same product is from itself: 0, since the same request gives the same bits.
pub(super) fn repetition(operator: &mut impl Surveyed, v: &[f32]) -> Result<f64> {
    let first = operator.product(v)?;
    let second = operator.product(v)?;
    let same = first.iter().zip(&second).all(|(x, y)| x.to_bits() == y.to_bits());
    let error = relative(&wide(&second), &wide(&first));
    // Zeros of different sign, or equal NaN, are no distance and yet other bits.
    Ok(if same { 0.0 } else { error.max(f64::MIN_POSITIVE) })
}

/// Which of the surroundings changed their hash while products ran, each 0 or 1.
pub(super) fn side_effects(
    operator: &mut impl Surveyed,
    v: &[f32],
) -> Result<[(&'static str, f64); 4]> {
    let before = operator.fingerprint()?;
    let product = operator.product(v)?;
    operator.product(&product)?;
    let after = operator.fingerprint()?;
    let changed = |before: u64, after: u64| f64::from(before != after);
    Ok([
        ("parameters untouched by products", changed(before.parameters, after.parameters)),
        ("running statistics untouched by products", changed(before.statistics, after.statistics)),
        ("random streams untouched by products", changed(before.streams, after.streams)),
        ("data position untouched by products", changed(before.position, after.position)),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A 3 × 3 operator and one way to be wrong.
    #[derive(Clone, Copy, PartialEq)]
    enum Fault {
        None,
        Asymmetric,
        Nonlinear,
        Forgetful,
        MovesStatistics,
        TakesBatch,
    }

    struct Toy {
        fault: Fault,
        products: u64,
    }

    impl Surveyed for Toy {
        fn product(&mut self, v: &[f32]) -> Result<Vec<f32>> {
            self.products += 1;
            let corner = if self.fault == Fault::Asymmetric { 0.4 } else { 0.5 };
            let rows = [[2.0, 0.5, 0.0], [corner, 1.0, -0.3], [0.0, -0.3, 0.7]];
            let mut product: Vec<f32> =
                rows.iter().map(|row| row.iter().zip(v).map(|(a, b)| a * b).sum()).collect();
            match self.fault {
                Fault::Nonlinear => product[0] += 0.1,
                Fault::Forgetful => product[1] *= 1.0 + 1e-6 * self.products as f32,
                _ => {}
            }
            Ok(product)
        }

        fn fingerprint(&mut self) -> Result<Fingerprint> {
            let moves = |fault| if self.fault == fault { self.products } else { 0 };
            Ok(Fingerprint {
                parameters: 1,
                statistics: moves(Fault::MovesStatistics),
                streams: 3,
                position: moves(Fault::TakesBatch),
            })
        }
    }

    /// The errors of all checks: symmetry, linearity, repetition, then the side effects.
    fn errors(fault: Fault) -> Vec<f64> {
        let (u, v) = ([1.0, -2.0, 0.5], [0.25, 1.0, 3.0]);
        let toy = &mut Toy { fault, products: 0 };
        let mut errors = vec![
            symmetry(toy, &v).unwrap(),
            linearity(toy, &u, &v).unwrap(),
            repetition(toy, &v).unwrap(),
        ];
        errors.extend(side_effects(toy, &v).unwrap().map(|(_, error)| error));
        errors
    }

    #[test]
    fn a_right_operator_passes() {
        let errors = errors(Fault::None);
        assert!(errors[..2].iter().all(|error| *error < 1e-6), "{errors:?}");
        assert!(errors[2..].iter().all(|error| *error == 0.0), "{errors:?}");
    }

    #[test]
    fn each_wrong_operator_is_found_by_its_check() {
        for (fault, check, least) in [
            (Fault::Asymmetric, 0, 1e-2),
            (Fault::Nonlinear, 1, 1e-3),
            (Fault::Forgetful, 2, 1e-7),
            (Fault::MovesStatistics, 4, 1.0),
            (Fault::TakesBatch, 6, 1.0),
        ] {
            let errors = errors(fault);
            assert!(errors[check] >= least, "check {check}: {errors:?}");
        }
    }
}
