//! Which points of a series are drawn.

use super::axis::Scale;

/// Most points of a line: more than the pixels of a chart cannot be seen, but make the page larger.
pub(super) const POINTS_MAX: usize = 600;

/// Above this magnitude the arithmetic of the axes could overflow.
const MAGNITUDE_MAX: f64 = 1e100;

/// The points of a series that are drawn, and what happened to the others.
#[derive(Debug, PartialEq)]
pub(super) struct Line {
    pub(super) points: Vec<(f64, f64)>,
    /// Points that cannot be placed on the axes.
    pub(super) skipped: usize,
    /// Most points that one drawn point represents; 1 if nothing was thinned.
    pub(super) bucket: usize,
}

impl Line {
    /// Skips points that cannot be placed, then takes the means of at most [`POINTS_MAX`] buckets
    /// of neighbours, whose sizes differ by at most one point.
    pub(super) fn of(points: &[(f64, f64)], y_scale: Scale) -> Self {
        let drawable: Vec<(f64, f64)> = points
            .iter()
            .copied()
            .filter(|&(x, y)| has_place(x, Scale::Linear) && has_place(y, y_scale))
            .collect();
        let skipped = points.len() - drawable.len();
        let count = drawable.len();
        if count <= POINTS_MAX {
            return Self { points: drawable, skipped, bucket: 1 };
        }
        let points = (0..POINTS_MAX)
            .map(|bucket| {
                mean(&drawable[bucket * count / POINTS_MAX..(bucket + 1) * count / POINTS_MAX])
            })
            .collect();
        Self { points, skipped, bucket: count.div_ceil(POINTS_MAX) }
    }
}

fn has_place(value: f64, scale: Scale) -> bool {
    let size = value.abs();
    match scale {
        // NaN fails every comparison.
        Scale::Linear => size <= MAGNITUDE_MAX,
        Scale::Logarithmic => value > 0.0 && (1.0 / MAGNITUDE_MAX..=MAGNITUDE_MAX).contains(&size),
    }
}

fn mean(points: &[(f64, f64)]) -> (f64, f64) {
    let count = points.len() as f64;
    let (x, y) = points.iter().fold((0.0, 0.0), |sum, point| (sum.0 + point.0, sum.1 + point.1));
    (x / count, y / count)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ramp(count: usize) -> Vec<(f64, f64)> {
        (0..count).map(|index| (index as f64, 3.0 * index as f64)).collect()
    }

    #[test]
    fn short_series_are_drawn_as_they_are() {
        let points = ramp(POINTS_MAX);
        let line = Line::of(&points, Scale::Linear);
        assert_eq!(line, Line { points, skipped: 0, bucket: 1 });
    }

    #[test]
    fn long_series_become_means_of_equal_buckets() {
        for count in [POINTS_MAX + 1, 1200, 1799, 100_003] {
            let line = Line::of(&ramp(count), Scale::Linear);
            assert_eq!(line.points.len(), POINTS_MAX, "{count}");
            assert_eq!(line.bucket, count.div_ceil(POINTS_MAX), "{count}");
            assert!(line.points.windows(2).all(|pair| pair[0].0 < pair[1].0), "{count}");
            // The mean of points of a straight line is on the line.
            assert!(line.points.iter().all(|(x, y)| (y - 3.0 * x).abs() < 1e-6), "{count}");
        }
        assert_eq!(Line::of(&ramp(1200), Scale::Linear).points[..2], [(0.5, 1.5), (2.5, 7.5)]);
    }

    #[test]
    fn values_without_a_place_are_skipped_and_counted() {
        let bad = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, f64::MAX];
        let mut points: Vec<(f64, f64)> = bad.iter().flat_map(|&v| [(v, 1.0), (1.0, v)]).collect();
        points.extend([(1.0, 2.0), (2.0, 0.0), (3.0, -1.0)]);
        assert_eq!(Line::of(&points, Scale::Linear).skipped, 8);
        let line = Line::of(&points, Scale::Logarithmic);
        assert_eq!((line.skipped, line.points), (10, vec![(1.0, 2.0)]));
    }
}
