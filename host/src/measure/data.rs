//! `bench data`: images a second, decoded and augmented for the pretext task, and where the time goes.

use std::fmt;
use std::iter::Sum;
use std::ops::Add;
use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context, Result};
use bissl_core::Stream;
use rayon::prelude::*;
use serde::Serialize;

use super::{Format, median, print};
use crate::cli::Table;
use crate::data::{AugmentSettings, Augmentation, DataError, Dataset, Labels, View, Work, streams};

/// What is measured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DataJob {
    /// A folder of images.
    pub path: PathBuf,
    /// Images at most, the first ones.
    pub images: u32,
    /// Side of the views, pixels.
    pub size: u32,
    /// Views of each image: 1 (A) or 2 (A and B).
    pub views: u8,
    /// Passes over the images.
    pub repeats: u32,
    /// Threads.
    pub threads: usize,
    /// How the result is printed.
    pub format: Format,
}

/// What `bench data` prints; seconds are those of one thread for one image, with all its views.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DataReport {
    /// `data`.
    pub measurement: &'static str,
    /// Images of a pass.
    pub images: usize,
    /// Side of the views, pixels.
    pub size: u32,
    /// Views of each image.
    pub views: u8,
    /// Threads.
    pub threads: usize,
    /// Passes.
    pub repeats: u32,
    /// Images a second, by the clock on the wall, median of the passes.
    pub images_per_s: f64,
    /// Slowest and fastest pass over the median.
    pub images_per_s_spread: [f64; 2],
    /// File to pixels, median of the passes.
    pub decode_s: f64,
    /// Cut, scaled, mirrored.
    pub crop_s: f64,
    /// Jitter and grey.
    pub colour_s: f64,
    /// Blur and solarisation.
    pub blur_s: f64,
    /// Mean and deviation.
    pub normalise_s: f64,
}

/// Seconds of the parts, in the order of the report.
#[derive(Clone, Copy, Debug, Default)]
struct Parts([f64; 5]);

impl Add for Parts {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self(std::array::from_fn(|i| self.0[i] + other.0[i]))
    }
}

impl Sum for Parts {
    fn sum<I: Iterator<Item = Self>>(parts: I) -> Self {
        parts.fold(Self::default(), Add::add)
    }
}

/// Measures with the paper's recipe, on files that one pass has brought into the system's cache.
///
/// # Errors
/// A folder without images, an image that does not decode, no threads.
pub fn data(job: &DataJob) -> Result<String> {
    let set = Dataset::folder(&job.path, Labels::Ignore)?;
    let augmentation = Augmentation::new(job.size, AugmentSettings::paper())?;
    let mut items = set.all_items();
    items.truncate(job.images as usize);
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(job.threads)
        .build()
        .context("cannot start the threads of --threads")?;
    let pass = || -> Result<(f64, Parts), DataError> {
        let start = Instant::now();
        let image = |&item: &u32| one(&set, item, &augmentation, job.views);
        let parts: Parts = pool.install(|| items.par_iter().map(image).sum::<Result<_, _>>())?;
        Ok((start.elapsed().as_secs_f64(), parts))
    };
    pass()?;
    let passes = (0..job.repeats).map(|_| pass()).collect::<Result<Vec<_>, _>>()?;
    let images = items.len();
    let rates: Vec<f64> = passes.iter().map(|(seconds, _)| images as f64 / seconds).collect();
    let part = |index: usize| {
        let seconds: Vec<f64> =
            passes.iter().map(|(_, parts)| parts.0[index] / images as f64).collect();
        median(&seconds)
    };
    let images_per_s = median(&rates);
    let extreme = |choose: fn(f64, f64) -> f64| {
        rates.iter().copied().reduce(choose).unwrap_or(f64::NAN) / images_per_s
    };
    let report = DataReport {
        measurement: "data",
        images,
        size: job.size,
        views: job.views,
        threads: job.threads,
        repeats: job.repeats,
        images_per_s,
        images_per_s_spread: [extreme(f64::min), extreme(f64::max)],
        decode_s: part(0),
        crop_s: part(1),
        colour_s: part(2),
        blur_s: part(3),
        normalise_s: part(4),
    };
    Ok(print(&report, job.format)?.text)
}

/// Decodes one image and makes its views.
fn one(
    set: &Dataset,
    item: u32,
    augmentation: &Augmentation,
    views: u8,
) -> Result<Parts, DataError> {
    let mut parts = Parts::default();
    let mut last = Instant::now();
    let mut lap = |part: usize| {
        let now = Instant::now();
        parts.0[part] += now.duration_since(last).as_secs_f64();
        last = now;
    };
    let image = set.image(item)?;
    lap(0);
    let stream = Stream::new(0, streams::PRETEXT_VIEW);
    let mut out = vec![0.0; augmentation.image_len()];
    for (index, view) in (0..views).zip([View::A, View::B]) {
        let draws = stream.at(2 * u64::from(item) + u64::from(index));
        augmentation.pretext_timed(&image, view, draws, &mut out, |work| match work {
            Work::Crop => lap(1),
            Work::Colour => lap(2),
            Work::Blur => lap(3),
            Work::Normalise => lap(4),
        });
        std::hint::black_box(&out);
    }
    Ok(parts)
}

impl fmt::Display for DataReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { images, size, views, threads, repeats, .. } = self;
        writeln!(
            f,
            "{images} images, {views} views of {size} px, threads: {threads}, median of {repeats}"
        )?;
        let [slowest, fastest] = self.images_per_s_spread;
        writeln!(f, "{:.1} images/s ({slowest:.2} to {fastest:.2} of that)", self.images_per_s)?;
        let parts = [
            ("decode", self.decode_s),
            ("crop", self.crop_s),
            ("colour", self.colour_s),
            ("blur", self.blur_s),
            ("normalise", self.normalise_s),
        ];
        let total: f64 = parts.iter().map(|(_, seconds)| seconds).sum();
        let mut table = Table::new(["one image, one thread", "ms", "share"]);
        for (name, seconds) in parts.into_iter().chain([("total", total)]) {
            table.row([
                name.to_owned(),
                format!("{:.3}", 1e3 * seconds),
                format!("{:.2}", seconds / total),
            ]);
        }
        write!(f, "{table}")
    }
}
