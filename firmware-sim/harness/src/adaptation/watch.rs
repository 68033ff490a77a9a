//! Smartwatch recordings: what a watch measures on one person's arm.

use std::fs;
use std::path::{Path, PathBuf};

use bissl_firmware::Image;
use serde::Deserialize;

use super::Surroundings;

/// Acceleration and angular velocity, three axes each.
const CHANNELS: usize = 6;
/// Samples of a window: two seconds at 50 Hz.
const WINDOW: usize = 100;

/// A line of `recordings.csv`.
#[derive(Clone, Debug, Deserialize)]
struct Recording {
    subject: u32,
    exercise: String,
    first_sample: usize,
    samples: usize,
}

/// Recordings of exercises by several people, from a folder with `recordings.csv` and
/// `samples.f32le`.
#[derive(Clone, Debug)]
pub struct Watch {
    recordings: Vec<Recording>,
    samples: Vec<[f32; CHANNELS]>,
    exercises: Vec<String>,
    /// Labelled windows of each recording.
    pub labelled_per_recording: usize,
}

/// Why recordings could not be read.
#[derive(Debug, thiserror::Error)]
pub enum WatchError {
    /// A file could not be read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// A line could not be read.
    #[error("{path}: {source}")]
    Line {
        /// The file.
        path: PathBuf,
        /// The line and the cause.
        source: csv::Error,
    },
    /// The files do not belong together.
    #[error("{path}: {found} samples of {CHANNELS} channels, recordings.csv asks for {expected}")]
    Samples {
        /// The file of samples.
        path: PathBuf,
        /// Samples in it.
        found: usize,
        /// Samples that the recordings need.
        expected: usize,
    },
    /// There is no person of this number.
    #[error("no recordings of subject {found}, expected one of {expected:?}")]
    Subject {
        /// The number.
        found: u32,
        /// The numbers that there are.
        expected: Vec<u32>,
    },
    /// The image does not say how numbers of this channel are stored.
    #[error("the image has no scale for channel {0}")]
    Channel(usize),
}

impl Watch {
    /// Opens a folder of recordings.
    ///
    /// # Errors
    /// A file is missing or malformed.
    pub fn open(folder: &Path) -> Result<Self, WatchError> {
        let path = folder.join("recordings.csv");
        let line = |source| WatchError::Line { path: path.clone(), source };
        let mut reader = csv::Reader::from_path(&path).map_err(line)?;
        let recordings: Vec<Recording> =
            reader.deserialize().collect::<Result<_, _>>().map_err(line)?;
        let path = folder.join("samples.f32le");
        let bytes =
            fs::read(&path).map_err(|source| WatchError::Read { path: path.clone(), source })?;
        let (samples, _) = bytes.as_chunks::<{ 4 * CHANNELS }>();
        let float = |bytes: &[u8; 4 * CHANNELS], channel: usize| {
            f32::from_le_bytes(std::array::from_fn(|i| bytes[4 * channel + i]))
        };
        let samples: Vec<[f32; CHANNELS]> =
            samples.iter().map(|bytes| std::array::from_fn(|c| float(bytes, c))).collect();
        let ends = recordings.iter().map(|r| r.first_sample.saturating_add(r.samples));
        let expected = ends.max().unwrap_or(0);
        if samples.len() < expected {
            return Err(WatchError::Samples { path, found: samples.len(), expected });
        }
        let mut exercises: Vec<String> = recordings.iter().map(|r| r.exercise.clone()).collect();
        exercises.sort();
        exercises.dedup();
        Ok(Self { recordings, samples, exercises, labelled_per_recording: 2 })
    }

    /// The people, by number.
    pub fn subjects(&self) -> Vec<u32> {
        let mut subjects: Vec<u32> = self.recordings.iter().map(|r| r.subject).collect();
        subjects.sort_unstable();
        subjects.dedup();
        subjects
    }

    /// The exercises, in the order of their classes.
    pub fn exercises(&self) -> &[String] {
        &self.exercises
    }

    /// The measurements of one person's watch, stored as numbers in the way that `image` says.
    ///
    /// In each recording, the first windows, without overlap, are labelled. All windows of the
    /// first half, at steps of half a window, are unlabelled. The windows of the second half,
    /// without overlap, are held out.
    ///
    /// # Errors
    /// There is no person of this number.
    pub fn surroundings(
        &self,
        subject: u32,
        image: &Image<'_>,
    ) -> Result<Surroundings<i16>, WatchError> {
        let mut per_unit = [0.0; CHANNELS];
        for (channel, factor) in per_unit.iter_mut().enumerate() {
            *factor = image.per_unit(channel).ok_or(WatchError::Channel(channel))?;
        }
        // `as` saturates, as a sensor of 16 bits does.
        let store = |sample: &[f32; CHANNELS]| -> [i16; CHANNELS] {
            std::array::from_fn(|c| (sample[c] * per_unit[c]).round() as i16)
        };
        let mut surroundings = Surroundings::default();
        let mut found = false;
        for recording in self.recordings.iter().filter(|r| r.subject == subject) {
            found = true;
            let label = self.exercises.iter().position(|name| *name == recording.exercise);
            let label = label.expect("the names come from the recordings") as u8;
            let samples = &self.samples[recording.first_sample..][..recording.samples];
            let (first, second) = samples.split_at(samples.len() / 2);
            for window in first.chunks_exact(WINDOW).take(self.labelled_per_recording) {
                surroundings.labelled.extend(window.iter().flat_map(store));
                surroundings.labels.push(label);
            }
            for start in (0..first.len().saturating_sub(WINDOW)).step_by(WINDOW / 2) {
                surroundings.unlabelled.extend(first[start..][..WINDOW].iter().flat_map(store));
            }
            for window in second.chunks_exact(WINDOW) {
                surroundings.held_out.extend(window.iter().flat_map(store));
                surroundings.held_out_labels.push(label);
            }
        }
        if !found {
            return Err(WatchError::Subject { found: subject, expected: self.subjects() });
        }
        Ok(surroundings)
    }
}
