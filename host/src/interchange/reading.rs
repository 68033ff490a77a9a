//! What `bissl import` makes of a file, before it reads a value.

use std::collections::{BTreeMap, BTreeSet};

use super::candidates::{Candidate, Choice, candidates, choose};
use super::dialects::{family, programs};
use super::differences::Differences;
use super::recognize::{NetworkHints, recognize};
use crate::network::{BackboneSettings, Stem};
use crate::state_dict::{Dictionary, TensorFile, shown, some};

/// Names listed one by one in a message at most; more are listed by what stands before them.
const SINGLE_MAX: usize = 8;

/// Which backbone of a file is meant.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Wanted<'w> {
    /// The dictionary.
    pub(super) key: Option<&'w str>,
    /// What stands before its names.
    pub(super) prefix: Option<&'w str>,
    /// What its tensors do not tell.
    pub(super) hints: NetworkHints,
}

/// A backbone that fits.
#[derive(Debug)]
pub(super) struct Reading<'f> {
    pub(super) candidate: Candidate<'f>,
    pub(super) settings: BackboneSettings,
    /// A line each: how it was found, and what is left out.
    pub(super) notices: Vec<String>,
}

/// Finds the backbone that is wanted, and compares it with the network that its tensors tell.
///
/// # Errors
/// The file has no such backbone or several; tensors are missing, unknown or misshapen.
pub(super) fn reading<'f>(
    file: &'f TensorFile<'f>,
    wanted: Wanted<'_>,
) -> Result<Reading<'f>, String> {
    let all = candidates(file, wanted.key)?;
    if all.is_empty() {
        return Err(nothing(file));
    }
    let Choice { chosen, notices: passed_over } = choose(all.clone(), wanted.prefix)?;
    let settings = settings(&chosen, wanted.hints)?;
    let mut differences = Differences::between(&chosen, settings);
    if !differences.is_empty() {
        if wanted.hints != NetworkHints::default() {
            let told = fitting(&chosen, NetworkHints::default());
            if let Some(BackboneSettings { architecture, stem, .. }) = told {
                let note = format!("its tensors tell {architecture} with stem {stem}, which fits");
                differences.note(format!("{note}: leave out --architecture and --stem"));
            }
        }
        let mut others = all.iter().filter(|other| other.location() != chosen.location());
        if let Some(other) = others.find(|it| fitting(it, wanted.hints).is_some()) {
            differences.note(format!("another backbone of the file fits: {}", other.flags()));
        }
        let location = chosen.location();
        let whose = match location.as_str() {
            "" => String::new(),
            _ => format!(" under `{}`", shown(&location)),
        };
        let BackboneSettings { architecture, width, stem } = settings;
        let network = format!("{architecture} width {width} stem {stem}");
        return Err(format!("the backbone{whose} does not fit {network}{differences}"));
    }
    let mut notices = about(file, &chosen);
    notices.extend(passed_over);
    notices.extend(left_out(&chosen));
    Ok(Reading { candidate: chosen, settings, notices })
}

/// The network that a backbone's tensors tell, if they fit it.
fn fitting(candidate: &Candidate<'_>, hints: NetworkHints) -> Option<BackboneSettings> {
    let settings = settings(candidate, hints).ok()?;
    Differences::between(candidate, settings).is_empty().then_some(settings)
}

/// The network that a backbone's tensors tell. Where its first convolution does not, the network
/// that is nearest, to be compared with.
fn settings(candidate: &Candidate<'_>, hints: NetworkHints) -> Result<BackboneSettings, String> {
    let shape_of = |name: &str| {
        let name = candidate.names.get(name)?;
        candidate.dictionary.shape(name)
    };
    let recognized = recognize(shape_of, hints).or_else(|reason| {
        let by_norm = shape_of("bn1.weight").and_then(<[usize]>::first);
        let by_block = shape_of("layer1.0.conv1.weight").and_then(|shape| shape.get(1));
        let width = by_norm.or(by_block).copied().filter(|width| *width > 0);
        let kernel = shape_of("conv1.weight").and_then(<[usize]>::last).copied();
        let stem = if kernel == Some(3) { Stem::Small } else { Stem::ImageNet };
        let width = hints.width.or(width).ok_or(reason)?;
        let stem = hints.stem.unwrap_or(stem);
        recognize(shape_of, NetworkHints { width: Some(width), stem: Some(stem), ..hints })
    })?;
    let (architecture, width, stem) = (recognized.architecture, recognized.width, recognized.stem);
    Ok(BackboneSettings { architecture, width, stem })
}

