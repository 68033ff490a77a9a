//! The two figures of the comparison: the values of every seed, joined over methods, and the
//! differences.

use super::Method;
use super::axis::{Axis, Grain, Scale};
use super::html::Html;
use super::measures::Measure;
use super::number;
use super::plot::{self, Plot};
use super::statistics::Sample;

/// Colour of differences, which belong to no method.
const DIFFERENCE_COLOUR: usize = 3;
/// Height of a row of dots with its label above.
const ROW: f64 = 56.0;
/// Distance from the top of a row to the line of its dots.
const BASELINE: f64 = 38.0;
const WIDTH: f64 = 440.0;

/// A row of a figure: a label and values in percent, one per seed, NaN if there is none.
struct Row<'a> {
    label: &'a str,
    values: Vec<f64>,
}

impl Row<'_> {
    fn sample(&self) -> Option<Sample> {
        Sample::of(&self.values)
    }

    /// Everything that the axis must show: values and the ends of the interval.
    fn extent(&self) -> impl Iterator<Item = f64> {
        let interval = self.sample().and_then(|sample| sample.interval);
        let ends = interval.into_iter().flat_map(|interval| [interval.low, interval.high]);
        self.values.iter().copied().filter(|value| value.is_finite()).chain(ends)
    }
}

/// The values of a measure for every seed: one row per method, with lines that join the pairs.
pub(super) fn values(html: &mut Html, methods: &[Method], measure: &Measure) {
    let rows: Vec<Row<'_>> = methods
        .iter()
        .map(|method| Row {
            label: &method.name,
            values: (measure.values)(method).iter().map(|value| value * 100.0).collect(),
        })
        .collect();
    let seeds = methods.first().map_or(&[][..], |method| &method.seeds);
    let title = format!("{} by seed", measure.name);
    let Some((plot, axis)) = frame(&rows, None) else { return };
    figure(html, &title, "A line joins the results of one seed.", &plot, |html| {
        plot.x_grid(html, &axis);
        plot.x_axis(html, &axis, "percent");
        for index in 0..seeds.len() {
            join(html, &plot, &axis, &rows, index);
        }
        for (place, row) in rows.iter().enumerate() {
            draw_row(html, &plot, &axis, row, (place, place), seeds);
        }
    });
}

/// The paired differences between the last method and the first, one row per measure.
pub(super) fn differences(html: &mut Html, methods: &[Method], measures: &[Measure]) {
    let [first, .., last] = methods else { return };
    let rows: Vec<Row<'_>> = measures
        .iter()
        .map(|measure| Row {
            label: measure.name,
            values: measure.differences(methods).iter().map(|value| value * 100.0).collect(),
        })
        .filter(|row| row.sample().is_some())
        .collect();
    let Some((plot, axis)) = frame(&rows, Some(0.0)) else { return };
    let about = format!("{} minus {}.", last.name, first.name);
    figure(html, "Paired differences", &about, &plot, |html| {
        plot.x_grid(html, &axis);
        plot.x_axis(html, &axis, "percentage points");
        let zero = plot.x(&axis, 0.0);
        plot::line(html, "zero", (zero, plot.top), (zero, plot.bottom));
        for (place, row) in rows.iter().enumerate() {
            draw_row(html, &plot, &axis, row, (place, DIFFERENCE_COLOUR), &first.seeds);
        }
    });
}

/// A plot with room for the rows, and an axis that shows all of them and `also`; `None` if there is
/// no value.
fn frame(rows: &[Row<'_>], also: Option<f64>) -> Option<(Plot, Axis)> {
    let mut values = rows.iter().flat_map(Row::extent).peekable();
    values.peek()?;
    let (low, high) = values
        .chain(also)
        .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), v| (v.min(low), v.max(high)));
    let axis = Axis::new((low, high), Scale::Linear, Grain::Real, 0.06, 6);
    let bottom = 4.0 + ROW * rows.len() as f64;
    let plot = Plot {
        width: WIDTH,
        height: bottom + 38.0,
        left: 8.0,
        right: WIDTH - 8.0,
        top: 4.0,
        bottom,
    };
    Some((plot, axis))
}

fn figure(html: &mut Html, title: &str, about: &str, plot: &Plot, body: impl FnOnce(&mut Html)) {
    html.element("figure", &[], |html| {
        html.element("figcaption", &[], |html| {
            html.text_element("h3", &[], title);
            html.text_element("p", &[("class", "about")], about);
        });
        plot.draw(html, title, body);
        let key = "Dots: seeds. Upright stroke: mean. Band: 95 % interval of the mean.";
        html.text_element("p", &[("class", "note")], key);
    });
    html.line();
}

fn baseline(plot: &Plot, place: usize) -> f64 {
    plot.top + ROW * place as f64 + BASELINE
}

/// The line of one seed through all rows in which it has a value.
fn join(html: &mut Html, plot: &Plot, axis: &Axis, rows: &[Row<'_>], seed: usize) {
    let mut before: Option<(f64, f64)> = None;
    for (place, row) in rows.iter().enumerate() {
        let Some(&value) = row.values.get(seed).filter(|value| value.is_finite()) else { continue };
        let here = (plot.x(axis, value), baseline(plot, place));
        if let Some(before) = before {
            plot::line(html, "pair", before, here);
        }
        before = Some(here);
    }
}

fn draw_row(
    html: &mut Html,
    plot: &Plot,
    axis: &Axis,
    row: &Row<'_>,
    (place, colour): (usize, usize),
    seeds: &[u64],
) {
    let y = baseline(plot, place);
    let class = plot::colour(colour);
    if let Some(sample) = row.sample() {
        if let Some(interval) = sample.interval {
            let (low, high) = (plot.x(axis, interval.low), plot.x(axis, interval.high));
            plot::bar(html, &format!("band {class}"), (low, y - 7.0), (high - low, 14.0));
        }
        let mean = plot.x(axis, sample.mean);
        plot::line(html, &format!("mean {class}"), (mean, y - 11.0), (mean, y + 11.0));
    }
    for (&seed, &value) in seeds.iter().zip(&row.values).filter(|(_, value)| value.is_finite()) {
        let hint = format!("{}, seed {seed}: {}", row.label, number::fixed(value, 2));
        plot::dot(html, &format!("seed {class}"), (plot.x(axis, value), y), 4.5, &hint);
    }
    plot::text(html, "label", (plot.left, y - 19.0), row.label);
}
