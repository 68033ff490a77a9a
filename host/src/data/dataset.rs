//! A list of samples with optional labels: images from a folder, from the files of a known data
//! set, or embedded in the program; windows of recordings.

use std::borrow::Cow;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use image::RgbImage;
use rayon::prelude::*;

use super::bad_images::{self, BadImageReport};
use super::folder;
use super::item::{Item, Source};
use super::label::{Label, LabelSet, Targets, Task};
use super::overlooked::Overlooked;
use super::{Channels, DataError, ImageSettings, Pack, Part, Sample, decode_image};
use crate::hash::hash;

/// Whether folder names are labels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Labels {
    /// Every image below the folder, without label: a pretext corpus.
    Ignore,
    /// `<class>/…`, or `train/<class>/…` with `validation` (`valid`, `val`) and `test` beside it.
    FromFolders,
}

/// The image sets that come with the program; 32 × 32 pixels, 9 classes. See
/// `assets/ATTRIBUTION.md`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Embedded {
    /// Twemoji pictures.
    Twemoji,
    /// Noto Emoji pictures.
    NotoEmoji,
}

impl Embedded {
    /// Name for printing and error messages.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Twemoji => "twemoji",
            Self::NotoEmoji => "noto-emoji",
        }
    }

    const fn bytes(self) -> &'static [u8] {
        match self {
            Self::Twemoji => include_bytes!("../../assets/twemoji.pack"),
            Self::NotoEmoji => include_bytes!("../../assets/noto-emoji.pack"),
        }
    }
}

/// What an item is stored as.
#[derive(Clone, Debug)]
pub enum Stored<'a> {
    /// The bytes of an image file.
    Encoded(Cow<'a, [u8]>),
    /// Pixels: the format does not compress.
    Pixels(RgbImage),
}

/// Where decoded pixels come from.
#[derive(Clone, Debug)]
enum Pixels {
    /// Decoded anew each time.
    OnDemand,
    /// One per item.
    Cached(Vec<RgbImage>),
}

/// Images, or windows, in a fixed order, with class names and labels where it has them.
///
/// Items are named by their index, `0..len()`. A data set is made by a constructor, then passed
/// through [`Dataset::checked`], which leaves broken images out and keeps decoded ones in memory if
/// they fit.
#[derive(Clone, Debug)]
pub struct Dataset {
    name: String,
    items: Vec<Item>,
    classes: Vec<String>,
    settings: ImageSettings,
    pixels: Pixels,
    sizes: Option<SizeRange>,
    /// Hash of every item's bytes; empty before [`Dataset::checked`].
    hashes: Vec<u64>,
    overlooked: Overlooked,
}

/// Smallest and largest of a data set's images, in pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SizeRange {
    /// Smallest and largest width.
    pub width: (u32, u32),
    /// Smallest and largest height.
    pub height: (u32, u32),
}

impl Dataset {
    /// One of the sets that come with the program, with its labels.
    ///
    /// # Errors
    /// [`DataError::Pack`] if the program was built with a damaged pack.
    pub fn embedded(which: Embedded) -> Result<Self, DataError> {
        let pack = Pack::read(which.name(), which.bytes())?;
        let items = pack.entries.iter().map(|entry| Item {
            source: Source::Embedded {
                name: format!(
                    "{}:{}/{}",
                    which.name(),
                    pack.classes[usize::from(entry.class)],
                    entry.name
                ),
                bytes: entry.bytes,
            },
            label: Label::Class(u32::from(entry.class)),
            part: None,
        });
        let items = items.collect();
        let classes = pack.classes.iter().map(|&class| class.to_owned()).collect();
        Self::new(which.name().into(), items, classes)
    }

    /// The image files of a folder, in the byte order of their paths.
    ///
    /// Files are told by ending or by content; names that start with a dot are skipped. With
    /// [`Labels::FromFolders`], images that lie outside a class folder are not part of the set.
    /// [`Dataset::overlooked`] has those, and files of formats that are not read.
    ///
    /// # Errors
    /// A folder that is missing, unreadable or without images; a class that is empty, unnamed in
    /// UTF-8 or unknown to the training part; folders that may be parts as well as classes.
    pub fn folder(path: &Path, labels: Labels) -> Result<Self, DataError> {
        let mut overlooked = Overlooked::default();
        let (classes, files) = match labels {
            Labels::Ignore => (Vec::new(), folder::list_unlabelled(path, &mut overlooked)?),
            Labels::FromFolders => folder::list_labelled(path, &mut overlooked)?,
        };
        let items = files.into_iter().map(Item::from).collect();
        let set = Self::new(path.display().to_string(), items, classes)?;
        Ok(set.with_overlooked(overlooked))
    }

