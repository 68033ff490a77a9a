//! Line charts.

use super::axis::{Axis, Grain, Scale};
use super::html::Html;
use super::number;
use super::plot::{self, Plot};
use super::thin::Line;
use super::{Chart, Series};

/// How a chart is drawn.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Form {
    /// Lines; two charts side by side on a wide page.
    Lines,
    /// Dots; three charts side by side. For values that jump from one to the next.
    Dots,
}

/// A line with at most this many points also has dots, so that single values can be seen.
const DOTTED_MAX: usize = 40;

/// A figure with heading, legend and drawing, and a note if something was left out. `absent` says
/// what skipped points have in common, such as `not finite`.
pub(super) fn render(html: &mut Html, chart: &Chart, form: Form, absent: &str) {
    let scale = if chart.log_y { Scale::Logarithmic } else { Scale::Linear };
    let lines: Vec<Line> =
        chart.series.iter().map(|series| Line::of(&series.points, scale)).collect();
    html.element("figure", &[], |html| {
        html.element("figcaption", &[], |html| {
            html.text_element("h3", &[], &chart.title);
            if chart.series.iter().any(|series| !series.name.is_empty()) {
                plot::legend(html, chart.series.iter().map(|series| series.name.as_str()));
            }
        });
        match Bounds::of(&chart.series, &lines) {
            Some(bounds) => draw(html, chart, scale, &lines, &bounds, form),
            None => html.text_element("p", &[("class", "none")], "No values to draw."),
        }
        let note = note(&lines, absent);
        if !note.is_empty() {
            html.text_element("p", &[("class", "note")], &note);
        }
    });
    html.line();
}

/// Extent of all drawn points.
pub(super) struct Bounds {
    x: (f64, f64),
    y: (f64, f64),
    x_grain: Grain,
    y_grain: Grain,
}

impl Bounds {
    /// The bounds of `lines`, which are what is drawn of `series`; `None` if nothing is drawn.
    pub(super) fn of(series: &[Series], lines: &[Line]) -> Option<Self> {
        let drawn = || lines.iter().flat_map(|line| line.points.iter().copied());
        let (x, y) = drawn().next()?;
        let extent = |start, value: fn((f64, f64)) -> f64| {
            drawn().map(value).fold((start, start), |(low, high), v| (v.min(low), v.max(high)))
        };
        // The given points decide this: means of steps have fractions although steps have none.
        let given = series.iter().flat_map(|series| &series.points).map(|point| point.0);
        Some(Self {
            x: extent(x, |point| point.0),
            y: extent(y, |point| point.1),
            x_grain: grain(given.filter(|x| x.is_finite())),
            y_grain: grain(drawn().map(|point| point.1)),
        })
    }
}

fn grain(mut values: impl Iterator<Item = f64>) -> Grain {
    if values.all(|value| value.fract() == 0.0) { Grain::Whole } else { Grain::Real }
}

fn draw(html: &mut Html, chart: &Chart, scale: Scale, lines: &[Line], bounds: &Bounds, form: Form) {
    let (width, height, x_ticks, y_ticks) = match form {
        Form::Lines => (440.0, 250.0, 6, 5),
        Form::Dots => (310.0, 180.0, 5, 4),
    };
    let axes = Axes::new(bounds, scale, x_ticks, y_ticks);
    let plot = Plot::for_axes(width, height, &axes.y);
    plot.draw(html, &chart.title, |html| contents(html, &plot, &axes, chart, lines, form));
}

/// Both axes of a chart.
pub(super) struct Axes {
    x: Axis,
    pub(super) y: Axis,
}

impl Axes {
    pub(super) fn new(bounds: &Bounds, scale: Scale, x_ticks: usize, y_ticks: usize) -> Self {
        Self {
            x: Axis::new(bounds.x, Scale::Linear, bounds.x_grain, 0.0, x_ticks),
            y: Axis::new(bounds.y, scale, bounds.y_grain, 0.05, y_ticks),
        }
    }
}

/// The content of a drawing: axes, then the lines.
pub(super) fn contents(
    html: &mut Html,
    plot: &Plot,
    axes: &Axes,
    chart: &Chart,
    lines: &[Line],
    form: Form,
) {
    plot.y_axis(html, &axes.y, &chart.y_label);
    plot.x_axis(html, &axes.x, &chart.x_label);
    for (index, line) in lines.iter().enumerate() {
        let places: Vec<(f64, f64)> = line
            .points
            .iter()
            .map(|point| (plot.x(&axes.x, point.0), plot.y(&axes.y, point.1)))
            .collect();
        let class = plot::colour(index);
        if form == Form::Lines {
            draw_line(html, &places, &class);
        }
        if form == Form::Dots || places.len() <= DOTTED_MAX {
            let radius = if form == Form::Dots { 1.7 } else { 2.2 };
            places
                .iter()
                .for_each(|&place| plot::dot(html, &format!("dot {class}"), place, radius, ""));
        }
    }
}

fn draw_line(html: &mut Html, places: &[(f64, f64)], class: &str) {
    // A path of a single point would draw a stray cap.
    if places.len() < 2 {
        return;
    }
    let mut path = String::new();
    for &(left, top) in places {
        path.push_str(if path.is_empty() { "M" } else { "L" });
        path.push_str(&format!("{} {}", number::coordinate(left), number::coordinate(top)));
    }
    html.empty_element("path", &[("class", &format!("line {class}")), ("d", &path)]);
}

/// Says what the drawing leaves out; empty if it leaves out nothing.
fn note(lines: &[Line], absent: &str) -> String {
    let skipped: usize = lines.iter().map(|line| line.skipped).sum();
    let bucket = lines.iter().map(|line| line.bucket).max().unwrap_or(1);
    let mut sentences = Vec::new();
    if skipped > 0 {
        sentences.push(format!("Not drawn: {} {absent}.", number::counted(skipped, "value")));
    }
    if bucket > 1 {
        sentences.push(format!(
            "Each drawn point is the mean of up to {} neighbouring values.",
            number::count(bucket)
        ));
    }
    sentences.join(" ")
}
