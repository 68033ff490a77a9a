//! What a device keeps between processes: compiled kernels and measured choices, in the user's cache
//! folder.

use std::hash::{DefaultHasher, Hasher};
use std::path::PathBuf;

use anyhow::Context;
use cubecl::config::cache::CacheConfig;
use cubecl::config::{CubeClRuntimeConfig, RuntimeConfig};

use crate::config::BackendName;
use crate::device_failure::install_hook;
use crate::kernels::tuning::{Policy, choose_by};
use crate::kernels::{KERNEL_SOURCES, device_info};
use crate::progress::Verbosity;

/// Sets up the caches of a device backend, and says where kernels will have to be compiled. Nothing to do
/// for a CPU backend, or without a device.
///
/// # Errors
/// The cache folder cannot be made or written.
pub(super) fn prepare(backend: BackendName, verbosity: Verbosity) -> anyhow::Result<()> {
    let Ok(Some(device)) = device_info(backend) else {
        return Ok(());
    };
    install_hook();
    let Some(folder) = folder(&device.name) else {
        return Ok(());
    };
    let first = !folder.is_dir();
    std::fs::create_dir_all(&folder)
        .with_context(|| format!("cannot make the cache folder {}", folder.display()))?;
    let mut settings = CubeClRuntimeConfig::default();
    settings.compilation.cache = Some(CacheConfig::File(folder.clone()));
    CubeClRuntimeConfig::set(settings);
    // A software device is for tests: there the clock says nothing, and measuring takes minutes.
    if !device.software {
        let file = folder.join("choices.jsonl");
        choose_by(Policy::Measure(file.clone()))
            .with_context(|| format!("cannot use {}", file.display()))?;
    }
    if verbosity == Verbosity::Progress {
        eprintln!("{backend}: {}", device.name);
        // The drivers behind `wgpu` keep compiled shaders themselves.
        if first && backend == BackendName::Cuda {
            let folder = folder.display();
            eprintln!("kernels are compiled at their first use, and kept in {folder}");
        }
    }
    Ok(())
}

/// Where a device's kernels are kept: apart for every version of their sources, since CubeCL knows a
/// kernel by its name and settings alone.
fn folder(device: &str) -> Option<PathBuf> {
    let mut hasher = DefaultHasher::new();
    for source in KERNEL_SOURCES {
        hasher.write(source.as_bytes());
    }
    let name: String =
        device.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    let version = env!("CARGO_PKG_VERSION");
    let kernels = format!("kernels-{version}-{:016x}", hasher.finish());
    Some(dirs::cache_dir()?.join("bissl").join(kernels).join(name))
}
