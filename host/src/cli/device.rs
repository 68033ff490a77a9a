//! What a device keeps between processes: compiled kernels and measured choices, in the user's
//! cache folder.

use std::hash::{DefaultHasher, Hasher};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::error::Place;
use cubecl::config::cache::CacheConfig;
use cubecl::config::{CubeClRuntimeConfig, RuntimeConfig};

use crate::device_failure::install_hook;
use crate::kernels::BackendName;
use crate::kernels::KERNEL_SOURCES;
use crate::kernels::tuning::{Policy, choose_by};
use crate::progress::Verbosity;
use crate::text::shown;

/// Sets up the caches of a device backend, and says where kernels will have to be compiled. Nothing
/// to do for a CPU backend, or without a device.
///
/// # Errors
/// The cache folder cannot be made or written.
pub(super) fn prepare(backend: BackendName, verbosity: Verbosity) -> crate::error::Result<()> {
    let Ok(Some(device)) = crate::backend::device(backend) else {
        return Ok(());
    };
    install_hook();
    let Some(folder) = folder(&device.name) else {
        return Ok(());
    };
    let first = !folder.is_dir();
    std::fs::create_dir_all(&folder)
        .at_with(|| format!("cannot make the cache folder {}", shown(&folder)))?;
    let mut settings = CubeClRuntimeConfig::default();
    settings.compilation.cache = Some(CacheConfig::File(folder.clone()));
    CubeClRuntimeConfig::set(settings);
    // A software device is for tests: there the clock says nothing, and measuring takes minutes.
    if !device.software {
        let file = folder.join("choices.jsonl");
        choose_by(Policy::Measure(file.clone()))
            .at_with(|| format!("cannot use {}", shown(&file)))?;
    }
    if verbosity == Verbosity::Progress {
        eprintln!("{backend}: {}", device.name);
        // The drivers behind `wgpu` keep compiled shaders themselves.
        if first && backend == BackendName::Cuda {
            let shown = shown(&folder);
            eprintln!("kernels are compiled at their first use, and kept in {shown}");
            std::thread::spawn(move || tell_of_compilation(&folder));
        }
    }
    Ok(())
}

/// How often is looked for new kernels.
const LOOK: Duration = Duration::from_secs(2);

/// Says how many kernels have been compiled, whenever there are more; until the process ends.
fn tell_of_compilation(folder: &Path) {
    let mut told = 0;
    loop {
        std::thread::sleep(LOOK);
        let compiled = entries(folder);
        if compiled > told {
            eprintln!("{compiled} kernels compiled");
            told = compiled;
        }
    }
}

/// Entries of CubeCL's cache files below a folder, a line each; our own choices are none.
fn entries(folder: &Path) -> usize {
    let Ok(found) = std::fs::read_dir(folder) else { return 0 };
    let paths = found.filter_map(|entry| Some(entry.ok()?.path()));
    paths
        .map(|path| match path.extension().is_some_and(|extension| extension == "log") {
            _ if path.is_dir() => entries(&path),
            true => std::fs::read(&path)
                .map_or(0, |bytes| bytes.iter().filter(|byte| **byte == b'\n').count()),
            false => 0,
        })
        .sum()
}

/// Where a device's kernels are kept: apart for every version of their sources, since CubeCL knows
/// a kernel by its name and settings alone.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_of_cache_files_are_counted_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let inner = folder.path().join("cuda").join("0.10.0");
        std::fs::create_dir_all(&inner).unwrap();
        std::fs::write(inner.join("ptx.json.log"), "{}\n{}\n{}\n").unwrap();
        std::fs::write(folder.path().join("choices.jsonl"), "{}\n").unwrap();
        assert_eq!(entries(folder.path()), 3);
        assert_eq!(entries(&folder.path().join("missing")), 0);
    }
}
