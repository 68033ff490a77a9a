//! Laws of batches: they are pure functions of the step, with the same bytes for any number of
//! threads.

use std::sync::Arc;

use bissl::data::{
    AugmentSettings, Augmentation, DataError, Dataset, ImageSettings, Inputs, LabelledBatches,
    Labels, PretextBatches, Targets, evaluation_images, streams,
};
use bissl_core::Stream;

use crate::support::{hash, png, put, twemoji};

const SEED: u64 = 11;

fn augmentation() -> Augmentation {
    Augmentation::new(32, AugmentSettings::default()).unwrap()
}

fn pretext(set: &Arc<Dataset>, batch: u32, augmentation: Augmentation) -> PretextBatches {
    let order = Stream::new(SEED, streams::PRETEXT_ORDER);
    let views = Stream::new(SEED, streams::PRETEXT_VIEW);
    PretextBatches::new(Arc::clone(set), set.all_items(), batch, order, views, augmentation)
        .unwrap()
}

fn labelled(set: &Arc<Dataset>, items: Vec<u32>, batch: u32) -> Result<LabelledBatches, DataError> {
    let order = Stream::new(SEED, streams::DOWNSTREAM_ORDER);
    let views = Stream::new(SEED, streams::DOWNSTREAM_VIEW);
    LabelledBatches::new(Arc::clone(set), items, batch, order, views, augmentation())
}

/// The values of a batch that was not packed.
fn values<const VIEWS: usize>(inputs: Inputs<VIEWS>) -> [Vec<f32>; VIEWS] {
    let Inputs::Values(values) = inputs else { panic!("a packed batch") };
    values
}

/// Labels of a set with one label per image.
fn classes(targets: Targets) -> Vec<u32> {
    let Targets::Classes(classes) = targets else { panic!("sets of labels") };
    classes
}

#[test]
fn the_same_bytes_for_any_number_of_threads() {
    let set = twemoji();
    let batches = pretext(&set, 24, augmentation());
    let training = labelled(&set, set.all_items(), 24).unwrap();
    let packed = (batches.clone().packed(), training.clone().packed());
    for (batches, training) in [(batches, training), packed] {
        let make = || (batches.make(5).unwrap(), training.make(5).unwrap());
        let expected = make();
        for threads in [1, 2, 7] {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            assert!(pool.install(make) == expected, "{threads} threads");
        }
    }
}

/// Changes if a recipe, the order of draws or the embedded set changes; runs are then not
/// comparable.
#[test]
fn golden_batches() {
    let set = twemoji();
    let views = pretext(&set, 16, augmentation()).make(3).unwrap();
    let paper = Augmentation::new(24, AugmentSettings::paper()).unwrap();
    let other = pretext(&set, 16, paper).make(0).unwrap();
    let training = labelled(&set, set.all_items(), 16).unwrap().make(3).unwrap();
    let ([a, b], [other_a, other_b]) = (values(views.views), values(other.views));
    let [images] = values(training.images);
    let hashes = [&a, &b, &other_a, &other_b, &images].map(|v| hash(v));
    let expected = [
        0xaf3f_112f_c937_1b7d,
        0x7d1f_0366_8e3e_9102,
        0xd512_40be_d59a_68f3,
        0x8850_4548_9d1e_4e69,
        0xc23f_f98a_4c72_975a,
    ];
    assert_eq!(hashes, expected, "{hashes:#018x?}");
}

#[test]
fn views_differ_from_each_other_and_from_step_to_step() {
    let set = twemoji();
    let batches = pretext(&set, 8, augmentation());
    let (first, second) = (batches.make(0).unwrap(), batches.make(1).unwrap());
    assert_eq!((first.batch, first.shape), (8, [3, 32, 32]));
    let ([a, b], [later, _]) = (values(first.views), values(second.views));
    assert_eq!(a.len(), 8 * 3 * 32 * 32);
    assert_ne!(a, b);
    assert_ne!(a, later);
    // An image that returns in a later epoch is augmented differently.
    let one = pretext(&set, 1906, augmentation());
    assert_eq!(one.batches_per_epoch(), 1);
    let single: Vec<u32> = vec![100];
    let again = labelled(&set, single, 1).unwrap();
    assert_ne!(again.make(0).unwrap().images, again.make(1).unwrap().images);
}

