//! `bissl data check`, `bissl bench data` and `--on-bad-image`: their output, their files and their
//! exit codes.

use std::fs;
use std::path::Path;

use image::{Rgb, RgbImage};

use crate::binary::{Ended, run, succeed};

/// Two parts, two classes, 16 pictures that all differ.
fn put_set(root: &Path) {
    for i in 0..16u8 {
        let part = if i < 12 { "train" } else { "test" };
        let folder = root.join(part).join(if i % 2 == 0 { "even" } else { "odd" });
        fs::create_dir_all(&folder).unwrap();
        let picture = RgbImage::from_fn(24, 20, |x, y| Rgb([i, (x * 9) as u8, (y * 11) as u8]));
        picture.save(folder.join(format!("{i:02}.png"))).unwrap();
    }
}

fn check(root: &Path, more: &[&str]) -> Ended {
    run(&[&["data", "check", root.to_str().unwrap(), "--quiet"], more].concat())
}

#[test]
fn a_clean_set_is_described_and_ends_with_0() {
    let root = tempfile::tempdir().unwrap();
    put_set(root.path());
    let ended = check(root.path(), &[]);
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""), "{ended:?}");
    for expected in [
        "16 images, 0 broken, 2 classes",
        "class            images  test  train",
        "even                  8     2      6",
        "largest class over smallest: 1.00",
        "width      24      24    24",
        "PNG, colour      16",
        "broken images: 0",
        "pictures in more than one part: 0",
    ] {
        assert!(ended.stdout.contains(expected), "no `{expected}` in {}", ended.stdout);
    }
    // The bytes are the same for any number of threads.
    let one = check(root.path(), &["--json", "--threads", "1"]).stdout;
    assert_eq!(one, check(root.path(), &["--json", "--threads", "3"]).stdout);
    let report: serde_json::Value = serde_json::from_str(&one).unwrap();
    assert_eq!(report["parts"], serde_json::json!({"test": 4, "train": 12}));
}

#[test]
fn broken_files_and_leaks_are_named_and_end_with_1() {
    let root = tempfile::tempdir().unwrap();
    put_set(root.path());
    fs::copy(root.path().join("train/odd/01.png"), root.path().join("test/odd/99.png")).unwrap();
    let ended = check(root.path(), &[]);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.stdout.contains("pictures in more than one part: 1"), "{ended:?}");
    assert!(ended.stdout.contains("01.png = ") || ended.stdout.contains("99.png = "), "{ended:?}");
    assert!(ended.stderr.contains("0 broken images and 1 pictures"), "{ended:?}");
    fs::write(root.path().join("train/even/cut.jpg"), [0xFF, 0xD8, 0xFF, 0xE0, 0]).unwrap();
    let ended = check(root.path(), &["--json"]);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    let report: serde_json::Value = serde_json::from_str(&ended.stdout).unwrap();
    let broken = &report["broken"][0];
    assert!(broken["name"].as_str().unwrap().ends_with("cut.jpg"), "{report}");
    assert!(broken["reason"].as_str().unwrap().contains("truncated JPEG"), "{report}");
    assert_eq!(report["same"][0]["leaks"], true);
}

#[test]
fn formats_that_are_not_read_and_images_beside_classes_are_named() {
    let root = tempfile::tempdir().unwrap();
    for i in 0..16u8 {
        let folder = root.path().join(if i % 2 == 0 { "even" } else { "odd" });
        fs::create_dir_all(&folder).unwrap();
        let ending = ["bmp", "gif", "tif", "webp"][usize::from(i / 4)];
        let picture = RgbImage::from_fn(24, 20, |x, y| Rgb([i, (x * 9) as u8, (y * 11) as u8]));
        picture.save(folder.join(format!("{i:02}.{ending}"))).unwrap();
    }
    fs::write(root.path().join("odd/photo.heic"), b"none").unwrap();
    fs::copy(root.path().join("odd/01.bmp"), root.path().join("beside.bmp")).unwrap();
    let ended = check(root.path(), &[]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    for expected in [
        "16 images, 0 broken, 2 classes",
        "WebP            4",
        "not read (.heic): 1, the first",
        "images beside the class folders, not part of the set: 1, the first",
    ] {
        assert!(ended.stdout.contains(expected), "no `{expected}` in {}", ended.stdout);
    }
    let report = check(root.path(), &["--json"]).stdout;
    let report: serde_json::Value = serde_json::from_str(&report).unwrap();
    assert_eq!(report["overlooked"]["unread"]["heic"]["count"], 1, "{report}");
    // The start of a stage warns of the same.
    let (pictures, out) = (root.path().to_str().unwrap(), root.path().join("run"));
    let mut words = vec!["pretrain", "--width", "8", "--batch", "8", "--epochs", "1", "--quiet"];
    words.extend(["--architecture", "resnet-small", "--set", "pretrain.warm_up_epochs=0"]);
    words.extend(["--pretext", pictures, "--out", out.to_str().unwrap()]);
    let ended = run(&words);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.stderr.contains("not read (.heic): 1, the first"), "{ended:?}");
}

