//! STL-10.

use super::*;

const LEN: usize = 3 * 96 * 96;

/// An image whose bytes tell its number and their place.
fn pixels(seed: u8) -> Vec<u8> {
    (0..LEN).map(|i| (i % 249) as u8 ^ seed).collect()
}

fn put_labelled(root: &Path) {
    put(root, "train_X.bin", &[pixels(1), pixels(2)].concat());
    put(root, "train_y.bin", &[10, 1]);
    put(root, "test_X.bin", &pixels(3));
    put(root, "test_y.bin", &[5]);
}

#[test]
fn columns_come_before_rows_and_labels_from_one() {
    let root = tempfile::tempdir().unwrap();
    let root = root.path();
    put_labelled(root);
    put(root, "class_names.txt", b"a\nb\nc\nd\ne\nf\ng\nh\ni\nj\n");
    let set = open(root, Corpus::Downstream);
    assert_eq!((labels(&set), set.classes()[9].as_str()), (vec![9, 0, 4], "j"));
    assert_eq!((in_part(&set, Some(Part::Train)), in_part(&set, Some(Part::Test))), (2, 1));
    let (image, bytes) = (set.image(1).unwrap(), pixels(2));
    for (x, y, pixel) in image.enumerate_pixels() {
        let at = (x * 96 + y) as usize;
        assert_eq!(pixel.0, [bytes[at], bytes[9216 + at], bytes[2 * 9216 + at]], "{x}, {y}");
    }
}

#[test]
fn the_pretext_set_is_the_unlabelled_file_alone_and_stays_on_disk() {
    let root = tempfile::tempdir().unwrap();
    let root = root.path();
    put(root, "unlabeled_X.bin", &[pixels(8), pixels(9), pixels(10)].concat());
    let set = open(root, Corpus::Pretext);
    assert_eq!((set.len(), set.label(0)), (3, None));
    let (set, report) = set.checked(&crate::data::ImageSettings::default()).unwrap();
    assert!(!set.is_cached() && report.bad.is_empty());
    assert_eq!(set.image(2).unwrap().get_pixel(0, 1).0[0], pixels(10)[1]);
    refused(root, "train_X.bin", "no such file, expected the images of STL-10");
    put_labelled(root);
    let all = open(root, Corpus::All);
    assert_eq!((all.len(), in_part(&all, None)), (6, 3));
    assert_eq!(open(root, Corpus::Pretext).len(), 3);
    assert_eq!(open(root, Corpus::Downstream).len(), 3);
}

#[test]
fn damaged_files_are_refused() {
    let root = tempfile::tempdir().unwrap();
    let root = root.path();
    put_labelled(root);
    put(root, "train_X.bin", &pixels(1)[1..]);
    refused(root, "train_X.bin", "found 27647 bytes, expected a multiple of 27648");
    put(root, "train_X.bin", &pixels(1));
    refused(root, "train_y.bin", "found 2 labels, expected one for each of 1 images");
    for label in [0, 11, 255] {
        put(root, "train_y.bin", &[label]);
        refused(root, "train_y.bin", &format!("found label {label} of image 0, expected 1 to 10"));
    }
    fs::remove_file(root.join("train_y.bin")).unwrap();
    refused(root, "train_y.bin", "no such file, expected the labels of STL-10");
}
