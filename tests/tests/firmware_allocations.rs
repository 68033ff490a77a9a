//! The device never allocates: a counting allocator watches a whole training.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use bissl_firmware::{Checkpoints, DigitsDevice, Lengths, Settings, Tick};
use bissl_firmware_sim::{Digits, shortest, start};
use embedded_storage::nor_flash::{ErrorType, NorFlash, NorFlashErrorKind, ReadNorFlash};

thread_local! {
    /// Allocations of this thread; the test runner's other threads have their own count.
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

struct Counting;

fn count() {
    ALLOCATIONS.with(|allocations| allocations.set(allocations.get() + 1));
}

// SAFETY: every call goes unchanged to the system's allocator. Counting touches only a thread-local
// cell, which is initialised by a constant and so allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller upholds the contract, which is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller upholds the contract, which is passed on; `alloc` and `realloc` are
        // the system's.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: the caller upholds the contract, which is passed on; `pointer` is the system's.
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
    let mut device = start::<DigitsDevice>(&digits, Settings::new(1, lengths).unwrap());

    let before = allocations();
    while device.tick().unwrap() != Tick::Idle {}
    let hash = device.device.hash().unwrap();
    let class = device.device.classify(&device.frames, &mut device.kernels, &[0.5; 64]).unwrap();
    assert_eq!(allocations() - before, 0, "hash {hash:016x}, class {class}");
}

/// A flash with preallocated memory; the simulated flash keeps a journal and so allocates.
struct Plain(Vec<u8>);

impl ErrorType for Plain {
    type Error = NorFlashErrorKind;
}

impl ReadNorFlash for Plain {
    const READ_SIZE: usize = 1;

    fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), NorFlashErrorKind> {
        bytes.copy_from_slice(&self.0[offset as usize..][..bytes.len()]);
        Ok(())
    }

    fn capacity(&self) -> usize {
        self.0.len()
    }
}

impl NorFlash for Plain {
    const WRITE_SIZE: usize = 4;
    const ERASE_SIZE: usize = 4096;

    fn erase(&mut self, from: u32, to: u32) -> Result<(), NorFlashErrorKind> {
        self.0[from as usize..to as usize].fill(0xff);
        Ok(())
    }

    fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), NorFlashErrorKind> {
        self.0[offset as usize..][..bytes.len()].copy_from_slice(bytes);
        Ok(())
    }
}

#[test]
fn checkpoints_allocate_nothing() {
    let digits = Digits::embedded();
    let (mut device, mut other) =
        (start::<DigitsDevice>(&digits, shortest(1)), start::<DigitsDevice>(&digits, shortest(2)));
    (0..100).for_each(|_| {
        device.tick().unwrap();
    });
    let mut flash = Plain(vec![0; Checkpoints::<DigitsDevice, Plain>::BYTES as usize]);

    let before = allocations();
    let mut checkpoints = Checkpoints::<DigitsDevice, _>::open(&mut flash, 0).unwrap();
    checkpoints.save(&device.device).unwrap();
    let mut checkpoints = Checkpoints::<DigitsDevice, _>::open(&mut flash, 0).unwrap();
    let restored = checkpoints.restore(&mut other.device, &other.frames, &mut other.kernels);
    assert_eq!(allocations() - before, 0, "{restored:?}");
    assert_eq!(other.device.hash(), device.device.hash());
}
