//! Reads a backbone and a pretext head from a file of named tensors, and recognises the network.
//!
//! The backbone's names are torchvision's, with or without the prefix `backbone.`. The projector's
//! names are the places in torch's `Sequential(Linear, BatchNorm1d, ReLU, …, Linear)` after
//! `projector.`; BYOL's predictor is named the same way after `predictor.`. Checkpoints of our own
//! runs use `lower_backbone.` and `pretext_head.`, and for the target network `target_backbone.`
//! and `target_projector.`.

use std::path::Path;

use crate::config::{Family, MethodName, NetworkSettings, Preset, RunConfig};
use crate::driver::Networks;
use crate::interchange::{NetworkHints, Recognized, is_no_parameter, recognize};
use crate::model::{architecture, networks};
use crate::network::ParameterTable;
use crate::run::{RealTensors, RunError, read_real_tensors};

/// Networks with the parameters of a file.
#[derive(Debug)]
pub(super) struct State {
    pub(super) networks: Networks,
    /// Description of the networks.
    pub(super) name: String,
    /// The backbone's parameters, flat.
    pub(super) backbone: Vec<f64>,
    /// The pretext head's parameters, flat.
    pub(super) head: Vec<f64>,
    /// The settings of the networks and of the pretext method.
    pub(super) config: RunConfig,
}

const BACKBONE: [&str; 2] = ["backbone.", "lower_backbone."];

/// A network in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum NetworkRole {
    Online,
    Target,
}

impl NetworkRole {
    /// Prefixes of the backbone's and the head's names in our own checkpoints.
    fn own_prefixes(self) -> (&'static str, &'static str) {
        match self {
            Self::Online => ("lower_backbone.", "pretext_head."),
            Self::Target => ("target_backbone.", "target_projector."),
        }
    }
}

const PREDICTOR: &str = "predictor.";

/// Splits `tensors` into those of a backbone and those of a pretext head. Strips their prefixes,
/// except the predictor's.
fn divide(
    path: &Path,
    tensors: RealTensors,
    role: NetworkRole,
) -> Result<(RealTensors, RealTensors), RunError> {
    let (own_backbone, own_head) = role.own_prefixes();
    let is_ours = tensors.keys().any(|name| name.starts_with(own_backbone));
    let head_prefix = if is_ours { own_head } else { "projector." };
    let (mut backbone, mut head) = (RealTensors::new(), RealTensors::new());
    for (name, tensor) in tensors {
        if let Some(own) = name.strip_prefix(head_prefix) {
            head.insert(own.to_owned(), tensor);
            continue;
        }
        if !is_ours && name.starts_with(PREDICTOR) {
            // A target network has no predictor, but the file may also hold the online network's.
            if role == NetworkRole::Online {
                head.insert(name, tensor);
            }
            continue;
        }
        let stripped = if is_ours {
            name.strip_prefix(own_backbone)
        } else {
            BACKBONE.iter().find_map(|prefix| name.strip_prefix(prefix))
        };
        // Our checkpoints also hold momenta and the upper level.
        let own = match stripped {
            None if is_ours => continue,
            own => own.unwrap_or(&name),
        };
        if !is_no_parameter(own) && backbone.insert(own.to_owned(), tensor).is_some() {
            let reason =
                format!("tensor {own} appears twice, once as {name}: expected one of them");
            return Err(RunError::unfit(path, reason));
        }
    }
    head.retain(|name, _| !is_no_parameter(name));
    Ok((backbone, head))
}

/// Widths of the projector (if `prefix` is empty) or the predictor: the rows of its linear layers,
/// which are every third layer of the `Sequential`.
fn widths(path: &Path, head: &RealTensors, prefix: &str) -> Result<Vec<usize>, RunError> {
    let part = if prefix.is_empty() { "projector." } else { prefix };
    let mut widths = Vec::new();
    while let Some(tensor) = head.get(&format!("{prefix}{}.weight", 3 * widths.len())) {
        let name = 3 * widths.len();
        let [rows, columns] = tensor.shape[..] else {
            let reason = format!(
                "tensor {part}{name}.weight has shape {:?}, expected a matrix",
                tensor.shape
            );
            return Err(RunError::unfit(path, reason));
        };
        if rows == 0 || columns == 0 {
            return Err(RunError::unfit(path, format!("{part}{name}.weight is empty")));
        }
        widths.push(rows);
    }
    if widths.is_empty() {
        let reason = format!(
            "tensor {part}0.weight is missing, expected the first linear layer of a {} besides \
             the backbone",
            part.trim_end_matches('.')
        );
        return Err(RunError::unfit(path, reason));
    }
    Ok(widths)
}

