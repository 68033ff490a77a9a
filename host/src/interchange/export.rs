//! `bissl export`: a backbone as a safetensors file that PyTorch loads, or as the flash image of a
//! device.

use std::borrow::Cow;
use std::collections::HashMap;
use std::path::PathBuf;

use crate::error::Result;
use safetensors::tensor::{Dtype, View};
use serde::Deserialize;

use super::firmware;
use crate::config::RunConfig;
use crate::model::{architecture, networks};
use crate::network::Network;
use crate::run::{Origin, RunError, write_atomic};
use crate::stage::origin::Stored;
use crate::stage::tensors::{Weights, classes};
use crate::text::shown;

/// What file is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ExportFormat {
    /// A backbone and, where there is one, its classifier, under torchvision's names.
    #[default]
    Safetensors,
    /// An encoder and its pretext head for the device program.
    Firmware,
}

impl ExportFormat {
    /// Every spelling.
    pub const NAMES: &[&str] = &["safetensors", "firmware"];
}

/// What is to be exported.
#[derive(Clone, Debug)]
pub struct ExportJob {
    /// A run or a checkpoint.
    pub from: Origin,
    /// What is written.
    pub to: ExportFormat,
    /// The file; replaced if it exists.
    pub out: PathBuf,
}

/// A tensor in the file.
struct Exported {
    shape: Vec<usize>,
    bytes: Vec<u8>,
    dtype: Dtype,
}

impl View for Exported {
    fn dtype(&self) -> Dtype {
        self.dtype
    }

    fn shape(&self) -> &[usize] {
        &self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        Cow::Borrowed(&self.bytes)
    }

    fn data_len(&self) -> usize {
        self.bytes.len()
    }
}

/// Writes what the format says. To safetensors: backbone, running statistics and, where the run was
/// fine-tuned, the classifier `fc`, under torchvision's names. Returns a line about it.
///
/// `num_batches_tracked`, which PyTorch expects and does not use at a fixed momentum, is 0.
///
/// # Errors
/// There is no valid checkpoint with a backbone; the file cannot be written; a device cannot run
/// such a network.
pub fn export(job: &ExportJob) -> Result<String> {
    let ExportJob { from, to, out } = job;
    if *to == ExportFormat::Firmware {
        return firmware::export(from, out);
    }
    let config: RunConfig = from.config()?;
    let stored = Stored::open(from, &config)?;
    let (name, path) = (architecture(&config), &stored.path);
    let networks = networks(&config, classes(stored.tensors()));
    let (backbone, head) = stored.result(&networks)?;
    let mut tensors = exported(&networks.backbone, &backbone);
    if let Some(head) = &head {
        tensors.extend(exported(&networks.classifier, head));
    }
    let counters: Vec<_> = tensors
        .iter()
        .filter_map(|(name, _)| name.strip_suffix("running_mean"))
        .map(|norm| format!("{norm}num_batches_tracked"))
        .collect();
    tensors.extend(
        counters.into_iter().map(|name| {
            (name, Exported { shape: Vec::new(), bytes: vec![0; 8], dtype: Dtype::I64 })
        }),
    );
    let count = tensors.len();
    // What safetensors' own functions for PyTorch write, and some readers ask for.
    let metadata = HashMap::from([("format".to_owned(), "pt".to_owned())]);
    let bytes = safetensors::serialize(tensors, Some(metadata)).map_err(|error| {
        let (what, reason) = (format!("{count} tensors"), error.to_string());
        RunError::Unstorable { what, path: out.clone(), reason }
    })?;
    write_atomic(out, &bytes)?;
    let with = if head.is_some() { " and its classifier" } else { "" };
    Ok(format!("{}: {name}{with}, {count} tensors of {}\n", shown(&out), shown(path)))
}

fn exported(network: &Network, weights: &Weights) -> Vec<(String, Exported)> {
    let parts =
        [(network.parameters(), &weights.parameters), (network.statistics(), &weights.statistics)];
    let mut tensors = Vec::new();
    for (table, values) in parts {
        for segment in table.segments() {
            let values = &values[segment.offset..segment.offset + segment.len()];
            let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
            let exported = Exported { shape: segment.shape.clone(), bytes, dtype: Dtype::F32 };
            tensors.push((segment.name.clone(), exported));
        }
    }
    tensors
}
