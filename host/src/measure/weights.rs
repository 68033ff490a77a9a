//! A backbone and a projector out of a file of named tensors: which network it is, and its parameters.
//!
//! Names of the backbone are torchvision's, with or without the prefix `backbone.`; those of the
//! projector are its place in torch's `Sequential(Linear, BatchNorm1d, ReLU, …, Linear)` behind
//! `projector.`. The checkpoints of our own runs say `lower_backbone.` and `pretext_head.`.

use std::path::Path;

use crate::config::{Architecture, NetworkSettings, Preset, RunConfig, Stem};
use crate::driver::Networks;
use crate::network::ParameterTable;
use crate::run::{RealTensor, RealTensors, RunError, read_real_tensors};
use crate::stage::state::{architecture, networks};

/// What is said about a network beside its file; `None`: its tensors tell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NetworkHints {
    /// Stages and blocks.
    pub architecture: Option<Architecture>,
    /// Channels of the first stage.
    pub width: Option<usize>,
    /// Kernel and stride of the first convolution. Shapes do not tell a stride: a 3×3 kernel is taken
    /// for [`Stem::Small`].
    pub stem: Option<Stem>,
}

/// Networks with the parameters of a file.
#[derive(Debug)]
pub(super) struct State {
    pub(super) networks: Networks,
    /// The networks in words.
    pub(super) name: String,
    /// The backbone's parameters, flat.
    pub(super) backbone: Vec<f64>,
    /// The projector's parameters, flat.
    pub(super) projector: Vec<f64>,
}

const BACKBONE: [&str; 2] = ["backbone.", "lower_backbone."];

/// Whether a tensor of a backbone's file is no parameter of a backbone: running statistics are not read
/// in training mode, and a classifier's layer is another head.
fn is_beside(name: &str) -> bool {
    let statistics = [".running_mean", ".running_var", ".num_batches_tracked"];
    statistics.iter().any(|end| name.ends_with(end)) || name.starts_with("fc.")
}

/// `tensors` in two: those of a backbone and those of a projector, without their prefixes.
fn divide(path: &Path, tensors: RealTensors) -> Result<(RealTensors, RealTensors), RunError> {
    let is_ours = tensors.keys().any(|name| name.starts_with("lower_backbone."));
    let projector_prefix = if is_ours { "pretext_head." } else { "projector." };
    let (mut backbone, mut projector) = (RealTensors::new(), RealTensors::new());
    for (name, tensor) in tensors {
        if let Some(own) = name.strip_prefix(projector_prefix) {
            projector.insert(own.to_owned(), tensor);
            continue;
        }
        let stripped = BACKBONE.iter().find_map(|prefix| name.strip_prefix(prefix));
        // Our checkpoints hold more than these two: momenta, the upper level.
        let own = match stripped {
            None if is_ours => continue,
            own => own.unwrap_or(&name),
        };
        if !is_beside(own) && backbone.insert(own.to_owned(), tensor).is_some() {
            let reason =
                format!("tensor {own} is there twice, once as {name}: expected one of them");
            return Err(RunError::unfit(path, reason));
        }
    }
    Ok((backbone, projector))
}

/// The width and the stem that the first convolution tells.
fn first_stage(
    path: &Path,
    backbone: &RealTensors,
    hints: NetworkHints,
) -> Result<(usize, Stem), RunError> {
    if let (Some(width), Some(stem)) = (hints.width, hints.stem) {
        return Ok((width, stem));
    }
    let expected = "[width, 3, 3, 3] or [width, 3, 7, 7]";
    let Some(RealTensor { shape, .. }) = backbone.get("conv1.weight") else {
        let reason = format!(
            "tensor conv1.weight is missing, expected shape {expected}; \
             found {} tensors of a backbone",
            backbone.len()
        );
        return Err(RunError::unfit(path, reason));
    };
    let (width, stem) = match shape[..] {
        [width, 3, 3, 3] if width > 0 => (width, Stem::Small),
        [width, 3, 7, 7] if width > 0 => (width, Stem::Imagenet),
        _ => {
            let reason = format!("tensor conv1.weight has shape {shape:?}, expected {expected}");
            return Err(RunError::unfit(path, reason));
        }
    };
    Ok((hints.width.unwrap_or(width), hints.stem.unwrap_or(stem)))
}

