//! The data sets of a run, images or windows, and the batches of each stage.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::error::{Place, Result, fail};
use bissl_core::Stream;
use serde::Serialize;

use super::record::{Followed, Known, Whose};
use crate::config::{AugmentOn, RunConfig};
use crate::data::{
    Augmentation, BadImage, BadImageReport, CHANNELS, Channels, Corpus, DataError, Dataset,
    Embedded, Format, ImageSettings, Labelled, LabelledBatches, Motion, OnBadImage, Prefetch,
    PretextBatches, Recipe, RecordedSet, Split, SplitSettings, TwoViews, Validation,
    WindowSelection,
};
use crate::driver::Source;
use crate::run::{NamedTensor, write_atomic};
use crate::text::shown;

/// Batches that wait ready while the device computes.
const PREFETCH_DEPTH: u32 = 2;

/// Names of the channels' normalisation in a checkpoint.
const SCALE: &str = "input.scale";
const OFFSET: &str = "input.offset";
const PER_UNIT: &str = "input.per_unit";

/// Everything that a run reads.
#[derive(Clone, Debug)]
pub struct Images {
    /// D^P.
    pub pretext: Option<Arc<Dataset>>,
    /// D^D.
    pub downstream: Option<Arc<Dataset>>,
    /// The recipes.
    pub recipe: Recipe,
    /// Where training images become views.
    pub augment_on: AugmentOn,
    /// Broken images that were left out, and what else of a folder is not used, by data set.
    pub warnings: Vec<String>,
    /// Broken images of the sets that quarantine theirs.
    quarantined: Vec<Quarantined>,
    /// What an earlier record says about the labelled items.
    recorded: Recorded,
}

/// What a record says about the labelled items.
#[derive(Clone, Debug, Default)]
struct Recorded {
    /// A division that holds for the same settings and seed.
    division: Option<(SplitSettings, u64, Split)>,
    /// Hashes of the items that an earlier stage was trained on or chosen by.
    seen: HashSet<u64>,
    /// Of those, the items that it was trained on.
    trained: HashSet<u64>,
    /// Whether it is an error to ask for another division.
    binding: bool,
    /// Whether data had changed, and the user accepted that.
    redrawn: bool,
    /// Whether another set is measured than the recorded one.
    foreign: bool,
    /// Classes that the head that is measured does not know.
    unknown: Vec<String>,
}

/// One line of the list of a run's quarantined images.
#[derive(Clone, Debug, Serialize)]
struct Quarantined {
    /// The section of the configuration that names the set.
    set: &'static str,
    /// File path, embedded name, or file and number.
    path: String,
    reason: String,
}

/// Which sets a command needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needs {
    /// The pretext set.
    Pretext,
    /// The labelled set.
    Downstream,
    /// Both.
    Both,
}

impl Images {
    /// Opens and checks the sets of a configuration.
    ///
    /// Windows are normalised as the tensors of a checkpoint say, or, where they say nothing, by
    /// the pretext corpus.
    ///
    /// # Errors
    /// A set cannot be read, or is not as `known` says.
    pub(crate) fn load(
        config: &RunConfig,
        needs: Needs,
        tensors: &[NamedTensor],
        known: &Known,
    ) -> Result<Self> {
        let images = if config.windows() {
            Self::load_windows(config, needs, tensors)?
        } else {
            Self::load_pictures(config, needs)?
        };
        images.following(known)
    }

