//! How a data set differs from what a run recorded of it.

use std::fmt;

use crate::text::shown;

/// How a set differs from its record; without differences, items may have been added.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Where the items were.
    pub root: String,
    /// Recorded items.
    pub recorded: usize,
    /// Recorded items that are gone.
    pub missing: Vec<String>,
    /// Recorded items that lie elsewhere now: old and new path.
    pub moved: Vec<(String, String)>,
    /// Recorded items with other bytes.
    pub changed: Vec<String>,
    /// Recorded items with other labels.
    pub relabelled: Vec<String>,
    /// Items that are not in the record.
    pub added: usize,
}

impl Changes {
    /// Whether every recorded item is there as it was.
    pub fn none(&self) -> bool {
        self.missing.is_empty()
            && self.moved.is_empty()
            && self.changed.is_empty()
            && self.relabelled.is_empty()
    }

    /// Whether no recorded item is there in any form: it is another set.
    pub fn all(&self) -> bool {
        self.missing.len() == self.recorded
    }
}

impl fmt::Display for Changes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 3;
        let mut parts = Vec::new();
        let mut part = |names: Vec<String>, what: &str| {
            if !names.is_empty() {
                let first = names.iter().take(SHOWN).map(|name| shown(name).to_string());
                let first = first.collect::<Vec<_>>().join(", ");
                let more = if names.len() > SHOWN { ", …" } else { "" };
                parts.push(format!("{} {what} ({first}{more})", names.len()));
            }
        };
        part(self.missing.clone(), "missing");
        part(self.changed.clone(), "with other content");
        let moved = self.moved.iter().map(|(old, new)| format!("{old} is now {new}"));
        part(moved.collect(), "moved or renamed");
        part(self.relabelled.clone(), "with other labels");
        let root = shown(&self.root);
        write!(f, "of {} items recorded in {root}: {}", self.recorded, parts.join(", "))
    }
}
