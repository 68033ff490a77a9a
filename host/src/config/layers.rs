//! Where settings come from, in order, and how they are merged without losing their places.
//!
//! Every source is parsed with spans. Each is parsed as if it stood behind the earlier ones (spaces
//! before it, on its first line), so that a span of the merged tree names its source and line.

use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::{ConfigError, Key, Kind, Preset, RunConfig, check};

/// Sources of settings; later ones override earlier ones key by key.
#[derive(Clone, Debug)]
pub struct Layers {
    sources: Vec<Source>,
}

#[derive(Clone, Debug)]
struct Source {
    origin: Origin,
    text: String,
}

#[derive(Clone, Debug)]
enum Origin {
    File(PathBuf),
    Flag(String),
    Preset(&'static str),
}

impl Layers {
    /// A preset as the base.
    pub fn preset(preset: Preset) -> Self {
        let source = |(name, text)| Source { origin: Origin::Preset(name), text };
        Self { sources: preset.texts().into_iter().map(source).collect() }
    }

    /// A complete configuration, as a run stores it, as the base.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn stored(path: &Path) -> Result<Self, ConfigError> {
        Self { sources: Vec::new() }.file(path)
    }

    /// The same from the file's text.
    pub fn stored_text(path: &Path, text: String) -> Self {
        Self { sources: vec![Source { origin: Origin::File(path.to_owned()), text }] }
    }

    /// Overrides by a TOML file.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn file(mut self, path: &Path) -> Result<Self, ConfigError> {
        let text = fs::read_to_string(path)
            .map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
        self.sources.push(Source { origin: Origin::File(path.to_owned()), text });
        Ok(self)
    }

    /// Overrides one key by a flag's value; text needs no quotes.
    #[must_use]
    pub fn flag(mut self, flag: &str, key: &str, value: &str) -> Self {
        let is_text = Key::find(key).is_some_and(|key| key.kind.is_text());
        let is_none = matches!(
            Key::find(key).map(|key| key.kind),
            Some(Kind::IntegerOrNone { .. } | Kind::NumberOrNone(_))
        ) && value == "none";
        let is_literal = !is_text && !is_none && DeValue::parse(value).is_ok();
        let is_quoted = value.starts_with('"') && DeValue::parse(value).is_ok();
        let literal = if is_literal || is_quoted {
            value.to_owned()
        } else {
            toml::Value::from(value).to_string()
        };
        let text = format!("{key} = {literal}");
        self.sources.push(Source { origin: Origin::Flag(flag.to_owned()), text });
        self
    }

    /// Overrides by `--set KEY=VALUE`.
    ///
    /// # Errors
    /// There is no `=`, or the key has other characters than letters, digits, `_`, `-` and `.`.
    pub fn set(self, assignment: &str) -> Result<Self, ConfigError> {
        let malformed = || ConfigError::Assignment { text: assignment.to_owned() };
        let (key, value) = assignment.split_once('=').ok_or_else(malformed)?;
        let (key, value) = (key.trim(), value.trim());
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
        if !key.split('.').all(|part| !part.is_empty() && part.chars().all(allowed)) {
            return Err(malformed());
        }
        Ok(self.flag(&format!("--set {assignment}"), key, value))
    }

    /// Merges and checks.
    ///
    /// # Errors
    /// The first thing that is wrong, with its place.
    pub fn resolve(&self) -> Result<RunConfig, ConfigError> {
        let texts = self.texts();
        let places = Places { layers: self, texts: &texts };
        let mut merged = DeTable::new();
        for text in &texts {
            let table = DeTable::parse(text).map_err(|error| ConfigError::Syntax {
                place: places.syntax_place(text, error.span()),
                message: error.message().to_owned(),
            })?;
            merge(&mut merged, table.into_inner());
        }
        check::keys(&merged, &places)?;
        let document = toml::Deserializer::from(Spanned::new(0..0, merged.clone()));
        let config = RunConfig::deserialize(document).map_err(|error| ConfigError::Section {
            place: places.place(error.span().unwrap_or(0..0)),
            message: error.message().to_owned(),
        })?;
        check::relations(&config, &merged, &places)?;
        Ok(config)
    }

    /// The sources' texts, each behind as many spaces as the earlier ones are long.
    fn texts(&self) -> Vec<String> {
        let mut length = 0;
        let text = |source: &Source| {
            let text = format!("{:length$}{}\n", "", source.text);
            length = text.len();
            text
        };
        self.sources.iter().map(text).collect()
    }
}

/// Puts `over` on top of `base`. A table extends a table, except that an optimiser replaces another.
fn merge<'t>(base: &mut DeTable<'t>, over: DeTable<'t>) {
    for (key, value) in over {
        let name = key.get_ref().clone();
        let (span, value) = (value.span(), value.into_inner());
        match (base.get_mut(name.as_ref()).map(Spanned::get_mut), value) {
            (Some(DeValue::Table(old)), DeValue::Table(new))
                if name != "optimizer" || old.keys().eq(new.keys()) =>
            {
                merge(old, new);
            }
            (_, value) => {
                // The old key goes first: a map that keeps it would keep its place too.
                base.remove(name.as_ref());
                base.insert(key, Spanned::new(span, value));
            }
        }
    }
}

/// Names the places of spans.
pub(super) struct Places<'t> {
    layers: &'t Layers,
    texts: &'t [String],
}

impl Places<'_> {
    /// `FILE:LINE`, the flag, or the preset.
    pub(super) fn place(&self, span: Range<usize>) -> String {
        match self.texts.iter().position(|text| span.start < text.len()) {
            Some(index) => self.place_in(index, span.start),
            None => "configuration".to_owned(),
        }
    }

    /// What stands there.
    pub(super) fn found(&self, span: Range<usize>) -> &str {
        let text = self.texts.iter().find(|text| span.start < text.len());
        text.and_then(|text| text.get(span)).unwrap_or("missing")
    }

    fn syntax_place(&self, text: &str, span: Option<Range<usize>>) -> String {
        let index = self.texts.iter().position(|other| other == text).unwrap_or(0);
        self.place_in(index, span.map_or(0, |span| span.start))
    }

    fn place_in(&self, index: usize, start: usize) -> String {
        let head = &self.texts[index].as_bytes()[..start.min(self.texts[index].len())];
        let line = 1 + head.iter().filter(|byte| **byte == b'\n').count();
        match &self.layers.sources[index].origin {
            Origin::File(path) => format!("{}:{line}", path.display()),
            Origin::Flag(flag) => flag.clone(),
            Origin::Preset(name) => format!("preset {name}:{line}"),
        }
    }
}