/// The family that the names of a backbone's tensors tell.
fn by_names(backbone: &RealTensors) -> Architecture {
    if !backbone.keys().any(|name| name.starts_with("layer4.")) {
        Architecture::ResnetSmall
    } else if backbone.contains_key("layer1.0.conv3.weight") {
        Architecture::Resnet50
    } else if backbone.contains_key("layer1.2.conv1.weight") {
        Architecture::Resnet34
    } else {
        Architecture::Resnet18
    }
}

/// The projector's widths: the rows of its linear layers, every third of a `Sequential`.
fn projector_widths(path: &Path, projector: &RealTensors) -> Result<Vec<usize>, RunError> {
    let mut widths = Vec::new();
    while let Some(tensor) = projector.get(&format!("{}.weight", 3 * widths.len())) {
        let [rows, columns] = tensor.shape[..] else {
            let name = 3 * widths.len();
            let reason = format!(
                "tensor projector.{name}.weight has shape {:?}, expected a matrix",
                tensor.shape
            );
            return Err(RunError::unfit(path, reason));
        };
        if rows == 0 || columns == 0 {
            let reason = format!("projector.{}.weight is empty", 3 * widths.len());
            return Err(RunError::unfit(path, reason));
        }
        widths.push(rows);
    }
    if widths.is_empty() {
        let reason = "tensor projector.0.weight is missing, expected the first linear layer of a \
                      projector beside the backbone";
        return Err(RunError::unfit(path, reason));
    }
    Ok(widths)
}

/// The values of `table`'s tensors, flat. Each must be there, and nothing else.
fn flat(
    path: &Path,
    (prefix, table): (&str, &ParameterTable),
    network: &str,
    tensors: &RealTensors,
) -> Result<Vec<f64>, RunError> {
    let mut values = Vec::with_capacity(table.len());
    for segment in table.segments() {
        let (name, expected) = (&segment.name, &segment.shape);
        let Some(tensor) = tensors.get(name) else {
            let reason = format!(
                "tensor {prefix}{name} is missing, expected shape {expected:?} for {network}"
            );
            return Err(RunError::unfit(path, reason));
        };
        if tensor.shape != *expected {
            let reason = format!(
                "tensor {prefix}{name} has shape {:?}, expected {expected:?} for {network}",
                tensor.shape
            );
            return Err(RunError::unfit(path, reason));
        }
        values.extend_from_slice(&tensor.values);
    }
    let is_known = |name: &&String| table.segments().iter().any(|known| known.name == **name);
    if let Some(name) = tensors.keys().find(|name| !is_known(name)) {
        let reason = format!(
            "tensor {prefix}{name} is unknown, expected the {} parameters of {network}",
            table.segments().len()
        );
        return Err(RunError::unfit(path, reason));
    }
    Ok(values)
}

impl State {
    /// Reads the backbone and the projector in `path`.
    ///
    /// # Errors
    /// The file cannot be read; a tensor is missing, unknown or of another shape.
    pub(super) fn read(path: &Path, hints: NetworkHints) -> Result<Self, RunError> {
        let tensors = read_real_tensors(path, |name| !name.ends_with(".num_batches_tracked"))?;
        let (backbone, mut projector) = divide(path, tensors)?;
        projector.retain(|name, _| !is_beside(name));
        let (width, stem) = first_stage(path, &backbone, hints)?;
        let network = NetworkSettings {
            architecture: hints.architecture.unwrap_or_else(|| by_names(&backbone)),
            width,
            stem,
            projector: projector_widths(path, &projector)?,
        };
        let config = RunConfig { network, ..Preset::Default.config() };
        let (networks, name) = (networks(&config, 1), architecture(&config));
        let values = |part, network: &crate::network::Network, tensors| {
            flat(path, (part, network.parameters()), &name, tensors)
        };
        let backbone = values("", &networks.backbone, &backbone)?;
        let projector = values("projector.", &networks.projector, &projector)?;
        Ok(Self { networks, name, backbone, projector })
    }

    /// Reads a direction in the backbone's parameters: one tensor for each, by name.
    ///
    /// # Errors
    /// As [`State::read`].
    pub(super) fn read_direction(&self, path: &Path) -> Result<Vec<f64>, RunError> {
        let tensors = read_real_tensors(path, |_| true)?
            .into_iter()
            .map(|(name, tensor)| {
                let own = BACKBONE.iter().find_map(|prefix| name.strip_prefix(prefix));
                (own.unwrap_or(&name).to_owned(), tensor)
            })
            .collect();
        flat(path, ("", self.networks.backbone.parameters()), &self.name, &tensors)
    }
}
