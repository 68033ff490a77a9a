//! The checksum of a checkpoint.

/// CRC-32 of IEEE 802.3: polynomial 0x04c11db7, reflected, initially and finally inverted.
///
/// It finds every flipped bit, every two, and every burst of up to 32 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Crc(u32);

/// The remainder that each half byte leaves. The table takes 64 bytes of flash; one for whole bytes
/// would take 1 KiB.
static TABLE: [u32; 16] = table();

const fn table() -> [u32; 16] {
    let mut table = [0; 16];
    let mut half = 0;
    while half < table.len() {
        let mut remainder = half as u32;
        let mut bit = 0;
        while bit < 4 {
            let carry = if remainder & 1 == 1 { 0xedb8_8320 } else { 0 };
            remainder = (remainder >> 1) ^ carry;
            bit += 1;
        }
        table[half] = remainder;
        half += 1;
    }
    table
}

impl Crc {
    /// The checksum of no bytes.
    pub const fn new() -> Self {
        Self(0)
    }

    /// Adds bytes to the checksum.
    #[must_use]
    pub fn with(self, bytes: &[u8]) -> Self {
        let mut remainder = !self.0;
        for byte in bytes {
            remainder ^= u32::from(*byte);
            for _ in 0..2 {
                // Half a byte is always an index of the table, so this cannot panic.
                remainder = (remainder >> 4) ^ TABLE[(remainder & 15) as usize];
            }
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
