//! Folders that are parts of a split: recognised by their names, or refused where classes may be
//! meant as well.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::listing::{require_folder, sub_folders};
use super::{DataError, Part};

/// What a folder's images are listed for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// Folders are labels.
    Labels,
    /// Folders are nothing, but those of a test part must be left out.
    Corpus,
}

/// The part that a folder's name says, in any case, and what is left of the name.
///
/// `train`, `training`, `val`, `valid`, `validation`, `dev`, `test`, `testing` are parts;
/// `seg_test` is one where the others are called `seg_…` as well.
fn named(path: &Path) -> Option<(Part, String)> {
    let name = path.file_name()?.to_str()?.to_lowercase();
    let word = |word: &str| match word {
        "training" => Some(Part::Train),
        "dev" => Some(Part::Validation),
        "testing" => Some(Part::Test),
        word => Part::named(word),
    };
    let words: Vec<&str> = name.split(['_', '-', ' ', '.']).collect();
    let (last, others) = words.split_last()?;
    match (word(words[0]), word(last)) {
        (Some(part), _) => Some((part, words[1..].join("_"))),
        (None, Some(part)) => Some((part, others.join("_"))),
        (None, None) => None,
    }
}

/// The split folders of `root`; `None` where its folders are classes, or nothing.
///
/// # Errors
/// Folders that may be either: some named like parts beside others, or all with the same
/// sub-folders.
pub(crate) fn parts(
    root: &Path,
    purpose: Purpose,
) -> Result<Option<Vec<(PathBuf, Part)>>, DataError> {
    require_folder(root)?;
    let folders = sub_folders(root)?;
    let named: Vec<Option<(Part, String)>> = folders.iter().map(|path| named(path)).collect();
    let like_parts: Vec<&(Part, String)> = named.iter().flatten().collect();
    let stems: BTreeSet<&str> = like_parts.iter().map(|(_, stem)| stem.as_str()).collect();
    let has = |part| like_parts.iter().any(|(found, _)| *found == part);
    let all_named = like_parts.len() == folders.len() && stems.len() == 1 && has(Part::Train);
    // A name with a stem may be a class's: `train_station`.
    let is_plain = stems.iter().all(|stem| stem.is_empty());
    let nested = |path: &PathBuf| sub_folders(path).map(|below| !below.is_empty());
    if all_named && (is_plain || folders.len() > 1 && all(&folders, nested)?) {
        let parts = folders.into_iter().zip(named).filter_map(|(path, named)| {
            let (part, _) = named?;
            Some((unpacked(path), part))
        });
        return Ok(Some(parts.collect()));
    }
    let plain = folders.iter().zip(&named).filter_map(|(path, named)| {
        named.as_ref().is_some_and(|(_, stem)| stem.is_empty()).then_some(path)
    });
    let is_split = has(Part::Train) && (has(Part::Test) || has(Part::Validation)) && is_plain;
    // Flat folders hold images themselves: as parts they would have no classes.
    let refused = any(plain, nested)? || (purpose == Purpose::Corpus && is_split);
    if refused {
        let parts: Vec<&PathBuf> = folders
            .iter()
            .zip(&named)
            .filter_map(|(path, named)| named.as_ref().map(|_| path))
            .collect();
        let others: Vec<&PathBuf> = folders.iter().filter(|path| !parts.contains(path)).collect();
        let mut as_parts = format!("parts ({})", words(&parts));
        if !others.is_empty() {
            as_parts += &format!(" beside something else ({})", words(&others));
        }
        return Err(DataError::AmbiguousFolders {
            path: root.into(),
            one: as_parts,
            other: format!("classes ({})", words(&folders.iter().collect::<Vec<_>>())),
            cure: "leave only `train`, `val` and `test` there, or rename the folders that are \
                   classes, or name every image's class and part in a split file",
        });
    }
    Ok(None)
}

/// Refuses classes that all have the same sub-folders: those may be parts, or parts of classes.
///
/// # Errors
/// There are at least two folders, with at least two sub-folders each, and all the same.
pub(super) fn require_classes(root: &Path) -> Result<(), DataError> {
    let folders = sub_folders(root)?;
    let mut same: Option<BTreeSet<PathBuf>> = None;
    for folder in &folders {
        let names: BTreeSet<PathBuf> = sub_folders(folder)?
            .iter()
            .filter_map(|path| path.file_name().map(PathBuf::from))
            .collect();
        if names.len() < 2 || same.as_ref().is_some_and(|same| *same != names) {
            return Ok(());
        }
        same = Some(names);
    }
    let Some(inner) = same.filter(|_| folders.len() > 1) else { return Ok(()) };
    let (outer, inner) = (folders.iter().collect::<Vec<_>>(), inner.iter().collect::<Vec<_>>());
    let inner_are_parts = inner.iter().all(|path| named(path).is_some());
    let (inside, outside) =
        if inner_are_parts { ("parts", "classes") } else { ("classes", "parts") };
    Err(DataError::AmbiguousFolders {
        path: root.into(),
        one: format!("{outside} ({}) of {inside} ({})", words(&outer), words(&inner)),
        other: format!("classes ({}), whose sub-folders mean nothing", words(&outer)),
        cure: "name the outer folders `train`, `val` and `test` if they are parts, put the images \
               of each class into one folder, or name every image's class and part in a split file",
    })
}

/// A part that was unpacked into a folder of its own name: `seg_train/seg_train/…`.
fn unpacked(path: PathBuf) -> PathBuf {
    match sub_folders(&path).as_deref() {
        Ok([only]) if only.file_name() == path.file_name() => only.clone(),
        _ => path,
    }
}

fn all(
    paths: &[PathBuf],
    holds: impl Fn(&PathBuf) -> Result<bool, DataError>,
) -> Result<bool, DataError> {
    for path in paths {
        if !holds(path)? {
            return Ok(false);
        }
    }
    Ok(true)
}

fn any<'a>(
    paths: impl Iterator<Item = &'a PathBuf>,
    holds: impl Fn(&PathBuf) -> Result<bool, DataError>,
) -> Result<bool, DataError> {
    for path in paths {
        if holds(path)? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The first few names.
fn words(paths: &[&PathBuf]) -> String {
    const SHOWN: usize = 6;
    let name = |path: &&PathBuf| {
        path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
    };
    let mut names: Vec<String> = paths.iter().take(SHOWN).map(name).collect();
    if paths.len() > SHOWN {
        names.push("…".into());
    }
    names.join(", ")
}
