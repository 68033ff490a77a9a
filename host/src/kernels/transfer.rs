//! The one door through which the arithmetic reads tensors back to the host, and its counter.

use std::cell::Cell;

use burn_backend::Backend;
use burn_tensor::Tensor;

thread_local! {
    static READS: Cell<u64> = const { Cell::new(0) };
}

/// The elements of a tensor, row-major, after everything queued before them is done.
///
/// On a device this waits and copies, so the networks, losses and registers read scalars only.
pub fn read<B: Backend, const D: usize>(tensor: Tensor<B, D>) -> Vec<f64> {
    READS.set(READS.get() + 1);
    tensor.into_data().iter::<f64>().collect()
}

/// How often this thread has called [`read`].
///
/// On a device nothing else transfers contents to the host, so this counts a computation's
/// transfers. CPU backends also lend their memory to the slice kernels, which is not counted.
pub fn transfers() -> u64 {
    READS.get()
}