    /// The images of several files and folders, without labels, in the order given; a file is taken
    /// whatever its name is.
    ///
    /// # Errors
    /// A path that is missing or no file or folder; a folder without images.
    pub fn files(paths: &[PathBuf]) -> Result<Self, DataError> {
        let (mut items, mut overlooked) = (Vec::new(), Overlooked::default());
        for path in paths {
            let metadata =
                fs::metadata(path).map_err(|error| DataError::unreadable(path, &error))?;
            if metadata.is_file() {
                let source = Source::File(path.clone());
                items.push(Item { source, label: Label::Unlabelled, part: None });
                continue;
            }
            let listed = folder::list_unlabelled(path, &mut overlooked)?;
            if listed.is_empty() {
                return Err(DataError::NoImages { name: path.display().to_string() });
            }
            items.extend(listed.into_iter().map(Item::from));
        }
        let set = Self::new("the given images".to_owned(), items, Vec::new())?;
        Ok(set.with_overlooked(overlooked))
    }

    pub(crate) fn new(
        name: String,
        items: Vec<Item>,
        classes: Vec<String>,
    ) -> Result<Self, DataError> {
        if items.is_empty() {
            return Err(DataError::NoImages { name });
        }
        if u32::try_from(items.len()).is_err() {
            return Err(DataError::TooManyItems { name });
        }
        let settings = ImageSettings::default();
        let (pixels, overlooked) = (Pixels::OnDemand, Overlooked::default());
        let (sizes, hashes) = (None, Vec::new());
        Ok(Self { name, items, classes, settings, pixels, sizes, hashes, overlooked })
    }

    /// The set, and what its listing overlooked.
    pub(crate) fn with_overlooked(self, overlooked: Overlooked) -> Self {
        Self { overlooked, ..self }
    }

    /// The set without its broken images, after decoding every one, on all cores.
    ///
    /// Decoded images stay in memory if all together fit into `cache_bytes_max`. The result and its
    /// order do not depend on the number of threads.
    ///
    /// # Errors
    /// A setting out of range; the first broken image, where `on_bad_image` says so; more of them
    /// than `bad_image_limit` allows; nothing left, as a whole or of a class.
    pub fn checked(self, settings: &ImageSettings) -> Result<(Self, BadImageReport), DataError> {
        let settings = settings.checked()?;
        // Pixels are kept until they turn out to be too many; whether they do depends on their sum
        // alone.
        let kept_bytes = AtomicU64::new(0);
        let decode = |item: &Item| {
            let stored = item.bytes(&settings)?;
            let hash = hash(&stored);
            match &item.source {
                // Nothing to decode, and a copy in memory would save nothing.
                Source::Raw { images, .. } => return Ok((images.dimensions(), hash, None)),
                Source::Window { recordings, .. } => {
                    return Ok(((recordings.length() as u32, 1), hash, None));
                }
                Source::File(_) | Source::Embedded { .. } => {}
            }
            let image = decode_image(&item.name(), &stored, &settings)?;
            let bytes = image.as_raw().len() as u64;
            let so_far = kept_bytes.fetch_add(bytes, Ordering::Relaxed).saturating_add(bytes);
            let size = image.dimensions();
            Ok((size, hash, (so_far <= settings.cache_bytes_max).then_some(image)))
        };
        let decoded = bad_images::each(&self.items, settings.on_bad_image, decode)?;
        let fits = kept_bytes.into_inner() <= settings.cache_bytes_max;

        let total = self.len();
        let Self { name, items: unchecked, classes, overlooked, .. } = self;
        let mut report = BadImageReport {
            items: total,
            allowed: settings.bad_images_allowed(total),
            bad: Vec::new(),
        };
        let (mut items, mut images) = (Vec::with_capacity(unchecked.len()), Vec::new());
        let mut hashes = Vec::with_capacity(unchecked.len());
        let mut sizes: Option<SizeRange> = None;
        for (item, result) in unchecked.into_iter().zip(decoded) {
            match result {
                Ok((size, hash, image)) => {
                    items.push(item);
                    hashes.push(hash);
                    images.extend(image);
                    sizes = Some(SizeRange::including(sizes, size));
                }
                Err(error) => report.bad.push(error.into()),
            }
        }
        report.within_limit(&name)?;
        let keep = fits && images.len() == items.len();
        let pixels = if keep { Pixels::Cached(images) } else { Pixels::OnDemand };
        let set = Self { name, items, classes, settings, pixels, sizes, hashes, overlooked };
        set.require_items_in_every_class()?;
        Ok((set, report))
    }

