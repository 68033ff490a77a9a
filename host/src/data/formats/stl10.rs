//! STL-10, binary version: 3 · 96 · 96 pixels an image, red plane first, each plane column by
//! column; labels in files of their own, from 1 on; 100 000 unlabelled images, which are never read
//! as a whole.
//!
//! Coates, Ng, Lee (2011); <https://cs.stanford.edu/~acoates/stl10>.

use std::path::Path;
use std::sync::Arc;

use super::names::class_names;
use super::reader::{Corpus, Format, Listing, Reader};
use crate::data::item::{Item, Source};
use crate::data::label::Label;
use crate::data::raw::{Bytes, Layout, Order, RawImages};
use crate::data::{DataError, Part};

const SIDE: u32 = 96;
const IMAGE_LEN: usize = 3 * 96 * 96;
const CLASSES: u32 = 10;
const UNLABELLED: &str = "unlabeled_X.bin";

pub(super) const READER: Reader = Reader {
    format: Format::Stl10,
    mark: "unlabeled_X.bin, train_X.bin, train_y.bin, test_X.bin, test_y.bin",
    places: &["", "stl10_binary"],
    is_at: |path| {
        [UNLABELLED, "train_X.bin", "test_X.bin"].iter().any(|name| path.join(name).is_file())
    },
    list,
};

fn list(root: &Path, corpus: Corpus) -> Result<Listing, DataError> {
    let has_unlabelled = root.join(UNLABELLED).is_file();
    let has_labelled = root.join("train_X.bin").is_file() || root.join("test_X.bin").is_file();
    let (unlabelled, labelled) = match corpus {
        Corpus::Pretext => (has_unlabelled, !has_unlabelled),
        Corpus::Downstream => (false, true),
        Corpus::All => (has_unlabelled, has_labelled),
    };
    let mut listing = Listing::default();
    if labelled {
        listing.classes = class_names(&root.join("class_names.txt"), CLASSES, 1)?;
        for (part, images, labels) in
            [(Part::Train, "train_X.bin", "train_y.bin"), (Part::Test, "test_X.bin", "test_y.bin")]
        {
            let images = open(&root.join(images))?;
            let labels = read_labels(&root.join(labels), images.len())?;
            listing.extend_raw(images, &labels, part);
        }
    }
    if unlabelled {
        let images = Arc::new(open(&root.join(UNLABELLED))?);
        listing.items.extend((0..images.len()).map(|index| Item {
            source: Source::Raw { images: Arc::clone(&images), index },
            label: Label::Unlabelled,
            part: None,
        }));
    }
    Ok(listing)
}

fn open(path: &Path) -> Result<RawImages, DataError> {
    let bytes = Bytes::map(path, "the images of STL-10")?;
    let count = u32::try_from(bytes.len() / IMAGE_LEN).ok();
    let (Some(count @ 1..), true) = (count, bytes.len().is_multiple_of(IMAGE_LEN)) else {
        let found = bytes.len();
        let reason = format!("found {found} bytes, expected a multiple of {IMAGE_LEN}");
        return Err(DataError::damaged(path, reason));
    };
    let (width, height, order) = (SIDE, SIDE, Order::PlanesByColumn);
    let layout = Layout { width, height, order, first: 0, stride: IMAGE_LEN, count };
    RawImages::new(path, bytes, layout)
}

/// One label an image, counted from 0.
fn read_labels(path: &Path, images: u32) -> Result<Vec<u32>, DataError> {
    let bytes = Bytes::map(path, "the labels of STL-10")?;
    if bytes.len() != images as usize {
        let found = bytes.len();
        let reason = format!("found {found} labels, expected one for each of {images} images");
        return Err(DataError::damaged(path, reason));
    }
    let label = |(image, &label): (usize, &u8)| match u32::from(label) {
        label @ 1..=CLASSES => Ok(label - 1),
        found => {
            let reason = format!("found label {found} of image {image}, expected 1 to {CLASSES}");
            Err(DataError::damaged(path, reason))
        }
    };
    bytes.iter().enumerate().map(label).collect()
}
