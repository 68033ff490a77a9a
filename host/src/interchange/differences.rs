//! Where a file's backbone differs from the network that it should be.

use std::collections::BTreeSet;
use std::fmt;

use super::candidates::Candidate;
use super::dialects::other_resnet;
use crate::network::{BackboneSettings, ParameterTable, backbone};
use crate::state_dict::shown;

/// Rows of one kind in a message at most.
const ROWS_MAX: usize = 8;

/// Names that a missing one is compared with at most.
const COMPARED_MAX: usize = 500;

/// Bytes of a name that are compared.
const NAME_COMPARED_MAX: usize = 80;

/// What keeps a backbone from being read.
#[derive(Debug, Default)]
pub(super) struct Differences {
    missing: Vec<Missing>,
    /// Names in the file, and shapes.
    unknown: Vec<(String, Vec<usize>)>,
    misshapen: Vec<Misshapen>,
    /// Names in the file, and types of elements.
    no_floats: Vec<(String, String)>,
    notes: Vec<String>,
}

#[derive(Debug)]
struct Missing {
    name: String,
    shape: Vec<usize>,
    /// The most similar of the unknown names.
    nearest: Option<String>,
}

#[derive(Debug)]
struct Misshapen {
    name: String,
    found: Vec<usize>,
    expected: Vec<usize>,
}

impl Differences {
    /// Compares names and shapes with those of a network.
    pub(super) fn between(candidate: &Candidate<'_>, settings: BackboneSettings) -> Self {
        let Candidate { dictionary, names, .. } = candidate;
        let network = backbone(settings);
        let mut left = names.clone();
        let mut found = Self::default();
        let tables: [&ParameterTable; 2] = [network.parameters(), network.statistics()];
        for segment in tables.into_iter().flat_map(ParameterTable::segments) {
            let Some(name) = left.remove(&segment.name) else {
                let (name, shape) = (segment.name.clone(), segment.shape.clone());
                found.missing.push(Missing { name, shape, nearest: None });
                continue;
            };
            let shape = dictionary.shape(name).unwrap_or_default();
            if dictionary.is_no_float(name) {
                let element = dictionary.element(name).unwrap_or_default();
                found.no_floats.push((name.to_owned(), element));
            } else if shape != segment.shape {
                let (found_shape, expected) = (shape.to_vec(), segment.shape.clone());
                let name = name.to_owned();
                found.misshapen.push(Misshapen { name, found: found_shape, expected });
            }
        }
        let counters = |name: &&str| !name.ends_with("num_batches_tracked");
        let unknown = candidate.unknown.iter().copied().chain(left.into_values());
        found.unknown = unknown
            .filter(counters)
            .map(|name| (name.to_owned(), dictionary.shape(name).unwrap_or_default().to_vec()))
            .collect();
        if !found.is_empty() {
            found.find_nearest(candidate);
            found.notes = notes(candidate, &found);
        }
        found
    }

    /// Whether the backbone can be read.
    pub(super) fn is_empty(&self) -> bool {
        let Self { missing, unknown, misshapen, no_floats, notes: _ } = self;
        missing.is_empty() && unknown.is_empty() && misshapen.is_empty() && no_floats.is_empty()
    }

    /// Says what might help.
    pub(super) fn note(&mut self, note: String) {
        self.notes.push(note);
    }

    fn find_nearest(&mut self, candidate: &Candidate<'_>) {
        // What is beside the backbone may have been meant, too.
        let read: BTreeSet<&str> = candidate.names.values().copied().collect();
        let dictionary = candidate.dictionary;
        let own = |name: &str| name.strip_prefix(candidate.prefix).unwrap_or(name).to_owned();
        let beside = dictionary.names().filter(|name| !read.contains(name));
        let unknown = self.unknown.iter().map(|(name, _)| name.as_str());
        let mut others: Vec<(String, String, &[usize])> = unknown
            .take(COMPARED_MAX)
            .chain(beside.take(COMPARED_MAX))
            .map(|name| (name.to_owned(), own(name), dictionary.shape(name).unwrap_or_default()))
            .collect();
        others.extend(dictionary.others().take(COMPARED_MAX).map(|(name, class)| {
            let class = class.map_or_else(String::new, |class| format!(" ({class})"));
            (format!("{name}{class}"), own(name), [].as_slice())
        }));
        for missing in self.missing.iter_mut().take(ROWS_MAX) {
            let near = others.iter().filter_map(|(name, own, shape)| {
                let steps = distance(&missing.name, own);
                let is_near = steps <= missing.name.len() / 3;
                is_near.then_some((steps, *shape != missing.shape, name))
            });
            missing.nearest = near.min().map(|(_, _, name)| name.clone());
        }
    }
}

