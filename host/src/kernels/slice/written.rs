//! Vectors that are written once, without being zeroed first: the outputs here are megabytes, and
//! zeroing one costs about as much as an elementwise operation.

use std::mem::MaybeUninit;

use crate::kernels::Real;

/// A vector of `len` elements, all of which `work` writes.
///
/// # Safety
/// `work` writes every element of the slice that it gets, or does not return.
pub(crate) unsafe fn written<T: Copy>(
    len: usize,
    work: impl FnOnce(&mut [MaybeUninit<T>]),
) -> Vec<T> {
    let mut vector = Vec::with_capacity(len);
    work(&mut vector.spare_capacity_mut()[..len]);
    // SAFETY: the capacity is at least `len`, and by the caller's promise the elements are written.
    unsafe { vector.set_len(len) };
    vector
}

/// Fills a slice with zeros.
pub(crate) fn zeroed<T: Real>(slice: &mut [MaybeUninit<T>]) -> &mut [T] {
    for element in slice.iter_mut() {
        element.write(T::zero());
    }
    // SAFETY: every element was just written.
    unsafe { slice.assume_init_mut() }
}
