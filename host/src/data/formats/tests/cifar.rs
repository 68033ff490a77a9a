//! CIFAR, both versions.

use super::*;
use crate::data::Stored;

/// Bytes of an image: its seed, then what differs by place.
fn pixels(seed: u8) -> Vec<u8> {
    (0..3072usize).map(|i| (i % 251) as u8 ^ seed).collect()
}

/// What [`pixels`] mean: red plane first, row by row.
fn expected(seed: u8) -> RgbImage {
    let bytes = pixels(seed);
    RgbImage::from_fn(32, 32, |x, y| {
        let at = (y * 32 + x) as usize;
        Rgb([bytes[at], bytes[1024 + at], bytes[2048 + at]])
    })
}

fn records(images: &[(&[u8], u8)]) -> Vec<u8> {
    images.iter().flat_map(|(label, seed)| [label.to_vec(), pixels(*seed)].concat()).collect()
}

fn put_ten(root: &Path) {
    for batch in 1..=5u8 {
        let bytes = records(&[(&[batch], batch), (&[0], batch + 10)]);
        put(root, &format!("data_batch_{batch}.bin"), &bytes);
    }
    put(root, "test_batch.bin", &records(&[(&[9], 77)]));
}

#[test]
fn the_binary_version_of_cifar_10_is_read() {
    let root = tempfile::tempdir().unwrap();
    let root = root.path();
    put_ten(root);
    let names: String = (0..10).map(|class| format!("name{class}\n")).collect();
    put(root, "batches.meta.txt", format!("{names}\n").as_bytes());
    let set = open(root, Corpus::Downstream);
    assert_eq!(set.classes()[9], "name9");
    assert_eq!(labels(&set), [1, 0, 2, 0, 3, 0, 4, 0, 5, 0, 9]);
    assert_eq!((in_part(&set, Some(Part::Train)), in_part(&set, Some(Part::Test))), (10, 1));
    assert_eq!(set.image(10).unwrap().as_ref(), &expected(77));
    assert!(set.item_name(10).ends_with("test_batch.bin#0"));
    let Stored::Pixels(stored) = set.stored(3).unwrap() else { panic!("not encoded") };
    assert_eq!(stored, expected(12));
    let pretext = open(root, Corpus::Pretext);
    assert!(pretext.len() == 10 && pretext.label(0).is_none() && pretext.classes().is_empty());
}

#[test]
fn the_fine_labels_of_cifar_100_are_its_second_bytes() {
    let root = tempfile::tempdir().unwrap();
    put(root.path(), "cifar-100-binary/train.bin", &records(&[(&[19, 99], 1), (&[3, 42], 2)]));
    put(root.path(), "cifar-100-binary/test.bin", &records(&[(&[0, 7], 3)]));
    let set = open(root.path(), Corpus::Downstream);
    assert_eq!((set.classes().len(), labels(&set)), (100, vec![99, 42, 7]));
    assert_eq!(set.image(1).unwrap().as_ref(), &expected(2));
}

#[test]
fn damaged_records_are_refused() {
    let root = tempfile::tempdir().unwrap();
    let root = root.path();
    put_ten(root);
    put(root, "data_batch_3.bin", &records(&[(&[1], 1), (&[10], 2)]));
    refused(root, "data_batch_3.bin", "found label 10 of image 1, expected 0 to 9");
    put(root, "data_batch_3.bin", &records(&[(&[1], 1)])[..3072]);
    refused(root, "data_batch_3.bin", "found 3072 bytes, expected a multiple of 3073");
    put(root, "data_batch_3.bin", b"");
    refused(root, "data_batch_3.bin", "found 0 bytes");
    fs::remove_file(root.join("data_batch_3.bin")).unwrap();
    refused(root, "data_batch_3.bin", "no such file, expected a file of CIFAR records");
    put_ten(root);
    put(root, "batches.meta.txt", b"cat\ndog\n");
    refused(root, "batches.meta.txt", "found 2 class names, expected 10");
}

/// A string as Python 2 pickles it.
fn short(text: &str) -> Vec<u8> {
    [&[b'U', text.len() as u8], text.as_bytes()].concat()
}

/// A batch as Python 2's `cPickle` wrote it with protocol 2: the layout of the published files.
fn pickle(images: &[(u8, u8)], labels_key: &str) -> Vec<u8> {
    let data: Vec<u8> = images.iter().flat_map(|(_, seed)| pixels(*seed)).collect();
    let mut out = b"\x80\x02}q\x01(".to_vec();
    out.extend([short("batch_label"), b"q\x02".to_vec(), short("training batch 1 of 5")].concat());
    out.extend([b"q\x03".to_vec(), short(labels_key), b"q\x04]q\x05(".to_vec()].concat());
    out.extend(images.iter().flat_map(|(label, _)| [b'K', *label]));
    out.push(b'e');
    out.extend(
        [short("data"), b"q\x06cnumpy.core.multiarray\n_reconstruct\nq\x07".to_vec()].concat(),
    );
    out.extend(b"cnumpy\nndarray\nq\x08K\x00\x85U\x01b\x87Rq\x09(K\x01M");
    out.extend((images.len() as u16).to_le_bytes());
    out.extend(b"M\x00\x0c\x86cnumpy\ndtype\nq\x0aU\x02u1K\x00K\x01\x87Rq\x0b(K\x03U\x01|NNNJ");
    out.extend(b"\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89T");
    out.extend((data.len() as u32).to_le_bytes());
    out.extend(data);
    out.extend(b"tbu.");
    out
}

