//! An allocator that counts the memory in use and its peak.

use std::alloc::{GlobalAlloc, Layout};
use std::sync::atomic::{AtomicUsize, Ordering};

use super::{Kernels, device_memory};

static LIVE: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

/// An allocator that counts the bytes in use and their peak, at the cost of two additions for each
/// allocation.
///
/// The measurements read both. A binary with another allocator reports no memory.
#[derive(Clone, Copy, Debug, Default)]
pub struct CountingAllocator<A>(pub A);

fn grow(bytes: usize) {
    let live = LIVE.fetch_add(bytes, Ordering::Relaxed) + bytes;
    // A load is cheaper than a contended maximum, and most allocations set no record.
    if live > PEAK.load(Ordering::Relaxed) {
        PEAK.fetch_max(live, Ordering::Relaxed);
    }
}

fn shrink(bytes: usize) {
    LIVE.fetch_sub(bytes, Ordering::Relaxed);
}

// SAFETY: every method passes its arguments unchanged to the wrapped allocator, which upholds the
// contract; the counters are not part of it.
unsafe impl<A: GlobalAlloc> GlobalAlloc for CountingAllocator<A> {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise.
        let pointer = unsafe { self.0.alloc(layout) };
        if !pointer.is_null() {
            grow(layout.size());
        }
        pointer
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise.
        let pointer = unsafe { self.0.alloc_zeroed(layout) };
        if !pointer.is_null() {
            grow(layout.size());
        }
        pointer
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise.
        unsafe { self.0.dealloc(pointer, layout) };
        shrink(layout.size());
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: the caller's promise.
        let moved = unsafe { self.0.realloc(pointer, layout, size) };
        if !moved.is_null() {
            shrink(layout.size());
            grow(size);
        }
        moved
    }
}

/// Watches the memory of a device instead of this process's, until [`unwatch`]. Nothing should be
/// timed meanwhile. Has no effect for a backend on the host.
pub(crate) fn watch<B: Kernels>(device: &B::Device) {
    if !B::ON_HOST {
        let device = device.clone();
        device_memory::watch(move || B::memory_in_use(&device));
    }
}

/// Ends [`watch`].
pub(crate) fn unwatch() {
    device_memory::unwatch();
}

/// Bytes in use; 0 with another allocator.
pub(crate) fn live() -> usize {
    device_memory::live().unwrap_or_else(|| LIVE.load(Ordering::Relaxed))
}

/// The most bytes in use since [`reset_peak`].
pub(crate) fn peak() -> usize {
    device_memory::peak().unwrap_or_else(|| PEAK.load(Ordering::Relaxed))
}

/// Resets the peak to the bytes in use now.
pub(crate) fn reset_peak() {
    device_memory::reset_peak();
    PEAK.store(LIVE.load(Ordering::Relaxed), Ordering::Relaxed);
}

/// The peak of `work` beyond what was in use before it, in bytes.
pub(crate) fn peak_of<R>(work: impl FnOnce() -> R) -> (usize, R) {
    reset_peak();
    let before = live();
    let result = work();
    (peak().saturating_sub(before), result)
}
