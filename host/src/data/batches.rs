//! Batches as pure functions of a step number: no state, so resuming needs the number alone.

use std::sync::Arc;

use bissl_core::{BatchOrder, ConfigError, Stream};
use rayon::prelude::*;

use super::{DataError, Dataset, Recipe, Targets, View};

/// Two augmented views of the same samples.
#[derive(Clone, Debug, PartialEq)]
pub struct TwoViews {
    /// View A: `[batch, channels, height, width]`, normalised.
    pub a: Vec<f32>,
    /// View B, likewise; row `i` shows the sample of row `i` of view A.
    pub b: Vec<f32>,
    /// Samples.
    pub batch: u32,
    /// Channels, height and width of each.
    pub shape: [usize; 3],
}

/// Augmented samples with their labels.
#[derive(Clone, Debug, PartialEq)]
pub struct Labelled {
    /// `[batch, channels, height, width]`, normalised.
    pub images: Vec<f32>,
    /// What each sample is labelled with.
    pub labels: Targets,
    /// Samples.
    pub batch: u32,
    /// Channels, height and width of each.
    pub shape: [usize; 3],
}

/// Samples as evaluation sees them, with the items that they are.
#[derive(Clone, Debug, PartialEq)]
pub struct EvaluationChunk {
    /// `[batch, channels, height, width]`, normalised.
    pub images: Vec<f32>,
    /// Item index per sample; [`Dataset::targets`] gives their labels.
    pub items: Vec<u32>,
    /// Samples.
    pub batch: u32,
    /// Channels, height and width of each.
    pub shape: [usize; 3],
}

/// Which items a step takes, and the draws that augment them.
#[derive(Clone, Debug)]
struct Steps {
    dataset: Arc<Dataset>,
    items: Vec<u32>,
    order: BatchOrder,
    batch: u32,
    views: Stream,
    recipe: Recipe,
}

impl Steps {
    fn new(
        dataset: Arc<Dataset>,
        items: Vec<u32>,
        batch: u32,
        order: Stream,
        views: Stream,
        recipe: Recipe,
    ) -> Result<Self, ConfigError> {
        if items.is_empty() {
            return Err(ConfigError::Zero { name: "items" });
        }
        let batch = batch.min(items.len() as u32);
        let order = BatchOrder::new(order, items.len() as u32, batch)?;
        Ok(Self { dataset, items, order, batch, views, recipe })
    }

    fn item(&self, step: u32, i: usize) -> u32 {
        self.items[self.order.item(step, i as u32) as usize]
    }

    /// Number of an image among all that training sees: its draws' index.
    fn count(&self, step: u32, i: usize) -> u64 {
        u64::from(step) * u64::from(self.batch) + i as u64
    }

    fn zeros(&self) -> Vec<f32> {
        vec![0.0; self.batch as usize * self.recipe.input_len()]
    }
}

/// Batches of two views for the pretext task; labels are not looked at.
#[derive(Clone, Debug)]
pub struct PretextBatches {
    steps: Steps,
}

impl PretextBatches {
    /// Batches of `batch` images out of `items` of a data set, or of all `items` if they are fewer.
    ///
    /// `order` and `views` are the streams of the batch order and of the recipe.
    ///
    /// # Errors
    /// `batch` or the number of items is 0.
    pub fn new(
        dataset: Arc<Dataset>,
        items: Vec<u32>,
        batch: u32,
        order: Stream,
        views: Stream,
        recipe: impl Into<Recipe>,
    ) -> Result<Self, ConfigError> {
        let steps = Steps::new(dataset, items, batch, order, views, recipe.into())?;
        Ok(Self { steps })
    }

    /// Whole batches in an epoch, at least 1.
    pub fn batches_per_epoch(&self) -> u32 {
        self.steps.order.batches_per_epoch()
    }

    /// Images in a batch.
    pub fn batch(&self) -> u32 {
        self.steps.batch
    }

