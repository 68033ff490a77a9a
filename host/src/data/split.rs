//! Which items are for training, for validation and for testing.

use std::fmt;

use bissl_core::{Permutation, Stream};
use serde::{Deserialize, Serialize};

use super::{DataError, Dataset, Part, Task, streams};

/// How a labelled set is divided, the same in every class.
///
/// A set with several labels an image has no classes to divide by: its images are divided as one
/// class, with the numbers multiplied by the number of classes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SplitSettings {
    /// Labelled training images of each class, at least 1; all of them where absent.
    pub labels_per_class: Option<u32>,
    /// How many images are for validation; where the set has a validation part, its images are used
    /// instead.
    pub validation: Validation,
    /// Share of each class that is for testing where the set has no test part and
    /// `labels_per_class` is absent, in `[0, 1)`; at least one image.
    pub test_share: f64,
}

impl SplitSettings {
    /// Whether the share `test_share` of a set is held out.
    pub(crate) fn draws_test(&self, set: &Dataset) -> bool {
        let is_test = |item| set.part(item) == Some(Part::Test);
        self.labels_per_class.is_none() && !(0..set.len()).any(is_test)
    }
}

impl fmt::Display for SplitSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.labels_per_class {
            Some(labels) => write!(f, "labels_per_class = {labels}")?,
            None => write!(f, "labels_per_class = \"none\", test_share = {}", self.test_share)?,
        }
        match self.validation {
            Validation::PerClass(images) => write!(f, ", validation_per_class = {images}"),
            Validation::Share(share) => write!(f, ", validation_share = {share}"),
        }
    }
}

/// How many images of each class, of those in no given test part, are for validation.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Validation {
    /// This many.
    PerClass(u32),
    /// This share of them, in `[0, 1)`, rounded down.
    Share(f64),
}

impl Default for Validation {
    fn default() -> Self {
        Self::PerClass(0)
    }
}

impl Validation {
    /// Images out of `count`.
    fn of(self, count: usize, strata: u32) -> u32 {
        match self {
            Self::PerClass(images) => images.saturating_mul(strata),
            // A share such as 0.29 is a little less in binary: 29 of 100 must not become 28.
            Self::Share(share) => libm::floor(share * count as f64 + 1e-6) as u32,
        }
    }
}

/// A division of a labelled data set; item indices in ascending order, no item twice.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Split {
    /// Items to train on.
    pub train: Vec<u32>,
    /// Items to choose by.
    pub validation: Vec<u32>,
    /// Items to report on.
    pub test: Vec<u32>,
}

impl Split {
    /// Divides every class alike, at random.
    ///
    /// A given test part is the test set; otherwise it is all that training and validation leave.
    /// The draws of a class depend on `seed` and the class alone. Validation items do not change
    /// with `labels_per_class`, and fewer labels are a subset of more.
    ///
    /// # Errors
    /// An unlabelled set; a class too small for what is asked; no rest to test on.
    pub fn draw(set: &Dataset, settings: &SplitSettings, seed: u64) -> Result<Self, DataError> {
        if set.task() == Task::Unlabelled {
            return Err(DataError::Unlabelled { name: set.name().into() });
        }
        if settings.labels_per_class == Some(0) {
            return Err(bissl_core::ConfigError::Zero { name: "labels_per_class" }.into());
        }
        let has = |part| (0..set.len()).any(|item| set.part(item) == Some(part));
        let test_is_given = has(Part::Test);
        let draws_test = settings.draws_test(set);
        if draws_test && settings.test_share <= 0.0 {
            return Err(DataError::NothingToTest { name: set.name().into() });
        }
        let strata = Stratum::of(set);
        let scale = if set.task() == Task::MultiLabel { set.classes().len() as u32 } else { 1 };
        let stratum_settings = StratumSettings {
            labels: settings.labels_per_class.map(|labels| labels.saturating_mul(scale)),
            validation: (!has(Part::Validation)).then_some(settings.validation),
            scale,
            test_is_given,
            test_share: draws_test.then_some(settings.test_share),
        };
        let mut split = Self { train: Vec::new(), validation: Vec::new(), test: Vec::new() };
        // A class without images can only be one that another set has.
        for stratum in strata.iter().filter(|stratum| !stratum.items.is_empty()) {
            split.draw_stratum(set, stratum, &stratum_settings, seed)?;
        }
        for items in [&mut split.train, &mut split.validation, &mut split.test] {
            items.sort_unstable();
        }
        Ok(split)
    }

