//! The format in which a device multiplies.

use serde::{Deserialize, Serialize};

/// Operands of a network's convolutions and matrix products are rounded to it. Sums, and everything
/// else, stay f32.
///
/// A device without hardware for the format rounds the operands and multiplies in f32: it has the
/// errors of the format at the speed of f32.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// 24 bits of significand: nothing is rounded.
    #[default]
    F32,
    /// 11 bits, NVIDIA's TensorFloat-32.
    Tf32,
    /// 8 bits, bfloat16.
    Bf16,
}

impl Precision {
    /// Every precision, the most exact first.
    pub const ALL: [Self; 3] = [Self::F32, Self::Tf32, Self::Bf16];
    /// All spellings.
    pub const NAMES: &[&str] = &[Self::F32.name(), Self::Tf32.name(), Self::Bf16.name()];

    /// The spelling in files and flags.
    pub const fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::Tf32 => "tf32",
            Self::Bf16 => "bf16",
        }
    }

    /// Low bits of an f32 that the format does not have.
    pub const fn dropped_bits(self) -> u32 {
        match self {
            Self::F32 => 0,
            Self::Tf32 => 13,
            Self::Bf16 => 16,
        }
    }
}

impl std::fmt::Display for Precision {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}