/// Single characters to be put in, taken out or changed.
fn distance(one: &str, other: &str) -> usize {
    let bytes = |text: &str| text.as_bytes()[..text.len().min(NAME_COMPARED_MAX)].to_vec();
    let (one, other) = (bytes(one), bytes(other));
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (i, a) in one.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, b) in other.iter().enumerate() {
            let changed = diagonal + usize::from(a != b);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[other.len()]
}

/// What the differences have in common.
fn notes(candidate: &Candidate<'_>, found: &Differences) -> Vec<String> {
    let shape = |name: &str| {
        let name = candidate.names.get(name)?;
        candidate.dictionary.shape(name)
    };
    let mut notes = Vec::new();
    let is_bottleneck = candidate.names.contains_key("layer1.0.conv3.weight");
    let blocks: Vec<usize> = (1..=4)
        .map(|stage| {
            let has = |block: &usize| {
                candidate.names.contains_key(&format!("layer{stage}.{block}.conv1.weight"))
            };
            (0..200).take_while(has).count()
        })
        .take_while(|blocks| *blocks > 0)
        .collect();
    if let Some(name) = other_resnet(&blocks, is_bottleneck) {
        notes.push(format!("its blocks are those of a {name}, which bissl does not build"));
    }
    if let (true, Some([inner, width, ..]), Some([_, grouped, ..])) =
        (is_bottleneck, shape("layer1.0.conv1.weight"), shape("layer1.0.conv2.weight"))
    {
        if grouped != inner {
            notes.push("its convolutions have groups (ResNeXt), which bissl does not build".into());
        } else if inner != width {
            notes.push("its bottlenecks are wide (Wide ResNet), which bissl does not build".into());
        }
    }
    let is_deep = |(name, _): &(String, Vec<usize>)| {
        let own = name.strip_prefix(candidate.prefix).unwrap_or(name);
        own.starts_with("conv1.") || own.starts_with("stem") || own == "conv2.weight"
    };
    if found.unknown.iter().any(is_deep) {
        let note = "its stem has several convolutions (ResNet-C, ResNet-D, CLIP), and bissl's one";
        notes.push(note.to_owned());
    }
    if let Some([_, channels, _, _]) = shape("conv1.weight")
        && *channels != 3
    {
        notes.push(format!("it takes images of {channels} channels, and bissl's networks of 3"));
    }
    let missing = &found.missing;
    if !missing.is_empty() && missing.iter().all(|it| it.name.contains(".running_")) {
        let note = "it has no running statistics: group norm, or batch norm without them";
        notes.push(note.to_owned());
    }
    notes
}

impl fmt::Display for Differences {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let missing = self.missing.iter().map(|Missing { name, shape, nearest }| {
            let nearest = nearest.as_deref().map(|name| format!("nearest: {}", shown(name)));
            (name.clone(), format!("{shape:?}"), nearest.unwrap_or_default())
        });
        let misshapen = self.misshapen.iter().map(|Misshapen { name, found, expected }| {
            (shown(name), format!("found {found:?}"), format!("expected {expected:?}"))
        });
        let unknown = self.unknown.iter();
        let unknown = unknown.map(|(name, shape)| (shown(name), format!("{shape:?}"), "".into()));
        let others = self.no_floats.iter();
        let others = others.map(|(name, element)| {
            (shown(name), format!("found {element}"), "expected floats".to_owned())
        });
        table(f, "missing", missing.collect())?;
        table(f, "of another shape", misshapen.collect())?;
        table(f, "unknown", unknown.collect())?;
        table(f, "of another type", others.collect())?;
        for note in &self.notes {
            write!(f, "\n  note: {note}")?;
        }
        Ok(())
    }
}

/// Aligned rows below their number, the first few.
fn table(
    f: &mut fmt::Formatter<'_>,
    what: &str,
    rows: Vec<(String, String, String)>,
) -> fmt::Result {
    if rows.is_empty() {
        return Ok(());
    }
    let tensors = if rows.len() == 1 { "tensor" } else { "tensors" };
    write!(f, "\n  {} {tensors} {what}:", rows.len())?;
    let shown = &rows[..rows.len().min(ROWS_MAX)];
    let widest = |width: fn(&(String, String, String)) -> usize| {
        shown.iter().map(width).max().unwrap_or_default()
    };
    let first = widest(|row| row.0.chars().count());
    let second = widest(|row| row.1.chars().count());
    for (name, middle, last) in shown {
        let row = format!("{name:<first$}  {middle:<second$}  {last}");
        write!(f, "\n    {}", row.trim_end())?;
    }
    if rows.len() > ROWS_MAX {
        write!(f, "\n    and {} more", rows.len() - ROWS_MAX)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances_count_single_characters() {
        for (one, other, expected) in
            [("", "", 0), ("bn1", "", 3), ("bn1.weight", "bn1.weigth", 2), ("conv1", "conv2", 1)]
        {
            assert_eq!(distance(one, other), expected, "{one} {other}");
            assert_eq!(distance(other, one), expected, "{one} {other}");
        }
    }
}
