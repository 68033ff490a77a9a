//! Named tensors that other programs wrote or will read: f32 or f64.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::Path;

use safetensors::tensor::{Dtype, View};

use super::disk::{Disk, SystemDisk};
use super::tensors::open;
use super::{RunError, write_atomic};

/// A floating-point type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precision {
    /// 32 bits.
    F32,
    /// 64 bits.
    F64,
}

impl Precision {
    /// All spellings.
    pub const NAMES: &[&str] = &["f32", "f64"];

    /// The spelling in flags and reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::F64 => "f64",
        }
    }

    fn dtype(self) -> Dtype {
        match self {
            Self::F32 => Dtype::F32,
            Self::F64 => Dtype::F64,
        }
    }
}

/// A tensor in double precision, whatever the type in its file.
#[derive(Clone, Debug, PartialEq)]
pub struct RealTensor {
    /// Sizes, outermost first; their product is the number of values.
    pub shape: Vec<usize>,
    /// The values in row-major order.
    pub values: Vec<f64>,
}

/// Tensors by name.
pub type RealTensors = BTreeMap<String, RealTensor>;

/// Reads the tensors of a safetensors file whose names are `wanted`; each must be f32 or f64.
///
/// # Errors
/// The file cannot be read or is no safetensors file, or a wanted tensor has another type or a
/// value that is not finite.
pub fn read_real_tensors(
    path: &Path,
    wanted: impl Fn(&str) -> bool,
) -> Result<RealTensors, RunError> {
    let bytes = SystemDisk.read(path).map_err(RunError::io("read", path))?;
    let mut tensors = RealTensors::new();
    for (name, view) in open(path, &bytes)?.iter().filter(|(name, _)| wanted(name)) {
        let values: Vec<f64> = match view.dtype() {
            Dtype::F32 => {
                let (chunks, _) = view.data().as_chunks::<4>();
                chunks.iter().map(|bytes| f64::from(f32::from_le_bytes(*bytes))).collect()
            }
            Dtype::F64 => {
                let (chunks, _) = view.data().as_chunks::<8>();
                chunks.iter().map(|bytes| f64::from_le_bytes(*bytes)).collect()
            }
            found => {
                let reason = format!("tensor {name} has type {found:?}, expected F32 or F64");
                return Err(RunError::unfit(path, reason));
            }
        };
        if let Some(index) = values.iter().position(|value| !value.is_finite()) {
            let found = values[index];
            let reason =
                format!("tensor {name} holds {found} at element {index}, expected finite numbers");
            return Err(RunError::unfit(path, reason));
        }
        tensors.insert(name.to_owned(), RealTensor { shape: view.shape().to_vec(), values });
    }
    Ok(tensors)
}

/// A tensor in its stored form.
struct Stored<'a> {
    dtype: Dtype,
    shape: &'a [usize],
    bytes: Vec<u8>,
}

impl View for Stored<'_> {
    fn dtype(&self) -> Dtype {
        self.dtype
    }

    fn shape(&self) -> &[usize] {
        self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        Cow::Borrowed(&self.bytes)
    }

    fn data_len(&self) -> usize {
        self.bytes.len()
    }
}

/// Writes a safetensors file atomically, every value rounded to `precision`.
///
/// # Errors
/// Path and reason; an old file is still there.
///
/// # Panics
/// A shape does not fit its values.
pub fn write_real_tensors(
    path: &Path,
    tensors: &RealTensors,
    precision: Precision,
) -> Result<(), RunError> {
    let stored = tensors.iter().map(|(name, RealTensor { shape, values })| {
        let count: usize = shape.iter().product();
        assert_eq!(count, values.len(), "{name} has shape {shape:?}");
        let bytes = match precision {
            Precision::F32 => values.iter().flat_map(|x| (*x as f32).to_le_bytes()).collect(),
            Precision::F64 => values.iter().flat_map(|x| x.to_le_bytes()).collect(),
        };
        (name.as_str(), Stored { dtype: precision.dtype(), shape, bytes })
    });
    let bytes = safetensors::serialize(stored, None).map_err(|error| RunError::Unstorable {
        what: format!("{} tensors", tensors.len()),
        path: path.to_owned(),
        reason: error.to_string(),
    })?;
    write_atomic(path, &bytes)
}
