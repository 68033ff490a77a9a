//! Image folders: which files are images, which class and which part of a split each belongs to.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use image::ImageFormat;

use super::decode::{HEAD, format_of};
use super::item::{Item, Source};
use super::listing::{entries, require_folder, sort_by_bytes, sub_folders};
use super::overlooked::{Overlooked, unread_ending};
use super::parts::{Purpose, parts, require_classes};
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
pub(crate) fn list_unlabelled(
    root: &Path,
    overlooked: &mut Overlooked,
) -> Result<Vec<Listed>, DataError> {
    require_folder(root)?;
    let listed = images_below(root, overlooked)?;
    if listed.is_empty() {
        refuse_unread(root, overlooked)?;
    }
    Ok(listed.into_iter().map(|path| Listed { path, label: None, part: None }).collect())
}

/// Class names in byte order, and the images of `root/<class>/…` or `root/<part>/<class>/…`.
///
/// The second layout is meant where all folders are named like parts.
pub(crate) fn list_labelled(
    root: &Path,
    overlooked: &mut Overlooked,
) -> Result<(Vec<String>, Vec<Listed>), DataError> {
    let roots: Vec<(PathBuf, Option<Part>)> = match parts(root, Purpose::Labels)? {
        Some(parts) => {
            note_beside(root, overlooked)?;
            parts.into_iter().map(|(path, part)| (path, Some(part))).collect()
        }
        None => vec![(root.to_path_buf(), None)],
    };
    for (folder, _) in &roots {
        require_classes(folder)?;
    }
    list_classes(root, &roots, |_| true, overlooked)
}

/// The same of given folders of classes, one of them without part or the training part, and of
/// those classes that `takes` wants.
pub(crate) fn list_classes(
    root: &Path,
    roots: &[(PathBuf, Option<Part>)],
    takes: impl Fn(&str) -> bool,
    overlooked: &mut Overlooked,
) -> Result<(Vec<String>, Vec<Listed>), DataError> {
    let classes_of = roots.iter().find(|(_, part)| part.is_none_or(|part| part == Part::Train));
    let classes_of = classes_of.map_or(root, |(path, _)| path.as_path());
    let classes: Vec<String> =
        class_names(classes_of)?.into_iter().filter(|class| takes(class)).collect();

    overlooked.note_classes(&classes);
    let mut files = Vec::new();
    for (folder, part) in roots {
        note_beside(folder, overlooked)?;
        for class in sub_folders(folder)? {
            let name = class_name(&class)?;
            if !takes(name) {
                continue;
            }
            let label = classes.iter().position(|known| known == name).ok_or_else(|| {
                DataError::UnknownClass { path: class.clone(), class: name.into() }
            })?;
            let mut of_class = Overlooked::default();
            let images = images_below(&class, &mut of_class)?;
            if images.is_empty() {
                refuse_unread(&class, &of_class)?;
                return Err(DataError::EmptyClass { class: name.into(), path: class });
            }
            overlooked.add(of_class);
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

/// Notes the images that lie in a folder of classes or parts itself.
fn note_beside(folder: &Path, overlooked: &mut Overlooked) -> Result<(), DataError> {
    for path in entries(folder)? {
        match kind(&path) {
            Kind::Folder => {}
            Kind::Special => overlooked.note_special(&path),
            Kind::Image => overlooked.note_beside(&path),
            Kind::Other => overlooked.note_unread(&path),
        }
    }
    Ok(())
}

/// Says of a folder without images which files it has instead.
fn refuse_unread(folder: &Path, overlooked: &Overlooked) -> Result<(), DataError> {
    match overlooked.lines() {
        lines if lines.is_empty() => Ok(()),
        lines => Err(DataError::NothingRead { path: folder.into(), found: lines }),
    }
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

/// Image files below a folder at any depth, in the byte order of their paths.
///
/// Links to folders are followed, each folder once, so that a link to a parent ends.
fn images_below(folder: &Path, overlooked: &mut Overlooked) -> Result<Vec<PathBuf>, DataError> {
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
            match kind(&path) {
                Kind::Folder => pending.push(path),
                Kind::Special => overlooked.note_special(&path),
                Kind::Image => images.push(path),
                Kind::Other => overlooked.note_unread(&path),
            }
        }
    }
    sort_by_bytes(&mut images);
    Ok(images)
}

/// What an entry of a folder is, links followed.
enum Kind {
    Folder,
    /// Named like an image, but a pipe, socket or device: opening it could wait for ever.
    Special,
    Image,
    Other,
}

/// An image says that it is one by its ending, or is one by its first bytes.
///
/// One with the ending but other content counts, too, so that it is counted as broken and not lost.
fn kind(path: &Path) -> Kind {
    let named = path.extension().and_then(OsStr::to_str).is_some_and(|ending| {
        ["jpg", "jpeg", "jpe", "jfif", "png", "webp", "bmp", "dib", "tif", "tiff", "gif"]
            .iter()
            .any(|known| ending.eq_ignore_ascii_case(known))
    });
    match fs::metadata(path) {
        Ok(metadata) if metadata.is_dir() => Kind::Folder,
        Ok(metadata) if !metadata.is_file() => {
            if named || unread_ending(path).is_some() {
                Kind::Special
            } else {
                Kind::Other
            }
        }
        // A link to nothing is a broken image.
        Err(_) if named => Kind::Image,
        Err(_) => Kind::Other,
        Ok(_) if named || starts_like_image(path) => Kind::Image,
        Ok(_) => Kind::Other,
    }
}

fn starts_like_image(path: &Path) -> bool {
    let mut head = Vec::with_capacity(HEAD);
    if File::open(path).and_then(|file| file.take(HEAD as u64).read_to_end(&mut head)).is_err() {
        return false;
    }
    match format_of(&head) {
        // Raw files of many cameras begin like a TIFF, and hold a small picture first.
        Some(ImageFormat::Tiff) => unread_ending(path).is_none(),
        format => format.is_some(),
    }
}
