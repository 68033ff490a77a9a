//! CIFAR-10 and CIFAR-100, Python version: pickled dictionaries with a numpy array of `[images,
//! 3072]` bytes and a list of labels.
//!
//! The pixels are looked at where they lie in the pickle; they are as in the binary version.

use std::path::Path;

use super::cifar::{IMAGE_LEN, SIDE, require_labels};
use super::pickle::{Call, Pickle, Value, entry};
use super::reader::{Corpus, Format, Listing, Reader, parts};
use crate::data::raw::{Bytes, Layout, Order, RawImages};
use crate::data::{DataError, Part};
use crate::pickle::{Id, Name, Object};

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
    let mut listing = Listing { classes: class_names(root, version)?, ..Listing::default() };
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
    let Some(Object::List(list)) = entry(&pickle, key) else {
        return Err(DataError::damaged(path, format!("found no list `{key}` in the dictionary")));
    };
    let name = |&id: &Id| pickle.text(id).map(str::to_owned);
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
    let array = entry(pickle, "data").ok_or("found no array `data` in the dictionary")?;
    let Object::Made(Call { callable, state: Some(state), .. }) = array else {
        return Err(wrong("found no numpy array"));
    };
    // The state of `numpy.ndarray`: version, shape, type, whether by columns, bytes.
    let (Object::Name(Name { name: "_reconstruct", .. }), Object::Tuple(state)) =
        (pickle.object(*callable), pickle.object(*state))
    else {
        return Err(wrong("found no numpy array"));
    };
    let state: Vec<&Value<'_>> = state.iter().map(|&id| pickle.object(id)).collect();
    let [_, Object::Tuple(shape), element, Object::Truth(by_column), Object::Bytes(place)] =
        state[..]
    else {
        return Err(wrong("found a numpy array of another kind"));
    };
    if *by_column || !is_byte(pickle, element) {
        return Err(wrong("found other elements, or another order"));
    }
    let shape: Vec<&Value<'_>> = shape.iter().map(|&id| pickle.object(id)).collect();
    let [Object::Integer(count), Object::Integer(length)] = shape[..] else {
        return Err(wrong("found another shape"));
    };
    let bytes = place.len();
    match u32::try_from(*count) {
        Ok(images @ 1..)
            if *length == IMAGE_LEN as i128
                && (images as usize).checked_mul(IMAGE_LEN) == Some(bytes) =>
        {
            Ok((place.start, images))
        }
        _ => Err(wrong(&format!("found {bytes} bytes of shape [{count}, {length}]"))),
    }
}

/// Whether a numpy type is that of unsigned bytes.
fn is_byte(pickle: &Pickle<'_>, element: &Value<'_>) -> bool {
    let Object::Made(Call { arguments, .. }) = element else { return false };
    let Object::Tuple(arguments) = pickle.object(*arguments) else { return false };
    let name = arguments.first().and_then(|&name| pickle.text(name));
    matches!(name, Some("u1" | "|u1"))
}

fn labels(pickle: &Pickle<'_>, key: &str) -> Result<Vec<u32>, String> {
    let Some(Object::List(list)) = entry(pickle, key) else {
        return Err(format!("found no list `{key}` in the dictionary"));
    };
    let label = |(image, &id): (usize, &Id)| {
        match pickle.object(id) {
            Object::Integer(label) => u32::try_from(*label).ok(),
            _ => None,
        }
        .ok_or_else(|| format!("found a label of image {image} that is no class number"))
    };
    list.iter().enumerate().map(label).collect()
}
