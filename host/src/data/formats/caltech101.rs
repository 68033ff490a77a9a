//! Caltech-101: one folder a class, without the folder of background pictures, which is no class.
//!
//! Fei-Fei, Fergus, Perona (2004). `Faces` and `Faces_easy` both stay, so that 101 classes are
//! left. There is no official split.

use std::path::Path;

use super::reader::{Corpus, Format, Listing, Reader};
use crate::data::DataError;
use crate::data::folder;
use crate::data::item::Item;
use crate::data::overlooked::Overlooked;

const BACKGROUND: &str = "BACKGROUND_Google";

pub(super) const READER: Reader = Reader {
    format: Format::Caltech101,
    mark: "the class folders of 101_ObjectCategories, among them Faces_easy and Leopards",
    places: &[
        "",
        "101_ObjectCategories",
        "caltech101/101_ObjectCategories",
        "caltech-101/101_ObjectCategories",
    ],
    is_at: |path| ["Faces_easy", "Leopards"].iter().all(|class| path.join(class).is_dir()),
    list: |root: &Path, _: Corpus| -> Result<Listing, DataError> {
        let roots = [(root.to_path_buf(), None)];
        let mut overlooked = Overlooked::default();
        let takes = |class: &str| class != BACKGROUND;
        let (classes, files) = folder::list_classes(root, &roots, takes, &mut overlooked)?;
        let items = files.into_iter().map(Item::from).collect();
        Ok(Listing { classes, items, overlooked })
    },
};
