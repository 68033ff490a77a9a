//! `bench data`: images per second, decoded and augmented for the pretext task, and the time of
//! each part. Also images per second that the host decodes and packs for a device that augments
//! them.

use std::borrow::Cow;
use std::fmt;
use std::iter::Sum;
use std::ops::Add;
use std::path::PathBuf;
use std::time::Instant;

use crate::error::{Error, Place, Result};
use bissl_core::Stream;
use image::RgbImage;
use rayon::prelude::*;
use serde::Serialize;

use crate::data::packed::Packed;
use crate::data::{
    AugmentSettings, Augmentation, DataError, Dataset, Drawn, Labels, View, Work, streams,
};
use crate::report::Table;
use crate::report::statistics::median;

/// Number of images that are packed together.
const PACKED_BATCH: usize = 64;
const VIEWS: [View; 2] = [View::A, View::B];

/// The job of `bench data`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DataJob {
    /// A folder of images.
    pub path: PathBuf,
    /// Maximum number of images; the first ones are used.
    pub images: u32,
    /// Width and height of the views in pixels.
    pub size: u32,
    /// Views per image: 1 (A) or 2 (A and B).
    pub views: u8,
    /// Number of passes over the images.
    pub repeats: u32,
    /// Number of CPU threads.
    pub threads: usize,
}

/// The report that `bench data` prints. Seconds are per image with all its views, on one thread.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DataReport {
    /// `data`.
    pub measurement: &'static str,
    /// Images per pass.
    pub images: usize,
    /// Width and height of the views in pixels.
    pub size: u32,
    /// Views per image.
    pub views: u8,
    /// Number of CPU threads.
    pub threads: usize,
    /// Number of passes.
    pub repeats: u32,
    /// Images per second of wall-clock time, median of the passes.
    pub images_per_s: f64,
    /// Slowest and fastest pass, relative to the median.
    pub images_per_s_spread: [f64; 2],
    /// Images per second, decoded and packed for a device that augments them. This is the host's
    /// part, without the transfer and the device's work. Median of the passes.
    pub packed_images_per_s: f64,
    /// Seconds from file to pixels, median of the passes.
    pub decode_s: f64,
    /// Seconds of cropping, scaling and mirroring.
    pub crop_s: f64,
    /// Seconds of jitter and grey.
    pub colour_s: f64,
    /// Seconds of blur and solarisation.
    pub blur_s: f64,
    /// Seconds of subtracting the mean and dividing by the deviation.
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

/// Measures with the paper's recipe. One pass first brings the files into the system's cache.
///
/// # Errors
/// The folder has no images, an image does not decode, or the threads cannot be started.
pub fn data(job: &DataJob) -> Result<DataReport> {
    let set = Dataset::folder(&job.path, Labels::Ignore)?;
    let augmentation = Augmentation::new(job.size, AugmentSettings::paper())?;
    let mut items = set.all_items();
    items.truncate(job.images as usize);
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(job.threads)
        .build()
        .map_err(Error::failed)
        .at("cannot start the threads of --threads")?;
    let pass = || -> Result<(f64, Parts), DataError> {
        let start = Instant::now();
        let image = |&item: &u32| one(&set, item, &augmentation, job.views);
        let parts: Parts = pool.install(|| items.par_iter().map(image).sum::<Result<_, _>>())?;
        Ok((start.elapsed().as_secs_f64(), parts))
    };
    let pack = || -> Result<f64, DataError> {
        let start = Instant::now();
        pool.install(|| match job.views {
            1 => packed::<1>(&set, &items, &augmentation),
            _ => packed::<2>(&set, &items, &augmentation),
        })?;
        Ok(items.len() as f64 / start.elapsed().as_secs_f64())
    };
    pass()?;
    let passes = (0..job.repeats).map(|_| pass()).collect::<Result<Vec<_>, _>>()?;
    let packed_rates = (0..job.repeats).map(|_| pack()).collect::<Result<Vec<_>, _>>()?;
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
    Ok(DataReport {
        measurement: "data",
        images,
        size: job.size,
        views: job.views,
        threads: job.threads,
        repeats: job.repeats,
        images_per_s,
        images_per_s_spread: [extreme(f64::min), extreme(f64::max)],
        packed_images_per_s: median(&packed_rates),
        decode_s: part(0),
        crop_s: part(1),
        colour_s: part(2),
        blur_s: part(3),
        normalise_s: part(4),
    })
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
    for (index, view) in (0..u64::from(views)).zip(VIEWS) {
        let draws = stream.at(2 * u64::from(item) + index);
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

/// Decodes images and packs them in batches.
fn packed<const N: usize>(
    set: &Dataset,
    items: &[u32],
    augmentation: &Augmentation,
) -> Result<(), DataError> {
    let stream = Stream::new(0, streams::PRETEXT_VIEW);
    for items in items.chunks(PACKED_BATCH) {
        let images: Vec<_> =
            items.par_iter().map(|&item| set.image(item)).collect::<Result<_, _>>()?;
        let drawn: [Vec<Drawn>; N] = std::array::from_fn(|index| {
            let draw = |(&item, image): (&u32, &Cow<'_, RgbImage>)| {
                let draws = stream.at(2 * u64::from(item) + index as u64);
                augmentation.draw_pretext(image.dimensions(), VIEWS[index], draws)
            };
            items.par_iter().zip(&images).map(draw).collect()
        });
        let drawn = drawn.each_ref().map(Vec::as_slice);
        std::hint::black_box(Packed::new(augmentation.size(), &images, drawn));
    }
    Ok(())
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
        let packed = self.packed_images_per_s;
        writeln!(f, "{packed:.1} images/s decoded and packed, for a device to augment")?;
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
