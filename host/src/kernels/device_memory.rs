//! The memory in use on a device and its peak, while somebody watches.
//!
//! While it is watched, the device is asked at every allocation of a kernel's output. This takes
//! time, so nothing should be timed meanwhile.

use std::cell::RefCell;
use std::rc::Rc;

struct Watch {
    in_use: Rc<dyn Fn() -> usize>,
    peak: usize,
}

thread_local! {
    static WATCH: RefCell<Option<Watch>> = const { RefCell::new(None) };
}

/// Starts watching; `in_use` returns the bytes in use.
pub(crate) fn watch(in_use: impl Fn() -> usize + 'static) {
    let peak = in_use();
    WATCH.set(Some(Watch { in_use: Rc::new(in_use), peak }));
}

/// Stops watching.
pub(crate) fn unwatch() {
    WATCH.set(None);
}

/// Bytes in use; `None` while nobody watches.
pub(crate) fn live() -> Option<usize> {
    // The borrow ends before the device is asked, which may allocate.
    let in_use = WATCH.with_borrow(|watch| watch.as_ref().map(|watch| Rc::clone(&watch.in_use)))?;
    Some(in_use())
}

/// The most bytes in use since [`reset_peak`]; `None` while nobody watches.
pub(crate) fn peak() -> Option<usize> {
    allocated();
    WATCH.with_borrow(|watch| watch.as_ref().map(|watch| watch.peak))
}

/// Resets the peak to the bytes in use now.
pub(crate) fn reset_peak() {
    if let Some(live) = live() {
        WATCH.with_borrow_mut(|watch| watch.iter_mut().for_each(|watch| watch.peak = live));
    }
}

/// To be called after every allocation.
pub(crate) fn allocated() {
    if let Some(live) = live() {
        let higher = |watch: &mut Watch| watch.peak = watch.peak.max(live);
        WATCH.with_borrow_mut(|watch| watch.iter_mut().for_each(higher));
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[test]
    fn the_peak_is_the_most_at_an_allocation_since_it_was_reset() {
        assert_eq!((live(), peak()), (None, None));
        let bytes = Rc::new(Cell::new(5));
        let device = Rc::clone(&bytes);
        watch(move || device.get());
        bytes.set(9);
        allocated();
        bytes.set(2);
        assert_eq!((live(), peak()), (Some(2), Some(9)));
        reset_peak();
        assert_eq!(peak(), Some(2));
        unwatch();
        assert_eq!(live(), None);
    }
}
