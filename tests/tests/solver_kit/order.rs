//! Batch orders: every item as often at every place, batches as they are numbered.

use bissl_core::{BatchOrder, Permutation, Stream};

#[test]
fn every_item_comes_to_every_position_equally_often() {
    let (len, orders) = (6u32, 6000u64);
    let mut counts = [0u32; 36];
    for index in 0..orders {
        let order = Permutation::new(Stream::new(1, 2), index, len).unwrap();
        for position in 0..len {
            counts[(position * len + order.at(position)) as usize] += 1;
        }
    }
    let expected = orders as f64 / f64::from(len);
    for (cell, count) in counts.iter().enumerate() {
        let deviation = (f64::from(*count) - expected).abs();
        assert!(deviation < 5.5 * expected.sqrt(), "cell {cell}: {count}");
    }
}

#[test]
fn orders_depend_on_seed_domain_and_index() {
    let order = |seed, domain, index| -> Vec<u32> {
        let order = Permutation::new(Stream::new(seed, domain), index, 50).unwrap();
        (0..50).map(|i| order.at(i)).collect()
    };
    let first = order(1, 1, 1);
    for other in [order(2, 1, 1), order(1, 2, 1), order(1, 1, 2)] {
        let fixed = first.iter().zip(&other).filter(|(a, b)| a == b).count();
        assert!(fixed < 9, "{fixed} of 50 places agree");
    }
    assert_eq!(first, order(1, 1, 1));
}

#[test]
fn positions_wrap_around() {
    let order = Permutation::new(Stream::new(1, 1), 0, 7).unwrap();
    for position in 0..7 {
        assert_eq!(order.at(position + 7), order.at(position));
    }
}

/// Large lengths work, up to the largest.
#[test]
fn large_permutations_stay_in_range_and_are_injective_where_looked_at() {
    for len in [65_537, 1 << 20, (1 << 30) + 1, u32::MAX] {
        let order = Permutation::new(Stream::new(3, 3), 1, len).unwrap();
        let mut items: Vec<u32> = (0..2000).map(|i| order.at(i * (len / 2000))).collect();
        assert!(items.iter().all(|item| *item < len));
        items.sort_unstable();
        items.dedup();
        assert_eq!(items.len(), 2000);
    }
}

/// By `golden_draws.py`. Fixed so that a change of the network, which would change every run, is
/// noticed.
#[test]
fn golden_order() {
    for items in [&GOLDEN_12[..], &GOLDEN_16] {
        let order = Permutation::new(Stream::new(7, 3), 11, items.len() as u32).unwrap();
        let found: Vec<u32> = (0..items.len() as u32).map(|i| order.at(i)).collect();
        assert_eq!(found, items);
    }
}

const GOLDEN_12: [u32; 12] = [10, 8, 0, 6, 2, 4, 7, 1, 9, 3, 5, 11];
const GOLDEN_16: [u32; 16] = [15, 8, 0, 14, 2, 4, 12, 1, 9, 3, 5, 11, 7, 13, 6, 10];

#[test]
fn batches_are_the_epochs_permutation_cut_in_pieces() {
    let stream = Stream::new(4, 4);
    for (items, batch) in [(10, 3), (12, 4), (5, 5), (7, 1)] {
        let order = BatchOrder::new(stream, items, batch).unwrap();
        let per_epoch = items / batch;
        assert_eq!(order.batches_per_epoch(), per_epoch);
        for step in 0..3 * per_epoch {
            let epoch = u64::from(step / per_epoch);
            let permutation = Permutation::new(stream, epoch, items).unwrap();
            for i in 0..batch {
                let expected = permutation.at(step % per_epoch * batch + i);
                assert_eq!(order.item(step, i), expected);
                assert_eq!(order.item(step, i + batch), expected, "modulo the batch size");
            }
        }
    }
}
