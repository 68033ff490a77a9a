//! From the backend's name to its type: the one place that knows which backends were compiled in.

use thiserror::Error;

#[cfg(any(feature = "cuda", feature = "wgpu"))]
use crate::device_failure::caught;
use crate::kernels::{BackendName, DeviceInfo, Kernels, device_info};

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
    let all = [
        (cfg!(feature = "flex"), BackendName::Flex),
        (cfg!(feature = "candle"), BackendName::Candle),
        (cfg!(feature = "cuda"), BackendName::Cuda),
        (cfg!(feature = "wgpu"), BackendName::Wgpu),
        (cfg!(feature = "ndarray"), BackendName::Ndarray),
    ];
    all.into_iter().filter(|(built, _)| *built).map(|(_, name)| name).collect()
}

/// Whether the named backend can be used here, told before anything is opened or computed.
///
/// # Errors
/// The backend was not compiled in, or has no device.
pub fn require(name: BackendName) -> Result<(), BackendError> {
    let available = available();
    if !available.contains(&name) {
        let available: Vec<_> = available.into_iter().map(BackendName::name).collect();
        return Err(BackendError::NotBuilt { name, available: available.join(", ") });
    }
    device(name).map(drop)
}

/// The device that a backend of this binary computes on; `None` for a CPU backend.
///
/// # Errors
/// It has no usable device.
pub fn device(name: BackendName) -> Result<Option<DeviceInfo>, BackendError> {
    device_info(name).map_err(|reason| BackendError::NoDevice { name, reason })
}

/// Runs `task` on the named backend.
///
/// # Errors
/// The backend was not compiled in, or has no device, or the device failed.
pub fn dispatch<T: Work>(name: BackendName, work: T) -> Result<T::Output, BackendError> {
    require(name)?;
    #[cfg(any(feature = "cuda", feature = "wgpu"))]
    let failed = |reason| BackendError::Failed { name, reason };
    match name {
        #[cfg(feature = "flex")]
        BackendName::Flex => Ok(work.run::<crate::kernels::Flex>(Default::default())),
        #[cfg(feature = "candle")]
        BackendName::Candle => Ok(work.run::<crate::kernels::Candle>(Default::default())),
        #[cfg(feature = "ndarray")]
        BackendName::Ndarray => Ok(work.run::<crate::kernels::NdArray>(Default::default())),
        #[cfg(feature = "cuda")]
        BackendName::Cuda => {
            caught(|| work.run::<crate::kernels::Cuda>(Default::default())).map_err(failed)
        }
        #[cfg(feature = "wgpu")]
        BackendName::Wgpu => {
            caught(|| work.run::<crate::kernels::Wgpu>(Default::default())).map_err(failed)
        }
        #[allow(unreachable_patterns, reason = "a binary with every backend leaves no other name")]
        _ => unreachable!("`require` has refused backends that are not compiled in"),
    }
}
