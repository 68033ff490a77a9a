//! `bissl import`: a run out of weights that another program saved.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::error::Result;
use bissl_core::Group;

use super::NetworkHints;
use super::candidates::Candidate;
use super::reading::{Reading, Wanted, reading};
use crate::config::{Family, RunConfig};
use crate::model::{architecture, networks};
use crate::network::{BackboneSettings, ParameterTable};
use crate::run::{NamedTensor, NewCheckpoint, Retention, RunError, RunFolder, TensorView};
use crate::stage::initial::{Draw, initial};
use crate::stage::origin::IMPORT;
use crate::stage::tensors::{Weights, group_name, named};
use crate::state_dict::{StateDict, TensorFile, read_weights};
use crate::text::shown;

type Tensors = BTreeMap<String, NamedTensor>;

/// What is to be imported.
#[derive(Clone, Debug)]
pub struct ImportJob {
    /// A `.pth` or `.safetensors` file.
    pub file: PathBuf,
    /// The dictionary in a checkpoint that holds several; `None`: whichever holds a backbone.
    pub key: Option<String>,
    /// What stands before the backbone's names; `None`: whatever stands before a ResNet's.
    pub prefix: Option<String>,
    /// What the tensors do not tell.
    pub hints: NetworkHints,
    /// The new run.
    pub out: PathBuf,
    /// Its settings; `[network]` but for the projector comes from the file.
    pub config: RunConfig,
}

/// Writes a run whose one checkpoint holds the file's backbone and an untrained pretext head.
/// Returns what there is to say, a line each.
///
/// # Errors
/// The file cannot be read; a tensor of the backbone is missing, unknown or of another shape; the
/// run cannot be written.
pub fn import(job: ImportJob) -> Result<Vec<String>> {
    let ImportJob { file, key, prefix, hints, out, mut config } = job;
    let unfit = |reason: String| RunError::unfit(&file, reason);
    let bytes = read_weights(&file)?;
    let decoded = TensorFile::decode(&bytes).map_err(unfit)?;
    let wanted = Wanted { key: key.as_deref(), prefix: prefix.as_deref(), hints };
    let Reading { candidate, settings, mut notices } = reading(&decoded, wanted).map_err(unfit)?;
    let own: BTreeSet<&str> = candidate.names.values().copied().collect();
    let StateDict { tensors, notices: rounded } =
        decoded.read(candidate.dictionary, |name| own.contains(name)).map_err(unfit)?;
    notices.extend(rounded);
    let tensors = renamed(&candidate, tensors);
    require_variances(&tensors).map_err(unfit)?;
    let BackboneSettings { architecture: residual, width, stem } = settings;
    (config.network.architecture, config.network.width, config.network.stem) =
        (Family::Residual(residual), width, stem);
    let name = architecture(&config);
    let networks = networks(&config, 1);
    let tables = [networks.backbone.parameters(), networks.backbone.statistics()];
    let backbone = weights(tables, tensors);
    let head = &networks.pretext_head;
    let head_weights = initial(head, config.seed, Draw::PretextHead);
    let mut stored = named(group_name(Group::LowerBackbone), &networks.backbone, &backbone);
    stored.extend(named(group_name(Group::PretextHead), head, &head_weights));
    let views: Vec<TensorView<'_>> = stored.iter().map(NamedTensor::view).collect();
    let folder = RunFolder::create(&out, &config)?;
    folder.checkpoints()?.save(&NewCheckpoint {
        stage: IMPORT,
        step: 0,
        retention: Retention::Permanent,
        architecture: &name,
        score: None,
        metrics_bytes: 0,
        tensors: &views,
        state: &serde_json::json!({ "seed": config.seed, "file": file_name(&file) }),
    })?;
    notices.push(format!("imported {name}: {}", shown(&out)));
    Ok(notices)
}

/// Without its folders, which mean nothing on another machine.
fn file_name(path: &Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

/// The tensors of a backbone under its own names.
fn renamed(candidate: &Candidate<'_>, mut read: Tensors) -> Tensors {
    let own = candidate.names.iter().filter_map(|(own, name)| {
        let tensor = read.remove(*name)?;
        Some((own.clone(), tensor))
    });
    own.collect()
}

/// Refuses running variances below 0, which no batch has: their square root is NaN.
fn require_variances(tensors: &Tensors) -> Result<(), String> {
    for (name, tensor) in tensors.iter().filter(|(name, _)| name.ends_with(".running_var")) {
        if let Some(at) = tensor.values.iter().position(|value| *value < 0.0) {
            let (value, file_name) = (tensor.values[at], shown(&tensor.name));
            let own = if *name == tensor.name { String::new() } else { format!(" ({name})") };
            return Err(format!(
                "tensor {file_name}{own}: element [{at}] is {value}, expected a variance of at \
                 least 0"
            ));
        }
    }
    Ok(())
}

/// Parameters and running statistics, in the network's order.
fn weights([parameters, statistics]: [&ParameterTable; 2], mut tensors: Tensors) -> Weights {
    let mut flat = |table: &ParameterTable| {
        let segments = table.segments().iter();
        let values = segments.flat_map(|segment| {
            tensors.remove(&segment.name).expect("names and shapes were compared").values
        });
        values.collect()
    };
    Weights { parameters: flat(parameters), statistics: flat(statistics) }
}
