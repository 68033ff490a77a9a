//! The page around the parts.

use super::Report;
use super::html::Html;

/// The document.
pub(super) fn render(report: &Report) -> String {
    let mut html = Html::default();
    html.element("html", &[("lang", "en")], |html| {
        html.element("head", &[], |html| {
            html.empty_element("meta", &[("charset", "utf-8")]);
            html.text_element("title", &[], &report.title);
            html.style("");
        });
        html.line();
        html.element("body", &[], |html| html.text_element("h1", &[], &report.title));
    });
    html.into_document()
}
