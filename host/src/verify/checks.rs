//! Claims, and whether they hold.

use serde::Serialize;

/// One claim with its error.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Check {
    /// What the check was made on.
    pub group: String,
    /// The claim.
    pub name: String,
    /// Relative error, or the number of changes if nothing may change.
    pub error: f64,
    /// The largest error that passes.
    pub bound: f64,
    /// Whether the check passed; a NaN fails.
    pub ok: bool,
}

impl Check {
    pub(super) fn new(group: &str, name: impl Into<String>, error: f64, bound: f64) -> Self {
        Self { group: group.to_owned(), name: name.into(), error, bound, ok: error <= bound }
    }
}

/// Collects checks as they are made.
#[derive(Debug, Default)]
pub(super) struct Checks {
    pub(super) done: Vec<Check>,
    pub(super) notes: Vec<String>,
    pub(super) left_out: Vec<String>,
}

impl Checks {
    pub(super) fn add(&mut self, check: Check) {
        self.done.push(check);
    }

    /// Notes what the checks were made on.
    pub(super) fn note(&mut self, note: String) {
        self.notes.push(note);
    }

    /// Notes what could not be checked, and why.
    pub(super) fn leave_out(&mut self, reason: String) {
        self.left_out.push(reason);
    }
}
