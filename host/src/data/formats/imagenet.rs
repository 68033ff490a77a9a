//! ImageNet: `train/nXXXXXXXX/*.JPEG` and `val/nXXXXXXXX/*.JPEG`; the official validation images
//! are those to report on, because the labels of the test images are not public.
//!
//! Russakovsky et al. (2015).

use std::path::Path;

use super::reader::{Corpus, Format, Listing, Reader};
use crate::data::item::Item;
use crate::data::overlooked::Overlooked;
use crate::data::{DataError, Part, folder, listing};

pub(super) const READER: Reader = Reader {
    format: Format::Imagenet,
    mark: "train/nXXXXXXXX and val/nXXXXXXXX",
    places: &["", "ILSVRC/Data/CLS-LOC"],
    is_at: |path| {
        let classes = listing::sub_folders(&path.join("train")).unwrap_or_default();
        !classes.is_empty() && classes.iter().all(|class| is_synset(class))
    },
    list,
};

/// Whether a folder is named by a WordNet synset: `n` and eight digits.
fn is_synset(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or("");
    let digits = name.strip_prefix('n').unwrap_or("");
    digits.len() == 8 && digits.bytes().all(|byte| byte.is_ascii_digit())
}

fn list(root: &Path, corpus: Corpus) -> Result<Listing, DataError> {
    let mut overlooked = Overlooked::default();
    if corpus == Corpus::Pretext {
        let files = folder::list_unlabelled(&root.join("train"), &mut overlooked)?;
        let items = files.into_iter().map(Item::from).collect();
        return Ok(Listing { classes: Vec::new(), items, overlooked });
    }
    let (train, val) = (root.join("train"), root.join("val"));
    listing::require_folder(&val)?;
    if listing::sub_folders(&val)?.is_empty() {
        return Err(DataError::NoClasses { path: val });
    }
    let roots = [(train, Some(Part::Train)), (val, Some(Part::Test))];
    let (classes, files) = folder::list_classes(root, &roots, |_| true, &mut overlooked)?;
    let items = files.into_iter().map(Item::from).collect();
    Ok(Listing { classes, items, overlooked })
}
