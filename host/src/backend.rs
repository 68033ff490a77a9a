//! From the backend's name to its type: the one place that knows which backends were compiled in.

use thiserror::Error;

#[cfg(any(feature = "cuda", feature = "wgpu"))]
use crate::device_failure::caught;
use crate::kernels::{self, BackendName, DeviceInfo, Kernels, backends};

/// Work that is generic over the backend.
pub trait Work {
    /// What it gives.
    type Output;

    /// Does it on a device of the backend `B`.
    fn run<B: Kernels>(self, device: B::Device) -> Self::Output;
}

/// Why a backend cannot be used.
#[derive(Debug, Error)]
pub enum BackendError {
    /// The binary was built without it.
    #[error(
        "this binary was built without the backend `{name}`; it has {available}; \
         build with `--features {name}`"
    )]
    NotBuilt {
        /// What was asked for.
        name: BackendName,
        /// What there is.
        available: String,
    },
    /// No usable device.
    #[error("backend `{name}`: no usable GPU: {reason}")]
    NoDevice {
        /// What was asked for.
        name: BackendName,
        /// What is missing.
        reason: String,
    },
    /// The device or its libraries failed.
    #[error("backend `{name}`: {reason}")]
    Failed {
        /// Which.
        name: BackendName,
        /// What it said, and the cure.
        reason: String,
    },
}

/// The backends of this binary.
pub fn available() -> Vec<BackendName> {
    macro_rules! built {
        ($($(#[$meta:meta])* $name:ident, $text:literal, $type:ident, $bytes:literal, $place:ident;)+) => {
            [$((cfg!(feature = $text), BackendName::$name)),+]
        };
    }
    backends!(built).into_iter().filter(|(built, _)| *built).map(|(_, name)| name).collect()
}

fn not_built(name: BackendName) -> BackendError {
    let available: Vec<_> = available().into_iter().map(BackendName::name).collect();
    BackendError::NotBuilt { name, available: available.join(", ") }
}

/// Whether the named backend can be used here, told before anything is opened or computed.
///
/// # Errors
/// The backend was not compiled in, or has no device.
pub fn require(name: BackendName) -> Result<(), BackendError> {
    if available().contains(&name) { device(name).map(drop) } else { Err(not_built(name)) }
}

/// The device that a backend computes on; `None` for a CPU backend, or one that is not compiled in.
///
/// # Errors
/// There is no usable device: what is missing, and the cure.
pub fn device(name: BackendName) -> Result<Option<DeviceInfo>, BackendError> {
    let found: Result<_, String> = match name {
        #[cfg(feature = "cuda")]
        BackendName::Cuda => crate::kernels::probe_cuda().map(Some),
        #[cfg(feature = "wgpu")]
        BackendName::Wgpu => crate::kernels::probe_wgpu().map(Some),
        _ => Ok(None),
    };
    found.map_err(|reason| BackendError::NoDevice { name, reason })
}

macro_rules! on {
    (host) => {
        on_host
    };
    (device) => {
        on_device
    };
}

/// Runs `work` on the named backend.
///
/// # Errors
/// The backend was not compiled in, or has no device, or the device failed.
pub fn dispatch<T: Work>(name: BackendName, work: T) -> Result<T::Output, BackendError> {
    require(name)?;
    macro_rules! run {
        ($($(#[$meta:meta])* $name:ident, $text:literal, $type:ident, $bytes:literal, $place:ident;)+) => {
            match name {
                $(
                    #[cfg(feature = $text)]
                    BackendName::$name => on!($place)(name, || work.run::<kernels::$type>(Default::default())),
                )+
                #[allow(unreachable_patterns, reason = "a binary may have every backend")]
                _ => Err(not_built(name)),
            }
        };
    }
    backends!(run)
}

/// Runs on this machine's processor.
#[cfg(any(feature = "flex", feature = "candle", feature = "ndarray"))]
#[expect(clippy::unnecessary_wraps, reason = "as on a device")]
fn on_host<R>(_: BackendName, work: impl FnOnce() -> R) -> Result<R, BackendError> {
    Ok(work())
}

/// Runs on a device, whose failure is a panic of its libraries.
#[cfg(any(feature = "cuda", feature = "wgpu"))]
fn on_device<R>(name: BackendName, work: impl FnOnce() -> R) -> Result<R, BackendError> {
    caught(work).map_err(|reason| BackendError::Failed { name, reason })
}