#[test]
fn what_cannot_be_listed_ends_with_2() {
    let root = tempfile::tempdir().unwrap();
    for (arguments, expected) in [
        (vec!["data", "check", "/no/such/set"], "/no/such/set"),
        (vec!["data", "check", root.path().to_str().unwrap(), "--format", "cifar10"], "cifar10"),
        (vec!["data", "check", ".", "--format", "tar"], "--format"),
        (vec!["data", "check"], "<PATH>"),
        (vec!["bench", "data", ".", "--views", "3"], "--views"),
        (vec!["pretrain", "--on-bad-image", "ignore"], "--on-bad-image"),
    ] {
        let ended = run(&arguments);
        assert_eq!(ended.code, Some(2), "{arguments:?}: {ended:?}");
        assert!(ended.stderr.contains(expected), "{arguments:?}: {ended:?}");
    }
}

#[test]
fn throughput_is_the_sum_of_its_parts() {
    let root = tempfile::tempdir().unwrap();
    put_set(root.path());
    let path = root.path().to_str().unwrap();
    let ended = succeed(&["bench", "data", path, "--size", "32", "--repeats", "1", "--json"]);
    let report: serde_json::Value = serde_json::from_str(&ended.stdout).unwrap();
    assert_eq!((&report["images"], &report["views"]), (&16.into(), &2.into()), "{report}");
    let number = |key: &str| report[key].as_f64().unwrap();
    let parts = ["decode_s", "crop_s", "colour_s", "blur_s", "normalise_s"].map(number);
    assert!(parts.iter().all(|&seconds| seconds > 0.0), "{report}");
    // With one thread the sum of the parts is the whole time, except for handing the images out.
    let (sum, whole) = (parts.iter().sum::<f64>(), 1.0 / number("images_per_s"));
    assert!(sum <= whole, "{report}");
    assert!(number("packed_images_per_s") > 0.0, "{report}");
}

#[test]
fn broken_images_stop_a_run_or_are_left_out_or_are_listed() {
    let root = tempfile::tempdir().unwrap();
    let images = root.path().join("images");
    put_set(&images);
    fs::write(images.join("train/even/cut.jpg"), b"none").unwrap();
    let pretrain = |policy: &str| {
        let out = root.path().join(policy);
        let mut words = vec!["pretrain", "--width", "8", "--batch", "8", "--epochs", "1"];
        words.extend(["--architecture", "resnet-small", "--set", "pretrain.warm_up_epochs=0"]);
        words.extend(["--quiet", "--pretext", images.to_str().unwrap(), "--on-bad-image", policy]);
        let ended = run(&[words, vec!["--out", out.to_str().unwrap()]].concat());
        (ended, out)
    };
    let (ended, out) = pretrain("error");
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(
        ended.stderr.contains("cut.jpg: expected JPEG, PNG, WebP, BMP, TIFF or GIF data"),
        "{ended:?}"
    );
    assert!(!out.exists());
    let (ended, out) = pretrain("skip");
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.stderr.contains("1 of 13 images are broken and left out"), "{ended:?}");
    assert!(!out.join("quarantine.jsonl").exists());
    let (ended, out) = pretrain("quarantine");
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let list = fs::read_to_string(out.join("quarantine.jsonl")).unwrap();
    let line: serde_json::Value = serde_json::from_str(list.trim()).unwrap();
    assert_eq!(line["set"], "data.pretext");
    assert!(line["path"].as_str().unwrap().ends_with("cut.jpg"), "{line}");
    assert!(line["reason"].as_str().unwrap().contains("found none of them"), "{line}");
    // The image is still in its place.
    assert!(images.join("train/even/cut.jpg").exists());
}
