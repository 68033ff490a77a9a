//! Where the time of the arithmetic goes: every operation of [`Kernels`](super::Kernels) is timed
//! here while somebody listens. On a device each operation is then waited for, so that times add
//! up; they include the cost of waiting.

use std::cell::RefCell;
use std::time::Instant;

thread_local! {
    static ENTRIES: RefCell<Option<Vec<Entry>>> = const { RefCell::new(None) };
}

/// All calls of one operation at one shape.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Entry {
    /// Name of the operation, as in [`Kernels`](super::Kernels).
    pub(crate) operation: &'static str,
    /// Shape in words; empty if it does not matter.
    pub(crate) shape: String,
    /// Number of calls.
    pub(crate) calls: u64,
    /// Seconds of all calls.
    pub(crate) seconds: f64,
    /// Multiply-accumulates of all calls; 0 if the operation is about something else.
    pub(crate) multiply_accumulates: u64,
    /// Bytes that all calls must read and write at least; 0 if they are not counted.
    pub(crate) bytes: u64,
    /// Kernels that all calls launched on a device.
    pub(crate) launches: u64,
}

/// Runs `work`, and under [`collect`] also adds its time to the entry of its operation and shape.
#[allow(dead_code, reason = "a binary may have devices alone")]
pub(super) fn timed<R>(
    operation: &'static str,
    describe: impl FnOnce() -> (String, u64),
    work: impl FnOnce() -> R,
) -> R {
    if !listened() {
        return work();
    }
    let start = Instant::now();
    let result = work();
    let seconds = start.elapsed().as_secs_f64();
    let (shape, multiply_accumulates) = describe();
    add(Entry { operation, shape, calls: 1, seconds, multiply_accumulates, bytes: 0, launches: 0 });
    result
}

/// Whether this thread is under [`collect`].
pub(super) fn listened() -> bool {
    ENTRIES.with(|entries| entries.borrow().is_some())
}

/// Adds a call to the entry of its operation and shape.
pub(super) fn add(call: Entry) {
    ENTRIES.with(|entries| {
        let mut entries = entries.borrow_mut();
        let entries = entries.get_or_insert_default();
        let same = |e: &&mut Entry| e.operation == call.operation && e.shape == call.shape;
        match entries.iter_mut().find(same) {
            Some(entry) => {
                entry.calls += call.calls;
                entry.seconds += call.seconds;
                entry.multiply_accumulates += call.multiply_accumulates;
                entry.bytes += call.bytes;
                entry.launches += call.launches;
            }
            None => entries.push(call),
        }
    });
}

/// Runs `work`; returns its result and the times of its operations on this thread, in the order of
/// first use.
pub(crate) fn collect<R>(work: impl FnOnce() -> R) -> (R, Vec<Entry>) {
    ENTRIES.with(|entries| *entries.borrow_mut() = Some(Vec::new()));
    let result = work();
    let entries = ENTRIES.with(|entries| entries.borrow_mut().take());
    (result, entries.unwrap_or_default())
}
