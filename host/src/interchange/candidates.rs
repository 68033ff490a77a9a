//! The backbones in a file, and which of them is meant.

use std::collections::{BTreeMap, BTreeSet};

use super::anatomy::{Part, block_name, number};
use super::dialects::{Role, is_layer, role};
use crate::state_dict::{Dictionary, TensorFile, shown};

/// Tensors of blocks that make a backbone.
const BLOCK_TENSORS_MIN: usize = 6;

/// Backbones of one dictionary at most; the largest are looked at.
const BACKBONES_MAX: usize = 64;

/// Backbones listed in a message at most.
const LISTED_MAX: usize = 8;

/// A ResNet in a file.
#[derive(Clone, Debug)]
pub(super) struct Candidate<'f> {
    pub(super) dictionary: &'f Dictionary<'f>,
    /// What stands before its names.
    pub(super) prefix: &'f str,
    /// Names in the file, by torchvision's.
    pub(super) names: BTreeMap<String, &'f str>,
    /// Names of layers that no ResNet here has.
    pub(super) unknown: Vec<&'f str>,
    /// Whether stages have numbers in place of names.
    pub(super) is_numbered: bool,
}

/// A backbone, and those that were passed over for it.
#[derive(Debug)]
pub(super) struct Choice<'f> {
    pub(super) chosen: Candidate<'f>,
    /// Lines that say what was passed over, and how to get it.
    pub(super) notices: Vec<String>,
}

impl<'f> Candidate<'f> {
    /// Keys and prefix, joined by dots.
    pub(super) fn location(&self) -> String {
        let keys = self.dictionary.location();
        if keys.is_empty() { self.prefix.to_owned() } else { format!("{keys}.{}", self.prefix) }
    }

    fn role(&self) -> Role {
        role(&self.location())
    }

    /// The flags that choose it.
    pub(super) fn flags(&self) -> String {
        let keys = self.dictionary.location();
        let prefix = format!("--prefix '{}'", shown(self.prefix));
        if keys.is_empty() { prefix } else { format!("--key '{}' {prefix}", shown(&keys)) }
    }

    /// Whether both are the same tensors of the file under two names.
    fn is_same(&self, other: &Self) -> bool {
        self.names.len() == other.names.len()
            && self.names.iter().zip(&other.names).all(|((own, name), (others, others_name))| {
                own == others && self.dictionary.shares(name, other.dictionary, others_name)
            })
    }

    /// Whether `--prefix` means it: the prefix, or keys and prefix, with or without the last dot.
    fn is_meant_by(&self, given: &str) -> bool {
        let dotted = format!("{given}.");
        let location = self.location();
        [self.prefix, &location].into_iter().any(|own| own == given || own == dotted)
    }
}

/// The backbones under `key`.
///
/// # Errors
/// Nothing is under that key.
pub(super) fn candidates<'f>(
    file: &'f TensorFile<'f>,
    key: Option<&str>,
) -> Result<Vec<Candidate<'f>>, String> {
    Ok(file.under(key)?.into_iter().flat_map(in_dictionary).collect())
}

fn in_dictionary<'f>(dictionary: &'f Dictionary<'f>) -> Vec<Candidate<'f>> {
    // Tensors of blocks by prefix and by whether stages are numbered; and the stages' numbers.
    let mut found: BTreeMap<(&str, bool), (usize, BTreeSet<u32>)> = BTreeMap::new();
    for name in dictionary.names() {
        let (prefix, stage, is_numbered) = match Part::of(name) {
            Some(Part::Block { prefix, stage, .. }) => (prefix, stage, false),
            Some(Part::Numbered { prefix, place, .. }) => (prefix, place, true),
            Some(Part::Stem { .. }) | None => continue,
        };
        let (count, stages) = found.entry((prefix, is_numbered)).or_default();
        *count += 1;
        stages.insert(stage);
    }
    let mut found: Vec<_> =
        found.into_iter().filter(|(_, (count, _))| *count >= BLOCK_TENSORS_MIN).collect();
    found.sort_by_key(|(_, (count, _))| std::cmp::Reverse(*count));
    found.truncate(BACKBONES_MAX);
    let prefixes: Vec<&str> = found.iter().map(|((prefix, _), _)| *prefix).collect();
    let build =
        |((prefix, is_numbered), (_, stages)): &((&'f str, bool), (usize, BTreeSet<u32>))| {
            let stages = is_numbered.then_some(stages);
            candidate(dictionary, prefix, stages, &prefixes)
        };
    found.iter().map(build).collect()
}

/// The backbone behind `prefix`; `stages` are the numbers of numbered ones.
fn candidate<'f>(
    dictionary: &'f Dictionary<'f>,
    prefix: &'f str,
    stages: Option<&BTreeSet<u32>>,
    prefixes: &[&str],
) -> Candidate<'f> {
    let mut names = BTreeMap::new();
    let mut unknown = Vec::new();
    let stem = stages.map(|stages| numbered_stem(dictionary, prefix, stages));
    let is_of_another = |name: &str| {
        prefixes.iter().any(|other| {
            other.len() > prefix.len() && other.starts_with(prefix) && name.starts_with(other)
        })
    };
    for name in dictionary.names().filter(|name| name.starts_with(prefix)) {
        let own = match (Part::of(name), stages) {
            (Some(Part::Block { prefix: found, stage, rest }), None) if found == prefix => {
                Some(block_name(stage, rest))
            }
            (Some(Part::Stem { prefix: found, rest }), None) if found == prefix => {
                Some(rest.to_owned())
            }
            (Some(Part::Numbered { prefix: found, place, rest }), Some(stages))
                if found == prefix =>
            {
                let stage = stages.iter().position(|stage| *stage == place);
                stage.map(|stage| block_name(stage as u32 + 1, rest))
            }
            (_, Some(_)) => {
                let rest = name[prefix.len()..].split_once('.');
                let layer = rest.and_then(|(place, leaf)| Some((number(place)?, leaf)));
                let stem = stem.as_ref().expect("numbered stages have a numbered stem");
                layer.and_then(|(place, leaf)| {
                    let (_, layer) = stem.iter().find(|(own, _)| *own == place)?;
                    (!leaf.contains('.')).then(|| format!("{layer}.{leaf}"))
                })
            }
            _ => None,
        };
        match own {
            // Of two names for one tensor the second is not read.
            Some(own) if !names.contains_key(&own) => drop(names.insert(own, name)),
            Some(_) => unknown.push(name),
            None if is_of_another(name) => {}
            None => {
                let first = name[prefix.len()..].split('.').next().unwrap_or("");
                let is_before_a_stage = stages
                    .and_then(|stages| Some(number(first)? < *stages.last()?))
                    .unwrap_or(false);
                if is_layer(first) || is_before_a_stage {
                    unknown.push(name);
                }
            }
        }
    }
    Candidate { dictionary, prefix, names, unknown, is_numbered: stages.is_some() }
}

