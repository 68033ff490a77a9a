//! Recordings of a motion sensor, cut into windows: `recordings.csv` beside `samples.f32le`.
//!
//! `recordings.csv` has a line for each recording, with columns `subject`, `exercise`,
//! `first_sample` and `samples` among others; `samples.f32le` holds the samples of all of them, six
//! f32 each, little endian: three axes of acceleration and three of angular rate, in any units.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use super::item::{Item, Source};
use super::label::Label;
use super::raw::Bytes;
use super::recordings::{CHANNELS, Recordings, Stretch};
use super::{Corpus, DataError, Dataset, Part};

const TABLE: &str = "recordings.csv";
const SAMPLES: &str = "samples.f32le";

/// Which windows of the recordings.
#[derive(Clone, Debug, PartialEq)]
pub struct WindowSelection<'a> {
    /// Samples of a window, at least 1.
    pub length: usize,
    /// Samples from the beginning of one window to that of the next, at least 1.
    pub hop: usize,
    /// Only these subjects; empty: all.
    pub subjects: &'a [String],
    /// Not these.
    pub leave_out_subjects: &'a [String],
    /// Share of each recording, from its beginning, that is for training; the rest is for testing,
    /// and no window lies in both. Of a pretext corpus it is not looked at.
    pub train_share: f64,
}

/// One line of the table.
struct Recording {
    subject: String,
    exercise: String,
    first: usize,
    samples: usize,
}

impl Dataset {
    /// Windows of the recordings in folder `path`, labelled with their exercises where `corpus`
    /// reads labels.
    ///
    /// # Errors
    /// A file is missing or damaged; a subject that is named is unknown; no recording is long
    /// enough.
    pub fn windows(
        path: &Path,
        selection: &WindowSelection<'_>,
        corpus: Corpus,
    ) -> Result<Self, DataError> {
        let table = read_table(&path.join(TABLE))?;
        let samples = read_samples(&path.join(SAMPLES))?;
        require_within(&table, samples.len() / CHANNELS, &path.join(TABLE))?;
        require_known(&table, selection, &path.join(TABLE))?;
        let chosen: Vec<(usize, &Recording)> = table
            .iter()
            .enumerate()
            .filter(|(_, recording)| selection.takes(&recording.subject))
            .collect();
        let classes: Vec<String> = match corpus {
            Corpus::Pretext => Vec::new(),
            Corpus::Downstream | Corpus::All => {
                let names: BTreeSet<&String> =
                    chosen.iter().map(|(_, recording)| &recording.exercise).collect();
                names.into_iter().cloned().collect()
            }
        };
        let (mut stretches, mut about) = (Vec::new(), Vec::new());
        for (number, recording) in chosen {
            let class = classes.iter().position(|class| *class == recording.exercise);
            let label = class.map_or(Label::Unlabelled, |class| Label::Class(class as u32));
            for (part, first, samples) in selection.parts(recording, corpus) {
                stretches.push(Stretch { recording: number, first, samples });
                about.push((label.clone(), part));
            }
        }
        let length = selection.length;
        let recordings = Arc::new(Recordings { path: path.into(), samples, stretches, length });
        let mut items = Vec::new();
        for ((index, stretch), (label, part)) in recordings.stretches.iter().enumerate().zip(about)
        {
            let Some(last) = stretch.samples.checked_sub(length) else { continue };
            items.extend((0..=last).step_by(selection.hop).map(|start| Item {
                source: Source::Window { recordings: Arc::clone(&recordings), index, start },
                label: label.clone(),
                part,
            }));
        }
        if items.is_empty() {
            let reason = format!("no recording that is chosen has a window of {length} samples");
            return Err(DataError::damaged(path.join(TABLE), reason));
        }
        Self::new(path.display().to_string(), items, classes)?.hashed()
    }
}

impl WindowSelection<'_> {
    fn takes(&self, subject: &String) -> bool {
        (self.subjects.is_empty() || self.subjects.contains(subject))
            && !self.leave_out_subjects.contains(subject)
    }

    /// The stretches of a recording: part, first sample, samples.
    fn parts(
        &self,
        recording: &Recording,
        corpus: Corpus,
    ) -> impl Iterator<Item = (Option<Part>, usize, usize)> {
        let Recording { first, samples, .. } = *recording;
        let stretches = if corpus == Corpus::Pretext {
            vec![(None, first, samples)]
        } else {
            let train = libm::floor(self.train_share * samples as f64) as usize;
            vec![
                (Some(Part::Train), first, train),
                (Some(Part::Test), first + train, samples - train),
            ]
        };
        stretches.into_iter()
    }
}