    /// The set with the hash of every item: one that is not [`checked`](Self::checked).
    pub(super) fn hashed(mut self) -> Result<Self, DataError> {
        let hashed = |item: &Item| Ok(hash(&item.bytes(&self.settings)?));
        self.hashes = self.items.par_iter().map(hashed).collect::<Result<_, DataError>>()?;
        Ok(self)
    }

    /// Hash of every item's bytes as stored; empty before [`Dataset::checked`].
    pub(crate) fn hashes(&self) -> &[u64] {
        &self.hashes
    }

    pub(super) fn item(&self, item: u32) -> &Item {
        &self.items[item as usize]
    }

    pub(super) fn label_of(&self, item: u32) -> &Label {
        &self.items[item as usize].label
    }

    /// The items at `kept` as `items` describes them now, with other classes.
    pub(super) fn with_items(&self, kept: &[u32], items: Vec<Item>, classes: Vec<String>) -> Self {
        let pixels = match &self.pixels {
            Pixels::OnDemand => Pixels::OnDemand,
            Pixels::Cached(images) => {
                Pixels::Cached(kept.iter().map(|item| images[*item as usize].clone()).collect())
            }
        };
        let hashes = kept.iter().map(|item| self.hashes[*item as usize]).collect();
        let Self { name, settings, sizes, .. } = self;
        let (name, settings, sizes) = (name.clone(), *settings, *sizes);
        let overlooked = Overlooked::default();
        Self { name, items, classes, settings, pixels, sizes, hashes, overlooked }
    }

    fn require_items_in_every_class(&self) -> Result<(), DataError> {
        if self.items.is_empty() {
            return Err(DataError::NoImages { name: self.name.clone() });
        }
        if self.task() == Task::MultiLabel {
            // A class that no image shows is learnt to be absent.
            return Ok(());
        }
        for (label, class) in (0u32..).zip(&self.classes) {
            if !self.items.iter().any(|item| item.label == Label::Class(label)) {
                let path = PathBuf::from(&self.name);
                return Err(DataError::EmptyClass { path, class: class.clone() });
            }
        }
        Ok(())
    }

    /// Number of items.
    pub fn len(&self) -> u32 {
        // The constructor refused more.
        self.items.len() as u32
    }

    /// Never true: a set without images is refused.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Folder or name of the embedded set.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Class names, by label; empty for an unlabelled set.
    pub fn classes(&self) -> &[String] {
        &self.classes
    }

    /// Smallest and largest image; `None` before [`Dataset::checked`].
    pub fn sizes(&self) -> Option<SizeRange> {
        self.sizes
    }

    /// What lies in the set's folders and is no part of it.
    pub fn overlooked(&self) -> &Overlooked {
        &self.overlooked
    }

    /// All item indices, in order.
    pub fn all_items(&self) -> Vec<u32> {
        (0..self.len()).collect()
    }

    /// What the labels are; of a set in which only some images are labelled, what those have.
    pub fn task(&self) -> Task {
        let labelled = self.items.iter().find(|item| item.label != Label::Unlabelled);
        match labelled.map(|item| &item.label) {
            None | Some(Label::Unlabelled) => Task::Unlabelled,
            Some(Label::Class(_)) => Task::SingleLabel,
            Some(Label::Set(_)) => Task::MultiLabel,
        }
    }

    /// Label of an item `< len()`; `None` of an unlabelled image, and of one with a set of labels.
    pub fn label(&self, item: u32) -> Option<u32> {
        match self.items[item as usize].label {
            Label::Class(class) => Some(class),
            Label::Unlabelled | Label::Set(_) => None,
        }
    }

