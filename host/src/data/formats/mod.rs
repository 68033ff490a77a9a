//! The formats of data sets: which one lies in a folder, and what it lists.
//!
//! One file a format, each with a [`Reader`]: where it may lie below the given folder, how it is recognised,
//! and how it is listed. A reader checks the sizes of files, labels and counts; images that are files of
//! their own are decoded later, by [`Dataset::checked`].

mod caltech101;
mod cifar;
mod cifar_pickle;
mod food101;
mod idx;
mod imagenet;
mod names;
mod pickle;
mod split_file;
mod stl10;
mod voc2007;

#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::dataset::{Item, Source};
use super::folder;
use super::label::Label;
use super::raw::RawImages;
use super::{DataError, Dataset, Part};
use crate::names::names;

names! {
    /// What a folder holds.
    Format {
        /// Told from what is there.
        Auto = "auto",
        /// JPEG and PNG files, in one folder a class where labels are read.
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
        /// Recordings of a motion sensor, cut into windows; see [`Dataset::windows`].
        Windows = "windows",
    }
}

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
struct Listing {
    classes: Vec<String>,
    items: Vec<Item>,
}

/// One format, or one of its two.
struct Reader {
    format: Format,
    /// What it is recognised by, in words.
    mark: &'static str,
    /// Where it may lie below the given folder; `""` is that folder itself.
    places: &'static [&'static str],
    is_at: fn(&Path) -> bool,
    list: fn(&Path, Corpus) -> Result<Listing, DataError>,
}

const READERS: [Reader; 12] = [
    cifar::TEN,
    cifar::HUNDRED,
    cifar_pickle::TEN,
    cifar_pickle::HUNDRED,
    stl10::READER,
    idx::READER,
    caltech101::READER,
    food101::READER,
    voc2007::READER,
    imagenet::READER,
    split_file::READER,
    FOLDER,
];

const FOLDER: Reader = Reader {
    format: Format::Folder,
    mark: "JPEG or PNG files",
    places: &[""],
    is_at: Path::is_dir,
    list: list_folder,
};

impl Format {
    /// Those of images: the rows above the last.
    pub const IMAGES: &[&str] = Self::NAMES.split_at(Self::Windows as usize).0;
}

const _: () = assert!(Format::IMAGES.len() + 1 == Format::NAMES.len(), "windows is the last row");

impl Dataset {
    /// The images of `corpus` in a folder or split file of a format.
    ///
    /// # Errors
    /// Nothing of the format is there, or more than one set; a file that is missing or damaged; windows,
    /// which have a constructor of their own.
    pub fn open(path: &Path, format: Format, corpus: Corpus) -> Result<Self, DataError> {
        if !path.is_file() {
            folder::require_folder(path)?;
        }
        let (reader, place) = find(path, format)?;
        let listed = (reader.list)(&place, corpus);
        let guessed = format == Format::Auto && reader.format == Format::Folder;
        let Listing { classes, items } = match listed {
            Err(DataError::NoClasses { .. }) if guessed => {
                return Err(unknown(path, READERS.iter()));
            }
            listed => listed?.only(corpus),
        };
        if items.is_empty() && guessed {
            return Err(unknown(path, READERS.iter()));
        }
        Self::new(place.display().to_string(), items, classes)
    }
}

/// The one reader that has something to read at `path` or below it, and where.
fn find(path: &Path, format: Format) -> Result<(&'static Reader, PathBuf), DataError> {
    let of_format = |reader: &&Reader| match format {
        Format::Auto => reader.format != Format::Folder,
        format => reader.format == format,
    };
    let candidates: Vec<&'static Reader> = READERS.iter().filter(of_format).collect();
    let places = |reader: &'static Reader| {
        let place = |place: &&str| match *place {
            "" => path.to_path_buf(),
            below => path.join(below),
        };
        let places = reader.places.iter().map(place).filter(|place| (reader.is_at)(place));
        places.map(move |place| (reader, place))
    };
    let mut found: Vec<(&'static Reader, PathBuf)> =
        candidates.iter().flat_map(|reader| places(reader)).collect();
    match (found.len(), format) {
        (1, _) => Ok(found.remove(0)),
        (0, Format::Auto) if path.is_dir() => Ok((&FOLDER, path.to_path_buf())),
        (0, _) => Err(unknown(path, candidates.into_iter())),
        _ => {
            let words = |(reader, place): &(&Reader, PathBuf)| {
                format!("{} ({}) in {place:?}", reader.format, reader.mark)
            };
            let found = found.iter().map(words).collect();
            Err(DataError::AmbiguousFormat { path: path.into(), found })
        }
    }
}

fn unknown<'a>(path: &Path, readers: impl Iterator<Item = &'a Reader>) -> DataError {
    let marks: Vec<String> =
        readers.map(|reader| format!("{} ({})", reader.format, reader.mark)).collect();
    let reason = format!("found no data set, expected {}", marks.join(", or "));
    DataError::UnknownFormat { path: path.into(), reason }
}

/// Images as files: all of them for a pretext task, those of the training part where there are parts.
fn list_folder(root: &Path, corpus: Corpus) -> Result<Listing, DataError> {
    let unlabelled = |folder: &Path| {
        let items = folder::list_unlabelled(folder)?.into_iter().map(Item::from).collect();
        Ok(Listing { classes: Vec::new(), items })
    };
    let labelled = || {
        let (classes, files) = folder::list_labelled(root)?;
        Ok(Listing { classes, items: files.into_iter().map(Item::from).collect() })
    };
    match corpus {
        Corpus::Pretext => {
            let mut parts = folder::parts(root)?.into_iter().flatten();
            match parts.find(|(_, part)| *part == Part::Train) {
                Some((train, _)) => unlabelled(&train),
                None => unlabelled(root),
            }
        }
        Corpus::Downstream => labelled(),
        Corpus::All if folder::sub_folders(root)?.is_empty() => unlabelled(root),
        Corpus::All => labelled(),
    }
}

impl Listing {
    /// The images of a corpus.
    fn only(mut self, corpus: Corpus) -> Self {
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
    fn extend_raw(&mut self, images: RawImages, labels: &[u32], part: Part) {
        let images = Arc::new(images);
        self.items.extend((0..images.len()).zip(labels).map(|(index, &label)| Item {
            source: Source::Raw { images: Arc::clone(&images), index },
            label: Label::Class(label),
            part: Some(part),
        }));
    }
}

/// The parts of a set with training and test images that a corpus takes.
fn parts(corpus: Corpus) -> &'static [Part] {
    match corpus {
        Corpus::Pretext => &[Part::Train],
        Corpus::Downstream | Corpus::All => &[Part::Train, Part::Test],
    }
}

/// A file of text.
fn read_text(path: &Path, what: &'static str) -> Result<String, DataError> {
    std::fs::read_to_string(path).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => DataError::MissingFile { path: path.into(), what },
        _ => DataError::unreadable(path, &error),
    })
}
