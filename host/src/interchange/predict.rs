//! `bissl predict`: what a fine-tuned network takes images for.

use std::path::PathBuf;

use serde::Serialize;

use crate::backend::{Work, dispatch};
use crate::config::{MultiLabelLoss, RunConfig};
use crate::data::{DataError, Dataset, ImageSettings, OnBadImage};
use crate::error::{Error, Result, fail};
use crate::kernels::{BackendName, Kernels};
use crate::run::Origin;
use crate::stage::images::Images;
use crate::stage::origin::Stored;
use crate::stage::record::DataRecord;
use crate::stage::tensors::classes;
use crate::stage::{self, Task};
use crate::text::shown;

/// Images between two lines of progress, at most.
const CHUNK: usize = 1024;

/// How predictions are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PredictionFormat {
    /// A heading, then a line for each image: file, then class and probability, likeliest first.
    Csv,
    /// A JSON object a line.
    JsonLines,
}

/// What is to be predicted.
#[derive(Clone, Debug)]
pub struct PredictJob {
    /// A fine-tuned run, or a checkpoint of one.
    pub from: Origin,
    /// Files, and folders whose images are taken at any depth.
    pub paths: Vec<PathBuf>,
    /// Classes of each image, likeliest first; at least 1.
    pub top: usize,
    /// How they are written.
    pub format: PredictionFormat,
    /// What computes; `None`: what the run says.
    pub backend: Option<BackendName>,
}

/// A class and its probability.
#[derive(Serialize)]
struct Predicted<'a> {
    class: &'a str,
    probability: f32,
}

#[derive(Serialize)]
struct Line<'a> {
    file: &'a str,
    classes: Vec<Predicted<'a>>,
}

/// What came out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Predictions {
    /// A line for each image, in the order of the paths.
    pub text: String,
    /// Images that cannot be read, with the reason: they have no line.
    pub unreadable: Vec<String>,
    /// Files of other kinds that lie among the images.
    pub overlooked: Vec<String>,
}

/// The likeliest classes of images.
///
/// Where an image has one class, probabilities are softmax's and sum to 1 over all classes; where
/// it may have several, each is a logistic function's.
///
/// # Errors
/// The run has no fine-tuned head; a path is missing; no image can be read.
pub fn predict(job: &PredictJob) -> Result<Predictions> {
    let config = job.from.config()?;
    let stored = Stored::open(&job.from, &config)?;
    let backend = job.backend.unwrap_or(config.backend);
    dispatch(backend, Predict { job, config, stored })?
}

struct Predict<'a> {
    job: &'a PredictJob,
    config: RunConfig,
    stored: Stored,
}

impl Work for Predict<'_> {
    type Output = Result<Predictions>;

    fn run<B: Kernels>(self, device: B::Device) -> Self::Output {
        let Self { job, config, stored } = self;
        let count = classes(stored.tensors());
        let recorded = DataRecord::read(&job.from.run_path())?.and_then(|record| record.downstream);
        let names = match &recorded {
            Some(set) if set.classes.len() == count => set.classes.clone(),
            // An older run: its outputs have numbers alone.
            _ => (0..count).map(|class| class.to_string()).collect(),
        };
        let several = recorded.is_some_and(|set| set.several_labels)
            && config.downstream.multi_label_loss == MultiLabelLoss::Binary;
        let settings = ImageSettings {
            pixels_max: config.image.pixels_max,
            on_bad_image: OnBadImage::Skip,
            bad_image_limit: 1.0,
            ..ImageSettings::default()
        };
        let set = Dataset::files(&job.paths)?;
        let (set, report) = match set.clone().checked(&settings) {
            // None can be read: the first one says why.
            Err(DataError::NoImages { .. }) => {
                set.checked(&ImageSettings { on_bad_image: OnBadImage::Error, ..settings })
            }
            result => result,
        }?;
        let task = Task::<B>::on(Images::to_look_at(set, &config)?, count, config, device);
        let (backbone, head) = stored.result(&task.networks)?;
        let Some(head) = head else {
            let (stage, _) = stored.position();
            fail!(
                "{}: stage {stage} has no trained head, expected a fine-tuned run",
                shown(&stored.path)
            );
        };
        let set = task.images.downstream();
        let mut lines = Lines::new(job.format, job.top.min(count))?;
        for items in set.all_items().chunks(CHUNK) {
            let scores = stage::scores(&task, &backbone, &head, items)?;
            for (item, row) in items.iter().zip(scores.values.chunks(count)) {
                lines.line(&set.item_name(*item), &names, &probabilities(row, several))?;
            }
        }
        let unreadable = report.bad.iter().map(ToString::to_string).collect();
        let overlooked = set.overlooked().lines();
        Ok(Predictions { text: lines.finish()?, unreadable, overlooked })
    }
}

/// What scores mean, in f64 on the way.
fn probabilities(scores: &[f32], several: bool) -> Vec<f32> {
    if several {
        return scores
            .iter()
            .map(|score| (1.0 / (1.0 + (-f64::from(*score)).exp())) as f32)
            .collect();
    }
    let largest = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let powers: Vec<f64> = scores.iter().map(|score| f64::from(score - largest).exp()).collect();
    let sum: f64 = powers.iter().sum();
    powers.iter().map(|power| (power / sum) as f32).collect()
}

/// Lines in either format.
struct Lines {
    top: usize,
    bytes: Bytes,
}

enum Bytes {
    Csv(Box<csv::Writer<Vec<u8>>>),
    Json(Vec<u8>),
}

impl Lines {
    fn new(format: PredictionFormat, top: usize) -> Result<Self> {
        if format == PredictionFormat::JsonLines {
            return Ok(Self { top, bytes: Bytes::Json(Vec::new()) });
        }
        let mut writer = Box::new(csv::Writer::from_writer(Vec::new()));
        let mut heading = vec!["file".to_owned()];
        for place in 1..=top {
            heading.extend([format!("class_{place}"), format!("probability_{place}")]);
        }
        writer.write_record(&heading).map_err(Error::failed)?;
        Ok(Self { top, bytes: Bytes::Csv(writer) })
    }

    fn line(&mut self, file: &str, names: &[String], probabilities: &[f32]) -> Result<()> {
        let mut order: Vec<usize> = (0..names.len()).collect();
        order.sort_by(|a, b| probabilities[*b].total_cmp(&probabilities[*a]).then(a.cmp(b)));
        order.truncate(self.top);
        let predicted =
            |class: usize| Predicted { class: &names[class], probability: probabilities[class] };
        let classes: Vec<Predicted<'_>> = order.into_iter().map(predicted).collect();
        match &mut self.bytes {
            Bytes::Json(bytes) => {
                serde_json::to_writer(&mut *bytes, &Line { file, classes })?;
                bytes.push(b'\n');
                Ok(())
            }
            Bytes::Csv(writer) => {
                let mut fields = vec![file.to_owned()];
                for Predicted { class, probability } in classes {
                    fields.extend([class.to_owned(), format!("{probability:.6}")]);
                }
                writer.write_record(&fields).map_err(Error::failed)
            }
        }
    }

    fn finish(self) -> Result<String> {
        let bytes = match self.bytes {
            Bytes::Csv(writer) => writer.into_inner().map_err(Error::failed)?,
            Bytes::Json(bytes) => bytes,
        };
        String::from_utf8(bytes).map_err(Error::failed)
    }
}
