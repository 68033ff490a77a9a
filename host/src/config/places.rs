//! Sources of settings, and how errors name places in them.
//!
//! Every source is parsed with spans, as if it followed the earlier ones (with spaces before it, on
//! its first line). A span of the merged tree therefore identifies its source and line.

use crate::text::shown;
use std::ops::Range;
use std::path::PathBuf;

/// A source of settings: its origin and its text.
#[derive(Clone, Debug)]
pub(super) struct Source {
    pub(super) origin: Origin,
    pub(super) text: String,
}

#[derive(Clone, Debug)]
pub(super) enum Origin {
    File(PathBuf),
    Flag(String),
    Preset(&'static str),
}

/// The sources' texts, each after as many spaces as all earlier texts have bytes.
pub(super) fn in_a_row(sources: &[Source]) -> Vec<String> {
    let mut length = 0;
    let text = |source: &Source| {
        let text = format!("{:length$}{}\n", "", source.text);
        length = text.len();
        text
    };
    sources.iter().map(text).collect()
}

/// Turns spans into the names of places.
pub(super) struct Places<'t> {
    pub(super) sources: &'t [Source],
    /// The texts of [`in_a_row`].
    pub(super) texts: &'t [String],
}

impl Places<'_> {
    /// `FILE:LINE`, the flag, or the preset.
    pub(super) fn place(&self, span: Range<usize>) -> String {
        match self.source(span.clone()) {
            Some(index) => self.place_in(index, span.start),
            None => "configuration".to_owned(),
        }
    }

    /// The number of the source that the span lies in.
    pub(super) fn source(&self, span: Range<usize>) -> Option<usize> {
        self.texts.iter().position(|text| span.start < text.len())
    }

    /// The text of the span.
    pub(super) fn found(&self, span: Range<usize>) -> &str {
        let text = self.texts.iter().find(|text| span.start < text.len());
        text.and_then(|text| text.get(span)).unwrap_or("missing")
    }

    /// The place of a parser's error in one of the texts.
    pub(super) fn syntax_place(&self, text: &str, span: Option<Range<usize>>) -> String {
        let index = self.texts.iter().position(|other| other == text).unwrap_or(0);
        self.place_in(index, span.map_or(0, |span| span.start))
    }

    fn place_in(&self, index: usize, start: usize) -> String {
        let head = &self.texts[index].as_bytes()[..start.min(self.texts[index].len())];
        let line = 1 + head.iter().filter(|byte| **byte == b'\n').count();
        match &self.sources[index].origin {
            Origin::File(path) => format!("{}:{line}", shown(path)),
            Origin::Flag(flag) => flag.clone(),
            Origin::Preset(name) => format!("preset {name}:{line}"),
        }
    }
}
