//! Broken images are skipped and counted, or refused above the limit; they never cause a crash.

use std::fs;

use bissl::data::{DataError, Dataset, ImageSettings, Labels, OnBadImage};
use image::{DynamicImage, GrayAlphaImage, GrayImage, ImageFormat, RgbaImage};

use crate::support::{encode, names, picture, png, put, put_classes};

/// A PNG whose header says `width` × `height`, with almost no content.
fn png_header(width: u32, height: u32) -> Vec<u8> {
    let mut bytes = b"\x89PNG\r\n\x1a\n".to_vec();
    let header: Vec<u8> = [
        width.to_be_bytes().as_slice(),
        &height.to_be_bytes(),
        // 8 bits, RGBA, the only compression and filter, not interlaced.
        &[8, 6, 0, 0, 0],
    ]
    .concat();
    for (kind, data) in [(b"IHDR", header.as_slice()), (b"IDAT", &[]), (b"IEND", &[])] {
        bytes.extend_from_slice(&(data.len() as u32).to_be_bytes());
        let chunk = [kind.as_slice(), data].concat();
        bytes.extend_from_slice(&chunk);
        bytes.extend_from_slice(&crc(&chunk).to_be_bytes());
    }
    bytes
}

/// CRC-32 as PNG uses it.
fn crc(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0u32, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| {
            if crc & 1 == 1 { (crc >> 1) ^ 0xEDB8_8320 } else { crc >> 1 }
        })
    })
}

/// One file of each kind of damage.
fn damaged() -> Vec<(&'static str, Vec<u8>, &'static str)> {
    let jpeg = encode(picture(1, 64, 48), ImageFormat::Jpeg);
    let whole = encode(picture(1, 64, 48), ImageFormat::Png);
    let mut flipped = whole.clone();
    let middle = flipped.len() / 2;
    flipped[middle] ^= 0x10;
    vec![
        ("a/cut.jpg", jpeg[..jpeg.len() / 2].to_vec(), "truncated JPEG"),
        ("a/cut.png", whole[..whole.len() / 2].to_vec(), ""),
        (
            "a/empty.png",
            Vec::new(),
            "expected JPEG, PNG, WebP, BMP, TIFF or GIF data, found none of them",
        ),
        ("a/flipped.png", flipped, ""),
        ("a/huge.png", png_header(50_000, 50_000), "50000 x 50000 pixels, expected sides"),
        ("a/text.jpg", b"<html>not found</html>".to_vec(), "found none of them"),
        (
            "a/wide.png",
            png_header(16_384, 16_384),
            "16384 x 16384 pixels are 268435456, expected at most",
        ),
        ("a/zero.png", png_header(0, 7), ""),
    ]
}

#[test]
fn broken_images_are_left_out_and_reported_in_order() {
    let root = tempfile::tempdir().unwrap();
    let root = root.path();
    put_classes(root, &[("a", 20), ("b", 3)]);
    for (name, bytes, _) in damaged() {
        put(root, name, &bytes);
    }
    let set = Dataset::folder(root, Labels::FromFolders).unwrap();
    assert_eq!(set.len(), 31);
    let (set, report) = set.checked(&ImageSettings::default()).unwrap();
    assert_eq!((report.items, report.allowed, report.bad.len()), (31, 15, 8));
    for (bad, (name, _, reason)) in report.bad.iter().zip(damaged()) {
        let line = bad.to_string();
        assert!(line.contains(name) && line.contains(reason), "{name}: {line}");
    }
    assert_eq!(set.len(), 23);
    let kept = names(root, &set);
    assert!(damaged().iter().all(|(name, _, _)| !kept.iter().any(|kept| kept == name)));
    let printed = report.to_string();
    assert!(printed.starts_with("8 of 31 images are broken and left out"), "{printed}");
    for item in set.all_items() {
        assert!(set.image(item).is_ok());
    }
}

#[test]
fn too_many_broken_images_are_an_error_that_names_the_first() {
    let root = tempfile::tempdir().unwrap();
    put_classes(root.path(), &[("a", 5)]);
    for (name, bytes, _) in damaged() {
        put(root.path(), name, &bytes);
    }
    let set = Dataset::folder(root.path(), Labels::Ignore).unwrap();
    let refused = set.checked(&ImageSettings::default()).unwrap_err();
    let DataError::TooManyBadImages { found, items, allowed, first, .. } = &refused else {
        panic!("{refused}");
    };
    assert_eq!((*found, *items, *allowed, first.len()), (8, 13, 6, 3));
    assert!(first[0].contains("cut.jpg"), "{}", first[0]);
}

