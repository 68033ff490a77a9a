//! What a report shows, as plain data.

use super::error::ReportError;

/// Everything that `report.html` shows. Every part may be empty; an empty part is left out.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Report {
    /// Heading of the page.
    pub title: String,
    /// Command line that made the report.
    pub command: String,
    /// Label and value of each fact: data set, network, durations, memory, in the order shown.
    pub summary: Vec<(String, String)>,
    /// Methods compared; the last is set against the first, so the baseline comes first.
    pub accuracy: Vec<Method>,
    /// Loss curves of both levels and the like.
    pub curves: Vec<Chart>,
    /// One linear solve per upper step, in order, of the first seed.
    pub solves: Vec<Solve>,
    /// Queries with their nearest neighbours.
    pub neighbours: Vec<NeighbourRow>,
    /// The run's configuration as TOML.
    pub config: String,
}

/// One row of the comparison. All vectors are paired by index with `seeds`.
///
/// `accuracy`, `knn` and `probe` may each be empty (not measured); a value that is not finite
/// stands for a seed without a result, is shown as a dash and left out of the statistics.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Method {
    /// Name shown.
    pub name: String,
    /// Seeds, the same for every method.
    pub seeds: Vec<u64>,
    /// Held-out top-1 accuracy after fine-tuning, 0 to 1.
    pub accuracy: Vec<f64>,
    /// Accuracy of k-nearest neighbours on frozen features, 0 to 1.
    pub knn: Vec<f64>,
    /// Accuracy of a linear probe on frozen features, 0 to 1.
    pub probe: Vec<f64>,
}

/// A line chart.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Chart {
    /// Heading.
    pub title: String,
    /// Name and unit of the horizontal axis.
    pub x_label: String,
    /// Name and unit of the vertical axis.
    pub y_label: String,
    /// Lines, drawn in order.
    pub series: Vec<Series>,
    /// Logarithmic vertical axis; values that are not positive are then skipped and counted.
    pub log_y: bool,
}

/// One line of a chart.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Series {
    /// Name in the legend.
    pub name: String,
    /// Points in drawing order. Those that are not finite are skipped and counted; more than 600
    /// are drawn as the means of 600 buckets of neighbours.
    pub points: Vec<(f64, f64)>,
}

/// The telemetry of one linear solve.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Solve {
    /// Upper step within the stage, from 0.
    pub index: u32,
    /// Number of its alternation, from 0.
    pub alternation: u32,
    /// How it ended, as shown (such as `converged`).
    pub termination: String,
    /// Products with the operator that were used.
    pub products: u16,
    /// ‖r‖/‖b‖; `None` where unverified.
    pub residual: Option<f32>,
    /// ‖x − b‖/‖b‖.
    pub correction: Option<f32>,
    /// cos(x, b).
    pub cosine: Option<f32>,
    /// ‖x‖/‖b‖.
    pub solution_ratio: Option<f32>,
    /// Largest Rayleigh quotient of H seen.
    pub rayleigh_max: Option<f32>,
}

/// A query picture with its nearest neighbours in feature space.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct NeighbourRow {
    /// The query.
    pub query: Picture,
    /// Name of its class.
    pub class: String,
    /// Neighbours before the bilevel stage, nearest first.
    pub before: Vec<Neighbour>,
    /// Neighbours after it, nearest first.
    pub after: Vec<Neighbour>,
}

/// One neighbour of a query.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Neighbour {
    /// The picture.
    pub picture: Picture,
    /// Whether it has the query's class.
    pub same_class: bool,
}

/// A picture, 8 bits a channel.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Picture {
    /// Pixels a row, at least 1.
    pub width: u32,
    /// Rows, at least 1.
    pub height: u32,
    /// Red, green, blue of each pixel, rows from the top: `[height, width, 3]`.
    pub rgb: Vec<u8>,
}

impl Method {
    /// # Errors
    /// It has not one value a seed, or other seeds than `first`, or an accuracy outside 0 to 1.
    pub(super) fn check(&self, first: &Self) -> Result<(), ReportError> {
        if self.seeds != first.seeds {
            return Err(ReportError::Seeds {
                method: self.name.clone(),
                first: first.name.clone(),
                found: self.seeds.clone(),
                expected: first.seeds.clone(),
            });
        }
        for (measure, values) in
            [("accuracy", &self.accuracy), ("knn", &self.knn), ("probe", &self.probe)]
        {
            if !values.is_empty() && values.len() != self.seeds.len() {
                return Err(ReportError::ValueCount {
                    method: self.name.clone(),
                    measure,
                    found: values.len(),
                    expected: self.seeds.len(),
                });
            }
            let outside =
                |&(_, &value): &(&u64, &f64)| value.is_finite() && !(0.0..=1.0).contains(&value);
            if let Some((&seed, &found)) = self.seeds.iter().zip(values).find(outside) {
                return Err(ReportError::Range { method: self.name.clone(), measure, seed, found });
            }
        }
        Ok(())
    }
}
