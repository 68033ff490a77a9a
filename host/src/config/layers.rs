//! Layers of settings, merged without losing their places.

use std::fs;
use std::path::Path;

use serde::Deserialize;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::check;
use super::error::ConfigError;
use super::kind::Kind;
use super::places::{Origin, Places, Source, in_a_row};
use super::preset::Preset;
use super::schema::{KEYS, Key};
use super::settings::RunConfig;
use super::shorten::shorten;

/// Sources of settings. Later ones override earlier ones key by key.
#[derive(Clone, Debug)]
pub struct Layers {
    sources: Vec<Source>,
    /// Index of the source that a run stored, if that is the base.
    stored: Option<usize>,
    /// Sources that make up the base.
    base: usize,
}

impl Layers {
    /// Starts from a preset.
    pub fn preset(preset: Preset) -> Self {
        let source = |(name, text)| Source { origin: Origin::Preset(name), text };
        let sources: Vec<_> = preset.texts().into_iter().map(source).collect();
        let base = sources.len();
        Self { sources, stored: None, base }
    }

    /// Starts from a complete configuration as stored by a run. Keys that an older program did not
    /// know get their defaults; see [`absent`](Self::absent).
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn stored(path: &Path) -> Result<Self, ConfigError> {
        Ok(Self::stored_text(path, read(path)?))
    }

    /// [`Layers::stored`] from the file's text.
    pub fn stored_text(path: &Path, text: String) -> Self {
        // `[augment]` is the file's last section and as old as the format. If it is missing, the
        // file is cut short, which no default may hide.
        let defaults = RunConfig::default().to_preset();
        let defaults = Source { origin: Origin::Preset("default"), text: defaults };
        let stored = Source { origin: Origin::File(path.to_owned()), text };
        Self { sources: vec![defaults, stored], stored: Some(1), base: 2 }
    }

    /// The same with the relative paths of the stored configuration taken from `directory`, where
    /// the run was started; later layers' paths stay relative to the working directory.
    #[must_use]
    pub fn started_in(mut self, directory: &Path) -> Self {
        const PATHS: [&str; 3] = ["data.pretext.path", "data.downstream.path", "from"];
        let Some(source) = self.stored.map(|index| &self.sources[index]) else { return self };
        let Ok(tree) = DeTable::parse(&source.text) else { return self };
        let absolute = |key: &&str| {
            let path = check::find(tree.get_ref(), key)?.get_ref().as_str()?;
            let named = path == "none" || path.starts_with("embedded:");
            let path = (!named && Path::new(path).is_relative()).then(|| directory.join(path))?;
            Some(format!("{key} = {}\n", toml::Value::from(path.to_str()?)))
        };
        let text: String = PATHS.iter().filter_map(absolute).collect();
        let origin = source.origin.clone();
        drop(tree);
        self.sources.push(Source { origin, text });
        self.base = self.sources.len();
        self
    }

    /// The keys that the stored configuration lacks; they have their defaults unless a later layer
    /// sets them. Empty if the base is a preset or the text is not TOML.
    pub fn absent(&self) -> Vec<String> {
        let Some(source) = self.stored.map(|index| &self.sources[index]) else { return Vec::new() };
        let Ok(tree) = DeTable::parse(&source.text) else { return Vec::new() };
        let known = KEYS.iter().map(|key| key.name.clone());
        let defaults = RunConfig::default();
        let all = known.chain(defaults.augment_keys());
        all.filter(|key| check::find(tree.get_ref(), key).is_none()).collect()
    }

    /// Overrides with a TOML file.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn file(mut self, path: &Path) -> Result<Self, ConfigError> {
        self.sources.push(Source { origin: Origin::File(path.to_owned()), text: read(path)? });
        Ok(self)
    }

    /// Overrides one key with a flag's value; text needs no quotes.
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

    /// Overrides with `--set KEY=VALUE`.
    ///
    /// # Errors
    /// There is no `=`, or the key has characters other than letters, digits, `_`, `-` and `.`.
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

    /// Merges and checks the layers.
    ///
    /// # Errors
    /// The first problem, with its place.
    pub fn resolve(&self) -> Result<RunConfig, ConfigError> {
        Ok(self.resolve_with_notes()?.0)
    }

    /// The same, and a line for each warm-up of the base that a later layer's shorter schedule has
    /// shortened.
    ///
    /// # Errors
    /// As [`resolve`](Self::resolve).
    pub fn resolve_with_notes(&self) -> Result<(RunConfig, Vec<String>), ConfigError> {
        let texts = in_a_row(&self.sources);
        let places = Places { sources: &self.sources, texts: &texts };
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
        let mut config =
            RunConfig::deserialize(document).map_err(|error| ConfigError::Section {
                place: places.place(error.span().unwrap_or(0..0)),
                message: error.message().to_owned(),
            })?;
        let base = || {
            let (sources, stored) = (self.sources[..self.base].to_vec(), self.stored);
            Self { sources, stored, base: 0 }.resolve().ok()
        };
        let from_base = |key: &str| {
            let source = check::find(&merged, key).and_then(|value| places.source(value.span()));
            source.is_some_and(|source| source < self.base)
        };
        let notes = shorten(&mut config, base, from_base);
        check::relations(&config, &merged, &places)?;
        Ok((config, notes))
    }
}

impl Preset {
    /// The preset's complete settings.
    pub fn config(self) -> RunConfig {
        Layers::preset(self).resolve().expect("presets are valid: tests resolve each of them")
    }
}

fn read(path: &Path) -> Result<String, ConfigError> {
    fs::read_to_string(path).map_err(|source| ConfigError::Read { path: path.to_owned(), source })
}

/// Merges `over` into `base`. A table extends a table, but an optimiser replaces a different
/// optimiser.
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
                // Remove the old key first: a map that keeps its key would also keep its place.
                base.remove(name.as_ref());
                base.insert(key, Spanned::new(span, value));
            }
        }
    }
}
