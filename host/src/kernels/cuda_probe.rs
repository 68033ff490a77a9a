//! Whether there is a usable NVIDIA driver: Burn panics in a thread of its own where there is none.

use std::ffi::c_int;
use std::path::Path;

use libloading::{Library, Symbol};

#[cfg(windows)]
const DRIVER: &str = "nvcuda.dll";
#[cfg(not(windows))]
const DRIVER: &str = "libcuda.so.1";

/// Where CubeCL's run-time compiler looks for the toolkit's headers, besides `CUDA_PATH`.
const TOOLKITS: [&str; 2] = ["/usr/local/cuda", "/opt/cuda"];

/// Opens the driver, counts its devices, and looks for the headers that kernels are compiled with.
///
/// # Errors
/// What is missing, in one line.
pub fn probe_cuda() -> Result<(), String> {
    let count = device_count()?;
    if count == 0 {
        return Err(format!("{DRIVER} reports no device"));
    }
    if cfg!(windows) || has_toolkit() {
        return Ok(());
    }
    Err(format!(
        "{count} device(s), but no CUDA toolkit: expected its headers in $CUDA_PATH/include, {} \
         or beside /usr/bin/nvcc",
        TOOLKITS.map(|path| format!("{path}/include")).join(", ")
    ))
}

fn has_toolkit() -> bool {
    let from_environment = std::env::var_os("CUDA_PATH").is_some();
    from_environment
        || TOOLKITS.iter().any(|path| Path::new(path).join("include").is_dir())
        || Path::new("/usr/bin/nvcc").exists()
}

fn device_count() -> Result<c_int, String> {
    // SAFETY: loading NVIDIA's driver library runs its initialisers, which have no preconditions.
    let driver = unsafe { Library::new(DRIVER) }
        .map_err(|error| format!("cannot open {DRIVER} ({error})"))?;
    // SAFETY: the driver API declares `CUresult cuInit(unsigned int)` and
    // `CUresult cuDeviceGetCount(int *)`; `CUresult` is a C enumeration, passed as an int.
    let (init, count) = unsafe {
        let init: Result<Symbol<'_, unsafe extern "C" fn(u32) -> c_int>, _> =
            driver.get(b"cuInit\0");
        let count: Result<Symbol<'_, unsafe extern "C" fn(*mut c_int) -> c_int>, _> =
            driver.get(b"cuDeviceGetCount\0");
        (init, count)
    };
    let (Ok(init), Ok(count)) = (init, count) else {
        return Err(format!("{DRIVER} is not NVIDIA's driver: it lacks cuInit"));
    };
    // SAFETY: cuInit takes 0 as its only flag, and may be called any number of times.
    let status = unsafe { init(0) };
    if status != 0 {
        return Err(format!("cuInit failed with status {status}"));
    }
    let mut devices: c_int = 0;
    // SAFETY: the driver is initialised and `devices` outlives the call.
    let status = unsafe { count(&raw mut devices) };
    if status != 0 {
        return Err(format!("cuDeviceGetCount failed with status {status}"));
    }
    Ok(devices)
}