    fn load_pictures(config: &RunConfig, needs: Needs) -> Result<Self> {
        let mut left_out = LeftOut::default();
        let images = ImageSettings { pixels_max: config.image.pixels_max, ..Default::default() };
        let pretext = (needs != Needs::Downstream)
            .then(|| {
                let (settings, set) = (&config.data.pretext, "data.pretext");
                let (on_bad_image, bad_image_limit) =
                    (settings.on_bad_image, settings.bad_image_limit);
                let images = ImageSettings { on_bad_image, bad_image_limit, ..images };
                let place = (settings.path.as_str(), settings.format, Corpus::Pretext);
                open(set, place, &images, &mut left_out).at(set)
            })
            .transpose()?;
        let downstream = (needs != Needs::Pretext)
            .then(|| {
                let (settings, set) = (&config.data.downstream, "data.downstream");
                let (on_bad_image, bad_image_limit) =
                    (settings.on_bad_image, settings.bad_image_limit);
                let images = ImageSettings { on_bad_image, bad_image_limit, ..images };
                let place = (settings.path.as_str(), settings.format, Corpus::Downstream);
                open(set, place, &images, &mut left_out).at(set)
            })
            .transpose()?;
        let augmentation = Augmentation::new(config.image.size as u32, config.augment)?;
        let LeftOut { warnings, quarantined } = left_out;
        Ok(Self {
            pretext,
            downstream,
            recipe: augmentation.into(),
            augment_on: config.image.augment_on,
            warnings,
            quarantined,
            recorded: Recorded::default(),
        })
    }

    /// Images without labels that a network is to look at, in the place of D^D.
    ///
    /// # Errors
    /// A run on windows; an augmentation out of range.
    pub(crate) fn to_look_at(set: Dataset, config: &RunConfig) -> Result<Self> {
        if config.windows() {
            fail!("the run was trained on windows, expected one on images");
        }
        let augmentation = Augmentation::new(config.image.size as u32, config.augment)?;
        Ok(Self {
            pretext: None,
            downstream: Some(Arc::new(set)),
            recipe: augmentation.into(),
            augment_on: AugmentOn::Host,
            warnings: Vec::new(),
            quarantined: Vec::new(),
            recorded: Recorded::default(),
        })
    }

    /// The same, of the items that a record names.
    fn following(mut self, known: &Known) -> Result<Self> {
        let Some(record) = &known.record else { return Ok(self) };
        if let (Whose::Own, Some(set), Some(recorded)) =
            (known.whose, &self.pretext, &record.pretext)
        {
            let (set, _) = self.followed("data.pretext", Arc::clone(set), recorded, known)?;
            self.pretext = Some(set);
        }
        if let (Some(set), Some(recorded)) = (&self.downstream, &record.downstream) {
            let section = "data.downstream";
            let (set, same) = self.followed(section, Arc::clone(set), recorded, known)?;
            self.recorded.seen.extend(recorded.seen(true));
            self.recorded.trained.extend(recorded.seen(false));
            let measured = matches!(known.whose, Whose::Measured { .. });
            self.recorded.binding = measured && !known.accept_changed;
            self.recorded.foreign = measured && !same;
            if same {
                self.recorded.division = record
                    .division()
                    .zip(recorded.split())
                    .map(|((settings, seed), split)| (settings, seed, split));
            }
            self.downstream = Some(set);
            if !same && known.whose == (Whose::Measured { head: true }) {
                self.name_by(&recorded.classes, known.accept_changed)?;
            }
        }
        Ok(self)
    }

    /// Numbers the classes as the head that is measured does, by their names.
    ///
    /// # Errors
    /// The head does not know some of them, and that was not accepted.
    fn name_by(&mut self, head: &[String], accept_unknown: bool) -> Result<()> {
        let set = self.downstream();
        let unknown: Vec<String> =
            set.classes().iter().filter(|class| !head.contains(class)).cloned().collect();
        if !unknown.is_empty() && !accept_unknown {
            fail!(
                "data.downstream: found classes {} in {}, expected those that the head was trained \
                 on: {}. --accept-changed-data shows what it takes them for",
                unknown.join(", "),
                shown(set.name()),
                head.join(", ")
            );
        }
        let classes = [head, &unknown].concat();
        self.downstream = Some(Arc::new(set.numbered_by(classes)));
        self.recorded.unknown = unknown;
        Ok(())
    }

