//! Tensors of a file by name, as f32.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use safetensors::SafeTensors;

use super::element::Element;
use super::entry::{Entry, Place, row_major};
use super::pth;
use crate::run::{NamedTensor, RunError};

/// Tensors by name, and what there is to say about how they were found.
#[derive(Clone, Debug, PartialEq)]
pub struct StateDict {
    /// By the names in the file. Whole numbers are left out, such as `num_batches_tracked`.
    pub tensors: BTreeMap<String, NamedTensor>,
    /// A line each: what was unwrapped, rounded or left out.
    pub notices: Vec<String>,
}

/// Reads the tensors of a state dict. `key` names the dictionary in a checkpoint that holds
/// several; without it, the usual names are tried.
///
/// # Errors
/// The file cannot be read, is none of the kinds above, or is damaged; no state dict is found in
/// it.
pub fn read_state_dict(path: &Path, key: Option<&str>) -> Result<StateDict, RunError> {
    let bytes = fs::read(path).map_err(RunError::io("read", path))?;
    decode_state_dict(&bytes, key).map_err(|reason| RunError::unfit(path, reason))
}

/// As [`read_state_dict`], from a file's bytes.
///
/// # Errors
/// What is wrong with them.
pub fn decode_state_dict(bytes: &[u8], key: Option<&str>) -> Result<StateDict, String> {
    let (entries, mut notices) = if bytes.starts_with(b"PK") {
        pth::zip(bytes, key)?
    } else if bytes.first() == Some(&0x80) && bytes.get(1).is_some_and(|protocol| *protocol <= 5) {
        pth::legacy(bytes, key)?
    } else {
        safetensors(bytes)?
    };
    let mut tensors = BTreeMap::new();
    let (mut whole, mut rounded) = (Vec::new(), Vec::new());
    // Tensors may share a storage, but not so often that a small file becomes a large state.
    let mut left = bytes.len();
    for (name, entry) in entries {
        let found = |reason| format!("tensor {name}: {reason}");
        entry.storage.check(bytes).map_err(found)?;
        let Some(values) = entry.values(bytes).map_err(found)? else {
            whole.push(name);
            continue;
        };
        left = left.checked_sub(values.len()).ok_or_else(|| {
            format!("tensor {name}: more values than the file has bytes, {}", bytes.len())
        })?;
        if entry.element == Element::F64 {
            rounded.push(name.clone());
        }
        tensors.insert(name.clone(), NamedTensor { name, shape: entry.shape, values });
    }
    if !rounded.is_empty() {
        notices.push(format!("{} tensors of float64 are rounded to float32", rounded.len()));
    }
    let whole: Vec<_> =
        whole.into_iter().filter(|name| !name.ends_with("num_batches_tracked")).collect();
    if !whole.is_empty() {
        notices.push(format!("left out as whole numbers: {}", whole.join(", ")));
    }
    Ok(StateDict { tensors, notices })
}

fn safetensors(bytes: &[u8]) -> Result<pth::Found, String> {
    let file = SafeTensors::deserialize(bytes).map_err(|error| {
        format!("neither a file of torch.save nor a sound safetensors file: {error}")
    })?;
    let mut entries = BTreeMap::new();
    for (name, view) in file.iter() {
        let element = Element::of_dtype(view.dtype()).ok_or_else(|| {
            format!("tensor {name} has type {:?}, expected F32, F64, F16 or BF16", view.dtype())
        })?;
        let start = view.data().as_ptr() as usize - bytes.as_ptr() as usize;
        let shape = view.shape().to_vec();
        let strides = row_major(&shape).ok_or_else(|| format!("tensor {name}: shape {shape:?}"))?;
        let storage = Place { bytes: start..start + view.data().len(), crc: None };
        let entry = Entry { element, storage, offset: 0, shape, strides };
        entries.insert(name.to_owned(), entry);
    }
    Ok((entries, Vec::new()))
}
