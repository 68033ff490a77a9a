//! What the readers of all formats share.

use std::path::Path;
use std::sync::Arc;

use crate::data::item::{Item, Source};
use crate::data::label::Label;
use crate::data::overlooked::Overlooked;
use crate::data::raw::RawImages;
use crate::data::{DataError, Part};
use crate::names::names;

names! {
    /// What a folder holds.
    Format {
        /// Told from what is there.
        Auto = "auto",
        /// Image files, in one folder a class where labels are read.
        Folder = "folder",
        /// `train/nXXXXXXXX/…` and `val/nXXXXXXXX/…`.
        Imagenet = "imagenet",
        /// A table of paths, labels and parts.
        SplitFile = "split-file",
        /// CIFAR-10, binary or Python version.
        Cifar10 = "cifar10",
        /// CIFAR-100 with its fine labels, binary or Python version.
        Cifar100 = "cifar100",
        /// STL-10, binary version.
        Stl10 = "stl10",
        /// MNIST and its family, idx files.
        Mnist = "mnist",
        /// Caltech-101 without its background class.
        Caltech101 = "caltech101",
        /// Food-101.
        Food101 = "food101",
        /// PASCAL VOC 2007 classification.
        Voc2007 = "voc2007",
        /// Recordings of a motion sensor, cut into windows; see
        /// [`Dataset::windows`](crate::data::Dataset::windows).
        Windows = "windows",
    }
}

impl Format {
    /// Those of images: the rows above the last.
    pub const IMAGES: &[&str] = Self::NAMES.split_at(Self::Windows as usize).0;
}

const _: () = assert!(Format::IMAGES.len() + 1 == Format::NAMES.len(), "windows is the last row");

/// Which images of a data set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Corpus {
    /// D^P: those without labels where there are such, else those to train on. Labels are not read.
    Pretext,
    /// D^D: those with labels, and their parts.
    Downstream,
    /// All that is there.
    All,
}

/// What a format lists.
#[derive(Debug, Default)]
pub(super) struct Listing {
    pub(super) classes: Vec<String>,
    pub(super) items: Vec<Item>,
    pub(super) overlooked: Overlooked,
}

/// One format, or one of its two.
pub(super) struct Reader {
    pub(super) format: Format,
    /// What it is recognised by, in words.
    pub(super) mark: &'static str,
    /// Where it may lie below the given folder; `""` is that folder itself.
    pub(super) places: &'static [&'static str],
    pub(super) is_at: fn(&Path) -> bool,
    pub(super) list: fn(&Path, Corpus) -> Result<Listing, DataError>,
}

impl Listing {
    /// The images of a corpus.
    pub(super) fn only(mut self, corpus: Corpus) -> Self {
        match corpus {
            Corpus::All => {}
            Corpus::Downstream => self.items.retain(|item| item.label != Label::Unlabelled),
            Corpus::Pretext => {
                let is_unlabelled = |item: &Item| item.label == Label::Unlabelled;
                if self.items.iter().any(is_unlabelled) {
                    self.items.retain(is_unlabelled);
                } else {
                    self.items.retain(|item| matches!(item.part, None | Some(Part::Train)));
                }
                self.classes.clear();
                for item in &mut self.items {
                    (item.label, item.part) = (Label::Unlabelled, None);
                }
            }
        }
        self
    }

    /// Appends images of one file with a label each.
    pub(super) fn extend_raw(&mut self, images: RawImages, labels: &[u32], part: Part) {
        let images = Arc::new(images);
        self.items.extend((0..images.len()).zip(labels).map(|(index, &label)| Item {
            source: Source::Raw { images: Arc::clone(&images), index },
            label: Label::Class(label),
            part: Some(part),
        }));
    }
}

/// The parts of a set with training and test images that a corpus takes.
pub(super) fn parts(corpus: Corpus) -> &'static [Part] {
    match corpus {
        Corpus::Pretext => &[Part::Train],
        Corpus::Downstream | Corpus::All => &[Part::Train, Part::Test],
    }
}

/// A file of text.
pub(super) fn read_text(path: &Path, what: &'static str) -> Result<String, DataError> {
    std::fs::read_to_string(path).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => DataError::MissingFile { path: path.into(), what },
        _ => DataError::unreadable(path, &error),
    })
}
