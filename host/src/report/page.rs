//! The page around the parts.

use super::accuracy;
use super::chart::{self, Form};
use super::html::Html;
use super::neighbours::{self, EncodedRow};
use super::telemetry;
use super::{Chart, Report};

/// Forbids scripts and everything from outside, whatever a later version of the page refers to.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; img-src data:";

/// The document. `rows` are the encoded rows of `report.neighbours`.
pub(super) fn render(report: &Report, rows: &[EncodedRow<'_>]) -> String {
    let mut html = Html::default();
    html.element("html", &[("lang", "en")], |html| {
        head(html, &report.title);
        html.line();
        html.element("body", &[], |html| {
            header(html, report);
            html.line();
            html.element("main", &[], |html| {
                accuracy::render(html, &report.accuracy);
                curves(html, &report.curves);
                telemetry::render(html, &report.solves);
                neighbours::render(html, rows);
                configuration(html, &report.config);
            });
            let version = concat!("bissl ", env!("CARGO_PKG_VERSION"));
            let text = format!("{version} · one file, no script, nothing loaded from elsewhere");
            html.text_element("footer", &[], &text);
        });
    });
    html.into_document()
}

fn head(html: &mut Html, title: &str) {
    html.element("head", &[], |html| {
        html.empty_element("meta", &[("charset", "utf-8")]);
        let policy = [("http-equiv", "Content-Security-Policy"), ("content", POLICY)];
        html.empty_element("meta", &policy);
        let viewport = [("name", "viewport"), ("content", "width=device-width, initial-scale=1")];
        html.empty_element("meta", &viewport);
        html.empty_element("meta", &[("name", "color-scheme"), ("content", "light dark")]);
        html.text_element("title", &[], title);
        html.style(include_str!("style.css"));
    });
}

fn header(html: &mut Html, report: &Report) {
    html.element("header", &[], |html| {
        html.text_element("h1", &[], &report.title);
        if !report.command.is_empty() {
            html.text_element("code", &[("class", "command")], &report.command);
        }
        if !report.summary.is_empty() {
            html.element("dl", &[], |html| {
                for (label, value) in &report.summary {
                    html.element("div", &[], |html| {
                        html.text_element("dt", &[], label);
                        html.text_element("dd", &[], value);
                    });
                }
            });
        }
    });
}

fn curves(html: &mut Html, charts: &[Chart]) {
    if charts.is_empty() {
        return;
    }
    html.element("section", &[], |html| {
        html.text_element("h2", &[], "Training");
        html.element("div", &[("class", "figures")], |html| {
            for chart in charts {
                let absent = if chart.log_y { "not finite or not positive" } else { "not finite" };
                chart::render(html, chart, Form::Lines, absent);
            }
        });
    });
    html.line();
}

fn configuration(html: &mut Html, config: &str) {
    if config.is_empty() {
        return;
    }
    html.element("details", &[], |html| {
        html.text_element("summary", &[], "Configuration");
        html.element("pre", &[], |html| html.text_element("code", &[], config));
    });
    html.line();
}
