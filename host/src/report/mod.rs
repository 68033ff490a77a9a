//! The report of a demonstration or a run: one self-contained HTML file.
//!
//! Plain data goes in, a string comes out: nothing here reads a clock, a file or the network, so
//! equal data give equal bytes. The page has no script and refers to nothing outside itself (a
//! content security policy in its head says so to the browser); charts are inline SVG, pictures are
//! PNG data URIs, every text is escaped.

mod accuracy;
mod axis;
mod chart;
mod html;
mod neighbours;
mod number;
mod page;
mod pairs;
mod picture;
mod plot;
pub mod statistics;
mod svg;
mod table;
mod telemetry;
#[cfg(test)]
mod tests;
mod thin;

pub use table::{Format, Table};

/// Everything that `report.html` shows. Every part may be empty; an empty part is left out.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Report {
    /// Heading of the page.
    pub title: String,
    /// Command line that made the report.
    pub command: String,
    /// Label and value of each fact, in the order shown: data set, network, durations, memory.
    pub summary: Vec<(String, String)>,
    /// The methods that are compared. The last is compared with the first, so the baseline comes
    /// first.
    pub accuracy: Vec<Method>,
    /// Loss curves of both levels, and similar charts.
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
/// `accuracy`, `knn` and `probe` may each be empty (not measured). A value that is not finite marks
/// a seed without a result; it is shown as a dash and left out of the statistics.
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
    /// Points in drawing order. Points that are not finite are skipped and counted. If there are
    /// more than 600, the means of 600 buckets of neighbours are drawn.
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
    /// Products with the operator.
    pub products: u16,
    /// ‖r‖/‖b‖; `None` if it was not verified.
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

/// A picture with 8 bits per channel.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Picture {
    /// Pixels per row, at least 1.
    pub width: u32,
    /// Rows, at least 1.
    pub height: u32,
    /// Red, green, blue of each pixel, rows from the top: `[height, width, 3]`.
    pub rgb: Vec<u8>,
}

/// Why a report cannot be made: its parts contradict each other.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// A picture's bytes do not fit its size.
    #[error(
        "{place}: a picture of {width} × {height} pixels has {found} bytes; expected width × height × 3, and at least one pixel"
    )]
    PictureSize {
        /// The picture's place in the report.
        place: String,
        /// Its width.
        width: u32,
        /// Its height.
        height: u32,
        /// Its number of bytes.
        found: usize,
    },
    /// A picture could not be written as PNG.
    #[error("{place}: cannot encode the picture as PNG: {source}")]
    Encode {
        /// The picture's place in the report.
        place: String,
        /// The encoder's reason.
        source: image::ImageError,
    },
    /// A method does not have one value for each seed.
    #[error(
        "method {method}: {measure} has {found} values; expected one for each of {expected} seeds, or none"
    )]
    ValueCount {
        /// The method's name.
        method: String,
        /// `accuracy`, `knn` or `probe`.
        measure: &'static str,
        /// Number of values.
        found: usize,
        /// Number of seeds.
        expected: usize,
    },
    /// Methods cannot be paired.
    #[error("method {method} has seeds {found:?}; expected those of method {first}, {expected:?}")]
    Seeds {
        /// The method's name.
        method: String,
        /// The first method's name.
        first: String,
        /// Its seeds.
        found: Vec<u64>,
        /// The first method's seeds.
        expected: Vec<u64>,
    },
    /// An accuracy is outside its range.
    #[error("method {method}: {measure} of seed {seed} is {found}; expected 0 to 1")]
    Range {
        /// The method's name.
        method: String,
        /// `accuracy`, `knn` or `probe`.
        measure: &'static str,
        /// The seed.
        seed: u64,
        /// The value.
        found: f64,
    },
}

impl Report {
    /// The page in UTF-8: a few hundred kilobytes for a few dozen small pictures.
    ///
    /// # Errors
    /// The first part that is inconsistent: a picture whose bytes do not fit its size, a method
    /// that has not one value per seed or has other seeds than the first, an accuracy outside 0 to
    /// 1.
    pub fn to_html(&self) -> Result<String, ReportError> {
        for method in &self.accuracy {
            method.check(&self.accuracy[0])?;
        }
        let neighbours = neighbours::encode(&self.neighbours)?;
        Ok(page::render(self, &neighbours))
    }
}

impl Method {
    fn check(&self, first: &Self) -> Result<(), ReportError> {
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
