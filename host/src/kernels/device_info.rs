//! What is known about a device before anything runs on it.

use super::BackendName;

/// A device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceInfo {
    /// The name that its driver reports.
    pub name: String,
    /// Whether it is emulated in software on the processor.
    pub software: bool,
    /// Its memory, if the driver reports it.
    pub memory: Option<DeviceMemory>,
}

/// Memory of a device in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeviceMemory {
    /// Free memory.
    pub free: u64,
    /// Total memory.
    pub total: u64,
}

/// The device that a backend computes on; `None` for a CPU backend, or one that is not compiled in.
///
/// # Errors
/// There is no usable device; the error says what is missing, and the cure.
pub fn device_info(name: BackendName) -> Result<Option<DeviceInfo>, String> {
    match name {
        #[cfg(feature = "cuda")]
        BackendName::Cuda => super::probe_cuda().map(Some),
        #[cfg(feature = "wgpu")]
        BackendName::Wgpu => super::probe_wgpu().map(Some),
        _ => Ok(None),
    }
}
