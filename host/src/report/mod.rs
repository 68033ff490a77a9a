//! The report of a demonstration or a run: one self-contained HTML file.
//!
//! Plain data goes in, a string comes out: nothing here reads a clock, a file or the network, so
//! equal data give equal bytes. The page has no script and refers to nothing outside itself (a
//! content security policy in its head says so to the browser); charts are inline SVG, pictures are
//! PNG data URIs, every text is escaped.

mod accuracy;
mod axis;
mod chart;
mod content;
mod error;
mod html;
mod measures;
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

pub use content::{Chart, Method, Neighbour, NeighbourRow, Picture, Report, Series, Solve};
pub use error::ReportError;
pub(crate) use table::json_text;
pub use table::{Format, Table};

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
