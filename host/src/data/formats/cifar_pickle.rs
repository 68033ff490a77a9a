//! CIFAR-10 and CIFAR-100, Python version: pickled dictionaries with a numpy array of `[images, 3072]` bytes and a
//! list of labels.
//!
//! The pixels are looked at where they lie in the pickle; they are as in the binary version.

use std::path::Path;

use super::cifar::{IMAGE_LEN, SIDE, require_labels};
use super::pickle::{Id, Node, Pickle};
use super::{Corpus, Format, Listing, Reader, parts};
use crate::data::raw::{Bytes, Layout, Order, RawImages};
use crate::data::{DataError, Part};

pub(super) const TEN: Reader = Reader {
    format: Format::Cifar10,
    mark: "data_batch_1, …, test_batch, batches.meta",
    places: &["", "cifar-10-batches-py"],
    is_at: |path| TEN_VERSION.files.iter().any(|(name, _)| path.join(name).is_file()),
    list: |path, corpus| list(path, corpus, &TEN_VERSION),
};

pub(super) const HUNDRED: Reader = Reader {
    format: Format::Cifar100,
    mark: "the files train, test and meta",
    places: &["", "cifar-100-python"],
    is_at: |path| HUNDRED_VERSION.files.iter().any(|(name, _)| path.join(name).is_file()),
    list: |path, corpus| list(path, corpus, &HUNDRED_VERSION),
};

struct Version {
    files: &'static [(&'static str, Part)],
    /// File of the class names, and their key in it.
    names: (&'static str, &'static str),
    labels: &'static str,
    classes: u32,
}

const TEN_VERSION: Version = Version {
    files: &[
        ("data_batch_1", Part::Train),
        ("data_batch_2", Part::Train),
        ("data_batch_3", Part::Train),
        ("data_batch_4", Part::Train),
        ("data_batch_5", Part::Train),
        ("test_batch", Part::Test),
    ],
    names: ("batches.meta", "label_names"),
    labels: "labels",
    classes: 10,
};

const HUNDRED_VERSION: Version = Version {
    files: &[("train", Part::Train), ("test", Part::Test)],
    names: ("meta", "fine_label_names"),
    labels: "fine_labels",
    classes: 100,
};

fn list(root: &Path, corpus: Corpus, version: &Version) -> Result<Listing, DataError> {
    let mut listing = Listing { classes: class_names(root, version)?, items: Vec::new() };
    for (name, part) in version.files.iter().filter(|(_, part)| parts(corpus).contains(part)) {
        let path = root.join(name);
        let bytes = Bytes::map(&path, "a pickle of CIFAR images")?;
        let damaged = |reason: String| DataError::damaged(&path, reason);
        let pickle = Pickle::read(&bytes).map_err(damaged)?;
        let (first, count) = pixels(&pickle).map_err(damaged)?;
        let labels = labels(&pickle, version.labels).map_err(damaged)?;
        if labels.len() != count as usize {
            let found = labels.len();
            let reason = format!("found {found} labels, expected one for each of {count} images");
            return Err(damaged(reason));
        }
        require_labels(&path, &labels, version.classes)?;
        let (width, height, order) = (SIDE, SIDE, Order::PlanesByRow);
        let layout = Layout { width, height, order, first, stride: IMAGE_LEN, count };
        listing.extend_raw(RawImages::new(&path, bytes, layout)?, &labels, *part);
    }
    Ok(listing)
}

/// Names from the file beside the images; numbers where it does not exist.
fn class_names(root: &Path, version: &Version) -> Result<Vec<String>, DataError> {
    let (file, key) = version.names;
    let path = root.join(file);
    if !path.exists() {
        return Ok((0..version.classes).map(|class| class.to_string()).collect());
    }
    let bytes = Bytes::map(&path, "a pickle of class names")?;
    let pickle = Pickle::read(&bytes).map_err(|reason| DataError::damaged(&path, reason))?;
    let Some(Node::List(list)) = pickle.entry(key) else {
        return Err(DataError::damaged(path, format!("found no list `{key}` in the dictionary")));
    };
    let name = |&id: &Id| match pickle.node(id) {
        Node::Bytes(place) => String::from_utf8(pickle.bytes(place).to_vec()).ok(),
        _ => None,
    };
    let names: Option<Vec<String>> = list.iter().map(name).collect();
    match names {
        Some(names) if names.len() == version.classes as usize => Ok(names),
        _ => {
            let (found, expected) = (list.len(), version.classes);
            let reason =
                format!("found a list `{key}` of {found} values, expected {expected} names");
            Err(DataError::damaged(path, reason))
        }
    }
}

/// Where the array `data` begins in the file, and its images.
fn pixels(pickle: &Pickle<'_>) -> Result<(usize, u32), String> {
    let wrong =
        |what: &str| format!("array `data`: {what}, expected bytes of [images, {IMAGE_LEN}]");
    let array = pickle.entry("data").ok_or("found no array `data` in the dictionary")?;
    let Node::Object { callable, state: Some(state), .. } = array else {
        return Err(wrong("found no numpy array"));
    };
    let Node::Global(_, name) = pickle.node(*callable) else {
        return Err(wrong("found no numpy array"));
    };
    // The state of `numpy.ndarray`: version, shape, type, whether by columns, bytes.
    let (b"_reconstruct", Node::Tuple(state)) = (pickle.bytes(name), pickle.node(*state)) else {
        return Err(wrong("found no numpy array"));
    };
    let state: Vec<&Node> = state.iter().map(|&id| pickle.node(id)).collect();
    let [_, Node::Tuple(shape), element, Node::Bool(by_column), Node::Bytes(place)] = state[..]
    else {
        return Err(wrong("found a numpy array of another kind"));
    };
    if *by_column || !is_byte(pickle, element) {
        return Err(wrong("found other elements, or another order"));
    }
    let shape: Vec<&Node> = shape.iter().map(|&id| pickle.node(id)).collect();
    let [Node::Int(count), Node::Int(length)] = shape[..] else {
        return Err(wrong("found another shape"));
    };
    let bytes = place.len();
    match u32::try_from(*count) {
        Ok(images @ 1..)
            if *length == IMAGE_LEN as i64
                && (images as usize).checked_mul(IMAGE_LEN) == Some(bytes) =>
        {
            Ok((place.start, images))
        }
        _ => Err(wrong(&format!("found {bytes} bytes of shape [{count}, {length}]"))),
    }
}

/// Whether a numpy type is that of unsigned bytes.
fn is_byte(pickle: &Pickle<'_>, element: &Node) -> bool {
    let Node::Object { arguments, .. } = element else { return false };
    let Node::Tuple(arguments) = pickle.node(*arguments) else { return false };
    arguments.first().is_some_and(|&name| ["u1", "|u1"].iter().any(|u1| pickle.is_text(name, u1)))
}

fn labels(pickle: &Pickle<'_>, key: &str) -> Result<Vec<u32>, String> {
    let Some(Node::List(list)) = pickle.entry(key) else {
        return Err(format!("found no list `{key}` in the dictionary"));
    };
    let label = |(image, &id): (usize, &Id)| {
        match pickle.node(id) {
            Node::Int(label) => u32::try_from(*label).ok(),
            _ => None,
        }
        .ok_or_else(|| format!("found a label of image {image} that is no class number"))
    };
    list.iter().enumerate().map(label).collect()
}
