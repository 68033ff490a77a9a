//! What can be wrong with a data set, each with the thing, what was found and what was expected.

use std::path::PathBuf;

use bissl_core::ConfigError;

use super::changes::Changes;
use crate::text::shown;

/// A data set, or one of its images, that cannot be used.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum DataError {
    /// The root of an image folder does not exist or is no folder.
    #[error("{path:?}: no such folder, expected a folder of images")]
    MissingFolder {
        /// The folder as given.
        path: PathBuf,
    },
    /// A folder or file that exists but cannot be read.
    #[error("{path:?}: cannot be read ({reason})")]
    Unreadable {
        /// The folder or file.
        path: PathBuf,
        /// The operating system's words.
        reason: String,
    },
    /// A file that a data set of its format has is not there, or is no file.
    #[error("{path:?}: no such file, expected {what}")]
    MissingFile {
        /// The file.
        path: PathBuf,
        /// What is in it.
        what: &'static str,
    },
    /// A file of a data set that is not what its format says.
    #[error("{path:?}: {reason}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What was found and what was expected.
        reason: String,
    },
    /// Nothing that is a data set, or not the one that was asked for.
    #[error("{path:?}: {reason}")]
    UnknownFormat {
        /// The folder as given.
        path: PathBuf,
        /// What was looked for.
        reason: String,
    },
    /// More than one data set, of which one has to be chosen.
    #[error(
        "{path:?}: found {}, expected one data set: give its own folder, or set `format`",
        found.join(" and ")
    )]
    AmbiguousFormat {
        /// The folder as given.
        path: PathBuf,
        /// The data sets and where they lie.
        found: Vec<String>,
    },
    /// A whole data set without a single image.
    #[error(
        "{name}: contains no images, expected at least \
         one JPEG, PNG, WebP, BMP, TIFF or GIF file",
        name = shown(name)
    )]
    NoImages {
        /// The folder or embedded set.
        name: String,
    },
    /// A folder that has files of formats that are not read instead of images.
    #[error("{path:?}: contains no images that are read; {}", found.join("; "))]
    NothingRead {
        /// The folder.
        path: PathBuf,
        /// What it has instead, each in words.
        found: Vec<String>,
    },
    /// Folders that may be parts of a split or classes.
    #[error("{path:?}: its folders may be {one}, or {other}; {cure}")]
    AmbiguousFolders {
        /// The folder as given, or one below it.
        path: PathBuf,
        /// One reading.
        one: String,
        /// The other.
        other: String,
        /// What to do, in words.
        cure: &'static str,
    },
    /// Labels are to be read from sub-folders, and there are none.
    #[error("{path:?}: has no sub-folders, expected one per class, named after it")]
    NoClasses {
        /// The folder whose sub-folders were to be the classes.
        path: PathBuf,
    },
    /// A class folder without an image in it.
    #[error(
        "{path:?}: class `{class}` has no images, expected at least \
         one JPEG, PNG, WebP, BMP, TIFF or GIF file",
        class = shown(class)
    )]
    EmptyClass {
        /// The class folder, or the data set where its images turned out to be broken.
        path: PathBuf,
        /// The class.
        class: String,
    },
    /// A class name that cannot be printed, stored or compared.
    #[error("{path:?}: the class name is not UTF-8, expected a folder name that is")]
    ClassNameNotUtf8 {
        /// The class folder; its `Debug` form escapes the bytes.
        path: PathBuf,
    },
    /// A class that only the validation or test folder knows.
    #[error(
        "{path:?}: class `{class}` does not appear among the training classes",
        class = shown(class)
    )]
    UnknownClass {
        /// The class folder.
        path: PathBuf,
        /// The class.
        class: String,
    },
    /// A class has fewer images than a split asks of it.
    #[error(
        "{name}: class `{class}` has {found} images for {purpose}, expected at least {needed}",
        name = shown(name), class = shown(class)
    )]
    TooFewInClass {
        /// The data set.
        name: String,
        /// The class.
        class: String,
        /// What the images are for.
        purpose: &'static str,
        /// How many there are.
        found: u32,
        /// How many there must be.
        needed: u32,
    },
    /// Items that a run recorded are missing, or have changed.
    #[error(
        "{0}; expected them as they were: restore them, or --accept-changed-data draws a new split"
    )]
    Changed(Box<Changes>),
    /// A split of a data set that has no labels, or a label asked of an unlabelled item.
    #[error("{name}: has no labels, expected one sub-folder per class", name = shown(name))]
    Unlabelled {
        /// The data set.
        name: String,
    },
    /// One label asked of a data set whose images have sets of them.
    #[error(
        "{name}: its images have any number of labels, expected exactly one each",
        name = shown(name)
    )]
    MultiLabel {
        /// The data set.
        name: String,
    },
    /// No test part, and every labelled image asked for training: nothing is left to test on.
    #[error(
        "{name}: has no `test` part, so `labels_per_class` must be given; the rest is the test set",
        name = shown(name)
    )]
    NothingToTest {
        /// The data set.
        name: String,
    },
    /// One image that does not decode, or that is larger than the limits allow.
    #[error("{name}: {reason}", name = shown(name))]
    BadImage {
        /// The file or embedded image.
        name: String,
        /// What was found and what was expected.
        reason: String,
    },
    /// More broken images than the configuration tolerates.
    #[error(
        "{name}: {found} of {items} images are broken, expected at most {allowed} \
         (`bad_image_limit`); the first: {}", first.join("; "),
        name = shown(name)
    )]
    TooManyBadImages {
        /// The data set.
        name: String,
        /// Broken images.
        found: u32,
        /// All images.
        items: u32,
        /// How many may be broken.
        allowed: u32,
        /// The first few, each with its reason.
        first: Vec<String>,
    },
    /// More items than a 32-bit index can name.
    #[error("{name}: more than {} images, expected fewer", u32::MAX, name = shown(name))]
    TooManyItems {
        /// The data set.
        name: String,
    },
    /// A pack file that is not one, or that was cut.
    #[error("{name}: not a valid image pack ({reason})", name = shown(name))]
    Pack {
        /// The pack.
        name: String,
        /// What was found and what was expected.
        reason: String,
    },
    /// A setting outside its range.
    #[error(transparent)]
    Config(#[from] ConfigError),
}

impl DataError {
    /// `Unreadable` from the operating system's error.
    pub(crate) fn unreadable(path: impl Into<PathBuf>, error: &std::io::Error) -> Self {
        Self::Unreadable { path: path.into(), reason: error.to_string() }
    }

    /// `Damaged` with anything that can be printed as its reason.
    pub(crate) fn damaged(path: impl Into<PathBuf>, reason: impl ToString) -> Self {
        Self::Damaged { path: path.into(), reason: reason.to_string() }
    }

    /// `BadImage` with anything that can be printed as its reason.
    pub(crate) fn bad_image(name: &str, reason: impl ToString) -> Self {
        Self::BadImage { name: name.into(), reason: reason.to_string() }
    }
}
