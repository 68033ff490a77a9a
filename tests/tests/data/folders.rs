//! How the content of a folder is interpreted, and how a folder is refused.

use std::path::Path;

use bissl::data::{Corpus, DataError, Dataset, Format, ImageSettings, Labels, Part, SizeRange};
use image::ImageFormat;

use crate::support::{checked, encode, names, picture, png, put, put_classes};

fn error(path: &Path, labels: Labels) -> DataError {
    Dataset::folder(path, labels).unwrap_err()
}

#[test]
fn an_unlabelled_folder_is_listed_to_any_depth_in_byte_order() {
    let root = tempfile::tempdir().unwrap();
    let root = root.path();
    let jpeg = encode(picture(9, 40, 30), ImageFormat::Jpeg);
    for name in ["b.png", "a/z.png", "a/deep/er/c.PNG", "Z.png", "ä.png"] {
        put(root, name, &png(1));
    }
    put(root, "a/photo.JPG", &jpeg);
    put(root, "by-content", &jpeg);
    put(root, "jpeg-named.png", &jpeg);
    put(root, "notes.txt", b"no image");
    put(root, ".hidden.png", &png(1));
    put(root, ".hidden/a.png", &png(1));
    let set = checked(root, Labels::Ignore);
    let expected = [
        "Z.png",
        "a/deep/er/c.PNG",
        "a/photo.JPG",
        "a/z.png",
        "b.png",
        "by-content",
        "jpeg-named.png",
        "ä.png",
    ];
    assert_eq!(names(root, &set), expected);
    assert!(set.classes().is_empty() && set.label(0).is_none());
    assert_eq!(set.sizes(), Some(SizeRange { width: (12, 40), height: (12, 30) }));
    assert!(matches!(set.labels(&[0]), Err(DataError::Unlabelled { .. })));
}

#[test]
fn sub_folders_are_classes_in_byte_order() {
    let root = tempfile::tempdir().unwrap();
    put_classes(root.path(), &[("zebra", 2), ("Ant", 1), ("bee", 3)]);
    put(root.path(), "bee/more/deep.png", &png(7));
    put(root.path(), "readme.txt", b"no class");
    let set = checked(root.path(), Labels::FromFolders);
    assert_eq!(set.classes(), ["Ant", "bee", "zebra"]);
    assert_eq!(set.labels(&set.all_items()).unwrap(), [0, 1, 1, 1, 1, 2, 2]);
    assert!(set.all_items().iter().all(|&item| set.part(item).is_none()));
    let printed = set.describe(None).to_string();
    assert!(printed.contains("7 images, 3 classes, 12 × 12 pixels"), "{printed}");
}

#[test]
fn given_parts_are_recognised_by_their_names() {
    for validation in ["validation", "valid", "val"] {
        let root = tempfile::tempdir().unwrap();
        put_classes(&root.path().join("train"), &[("a", 2), ("b", 2)]);
        put_classes(&root.path().join(validation), &[("a", 1), ("b", 1)]);
        put_classes(&root.path().join("test"), &[("a", 3), ("b", 1)]);
        let set = checked(root.path(), Labels::FromFolders);
        assert_eq!(set.classes(), ["a", "b"]);
        let count = |part| set.all_items().iter().filter(|&&i| set.part(i) == Some(part)).count();
        assert_eq!([Part::Train, Part::Validation, Part::Test].map(count), [4, 2, 4]);
    }
}

#[test]
fn parts_are_recognised_in_any_case_and_with_what_their_names_share() {
    for [train, validation, test] in [
        ["Train", "Val", "TEST"],
        ["training", "dev", "testing"],
        ["seg_train", "seg_val", "seg_test"],
        ["train-images", "valid-images", "test-images"],
    ] {
        let root = tempfile::tempdir().unwrap();
        put_classes(&root.path().join(train), &[("a", 2), ("b", 2)]);
        put_classes(&root.path().join(validation), &[("a", 1), ("b", 1)]);
        // As archives of that name unpack.
        put_classes(&root.path().join(test).join(test), &[("a", 3), ("b", 1)]);
        let set = checked(root.path(), Labels::FromFolders);
        assert_eq!(set.classes(), ["a", "b"], "{train}");
        let count = |part| set.all_items().iter().filter(|&&i| set.part(i) == Some(part)).count();
        assert_eq!([Part::Train, Part::Validation, Part::Test].map(count), [4, 2, 4], "{train}");
        let corpus = Dataset::open(root.path(), Format::Auto, Corpus::Pretext).unwrap();
        assert_eq!(corpus.len(), 4, "{train}: a pretext set without test images");
    }
}

