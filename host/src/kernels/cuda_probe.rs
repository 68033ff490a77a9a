//! Checks for a usable NVIDIA driver: without one Burn panics in a thread of its own.

use std::ffi::{CStr, c_char, c_int, c_void};
use std::path::Path;

use libloading::{Library, Symbol};

use super::device_info::{DeviceInfo, DeviceMemory};

#[cfg(windows)]
const DRIVER: &str = "nvcuda.dll";
#[cfg(not(windows))]
const DRIVER: &str = "libcuda.so.1";

/// Where CubeCL's run-time compiler looks for the toolkit's headers, in addition to `CUDA_PATH`.
const TOOLKITS: [&str; 2] = ["/usr/local/cuda", "/opt/cuda"];

/// Opens the driver, queries the first device, and looks for the headers that kernels are compiled
/// with.
///
/// # Errors
/// Says in one line what is missing.
pub(crate) fn probe_cuda() -> Result<DeviceInfo, String> {
    let driver = Driver::open()?;
    let count = driver.count()?;
    if count == 0 {
        return Err(format!("{DRIVER} reports no device"));
    }
    if cfg!(windows) || has_toolkit() {
        return driver.first();
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

/// NVIDIA's driver, initialised.
struct Driver(Library);

type Context = *mut c_void;

impl Driver {
    fn open() -> Result<Self, String> {
        // SAFETY: loading NVIDIA's driver library runs its initialisers, which have no
        // preconditions.
        let library = unsafe { Library::new(DRIVER) }
            .map_err(|error| format!("cannot open {DRIVER} ({error})"))?;
        let driver = Self(library);
        // SAFETY: the driver API declares `CUresult cuInit(unsigned int)`; 0 is its only flag, and
        // it may be called any number of times.
        let status = unsafe { driver.function::<unsafe extern "C" fn(u32) -> c_int>("cuInit")?(0) };
        succeeded("cuInit", status)?;
        Ok(driver)
    }

    /// # Safety
    /// `F` is the type that the driver API declares for `name`.
    unsafe fn function<F>(&self, name: &str) -> Result<Symbol<'_, F>, String> {
        // SAFETY: by the contract of this function.
        unsafe { self.0.get(name.as_bytes()) }
            .map_err(|_| format!("{DRIVER} is not NVIDIA's driver: it lacks {name}"))
    }

    fn count(&self) -> Result<c_int, String> {
        let mut count = 0;
        // SAFETY: `CUresult cuDeviceGetCount(int *)`; `count` outlives the call.
        let status = unsafe {
            let name = "cuDeviceGetCount";
            self.function::<unsafe extern "C" fn(*mut c_int) -> c_int>(name)?(&raw mut count)
        };
        succeeded("cuDeviceGetCount", status)?;
        Ok(count)
    }

    /// Name and memory of device 0, which Burn takes by default.
    fn first(&self) -> Result<DeviceInfo, String> {
        let mut name = [0 as c_char; 256];
        // SAFETY: `CUresult cuDeviceGetName(char *, int, CUdevice)` terminates what it writes with
        // a zero within the given length; device 0 exists.
        let status = unsafe {
            self.function::<unsafe extern "C" fn(*mut c_char, c_int, c_int) -> c_int>(
                "cuDeviceGetName",
            )?(name.as_mut_ptr(), name.len() as c_int - 1, 0)
        };
        succeeded("cuDeviceGetName", status)?;
        // SAFETY: the last element is zero at the latest.
        let name = unsafe { CStr::from_ptr(name.as_ptr()) }.to_string_lossy().into_owned();
        Ok(DeviceInfo { name, software: false, memory: Some(self.memory()?) })
    }

    fn memory(&self) -> Result<DeviceMemory, String> {
        let mut context: Context = std::ptr::null_mut();
        let (mut free, mut total) = (0usize, 0usize);
        // SAFETY: `CUresult cuDevicePrimaryCtxRetain(CUcontext *, CUdevice)`,
        // `cuCtxSetCurrent(CUcontext)`, `cuMemGetInfo_v2(size_t *, size_t *)` and
        // `cuDevicePrimaryCtxRelease_v2(CUdevice)`; all pointees outlive the calls, and the context
        // is current only between them.
        unsafe {
            let retain = self.function::<unsafe extern "C" fn(*mut Context, c_int) -> c_int>(
                "cuDevicePrimaryCtxRetain",
            )?;
            let make_current =
                self.function::<unsafe extern "C" fn(Context) -> c_int>("cuCtxSetCurrent")?;
            let info = self.function::<unsafe extern "C" fn(*mut usize, *mut usize) -> c_int>(
                "cuMemGetInfo_v2",
            )?;
            let release = self
                .function::<unsafe extern "C" fn(c_int) -> c_int>("cuDevicePrimaryCtxRelease_v2")?;
            succeeded("cuDevicePrimaryCtxRetain", retain(&raw mut context, 0))?;
            let found = succeeded("cuCtxSetCurrent", make_current(context))
                .and_then(|()| succeeded("cuMemGetInfo", info(&raw mut free, &raw mut total)));
            make_current(std::ptr::null_mut());
            release(0);
            found?;
        }
        Ok(DeviceMemory { free: free as u64, total: total as u64 })
    }
}

fn succeeded(call: &str, status: c_int) -> Result<(), String> {
    if status == 0 { Ok(()) } else { Err(format!("{call} failed with status {status}")) }
}
