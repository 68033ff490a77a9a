//! Types of elements, and their values as f32.

use half::{bf16, f16};
use safetensors::Dtype;

/// A type of elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Element {
    /// 32-bit floats.
    F32,
    /// 64-bit floats, rounded when they are read.
    F64,
    /// 16-bit floats, exact as f32.
    F16,
    /// Upper halves of 32-bit floats, exact as f32.
    Bf16,
    /// Whole numbers, truth values, complex and quantised numbers: of counters and generators,
    /// never of a parameter.
    Other {
        /// Bytes of each.
        bytes: u8,
        /// As safetensors calls it.
        name: &'static str,
    },
}

impl Element {
    /// By the name of torch's class of storages.
    pub(super) fn of_storage(class: &str) -> Option<Self> {
        Some(match class {
            "FloatStorage" => Self::F32,
            "DoubleStorage" => Self::F64,
            "HalfStorage" => Self::F16,
            "BFloat16Storage" => Self::Bf16,
            "LongStorage" => Self::Other { bytes: 8, name: "I64" },
            "IntStorage" => Self::Other { bytes: 4, name: "I32" },
            "ShortStorage" => Self::Other { bytes: 2, name: "I16" },
            "CharStorage" => Self::Other { bytes: 1, name: "I8" },
            "ByteStorage" => Self::Other { bytes: 1, name: "U8" },
            "BoolStorage" => Self::Other { bytes: 1, name: "BOOL" },
            "ComplexFloatStorage" => Self::Other { bytes: 8, name: "C64" },
            "ComplexDoubleStorage" => Self::Other { bytes: 16, name: "C128" },
            "QInt8Storage" | "QUInt8Storage" => Self::Other { bytes: 1, name: "Q8" },
            "QInt32Storage" => Self::Other { bytes: 4, name: "Q32" },
            _ => return None,
        })
    }

    /// By the name in a safetensors file.
    pub(super) fn of_dtype(dtype: Dtype) -> Option<Self> {
        Some(match dtype {
            Dtype::F32 => Self::F32,
            Dtype::F64 => Self::F64,
            Dtype::F16 => Self::F16,
            Dtype::BF16 => Self::Bf16,
            Dtype::I64 => Self::Other { bytes: 8, name: "I64" },
            Dtype::U64 => Self::Other { bytes: 8, name: "U64" },
            Dtype::I32 => Self::Other { bytes: 4, name: "I32" },
            Dtype::U32 => Self::Other { bytes: 4, name: "U32" },
            Dtype::I16 => Self::Other { bytes: 2, name: "I16" },
            Dtype::U16 => Self::Other { bytes: 2, name: "U16" },
            Dtype::I8 => Self::Other { bytes: 1, name: "I8" },
            Dtype::U8 => Self::Other { bytes: 1, name: "U8" },
            Dtype::BOOL => Self::Other { bytes: 1, name: "BOOL" },
            _ => return None,
        })
    }

    /// Bytes of one.
    pub(super) fn bytes(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::F64 => 8,
            Self::F16 | Self::Bf16 => 2,
            Self::Other { bytes, .. } => bytes.into(),
        }
    }

    /// The element in the first bytes of `at`, little-endian; `None` if it is no float.
    pub(super) fn value(self, at: &[u8]) -> Option<f32> {
        let holds = "an element has its bytes";
        Some(match self {
            Self::F32 => f32::from_le_bytes(*at.first_chunk().expect(holds)),
            Self::F64 => f64::from_le_bytes(*at.first_chunk().expect(holds)) as f32,
            Self::F16 => f16::from_le_bytes(*at.first_chunk().expect(holds)).to_f32(),
            Self::Bf16 => bf16::from_le_bytes(*at.first_chunk().expect(holds)).to_f32(),
            Self::Other { .. } => return None,
        })
    }
}

/// As safetensors calls it.
impl std::fmt::Display for Element {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::F32 => "F32",
            Self::F64 => "F64",
            Self::F16 => "F16",
            Self::Bf16 => "BF16",
            Self::Other { name, .. } => name,
        })
    }
}
