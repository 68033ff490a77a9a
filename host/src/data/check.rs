//! What a data set holds, image by image: `bissl data check`.

use std::collections::{BTreeMap, HashMap};
use std::hash::{DefaultHasher, Hasher};

use image::RgbImage;
use rayon::prelude::*;
use serde::Serialize;

use super::decode::kind_of;
use super::{BadImage, DataError, Dataset, ImageSettings, Overlooked, Part, Stored, decode_image};

/// What was found. Counts are of images that decode.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CheckReport {
    /// The folder, file or embedded set.
    pub name: String,
    /// All images, broken ones included.
    pub images: u32,
    /// Images that do not decode, in the data set's order.
    pub broken: Vec<BadImage>,
    /// Images by the part that the set gives them in: `train`, `validation`, `test`, `none`.
    pub parts: BTreeMap<&'static str, u32>,
    /// One entry a class; an image with several classes counts in each.
    pub classes: Vec<ClassImages>,
    /// Images without a label.
    pub unlabelled: u32,
    /// Images of the largest class over those of the smallest that has any; absent with fewer than
    /// two.
    pub imbalance: Option<f64>,
    /// Widths, pixels; absent where nothing decodes.
    pub width: Option<Range>,
    /// Heights, pixels.
    pub height: Option<Range>,
    /// Images by what they are stored as.
    pub stored: BTreeMap<&'static str, u32>,
    /// What lies in its folders and is no part of it.
    pub overlooked: Overlooked,
    /// Images with the same pixels once decoded, whatever their files' bytes.
    pub same: Vec<Same>,
}

/// Images of one class, by part.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ClassImages {
    /// The class.
    pub class: String,
    /// All.
    pub images: u32,
    /// By part, as in the report.
    pub parts: BTreeMap<&'static str, u32>,
}

/// Smallest, middle (the lower one of two) and largest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Range {
    /// Smallest.
    pub least: u32,
    /// Middle.
    pub median: u32,
    /// Largest.
    pub most: u32,
}

/// Two or more images with the same pixels.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Same {
    /// Their names, in the data set's order.
    pub images: Vec<String>,
    /// Whether they are in different parts: what is trained on is tested on.
    pub leaks: bool,
    /// Whether their labels differ.
    pub labels_differ: bool,
}

/// A set with broken images or with images in more than one part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{broken} broken images and {leaks} pictures in more than one part, expected none")]
pub struct CheckFailed {
    /// Images that do not decode.
    pub broken: usize,
    /// Pictures that are in more than one part.
    pub leaks: usize,
}

impl CheckReport {
    /// Whether the set can be trained on as it is.
    ///
    /// # Errors
    /// There are broken images, or the same picture is in two parts.
    pub fn verdict(&self) -> Result<(), CheckFailed> {
        let leaks = self.same.iter().filter(|same| same.leaks).count();
        let broken = self.broken.len();
        if broken == 0 && leaks == 0 { Ok(()) } else { Err(CheckFailed { broken, leaks }) }
    }
}

/// What one image turned out to be.
struct Seen {
    size: (u32, u32),
    kind: &'static str,
    digest: u128,
}

/// Images between two calls of `progress`.
const CHUNK: usize = 64;

