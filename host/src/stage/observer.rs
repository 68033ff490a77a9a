//! What sees a stage while it runs, and what may stop, store and continue it.

use std::ops::ControlFlow;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::Result;
use crate::run::{NamedTensor, Record, Retention, Score};

/// What a stage stores of itself besides its tensors.
#[derive(Clone, Copy, Debug)]
pub struct Saved<'a, S> {
    /// Stage within the run.
    pub stage: &'a str,
    /// Steps that are done.
    pub step: u64,
    /// How long it is kept.
    pub retention: Retention,
    /// The measure that was taken at this very step.
    pub score: Option<&'a Score>,
    /// The machine and its course.
    pub state: &'a S,
}

/// What a stage does next, where it could be continued from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pause {
    /// Nothing.
    Continue,
    /// Store its state.
    Save,
    /// Store its state and end with [`Error::Interrupted`](crate::error::Error::Interrupted).
    Stop,
}

/// What a stage tells, and asks, while it runs. Every method has a default that does nothing.
pub trait Observer {
    /// The newest state of a stage and its tensors, where something was stored: the stage goes on
    /// there.
    ///
    /// # Errors
    /// What is stored cannot be read.
    fn restore<S: DeserializeOwned>(
        &mut self,
        stage: &str,
    ) -> Result<Option<(S, Vec<NamedTensor>)>> {
        let _ = stage;
        Ok(None)
    }

    /// A stage of so many `steps` begins, `done` of which were done before.
    fn begin(&mut self, stage: &str, steps: u64, done: u64) {
        let _ = (stage, steps, done);
    }

    /// Something worth saying.
    fn note(&mut self, text: &str) {
        let _ = text;
    }

    /// Something without which there is nothing to learn, with its cure. May be said at every step;
    /// a person should see it once.
    ///
    /// # Errors
    /// Such a run is not wanted.
    fn degenerate(&mut self, finding: &str) -> Result<()> {
        let _ = finding;
        Ok(())
    }

    /// A line of the metrics.
    ///
    /// # Errors
    /// It cannot be written.
    fn record(&mut self, record: &Record) -> Result<()> {
        let _ = record;
        Ok(())
    }

    /// One step more; `loss` where it has one.
    fn step(&mut self, loss: Option<f32>) {
        let _ = loss;
    }

    /// Asked after each step from which the stage could go on later.
    fn pause(&mut self) -> Pause {
        Pause::Continue
    }

    /// Stores a state; `tensors` are read off the device only if they are asked for.
    ///
    /// # Errors
    /// It cannot be written.
    fn save<S: Serialize + DeserializeOwned>(
        &mut self,
        saved: Saved<'_, S>,
        tensors: impl FnOnce() -> Result<Vec<NamedTensor>>,
    ) -> Result<()> {
        let _ = (saved, tensors);
        Ok(())
    }

    /// The stage has ended, or is about to stop.
    fn end(&mut self) {}
}

/// Sees nothing and keeps nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Observer for Silent {}

/// Hands every line of the metrics to a closure, which may break off the stage.
#[derive(Clone, Copy, Debug)]
pub struct Watch<F> {
    look: F,
    stops: bool,
}

impl<F: FnMut(&Record) -> ControlFlow<()>> Watch<F> {
    /// An observer that calls `look`.
    pub fn new(look: F) -> Self {
        Self { look, stops: false }
    }
}

impl<F: FnMut(&Record) -> ControlFlow<()>> Observer for Watch<F> {
    fn record(&mut self, record: &Record) -> Result<()> {
        self.stops |= (self.look)(record).is_break();
        Ok(())
    }

    fn pause(&mut self) -> Pause {
        if self.stops { Pause::Stop } else { Pause::Continue }
    }
}
