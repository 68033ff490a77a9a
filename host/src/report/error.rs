//! What can be wrong with a report.

/// Why a report cannot be made: its parts contradict each other.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// A picture's bytes do not fit its size.
    #[error(
        "{place}: a picture of {width} × {height} pixels has {found} bytes; expected width × height × 3, and at least one pixel"
    )]
    PictureSize {
        /// Where it stands in the report.
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
        /// Where it stands in the report.
        place: String,
        /// The encoder's reason.
        source: image::ImageError,
    },
    /// A method's values are not one per seed.
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
