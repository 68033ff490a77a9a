//! Which format a folder is taken for.

use super::*;

#[test]
fn names_are_as_they_are_written() {
    for name in Format::NAMES {
        let format: Format = serde_json::from_str(&format!("\"{name}\"")).unwrap();
        assert_eq!(format.name(), *name);
        assert_eq!(serde_json::to_string(&format).unwrap(), format!("\"{name}\""));
    }
}

#[test]
fn a_folder_of_nothing_known_is_refused_with_what_is_looked_for() {
    let root = tempfile::tempdir().unwrap();
    put(root.path(), "notes.txt", b"nothing");
    for corpus in [Corpus::Pretext, Corpus::Downstream] {
        let (_, reason) = refusal(root.path(), corpus);
        assert!(reason.starts_with("found no data set, expected cifar10 (data_batch_1.bin"));
        assert!(reason.ends_with("or folder (image files)"), "{reason}");
    }
    let missing = root.path().join("missing");
    let error = Dataset::open(&missing, Format::Auto, Corpus::Pretext).unwrap_err();
    assert_eq!(error, DataError::MissingFolder { path: missing });
}

#[test]
fn two_sets_in_one_folder_are_ambiguous_until_one_is_chosen() {
    let root = tempfile::tempdir().unwrap();
    let root = root.path();
    put(root, "stl10_binary/unlabeled_X.bin", &[1; 27_648]);
    put(root, "train-images-idx3-ubyte", &[0, 0, 8, 3, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 1, 5]);
    put(root, "train-labels-idx1-ubyte", &[0, 0, 8, 1, 0, 0, 0, 1, 3]);
    let (_, reason) = refusal(root, Corpus::Pretext);
    assert!(reason.contains("stl10 (") && reason.contains("mnist ("), "{reason}");
    assert!(reason.contains("give its own folder, or set `format`"), "{reason}");
    for (format, side) in [(Format::Stl10, 96), (Format::Mnist, 1)] {
        let set = Dataset::open(root, format, Corpus::Pretext).unwrap();
        assert_eq!(set.image(0).unwrap().width(), side);
    }
    let error = Dataset::open(root, Format::Voc2007, Corpus::Pretext).unwrap_err().to_string();
    assert!(error.contains("expected voc2007 (ImageSets/Main"), "{error}");
}

#[test]
fn the_pretext_set_of_folders_with_parts_is_the_training_part() {
    let root = tempfile::tempdir().unwrap();
    let root = root.path();
    for name in ["train/a/1.jpg", "train/loose.jpg", "val/a/2.jpg", "test/a/3.jpg"] {
        put(root, name, &jpeg(8));
    }
    assert_eq!(open(root, Corpus::Pretext).len(), 2);
    assert_eq!(open(root, Corpus::Downstream).len(), 3);
    assert_eq!(open(root, Corpus::All).len(), 3);
    put(root, "more/4.jpg", &jpeg(8));
    // With it, test images would be trained on.
    let refused = Dataset::open(root, Format::Auto, Corpus::Pretext).unwrap_err();
    assert!(matches!(refused, DataError::AmbiguousFolders { .. }), "{refused}");
    let flat = tempfile::tempdir().unwrap();
    put(flat.path(), "1.jpg", &jpeg(8));
    assert_eq!(open(flat.path(), Corpus::All).len(), 1);
}
