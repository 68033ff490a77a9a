//! Image folders: which files are images, which class and which part of a split each belongs to.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use super::decode::format_of;
use super::item::{Item, Source};
use super::{DataError, Part};

/// An image file that was found.
#[derive(Debug)]
pub(crate) struct Listed {
    pub(crate) path: PathBuf,
    pub(crate) label: Option<u32>,
    pub(crate) part: Option<Part>,
}

impl From<Listed> for Item {
    fn from(Listed { path, label, part }: Listed) -> Self {
        Self { source: Source::File(path), label: label.into(), part }
    }
}

/// All images below `root` in the byte order of their paths, folders ignored.
pub(crate) fn list_unlabelled(root: &Path) -> Result<Vec<Listed>, DataError> {
    require_folder(root)?;
    let listed = images_below(root)?;
    Ok(listed.into_iter().map(|path| Listed { path, label: None, part: None }).collect())
}

/// Class names in byte order, and the images of `root/<class>/…` or `root/<part>/<class>/…`.
///
/// The second layout is meant where there is a folder `train` and no folder that is not a part.
pub(crate) fn list_labelled(root: &Path) -> Result<(Vec<String>, Vec<Listed>), DataError> {
    let roots: Vec<(PathBuf, Option<Part>)> = match parts(root)? {
        Some(parts) => parts.into_iter().map(|(path, part)| (path, Some(part))).collect(),
        None => vec![(root.to_path_buf(), None)],
    };
    list_classes(root, &roots, |_| true)
}

/// The same of given folders of classes, one of them without part or the training part, and of
/// those classes that `takes` wants.
pub(crate) fn list_classes(
    root: &Path,
    roots: &[(PathBuf, Option<Part>)],
    takes: impl Fn(&str) -> bool,
) -> Result<(Vec<String>, Vec<Listed>), DataError> {
    let classes_of = roots.iter().find(|(_, part)| part.is_none_or(|part| part == Part::Train));
    let classes_of = classes_of.map_or(root, |(path, _)| path.as_path());
    let classes: Vec<String> =
        class_names(classes_of)?.into_iter().filter(|class| takes(class)).collect();

    let mut files = Vec::new();
    for (folder, part) in roots {
        for class in sub_folders(folder)? {
            let name = class_name(&class)?;
            if !takes(name) {
                continue;
            }
            let label = classes.iter().position(|known| known == name).ok_or_else(|| {
                DataError::UnknownClass { path: class.clone(), class: name.into() }
            })?;
            let images = images_below(&class)?;
            if images.is_empty() {
                return Err(DataError::EmptyClass { class: name.into(), path: class });
            }
            let label = u32::try_from(label)
                .map_err(|_| DataError::TooManyItems { name: root.display().to_string() })?;
            files.extend(images.into_iter().map(|path| Listed {
                path,
                label: Some(label),
                part: *part,
            }));
        }
    }
    Ok((classes, files))
}

/// The split folders of `root` where it has a folder `train` and no folder that is not a part.
pub(crate) fn parts(root: &Path) -> Result<Option<Vec<(PathBuf, Part)>>, DataError> {
    require_folder(root)?;
    let folders = sub_folders(root)?;
    let parts: Option<Vec<Part>> = folders.iter().map(|path| part_named(path)).collect();
    let parts = parts.filter(|parts| parts.contains(&Part::Train));
    Ok(parts.map(|parts| folders.into_iter().zip(parts).collect()))
}

fn class_names(folder: &Path) -> Result<Vec<String>, DataError> {
    let folders = sub_folders(folder)?;
    if folders.is_empty() {
        return Err(DataError::NoClasses { path: folder.to_path_buf() });
    }
    folders.iter().map(|path| class_name(path).map(str::to_owned)).collect()
}

fn class_name(path: &Path) -> Result<&str, DataError> {
    path.file_name()
        .and_then(OsStr::to_str)
        .ok_or_else(|| DataError::ClassNameNotUtf8 { path: path.to_path_buf() })
}

fn part_named(path: &Path) -> Option<Part> {
    Part::named(path.file_name()?.to_str()?)
}

pub(crate) fn require_folder(path: &Path) -> Result<(), DataError> {
    match fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => Ok(()),
        Ok(_) => Err(DataError::MissingFolder { path: path.to_path_buf() }),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            Err(DataError::MissingFolder { path: path.to_path_buf() })
        }
        Err(error) => Err(DataError::unreadable(path, &error)),
    }
}

/// Visible entries of a folder; names that start with a dot are somebody else's bookkeeping.
fn entries(folder: &Path) -> Result<Vec<PathBuf>, DataError> {
    let unreadable = |error: std::io::Error| DataError::unreadable(folder, &error);
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder).map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?;
        if !entry.file_name().as_encoded_bytes().starts_with(b".") {
            paths.push(entry.path());
        }
    }
    sort_by_bytes(&mut paths);
    Ok(paths)
}

pub(crate) fn sub_folders(folder: &Path) -> Result<Vec<PathBuf>, DataError> {
    Ok(entries(folder)?.into_iter().filter(|path| path.is_dir()).collect())
}

/// Image files below a folder at any depth, in the byte order of their paths.
///
/// Links to folders are followed, each folder once, so that a link to a parent ends.
fn images_below(folder: &Path) -> Result<Vec<PathBuf>, DataError> {
    let mut visited = HashSet::new();
    let mut pending = vec![folder.to_path_buf()];
    let mut images = Vec::new();
    while let Some(folder) = pending.pop() {
        let identity =
            fs::canonicalize(&folder).map_err(|error| DataError::unreadable(&folder, &error))?;
        if !visited.insert(identity) {
            continue;
        }
        for path in entries(&folder)? {
            if path.is_dir() {
                pending.push(path);
            } else if is_image(&path) {
                images.push(path);
            }
        }
    }
    sort_by_bytes(&mut images);
    Ok(images)
}

/// The order of every listing: it must not depend on the file system or the locale.
fn sort_by_bytes(paths: &mut [PathBuf]) {
    paths.sort_by(|a, b| a.as_os_str().as_encoded_bytes().cmp(b.as_os_str().as_encoded_bytes()));
}

/// A file that says it is an image by its ending, or that is one by its first bytes.
///
/// One with the ending but other content is listed too, so that it is counted as broken and not
/// lost.
fn is_image(path: &Path) -> bool {
    let named = path.extension().and_then(OsStr::to_str).is_some_and(|ending| {
        ["jpg", "jpeg", "png"].iter().any(|known| ending.eq_ignore_ascii_case(known))
    });
    // Asked of regular files only: opening a pipe would wait for its writer.
    named || (path.is_file() && starts_like_image(path))
}

fn starts_like_image(path: &Path) -> bool {
    let mut head = Vec::with_capacity(8);
    File::open(path).and_then(|file| file.take(8).read_to_end(&mut head)).is_ok()
        && format_of(&head).is_some()
}
