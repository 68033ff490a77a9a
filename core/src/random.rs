//! Counter-based random streams: any draw can be repeated by its index.
//!
//! Philox4x32-10 (Salmon, Moraes, Dror, Shaw, SC 2011). Integers only, so the same on every
//! processor; floats are made by exact scaling.

/// The 10 rounds of Philox4x32 on one counter.
pub(crate) fn philox(mut counter: [u32; 4], mut key: [u32; 2]) -> [u32; 4] {
    for _ in 0..10 {
        let p0 = u64::from(counter[0]) * 0xD251_1F53;
        let p1 = u64::from(counter[2]) * 0xCD9E_8D57;
        counter = [
            (p1 >> 32) as u32 ^ counter[1] ^ key[0],
            p1 as u32,
            (p0 >> 32) as u32 ^ counter[3] ^ key[1],
            p0 as u32,
        ];
        key = [key[0].wrapping_add(0x9E37_79B9), key[1].wrapping_add(0xBB67_AE85)];
    }
    counter
}

/// An unlimited family of draws, indexed by 64-bit numbers.
///
/// Streams of different `seed` or `domain` are independent. A domain names a purpose (initial
/// weights, augmentation, batch order …); who owns the seed owns the list of domains.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Stream {
    seed: u64,
    domain: u16,
}

impl Stream {
    /// The stream of a seed and a domain.
    pub const fn new(seed: u64, domain: u16) -> Self {
        Self { seed, domain }
    }

    /// The draws at `index`: always the same ones.
    pub const fn at(&self, index: u64) -> Draws {
        Draws { stream: *self, index, block: 0, buffer: [0; 4], left: 0 }
    }
}

/// Successive draws at one index; at most 2¹⁶ blocks of four words.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
pub struct Draws {
    stream: Stream,
    index: u64,
    block: u16,
    buffer: [u32; 4],
    left: u8,
}

impl Draws {
    /// 32 uniform bits.
    pub fn next_u32(&mut self) -> u32 {
        if self.left == 0 {
            let position = (u32::from(self.stream.domain) << 16) | u32::from(self.block);
            self.buffer = philox(
                [self.index as u32, (self.index >> 32) as u32, position, 0],
                [self.stream.seed as u32, (self.stream.seed >> 32) as u32],
            );
            // Wrapping would repeat the first draws; no caller takes 2¹⁸ words at one index.
            self.block = self.block.wrapping_add(1);
            self.left = 4;
        }
        self.left -= 1;
        // The last word first: `left` indexes the buffer without a bounds check that could fail.
        self.buffer[usize::from(self.left & 3)]
    }

    /// Uniform on the multiples of 2⁻²⁴ in `[0, 1)`; exact.
    pub fn uniform(&mut self) -> f32 {
        (self.next_u32() >> 8) as f32 * (1.0 / 16_777_216.0)
    }

    /// Uniform in `[low, high)`, up to rounding.
    pub fn uniform_in(&mut self, low: f32, high: f32) -> f32 {
        low + (high - low) * self.uniform()
    }

    /// Uniform in `0..bound` without bias (Lemire 2019); 0 where `bound` is 0.
    pub fn below(&mut self, bound: u32) -> u32 {
        if bound == 0 {
            return 0;
        }
        let threshold = bound.wrapping_neg() % bound;
        loop {
            let product = u64::from(self.next_u32()) * u64::from(bound);
            if product as u32 >= threshold {
                return (product >> 32) as u32;
            }
        }
    }

    /// True with the given probability.
    pub fn chance(&mut self, probability: f32) -> bool {
        self.uniform() < probability
    }

    /// Standard normal (Box, Muller 1958), one of each pair.
    pub fn normal(&mut self) -> f32 {
        // 1 − u lies in (0, 1], where the logarithm is finite.
        let radius = libm::sqrtf(-2.0 * libm::logf(1.0 - self.uniform()));
        radius * libm::cosf(2.0 * core::f32::consts::PI * self.uniform())
    }
}

#[cfg(test)]
mod tests {
    use super::philox;

    /// Random123's known-answer tests for philox4x32-10.
    #[test]
    fn known_answers() {
        let cases = [
            ([0; 4], [0; 2], [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]),
            ([!0; 4], [!0; 2], [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]),
            (
                [0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344],
                [0xa409_3822, 0x299f_31d0],
                [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1],
            ),
        ];
        for (counter, key, answer) in cases {
            assert_eq!(philox(counter, key), answer);
        }
    }
}
