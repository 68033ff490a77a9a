//! A fingerprint of the training state.

use postcard::ser_flavors::Flavor;
use serde::Serialize;

use crate::Fault;

/// FNV-1a of 64 bits (Fowler, Noll, Vo) over little-endian bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fnv(u64);

impl Fnv {
    /// The hash of no bytes.
    pub const fn new() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }

    /// Adds bytes to the hash.
    pub fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }

    /// Adds floats to the hash, by their bits.
    ///
    /// # Errors
    /// A number is infinite or NaN. NaN has different bits on different processors.
    pub fn write_floats(&mut self, floats: &[f32]) -> Result<(), Fault> {
        for float in floats {
            if !float.is_finite() {
                return Err(Fault::StateNotFinite);
            }
            self.write(&float.to_bits().to_le_bytes());
        }
        Ok(())
    }

    /// Adds a machine or setting to the hash in its serialised form (postcard), which is the same
    /// on every processor.
    ///
    /// # Errors
    /// The value cannot be serialised; machines and settings always can.
    pub fn write_value<V: Serialize>(&mut self, value: &V) -> Result<(), Fault> {
        match postcard::serialize_with_flavor(value, *self) {
            Ok(hash) => {
                *self = hash;
                Ok(())
            }
            Err(_) => Err(Fault::NotSerializable),
        }
    }

    /// The hash.
    pub const fn value(self) -> u64 {
        self.0
    }
}

impl Default for Fnv {
    fn default() -> Self {
        Self::new()
    }
}

impl Flavor for Fnv {
    type Output = Self;

    fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
        self.write(&[byte]);
        Ok(())
    }

    fn finalize(self) -> postcard::Result<Self> {
        Ok(self)
    }
}
