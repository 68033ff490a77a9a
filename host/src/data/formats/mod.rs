//! The formats of data sets: which one lies in a folder, and what it lists.
//!
//! One file a format, each with a [`Reader`]: where it may lie below the given folder, how it is
//! recognised, and how it is listed. A reader checks the sizes of files, labels and counts; images
//! that are files of their own are decoded later, by [`Dataset::checked`].

mod caltech101;
mod cifar;
mod cifar_pickle;
mod food101;
mod idx;
mod imagenet;
mod names;
mod pickle;
mod reader;
mod split_file;
mod stl10;
mod voc2007;

#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

pub use reader::{Corpus, Format};

use super::item::Item;
use super::overlooked::Overlooked;
use super::parts::{Purpose, parts};
use super::{DataError, Dataset, Part};
use super::{folder, listing};
use reader::{Listing, Reader};

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
    mark: "image files",
    places: &[""],
    is_at: Path::is_dir,
    list: list_folder,
};

impl Dataset {
    /// The images of `corpus` in a folder or split file of a format.
    ///
    /// # Errors
    /// Nothing of the format is there, or more than one set; a file that is missing or damaged;
    /// windows, which have a constructor of their own.
    pub fn open(path: &Path, format: Format, corpus: Corpus) -> Result<Self, DataError> {
        if !path.is_file() {
            listing::require_folder(path)?;
        }
        let (reader, place) = find(path, format)?;
        let listed = (reader.list)(&place, corpus);
        let guessed = format == Format::Auto && reader.format == Format::Folder;
        let Listing { classes, items, overlooked } = match listed {
            Err(DataError::NoClasses { .. }) if guessed => {
                return Err(unknown(path, READERS.iter()));
            }
            listed => listed?.only(corpus),
        };
        if items.is_empty() && guessed {
            return Err(unknown(path, READERS.iter()));
        }
        let set = Self::new(place.display().to_string(), items, classes)?;
        Ok(set.with_overlooked(overlooked))
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

/// Images as files: all of them for a pretext task, those of the training part where there are
/// parts.
fn list_folder(root: &Path, corpus: Corpus) -> Result<Listing, DataError> {
    let unlabelled = |folder: &Path| {
        let mut overlooked = Overlooked::default();
        let files = folder::list_unlabelled(folder, &mut overlooked)?;
        let items = files.into_iter().map(Item::from).collect();
        Ok(Listing { classes: Vec::new(), items, overlooked })
    };
    let labelled = || {
        let mut overlooked = Overlooked::default();
        let (classes, files) = folder::list_labelled(root, &mut overlooked)?;
        let items = files.into_iter().map(Item::from).collect();
        Ok(Listing { classes, items, overlooked })
    };
    match corpus {
        Corpus::Pretext => {
            let mut parts = parts(root, Purpose::Corpus)?.into_iter().flatten();
            match parts.find(|(_, part)| *part == Part::Train) {
                Some((train, _)) => unlabelled(&train),
                None => unlabelled(root),
            }
        }
        Corpus::Downstream => labelled(),
        Corpus::All if listing::sub_folders(root)?.is_empty() => unlabelled(root),
        Corpus::All => labelled(),
    }
}