    /// The recorded items of a set, or the set as it is; and whether they are the recorded ones.
    fn followed(
        &mut self,
        section: &'static str,
        set: Arc<Dataset>,
        recorded: &RecordedSet,
        known: &Known,
    ) -> Result<(Arc<Dataset>, bool)> {
        match known.follow(&set, recorded).at(section)? {
            Followed::Same { set: found, added } => {
                if added > 0 {
                    self.warnings.push(format!(
                        "{section}: {added} items were added to {} after the run recorded its \
                         data; they are not used",
                        shown(set.name())
                    ));
                }
                Ok((found.map_or(set, |set| Arc::new(*set)), true))
            }
            Followed::Anew { accepted } => {
                if let Some(changes) = accepted {
                    self.recorded.redrawn = true;
                    self.warnings.push(format!(
                        "warning: {section}: {changes}; accepted: the split is drawn anew"
                    ));
                }
                Ok((set, false))
            }
        }
    }

    /// Hashes of the labelled items whose labels an earlier stage has seen.
    pub(crate) fn seen(&self) -> &HashSet<u64> {
        &self.recorded.seen
    }

    /// Whether data had changed since a record, and the user accepted that.
    pub(crate) fn redrawn(&self) -> bool {
        self.recorded.redrawn
    }

    /// The items that a measured head is judged on: those of `split`, or, of another set than the
    /// recorded one, all that it has not seen.
    pub(crate) fn judged(&self, split: &Split) -> Vec<u32> {
        if !self.recorded.foreign {
            return split.test.clone();
        }
        let set = self.downstream();
        let fresh = |item: &u32| !self.recorded.seen.contains(&set.hashes()[*item as usize]);
        set.all_items().into_iter().filter(fresh).collect()
    }

    /// Classes that the head that is measured does not know: the last ones of the set.
    pub(crate) fn unknown_classes(&self) -> &[String] {
        &self.recorded.unknown
    }

    /// The same of windows.
    fn load_windows(config: &RunConfig, needs: Needs, tensors: &[NamedTensor]) -> Result<Self> {
        let (length, hop) = (config.window.length, config.window.hop);
        let pretext = (needs != Needs::Downstream)
            .then(|| {
                let settings = &config.data.pretext;
                let selection = WindowSelection {
                    length,
                    hop,
                    subjects: &settings.subjects,
                    leave_out_subjects: &settings.leave_out_subjects,
                    train_share: 1.0,
                };
                let path = Path::new(&settings.path);
                Dataset::windows(path, &selection, Corpus::Pretext).at("data.pretext")
            })
            .transpose()?;
        let downstream = (needs != Needs::Pretext)
            .then(|| {
                let settings = &config.data.downstream;
                let selection = WindowSelection {
                    length,
                    hop,
                    subjects: &settings.subjects,
                    leave_out_subjects: &settings.leave_out_subjects,
                    train_share: settings.train_share,
                };
                let path = Path::new(&settings.path);
                Dataset::windows(path, &selection, Corpus::Downstream).at("data.downstream")
            })
            .transpose()?;
        let measured = || pretext.as_ref().and_then(Dataset::channels);
        let Some(channels) = kept_channels(tensors).or_else(measured) else {
            fail!(
                "the checkpoint holds no {SCALE}, {OFFSET} and {PER_UNIT}, expected one of a run on \
                 windows"
            );
        };
        Ok(Self {
            pretext: pretext.map(Arc::new),
            downstream: downstream.map(Arc::new),
            recipe: Motion::new(config.window, channels).into(),
            augment_on: config.image.augment_on,
            warnings: Vec::new(),
            quarantined: Vec::new(),
            recorded: Recorded::default(),
        })
    }

    /// What every checkpoint of a run on these sets has to hold: the channels' normalisation, of
    /// windows.
    pub(crate) fn kept(&self) -> Vec<NamedTensor> {
        let Recipe::Window(motion) = &self.recipe else { return Vec::new() };
        let Channels { scale, offset, per_unit } = motion.channels();
        let tensor = |(name, values): (&str, &[f32; CHANNELS])| NamedTensor {
            name: name.to_owned(),
            shape: vec![CHANNELS],
            values: values.to_vec(),
        };
        [(SCALE, scale), (OFFSET, offset), (PER_UNIT, per_unit)].map(tensor).to_vec()
    }

