//! What is known about a device before anything runs on it.

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
