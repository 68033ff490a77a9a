//! Batches as pure functions of a step number: no state, so resuming needs the number alone.

use std::sync::Arc;

use bissl_core::{BatchOrder, ConfigError, Stream};
use rayon::prelude::*;

use super::{Augmentation, DataError, Dataset, Targets, View};

/// Two augmented views of the same images.
#[derive(Clone, Debug, PartialEq)]
pub struct TwoViews {
    /// View A: `[batch, 3, size, size]`, normalised.
    pub a: Vec<f32>,
    /// View B, likewise; row `i` shows the image of row `i` of view A.
    pub b: Vec<f32>,
    /// Images.
    pub batch: u32,
    /// Side in pixels.
    pub size: u32,
}

/// Augmented images with their labels.
#[derive(Clone, Debug, PartialEq)]
pub struct Labelled {
    /// `[batch, 3, size, size]`, normalised.
    pub images: Vec<f32>,
    /// What each image is labelled with.
    pub labels: Targets,
    /// Images.
    pub batch: u32,
    /// Side in pixels.
    pub size: u32,
}

/// Images as evaluation sees them, with the items that they are.
#[derive(Clone, Debug, PartialEq)]
pub struct EvaluationChunk {
    /// `[batch, 3, size, size]`, normalised.
    pub images: Vec<f32>,
    /// Item index per image; [`Dataset::targets`] gives their labels.
    pub items: Vec<u32>,
    /// Images.
    pub batch: u32,
    /// Side in pixels.
    pub size: u32,
}

/// Which items a step takes, and the draws that augment them.
#[derive(Clone, Debug)]
struct Steps {
    dataset: Arc<Dataset>,
    items: Vec<u32>,
    order: BatchOrder,
    batch: u32,
    views: Stream,
    augmentation: Augmentation,
}

impl Steps {
    fn new(
        dataset: Arc<Dataset>,
        items: Vec<u32>,
        batch: u32,
        order: Stream,
        views: Stream,
        augmentation: Augmentation,
    ) -> Result<Self, ConfigError> {
        if items.is_empty() {
            return Err(ConfigError::Zero { name: "items" });
        }
        let batch = batch.min(items.len() as u32);
        let order = BatchOrder::new(order, items.len() as u32, batch)?;
        Ok(Self { dataset, items, order, batch, views, augmentation })
    }

    fn item(&self, step: u32, i: usize) -> u32 {
        self.items[self.order.item(step, i as u32) as usize]
    }

    /// Number of an image among all that training sees: its draws' index.
    fn count(&self, step: u32, i: usize) -> u64 {
        u64::from(step) * u64::from(self.batch) + i as u64
    }

    fn zeros(&self) -> Vec<f32> {
        vec![0.0; self.batch as usize * self.augmentation.image_len()]
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
    /// `order` and `views` are the streams of the batch order and of the augmentation.
    ///
    /// # Errors
    /// `batch` or the number of items is 0.
    pub fn new(
        dataset: Arc<Dataset>,
        items: Vec<u32>,
        batch: u32,
        order: Stream,
        views: Stream,
        augmentation: Augmentation,
    ) -> Result<Self, ConfigError> {
        let steps = Steps::new(dataset, items, batch, order, views, augmentation)?;
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
        let Steps { dataset, batch, views, augmentation, .. } = &self.steps;
        let (mut a, mut b) = (self.steps.zeros(), self.steps.zeros());
        let length = augmentation.image_len();
        a.par_chunks_exact_mut(length)
            .zip(b.par_chunks_exact_mut(length))
            .enumerate()
            .try_for_each(|(i, (a, b))| {
                let image = dataset.image(self.steps.item(step, i))?;
                // Two sub-streams: even indices draw view A, odd ones view B.
                let count = self.steps.count(step, i);
                augmentation.pretext(&image, View::A, views.at(2 * count), a);
                augmentation.pretext(&image, View::B, views.at(2 * count + 1), b);
                Ok::<(), DataError>(())
            })?;
        Ok(TwoViews { a, b, batch: *batch, size: augmentation.size() })
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
    /// `order` and `views` are the streams of the batch order and of the augmentation.
    ///
    /// # Errors
    /// `batch` or the number of items is 0; [`DataError::Unlabelled`].
    pub fn new(
        dataset: Arc<Dataset>,
        items: Vec<u32>,
        batch: u32,
        order: Stream,
        views: Stream,
        augmentation: Augmentation,
    ) -> Result<Self, DataError> {
        dataset.targets(&items)?;
        let steps = Steps::new(dataset, items, batch, order, views, augmentation)?;
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
        let Steps { dataset, batch, views, augmentation, .. } = &self.steps;
        let mut images = self.steps.zeros();
        images.par_chunks_exact_mut(augmentation.image_len()).enumerate().try_for_each(
            |(i, out)| {
                let image = dataset.image(self.steps.item(step, i))?;
                augmentation.downstream(&image, views.at(self.steps.count(step, i)), out);
                Ok::<(), DataError>(())
            },
        )?;
        let items: Vec<u32> = (0..*batch as usize).map(|i| self.steps.item(step, i)).collect();
        let labels = dataset.targets(&items)?;
        Ok(Labelled { images, labels, batch: *batch, size: augmentation.size() })
    }
}

/// Items in the given order, as evaluation sees them, `chunk` (at least 1) images at a time.
///
/// The last chunk may be smaller. Each is made on all cores when it is asked for.
pub fn evaluation_images<'a>(
    dataset: &'a Dataset,
    items: &'a [u32],
    augmentation: &'a Augmentation,
    chunk: usize,
) -> impl Iterator<Item = Result<EvaluationChunk, DataError>> + 'a {
    items.chunks(chunk.max(1)).map(move |items| {
        let length = augmentation.image_len();
        let mut images = vec![0.0; items.len() * length];
        images.par_chunks_exact_mut(length).zip(items).try_for_each(|(out, &item)| {
            augmentation.evaluation(dataset.image(item)?.as_ref(), out);
            Ok::<(), DataError>(())
        })?;
        let (batch, size) = (items.len() as u32, augmentation.size());
        Ok(EvaluationChunk { images, items: items.to_vec(), batch, size })
    })
}