    /// Batch number `step`, made on all cores.
    ///
    /// # Errors
    /// [`DataError::BadImage`] if images are decoded on demand and one changed since the check.
    pub fn make(&self, step: u32) -> Result<TwoViews, DataError> {
        let Steps { dataset, batch, views, recipe, .. } = &self.steps;
        let (mut a, mut b) = (self.steps.zeros(), self.steps.zeros());
        let length = recipe.input_len();
        a.par_chunks_exact_mut(length)
            .zip(b.par_chunks_exact_mut(length))
            .enumerate()
            .try_for_each(|(i, (a, b))| {
                let sample = dataset.sample(self.steps.item(step, i))?;
                // Two sub-streams: even indices draw view A, odd ones view B.
                let count = self.steps.count(step, i);
                recipe.pretext(&sample, View::A, views.at(2 * count), a);
                recipe.pretext(&sample, View::B, views.at(2 * count + 1), b);
                Ok::<(), DataError>(())
            })?;
        Ok(TwoViews { a, b, batch: *batch, shape: recipe.shape() })
    }
}

/// Batches of labelled training images.
#[derive(Clone, Debug)]
pub struct LabelledBatches {
    steps: Steps,
}

impl LabelledBatches {
    /// Batches of `batch` images out of `items` of a data set, or of all `items` if they are fewer.
    ///
    /// `order` and `views` are the streams of the batch order and of the recipe.
    ///
    /// # Errors
    /// `batch` or the number of items is 0; [`DataError::Unlabelled`].
    pub fn new(
        dataset: Arc<Dataset>,
        items: Vec<u32>,
        batch: u32,
        order: Stream,
        views: Stream,
        recipe: impl Into<Recipe>,
    ) -> Result<Self, DataError> {
        dataset.targets(&items)?;
        let steps = Steps::new(dataset, items, batch, order, views, recipe.into())?;
        Ok(Self { steps })
    }

    /// Whole batches in an epoch, at least 1.
    pub fn batches_per_epoch(&self) -> u32 {
        self.steps.order.batches_per_epoch()
    }

    /// Images in a batch.
    pub fn batch(&self) -> u32 {
        self.steps.batch
    }

    /// Batch number `step`, made on all cores.
    ///
    /// # Errors
    /// [`DataError::BadImage`] if images are decoded on demand and one changed since the check.
    pub fn make(&self, step: u32) -> Result<Labelled, DataError> {
        let Steps { dataset, batch, views, recipe, .. } = &self.steps;
        let mut images = self.steps.zeros();
        images.par_chunks_exact_mut(recipe.input_len()).enumerate().try_for_each(|(i, out)| {
            let sample = dataset.sample(self.steps.item(step, i))?;
            recipe.downstream(&sample, views.at(self.steps.count(step, i)), out);
            Ok::<(), DataError>(())
        })?;
        let items: Vec<u32> = (0..*batch as usize).map(|i| self.steps.item(step, i)).collect();
        let labels = dataset.targets(&items)?;
        Ok(Labelled { images, labels, batch: *batch, shape: recipe.shape() })
    }
}

/// Items in the given order, as evaluation sees them, `chunk` (at least 1) images at a time.
///
/// The last chunk may be smaller. Each is made on all cores when it is asked for.
pub fn evaluation_images<'a>(
    dataset: &'a Dataset,
    items: &'a [u32],
    recipe: &'a Recipe,
    chunk: usize,
) -> impl Iterator<Item = Result<EvaluationChunk, DataError>> + 'a {
    items.chunks(chunk.max(1)).map(move |items| {
        let length = recipe.input_len();
        let mut images = vec![0.0; items.len() * length];
        images.par_chunks_exact_mut(length).zip(items).try_for_each(|(out, &item)| {
            recipe.evaluation(&dataset.sample(item)?, out);
            Ok::<(), DataError>(())
        })?;
        let (batch, shape) = (items.len() as u32, recipe.shape());
        Ok(EvaluationChunk { images, items: items.to_vec(), batch, shape })
    })
}
