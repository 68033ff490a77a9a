//! The MNIST family.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;

use super::*;

fn idx(dimensions: &[u32], values: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0, 0, 8, dimensions.len() as u8];
    bytes.extend(dimensions.iter().flat_map(|d| d.to_be_bytes()));
    bytes.extend(values);
    bytes
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

const TRAIN: &str = "train-images-idx3-ubyte";

/// Three training images of 3 × 2 pixels and one test image.
fn files() -> [(&'static str, Vec<u8>); 4] {
    let values: Vec<u8> = (0..18).collect();
    [
        (TRAIN, idx(&[3, 2, 3], &values)),
        ("train-labels-idx1-ubyte", idx(&[3], &[4, 1, 4])),
        ("t10k-images-idx3-ubyte", idx(&[1, 2, 3], &values[..6])),
        ("t10k-labels-idx1-ubyte", idx(&[1], &[1])),
    ]
}

fn put_files(root: &Path) {
    for (name, bytes) in files() {
        put(root, name, &bytes);
    }
}

#[test]
fn plain_and_compressed_files_give_the_same_grey_images() {
    let (plain, packed) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    put_files(plain.path());
    for (name, bytes) in files() {
        put(packed.path(), &format!("FashionMNIST/raw/{name}.gz"), &gzip(&bytes));
    }
    // A file and its compressed twin are one.
    put(plain.path(), &format!("{TRAIN}.gz"), b"not looked at");
    let (a, b) = (open(plain.path(), Corpus::Downstream), open(packed.path(), Corpus::Downstream));
    for set in [&a, &b] {
        assert_eq!(set.classes(), ["1", "4"]);
        assert_eq!(labels(set), [1, 0, 1, 0]);
        assert_eq!(in_part(set, Some(Part::Test)), 1);
        let image = set.image(1).unwrap();
        assert_eq!(image.dimensions(), (3, 2));
        assert_eq!((image.get_pixel(0, 0).0, image.get_pixel(2, 1).0), ([6; 3], [11; 3]));
    }
}

#[test]
fn damaged_files_are_refused() {
    let root = tempfile::tempdir().unwrap();
    let root = root.path();
    put_files(root);
    for (name, bytes) in files() {
        assert_eq!(cut_everywhere(root, name, 1), bytes.len(), "{name}");
        put(root, name, &[bytes.clone(), vec![0]].concat());
        refused(root, name, "not as many as its dimensions");
        put(root, name, &bytes);
    }
    put(root, TRAIN, &idx(&[3], &[1, 2, 3]));
    refused(
        root,
        TRAIN,
        "begins with [0, 0, 8, 1], expected an idx file that begins with [0, 0, 8, 3]",
    );
    for dimensions in [[0, 2, 3], [1, 0, 3], [1, 20_000, 3], [u32::MAX; 3]] {
        put(root, TRAIN, &idx(&dimensions, &[1, 2, 3]));
        refused(root, TRAIN, "found dimensions");
    }
    put(root, TRAIN, &idx(&[2, 2, 3], &[0; 12]));
    refused(root, "train-labels-idx1-ubyte", "found 3 labels, expected one for each of 2 images");
    put_files(root);
    put(root, "t10k-labels-idx1-ubyte", &idx(&[1], &[2]));
    refused(root, "t10k-labels-idx1-ubyte", "found label 2 of image 0, expected one of training");
    fs::remove_file(root.join("t10k-labels-idx1-ubyte")).unwrap();
    refused(root, "t10k-labels-idx1-ubyte", "no such file");
}

#[test]
fn damaged_compression_is_refused_and_a_header_is_not_believed() {
    let root = tempfile::tempdir().unwrap();
    let root = root.path();
    put_files(root);
    fs::remove_file(root.join(TRAIN)).unwrap();
    let name = format!("{TRAIN}.gz");
    let whole = gzip(&files()[0].1);
    put(root, &name, &whole);
    assert_eq!(open(root, Corpus::Downstream).len(), 4);
    assert_eq!(cut_everywhere(root, &name, 1), whole.len());
    // A header that claims four billion images over a handful of bytes.
    put(root, &name, &gzip(&idx(&[u32::MAX, 16_384, 16_384], &[1, 2, 3])));
    refused(root, &name, "found 19 bytes");
    // Far more than the header says is not unpacked.
    put(root, &name, &gzip(&idx(&[1, 2, 3], &vec![0; 50_000_000])));
    refused(root, &name, "found 23 bytes");
    put(root, &name, b"plain");
    refused(root, &name, "gzip");
}

#[test]
fn several_sets_in_one_folder_are_ambiguous() {
    let root = tempfile::tempdir().unwrap();
    for (name, bytes) in files() {
        put(root.path(), &format!("emnist-letters-{name}"), &bytes);
    }
    assert_eq!(open(root.path(), Corpus::Downstream).len(), 4);
    put(root.path(), &format!("emnist-digits-{TRAIN}"), &files()[0].1);
    let (_, reason) = refusal(root.path(), Corpus::Downstream);
    assert!(reason.contains("emnist-digits") && reason.contains("emnist-letters"), "{reason}");
}