#[test]
fn a_limit_of_zero_tolerates_nothing() {
    let root = tempfile::tempdir().unwrap();
    put_classes(root.path(), &[("a", 40)]);
    put(root.path(), "a/empty.png", b"");
    let set = Dataset::folder(root.path(), Labels::Ignore).unwrap();
    assert!(set.clone().checked(&ImageSettings::default()).is_ok());
    let strict = ImageSettings { bad_image_limit: 0.0, ..ImageSettings::default() };
    assert!(matches!(set.checked(&strict), Err(DataError::TooManyBadImages { found: 1, .. })));
}

#[test]
fn the_first_broken_image_ends_it_where_that_is_asked_for() {
    let root = tempfile::tempdir().unwrap();
    put_classes(root.path(), &[("a", 20), ("b", 3)]);
    put(root.path(), "b/000.png", b"broken");
    put(root.path(), "a/007.png", b"broken");
    let set = Dataset::folder(root.path(), Labels::FromFolders).unwrap();
    let strict = ImageSettings { on_bad_image: OnBadImage::Error, ..ImageSettings::default() };
    let refused = set.clone().checked(&strict).unwrap_err();
    let DataError::BadImage { name, reason } = &refused else { panic!("{refused}") };
    assert!(name.ends_with("007.png") && reason.contains("found none of them"), "{refused}");
    let listing = ImageSettings { on_bad_image: OnBadImage::Quarantine, ..strict };
    assert_eq!(set.checked(&listing).unwrap().1.bad.len(), 2);
}

#[test]
fn a_class_of_broken_images_is_an_empty_class() {
    let root = tempfile::tempdir().unwrap();
    put_classes(root.path(), &[("a", 4)]);
    put(root.path(), "b/only.png", b"");
    let set = Dataset::folder(root.path(), Labels::FromFolders).unwrap();
    let refused = set.checked(&ImageSettings::default()).unwrap_err();
    assert!(matches!(&refused, DataError::EmptyClass { class, .. } if class == "b"), "{refused}");
}

#[test]
fn an_image_that_vanishes_after_the_check_is_an_error_and_no_panic() {
    let root = tempfile::tempdir().unwrap();
    put(root.path(), "a.png", &png(1));
    let on_demand = ImageSettings { cache_bytes_max: 0, ..ImageSettings::default() };
    let set = Dataset::folder(root.path(), Labels::Ignore).unwrap();
    let (set, _) = set.checked(&on_demand).unwrap();
    fs::remove_file(root.path().join("a.png")).unwrap();
    let refused = set.image(0).unwrap_err();
    assert!(refused.to_string().contains("a.png"), "{refused}");
}

#[test]
fn every_kind_of_pixel_is_read_from_files() {
    let root = tempfile::tempdir().unwrap();
    let base = DynamicImage::from(picture(5, 9, 7));
    let kinds: [(&str, DynamicImage); 7] = [
        ("grey", GrayImage::new(9, 7).into()),
        ("grey-alpha", GrayAlphaImage::new(9, 7).into()),
        ("rgba", RgbaImage::new(1, 1).into()),
        ("rgb16", base.to_rgb16().into()),
        ("rgba16", base.to_rgba16().into()),
        ("grey16", base.to_luma16().into()),
        ("grey-alpha16", base.to_luma_alpha16().into()),
    ];
    for (name, image) in kinds {
        put(root.path(), &format!("{name}.png"), &encode(image, ImageFormat::Png));
    }
    put(root.path(), "grey.jpg", &encode(base.to_luma8(), ImageFormat::Jpeg));
    put(root.path(), "row.jpg", &encode(picture(1, 333, 1), ImageFormat::Jpeg));
    let set = Dataset::folder(root.path(), Labels::Ignore).unwrap();
    let (set, report) = set.checked(&ImageSettings::default()).unwrap();
    assert_eq!((set.len(), report.bad.len()), (9, 0), "{report}");
    let rgb16 = set.all_items().into_iter().find(|&i| set.item_name(i).ends_with("rgb16.png"));
    assert_eq!(set.image(rgb16.unwrap()).unwrap().as_ref(), &base.to_rgb8());
}

#[test]
fn settings_out_of_range_are_refused_before_anything_is_read() {
    let root = tempfile::tempdir().unwrap();
    put(root.path(), "a.png", &png(1));
    let set = Dataset::folder(root.path(), Labels::Ignore).unwrap();
    let wrong = ImageSettings { bad_image_limit: f32::NAN, ..ImageSettings::default() };
    assert!(matches!(set.checked(&wrong), Err(DataError::Config(_))));
}
