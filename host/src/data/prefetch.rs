//! Values of a pure function of the step number, computed ahead of their use.

use std::any::Any;
use std::collections::BTreeMap;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{Builder, JoinHandle};

type Panic = Box<dyn Any + Send>;

/// Computes `make(step)` for successive steps on a background thread while the caller does other
/// work.
///
/// At most `depth` values wait at any time, so that is the memory it costs. [`Prefetch::get`] works
/// in any order: a step that is not being prepared is computed at once, and one further ahead moves
/// the preparation there. Dropping it waits for the value being computed, no longer.
pub struct Prefetch<T> {
    shared: Arc<Shared<T>>,
    worker: Option<JoinHandle<()>>,
}

struct Shared<T> {
    make: Box<dyn Fn(u32) -> T + Send + Sync>,
    end: u32,
    depth: u32,
    state: Mutex<State<T>>,
    changed: Condvar,
}

struct State<T> {
    /// The step that is asked for next, if the caller goes in order.
    expected: u32,
    /// The step that the worker begins next.
    upcoming: u32,
    ready: BTreeMap<u32, Result<T, Panic>>,
    stop: bool,
}

impl<T: Send + 'static> Prefetch<T> {
    /// Begins to prepare `steps` in order, at most `depth` of them ahead; with 0 nothing is
    /// prepared.
    pub fn new(
        make: impl Fn(u32) -> T + Send + Sync + 'static,
        steps: Range<u32>,
        depth: u32,
    ) -> Self {
        let state = State {
            expected: steps.start,
            upcoming: steps.start,
            ready: BTreeMap::new(),
            stop: false,
        };
        let shared = Arc::new(Shared {
            make: Box::new(make),
            end: steps.end,
            depth,
            state: Mutex::new(state),
            changed: Condvar::new(),
        });
        let worker = (depth > 0 && !steps.is_empty()).then(|| {
            let shared = Arc::clone(&shared);
            // Without a thread every value is made when it is asked for: slower, not wrong.
            Builder::new().name("prefetch".into()).spawn(move || shared.work()).ok()
        });
        Self { shared, worker: worker.flatten() }
    }

    /// The value of a step; waits for it if it is being prepared.
    ///
    /// # Panics
    /// With the payload of `make`'s panic, if it panicked at this step.
    pub fn get(&self, step: u32) -> T {
        match self.prepared(step) {
            Some(Ok(value)) => value,
            Some(Err(panic)) => resume_unwind(panic),
            None => (self.shared.make)(step),
        }
    }

    /// What the worker made or is about to make of a step; `None` if that is not its business.
    fn prepared(&self, step: u32) -> Option<Result<T, Panic>> {
        self.worker.as_ref()?;
        let shared = &*self.shared;
        let mut state = shared.lock();
        if step < state.expected || step >= shared.end {
            return None;
        }
        // Steps that were skipped will not be asked for in order; make room.
        state.ready.retain(|&ready, _| ready >= step);
        state.upcoming = state.upcoming.max(step);
        state.expected = step;
        shared.changed.notify_all();
        let mut state = shared
            .changed
            .wait_while(state, |s| s.expected == step && !s.ready.contains_key(&step))
            .unwrap_or_else(PoisonError::into_inner);
        // Nothing is here if another caller took the same step meanwhile, or went beyond it.
        let result = state.ready.remove(&step);
        state.expected = state.expected.max(step + 1);
        shared.changed.notify_all();
        result
    }
}

impl<T> Drop for Prefetch<T> {
    fn drop(&mut self) {
        self.shared.lock().stop = true;
        self.shared.changed.notify_all();
        if let Some(worker) = self.worker.take() {
            // A panic of `make` was kept as a value, so there is none to pass on here.
            let _ = worker.join();
        }
    }
}

impl<T> Shared<T> {
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        // No user code runs under the lock, so a poisoned one still holds a whole state.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The worker: makes the upcoming step whenever there is room, until told to stop.
    ///
    /// It stays after the last step or a panic: an earlier end would leave a waiting caller alone.
    fn work(&self) {
        loop {
            let room = |state: &State<T>| {
                state.upcoming < self.end
                    && u64::from(state.upcoming) < u64::from(state.expected) + u64::from(self.depth)
            };
            let mut state = self
                .changed
                .wait_while(self.lock(), |state| !state.stop && !room(state))
                .unwrap_or_else(PoisonError::into_inner);
            if state.stop {
                return;
            }
            let step = state.upcoming;
            state.upcoming += 1;
            drop(state);
            let made = catch_unwind(AssertUnwindSafe(|| (self.make)(step)));
            let mut state = self.lock();
            if step >= state.expected {
                state.ready.insert(step, made);
            }
            self.changed.notify_all();
        }
    }
}