    /// Lists the broken images of the sets that quarantine theirs in the folder of the run, one
    /// JSON object a line. The images themselves stay where they are; without any there is no file.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn write_quarantine(&self, run: &Path) -> Result<Option<PathBuf>> {
        if self.quarantined.is_empty() {
            return Ok(None);
        }
        let mut lines = String::new();
        for image in &self.quarantined {
            lines += &serde_json::to_string(image)?;
            lines.push('\n');
        }
        let path = run.join("quarantine.jsonl");
        write_atomic(&path, lines.as_bytes())?;
        Ok(Some(path))
    }

    /// D^P and D^D, where they were loaded.
    pub(super) fn loaded(&self) -> (Option<&Arc<Dataset>>, Option<&Arc<Dataset>>) {
        (self.pretext.as_ref(), self.downstream.as_ref())
    }

    /// D^P.
    ///
    /// # Panics
    /// If it was not loaded: see [`Needs`].
    pub fn pretext(&self) -> &Arc<Dataset> {
        self.pretext.as_ref().expect("the command loaded the pretext set")
    }

    /// D^D.
    ///
    /// # Panics
    /// If it was not loaded: see [`Needs`].
    pub fn downstream(&self) -> &Arc<Dataset> {
        self.downstream.as_ref().expect("the command loaded the downstream set")
    }

    /// Divides D^D by the configuration and a seed, as a record says where it says so; and what is
    /// to be told about it.
    ///
    /// # Errors
    /// It cannot be divided; the record of the run that is measured says otherwise.
    pub(crate) fn split(&self, config: &RunConfig, seed: u64) -> Result<(Split, Vec<String>)> {
        let settings = split_settings(config);
        let Recorded { division, seen, trained, binding, .. } = &self.recorded;
        if let Some((recorded, _, split)) = division.as_ref().filter(|(_, of, _)| *of == seed) {
            if *recorded == settings {
                return Ok((split.clone(), Vec::new()));
            }
            if *binding {
                fail!(
                    "data.downstream: found {settings}, expected {recorded}: the run recorded \
                     which images it held out. --accept-changed-data draws a new split"
                );
            }
        }
        let set = self.downstream();
        let mut split = Split::draw(set, &settings, seed).at("data.downstream")?;
        let drawn = split.test.len();
        let among =
            |set_of: &HashSet<u64>, item: &u32| set_of.contains(&set.hashes()[*item as usize]);
        split.test.retain(|item| !among(seen, item));
        split.validation.retain(|item| !among(trained, item));
        let left_out = drawn - split.test.len();
        if split.test.is_empty() {
            fail!(
                "data.downstream: an earlier stage has seen the labels of all {drawn} test images, \
                 expected one that it has not"
            );
        }
        let mut notes = Vec::new();
        if left_out > 0 {
            notes.push(format!(
                "data.downstream: an earlier stage has seen the labels of {left_out} of {drawn} \
                 test images; they are not used"
            ));
        }
        if settings.draws_test(set) {
            notes.push(format!(
                "data.downstream: {} has no test part: {} % of each class are held out \
                 ({} images); data.downstream.test_share changes that",
                shown(set.name()),
                100.0 * settings.test_share,
                split.test.len()
            ));
        }
        Ok((split, notes))
    }

    /// Batches of D^P from the streams of the two domains.
    pub(crate) fn pretext_batches(
        &self,
        batch: usize,
        seed: u64,
        (order, views): (u16, u16),
    ) -> Result<PretextBatches> {
        let set = Arc::clone(self.pretext());
        let items = set.all_items();
        let (order, views) = (Stream::new(seed, order), Stream::new(seed, views));
        let batches = PretextBatches::new(set, items, batch as u32, order, views, self.recipe)?;
        Ok(match self.augment_on {
            AugmentOn::Host => batches,
            AugmentOn::Device => batches.packed(),
        })
    }

    /// Batches of labelled items from the streams of the two domains.
    pub(crate) fn labelled_batches(
        &self,
        items: &[u32],
        batch: usize,
        seed: u64,
        (order, views): (u16, u16),
    ) -> Result<LabelledBatches> {
        let set = Arc::clone(self.downstream());
        let (order, views) = (Stream::new(seed, order), Stream::new(seed, views));
        let (items, batch) = (items.to_vec(), batch as u32);
        let batches = LabelledBatches::new(set, items, batch, order, views, self.recipe)?;
        Ok(match self.augment_on {
            AugmentOn::Host => batches,
            AugmentOn::Device => batches.packed(),
        })
    }
}