    /// The classes that an item `< len()` shows: one where there is one label, none of an
    /// unlabelled image.
    pub fn present(&self, item: u32) -> &[u32] {
        self.items[item as usize].label.present()
    }

    /// Labels of items `< len()`.
    ///
    /// # Errors
    /// [`DataError::Unlabelled`] in a set without labels, [`DataError::MultiLabel`] in one with
    /// several an image.
    pub fn labels(&self, items: &[u32]) -> Result<Vec<u32>, DataError> {
        match self.targets(items)? {
            Targets::Classes(labels) => Ok(labels),
            Targets::Sets(_) => Err(DataError::MultiLabel { name: self.name.clone() }),
        }
    }

    /// Labels of items `< len()`, one or a set each.
    ///
    /// # Errors
    /// [`DataError::Unlabelled`] if one of them has none.
    pub fn targets(&self, items: &[u32]) -> Result<Targets, DataError> {
        let unlabelled = || DataError::Unlabelled { name: self.name.clone() };
        if self.task() == Task::MultiLabel {
            let set = |&item: &u32| match &self.items[item as usize].label {
                Label::Set(set) => Some(LabelSet::clone(set)),
                Label::Unlabelled | Label::Class(_) => None,
            };
            let sets: Option<Vec<LabelSet>> = items.iter().map(set).collect();
            return sets.map(Targets::Sets).ok_or_else(unlabelled);
        }
        let labels: Option<Vec<u32>> = items.iter().map(|&item| self.label(item)).collect();
        labels.map(Targets::Classes).ok_or_else(unlabelled)
    }

    /// The part that an item was given in, if the set came split.
    pub fn part(&self, item: u32) -> Option<Part> {
        self.items[item as usize].part
    }

    /// File path, embedded name, or file and number, of an item `< len()`.
    pub fn item_name(&self, item: u32) -> Cow<'_, str> {
        self.items[item as usize].name()
    }

    /// An item `< len()` as a recipe takes it.
    ///
    /// # Errors
    /// As [`Dataset::image`] of an image; none of a window.
    pub fn sample(&self, item: u32) -> Result<Sample<'_>, DataError> {
        match &self.items[item as usize].source {
            Source::Window { recordings, index, start } => {
                Ok(Sample::Window(recordings.window(*index, *start)))
            }
            _ => self.image(item).map(Sample::Image),
        }
    }

    /// The normalisation of its channels by its own samples; `None` of images.
    pub fn channels(&self) -> Option<Channels> {
        match &self.items.first()?.source {
            Source::Window { recordings, .. } => Some(recordings.channels()),
            Source::File(_) | Source::Embedded { .. } | Source::Raw { .. } => None,
        }
    }

    /// Pixels of an item `< len()`, borrowed if they are kept in memory.
    ///
    /// # Errors
    /// [`DataError::BadImage`] for a broken image, one that changed on disk since the check, or a
    /// window.
    pub fn image(&self, item: u32) -> Result<Cow<'_, RgbImage>, DataError> {
        match &self.pixels {
            Pixels::Cached(images) => Ok(Cow::Borrowed(&images[item as usize])),
            Pixels::OnDemand => self.items[item as usize].decode(&self.settings).map(Cow::Owned),
        }
    }

    /// An item `< len()` as it is stored.
    ///
    /// # Errors
    /// [`DataError::BadImage`] for a file that cannot be read or is larger than allowed, or a
    /// window.
    pub fn stored(&self, item: u32) -> Result<Stored<'_>, DataError> {
        let item = &self.items[item as usize];
        match &item.source {
            Source::Raw { images, index } => Ok(Stored::Pixels(images.image(*index))),
            Source::File(_) | Source::Embedded { .. } => {
                item.bytes(&self.settings).map(Stored::Encoded)
            }
            Source::Window { .. } => item.decode(&self.settings).map(Stored::Pixels),
        }
    }

    /// Whether decoded images are kept in memory.
    pub fn is_cached(&self) -> bool {
        matches!(self.pixels, Pixels::Cached(_))
    }
}

impl SizeRange {
    fn including(range: Option<Self>, (width, height): (u32, u32)) -> Self {
        let widen = |(low, high): (u32, u32), value: u32| (low.min(value), high.max(value));
        match range {
            None => Self { width: (width, width), height: (height, height) },
            Some(range) => {
                Self { width: widen(range.width, width), height: widen(range.height, height) }
            }
        }
    }
}
