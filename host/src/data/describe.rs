//! A data set in words and numbers, for printing before a run.

use std::fmt;

use super::{Dataset, SizeRange, Split};
use crate::text::shown;

/// Counts of a data set, per class and, where there is a split, per part. `Display` prints a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Description {
    /// Folder or name of the embedded set.
    pub name: String,
    /// All images.
    pub images: u32,
    /// Smallest and largest image, if the set was checked.
    pub sizes: Option<SizeRange>,
    /// Whether decoded images are kept in memory.
    pub cached: bool,
    /// One row per class; empty for an unlabelled set.
    pub classes: Vec<ClassCount>,
    /// Whether the rows' parts were counted.
    pub split: bool,
}

/// Images of one class, or that show it among others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClassCount {
    /// The class.
    pub class: String,
    /// All its images.
    pub images: u32,
    /// Those to train on; 0 without a split.
    pub train: u32,
    /// Those to choose by; 0 without a split.
    pub validation: u32,
    /// Those to report on; 0 without a split.
    pub test: u32,
}

impl Dataset {
    /// Counts per class, and per part of `split` if given (which must be of this set).
    pub fn describe(&self, split: Option<&Split>) -> Description {
        let row = |class: &String| ClassCount {
            class: class.clone(),
            images: 0,
            train: 0,
            validation: 0,
            test: 0,
        };
        let mut classes: Vec<ClassCount> = self.classes().iter().map(row).collect();
        let mut count = |items: &[u32], field: fn(&mut ClassCount) -> &mut u32| {
            for &class in items.iter().flat_map(|&item| self.present(item)) {
                *field(&mut classes[class as usize]) += 1;
            }
        };
        count(&self.all_items(), |row| &mut row.images);
        if let Some(split) = split {
            count(&split.train, |row| &mut row.train);
            count(&split.validation, |row| &mut row.validation);
            count(&split.test, |row| &mut row.test);
        }
        Description {
            name: self.name().into(),
            images: self.len(),
            sizes: self.sizes(),
            cached: self.is_cached(),
            classes,
            split: split.is_some(),
        }
    }
}

impl fmt::Display for SizeRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let range = |(low, high): (u32, u32)| {
            if low == high { low.to_string() } else { format!("{low}–{high}") }
        };
        write!(f, "{} × {} pixels", range(self.width), range(self.height))
    }
}

impl fmt::Display for Description {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} images", shown(&self.name), self.images)?;
        match self.classes.len() {
            0 => write!(f, ", unlabelled")?,
            count => write!(f, ", {count} classes")?,
        }
        if let Some(sizes) = self.sizes {
            write!(f, ", {sizes}")?;
        }
        if self.cached {
            write!(f, ", in memory")?;
        }
        let names: Vec<String> =
            self.classes.iter().map(|row| shown(&row.class).to_string()).collect();
        let width = names.iter().map(|name| name.chars().count()).max().unwrap_or(0);
        let width = width.max("class".len());
        if !self.classes.is_empty() {
            write!(f, "\n  {:width$}  {:>7}", "class", "images")?;
            if self.split {
                write!(f, "  {:>7}  {:>10}  {:>7}", "train", "validation", "test")?;
            }
        }
        for (row, name) in self.classes.iter().zip(&names) {
            write!(f, "\n  {name:width$}  {:>7}", row.images)?;
            if self.split {
                write!(f, "  {:>7}  {:>10}  {:>7}", row.train, row.validation, row.test)?;
            }
        }
        Ok(())
    }
}
