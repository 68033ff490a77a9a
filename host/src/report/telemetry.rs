//! The linear solves of the bilevel stage: how they ended, and what they measured about themselves.

use super::chart::{self, Form};
use super::html::Html;
use super::number;
use super::plot;
use super::{Chart, Series, Solve};

/// A quantity that solves report.
struct Quantity {
    title: &'static str,
    y_label: &'static str,
    log_y: bool,
    value: fn(&Solve) -> Option<f32>,
}

const QUANTITIES: [Quantity; 6] = [
    Quantity {
        title: "Products a solve",
        y_label: "products",
        log_y: false,
        value: |solve| Some(solve.products.into()),
    },
    Quantity {
        title: "Relative residual",
        y_label: "‖r‖ / ‖b‖",
        log_y: true,
        value: |solve| solve.residual,
    },
    Quantity {
        title: "Correction of second order",
        y_label: "‖x − b‖ / ‖b‖",
        log_y: true,
        value: |solve| solve.correction,
    },
    Quantity {
        title: "Alignment with b",
        y_label: "cos(x, b)",
        log_y: false,
        value: |solve| solve.cosine,
    },
    Quantity {
        title: "Length against b",
        y_label: "‖x‖ / ‖b‖",
        log_y: false,
        value: |solve| solve.solution_ratio,
    },
    Quantity {
        title: "Largest curvature seen",
        y_label: "largest pᵀHp / pᵀp",
        log_y: false,
        value: |solve| solve.rayleigh_max,
    },
];

/// The section; writes nothing without solves.
pub(super) fn render(html: &mut Html, solves: &[Solve]) {
    if solves.is_empty() {
        return;
    }
    html.element("section", &[], |html| {
        html.text_element("h2", &[], "Linear solves");
        html.text_element("p", &[("class", "about")], &overview(solves));
        terminations(html, solves);
        let (shown, missing): (Vec<_>, Vec<_>) = QUANTITIES
            .iter()
            .partition(|quantity| solves.iter().any(|solve| (quantity.value)(solve).is_some()));
        html.element("div", &[("class", "figures small")], |html| {
            for quantity in shown {
                chart::render(
                    html,
                    &chart_of(quantity, solves),
                    Form::Dots,
                    "absent or off the scale",
                );
            }
        });
        if !missing.is_empty() {
            let names: Vec<&str> = missing.iter().map(|quantity| quantity.title).collect();
            let text =
                format!("Not reported by these solves: {}.", names.join(", ").to_lowercase());
            html.text_element("p", &[("class", "note")], &text);
        }
    });
    html.line();
}

fn chart_of(quantity: &Quantity, solves: &[Solve]) -> Chart {
    let points = solves
        .iter()
        .map(|solve| (f64::from(solve.index), (quantity.value)(solve).map_or(f64::NAN, f64::from)));
    Chart {
        title: quantity.title.to_owned(),
        x_label: "upper step".to_owned(),
        y_label: quantity.y_label.to_owned(),
        series: vec![Series { name: String::new(), points: points.collect() }],
        log_y: quantity.log_y,
    }
}

fn overview(solves: &[Solve]) -> String {
    let products: usize = solves.iter().map(|solve| usize::from(solve.products)).sum();
    let mut alternations: Vec<u32> = solves.iter().map(|solve| solve.alternation).collect();
    alternations.sort_unstable();
    alternations.dedup();
    format!(
        "One solve of A x = b for each upper step, of the first seed: {} in {}, with {} \
         ({:.1} a solve).",
        number::counted(solves.len(), "solve"),
        number::counted(alternations.len(), "alternation"),
        number::counted(products, "product"),
        products as f64 / solves.len() as f64,
    )
}

/// A bar divided by the ways in which solves ended, in the order of their first occurrence, and its
/// legend.
fn terminations(html: &mut Html, solves: &[Solve]) {
    let mut counts: Vec<(&str, usize)> = Vec::new();
    for solve in solves {
        match counts.iter_mut().find(|(name, _)| *name == solve.termination) {
            Some((_, count)) => *count += 1,
            None => counts.push((&solve.termination, 1)),
        }
    }
    let names: Vec<String> =
        counts.iter().map(|(name, count)| format!("{name}: {}", number::count(*count))).collect();
    html.element("div", &[("class", "terminations")], |html| {
        let attributes = [
            ("viewBox", "0 0 600 12"),
            ("preserveAspectRatio", "none"),
            ("role", "img"),
            ("aria-label", "How the solves ended"),
        ];
        html.element("svg", &attributes, |html| {
            let mut left = 0.0;
            for (index, (_, count)) in counts.iter().enumerate() {
                let width = 600.0 * *count as f64 / solves.len() as f64;
                let class = format!("share {}", plot::colour(index));
                plot::bar(html, &class, (left, 0.0), (width, 12.0));
                left += width;
            }
        });
        plot::legend(html, names.iter().map(String::as_str));
    });
}
