//! Batches are prepared ahead of use: the same values in any order, bounded, and without a hang.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, mpsc};

use bissl::data::Prefetch;

fn square(step: u32) -> u64 {
    u64::from(step) * u64::from(step)
}

#[test]
fn values_are_those_of_the_function_in_any_order_and_at_any_depth() {
    let orders: [&[u32]; 6] = [
        &[0, 1, 2, 3, 4, 5, 6, 7, 8, 9],
        &[9, 8, 7, 6, 5, 4, 3, 2, 1, 0],
        &[0, 5, 6, 2, 7, 7, 7, 9, 3],
        &[3, 4, 5, 100, 6, 7],
        &[9, 9, 9],
        &[],
    ];
    for depth in [0, 1, 2, 3, 20] {
        for order in orders {
            for first in [0, 2] {
                let prefetch = Prefetch::new(square, first..10, depth);
                for &step in order {
                    assert_eq!(prefetch.get(step), square(step), "{order:?} at depth {depth}");
                }
            }
        }
    }
    let nothing = Prefetch::new(square, 5..5, 3);
    assert_eq!(nothing.get(5), 25);
    let last = Prefetch::new(square, u32::MAX - 2..u32::MAX, 3);
    assert_eq!(last.get(u32::MAX - 1), square(u32::MAX - 1));
    assert_eq!(last.get(u32::MAX), square(u32::MAX));
}

#[test]
fn it_runs_ahead_by_the_depth_and_no_further() {
    let (begun, steps) = mpsc::channel();
    let asked = Arc::new(AtomicU32::new(0));
    let seen = Arc::clone(&asked);
    let make = move |step: u32| {
        assert!(step < seen.load(Ordering::SeqCst) + 3, "step {step} is too far ahead");
        // The receiver may already be gone at the last value, which does not matter.
        let _ = begun.send(step);
        step
    };
    let prefetch = Prefetch::new(make, 0..50, 3);
    // Three are made before anything is requested.
    for step in 0..3 {
        assert_eq!(steps.recv().unwrap(), step);
    }
    for step in 0..50 {
        asked.store(step + 1, Ordering::SeqCst);
        assert_eq!(prefetch.get(step), step);
    }
    drop(prefetch);
    // Each step once, in order: nothing is made twice.
    assert_eq!(steps.iter().collect::<Vec<_>>(), (3..50).collect::<Vec<_>>());
}

#[test]
fn dropping_it_at_any_moment_ends_the_thread() {
    for taken in 0..12 {
        for depth in [1, 3] {
            let held = Arc::new(());
            let kept = Arc::clone(&held);
            let make = move |step: u32| (Arc::clone(&kept), step);
            let prefetch = Prefetch::new(make, 0..10, depth);
            for step in 0..taken {
                assert_eq!(prefetch.get(step).1, step);
            }
            drop(prefetch);
            assert_eq!(Arc::strong_count(&held), 1, "{taken} taken at depth {depth}");
        }
    }
}

#[test]
fn a_panic_reaches_who_asks_and_later_steps_still_come() {
    let make = |step: u32| {
        assert!(step != 2, "step two fails");
        step
    };
    for depth in [0, 1, 4] {
        let prefetch = Prefetch::new(make, 0..6, depth);
        assert_eq!((prefetch.get(0), prefetch.get(1)), (0, 1));
        let panic = catch_unwind(AssertUnwindSafe(|| prefetch.get(2))).unwrap_err();
        let message = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
        let message = message.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap();
        assert!(message.contains("step two fails"), "{message}");
        assert_eq!((prefetch.get(3), prefetch.get(5)), (3, 5));
    }
}

#[test]
fn several_callers_do_not_block_each_other() {
    let prefetch = Arc::new(Prefetch::new(square, 0..200, 4));
    std::thread::scope(|scope| {
        for stride in [1, 1, 3, 7] {
            let prefetch = Arc::clone(&prefetch);
            scope.spawn(move || {
                for step in (0..200).step_by(stride) {
                    assert_eq!(prefetch.get(step), square(step));
                }
            });
        }
    });
}
