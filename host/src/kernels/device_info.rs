//! What is known of a device before anything runs on it.

use super::BackendName;

/// A device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceInfo {
    /// As its driver calls it.
    pub name: String,
    /// Whether it is a program on the processor.
    pub software: bool,
    /// Its memory, where the driver tells.
    pub memory: Option<DeviceMemory>,
}

/// Memory of a device, bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeviceMemory {
    /// Not in use by anybody.
    pub free: u64,
    /// All of it.
    pub total: u64,
}

/// The device that a backend computes on; `None` for a CPU backend, or one that is not compiled in.
///
/// # Errors
/// There is no usable device: what is missing, and the cure.
pub fn device_info(name: BackendName) -> Result<Option<DeviceInfo>, String> {
    match name {
        #[cfg(feature = "cuda")]
        BackendName::Cuda => super::probe_cuda().map(Some),
        #[cfg(feature = "wgpu")]
        BackendName::Wgpu => super::probe_wgpu().map(Some),
        _ => Ok(None),
    }
}
