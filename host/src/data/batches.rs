//! Batches as pure functions of a step number: no state, so resuming needs the number alone.

use std::borrow::Cow;
use std::sync::Arc;

use bissl_core::{BatchOrder, ConfigError, Draws, Stream};
use image::RgbImage;
use rayon::prelude::*;

use super::packed::Packed;
use super::{Augmentation, DataError, Dataset, Drawn, Recipe, Targets, View};

/// Samples in `VIEWS` views; row `i` of each shows the same sample.
#[derive(Clone, Debug, PartialEq)]
pub enum Inputs<const VIEWS: usize> {
    /// `[batch, channels, height, width]` a view, normalised.
    Values([Vec<f32>; VIEWS]),
    /// Images, and what was drawn for them: a device is to make the values.
    Packed(Packed<VIEWS>),
}

/// Two augmented views of the same samples.
#[derive(Clone, Debug, PartialEq)]
pub struct TwoViews {
    /// View A, then view B.
    pub views: Inputs<2>,
    /// Samples.
    pub batch: u32,
    /// Channels, height and width of each.
    pub shape: [usize; 3],
}

/// Augmented samples with their labels.
#[derive(Clone, Debug, PartialEq)]
pub struct Labelled {
    /// One view.
    pub images: Inputs<1>,
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
    form: Form,
}

/// Which [`Inputs`] are made.
#[derive(Clone, Copy, Debug)]
enum Form {
    Values,
    Packed,
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
        Ok(Self { dataset, items, order, batch, views, recipe, form: Form::Values })
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

    /// The recipe of what can be packed.
    fn augmentation(&self) -> &Augmentation {
        match &self.recipe {
            Recipe::Image(augmentation) => augmentation,
            Recipe::Window(_) => unreachable!("windows are augmented on the host"),
        }
    }

    /// The images of a step.
    fn images(&self, step: u32) -> Result<Vec<Cow<'_, RgbImage>>, DataError> {
        let image = |i: usize| self.dataset.image(self.item(step, i));
        (0..self.batch as usize).into_par_iter().map(image).collect()
    }

    /// A batch out of images and what was drawn for each in each view.
    fn pack<const VIEWS: usize>(
        &self,
        images: &[Cow<'_, RgbImage>],
        drawn: &[Vec<Drawn>; VIEWS],
    ) -> Packed<VIEWS> {
        Packed::new(self.augmentation().size(), images, drawn.each_ref().map(Vec::as_slice))
    }
}

