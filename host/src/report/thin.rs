//! What of a series is drawn.

use super::axis::Scale;

/// Points a line may have: more than the pixels of a chart are not seen, but are carried.
pub(super) const POINTS_MAX: usize = 600;

/// Beyond this magnitude the arithmetic of the axes could overflow.
const MAGNITUDE_MAX: f64 = 1e100;

/// The points of a series that are drawn, and what became of the others.
#[derive(Debug, PartialEq)]
pub(super) struct Line {
    pub(super) points: Vec<(f64, f64)>,
    /// Points that have no place on the axes.
    pub(super) skipped: usize,
    /// Most points that one drawn point stands for; 1 where nothing was thinned.
    pub(super) bucket: usize,
}

impl Line {
    /// Skips what has no place, then takes the means of at most [`POINTS_MAX`] buckets of neighbours,
    /// equal in size up to one point.
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
