//! Where the time of the arithmetic goes: every operation of [`Kernels`](super::Kernels) on a CPU backend
//! is timed here while somebody listens.

use std::cell::RefCell;
use std::time::Instant;

thread_local! {
    static ENTRIES: RefCell<Option<Vec<Entry>>> = const { RefCell::new(None) };
}

/// All calls of one operation at one shape.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// Name of the operation, as in [`Kernels`](super::Kernels).
    pub operation: &'static str,
    /// Shape, in words; empty where it does not matter.
    pub shape: String,
    /// Number of calls.
    pub calls: u64,
    /// Seconds of all calls.
    pub seconds: f64,
    /// Multiply-accumulates of all calls; 0 where they are not what the operation is about.
    pub multiply_accumulates: u64,
}

/// Runs `work`, and under [`collect`] also adds its time to the entry of its operation and shape.
#[allow(dead_code, reason = "only operations of CPU backends are timed")]
pub(super) fn timed<R>(
    operation: &'static str,
    describe: impl FnOnce() -> (String, u64),
    work: impl FnOnce() -> R,
) -> R {
    if ENTRIES.with(|entries| entries.borrow().is_none()) {
        return work();
    }
    let start = Instant::now();
    let result = work();
    let seconds = start.elapsed().as_secs_f64();
    let (shape, multiply_accumulates) = describe();
    ENTRIES.with(|entries| {
        let mut entries = entries.borrow_mut();
        let entries = entries.get_or_insert_default();
        let known = entries.iter_mut().find(|e| e.operation == operation && e.shape == shape);
        match known {
            Some(entry) => {
                entry.calls += 1;
                entry.seconds += seconds;
                entry.multiply_accumulates += multiply_accumulates;
            }
            None => {
                entries.push(Entry { operation, shape, calls: 1, seconds, multiply_accumulates });
            }
        }
    });
    result
}

/// Runs `work` and returns what its operations on this thread took, in the order of first use.
///
/// Empty on a device: there an operation has only been queued when it returns.
pub fn collect<R>(work: impl FnOnce() -> R) -> (R, Vec<Entry>) {
    ENTRIES.with(|entries| *entries.borrow_mut() = Some(Vec::new()));
    let result = work();
    let entries = ENTRIES.with(|entries| entries.borrow_mut().take());
    (result, entries.unwrap_or_default())
}
