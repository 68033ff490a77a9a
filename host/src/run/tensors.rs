//! Named f32 tensors as safetensors files.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::path::Path;

use safetensors::tensor::{Dtype, SafeTensors, View};

use super::disk::{Disk, SystemDisk};
use super::{RunError, write_atomic};

/// A tensor to write.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TensorView<'a> {
    /// The name, unique in its file.
    pub name: &'a str,
    /// Sizes, outermost first; their product is the number of values.
    pub shape: &'a [usize],
    /// The values in row-major order.
    pub values: &'a [f32],
}

/// A tensor that was read.
#[derive(Clone, Debug, PartialEq)]
pub struct NamedTensor {
    /// The name, unique in its file.
    pub name: String,
    /// Sizes, outermost first; their product is the number of values.
    pub shape: Vec<usize>,
    /// The values in row-major order.
    pub values: Vec<f32>,
}

impl NamedTensor {
    /// This tensor, borrowed.
    pub fn view(&self) -> TensorView<'_> {
        TensorView { name: &self.name, shape: &self.shape, values: &self.values }
    }
}

// Values are written as they are in memory, and the format is little-endian.
const _: () = assert!(cfg!(target_endian = "little"));

impl View for TensorView<'_> {
    fn dtype(&self) -> Dtype {
        Dtype::F32
    }

    fn shape(&self) -> &[usize] {
        self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        Cow::Borrowed(bytemuck::cast_slice(self.values))
    }

    fn data_len(&self) -> usize {
        size_of_val(self.values)
    }
}

/// Writes a safetensors file, atomically.
///
/// # Errors
/// Path and reason; an old file is still there.
///
/// # Panics
/// A name occurs twice, or a shape does not fit its values.
pub fn write_tensors(path: &Path, tensors: &[TensorView<'_>]) -> Result<(), RunError> {
    write_atomic(path, &encode(path, tensors)?)
}

/// Reads a safetensors file of f32 tensors, in the order of their names.
///
/// # Errors
/// The file cannot be read, is no safetensors file, or holds a type other than f32.
pub fn read_tensors(path: &Path) -> Result<Vec<NamedTensor>, RunError> {
    decode(path, &SystemDisk.read(path).map_err(RunError::io("read", path))?)
}

/// The tensors of a safetensors file, borrowed from its bytes.
pub(super) fn open<'a>(path: &Path, bytes: &'a [u8]) -> Result<SafeTensors<'a>, RunError> {
    SafeTensors::deserialize(bytes)
        .map_err(|error| RunError::damaged(path, format!("not a safetensors file: {error}")))
}

/// The bytes of a safetensors file; they do not depend on the order of the tensors.
pub(super) fn encode(path: &Path, tensors: &[TensorView<'_>]) -> Result<Vec<u8>, RunError> {
    let mut names = BTreeSet::new();
    for tensor in tensors {
        let TensorView { name, shape, values } = tensor;
        assert!(names.insert(*name), "two tensors are called {name}");
        let count: usize = shape.iter().product();
        assert_eq!(count, values.len(), "{name} has shape {shape:?}");
    }
    let named = tensors.iter().map(|tensor| (tensor.name, *tensor));
    safetensors::serialize(named, None).map_err(|error| RunError::Unstorable {
        what: format!("{} tensors", tensors.len()),
        path: path.to_owned(),
        reason: error.to_string(),
    })
}

/// The tensors of a safetensors file's bytes.
pub(super) fn decode(path: &Path, bytes: &[u8]) -> Result<Vec<NamedTensor>, RunError> {
    let file = open(path, bytes)?;
    let mut tensors = Vec::with_capacity(file.len());
    for (name, view) in file.iter() {
        if view.dtype() != Dtype::F32 {
            let reason = format!("tensor {name} has type {:?}, expected F32", view.dtype());
            return Err(RunError::damaged(path, reason));
        }
        let (chunks, _) = view.data().as_chunks::<4>();
        let values = chunks.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect();
        tensors.push(NamedTensor { name: name.to_owned(), shape: view.shape().to_vec(), values });
    }
    tensors.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(tensors)
}
