//! CUDA without a GPU: the sources that cubecl generates for NVIDIA's compiler, built by g++
//! against a header of ours and run on the CPU.
//!
//! What a kernel reads, writes and adds is what a GPU would; what is not seen here is NVIDIA's
//! compiler, its rounding of fast functions, tensor cores' order of summation, and speed.

mod kernel;
mod runtime;
mod server;

pub(crate) use runtime::Emulated;
