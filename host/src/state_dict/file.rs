//! Tensors of a file by name, as f32.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use safetensors::SafeTensors;

use super::dictionary::{Class, Dictionary};
use super::disguise::disguise;
use super::element::Element;
use super::entry::{Entry, Place, row_major};
use super::pth;
use super::words::{shown, some};
use crate::run::{NamedTensor, RunError};

/// A file of weights: what it holds, without the values.
#[derive(Debug)]
pub struct TensorFile<'a> {
    bytes: &'a [u8],
    container: &'static str,
    dictionaries: Vec<Dictionary<'a>>,
}

/// Tensors by name, and what there is to say about them.
#[derive(Clone, Debug, PartialEq)]
pub struct StateDict {
    /// By the names in the file. What is no float is left out, such as `num_batches_tracked`.
    pub tensors: BTreeMap<String, NamedTensor>,
    /// A line each: what was unwrapped, rounded or left out.
    pub notices: Vec<String>,
}

/// The bytes of a file of weights.
///
/// # Errors
/// It cannot be read, or is no regular file: a pipe or a device may have no end.
pub fn read_weights(path: &Path) -> Result<Vec<u8>, RunError> {
    let about = fs::metadata(path).map_err(RunError::io("read", path))?;
    if !about.is_file() {
        let what = if about.is_dir() { "a folder" } else { "a pipe or a device" };
        return Err(RunError::unfit(path, format!("{what}, expected a file of weights")));
    }
    fs::read(path).map_err(RunError::io("read", path))
}

/// All tensors of one dictionary: of the one that `key` leads to, or else of the largest.
///
/// # Errors
/// What is wrong with the bytes; nothing is under that key.
pub fn decode_state_dict(bytes: &[u8], key: Option<&str>) -> Result<StateDict, String> {
    let file = TensorFile::decode(bytes)?;
    let under = file.under(key)?;
    // The first of equally large ones.
    let largest = under.into_iter().rev().max_by_key(|found| found.tensors.len());
    let Some(found) = largest.filter(|found| !found.tensors.is_empty()) else {
        return Err(format!("no state dict; the file holds: {}", file.holds()));
    };
    let mut state = file.read(found, |_| true)?;
    let location = found.location();
    if !location.is_empty() {
        let notice = format!("the state dict is what the file holds under `{}`", shown(&location));
        state.notices.insert(0, notice);
    }
    Ok(state)
}

impl<'a> TensorFile<'a> {
    /// Reads names and shapes.
    ///
    /// # Errors
    /// The bytes are of no kind that is read, or damaged.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, String> {
        let (container, dictionaries) = if bytes.starts_with(b"PK") {
            ("torch.save", pth::zip(bytes)?)
        } else if bytes.first() == Some(&0x80) && bytes.get(1).is_some_and(|version| *version <= 5)
        {
            ("torch.save before PyTorch 1.6", pth::legacy(bytes)?)
        } else if let Some(what) = disguise(bytes) {
            return Err(what);
        } else {
            ("safetensors", vec![safetensors(bytes)?])
        };
        Ok(Self { bytes, container, dictionaries })
    }

    /// What wrote it.
    pub fn container(&self) -> &'static str {
        self.container
    }

    /// The root, and every dictionary below it that has tensors, nearest first.
    pub fn dictionaries(&self) -> &[Dictionary<'a>] {
        &self.dictionaries
    }

    /// Those dictionaries that `key` leads to; without it, all.
    ///
    /// # Errors
    /// There is none.
    pub fn under(&self, key: Option<&str>) -> Result<Vec<&Dictionary<'a>>, String> {
        let Some(key) = key else { return Ok(self.dictionaries.iter().collect()) };
        let found: Vec<_> = self.dictionaries.iter().filter(|it| it.is_under(key)).collect();
        if found.is_empty() {
            let known = some(self.dictionaries.iter().skip(1).map(Dictionary::location));
            let known = if known.is_empty() { "none".to_owned() } else { known };
            return Err(format!("no dictionary `{}`, expected one of: {known}", shown(key)));
        }
        Ok(found)
    }

    /// What the root holds, for a message.
    pub fn holds(&self) -> String {
        let root = &self.dictionaries[0];
        let others = root.others().map(|(name, class)| match class {
            Some(class) => format!("{name} ({class})"),
            None => name.to_owned(),
        });
        let all = some(root.names().map(str::to_owned).chain(others));
        if all.is_empty() { "nothing that has a name".to_owned() } else { all }
    }

    /// The values of those tensors of a dictionary that are wanted.
    ///
    /// # Errors
    /// A tensor's bytes are damaged or do not fit its shape; a value is not finite.
    pub fn read(
        &self,
        dictionary: &Dictionary<'a>,
        wanted: impl Fn(&str) -> bool,
    ) -> Result<StateDict, String> {
        let bytes = self.bytes;
        let (mut tensors, mut notices) = (BTreeMap::new(), Vec::new());
        let (mut others, mut rounded) = (Vec::new(), 0);
        // Tensors may share a storage, but not so often that a small file becomes a large state.
        let mut left = bytes.len();
        let mut checked = BTreeSet::new();
        for (name, entry) in dictionary.tensors.iter().filter(|(name, _)| wanted(name)) {
            let found = |reason| format!("tensor {}: {reason}", shown(name));
            if checked.insert((entry.storage.bytes.start, entry.storage.bytes.end)) {
                entry.storage.check(bytes).map_err(found)?;
            }
            let Some(values) = entry.values(bytes).map_err(found)? else {
                others.push(name);
                continue;
            };
            left = left.checked_sub(values.len()).ok_or_else(|| {
                found(format!("more values than the file has bytes, {}", bytes.len()))
            })?;
            rounded += usize::from(entry.element == Element::F64);
            let name = name.to_string();
            let tensor = NamedTensor { name: name.clone(), shape: entry.shape.clone(), values };
            tensors.insert(name, tensor);
        }
        if rounded > 0 {
            notices.push(format!("{rounded} tensors of float64 are rounded to float32"));
        }
        let others = others.into_iter().filter(|name| !name.ends_with("num_batches_tracked"));
        let others = some(others);
        if !others.is_empty() {
            notices.push(format!("left out, as they are no floats: {others}"));
        }
        Ok(StateDict { tensors, notices })
    }
}

fn safetensors(bytes: &[u8]) -> Result<Dictionary<'_>, String> {
    let file = SafeTensors::deserialize(bytes).map_err(|error| {
        format!("neither a file of torch.save nor a sound safetensors file: {error}")
    })?;
    let mut dictionary = Dictionary::new(Vec::new());
    for (name, view) in file.iter() {
        let name: Cow<'_, str> = Cow::Owned(name.to_owned());
        let Some(element) = Element::of_dtype(view.dtype()) else {
            dictionary.others.push((name, Some(Class::Elements(format!("{:?}", view.dtype())))));
            continue;
        };
        let start = view.data().as_ptr() as usize - bytes.as_ptr() as usize;
        let shape = view.shape().to_vec();
        let strides =
            row_major(&shape).ok_or_else(|| format!("tensor {}: shape {shape:?}", shown(&name)))?;
        let storage = Place { bytes: start..start + view.data().len(), crc: None };
        let entry = Entry { element, storage, offset: 0, shape, strides };
        dictionary.tensors.insert(name, entry);
    }
    Ok(dictionary)
}
