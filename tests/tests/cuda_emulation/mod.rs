//! CUDA without a GPU: the sources that cubecl generates for NVIDIA's compiler are built by g++
//! against our own header and run on the CPU.
//!
//! What a kernel reads, writes and adds is the same as on a GPU. These tests do not cover NVIDIA's
//! compiler, its rounding of fast functions, the order of summation of tensor cores, or speed.

mod kernel;
mod runtime;
mod server;

pub(crate) use runtime::Emulated;
