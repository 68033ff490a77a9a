//! One kernel: its CUDA source from cubecl is compiled by g++ against our header, and run.

use std::collections::HashMap;
use std::ffi::{CStr, c_char, c_void};
use std::fmt::Write;
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;

use cubecl_core::prelude::ExecutionMode;
use cubecl_core::server::MetadataBindingInfo;
use cubecl_runtime::compiler::CubeTask;
use libloading::Library;

use super::runtime::{CudaCompiler, options};

/// `const char *entry(void **arguments, const unsigned *grid, const unsigned *block, size_t
/// shared)`.
type Entry =
    unsafe extern "C" fn(*const *const c_void, *const u32, *const u32, usize) -> *const c_char;

/// Bytes on both sides of a buffer; no kernel may write them, and they read as NaN.
const GUARD: usize = 4096;
const GUARDED: u8 = 0xff;

const HEADERS: [&str; 3] = [
    include_str!("include/cuda_runtime.h"),
    include_str!("include/cuda_bf16.h"),
    include_str!("include/mma.h"),
];
/// Like NVRTC, the compiler fuses products and sums.
const FLAGS: [&str; 7] =
    ["-std=c++20", "-O1", "-march=x86-64-v3", "-ffp-contract=fast", "-w", "-fPIC", "-shared"];

pub(crate) struct Kernel {
    name: String,
    object: Library,
    cube: [u32; 3],
    shared: usize,
}

fn folder() -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("cuda-emulation");
    fs::create_dir_all(&folder).expect("a folder for compiled kernels");
    folder
}

impl Kernel {
    pub(crate) fn compile(task: &dyn CubeTask<CudaCompiler>, mode: ExecutionMode) -> Self {
        let compiled = task
            .compile(&mut CudaCompiler::default(), &options(), mode, task.address_type())
            .unwrap_or_else(|error| panic!("{}: {error}", task.name()));
        let name = compiled.entrypoint_name;
        let mut source = compiled.source;
        let barriers = source.contains("__sync");
        write!(source, "\nEMULATE(emulated_launch, {name}, {barriers})\n").expect("a String grows");
        let cube = compiled.cube_dim;
        let shared = compiled.repr.expect("a representation").shared_memory_size();
        Self { object: build(&name, &source), name, cube: [cube.x, cube.y, cube.z], shared }
    }

    /// Runs `grid` cubes over guarded copies of the buffers, and copies them back.
    pub(crate) fn run(&self, buffers: &[&mut [u8]], info: &MetadataBindingInfo, grid: [u32; 3]) {
        let mut copies: HashMap<*const u8, Guarded> = HashMap::new();
        for buffer in buffers {
            let copy = copies.entry(buffer.as_ptr()).or_insert_with(|| Guarded::new(buffer));
            assert_eq!(copy.len, buffer.len(), "{}: one buffer of two lengths", self.name);
        }
        let dynamic = &info.data[info.dynamic_metadata_offset.min(info.data.len())..];
        let mut places: Vec<*const u8> =
            buffers.iter().map(|buffer| copies[&buffer.as_ptr()].start()).collect();
        if !dynamic.is_empty() {
            places.push(dynamic.as_ptr().cast());
        }
        let mut arguments: Vec<*const c_void> =
            places.iter().map(|place| std::ptr::from_ref(place).cast()).collect();
        arguments.push(info.data.as_ptr().cast());
        // SAFETY: the header declares this signature for the function, which takes a pointer to
        // every parameter of the kernel, in the order in which cubecl-cuda passes them.
        let failure = unsafe {
            let entry = self.object.get::<Entry>(b"emulated_launch").expect("the entry");
            entry(arguments.as_ptr(), grid.as_ptr(), self.cube.as_ptr(), self.shared)
        };
        if !failure.is_null() {
            // SAFETY: it is a string literal of the library.
            let failure = unsafe { CStr::from_ptr(failure) };
            panic!("{}: {}", self.name, failure.to_string_lossy());
        }
        for (index, buffer) in buffers.iter().enumerate() {
            let copy = &copies[&buffer.as_ptr()];
            assert!(copy.is_intact(), "{} wrote past its buffer {index}", self.name);
            // SAFETY: the server lets nobody else use the buffer while a kernel runs.
            unsafe { buffer.as_ptr().cast_mut().copy_from(copy.start(), copy.len) }
        }
    }
}

/// A copy of a buffer between guards, with the alignment of CUDA's memory.
struct Guarded {
    bytes: Vec<u8>,
    before: usize,
    len: usize,
}

impl Guarded {
    fn new(buffer: &[u8]) -> Self {
        let mut bytes = vec![GUARDED; buffer.len() + 3 * GUARD];
        let before = GUARD + bytes[GUARD..].as_ptr().align_offset(GUARD);
        bytes[before..before + buffer.len()].copy_from_slice(buffer);
        Self { bytes, before, len: buffer.len() }
    }

    fn start(&self) -> *const u8 {
        self.bytes[self.before..].as_ptr()
    }

    fn is_intact(&self) -> bool {
        let (before, rest) = self.bytes.split_at(self.before);
        before.iter().chain(&rest[self.len..]).all(|byte| *byte == GUARDED)
    }
}

/// The library of a source, taken from the cache folder if it was built before.
fn build(name: &str, source: &str) -> Library {
    // cubecl declares structures in an order that differs from run to run.
    let mut lines: Vec<&str> = source.lines().collect();
    lines.sort_unstable();
    let mut hasher = DefaultHasher::new();
    (lines, HEADERS, FLAGS).hash(&mut hasher);
    let stem = folder().join(format!("{name:.60}-{:016x}", hasher.finish()));
    let (source_file, library) = (stem.with_extension("cpp"), stem.with_extension("so"));
    if !library.exists() {
        fs::write(&source_file, source).expect("a source is written");
        let unfinished = stem.with_extension(format!("{}.so", std::process::id()));
        let output = Command::new("g++")
            .args(FLAGS)
            .arg("-I")
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cuda_emulation/include"))
            .arg(&source_file)
            .arg("-o")
            .arg(&unfinished)
            .output()
            .expect("g++ runs");
        assert!(
            output.status.success(),
            "{}:\n{}",
            source_file.display(),
            String::from_utf8_lossy(&output.stderr)
        );
        fs::rename(&unfinished, &library).expect("a library is kept");
    }
    // SAFETY: the only initialisers of the library are those of empty vectors.
    unsafe { Library::new(&library) }.expect("a library that was just built")
}