/// Calls `draw` with the number and size of each image.
fn draw_each(
    images: &[Cow<'_, RgbImage>],
    draw: impl Fn(usize, (u32, u32)) -> Drawn + Sync,
) -> Vec<Drawn> {
    images.par_iter().enumerate().map(|(i, image)| draw(i, image.dimensions())).collect()
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

    /// The same batches, of images only and [packed](Inputs::Packed).
    ///
    /// All images of a batch are decoded before the first is packed: where they are not kept in
    /// memory, that much is needed beside it.
    #[must_use]
    pub fn packed(mut self) -> Self {
        self.steps.form = Form::Packed;
        self
    }

    /// Batch number `step`, made on all cores.
    ///
    /// # Errors
    /// [`DataError::BadImage`] if images are decoded on demand and one changed since the check.
    pub fn make(&self, step: u32) -> Result<TwoViews, DataError> {
        let views = match self.steps.form {
            Form::Values => Inputs::Values(self.values(step)?),
            Form::Packed => {
                let images = self.steps.images(step)?;
                let drawn = self.drawn(step, &images);
                Inputs::Packed(self.steps.pack(&images, &drawn))
            }
        };
        Ok(TwoViews { views, batch: self.steps.batch, shape: self.steps.recipe.shape() })
    }

    fn values(&self, step: u32) -> Result<[Vec<f32>; 2], DataError> {
        let Steps { dataset, recipe, .. } = &self.steps;
        let (mut a, mut b) = (self.steps.zeros(), self.steps.zeros());
        let length = recipe.input_len();
        a.par_chunks_exact_mut(length)
            .zip(b.par_chunks_exact_mut(length))
            .enumerate()
            .try_for_each(|(i, (a, b))| {
                let sample = dataset.sample(self.steps.item(step, i))?;
                recipe.pretext(&sample, View::A, self.draws(step, i, View::A), a);
                recipe.pretext(&sample, View::B, self.draws(step, i, View::B), b);
                Ok::<(), DataError>(())
            })?;
        Ok([a, b])
    }

    fn drawn(&self, step: u32, images: &[Cow<'_, RgbImage>]) -> [Vec<Drawn>; 2] {
        let augmentation = self.steps.augmentation();
        [View::A, View::B].map(|view| {
            draw_each(images, |i, dimensions| {
                augmentation.draw_pretext(dimensions, view, self.draws(step, i, view))
            })
        })
    }

    /// Two sub-streams: even indices draw view A, odd ones view B.
    fn draws(&self, step: u32, i: usize, view: View) -> Draws {
        let count = self.steps.count(step, i);
        self.steps.views.at(match view {
            View::A => 2 * count,
            View::B => 2 * count + 1,
        })
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

    /// The same batches, of images only and [packed](Inputs::Packed).
    ///
    /// All images of a batch are decoded before the first is packed: where they are not kept in
    /// memory, that much is needed beside it.
    #[must_use]
    pub fn packed(mut self) -> Self {
        self.steps.form = Form::Packed;
        self
    }

    /// Batch number `step`, made on all cores.
    ///
    /// # Errors
    /// [`DataError::BadImage`] if images are decoded on demand and one changed since the check.
    pub fn make(&self, step: u32) -> Result<Labelled, DataError> {
        let Steps { dataset, batch, recipe, form, .. } = &self.steps;
        let images = match form {
            Form::Values => Inputs::Values([self.values(step)?]),
            Form::Packed => {
                let images = self.steps.images(step)?;
                let drawn = self.drawn(step, &images);
                Inputs::Packed(self.steps.pack(&images, &[drawn]))
            }
        };
        let items: Vec<u32> = (0..*batch as usize).map(|i| self.steps.item(step, i)).collect();
        let labels = dataset.targets(&items)?;
        Ok(Labelled { images, labels, batch: *batch, shape: recipe.shape() })
    }

    fn values(&self, step: u32) -> Result<Vec<f32>, DataError> {
        let Steps { dataset, recipe, .. } = &self.steps;
        let mut images = self.steps.zeros();
        images.par_chunks_exact_mut(recipe.input_len()).enumerate().try_for_each(|(i, out)| {
            let sample = dataset.sample(self.steps.item(step, i))?;
            recipe.downstream(&sample, self.draws(step, i), out);
            Ok::<(), DataError>(())
        })?;
        Ok(images)
    }

    fn drawn(&self, step: u32, images: &[Cow<'_, RgbImage>]) -> Vec<Drawn> {
        let augmentation = self.steps.augmentation();
        draw_each(images, |i, dimensions| {
            augmentation.draw_downstream(dimensions, self.draws(step, i))
        })
    }

    fn draws(&self, step: u32, i: usize) -> Draws {
        self.steps.views.at(self.steps.count(step, i))
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{AugmentSettings, Embedded};

    const STEP: u32 = 3;

    fn set() -> Arc<Dataset> {
        Arc::new(Dataset::embedded(Embedded::Twemoji).unwrap())
    }

    fn recipe() -> Augmentation {
        Augmentation::new(24, AugmentSettings::default()).unwrap()
    }

    fn pretext() -> PretextBatches {
        let (set, order, views) = (set(), Stream::new(5, 1), Stream::new(5, 2));
        PretextBatches::new(Arc::clone(&set), set.all_items(), 12, order, views, recipe()).unwrap()
    }

    fn labelled() -> LabelledBatches {
        let (set, order, views) = (set(), Stream::new(5, 3), Stream::new(5, 4));
        LabelledBatches::new(Arc::clone(&set), set.all_items(), 12, order, views, recipe()).unwrap()
    }

    fn values<const VIEWS: usize>(inputs: Inputs<VIEWS>) -> [Vec<f32>; VIEWS] {
        match inputs {
            Inputs::Values(values) => values,
            Inputs::Packed(_) => panic!("nobody asked for it"),
        }
    }

    /// What the host makes of what was drawn.
    fn applied(images: &[Cow<'_, RgbImage>], drawn: &[Drawn]) -> Vec<f32> {
        let recipe = recipe();
        let mut values = vec![f32::NAN; images.len() * recipe.image_len()];
        let outs = values.chunks_exact_mut(recipe.image_len());
        for ((image, drawn), out) in images.iter().zip(drawn).zip(outs) {
            recipe.apply(image, drawn, out);
        }
        values
    }

    #[test]
    fn two_views_are_packed_with_the_draws_of_the_values() {
        let batches = pretext();
        let images = batches.steps.images(STEP).unwrap();
        let drawn = batches.drawn(STEP, &images);
        assert_ne!(drawn, batches.drawn(STEP + 1, &images));
        let expected = values(batches.make(STEP).unwrap().views);
        assert!(drawn.each_ref().map(|view| applied(&images, view)) == expected);
        let made = batches.clone().packed().make(STEP).unwrap();
        let packed = Packed::new(24, &images, [&drawn[0], &drawn[1]]);
        assert!(made.views == Inputs::Packed(packed));
        assert_eq!((made.batch, made.shape), (12, [3, 24, 24]));
    }

    #[test]
    fn labelled_images_are_packed_with_the_draws_of_the_values() {
        let batches = labelled();
        let images = batches.steps.images(STEP).unwrap();
        let drawn = batches.drawn(STEP, &images);
        let plain = batches.make(STEP).unwrap();
        let [expected] = values(plain.images);
        assert!(applied(&images, &drawn) == expected);
        let made = batches.clone().packed().make(STEP).unwrap();
        assert!(made.images == Inputs::Packed(Packed::new(24, &images, [&drawn])));
        assert_eq!(made.labels, plain.labels);
    }

    #[test]
    fn a_packed_batch_is_smaller_than_its_values() {
        let Inputs::Packed(packed) = pretext().packed().make(STEP).unwrap().views else {
            panic!("it was asked for")
        };
        let values = 2 * 12 * recipe().image_len() * size_of::<f32>();
        assert!(packed.bytes() < values, "{} of {values} bytes", packed.bytes());
    }
}
