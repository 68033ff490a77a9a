//! Each format on a few images in its true bytes, and on damaged ones.

mod cifar;
mod detection;
mod idx;
mod lists;
mod stl10;

use std::fs;
use std::io::Cursor;
use std::path::Path;

use image::{ImageFormat, Rgb, RgbImage};

use super::{Corpus, Format};
use crate::data::{DataError, Dataset, Part};

/// Writes a file, with the folders above it.
fn put(root: &Path, name: &str, bytes: &[u8]) {
    let path = root.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}

fn jpeg(seed: u8) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    RgbImage::from_pixel(9, 7, Rgb([seed, 7, 9])).write_to(&mut bytes, ImageFormat::Jpeg).unwrap();
    bytes.into_inner()
}

fn open(root: &Path, corpus: Corpus) -> Dataset {
    Dataset::open(root, Format::Auto, corpus).unwrap()
}

/// The refusal, after the quoted path that it begins with; that path, relative to the root.
fn refusal(root: &Path, corpus: Corpus) -> (String, String) {
    let error = Dataset::open(root, Format::Auto, corpus).unwrap_err();
    let path = match &error {
        DataError::MissingFile { path, .. }
        | DataError::Damaged { path, .. }
        | DataError::UnknownFormat { path, .. }
        | DataError::AmbiguousFormat { path, .. }
        | DataError::UnknownClass { path, .. }
        | DataError::MissingFolder { path }
        | DataError::NoClasses { path } => path.clone(),
        other => panic!("{other}"),
    };
    let text = error.to_string();
    let begin = format!("{path:?}: ");
    let rest = text.strip_prefix(&begin).unwrap_or_else(|| panic!("{text}")).to_owned();
    (path.strip_prefix(root).unwrap_or(&path).to_string_lossy().into_owned(), rest)
}

/// Refused at `file` for a reason that contains `reason`.
fn refused(root: &Path, file: &str, reason: &str) {
    let (path, found) = refusal(root, Corpus::Downstream);
    assert!(path == file && found.contains(reason), "{path}: {found}; expected {file}: {reason}");
}

fn labels(set: &Dataset) -> Vec<u32> {
    set.labels(&set.all_items()).unwrap()
}

fn in_part(set: &Dataset, part: Option<Part>) -> usize {
    set.all_items().iter().filter(|&&item| set.part(item) == part).count()
}

/// Every cut of a file is refused by name or leaves a smaller valid set, and none panics; the file
/// is left whole. Returns how many cuts were refused.
fn cut_everywhere(root: &Path, name: &str, step: usize) -> usize {
    let whole = fs::read(root.join(name)).unwrap();
    let mut refusals = 0;
    for length in (0..whole.len()).step_by(step) {
        put(root, name, &whole[..length]);
        refusals += usize::from(Dataset::open(root, Format::Auto, Corpus::Downstream).is_err());
    }
    put(root, name, &whole);
    refusals
}