/// The channels' normalisation among the tensors of a checkpoint; `None` of a run on images.
pub(crate) fn kept_channels(tensors: &[NamedTensor]) -> Option<Channels> {
    let values = |name: &str| -> Option<[f32; CHANNELS]> {
        let tensor = tensors.iter().find(|tensor| tensor.name == name)?;
        tensor.values.as_slice().try_into().ok()
    };
    Some(Channels { scale: values(SCALE)?, offset: values(OFFSET)?, per_unit: values(PER_UNIT)? })
}

/// Batches made ahead on other threads.
pub(crate) fn ahead<T: Send + 'static>(
    make: impl Fn(u32) -> Result<T, DataError> + Send + Sync + 'static,
    steps: u32,
) -> Source<T> {
    let prefetch = Prefetch::new(make, 0..steps, PREFETCH_DEPTH);
    Box::new(move |step| prefetch.get(step))
}

/// Two views a step, made ahead.
pub(crate) fn views_ahead(batches: PretextBatches, steps: u32) -> Source<TwoViews> {
    ahead(move |step| batches.make(step), steps)
}

/// Labelled images a step, made ahead.
pub(crate) fn labelled_ahead(batches: LabelledBatches, steps: u32) -> Source<Labelled> {
    ahead(move |step| batches.make(step), steps)
}

/// What is said about the images that were left out.
#[derive(Debug, Default)]
struct LeftOut {
    warnings: Vec<String>,
    quarantined: Vec<Quarantined>,
}

fn open(
    section: &'static str,
    (path, format, corpus): (&str, Format, Corpus),
    settings: &ImageSettings,
    left_out: &mut LeftOut,
) -> Result<Arc<Dataset>> {
    let set = match path.strip_prefix("embedded:") {
        Some("twemoji") => Dataset::embedded(Embedded::Twemoji),
        Some("noto-emoji") => Dataset::embedded(Embedded::NotoEmoji),
        _ => Dataset::open(Path::new(path), format, corpus),
    }?;
    let overlooked = set.overlooked().lines();
    left_out.warnings.extend(overlooked.iter().map(|line| format!("warning: {path}: {line}")));
    let (set, report) = set.checked(settings)?;
    left_out.warnings.extend(warning(path, &report));
    if settings.on_bad_image == OnBadImage::Quarantine {
        left_out.quarantined.extend(
            report.bad.into_iter().map(|BadImage { name, reason }| Quarantined {
                set: section,
                path: name,
                reason,
            }),
        );
    }
    Ok(Arc::new(set))
}

/// Names the first broken images of a set.
fn warning(path: &str, report: &BadImageReport) -> Option<String> {
    const SHOWN: usize = 5;
    if report.bad.is_empty() {
        return None;
    }
    let mut text = format!(
        "warning: {}: {} of {} images are broken and left out ({} allowed)",
        shown(path),
        report.bad.len(),
        report.items,
        report.allowed
    );
    for bad in report.bad.iter().take(SHOWN) {
        text += &format!("\n  {bad}");
    }
    if report.bad.len() > SHOWN {
        text += &format!("\n  and {} more", report.bad.len() - SHOWN);
    }
    Some(text)
}

/// How a configuration divides the labelled items.
pub(crate) fn split_settings(config: &RunConfig) -> SplitSettings {
    let downstream = &config.data.downstream;
    SplitSettings {
        labels_per_class: downstream.labels_per_class.map(|n| n as u32),
        validation: match downstream.validation_share {
            Some(share) => Validation::Share(share),
            None => Validation::PerClass(downstream.validation_per_class as u32),
        },
        test_share: downstream.test_share,
    }
}