#[test]
fn folders_that_may_be_parts_or_classes_are_refused_with_both_readings() {
    // A third folder beside parts; a part alone; parts in classes; the same folders in all.
    for (folders, one, other) in [
        (
            ["train/a", "train/b", "test/a", "more"].as_slice(),
            "parts (test, train) beside something else (more)",
            "classes (more, test, train)",
        ),
        (&["test/a", "test/b"], "parts (test)", "classes (test)"),
        (&["a/train", "a/test", "b/train", "b/test"], "classes (a, b) of parts (test, train)", "c"),
        (
            &["first/a", "first/b", "other/a", "other/b"],
            "parts (first, other) of classes (a, b)",
            "c",
        ),
    ] {
        let root = tempfile::tempdir().unwrap();
        for folder in folders {
            put_classes(root.path(), &[(folder, 1)]);
        }
        let refused = error(root.path(), Labels::FromFolders);
        assert!(matches!(refused, DataError::AmbiguousFolders { .. }), "{refused}");
        let words = refused.to_string();
        let expected = [one, ", or ", other, "split file"];
        assert!(expected.iter().all(|part| words.contains(part)), "{words}");
    }
    // A pretext set would take test images.
    let root = tempfile::tempdir().unwrap();
    put_classes(root.path(), &[("train", 1), ("test", 1), ("more", 1)]);
    let refused = Dataset::open(root.path(), Format::Auto, Corpus::Pretext).unwrap_err();
    assert!(matches!(refused, DataError::AmbiguousFolders { .. }), "{refused}");
    // Without labels, folders mean nothing else; one sub-folder a class is no part.
    let root = tempfile::tempdir().unwrap();
    put_classes(root.path(), &[("2019/a", 1), ("2019/b", 1), ("2020/a", 1), ("2020/b", 1)]);
    assert_eq!(Dataset::folder(root.path(), Labels::Ignore).unwrap().len(), 4);
    let root = tempfile::tempdir().unwrap();
    put_classes(root.path(), &[("cat/images", 1), ("dog/images", 1), ("train_station/images", 1)]);
    assert_eq!(checked(root.path(), Labels::FromFolders).classes().len(), 3);
}

#[test]
fn what_is_not_read_is_counted_and_named() {
    let root = tempfile::tempdir().unwrap();
    put_classes(root.path(), &[("cat", 1), ("Cat", 2)]);
    put(root.path(), "cat/1.HEIC", b"\0\0\0\x18ftypheic");
    put(root.path(), "cat/2.heic", b"\0\0\0\x18ftypheic");
    put(root.path(), "Cat/raw.nef", b"II*\0 like a TIFF, as raw files are");
    put(root.path(), "beside.jpg", b"any");
    put(root.path(), "notes.txt", b"no image");
    let set = Dataset::folder(root.path(), Labels::FromFolders).unwrap();
    assert_eq!(set.len(), 3);
    let lines = set.overlooked().lines().join("\n");
    for expected in [
        "not read (.heic): 2, the first",
        "1.HEIC",
        "not read (.nef): 1, the first",
        "images beside the class folders, not part of the set: 1, the first",
        "classes that differ by case alone: \"Cat\" and \"cat\"",
    ] {
        assert!(lines.contains(expected), "no `{expected}` in {lines}");
    }
    // A class, or a set, of nothing else.
    put(root.path(), "dog/1.avif", b"\0\0\0\x18ftypavif");
    for (path, labels) in [
        (root.path().to_path_buf(), Labels::FromFolders),
        (root.path().join("dog"), Labels::Ignore),
    ] {
        let refused = error(&path, labels);
        assert!(matches!(refused, DataError::NothingRead { .. }), "{refused}");
        assert!(refused.to_string().contains(".avif): 1, the first"), "{refused}");
    }
}

#[cfg(unix)]
#[test]
fn pipes_and_sockets_are_never_opened() {
    let root = tempfile::tempdir().unwrap();
    put_classes(root.path(), &[("a", 1)]);
    let made = std::process::Command::new("mkfifo").arg(root.path().join("a/pipe.jpg")).status();
    assert!(made.unwrap().success());
    std::os::unix::fs::symlink(root.path().join("a/pipe.jpg"), root.path().join("a/link.png"))
        .unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(root.path().join("a/socket.png")).unwrap();
    for labels in [Labels::Ignore, Labels::FromFolders] {
        let set = checked(root.path(), labels);
        assert_eq!(set.len(), 1);
        assert_eq!(set.overlooked().special.count, 3);
        assert!(set.overlooked().special.first.ends_with("link.png"));
    }
    // Nor where a table names one.
    put(root.path(), "split.csv", b"path,label\na/000.png,x\na/pipe.jpg,y\n");
    let set = Dataset::open(root.path(), Format::SplitFile, Corpus::All);
    let words = match set {
        Ok(set) => set.image(1).unwrap_err().to_string(),
        Err(error) => error.to_string(),
    };
    assert!(words.contains("pipe.jpg"), "{words}");
}