/// How a backbone was found.
fn about(file: &TensorFile<'_>, chosen: &Candidate<'_>) -> Vec<String> {
    let mut notices = Vec::new();
    if let Some(programs) = programs(|part| occurs(file, part)) {
        notices.push(format!("recognised as {programs}'s"));
    }
    let location = chosen.dictionary.location();
    if !location.is_empty() {
        let location = shown(&location);
        notices.push(format!("the state dict is what the file holds under `{location}`"));
    }
    if !chosen.prefix.is_empty() {
        notices.push(format!("names are read without `{}`", shown(chosen.prefix)));
    }
    if chosen.is_numbered {
        let first = |name: &str| chosen.names.get(name).map_or("", |name| *name);
        let (stem, stage) = (first("conv1.weight"), first("layer1.0.conv1.weight"));
        let (stem, stage) = (shown(stem), shown(stage));
        notices.push(format!(
            "layers have the numbers of an nn.Sequential: `{stem}` is read as conv1.weight, \
             `{stage}` as layer1.0.conv1.weight"
        ));
    }
    notices
}

/// Whether a part between dots occurs in a name, or a key.
fn occurs(file: &TensorFile<'_>, part: &str) -> bool {
    let has = |name: &str| name.split('.').any(|found| found == part);
    file.dictionaries().iter().any(|dictionary| {
        dictionary.keys().any(has)
            || dictionary.names().any(has)
            || dictionary.others().any(|(name, _)| has(name))
    })
}

/// What the dictionary of a backbone holds beside it.
fn left_out(chosen: &Candidate<'_>) -> Vec<String> {
    let Candidate { dictionary, prefix, names, .. } = chosen;
    let read: BTreeSet<&str> = names.values().copied().collect();
    let beside: Vec<&str> = dictionary.names().filter(|name| !read.contains(name)).collect();
    let mut notices = Vec::new();
    if beside.len() > SINGLE_MAX {
        let mut groups: BTreeMap<&str, usize> = BTreeMap::new();
        for name in &beside {
            *groups.entry(group(name, prefix)).or_default() += 1;
        }
        let groups = some(groups.iter().map(|(name, count)| format!("{name} ({count} tensors)")));
        notices.push(format!("left out, beside the backbone: {groups}"));
    } else if !beside.is_empty() {
        notices.push(format!("left out, beside the backbone: {}", some(beside)));
    }
    let others = some(dictionary.others().map(|(name, class)| named(name, class)));
    if !others.is_empty() {
        notices.push(format!("left out, as they are no tensors: {others}"));
    }
    notices
}

fn named(name: &str, class: Option<String>) -> String {
    class.map_or_else(|| name.to_owned(), |class| format!("{name} ({class})"))
}

/// A name as far as it goes with `prefix`, and one part more.
fn group<'n>(name: &'n str, prefix: &str) -> &'n str {
    let same = name.bytes().zip(prefix.bytes()).take_while(|(own, other)| own == other).count();
    let common = name.as_bytes()[..same].iter().rposition(|byte| *byte == b'.');
    let common = common.map_or(0, |dot| dot + 1);
    let end = name[common..].find('.').map_or(name.len(), |dot| common + dot);
    &name[..end]
}

/// The message for a file without a ResNet.
fn nothing(file: &TensorFile<'_>) -> String {
    let count: usize = file.dictionaries().iter().map(|found| found.names().count()).sum();
    let largest = file.dictionaries().iter().max_by_key(|found| found.names().count());
    let names = some(largest.into_iter().flat_map(Dictionary::names));
    let mut text = format!(
        "no ResNet in it, expected names such as conv1.weight and layer1.0.conv1.weight behind \
         any prefix; found {count} tensors"
    );
    if count > 0 {
        text += &format!(": {names}");
    }
    if let Some(family) = family(|part| occurs(file, part)) {
        text += &format!("\n  note: this seems to be {family}, which bissl does not build");
    }
    if let Some(root) = file.dictionaries().first() {
        let others = some(root.others().map(|(name, class)| named(name, class)));
        if !others.is_empty() {
            text += &format!("\n  beside them: {others}");
        }
        // A module that was saved whole has its class's name.
        if root.others().any(|(_, class)| class.is_some_and(|class| is_module(&class))) {
            text += "\n  note: of a whole module nothing is read; save its `state_dict()`";
        }
    }
    text
}

/// Whether a class is that of a network, by its name.
fn is_module(class: &str) -> bool {
    let last = class.rsplit('.').next().unwrap_or("");
    ["Net", "Module", "DataParallel", "Model", "Sequential"].iter().any(|it| last.contains(it))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_grouped_where_they_leave_the_prefix() {
        for (name, prefix, expected) in [
            ("module.encoder_k.conv1.weight", "module.encoder_q.", "module.encoder_k"),
            ("module.queue", "module.encoder_q.", "module.queue"),
            ("module.encoder_q.fc.0.weight", "module.encoder_q.", "module.encoder_q.fc"),
            ("fc.weight", "", "fc"),
            ("queue", "module.", "queue"),
        ] {
            assert_eq!(group(name, prefix), expected);
        }
    }
}
