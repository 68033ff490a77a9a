//! Food-101: `meta/train.txt` and `meta/test.txt` name the images, `CLASS/NUMBER`, that lie in
//! `images`.
//!
//! Bossard, Guillaumin, Van Gool (2014).

use std::path::Path;

use super::reader::{Corpus, Format, Listing, Reader, parts, read_text};
use crate::data::item::{Item, Source};
use crate::data::label::Label;
use crate::data::{DataError, Part};

pub(super) const READER: Reader = Reader {
    format: Format::Food101,
    mark: "meta/train.txt, meta/test.txt and images",
    places: &["", "food-101"],
    is_at: |path| path.join("meta/train.txt").is_file() && path.join("images").is_dir(),
    list,
};

fn list(root: &Path, corpus: Corpus) -> Result<Listing, DataError> {
    let mut listing = Listing { classes: class_names(root)?, ..Listing::default() };
    for &part in parts(corpus) {
        let name = if part == Part::Train { "meta/train.txt" } else { "meta/test.txt" };
        let path = root.join(name);
        let text = read_text(&path, "the list of Food-101's images")?;
        for (number, line) in (1..).zip(text.lines().map(str::trim)) {
            if line.is_empty() {
                continue;
            }
            let damaged = |what: &str| DataError::damaged(&path, format!("line {number}: {what}"));
            let (class, _) = line
                .split_once('/')
                .ok_or_else(|| damaged(&format!("found `{line}`, expected CLASS/NUMBER")))?;
            let label = listing.classes.binary_search_by(|known| known.as_str().cmp(class));
            let label =
                label.map_err(|_| damaged(&format!("class `{class}` has no training image")))?;
            let file = root.join("images").join(format!("{line}.jpg"));
            if !file.is_file() {
                return Err(DataError::MissingFile { path: file, what: "an image of Food-101" });
            }
            listing.items.push(Item {
                source: Source::File(file),
                label: Label::Class(label as u32),
                part: Some(part),
            });
        }
    }
    Ok(listing)
}

/// The classes of the training images, in byte order.
fn class_names(root: &Path) -> Result<Vec<String>, DataError> {
    let text = read_text(&root.join("meta/train.txt"), "the list of Food-101's images")?;
    let class = |line: &str| line.trim().split_once('/').map(|(class, _)| class.to_owned());
    let mut classes: Vec<String> = text.lines().filter_map(class).collect();
    classes.sort_unstable();
    classes.dedup();
    Ok(classes)
}