#[test]
fn classes_may_be_called_like_parts_where_there_are_others() {
    let root = tempfile::tempdir().unwrap();
    put_classes(root.path(), &[("train", 1), ("bus", 1)]);
    assert_eq!(checked(root.path(), Labels::FromFolders).classes(), ["bus", "train"]);
}

#[test]
fn folders_that_cannot_be_a_data_set_are_refused_by_name() {
    let root = tempfile::tempdir().unwrap();
    let root = root.path();
    let missing = root.join("missing");
    for labels in [Labels::Ignore, Labels::FromFolders] {
        assert_eq!(error(&missing, labels), DataError::MissingFolder { path: missing.clone() });
    }
    put(root, "file.png", &png(0));
    assert!(matches!(
        error(&root.join("file.png"), Labels::Ignore),
        DataError::MissingFolder { .. }
    ));
    let text = root.join("text");
    put(&text, "a.txt", b"no image");
    assert!(matches!(error(&text, Labels::Ignore), DataError::NoImages { .. }));
    assert_eq!(error(&text, Labels::FromFolders), DataError::NoClasses { path: text.clone() });

    put(&text, "empty/readme.txt", b"no image");
    let refused = error(&text, Labels::FromFolders);
    let expected = DataError::EmptyClass { path: text.join("empty"), class: "empty".into() };
    assert_eq!(refused, expected);
    assert!(refused.to_string().contains("class `empty` has no images"), "{refused}");
}

#[test]
fn a_class_that_only_the_test_folder_knows_is_refused() {
    let root = tempfile::tempdir().unwrap();
    put_classes(&root.path().join("train"), &[("a", 2)]);
    put_classes(&root.path().join("test"), &[("a", 1), ("new", 1)]);
    let refused = error(root.path(), Labels::FromFolders);
    let path = root.path().join("test").join("new");
    assert_eq!(refused, DataError::UnknownClass { path, class: "new".into() });
}

#[cfg(unix)]
#[test]
fn a_class_name_that_is_not_utf_8_is_refused_and_shown() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    let root = tempfile::tempdir().unwrap();
    let class = root.path().join(OsStr::from_bytes(b"caf\xE9"));
    put(&class, "a.png", &png(0));
    let refused = error(root.path(), Labels::FromFolders);
    assert_eq!(refused, DataError::ClassNameNotUtf8 { path: class });
    assert!(refused.to_string().contains("caf\\xE9"), "{refused}");
    // Without labels the name does not matter.
    assert_eq!(Dataset::folder(root.path(), Labels::Ignore).unwrap().len(), 1);
}

#[cfg(unix)]
#[test]
fn a_link_to_a_parent_ends() {
    let root = tempfile::tempdir().unwrap();
    put(root.path(), "a/b.png", &png(0));
    std::os::unix::fs::symlink(root.path(), root.path().join("a/loop")).unwrap();
    assert_eq!(Dataset::folder(root.path(), Labels::Ignore).unwrap().len(), 1);
}

#[test]
fn pixels_are_the_same_from_memory_and_from_disk() {
    let root = tempfile::tempdir().unwrap();
    put_classes(root.path(), &[("a", 5)]);
    put(root.path(), "a/odd.jpg", &encode(picture(3, 37, 21), ImageFormat::Jpeg));
    let kept = checked(root.path(), Labels::Ignore);
    // 5 images of 12 × 12 and one of 37 × 21, with three bytes per pixel, minus one byte.
    let settings =
        ImageSettings { cache_bytes_max: 3 * (5 * 144 + 37 * 21) - 1, ..ImageSettings::default() };
    let listed = Dataset::folder(root.path(), Labels::Ignore).unwrap();
    let (read, _) = listed.clone().checked(&settings).unwrap();
    assert!(kept.is_cached() && !read.is_cached());
    for item in kept.all_items() {
        assert_eq!(kept.image(item).unwrap(), read.image(item).unwrap());
    }
    let room = ImageSettings { cache_bytes_max: settings.cache_bytes_max + 1, ..settings };
    assert!(listed.checked(&room).unwrap().0.is_cached());
}
