//! Samples in: data sets, splits, augmentation, and batches made ahead of the device.
//!
//! A [`Dataset`] lists images of a folder, of a data set in one of the known [formats](Format) or
//! of an embedded pack, and is checked once, so that a broken
//! file is met before training and not in it; [`Dataset::windows`] lists windows of a motion
//! sensor's recordings instead. [`Split`] divides a labelled one. A [`Recipe`] turns a [`Sample`]
//! and random draws into a normalised view: [`Augmentation`] that of images, [`Motion`] that of
//! windows. [`PretextBatches`] and [`LabelledBatches`] are pure functions of a step number, and
//! [`Prefetch`] evaluates any such function ahead of its use. What a device is to augment leaves
//! them [packed].
//!
//! Everything here gives the same bytes for the same seed, whatever the number of threads.

mod augment;
mod bad_images;
mod batches;
mod blur;
mod changes;
mod check;
mod colour;
mod crop;
mod dataset;
mod decode;
mod describe;
mod error;
mod folder;
mod formats;
mod hexadecimal;
mod item;
mod label;
mod listing;
mod motion;
mod overlooked;
mod pack;
pub mod packed;
mod parts;
mod prefetch;
mod raw;
mod recipe;
mod recorded;
mod recordings;
mod settings;
mod split;
pub mod streams;
mod windows;

pub(crate) use augment::Work;
pub use augment::{Augmentation, Drawn, View};
pub use bad_images::{BadImage, BadImageReport, OnBadImage};
pub use batches::{
    EvaluationChunk, Inputs, Labelled, LabelledBatches, PretextBatches, TwoViews, evaluation_images,
};
pub use changes::Changes;
pub use check::{CheckFailed, CheckReport, ClassImages, Range, Same, check};
pub(crate) use colour::{DEVIATION, MEAN};
pub use dataset::{Dataset, Embedded, Labels, SizeRange, Stored};
pub use decode::{ImageSettings, decode_image};
pub use describe::{ClassCount, Description};
pub use error::DataError;
pub use formats::{Corpus, Format};
pub use item::Part;
pub use label::{LabelSet, Presence, Targets, Task};
pub use motion::{Motion, WindowSettings};
pub use overlooked::{Files, Overlooked};
pub use pack::{Pack, PackEntry};
pub use prefetch::Prefetch;
pub use recipe::{Recipe, Sample};
pub use recorded::{RecordedItem, RecordedSet, Role};
pub use recordings::{CHANNELS, Channels, Window};
pub use settings::AugmentSettings;
pub use split::{Split, SplitSettings, Validation};
pub use windows::WindowSelection;