    fn draw_stratum(
        &mut self,
        set: &Dataset,
        stratum: &Stratum<'_>,
        settings: &StratumSettings,
        seed: u64,
    ) -> Result<(), DataError> {
        let Stratum { index, name, items } = stratum;
        let given = |part| items.iter().copied().filter(move |&item| set.part(item) == Some(part));
        let require = |purpose, found: usize, needed: u32| {
            if found >= needed as usize {
                return Ok(());
            }
            Err(DataError::TooFewInClass {
                name: set.name().into(),
                class: (*name).into(),
                purpose,
                found: found as u32,
                needed,
            })
        };
        let pool: Vec<u32> = items
            .iter()
            .copied()
            .filter(|&item| matches!(set.part(item), None | Some(Part::Train)))
            .collect();

        let drawn = settings.validation.map_or(0, |v| v.of(pool.len(), settings.scale));
        let rest = u32::from(!settings.test_is_given);
        let needed = settings.labels.unwrap_or(1).saturating_add(drawn).saturating_add(rest);
        let purpose = match (drawn > 0, settings.test_is_given) {
            (true, false) => "training, validation and a test rest",
            (true, true) => "training and validation",
            (false, false) => "training and a test rest",
            (false, true) => "training",
        };
        require(purpose, pool.len(), needed)?;

        let mut pool = shuffled(pool, Stream::new(seed, streams::SPLIT), *index);
        let mut unused = pool.split_off(drawn as usize);
        self.validation.append(&mut pool);
        unused.sort_unstable();
        let mut train = shuffled(unused, Stream::new(seed, streams::LABELS), *index);
        // Of all images, also of those that are for validation.
        let tested = settings.test_share.map(|share| {
            let count = Validation::Share(share).of(train.len() + drawn as usize, settings.scale);
            train.len().saturating_sub(count.max(1) as usize).max(1)
        });
        let labels = settings.labels.map(|labels| labels as usize).or(tested);
        let leftover = labels.map_or(Vec::new(), |labels| train.split_off(labels));
        self.train.append(&mut train);

        if settings.validation.is_none() {
            require("validation", given(Part::Validation).count(), 1)?;
            self.validation.extend(given(Part::Validation));
        }
        if settings.test_is_given {
            require("testing", given(Part::Test).count(), 1)?;
            self.test.extend(given(Part::Test));
        } else {
            self.test.extend(leftover);
        }
        Ok(())
    }
}

/// What is taken from each stratum.
struct StratumSettings {
    labels: Option<u32>,
    /// `None` where the set has a validation part.
    validation: Option<Validation>,
    /// How many classes a stratum stands for.
    scale: u32,
    test_is_given: bool,
    /// Where the test images are drawn by their share.
    test_share: Option<f64>,
}

/// Items that are divided among themselves.
struct Stratum<'a> {
    /// Of its draws.
    index: u32,
    /// The class, for messages.
    name: &'a str,
    /// In ascending order.
    items: Vec<u32>,
}

impl<'a> Stratum<'a> {
    /// One for each class; all labelled items where they have several.
    fn of(set: &'a Dataset) -> Vec<Self> {
        if set.task() == Task::MultiLabel {
            return vec![Self { index: 0, name: "(all)", items: set.all_items() }];
        }
        let stratum = |(index, name): (u32, &'a String)| Self { index, name, items: Vec::new() };
        let mut strata: Vec<Self> = (0u32..).zip(set.classes()).map(stratum).collect();
        for item in 0..set.len() {
            if let Some(label) = set.label(item) {
                strata[label as usize].items.push(item);
            }
        }
        strata
    }
}

fn shuffled(items: Vec<u32>, stream: Stream, class: u32) -> Vec<u32> {
    match Permutation::new(stream, u64::from(class), items.len() as u32) {
        Ok(order) => (0..items.len() as u32).map(|i| items[order.at(i) as usize]).collect(),
        // Nothing to shuffle.
        Err(_) => items,
    }
}