/// Decodes every image, on all cores; `progress` is told how many more were done.
///
/// The result does not depend on the number of threads.
pub fn check(
    set: &Dataset,
    settings: &ImageSettings,
    mut progress: impl FnMut(usize),
) -> CheckReport {
    let items = set.all_items();
    let mut seen = Vec::with_capacity(items.len());
    for chunk in items.chunks(CHUNK) {
        seen.par_extend(chunk.par_iter().map(|&item| look(set, item, settings)));
        progress(chunk.len());
    }
    let mut report = CheckReport {
        name: set.name().into(),
        images: set.len(),
        broken: Vec::new(),
        parts: BTreeMap::new(),
        classes: set
            .classes()
            .iter()
            .map(|class| ClassImages { class: class.clone(), images: 0, parts: BTreeMap::new() })
            .collect(),
        unlabelled: 0,
        imbalance: None,
        width: None,
        height: None,
        stored: BTreeMap::new(),
        overlooked: set.overlooked().clone(),
        same: Vec::new(),
    };
    let (mut widths, mut heights) = (Vec::new(), Vec::new());
    let mut by_digest: HashMap<u128, Vec<u32>> = HashMap::new();
    for (item, seen) in items.into_iter().zip(seen) {
        match seen {
            Err(error) => report.broken.push(error.into()),
            Ok(Seen { size, kind, digest }) => {
                report.count(set, item);
                *report.stored.entry(kind).or_default() += 1;
                widths.push(size.0);
                heights.push(size.1);
                by_digest.entry(digest).or_default().push(item);
            }
        }
    }
    report.imbalance = imbalance(&report.classes);
    (report.width, report.height) = (range(widths), range(heights));
    let mut groups: Vec<Vec<u32>> =
        by_digest.into_values().filter(|items| items.len() > 1).collect();
    groups.sort_unstable();
    report.same = groups.iter().map(|items| same(set, items)).collect();
    report
}

fn look(set: &Dataset, item: u32, settings: &ImageSettings) -> Result<Seen, DataError> {
    let (image, kind) = match set.stored(item)? {
        Stored::Pixels(image) => (image, "pixels"),
        Stored::Encoded(bytes) => {
            (decode_image(&set.item_name(item), &bytes, settings)?, kind_of(&bytes))
        }
    };
    Ok(Seen { size: image.dimensions(), kind, digest: digest(&image) })
}

/// 128 bits of size and pixels: two images of a set with the same ones are the same image.
fn digest(image: &RgbImage) -> u128 {
    let half = |salt: u8| {
        // Its keys are constants: the same image has the same digest in every run.
        let mut hasher = DefaultHasher::new();
        hasher.write_u8(salt);
        hasher.write_u32(image.width());
        hasher.write(image.as_raw());
        hasher.finish()
    };
    u128::from(half(0)) << 64 | u128::from(half(1))
}

fn part_name(part: Option<Part>) -> &'static str {
    match part {
        Some(Part::Train) => "train",
        Some(Part::Validation) => "validation",
        Some(Part::Test) => "test",
        None => "none",
    }
}

impl CheckReport {
    fn count(&mut self, set: &Dataset, item: u32) {
        let part = part_name(set.part(item));
        *self.parts.entry(part).or_default() += 1;
        let present = set.present(item);
        self.unlabelled += u32::from(present.is_empty());
        for &class in present {
            let class = &mut self.classes[class as usize];
            class.images += 1;
            *class.parts.entry(part).or_default() += 1;
        }
    }
}

fn imbalance(classes: &[ClassImages]) -> Option<f64> {
    let counts = || classes.iter().map(|class| class.images).filter(|&images| images > 0);
    let (most, least) = (counts().max()?, counts().min()?);
    (counts().count() > 1).then(|| f64::from(most) / f64::from(least))
}

fn range(mut values: Vec<u32>) -> Option<Range> {
    values.sort_unstable();
    let (&least, &most) = (values.first()?, values.last()?);
    Some(Range { least, median: values[(values.len() - 1) / 2], most })
}