/// Name of a head's tensor as written in the file.
fn head_name(name: &str) -> String {
    if name.starts_with(PREDICTOR) { name.to_owned() } else { format!("projector.{name}") }
}

/// The values of `table`'s tensors as one flat vector. No tensor may be missing or unknown. `said`
/// gives the name as written in the file.
fn flat(
    path: &Path,
    table: &ParameterTable,
    said: impl Fn(&str) -> String,
    network: &str,
    tensors: &RealTensors,
) -> Result<Vec<f64>, RunError> {
    let mut values = Vec::with_capacity(table.len());
    for segment in table.segments() {
        let (name, expected) = (&segment.name, &segment.shape);
        let Some(tensor) = tensors.get(name) else {
            let reason = format!(
                "tensor {} is missing, expected shape {expected:?} for {network}",
                said(name)
            );
            return Err(RunError::unfit(path, reason));
        };
        if tensor.shape != *expected {
            let reason = format!(
                "tensor {} has shape {:?}, expected {expected:?} for {network}",
                said(name),
                tensor.shape
            );
            return Err(RunError::unfit(path, reason));
        }
        values.extend_from_slice(&tensor.values);
    }
    let is_known = |name: &&String| table.segments().iter().any(|known| known.name == **name);
    if let Some(name) = tensors.keys().find(|name| !is_known(name)) {
        let reason = format!(
            "tensor {} is unknown, expected the {} parameters of {network}",
            said(name),
            table.segments().len()
        );
        return Err(RunError::unfit(path, reason));
    }
    Ok(values)
}

/// Reads the tensors without the batch counters, which are not real numbers.
fn read(path: &Path) -> Result<RealTensors, RunError> {
    read_real_tensors(path, |name| !name.ends_with(".num_batches_tracked"))
}

impl State {
    /// Reads the backbone and the pretext head of `method` from `path`. Settings of the method that
    /// the file does not reveal are the default preset's.
    ///
    /// # Errors
    /// The file cannot be read, or a tensor is missing, unknown or of another shape.
    pub(super) fn read(
        path: &Path,
        hints: NetworkHints,
        method: MethodName,
    ) -> Result<Self, RunError> {
        let (backbone, head) = divide(path, read(path)?, NetworkRole::Online)?;
        let shape_of = |name: &str| backbone.get(name).map(|tensor| tensor.shape.as_slice());
        let Recognized { architecture: residual, width, stem } =
            recognize(shape_of, hints).map_err(|reason| RunError::unfit(path, reason))?;
        let network = NetworkSettings {
            architecture: Family::Residual(residual),
            width,
            stem,
            layers: Vec::new(),
            projector: widths(path, &head, "")?,
        };
        let mut config = RunConfig { network, ..Preset::Default.config() };
        config.pretext.method = method;
        if method == MethodName::Byol {
            config.byol.predictor = widths(path, &head, PREDICTOR)?;
            // The last width is the output's. It must equal the projector's, or a tensor does not
            // fit below.
            config.byol.predictor.pop();
        }
        let (networks, name) = (networks(&config, 1), architecture(&config));
        let table = networks.backbone.parameters();
        let backbone = flat(path, table, str::to_owned, &name, &backbone)?;
        let table = networks.pretext_head.parameters();
        let head = flat(path, table, head_name, &name, &head)?;
        Ok(Self { networks, name, backbone, head, config })
    }

    /// Reads the target network in `path`, which has the same shapes: flat parameters of backbone
    /// and projector.
    ///
    /// # Errors
    /// Those of [`State::read`].
    pub(super) fn read_target(&self, path: &Path) -> Result<(Vec<f64>, Vec<f64>), RunError> {
        let (backbone, head) = divide(path, read(path)?, NetworkRole::Target)?;
        let tower =
            self.networks.target_tower().expect("only called for a method with a target network");
        Ok((
            flat(path, tower.backbone.parameters(), str::to_owned, &self.name, &backbone)?,
            flat(path, tower.head.parameters(), head_name, &self.name, &head)?,
        ))
    }

    /// Reads a direction in the backbone's parameters: one tensor per parameter, by name.
    ///
    /// # Errors
    /// Those of [`State::read`].
    pub(super) fn read_direction(&self, path: &Path) -> Result<Vec<f64>, RunError> {
        let tensors = read_real_tensors(path, |_| true)?
            .into_iter()
            .map(|(name, tensor)| {
                let own = BACKBONE.iter().find_map(|prefix| name.strip_prefix(prefix));
                (own.unwrap_or(&name).to_owned(), tensor)
            })
            .collect();
        flat(path, self.networks.backbone.parameters(), str::to_owned, &self.name, &tensors)
    }
}