/// Recipes that change nothing, and images of one colour each, show where each item is.
#[test]
fn an_epoch_shows_every_item_once_and_rows_of_both_views_agree() {
    let root = tempfile::tempdir().unwrap();
    for i in 0..12 {
        put(root.path(), &format!("{}/{i}.png", i % 3), &png(i * 20));
    }
    let set = Dataset::folder(root.path(), Labels::FromFolders).unwrap();
    let set = Arc::new(set.checked(&ImageSettings::default()).unwrap().0);
    let still = AugmentSettings {
        jitter: 0.0,
        grey: 0.0,
        blur_a: 0.0,
        blur_b: 0.0,
        solarise_b: 0.0,
        ..AugmentSettings::default()
    };
    let still = Augmentation::new(8, still).unwrap();
    // The red channel of a test picture is its number, whatever the crop.
    let red = |images: &[f32]| -> Vec<u32> {
        let value = |image: &[f32]| ((image[0] * 0.229 + 0.485) * 255.0).round() as u32;
        images.chunks(3 * 64).map(value).collect()
    };
    let batches = pretext(&set, 4, still);
    assert_eq!(batches.batches_per_epoch(), 3);
    let mut seen = Vec::new();
    for step in 0..3 {
        let [a, b] = values(batches.make(step).unwrap().views);
        assert_eq!(red(&a), red(&b));
        seen.extend(red(&a));
    }
    seen.sort_unstable();
    assert_eq!(seen, (0..12).map(|i| i * 20).collect::<Vec<_>>());

    let order = Stream::new(1, streams::WARM_UP_ORDER);
    let views = Stream::new(1, streams::WARM_UP_VIEW);
    let items = set.all_items();
    let training = LabelledBatches::new(set, items, 6, order, views, still).unwrap();
    let batch = training.make(7).unwrap();
    let [images] = values(batch.images);
    for (red, label) in red(&images).into_iter().zip(classes(batch.labels)) {
        assert_eq!(red / 20 % 3, label);
    }
}

#[test]
fn few_items_make_a_small_batch_and_none_is_refused() {
    let set = twemoji();
    let training = labelled(&set, vec![3, 900, 1200], 64).unwrap();
    assert_eq!((training.batch(), training.batches_per_epoch()), (3, 1));
    let batch = training.make(0).unwrap();
    let [images] = values(batch.images);
    assert_eq!((batch.batch, batch.labels.len(), images.len()), (3, 3, 3 * 3 * 1024));
    let mut labels = classes(batch.labels);
    labels.sort_unstable();
    assert_eq!(labels, set.labels(&[3, 900, 1200]).unwrap());
    assert!(matches!(labelled(&set, Vec::new(), 64), Err(DataError::Config(_))));
    assert!(matches!(labelled(&set, vec![0], 0), Err(DataError::Config(_))));
}

#[test]
fn evaluation_shows_the_given_items_in_order_in_chunks_of_any_size() {
    let set = twemoji();
    let items: Vec<u32> = (0..50).map(|i| (i * 37) % 1906).collect();
    let augmentation = augmentation();
    let all = |chunk| {
        let (mut images, mut seen) = (Vec::new(), Vec::new());
        for made in evaluation_images(&set, &items, &augmentation.into(), chunk) {
            let made = made.unwrap();
            assert_eq!(made.items.len(), made.batch as usize);
            images.extend(made.images);
            seen.extend(made.items);
        }
        assert_eq!(seen, items);
        images
    };
    let whole = all(50);
    assert_eq!(whole.len(), 50 * augmentation.image_len());
    for chunk in [0, 1, 7, 64] {
        assert_eq!(all(chunk), whole, "{chunk}");
    }
}

#[test]
fn labels_of_an_unlabelled_set_are_refused() {
    let root = tempfile::tempdir().unwrap();
    put(root.path(), "a.png", &png(1));
    let set = Arc::new(Dataset::folder(root.path(), Labels::Ignore).unwrap());
    assert!(matches!(labelled(&set, vec![0], 1), Err(DataError::Unlabelled { .. })));
}
