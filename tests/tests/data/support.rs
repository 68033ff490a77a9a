//! Folders and files for the tests.

use std::fs;
use std::io::Cursor;
use std::path::Path;
use std::sync::Arc;

use bissl::data::{Dataset, Embedded, ImageSettings, Labels};
use image::{DynamicImage, ImageFormat, Rgb, RgbImage};

/// A picture in which every pixel depends on `seed`.
pub(crate) fn picture(seed: u8, width: u32, height: u32) -> RgbImage {
    RgbImage::from_fn(width, height, |x, y| {
        Rgb([seed, (x * 5) as u8 ^ seed, (y * 3) as u8 ^ seed.wrapping_mul(31)])
    })
}

pub(crate) fn encode(image: impl Into<DynamicImage>, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    image.into().write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

pub(crate) fn png(seed: u8) -> Vec<u8> {
    encode(picture(seed, 12, 12), ImageFormat::Png)
}

/// Writes a file and creates the folders above it.
pub(crate) fn put(root: &Path, name: &str, bytes: &[u8]) {
    let path = root.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}

/// A folder of `counts` images per class, with the classes' names.
pub(crate) fn put_classes(root: &Path, counts: &[(&str, u8)]) {
    for &(class, count) in counts {
        for i in 0..count {
            put(root, &format!("{class}/{i:03}.png"), &png(i));
        }
    }
}

/// The set as listed, checked with default settings.
pub(crate) fn checked(root: &Path, labels: Labels) -> Dataset {
    Dataset::folder(root, labels).unwrap().checked(&ImageSettings::default()).unwrap().0
}

/// File names below the root, with `/` between folders.
pub(crate) fn names(root: &Path, set: &Dataset) -> Vec<String> {
    let strip = |name: &str| {
        let path = Path::new(name).strip_prefix(root).unwrap();
        path.to_str().unwrap().replace(std::path::MAIN_SEPARATOR, "/")
    };
    set.all_items().iter().map(|&item| strip(&set.item_name(item))).collect()
}

pub(crate) fn twemoji() -> Arc<Dataset> {
    let set = Dataset::embedded(Embedded::Twemoji).unwrap();
    Arc::new(set.checked(&ImageSettings::default()).unwrap().0)
}

/// FNV-1a, 64 bits, of the values' bytes.
pub(crate) fn hash(values: &[f32]) -> u64 {
    values.iter().flat_map(|value| value.to_le_bytes()).fold(0xCBF2_9CE4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01B3)
    })
}
