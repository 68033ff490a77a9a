//! Broken images: what becomes of a set that has some.

use rayon::prelude::*;
use serde::Serialize;

use super::DataError;
use crate::names::names;
use crate::text::shown;

names! {
    /// What a run does about images that do not decode.
    #[derive(Default)]
    OnBadImage {
        /// The first one ends it.
        Error = "error",
        /// They are left out, up to the limit.
        #[default]
        Skip = "skip",
        /// They are left out, up to the limit, and listed in the run's folder.
        Quarantine = "quarantine",
    }
}

/// An image that does not decode. `Display` is `name: reason`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BadImage {
    /// File path, embedded name, or file and number.
    pub name: String,
    /// What was found and what was expected.
    pub reason: String,
}

impl From<DataError> for BadImage {
    fn from(error: DataError) -> Self {
        match error {
            DataError::BadImage { name, reason } => Self { name, reason },
            DataError::Unreadable { path, reason } => {
                Self { name: path.display().to_string(), reason }
            }
            other => Self { name: "an image".into(), reason: other.to_string() },
        }
    }
}

impl std::fmt::Display for BadImage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", shown(&self.name), self.reason)
    }
}

/// What [`Dataset::checked`](super::Dataset::checked) left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadImageReport {
    /// Images looked at.
    pub items: u32,
    /// How many were allowed to be broken.
    pub allowed: u32,
    /// The broken images, in the data set's order.
    pub bad: Vec<BadImage>,
}

impl BadImageReport {
    pub(super) fn within_limit(&self, name: &str) -> Result<(), DataError> {
        if self.bad.len() <= self.allowed as usize {
            return Ok(());
        }
        Err(DataError::TooManyBadImages {
            name: name.into(),
            found: self.bad.len() as u32,
            items: self.items,
            allowed: self.allowed,
            first: self.bad.iter().take(3).map(ToString::to_string).collect(),
        })
    }
}

impl std::fmt::Display for BadImageReport {
    /// One line, with the first few names where there are broken images.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.bad.is_empty() {
            return write!(f, "all {} images are readable", self.items);
        }
        let (bad, items, allowed) = (self.bad.len(), self.items, self.allowed);
        write!(f, "{bad} of {items} images are broken and left out (at most {allowed} allowed): ")?;
        let first: Vec<String> = self.bad.iter().take(3).map(ToString::to_string).collect();
        write!(f, "{}", first.join("; "))?;
        if bad > 3 { write!(f, "; …") } else { Ok(()) }
    }
}

/// How many items are worked on before anybody looks at the results.
const CHUNK: usize = 256;

/// `work` of every item, on all cores, in their order.
///
/// # Errors
/// The first item's that fails, where `on_bad_image` is [`OnBadImage::Error`]; few later ones are
/// looked at. Which one it is does not depend on the threads.
pub(super) fn each<I: Sync, T: Send>(
    items: &[I],
    on_bad_image: OnBadImage,
    work: impl Fn(&I) -> Result<T, DataError> + Sync,
) -> Result<Vec<Result<T, DataError>>, DataError> {
    let mut results = Vec::with_capacity(items.len());
    if on_bad_image != OnBadImage::Error {
        results.par_extend(items.par_iter().map(&work));
        return Ok(results);
    }
    for chunk in items.chunks(CHUNK) {
        let done: Vec<Result<T, DataError>> = chunk.par_iter().map(&work).collect();
        for result in done {
            results.push(Ok(result?));
        }
    }
    Ok(results)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn the_first_failure_ends_the_work_soon_and_is_always_the_same() {
        let items: Vec<usize> = (0..10 * CHUNK).collect();
        let looked = AtomicUsize::new(0);
        let work = |&item: &usize| {
            looked.fetch_add(1, Ordering::Relaxed);
            // From the third chunk on, everything fails.
            if item < 2 * CHUNK + 5 { Ok(item) } else { Err(DataError::bad_image("x", item)) }
        };
        for _ in 0..20 {
            looked.store(0, Ordering::Relaxed);
            let error = each(&items, OnBadImage::Error, work).unwrap_err();
            assert_eq!(error, DataError::bad_image("x", 2 * CHUNK + 5));
            assert_eq!(looked.load(Ordering::Relaxed), 3 * CHUNK);
        }
        for policy in [OnBadImage::Skip, OnBadImage::Quarantine] {
            let results = each(&items, policy, work).unwrap();
            assert_eq!(results.len(), items.len());
            assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 2 * CHUNK + 5);
            assert_eq!(results[7], Ok(7));
        }
    }
}
