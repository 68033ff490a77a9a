//! The device never asks for memory: a counting allocator watches a whole training.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use bissl_firmware::{Lengths, Settings, Tick};
use bissl_firmware_sim::{Digits, start};

thread_local! {
    /// Allocations by this thread; the test runner's other threads have their own.
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

struct Counting;

fn count() {
    ALLOCATIONS.with(|allocations| allocations.set(allocations.get() + 1));
}

// SAFETY: every call goes to the system's allocator as it came; counting touches only a thread-local
// cell that is initialised by a constant and so allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's contract, handed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's contract, handed on; `alloc` and `realloc` are the system's.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: the caller's contract, handed on; `pointer` is the system's.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn allocations() -> u64 {
    ALLOCATIONS.with(Cell::get)
}

#[test]
fn training_allocates_nothing_after_its_start() {
    let before = allocations();
    let digits = Digits::embedded();
    assert!(allocations() > before, "the counter sees the frames being laid out");
    let lengths =
        Lengths { pretrain: 5, warm_up: 5, alternations: 2, finetune: 5, ..Lengths::default() };
    let mut device = start(&digits, Settings::new(1, lengths).unwrap());

    let before = allocations();
    while device.tick().unwrap() != Tick::Idle {}
    let hash = device.device.hash().unwrap();
    let class = device.device.classify(&mut device.kernels, &[0.5; 64]);
    assert_eq!(allocations() - before, 0, "hash {hash:016x}, class {class}");
}
