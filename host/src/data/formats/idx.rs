//! MNIST and the sets in its format (Fashion-MNIST, KMNIST, EMNIST): idx files of grey images and
//! of labels, as they are or compressed by gzip.
//!
//! LeCun, Cortes, Burges (1998). An idx file is two zero bytes, the type (8 = unsigned bytes), the
//! number of dimensions, the dimensions (4 bytes each, big endian), the values. Labels may begin at
//! any number; the classes are those of the training labels. EMNIST stores its pictures transposed,
//! and they are taken as they are.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

use flate2::bufread::MultiGzDecoder;

use super::reader::{Corpus, Format, Listing, Reader, parts};
use crate::data::raw::{Bytes, Layout, Order, RawImages};
use crate::data::{DataError, Part};

pub(super) const READER: Reader = Reader {
    format: Format::Mnist,
    mark: "train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-images-idx3-ubyte, \
           t10k-labels-idx1-ubyte, with or without .gz",
    places: &["", "raw", "MNIST/raw", "FashionMNIST/raw", "KMNIST/raw", "EMNIST/raw"],
    is_at: |path| {
        let is_images = |name: &str| IMAGES.iter().any(|ending| without_gz(name).ends_with(ending));
        file_names(path).iter().any(|name| is_images(name))
    },
    list,
};

const IMAGES: [&str; 2] = ["images-idx3-ubyte", "images.idx3-ubyte"];
const LABELS: [&str; 2] = ["labels-idx1-ubyte", "labels.idx1-ubyte"];

/// Longest side, in pixels; more is a damaged header.
const SIDE_MAX: u32 = 16_384;

fn file_names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut names: Vec<String> =
        entries.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.sort_unstable();
    names
}

fn without_gz(name: &str) -> &str {
    name.strip_suffix(".gz").unwrap_or(name)
}

fn list(root: &Path, corpus: Corpus) -> Result<Listing, DataError> {
    let mut files = Vec::new();
    for &part in parts(corpus) {
        let path = one_file(root, part, IMAGES, "the images of the MNIST format")?;
        let (bytes, [count, height, width]) = read::<3>(&path)?;
        let (first, stride) = (4 + 4 * 3, width as usize * height as usize);
        let layout = Layout { width, height, order: Order::Grey, first, stride, count };
        let images = RawImages::new(&path, bytes, layout)?;

        let path = one_file(root, part, LABELS, "the labels of the MNIST format")?;
        let (bytes, [found]) = read::<1>(&path)?;
        if found != count {
            let reason = format!("found {found} labels, expected one for each of {count} images");
            return Err(DataError::damaged(path, reason));
        }
        files.push((part, images, path, bytes[4 + 4..].to_vec()));
    }
    let mut classes: Vec<u8> = files.first().map_or(Vec::new(), |(.., labels)| labels.clone());
    classes.sort_unstable();
    classes.dedup();
    let names = classes.iter().map(u8::to_string).collect();
    let mut listing = Listing { classes: names, ..Listing::default() };
    for (part, images, path, labels) in files {
        let label = |(image, label): (usize, &u8)| match classes.binary_search(label) {
            Ok(class) => Ok(class as u32),
            Err(_) => {
                let reason =
                    format!("found label {label} of image {image}, expected one of training");
                Err(DataError::damaged(&path, reason))
            }
        };
        let labels: Vec<u32> = labels.iter().enumerate().map(label).collect::<Result<_, _>>()?;
        listing.extend_raw(images, &labels, part);
    }
    Ok(listing)
}

/// The file of a part with one of two endings; of a file and its compressed twin the former.
fn one_file(
    root: &Path,
    part: Part,
    endings: [&str; 2],
    what: &'static str,
) -> Result<PathBuf, DataError> {
    let part = if part == Part::Train { "train-" } else { "t10k-" };
    // EMNIST calls its test images `test`.
    let parts = if part == "train-" { [part, part] } else { [part, "test-"] };
    let is_wanted = |name: &String| {
        let name = without_gz(name);
        endings.iter().any(|ending| {
            name.strip_suffix(ending)
                .is_some_and(|head| parts.iter().any(|part| head.ends_with(part)))
        })
    };
    let mut found: Vec<String> = file_names(root).into_iter().filter(is_wanted).collect();
    found.dedup_by(|later, earlier| without_gz(later) == earlier);
    match &found[..] {
        [] => {
            Err(DataError::MissingFile { path: root.join(format!("{part}{}", endings[0])), what })
        }
        [name] => Ok(root.join(name)),
        _ => Err(DataError::AmbiguousFormat { path: root.into(), found }),
    }
}

/// The bytes of an idx file, header included, and its `N` dimensions, none of them 0.
fn read<const N: usize>(path: &Path) -> Result<(Bytes, [u32; N]), DataError> {
    let bytes = match path.extension().and_then(OsStr::to_str) {
        Some("gz") => Bytes::Owned(inflate::<N>(path)?),
        _ => Bytes::map(path, "an idx file")?,
    };
    let dimensions = dimensions::<N>(path, &bytes)?;
    let (found, expected) = (bytes.len() as u64, length(&dimensions));
    if expected != Some(found) {
        let reason =
            format!("found {found} bytes, not as many as its dimensions {dimensions:?} say");
        return Err(DataError::damaged(path, reason));
    }
    Ok((bytes, dimensions))
}

fn dimensions<const N: usize>(path: &Path, bytes: &[u8]) -> Result<[u32; N], DataError> {
    let magic = [0, 0, 8, N as u8];
    let head = bytes.get(..4 + 4 * N);
    let Some(head) = head.filter(|head| head[..4] == magic) else {
        let found = &bytes[..bytes.len().min(4)];
        let reason =
            format!("begins with {found:?}, expected an idx file that begins with {magic:?}");
        return Err(DataError::damaged(path, reason));
    };
    let mut dimensions = [0; N];
    for (value, bytes) in dimensions.iter_mut().zip(head[4..].chunks_exact(4)) {
        *value = u32::from_be_bytes(bytes.try_into().expect("chunks of four"));
    }
    if dimensions.contains(&0) || dimensions[1..].iter().any(|&side| side > SIDE_MAX) {
        let reason = format!(
            "found dimensions {dimensions:?}, expected at least 1, and sides of at most {SIDE_MAX}"
        );
        return Err(DataError::damaged(path, reason));
    }
    Ok(dimensions)
}

/// Bytes of a whole file.
fn length(dimensions: &[u32]) -> Option<u64> {
    let values = dimensions.iter().try_fold(1u64, |product, &d| product.checked_mul(d.into()));
    values?.checked_add(4 + 4 * dimensions.len() as u64)
}

/// A compressed idx file, no further than its header says; memory grows with what is really there.
fn inflate<const N: usize>(path: &Path) -> Result<Vec<u8>, DataError> {
    let file = File::open(path).map_err(|error| DataError::unreadable(path, &error))?;
    let mut decoder = MultiGzDecoder::new(BufReader::new(file));
    let damaged = |error: std::io::Error| DataError::damaged(path, format!("gzip: {error}"));
    let mut bytes = Vec::new();
    decoder.by_ref().take(4 + 4 * N as u64).read_to_end(&mut bytes).map_err(damaged)?;
    let dimensions = dimensions::<N>(path, &bytes)?;
    // One byte more shows that the file is too long.
    let rest = length(&dimensions).map_or(0, |length| length - bytes.len() as u64 + 1);
    decoder.take(rest).read_to_end(&mut bytes).map_err(damaged)?;
    Ok(bytes)
}
