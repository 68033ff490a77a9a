//! Which network a set of tensors with torchvision's names is of.

use crate::network::{Architecture, Stem};

/// What is said about a network beside its file; `None`: its tensors tell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NetworkHints {
    /// Stages and blocks.
    pub architecture: Option<Architecture>,
    /// Channels of the first stage.
    pub width: Option<usize>,
    /// Kernel and stride of the first convolution. Shapes do not tell a stride: a 3×3 kernel is
    /// taken for [`Stem::Small`].
    pub stem: Option<Stem>,
}

/// A backbone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Recognized {
    pub(crate) architecture: Architecture,
    pub(crate) width: usize,
    pub(crate) stem: Stem,
}

/// Whether a tensor of a backbone's file is no parameter of a backbone: running statistics and
/// their counters, and a classifier's layer.
pub(crate) fn is_no_parameter(name: &str) -> bool {
    let statistics = [".running_mean", ".running_var", ".num_batches_tracked"];
    statistics.iter().any(|end| name.ends_with(end)) || name.starts_with("fc.")
}

/// The backbone that a hint or the tensors tell; `shape_of` gives the shape of the tensor of that
/// name.
///
/// # Errors
/// The first convolution is missing or has another shape than that of a backbone.
pub(crate) fn recognize<'s>(
    shape_of: impl Fn(&str) -> Option<&'s [usize]>,
    hints: NetworkHints,
) -> Result<Recognized, String> {
    let architecture =
        hints.architecture.unwrap_or_else(|| by_names(|name| shape_of(name).is_some()));
    if let (Some(width), Some(stem)) = (hints.width, hints.stem) {
        return Ok(Recognized { architecture, width, stem });
    }
    let expected = "[width, 3, 3, 3] or [width, 3, 7, 7]";
    let (width, stem) = match shape_of("conv1.weight") {
        Some(&[width, 3, 3, 3]) if width > 0 => (width, Stem::Small),
        Some(&[width, 3, 7, 7]) if width > 0 => (width, Stem::ImageNet),
        Some(shape) => {
            return Err(format!("tensor conv1.weight has shape {shape:?}, expected {expected}"));
        }
        None => return Err(format!("tensor conv1.weight is missing, expected shape {expected}")),
    };
    let (width, stem) = (hints.width.unwrap_or(width), hints.stem.unwrap_or(stem));
    Ok(Recognized { architecture, width, stem })
}

/// The family that the names of a backbone's tensors tell.
fn by_names(has: impl Fn(&str) -> bool) -> Architecture {
    if !has("layer4.0.conv1.weight") {
        Architecture::ResNetSmall
    } else if has("layer1.0.conv3.weight") {
        Architecture::ResNet50
    } else if has("layer1.2.conv1.weight") {
        Architecture::ResNet34
    } else {
        Architecture::ResNet18
    }
}