fn read_table(path: &Path) -> Result<Vec<Recording>, DataError> {
    let bytes = Bytes::map(path, "the table of recordings")?;
    let mut reader = csv::Reader::from_reader(&*bytes);
    let headers = reader.headers().map_err(|error| DataError::damaged(path, error))?.clone();
    let column = |name: &str| {
        headers.iter().position(|header| header.trim() == name).ok_or_else(|| {
            let found: Vec<&str> = headers.iter().collect();
            let reason = format!("has no column `{name}`, found {}", found.join(", "));
            DataError::damaged(path, reason)
        })
    };
    let (subject, exercise) = (column("subject")?, column("exercise")?);
    let (first, samples) = (column("first_sample")?, column("samples")?);
    let mut recordings = Vec::new();
    for row in reader.records() {
        let row = row.map_err(|error| DataError::damaged(path, error))?;
        let line = row.position().map_or(0, csv::Position::line);
        let number = |column: usize| {
            row[column].trim().parse::<usize>().map_err(|_| {
                let (name, found) = (&headers[column], &row[column]);
                let reason = format!("line {line}: {name} is {found:?}, expected a whole number");
                DataError::damaged(path, reason)
            })
        };
        recordings.push(Recording {
            subject: row[subject].trim().to_owned(),
            exercise: row[exercise].trim().to_owned(),
            first: number(first)?,
            samples: number(samples)?,
        });
    }
    Ok(recordings)
}

fn read_samples(path: &Path) -> Result<Vec<f32>, DataError> {
    const BYTES: usize = 4 * CHANNELS;
    let bytes = Bytes::map(path, "the samples of the recordings")?;
    if bytes.is_empty() || !bytes.len().is_multiple_of(BYTES) {
        let found = bytes.len();
        let reason = format!("found {found} bytes, expected a multiple of {BYTES}, {CHANNELS} f32");
        return Err(DataError::damaged(path, reason));
    }
    let (words, _) = bytes.as_chunks::<4>();
    let samples: Vec<f32> = words.iter().map(|word| f32::from_le_bytes(*word)).collect();
    match samples.iter().position(|value| !value.is_finite()) {
        Some(place) => {
            let (sample, found) = (place / CHANNELS, samples[place]);
            let reason = format!("found {found} in sample {sample}, expected finite numbers");
            Err(DataError::damaged(path, reason))
        }
        None => Ok(samples),
    }
}

fn require_within(table: &[Recording], samples: usize, path: &Path) -> Result<(), DataError> {
    let beyond = |recording: &&Recording| {
        recording.first.checked_add(recording.samples).is_none_or(|end| end > samples)
    };
    match table.iter().find(beyond) {
        Some(Recording { first, samples: length, .. }) => {
            let reason = format!(
                "a recording of {length} samples from {first}, expected {samples} samples in all"
            );
            Err(DataError::damaged(path, reason))
        }
        None => Ok(()),
    }
}

