//! A chart as a file of its own, for papers and notebooks.

use super::axis::Scale;
use super::chart::{Axes, Bounds, Form, contents};
use super::html::Html;
use super::number::coordinate;
use super::plot::{self, Plot};
use super::thin::Line;
use super::{Chart, Series};

/// Plain rules without variables, since programs other than browsers show the file too. The
/// background is always light.
const STYLE: &str = "
text { fill: #5c5f66; font: 11px system-ui, 'Segoe UI', Roboto, Helvetica, Arial, sans-serif; }
.title { fill: #1c1d20; font-size: 14px; font-weight: 600; }
.ground { fill: #ffffff; }
.middle { text-anchor: middle; } .end { text-anchor: end; }
.axis { stroke: #5c5f66; stroke-width: 1; opacity: .6; }
.grid { stroke: #ececec; stroke-width: 1; }
.line { fill: none; stroke-width: 1.5; stroke-linejoin: round; stroke-linecap: round; }
.sample { stroke-width: 3; }
.dashed { stroke-dasharray: 5 3; }
.line.c0, .sample.c0 { stroke: #2f66c9; } .dot.c0 { fill: #2f66c9; }
.line.c1, .sample.c1 { stroke: #d0620e; } .dot.c1 { fill: #d0620e; }
.line.c2, .sample.c2 { stroke: #14805e; } .dot.c2 { fill: #14805e; }
.line.c3, .sample.c3 { stroke: #8d4bbd; } .dot.c3 { fill: #8d4bbd; }
.line.c4, .sample.c4 { stroke: #b3303f; } .dot.c4 { fill: #b3303f; }
.line.c5, .sample.c5 { stroke: #0b7f92; } .dot.c5 { fill: #0b7f92; }
";

const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 360.0;
/// Height of the title and of each row of the legend.
const ROW: f64 = 20.0;
/// Upper bound of the width of a character of the legend.
const CHARACTER: f64 = 6.6;

/// Positions of the legend's entries, row by row, and the number of rows.
fn legend_places(series: &[Series]) -> (Vec<(f64, f64)>, usize) {
    let (mut x, mut row) = (12.0, 0);
    let places = series.iter().map(|series| {
        let width = 38.0 + CHARACTER * series.name.chars().count() as f64;
        if x > 12.0 && x + width > WIDTH {
            (x, row) = (12.0, row + 1);
        }
        let place = (x, row as f64 * ROW);
        x += width;
        place
    });
    let places: Vec<_> = places.collect();
    (places, row + 1)
}

impl Chart {
    /// The chart as an SVG file: title, legend, lines. Equal data give equal bytes.
    pub fn to_svg(&self) -> String {
        let scale = if self.log_y { Scale::Logarithmic } else { Scale::Linear };
        let lines: Vec<Line> =
            self.series.iter().map(|series| Line::of(&series.points, scale)).collect();
        let (places, rows) = legend_places(&self.series);
        let above = ROW * (2 + rows) as f64;
        let view = format!("0 0 {} {}", coordinate(WIDTH), coordinate(HEIGHT + above));
        let mut html = Html::default();
        let attributes = [
            ("xmlns", "http://www.w3.org/2000/svg"),
            ("viewBox", view.as_str()),
            ("role", "img"),
            ("aria-label", &self.title),
        ];
        html.element("svg", &attributes, |html| {
            html.style(STYLE);
            plot::bar(html, "ground", (0.0, 0.0), (WIDTH, HEIGHT + above));
            plot::text(html, "title", (12.0, ROW), &self.title);
            for (index, (series, (x, y))) in self.series.iter().zip(places).enumerate() {
                let y = y + 2.0 * ROW;
                let class = format!("sample {}", plot::colour(index));
                plot::line(html, &class, (x, y - 4.0), (x + 18.0, y - 4.0));
                plot::text(html, "legend", (x + 24.0, y), &series.name);
            }
            let shift = format!("translate(0 {})", coordinate(above - ROW / 2.0));
            html.element("g", &[("transform", shift.as_str())], |html| {
                match Bounds::of(&self.series, &lines) {
                    Some(bounds) => {
                        let axes = Axes::new(&bounds, scale, 8, 6);
                        let plot = Plot::for_axes(WIDTH, HEIGHT, &axes.y);
                        contents(html, &plot, &axes, self, &lines, Form::Lines);
                    }
                    None => plot::text(html, "none", (12.0, ROW), "No values to draw."),
                }
            });
        });
        html.into_text()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chart(names: &[&str]) -> Chart {
        let series = names.iter().map(|name| Series {
            name: (*name).to_owned(),
            points: vec![(1.0, 2.0), (2.0, -3.0), (3.0, f64::NAN)],
        });
        Chart { title: "a < b".to_owned(), series: series.collect(), ..Chart::default() }
    }

    #[test]
    fn every_series_is_drawn_and_named_and_text_is_escaped() {
        let svg = chart(&["first", "second & last"]).to_svg();
        assert_eq!(svg.matches("<path class=\"line c").count(), 2, "{svg}");
        assert!(svg.contains("second &amp; last") && svg.contains("a &lt; b"), "{svg}");
        assert!(!svg.contains("NaN") && !svg.contains("var("), "{svg}");
        assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n"), "{svg}");
        assert_eq!(svg.matches("<g ").count(), svg.matches("</g>").count());
    }

    #[test]
    fn a_long_legend_takes_more_rows() {
        let names: Vec<String> = (0..12).map(|i| format!("a series of some length {i}")).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let (places, rows) = legend_places(&chart(&names).series);
        assert!(rows > 2, "{rows}");
        assert!(places.iter().all(|(x, _)| *x < WIDTH - 150.0), "{places:?}");
    }

    #[test]
    fn a_chart_without_values_says_so() {
        assert!(Chart::default().to_svg().contains("No values to draw."));
    }
}
