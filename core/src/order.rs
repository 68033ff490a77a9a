//! Batch order without memory: a permutation that is computed, not stored.

use core::num::NonZeroU32;

use crate::random::philox;
use crate::{ConfigError, Stream};

/// A pseudo-random permutation of `0..len`.
///
/// A balanced Feistel network of six Philox rounds on the next even number of bits, walked until
/// the value falls inside (Black, Rogaway 2002): less than four evaluations on average.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Permutation {
    key: [u32; 2],
    len: NonZeroU32,
    half_bits: u32,
}

impl Permutation {
    /// Permutation number `index` of a stream, of `len` ≥ 1 items.
    ///
    /// # Errors
    /// `len` is 0.
    pub fn new(stream: Stream, index: u64, len: u32) -> Result<Self, ConfigError> {
        let len = NonZeroU32::new(len).ok_or(ConfigError::Zero { name: "len" })?;
        Ok(Self::of_non_empty(stream, index, len))
    }

    fn of_non_empty(stream: Stream, index: u64, len: NonZeroU32) -> Self {
        let mut draws = stream.at(index);
        let key = [draws.next_u32(), draws.next_u32()];
        let bits = u32::BITS - (len.get() - 1).leading_zeros();
        Self { key, len, half_bits: bits.div_ceil(2).max(1) }
    }

    /// The item at `position`, which is taken modulo `len`.
    pub fn at(&self, position: u32) -> u32 {
        let mut value = position % self.len;
        loop {
            value = self.round_trip(value);
            if value < self.len.get() {
                return value;
            }
        }
    }

    fn round_trip(&self, value: u32) -> u32 {
        let mask = (1u32 << self.half_bits) - 1;
        let (mut left, mut right) = (value >> self.half_bits, value & mask);
        for round in 0..6 {
            let mixed = philox([right, round, 0, 0], self.key)[0] & mask;
            (left, right) = (right, left ^ mixed);
        }
        (left << self.half_bits) | right
    }
}

/// Which items make up which batch: epochs of whole batches, each epoch in its own order.
///
/// The remainder of an epoch that fills no batch is left out; which items those are differs by
/// epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct BatchOrder {
    stream: Stream,
    items: NonZeroU32,
    batch: NonZeroU32,
    /// items / batch; kept, and non-zero, so that no division below can fail.
    per_epoch: NonZeroU32,
}

impl BatchOrder {
    /// Batches of `batch` out of `items` ≥ `batch` ≥ 1.
    ///
    /// # Errors
    /// The count that is out of range.
    pub fn new(stream: Stream, items: u32, batch: u32) -> Result<Self, ConfigError> {
        let some = NonZeroU32::new(batch).ok_or(ConfigError::Zero { name: "batch" })?;
        let (value, range) = (batch as f32, "at most the number of items");
        let refused = ConfigError::OutOfRange { name: "batch", value, range };
        let items = NonZeroU32::new(items).ok_or(refused)?;
        let per_epoch = NonZeroU32::new(items.get() / some).ok_or(refused)?;
        Ok(Self { stream, items, batch: some, per_epoch })
    }

    /// Batches in an epoch.
    pub fn batches_per_epoch(&self) -> u32 {
        self.per_epoch.get()
    }

    /// Item `i` (taken modulo the batch size) of batch `step`, counted from the start of training.
    pub fn item(&self, step: u32, i: u32) -> u32 {
        let (epoch, within) = (step / self.per_epoch, step % self.per_epoch);
        let permutation = Permutation::of_non_empty(self.stream, u64::from(epoch), self.items);
        permutation.at(within * self.batch.get() + i % self.batch)
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use std::vec::Vec;

    #[test]
    fn every_item_appears_once() {
        for len in (1..200).chain([1000, 4095, 4096, 4097]) {
            let order = Permutation::new(Stream::new(7, 1), 3, len).unwrap();
            let mut items: Vec<u32> = (0..len).map(|i| order.at(i)).collect();
            assert!(len < 100 || items.windows(2).filter(|w| w[1] == w[0] + 1).count() < 10);
            items.sort_unstable();
            assert_eq!(items, (0..len).collect::<Vec<_>>());
        }
    }

    #[test]
    fn epochs_differ_and_batches_are_disjoint() {
        let order = BatchOrder::new(Stream::new(1, 0), 10, 3).unwrap();
        assert_eq!(order.batches_per_epoch(), 3);
        let epoch = |e: u32| -> Vec<u32> {
            (0..3).flat_map(|b| (0..3).map(move |i| order.item(3 * e + b, i))).collect()
        };
        let mut first = epoch(0);
        assert_ne!(first, epoch(1));
        first.sort_unstable();
        first.dedup();
        assert_eq!(first.len(), 9);
    }

    #[test]
    fn impossible_batches_are_refused() {
        assert_eq!(
            BatchOrder::new(Stream::new(1, 0), 3, 0),
            Err(ConfigError::Zero { name: "batch" })
        );
        assert!(BatchOrder::new(Stream::new(1, 0), 3, 4).is_err());
        assert!(Permutation::new(Stream::new(1, 0), 0, 0).is_err());
    }
}