/// Places of the stem's layers in an `nn.Sequential`, by shape: a convolution, and the batch norm
/// behind it, before the first stage. Which numbers those are depends on whether activation and
/// pool are members too.
fn numbered_stem(
    dictionary: &Dictionary<'_>,
    prefix: &str,
    stages: &BTreeSet<u32>,
) -> Vec<(u32, &'static str)> {
    let first = stages.first().copied().unwrap_or(0);
    let mut stem = Vec::new();
    for place in 0..first {
        let axes = dictionary.shape(&format!("{prefix}{place}.weight")).map(<[usize]>::len);
        match (axes, stem.len()) {
            (Some(4), 0) => stem.push((place, "conv1")),
            (Some(1), 1) => stem.push((place, "bn1")),
            _ => {}
        }
    }
    stem
}

/// Which backbone is meant: the only one, or the one that is trained of those that belong together.
///
/// # Errors
/// None is meant by `prefix`; several could be meant.
pub(super) fn choose<'f>(
    all: Vec<Candidate<'f>>,
    prefix: Option<&str>,
) -> Result<Choice<'f>, String> {
    let mut fit: Vec<Candidate<'f>> = match prefix {
        None => all,
        Some(given) => {
            let meant: Vec<_> = all.iter().filter(|it| it.is_meant_by(given)).cloned().collect();
            let begins = |it: &&Candidate<'f>| {
                it.prefix.starts_with(given) || it.location().starts_with(given)
            };
            let meant =
                if meant.is_empty() { all.iter().filter(begins).cloned().collect() } else { meant };
            if meant.is_empty() && !all.is_empty() {
                let given = shown(given);
                return Err(format!("no backbone has the prefix `{given}`{}", listed(&all)));
            }
            meant
        }
    };
    let mut different: Vec<Candidate<'f>> = Vec::new();
    for candidate in fit {
        if !different.iter().any(|other| other.is_same(&candidate)) {
            different.push(candidate);
        }
    }
    fit = different;
    let has = |wanted: Role| fit.iter().any(|it| it.role() == wanted);
    let wanted = if has(Role::Trained) {
        Role::Trained
    } else if has(Role::Teacher) {
        Role::Teacher
    } else if has(Role::Student) {
        Role::Student
    } else {
        Role::Average
    };
    let (mut wanted, others): (Vec<_>, Vec<_>) =
        fit.into_iter().partition(|it| it.role() == wanted);
    match wanted.len() {
        1 => {
            let chosen = wanted.remove(0);
            let why = |other: &Candidate<'f>| match other.role() {
                Role::Student => "what the teacher is the average of",
                _ => "a moving average",
            };
            let notices = others.iter().take(LISTED_MAX).map(|other| {
                let (location, why, flags) = (other.location(), why(other), other.flags());
                format!("passed over `{}`, {why}: for that, {flags}", shown(&location))
            });
            Ok(Choice { notices: notices.collect(), chosen })
        }
        _ => Err(format!("several backbones{}", listed(&wanted))),
    }
}

/// Flags that choose each backbone, a line each.
fn listed(all: &[Candidate<'_>]) -> String {
    let mut text = "; to choose one:".to_owned();
    for candidate in all.iter().take(LISTED_MAX) {
        let Candidate { dictionary, names, .. } = candidate;
        let stem = names.get("conv1.weight").and_then(|name| dictionary.shape(name));
        let stem = stem.map_or_else(String::new, |shape| format!(", conv1.weight {shape:?}"));
        text += &format!("\n  {}  ({} tensors{stem})", candidate.flags(), names.len());
    }
    if all.len() > LISTED_MAX {
        text += &format!("\n  and {} more", all.len() - LISTED_MAX);
    }
    text
}
