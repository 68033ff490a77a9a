//! The drawing area that all figures share: a frame with axes, and shapes placed by value.

use super::axis::Axis;
use super::html::Html;
use super::number::coordinate;

/// Distinct colours in the style sheet; further series repeat them with dashes.
pub(super) const COLOURS: usize = 6;

/// Width of a character of an axis label, in units of the drawing, rounded up.
const CHARACTER: f64 = 6.4;

/// A rectangle in drawing units, in which values are placed.
pub(super) struct Plot {
    pub(super) width: f64,
    pub(super) height: f64,
    pub(super) left: f64,
    pub(super) right: f64,
    pub(super) top: f64,
    pub(super) bottom: f64,
}

impl Plot {
    /// A frame with room for the labels of both axes and their names.
    pub(super) fn for_axes(width: f64, height: f64, y: &Axis) -> Self {
        let left = 12.0 + CHARACTER * y.label_length().max(2) as f64;
        Self { width, height, left, right: width - 12.0, top: 24.0, bottom: height - 38.0 }
    }

    /// Horizontal position of a value.
    pub(super) fn x(&self, axis: &Axis, value: f64) -> f64 {
        self.left + axis.place(value) * (self.right - self.left)
    }

    /// Vertical position of a value.
    pub(super) fn y(&self, axis: &Axis, value: f64) -> f64 {
        self.bottom - axis.place(value) * (self.bottom - self.top)
    }

    /// The drawing, with a name for those who cannot see it.
    pub(super) fn draw(&self, html: &mut Html, name: &str, body: impl FnOnce(&mut Html)) {
        let view = format!("0 0 {} {}", coordinate(self.width), coordinate(self.height));
        let attributes = [("viewBox", view.as_str()), ("role", "img"), ("aria-label", name)];
        html.element("svg", &attributes, body);
        html.line();
    }

    /// The horizontal axis, with its name centred below.
    pub(super) fn x_axis(&self, html: &mut Html, axis: &Axis, name: &str) {
        line(html, "axis", (self.left, self.bottom), (self.right, self.bottom));
        for tick in &axis.ticks {
            let x = self.x(axis, tick.value);
            line(html, "axis", (x, self.bottom), (x, self.bottom + 4.0));
            text(html, "tick middle", (x, self.bottom + 17.0), &tick.label);
        }
        let middle = (self.left + self.right) / 2.0;
        text(html, "name middle", (middle, self.height - 4.0), name);
    }

    /// The vertical axis as grid lines, with its name above.
    pub(super) fn y_axis(&self, html: &mut Html, axis: &Axis, name: &str) {
        for tick in &axis.ticks {
            let y = self.y(axis, tick.value);
            line(html, "grid", (self.left, y), (self.right, y));
            text(html, "tick end", (self.left - 6.0, y + 4.0), &tick.label);
        }
        text(html, "name", (2.0, 11.0), name);
    }

    /// Vertical grid lines at the ticks of the horizontal axis.
    pub(super) fn x_grid(&self, html: &mut Html, axis: &Axis) {
        for tick in &axis.ticks {
            let x = self.x(axis, tick.value);
            line(html, "grid", (x, self.top), (x, self.bottom));
        }
    }
}

/// The class that colours series `index`.
pub(super) fn colour(index: usize) -> String {
    let dashed = if (index / COLOURS) % 2 == 1 { " dashed" } else { "" };
    format!("c{}{dashed}", index % COLOURS)
}

/// A straight line.
pub(super) fn line(html: &mut Html, class: &str, from: (f64, f64), to: (f64, f64)) {
    html.empty_element(
        "line",
        &[
            ("class", class),
            ("x1", &coordinate(from.0)),
            ("y1", &coordinate(from.1)),
            ("x2", &coordinate(to.0)),
            ("y2", &coordinate(to.1)),
        ],
    );
}

/// A text whose baseline goes through `at`.
pub(super) fn text(html: &mut Html, class: &str, at: (f64, f64), content: &str) {
    let (x, y) = (coordinate(at.0), coordinate(at.1));
    html.text_element("text", &[("class", class), ("x", &x), ("y", &y)], content);
}

/// A dot; `hint` is shown under the pointer unless it is empty.
pub(super) fn dot(html: &mut Html, class: &str, at: (f64, f64), radius: f64, hint: &str) {
    let (x, y) = (coordinate(at.0), coordinate(at.1));
    let radius = coordinate(radius);
    let attributes = [("class", class), ("cx", x.as_str()), ("cy", &y), ("r", &radius)];
    if hint.is_empty() {
        html.empty_element("circle", &attributes);
    } else {
        html.element("circle", &attributes, |html| html.text_element("title", &[], hint));
    }
}

/// A filled rectangle.
pub(super) fn bar(html: &mut Html, class: &str, at: (f64, f64), size: (f64, f64)) {
    html.empty_element(
        "rect",
        &[
            ("class", class),
            ("x", &coordinate(at.0)),
            ("y", &coordinate(at.1)),
            ("width", &coordinate(size.0)),
            ("height", &coordinate(size.1)),
        ],
    );
}

/// A legend: each name follows a sample of its colour.
pub(super) fn legend<'a>(html: &mut Html, names: impl Iterator<Item = &'a str>) {
    html.element("ul", &[("class", "legend")], |html| {
        for (index, name) in names.enumerate() {
            html.element("li", &[], |html| {
                let attributes = [("viewBox", "0 0 18 8"), ("aria-hidden", "true")];
                html.element("svg", &attributes, |html| {
                    let class = format!("sample {}", colour(index));
                    line(html, &class, (1.0, 4.0), (17.0, 4.0));
                });
                html.text(name);
            });
        }
    });
}
