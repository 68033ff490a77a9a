//! `bissl import`: a run out of weights that another program saved.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::error::Result;
use bissl_core::Group;

use super::{NetworkHints, Recognized, recognize};
use crate::config::{Family, RunConfig};
use crate::model::{architecture, networks};
use crate::network::ParameterTable;
use crate::run::{NamedTensor, NewCheckpoint, Retention, RunError, RunFolder, TensorView};
use crate::stage::initial::{Draw, initial};
use crate::stage::origin::IMPORT;
use crate::stage::tensors::{Weights, group_name, named};
use crate::state_dict::{StateDict, read_state_dict};

/// Names shown in a message at most.
const SHOWN: usize = 8;

/// What is to be imported.
#[derive(Clone, Debug)]
pub struct ImportJob {
    /// A `.pth` or `.safetensors` file.
    pub file: PathBuf,
    /// The dictionary in a checkpoint that holds several; `None`: the usual names.
    pub key: Option<String>,
    /// What stands before the backbone's names; `None`: whatever stands before `conv1.weight`.
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
    let StateDict { tensors, mut notices } = read_state_dict(&file, key.as_deref())?;
    let tensors = backbone_of(tensors, prefix, &mut notices).map_err(unfit)?;
    let shape_of = |name: &str| tensors.get(name).map(|tensor| tensor.shape.as_slice());
    let Recognized { architecture: residual, width, stem } =
        recognize(shape_of, hints).map_err(unfit)?;
    (config.network.architecture, config.network.width, config.network.stem) =
        (Family::Residual(residual), width, stem);
    let name = architecture(&config);
    let networks = networks(&config, 1);
    let backbone =
        weights([networks.backbone.parameters(), networks.backbone.statistics()], tensors, &name)
            .map_err(unfit)?;
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
    notices.push(format!("imported {name}: {}", out.display()));
    Ok(notices)
}

/// Without its folders, which mean nothing on another machine.
fn file_name(path: &Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

type Tensors = BTreeMap<String, NamedTensor>;

/// The tensors of the backbone, without what stands before their names.
fn backbone_of(
    tensors: Tensors,
    prefix: Option<String>,
    notices: &mut Vec<String>,
) -> Result<Tensors, String> {
    const FIRST: &str = "conv1.weight";
    let prefix = match prefix {
        Some(prefix) => prefix,
        None => {
            // A block's first convolution has the same name, behind its stage's.
            let is_first = |name: &&String| name.ends_with(FIRST) && !name.contains("layer");
            let found: Vec<_> = tensors.keys().filter(is_first).collect();
            match found[..] {
                [only] if only.len() == FIRST.len() || only.ends_with(&format!(".{FIRST}")) => {
                    only[..only.len() - FIRST.len()].to_owned()
                }
                [] | [_] => {
                    let names: Vec<_> = tensors.keys().cloned().collect();
                    return Err(format!(
                        "no tensor {FIRST}, expected the names of torchvision's ResNets; found {}",
                        some(&names)
                    ));
                }
                _ => {
                    let found: Vec<_> = found.into_iter().cloned().collect();
                    return Err(format!(
                        "several backbones: {}; choose one by --prefix, what stands before {FIRST}",
                        some(&found)
                    ));
                }
            }
        }
    };
    if !prefix.is_empty() {
        notices.push(format!("names are read without `{prefix}`"));
    }
    let (mut own, mut others) = (Tensors::new(), Vec::new());
    for (name, tensor) in tensors {
        match name.strip_prefix(&prefix) {
            Some(stripped) if !stripped.starts_with("fc.") => {
                own.insert(stripped.to_owned(), tensor);
            }
            _ => others.push(name),
        }
    }
    if !others.is_empty() {
        notices.push(format!("left out, beside the backbone: {}", some(&others)));
    }
    Ok(own)
}

/// Some names, and how many more there are.
fn some(names: &[String]) -> String {
    let shown = names[..names.len().min(SHOWN)].join(", ");
    match names.len().saturating_sub(SHOWN) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

/// Parameters and running statistics. Everything that is wrong is said at once.
fn weights(
    [parameters, statistics]: [&ParameterTable; 2],
    mut tensors: Tensors,
    network: &str,
) -> Result<Weights, String> {
    let (mut missing, mut misshapen) = (Vec::new(), Vec::new());
    let mut flat = |table: &ParameterTable| {
        let mut values = Vec::with_capacity(table.len());
        for segment in table.segments() {
            match tensors.remove(&segment.name) {
                None => missing.push(segment.name.clone()),
                Some(tensor) if tensor.shape != segment.shape => misshapen.push(format!(
                    "{} has shape {:?}, expected {:?}",
                    segment.name, tensor.shape, segment.shape
                )),
                Some(tensor) => values.extend(tensor.values),
            }
        }
        values
    };
    let (parameters, statistics) = (flat(parameters), flat(statistics));
    let unknown: Vec<_> = tensors.into_keys().collect();
    let parts = [("missing", missing), ("of another shape", misshapen), ("unknown", unknown)];
    let wrong: Vec<_> = parts
        .into_iter()
        .filter(|(_, names)| !names.is_empty())
        .map(|(what, names)| format!("{} tensors {what}: {}", names.len(), some(&names)))
        .collect();
    if !wrong.is_empty() {
        return Err(format!("it does not fit {network}: {}", wrong.join("; ")));
    }
    Ok(Weights { parameters, statistics })
}