fn names(count: u8, key: &str) -> Vec<u8> {
    let list: Vec<u8> = (0..count).flat_map(|class| short(&format!("name{class}"))).collect();
    [b"\x80\x02}q\x01".to_vec(), short(key), b"]q\x02(".to_vec(), list, b"es.".to_vec()].concat()
}

fn put_ten_pickled(root: &Path) {
    for batch in 1..=5u8 {
        let bytes = pickle(&[(batch, batch), (0, batch + 10)], "labels");
        put(root, &format!("data_batch_{batch}"), &bytes);
    }
    put(root, "test_batch", &pickle(&[(9, 77)], "labels"));
    put(root, "batches.meta", &names(10, "label_names"));
}

#[test]
fn the_python_version_holds_the_same_as_the_binary_one() {
    let (binary, pickled) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    put_ten(binary.path());
    put_ten_pickled(&pickled.path().join("cifar-10-batches-py"));
    let a = open(binary.path(), Corpus::Downstream);
    let b = open(pickled.path(), Corpus::Downstream);
    assert_eq!(labels(&a), labels(&b));
    assert_eq!(b.classes()[3], "name3");
    for item in a.all_items() {
        assert_eq!((a.image(item).unwrap(), a.part(item)), (b.image(item).unwrap(), b.part(item)));
    }
}

#[test]
fn the_python_version_of_cifar_100_is_read() {
    let root = tempfile::tempdir().unwrap();
    put(root.path(), "train", &pickle(&[(99, 1), (4, 2)], "fine_labels"));
    put(root.path(), "test", &pickle(&[(7, 3)], "fine_labels"));
    put(root.path(), "meta", &names(100, "fine_label_names"));
    let set = open(root.path(), Corpus::Downstream);
    assert_eq!((set.classes()[99].as_str(), labels(&set)), ("name99", vec![99, 4, 7]));
}

#[test]
fn damaged_pickles_are_refused() {
    let root = tempfile::tempdir().unwrap();
    let root = root.path();
    put_ten_pickled(root);
    let whole = pickle(&[(1, 1), (2, 2)], "labels");
    assert_eq!(cut_everywhere(root, "test_batch", 1), pickle(&[(9, 77)], "labels").len());
    let file = "data_batch_2";
    put(root, file, &pickle(&[(1, 1), (10, 2)], "labels"));
    refused(root, file, "found label 10 of image 1, expected 0 to 9");
    put(root, file, &pickle(&[(1, 1)], "other"));
    refused(root, file, "found no list `labels`");
    let replaced = |from: &[u8], to: &[u8]| {
        let at = whole.windows(from.len()).position(|window| window == from).unwrap();
        [&whole[..at], to, &whole[at + from.len()..]].concat()
    };
    for (from, to, reason) in [
        (&b"M\x02\x00M\x00\x0c"[..], &b"M\x03\x00M\x00\x0c"[..], "of shape [3, 3072]"),
        (b"M\x02\x00M\x00\x0c", b"M\x02\x00M\x00\x0d", "of shape [2, 3328]"),
        (b"u1", b"f4", "found other elements"),
        (b"K\x00tb\x89", b"K\x00tb\x88", "or another order"),
        (b"_reconstruct", b"_destructive", "found no numpy array"),
        (b"K\x01K\x02e", b"K\x01e", "found 1 labels, expected one for each of 2 images"),
        (b"\x80\x02}", b"\x80\x02S", "operation 0x53 is not expected here at byte 2"),
    ] {
        put(root, file, &replaced(from, to));
        refused(root, file, reason);
    }
    fs::remove_file(root.join(file)).unwrap();
    refused(root, file, "no such file, expected a pickle of CIFAR images");
}

/// Pickles that would exhaust memory or the stack of a reader that believes them.
#[test]
fn hostile_pickles_end_in_an_error() {
    use super::super::pickle::Pickle;
    let length = u64::MAX.to_le_bytes();
    let deep = [b"\x80\x02N".to_vec(), vec![0x85; 5_000_000], b".".to_vec()].concat();
    let stored: Vec<u8> = [b"Nr".to_vec(), vec![0xFF; 4], b".".to_vec()].concat();
    let many_marks = vec![b'('; 5_000_000];
    for bytes in [
        [&b"\x8e"[..], &length, b"abc."].concat(),
        [&b"T"[..], &[0xFF; 4], b"abc."].concat(),
        deep,
        stored,
        many_marks,
        b"(t)bR.".to_vec(),
        b"\x8a\xff".to_vec(),
        b".".to_vec(),
        Vec::new(),
    ] {
        assert!(Pickle::read(&bytes).is_err(), "{:?}", &bytes[..bytes.len().min(20)]);
    }
}
