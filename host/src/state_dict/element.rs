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
    /// Whole numbers and truth values: of `num_batches_tracked`, never of a parameter.
    Integer {
        /// Bytes of each.
        bytes: u8,
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
            "LongStorage" => Self::Integer { bytes: 8 },
            "IntStorage" => Self::Integer { bytes: 4 },
            "ShortStorage" => Self::Integer { bytes: 2 },
            "CharStorage" | "ByteStorage" | "BoolStorage" => Self::Integer { bytes: 1 },
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
            Dtype::I64 | Dtype::U64 => Self::Integer { bytes: 8 },
            Dtype::I32 | Dtype::U32 => Self::Integer { bytes: 4 },
            Dtype::I16 | Dtype::U16 => Self::Integer { bytes: 2 },
            Dtype::I8 | Dtype::U8 | Dtype::BOOL => Self::Integer { bytes: 1 },
            _ => return None,
        })
    }

    /// Bytes of one.
    pub(super) fn bytes(self) -> usize {
        match self {
            Self::F32 => 4,
            Self::F64 => 8,
            Self::F16 | Self::Bf16 => 2,
            Self::Integer { bytes } => bytes.into(),
        }
    }

    /// The element in the first bytes of `at`, little-endian; `None` if it is a whole number.
    pub(super) fn value(self, at: &[u8]) -> Option<f32> {
        let holds = "an element has its bytes";
        Some(match self {
            Self::F32 => f32::from_le_bytes(*at.first_chunk().expect(holds)),
            Self::F64 => f64::from_le_bytes(*at.first_chunk().expect(holds)) as f32,
            Self::F16 => f16::from_le_bytes(*at.first_chunk().expect(holds)).to_f32(),
            Self::Bf16 => bf16::from_le_bytes(*at.first_chunk().expect(holds)).to_f32(),
            Self::Integer { .. } => return None,
        })
    }
}

impl std::fmt::Display for Element {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::F32 => f.write_str("float32"),
            Self::F64 => f.write_str("float64"),
            Self::F16 => f.write_str("float16"),
            Self::Bf16 => f.write_str("bfloat16"),
            Self::Integer { bytes } => write!(f, "int{}", 8 * u32::from(*bytes)),
        }
    }
}