fn same(set: &Dataset, items: &[u32]) -> Same {
    let given: Vec<Part> = items.iter().filter_map(|&item| set.part(item)).collect();
    let labels: Vec<&[u32]> =
        items.iter().map(|&item| set.present(item)).filter(|labels| !labels.is_empty()).collect();
    Same {
        images: items.iter().map(|&item| set.item_name(item).into_owned()).collect(),
        leaks: given.windows(2).any(|pair| pair[0] != pair[1]),
        labels_differ: labels.windows(2).any(|pair| pair[0] != pair[1]),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use image::{DynamicImage, GrayImage, ImageFormat, Rgb};

    use super::*;
    use crate::data::{Corpus, Format};

    fn picture(seed: u8, width: u32) -> DynamicImage {
        RgbImage::from_fn(width, 8, |x, y| Rgb([seed, x as u8, y as u8])).into()
    }

    fn put(root: &Path, name: &str, image: &DynamicImage, format: ImageFormat) {
        let path = root.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        image.save_with_format(path, format).unwrap();
    }

    fn report(root: &Path) -> CheckReport {
        let set = Dataset::open(root, Format::Auto, Corpus::All).unwrap();
        let mut done = 0;
        let report = check(&set, &ImageSettings::default(), |more| done += more);
        assert_eq!(done, set.len() as usize);
        report
    }

    #[test]
    fn a_clean_set_is_counted_and_passes() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        for i in 0..5 {
            put(root, &format!("train/a/{i}.png"), &picture(i, 8 + u32::from(i)), ImageFormat::Png);
        }
        put(root, "train/b/0.jpg", &picture(9, 30), ImageFormat::Jpeg);
        put(root, "test/a/0.png", &GrayImage::new(8, 9).into(), ImageFormat::Png);
        let report = report(root);
        assert_eq!(report.verdict(), Ok(()));
        assert_eq!((report.images, report.unlabelled), (7, 0));
        assert_eq!(report.parts, BTreeMap::from([("train", 6), ("test", 1)]));
        assert_eq!(report.classes[0].parts, BTreeMap::from([("train", 5), ("test", 1)]));
        assert_eq!((report.classes[1].class.as_str(), report.classes[1].images), ("b", 1));
        assert_eq!(report.imbalance, Some(6.0));
        assert_eq!(report.width, Some(Range { least: 8, median: 10, most: 30 }));
        assert_eq!(report.height, Some(Range { least: 8, median: 8, most: 9 }));
        let stored = BTreeMap::from([("JPEG, colour", 1), ("PNG, colour", 5), ("PNG, grey", 1)]);
        assert_eq!(report.stored, stored);
        assert!(report.same.is_empty());
    }

    #[test]
    fn broken_same_leaking_and_contradictory_images_are_named() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        for (name, seed) in [
            ("train/a/0.png", 0),
            ("train/a/1.png", 1),
            // Within a part: the same picture twice, and with another label.
            ("train/a/2.png", 1),
            ("train/b/3.png", 3),
            ("train/b/0.png", 5),
            ("train/a/3.png", 5),
            ("test/a/4.png", 4),
            // In both parts.
            ("test/b/5.png", 3),
        ] {
            put(root, name, &picture(seed, 8), ImageFormat::Png);
        }
        // Other bytes, the same pixels.
        let deep = picture(4, 8).to_rgb16();
        put(root, "test/a/6.png", &deep.into(), ImageFormat::Png);
        fs::write(root.join("test/b/7.png"), b"nothing").unwrap();
        let report = report(root);
        assert_eq!(report.broken.len(), 1);
        assert!(report.broken[0].name.ends_with("7.png"), "{}", report.broken[0]);
        let mut found: Vec<(Vec<&str>, bool, bool)> = report
            .same
            .iter()
            .map(|same| {
                let name = |name: &String| {
                    let at = name.rfind("/t").unwrap() + 1;
                    name[at..].to_owned()
                };
                let names: Vec<String> = same.images.iter().map(name).collect();
                let names = names.into_iter().map(|name| &*name.leak()).collect();
                (names, same.leaks, same.labels_differ)
            })
            .collect();
        found.sort();
        let expected: [(Vec<&str>, bool, bool); 4] = [
            (vec!["test/a/4.png", "test/a/6.png"], false, false),
            (vec!["test/b/5.png", "train/b/3.png"], true, false),
            (vec!["train/a/1.png", "train/a/2.png"], false, false),
            (vec!["train/a/3.png", "train/b/0.png"], false, true),
        ];
        assert_eq!(found, expected);
        assert_eq!(report.verdict(), Err(CheckFailed { broken: 1, leaks: 1 }));
    }

    #[test]
    fn sizes_are_part_of_what_is_compared() {
        let wide = RgbImage::new(4, 2);
        let high = RgbImage::new(2, 4);
        assert_ne!(digest(&wide), digest(&high));
        assert_eq!(digest(&wide), digest(&wide.clone()));
    }
}
