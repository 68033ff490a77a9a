//! Checks for an adapter for the backend `wgpu`: without one CubeCL panics.

use cubecl::wgpu::{AutoGraphicsApi, GraphicsApi};

use super::device_info::DeviceInfo;

/// Where to get a driver, in one line.
const CURE: &str = "install your GPU's driver with Vulkan (on Debian and Ubuntu `apt-get install \
                    mesa-vulkan-drivers libvulkan1`, which has a software device too)";

/// The adapter that CubeCL takes by default: the fastest one for the graphics interface that it
/// uses on this system. The size of its memory is not known.
///
/// # Errors
/// Says in one line what is missing, and the cure.
pub(crate) fn probe_wgpu() -> Result<DeviceInfo, String> {
    let backend = AutoGraphicsApi::backend();
    let instance = wgpu::Instance::new(wgpu::InstanceDescriptor {
        backends: backend.into(),
        ..wgpu::InstanceDescriptor::new_without_display_handle()
    });
    let fastest = wgpu::RequestAdapterOptions {
        power_preference: wgpu::PowerPreference::HighPerformance,
        ..wgpu::RequestAdapterOptions::default()
    };
    let adapter = cubecl::future::block_on(instance.request_adapter(&fastest))
        .map_err(|_| format!("no adapter for {backend:?}: {CURE}"))?;
    let info = adapter.get_info();
    let software = info.device_type == wgpu::DeviceType::Cpu;
    Ok(DeviceInfo { name: info.name, software, memory: None })
}
