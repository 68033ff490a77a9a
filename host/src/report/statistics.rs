//! Means, spreads and intervals of a few seeds.

/// A closed interval.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Interval {
    /// Lower end.
    pub low: f64,
    /// Upper end, at least `low`.
    pub high: f64,
}

impl Interval {
    /// Whether low ≤ value ≤ high.
    pub fn contains(&self, value: f64) -> bool {
        self.low <= value && value <= self.high
    }
}

/// Statistics of a sample of finite values.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sample {
    /// Number of values, at least 1.
    pub count: usize,
    /// Their mean.
    pub mean: f64,
    /// Standard deviation with n − 1; `None` for a single value.
    pub deviation: Option<f64>,
    /// 95 % confidence interval of the mean by Student's t; `None` for a single value.
    pub interval: Option<Interval>,
}

impl Sample {
    /// The sample of the finite values among `values`; `None` if there is none.
    pub fn of(values: &[f64]) -> Option<Self> {
        let finite: Vec<f64> = values.iter().copied().filter(|value| value.is_finite()).collect();
        let mean = mean(&finite)?;
        let deviation = standard_deviation(&finite);
        let interval = deviation.map(|deviation| {
            let half = student_t(finite.len() - 1) * deviation / (finite.len() as f64).sqrt();
            Interval { low: mean - half, high: mean + half }
        });
        Some(Self { count: finite.len(), mean, deviation, interval })
    }
}

/// The middle value, or the mean of the middle two; NaN for an empty slice.
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => sorted[middle],
        _ => 0.5 * (sorted[middle - 1] + sorted[middle]),
    }
}

/// Arithmetic mean; `None` for an empty slice.
pub fn mean(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

/// Standard deviation of a sample, with n − 1 in the denominator; `None` for fewer than two values.
pub fn standard_deviation(values: &[f64]) -> Option<f64> {
    let mean = mean(values).filter(|_| values.len() > 1)?;
    let squares: f64 = values.iter().map(|value| (value - mean) * (value - mean)).sum();
    Some((squares / (values.len() - 1) as f64).sqrt())
}

/// `later` − `first`, pair by pair; a pair with a value that is not finite gives NaN.
///
/// Pairs are formed by index; values of the longer slice without a partner are dropped.
pub fn paired_differences(first: &[f64], later: &[f64]) -> Vec<f64> {
    first
        .iter()
        .zip(later)
        .map(|(first, later)| later - first)
        .map(|difference| if difference.is_finite() { difference } else { f64::NAN })
        .collect()
}

/// The paired difference `later` − `first` with its interval; `None` without a complete pair.
pub fn paired_difference(first: &[f64], later: &[f64]) -> Option<Sample> {
    Sample::of(&paired_differences(first, later))
}

/// The 0.975 quantile of Student's t. A two-sided 95 % interval extends this many standard errors
/// to each side.
///
/// `freedom`: degrees of freedom, at least 1. Above 30 the next smaller row of the usual table is
/// used, which makes the interval too wide by less than 1.1 %.
fn student_t(freedom: usize) -> f64 {
    const TO_30: [f64; 30] = [
        12.7062, 4.3027, 3.1824, 2.7764, 2.5706, 2.4469, 2.3646, 2.3060, 2.2622, 2.2281, 2.2010,
        2.1788, 2.1604, 2.1448, 2.1314, 2.1199, 2.1098, 2.1009, 2.0930, 2.0860, 2.0796, 2.0739,
        2.0687, 2.0639, 2.0595, 2.0555, 2.0518, 2.0484, 2.0452, 2.0423,
    ];
    match freedom {
        0 => f64::INFINITY,
        1..=30 => TO_30[freedom - 1],
        31..=39 => 2.0423,
        40..=59 => 2.0211,
        60..=119 => 2.0003,
        _ => 1.9799,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(found: f64, expected: f64) -> bool {
        (found - expected).abs() <= 1e-4 * expected.abs().max(1e-3)
    }

    #[test]
    fn a_sample_has_the_moments_of_the_textbook() {
        let sample = Sample::of(&[2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0]).expect("values");
        assert_eq!((sample.count, sample.mean), (8, 5.0));
        assert!(close(sample.deviation.expect("eight values"), 2.13809));
        let interval = sample.interval.expect("eight values");
        assert!(close(interval.low, 3.21251) && close(interval.high, 6.78749), "{interval:?}");
    }

    #[test]
    fn three_values_use_two_degrees_of_freedom() {
        let interval = Sample::of(&[1.0, 2.0, 3.0]).and_then(|sample| sample.interval);
        let interval = interval.expect("three values");
        assert!(close(interval.low, -0.484138) && close(interval.high, 4.484138), "{interval:?}");
    }

    #[test]
    fn one_value_has_neither_deviation_nor_interval_and_none_no_sample() {
        let sample = Sample::of(&[0.5]).expect("a value");
        assert_eq!(sample, Sample { count: 1, mean: 0.5, deviation: None, interval: None });
        assert_eq!(Sample::of(&[]), None);
        assert_eq!(Sample::of(&[f64::NAN, f64::INFINITY]), None);
        assert_eq!((mean(&[]), standard_deviation(&[1.0])), (None, None));
    }

    #[test]
    fn a_pair_without_both_values_is_left_out() {
        let (first, later) = ([0.5, f64::NAN, 0.7, 0.6], [0.6, 0.9, f64::INFINITY, 0.8]);
        let differences = paired_differences(&first, &later);
        assert_eq!(differences.iter().filter(|value| value.is_nan()).count(), 2);
        let sample = paired_difference(&first, &later).expect("two pairs");
        assert_eq!(sample.count, 2);
        assert!(close(sample.mean, 0.15));
        assert_eq!(paired_difference(&first, &[]), None);
    }

    #[test]
    fn quantiles_fall_towards_the_normal_one_and_err_on_the_wide_side() {
        // Quantiles to four decimals, computed with another program for the last degree of freedom
        // of each row.
        for (freedom, exact) in [
            (1, 12.7062),
            (4, 2.7764),
            (10, 2.2281),
            (30, 2.0423),
            (39, 2.0227),
            (59, 2.0010),
            (119, 1.9801),
        ] {
            let found = student_t(freedom);
            assert!(found >= exact && found <= 1.011 * exact, "{freedom}: {found}");
        }
        for freedom in 1..200 {
            assert!(student_t(freedom) >= student_t(freedom + 1), "{freedom}");
            assert!(student_t(freedom) > 1.95996, "{freedom}");
        }
    }
}