fn require_known(
    table: &[Recording],
    selection: &WindowSelection<'_>,
    path: &Path,
) -> Result<(), DataError> {
    let subjects: BTreeSet<&String> = table.iter().map(|recording| &recording.subject).collect();
    let mut named = selection.subjects.iter().chain(selection.leave_out_subjects);
    match named.find(|subject| !subjects.contains(subject)) {
        Some(unknown) => {
            let known: Vec<&str> = subjects.into_iter().map(String::as_str).collect();
            let known = known.join(", ");
            let reason = format!("has no subject {unknown:?}, expected one of {known}");
            Err(DataError::damaged(path, reason))
        }
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// Two subjects, two exercises; sample i of channel c is i + 100 c.
    fn folder(table: &str, samples: usize) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let bytes: Vec<u8> = (0..samples)
            .flat_map(|i| (0..CHANNELS).map(move |c| (i + 100 * c) as f32))
            .flat_map(f32::to_le_bytes)
            .collect();
        fs::write(folder.path().join(TABLE), table).unwrap();
        fs::write(folder.path().join(SAMPLES), bytes).unwrap();
        folder
    }

    const FOUR: &str = "recording,subject,side,exercise,first_sample,samples\n\
                        0,a,left,row,0,20\n1,a,left,press,20,10\n2,b,left,row,30,4\n\
                        3,b,right,press,34,16\n";

    fn selection() -> WindowSelection<'static> {
        let (subjects, leave_out_subjects) = (&[][..], &[][..]);
        WindowSelection { length: 5, hop: 5, subjects, leave_out_subjects, train_share: 0.5 }
    }

    fn starts(set: &Dataset) -> Vec<String> {
        (0..set.len())
            .map(|item| set.item_name(item).rsplit_once('#').unwrap().1.to_owned())
            .collect()
    }

    #[test]
    fn a_pretext_corpus_has_all_windows_of_the_chosen_subjects_without_labels() {
        let folder = folder(FOUR, 50);
        let open = |selection: &WindowSelection<'_>| {
            Dataset::windows(folder.path(), selection, Corpus::Pretext).unwrap()
        };
        let set = open(&selection());
        let all = ["0@0", "0@5", "0@10", "0@15", "1@20", "1@25", "3@34", "3@39", "3@44"]
            .map(String::from);
        assert_eq!(starts(&set), all);
        assert!(set.classes().is_empty() && set.label(0).is_none() && set.part(0).is_none());
        let a = ["a".to_owned()];
        assert_eq!(starts(&open(&WindowSelection { subjects: &a, ..selection() })), all[..6]);
        let left_out = WindowSelection { leave_out_subjects: &a, ..selection() };
        assert_eq!(starts(&open(&left_out)), all[6..]);
    }

    #[test]
    fn the_beginning_of_a_recording_trains_and_the_rest_tests_without_overlap() {
        let folder = folder(FOUR, 50);
        let selection = WindowSelection { hop: 1, ..selection() };
        let set = Dataset::windows(folder.path(), &selection, Corpus::Downstream).unwrap();
        assert_eq!(set.classes(), ["press", "row"]);
        let mut seen = [BTreeSet::new(), BTreeSet::new()];
        for item in 0..set.len() {
            let place = set.item_name(item).rsplit_once('@').unwrap().1.parse::<usize>().unwrap();
            let part = set.part(item).unwrap();
            seen[usize::from(part == Part::Test)].extend(place..place + 5);
            let press = (20..30).contains(&place) || place >= 34;
            assert_eq!(set.label(item), Some(u32::from(!press)));
        }
        assert!(seen[0].is_disjoint(&seen[1]) && seen.iter().all(|part| !part.is_empty()));
    }

    #[test]
    fn channels_have_mean_0_and_deviation_1_and_fit_into_16_bits() {
        let folder = folder(FOUR, 50);
        let b = ["b".to_owned()];
        let selection = WindowSelection { subjects: &b, ..selection() };
        let set = Dataset::windows(folder.path(), &selection, Corpus::Pretext).unwrap();
        let channels = set.channels().unwrap();
        for c in 0..CHANNELS {
            // Samples 30 to 49, also those of the recording that is too short for a window.
            let values: Vec<f64> = (30..50).map(|i| f64::from(i + 100 * c as u32)).collect();
            let (scale, offset) = (f64::from(channels.scale[c]), f64::from(channels.offset[c]));
            let inputs: Vec<f64> = values.iter().map(|v| v * scale + offset).collect();
            let mean = inputs.iter().sum::<f64>() / 20.0;
            let square = inputs.iter().map(|v| v * v).sum::<f64>() / 20.0;
            assert!(mean.abs() < 1e-4 && (square - 1.0).abs() < 1e-4, "{mean} {square}");
            assert!((f64::from(channels.per_unit[c]) * values[19] - 30_000.0).abs() < 0.01);
        }
    }

    #[test]
    fn damaged_sets_are_refused_by_what_is_wrong() {
        let refusal = |table: &str, samples: usize, selection: &WindowSelection<'_>| {
            let folder = folder(table, samples);
            let refused = Dataset::windows(folder.path(), selection, Corpus::Downstream);
            refused.expect_err(table).to_string()
        };
        let all = selection();
        let error = refusal("subject,first_sample,samples\n", 50, &all);
        assert!(error.contains("no column `exercise`, found subject, first_sample"), "{error}");
        let error = refusal(&FOUR.replace("34,16", "34,x"), 50, &all);
        assert!(error.contains("line 5: samples is \"x\", expected a whole number"), "{error}");
        let error = refusal(FOUR, 49, &all);
        assert!(error.contains("16 samples from 34, expected 49 samples in all"), "{error}");
        let unknown = ["c".to_owned()];
        let error = refusal(FOUR, 50, &WindowSelection { leave_out_subjects: &unknown, ..all });
        assert!(error.contains("no subject \"c\", expected one of a, b"), "{error}");
        let error = refusal(FOUR, 50, &WindowSelection { length: 21, ..selection() });
        assert!(
            error.contains("no recording that is chosen has a window of 21 samples"),
            "{error}"
        );
        let folder = folder(FOUR, 50);
        let path = folder.path().join(SAMPLES);
        fs::write(&path, [0; 50]).unwrap();
        let refused = Dataset::windows(folder.path(), &selection(), Corpus::Pretext);
        assert!(refused.unwrap_err().to_string().contains("50 bytes, expected a multiple of 24"));
        fs::write(&path, [0xff; 24]).unwrap();
        let refused = Dataset::windows(folder.path(), &selection(), Corpus::Pretext);
        assert!(refused.unwrap_err().to_string().contains("found NaN in sample 0"));
    }
}
