//! Which items are for training, for validation and for testing.

use bissl_core::{Permutation, Stream};
use serde::{Deserialize, Serialize};

use super::{DataError, Dataset, Part, streams};

/// How a labelled set is divided, the same in every class.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SplitSettings {
    /// Labelled training images of each class, at least 1; all of them where absent, which a set
    /// without a `test` folder does not allow.
    pub labels_per_class: Option<u32>,
    /// Validation images of each class, taken from the training images; where the set has a
    /// `validation` folder, its images are used instead.
    pub validation_per_class: u32,
}

/// A division of a labelled data set; item indices in ascending order, no item twice.
#[derive(Clone, Debug, PartialEq, Eq)]
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
    /// A given `test` folder is the test set; otherwise it is all that training and validation leave.
    /// The draws of a class depend on `seed` and the class alone. Validation items do not change with
    /// `labels_per_class`, and fewer labels are a subset of more.
    ///
    /// # Errors
    /// An unlabelled set; a class too small for what is asked; no rest to test on.
    pub fn draw(set: &Dataset, settings: &SplitSettings, seed: u64) -> Result<Self, DataError> {
        if set.classes().is_empty() {
            return Err(DataError::Unlabelled { name: set.name().into() });
        }
        if settings.labels_per_class == Some(0) {
            return Err(bissl_core::ConfigError::Zero { name: "labels_per_class" }.into());
        }
        let has = |part| (0..set.len()).any(|item| set.part(item) == Some(part));
        let class_settings = ClassSettings {
            labels: settings.labels_per_class,
            validation: if has(Part::Validation) {
                None
            } else {
                Some(settings.validation_per_class)
            },
            test_is_given: has(Part::Test),
        };
        if settings.labels_per_class.is_none() && !class_settings.test_is_given {
            return Err(DataError::NothingToTest { name: set.name().into() });
        }
        let mut split = Self { train: Vec::new(), validation: Vec::new(), test: Vec::new() };
        for (label, items) in (0u32..).zip(items_by_class(set)) {
            split.draw_class(set, label, &items, &class_settings, seed)?;
        }
        for items in [&mut split.train, &mut split.validation, &mut split.test] {
            items.sort_unstable();
        }
        Ok(split)
    }

    fn draw_class(
        &mut self,
        set: &Dataset,
        label: u32,
        items: &[u32],
        settings: &ClassSettings,
        seed: u64,
    ) -> Result<(), DataError> {
        let given = |part| items.iter().copied().filter(move |&item| set.part(item) == Some(part));
        let require = |purpose, found: usize, needed: u32| {
            if found >= needed as usize {
                return Ok(());
            }
            Err(DataError::TooFewInClass {
                name: set.name().into(),
                class: set.classes()[label as usize].clone(),
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

        let drawn = settings.validation.unwrap_or(0);
        let rest = u32::from(!settings.test_is_given);
        let needed = settings.labels.unwrap_or(1).saturating_add(drawn).saturating_add(rest);
        let purpose = match (drawn > 0, settings.test_is_given) {
            (true, false) => "training, validation and a test rest",
            (true, true) => "training and validation",
            (false, false) => "training and a test rest",
            (false, true) => "training",
        };
        require(purpose, pool.len(), needed)?;

        let mut pool = shuffled(pool, Stream::new(seed, streams::SPLIT), label);
        let mut unused = pool.split_off(drawn as usize);
        self.validation.append(&mut pool);
        unused.sort_unstable();
        let mut train = shuffled(unused, Stream::new(seed, streams::LABELS), label);
        let leftover =
            settings.labels.map_or(Vec::new(), |labels| train.split_off(labels as usize));
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

/// What is taken from each class.
struct ClassSettings {
    labels: Option<u32>,
    /// `None` where the set has a validation folder.
    validation: Option<u32>,
    test_is_given: bool,
}

/// Items of each class, in ascending order.
fn items_by_class(set: &Dataset) -> Vec<Vec<u32>> {
    let mut by_class = vec![Vec::new(); set.classes().len()];
    for item in 0..set.len() {
        if let Some(label) = set.label(item) {
            by_class[label as usize].push(item);
        }
    }
    by_class
}

fn shuffled(items: Vec<u32>, stream: Stream, class: u32) -> Vec<u32> {
    match Permutation::new(stream, u64::from(class), items.len() as u32) {
        Ok(order) => (0..items.len() as u32).map(|i| items[order.at(i) as usize]).collect(),
        // Nothing to shuffle.
        Err(_) => items,
    }
}
