//! Configurations as text: complete, commented, and identical for equal settings.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use toml::de::{DeTable, DeValue};

use super::kind::Kind;
use super::schema::{AUGMENT, KEYS, Key};
use super::settings::RunConfig;

impl RunConfig {
    /// Every setting with its range and meaning, as TOML that
    /// [`Layers::stored`](super::Layers::stored) reads back.
    pub fn to_toml(&self) -> String {
        let leaves = self.leaves();
        let mut text = document(
            &leaves,
            |_| "",
            |key| match key.kind {
                Kind::Optimizer => format!("# {}\n", key.help),
                kind => format!("# {}; {kind}\n", key.help),
            },
        );
        let mut rest: Vec<_> = leaves
            .range(format!("{AUGMENT}.")..format!("{AUGMENT}/"))
            .map(|(key, value)| (key.rsplit_once('.').unwrap_or((AUGMENT, key)), value))
            .collect();
        // A section may be opened only once.
        rest.sort_unstable();
        let mut open = None;
        for ((section, name), value) in rest {
            if open != Some(section) {
                let _ = write!(text, "\n[{section}]\n");
                open = Some(section);
            }
            let _ = writeln!(text, "{name} = {value}");
        }
        text
    }

    /// Every key except those of `[augment]`, each section after its note.
    pub(super) fn to_preset(&self) -> String {
        document(&self.leaves(), |key| key.note, |_| String::new())
    }

    /// Every setting without comments, one line per section, for the terminal.
    pub fn to_lines(&self) -> String {
        let mut sections: BTreeMap<&str, String> = BTreeMap::new();
        let leaves = self.leaves();
        for (key, value) in &leaves {
            let (section, name) = match key.split_once('.') {
                Some((section, name)) => (section, name),
                None => ("run", key.as_str()),
            };
            let _ = write!(sections.entry(section).or_default(), " {name}={value}");
        }
        let line = |(section, settings)| format!("{section:<10}{settings}\n");
        sections.into_iter().map(line).collect()
    }

    /// The value of `key` as TOML text.
    pub fn value(&self, key: &str) -> Option<String> {
        if Key::find(key).is_some_and(|key| key.kind == Kind::Optimizer) {
            return Some(optimizer(&self.leaves(), key));
        }
        self.leaves().remove(key)
    }

    /// The keys of `[augment]`.
    pub(super) fn augment_keys(&self) -> impl Iterator<Item = String> {
        let inside = format!("{AUGMENT}.");
        self.leaves().into_keys().filter(move |key| key.starts_with(&inside))
    }

    /// Every key with its value as TOML text.
    fn leaves(&self) -> BTreeMap<String, String> {
        let text = toml::to_string(self).expect("settings are tables of plain values");
        let tree = DeTable::parse(&text).expect("a serialised document is a document");
        let mut leaves = BTreeMap::new();
        collect("", tree.get_ref(), &text, &mut leaves);
        leaves
    }

    /// The same configuration with another seed.
    #[must_use]
    pub fn with_seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }
}

/// Every key of [`KEYS`] after its comment, and every section after its note.
fn document(
    leaves: &BTreeMap<String, String>,
    note: impl Fn(&Key) -> &str,
    comment: impl Fn(&Key) -> String,
) -> String {
    let mut text = String::new();
    let mut open = None;
    for key in KEYS.iter() {
        let (section, name) = key.parts();
        if open != Some(section) {
            text += if open.is_some() { "\n" } else { "" };
            if !note(key).is_empty() {
                let _ = writeln!(text, "# {}", note(key));
            }
            if !section.is_empty() {
                let _ = writeln!(text, "[{section}]");
            }
            open = Some(section);
        }
        let value = match key.kind {
            Kind::Optimizer => optimizer(leaves, &key.name),
            _ => leaves.get(&key.name).cloned().unwrap_or_default(),
        };
        let _ = writeln!(text, "{}{name} = {value}", comment(key));
    }
    text
}

fn collect(section: &str, tree: &DeTable<'_>, text: &str, leaves: &mut BTreeMap<String, String>) {
    for (key, value) in tree {
        let name = match section {
            "" => key.get_ref().to_string(),
            _ => format!("{section}.{}", key.get_ref()),
        };
        match value.get_ref() {
            DeValue::Table(inner) => collect(&name, inner, text, leaves),
            _ => drop(leaves.insert(name, text[value.span()].to_owned())),
        }
    }
}

/// `{ lars = { momentum = 0.9, … } }`.
fn optimizer(leaves: &BTreeMap<String, String>, name: &str) -> String {
    let mut kind = "";
    let mut coefficients = Vec::new();
    for (key, value) in leaves.range(format!("{name}.")..format!("{name}/")) {
        let rest = &key[name.len() + 1..];
        if let Some((this, coefficient)) = rest.split_once('.') {
            kind = this;
            coefficients.push(format!("{coefficient} = {value}"));
        }
    }
    format!("{{ {kind} = {{ {} }} }}", coefficients.join(", "))
}

/// The first setting that differs between two configurations: key, first value, second value.
///
/// `threads`, `tensorboard` and `[checkpoint]` are ignored, because no result depends on them.
pub fn first_difference(one: &RunConfig, other: &RunConfig) -> Option<(String, String, String)> {
    let (one, other) = (one.leaves(), other.leaves());
    let absent = || "absent".to_owned();
    one.keys()
        .chain(other.keys())
        .filter(|key| !["threads", "tensorboard"].contains(&key.as_str()))
        .filter(|key| !key.starts_with("checkpoint."))
        .find(|key| one.get(*key) != other.get(*key))
        .map(|key| {
            let value =
                |leaves: &BTreeMap<String, String>| leaves.get(key).cloned().unwrap_or_else(absent);
            (key.clone(), value(&one), value(&other))
        })
}

/// Every key whose value differs between configurations, with its value in each.
pub fn differences(configs: &[&RunConfig]) -> Vec<(String, Vec<String>)> {
    let leaves: Vec<_> = configs.iter().map(|config| config.leaves()).collect();
    let keys: BTreeSet<&String> = leaves.iter().flat_map(BTreeMap::keys).collect();
    let values = |key: &String| -> Vec<String> {
        let value = |leaves: &BTreeMap<_, String>| leaves.get(key).cloned();
        leaves.iter().map(|leaves| value(leaves).unwrap_or_else(|| "absent".to_owned())).collect()
    };
    keys.into_iter()
        .map(|key| (key.clone(), values(key)))
        .filter(|(_, values)| values.iter().any(|value| *value != values[0]))
        .collect()
}
