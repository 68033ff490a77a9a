//! The checksum of a checkpoint.

/// CRC-32 of IEEE 802.3: polynomial 0x04c11db7, reflected, initially and finally inverted.
///
/// It finds every flipped bit, every two, and every burst of up to 32 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Crc(u32);

/// What one byte makes of a remainder of 0; 1 KiB of code memory.
static TABLE: [u32; 256] = table();

const fn table() -> [u32; 256] {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < table.len() {
        let mut remainder = byte as u32;
        let mut bit = 0;
        while bit < 8 {
            let carry = if remainder & 1 == 1 { 0xedb8_8320 } else { 0 };
            remainder = (remainder >> 1) ^ carry;
            bit += 1;
        }
        table[byte] = remainder;
        byte += 1;
    }
    table
}

impl Crc {
    /// The checksum of nothing.
    pub const fn new() -> Self {
        Self(0)
    }

    /// Takes bytes in.
    #[must_use]
    pub fn with(self, bytes: &[u8]) -> Self {
        let mut remainder = !self.0;
        for byte in bytes {
            // A byte cannot miss the table, so this is no panic.
            remainder = (remainder >> 8) ^ TABLE[usize::from(remainder as u8 ^ *byte)];
        }
        Self(!remainder)
    }

    /// The checksum.
    pub const fn value(self) -> u32 {
        self.0
    }
}

impl Default for Crc {
    fn default() -> Self {
        Self::new()
    }
}
