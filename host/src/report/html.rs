//! A writer of markup that cannot leave an element open or a text unescaped.

use crate::text::acts;

/// Attributes of an element, name and value; values are escaped.
pub(super) type Attributes<'a> = [(&'a str, &'a str)];

/// Markup written so far.
#[derive(Default)]
pub(super) struct Html {
    out: String,
}

impl Html {
    /// An element around what `body` writes.
    pub(super) fn element(
        &mut self,
        tag: &str,
        attributes: &Attributes<'_>,
        body: impl FnOnce(&mut Self),
    ) {
        self.start(tag, attributes);
        self.out.push('>');
        body(self);
        self.out.push_str("</");
        self.out.push_str(tag);
        self.out.push('>');
    }

    /// An element that holds only a text.
    pub(super) fn text_element(&mut self, tag: &str, attributes: &Attributes<'_>, text: &str) {
        self.element(tag, attributes, |html| html.text(text));
    }

    /// An element without content, closed in its own tag: `img`, `meta` and the shapes of SVG.
    pub(super) fn empty_element(&mut self, tag: &str, attributes: &Attributes<'_>) {
        self.start(tag, attributes);
        self.out.push_str("/>");
    }

    /// A text, escaped.
    pub(super) fn text(&mut self, text: &str) {
        for character in text.chars() {
            match character {
                '&' => self.out.push_str("&amp;"),
                '<' => self.out.push_str("&lt;"),
                '>' => self.out.push_str("&gt;"),
                '"' => self.out.push_str("&quot;"),
                '\'' => self.out.push_str("&#39;"),
                '\n' | '\t' => self.out.push(character),
                // HTML forbids other control characters, a terminal's escape codes have no meaning
                // here, and what changes the direction of text would turn its neighbours, too.
                _ if acts(character) => self.out.push('\u{fffd}'),
                _ => self.out.push(character),
            }
        }
    }

    /// The page's own style sheet, which needs no escaping.
    pub(super) fn style(&mut self, sheet: &'static str) {
        self.out.push_str("<style>");
        self.out.push_str(sheet);
        self.out.push_str("</style>");
    }

    /// A line break in the source, for human readers.
    pub(super) fn line(&mut self) {
        self.out.push('\n');
    }

    /// The whole document.
    pub(super) fn into_document(self) -> String {
        format!("<!DOCTYPE html>\n{}\n", self.out)
    }

    /// The text as written, for a file that is not HTML.
    pub(super) fn into_text(self) -> String {
        self.out + "\n"
    }

    fn start(&mut self, tag: &str, attributes: &Attributes<'_>) {
        self.out.push('<');
        self.out.push_str(tag);
        for (name, value) in attributes {
            self.out.push(' ');
            self.out.push_str(name);
            self.out.push_str("=\"");
            self.text(value);
            self.out.push('"');
        }
    }
}
