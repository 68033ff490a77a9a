//! CIFAR-10 and CIFAR-100, binary version: records of one or two label bytes and 3 · 32 · 32
//! pixels, red plane first, each plane row by row.
//!
//! <https://www.cs.toronto.edu/~kriz/cifar.html>. CIFAR-100's first byte is one of 20 coarse
//! classes and is passed over.

use std::path::Path;

use super::names::class_names;
use super::reader::{Corpus, Format, Listing, Reader, parts};
use crate::data::raw::{Bytes, Layout, Order, RawImages};
use crate::data::{DataError, Part};

/// Pixels a side.
pub(super) const SIDE: u32 = 32;

/// Bytes of one image.
pub(super) const IMAGE_LEN: usize = 3 * 32 * 32;

pub(super) const TEN: Reader = Reader {
    format: Format::Cifar10,
    mark: "data_batch_1.bin, …, test_batch.bin",
    places: &["", "cifar-10-batches-bin"],
    is_at: |path| TEN_FILES.iter().any(|(name, _)| path.join(name).is_file()),
    list: |path, corpus| list(path, corpus, &TEN_VERSION),
};

pub(super) const HUNDRED: Reader = Reader {
    format: Format::Cifar100,
    mark: "train.bin, test.bin",
    places: &["", "cifar-100-binary"],
    is_at: |path| HUNDRED_FILES.iter().any(|(name, _)| path.join(name).is_file()),
    list: |path, corpus| list(path, corpus, &HUNDRED_VERSION),
};

const TEN_FILES: [(&str, Part); 6] = [
    ("data_batch_1.bin", Part::Train),
    ("data_batch_2.bin", Part::Train),
    ("data_batch_3.bin", Part::Train),
    ("data_batch_4.bin", Part::Train),
    ("data_batch_5.bin", Part::Train),
    ("test_batch.bin", Part::Test),
];

const HUNDRED_FILES: [(&str, Part); 2] = [("train.bin", Part::Train), ("test.bin", Part::Test)];

struct Version {
    files: &'static [(&'static str, Part)],
    names: &'static str,
    /// Bytes before the pixels; the last one is the label.
    label_len: usize,
    classes: u32,
}

const TEN_VERSION: Version =
    Version { files: &TEN_FILES, names: "batches.meta.txt", label_len: 1, classes: 10 };

const HUNDRED_VERSION: Version =
    Version { files: &HUNDRED_FILES, names: "fine_label_names.txt", label_len: 2, classes: 100 };

fn list(root: &Path, corpus: Corpus, version: &Version) -> Result<Listing, DataError> {
    let classes = class_names(&root.join(version.names), version.classes, 0)?;
    let mut listing = Listing { classes, ..Listing::default() };
    for (name, part) in version.files.iter().filter(|(_, part)| parts(corpus).contains(part)) {
        let path = root.join(name);
        let bytes = Bytes::map(&path, "a file of CIFAR records")?;
        let stride = version.label_len + IMAGE_LEN;
        if bytes.is_empty() || !bytes.len().is_multiple_of(stride) {
            let found = bytes.len();
            let reason = format!("found {found} bytes, expected a multiple of {stride}");
            return Err(DataError::damaged(path, reason));
        }
        let labels: Vec<u32> =
            bytes.chunks_exact(stride).map(|record| record[version.label_len - 1].into()).collect();
        require_labels(&path, &labels, version.classes)?;
        let layout = Layout {
            width: SIDE,
            height: SIDE,
            order: Order::PlanesByRow,
            first: version.label_len,
            stride,
            count: labels.len() as u32,
        };
        listing.extend_raw(RawImages::new(&path, bytes, layout)?, &labels, *part);
    }
    Ok(listing)
}

/// Refuses a label that is no class.
pub(super) fn require_labels(path: &Path, labels: &[u32], classes: u32) -> Result<(), DataError> {
    match labels.iter().position(|&label| label >= classes) {
        None => Ok(()),
        Some(record) => {
            let (found, most) = (labels[record], classes - 1);
            let reason = format!("found label {found} of image {record}, expected 0 to {most}");
            Err(DataError::damaged(path, reason))
        }
    }
}
