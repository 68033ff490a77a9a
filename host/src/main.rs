//! The binary `bissl`.

use std::process::ExitCode;

// A training step allocates and frees hundreds of tensors of some megabytes. The system's allocator
// returns such blocks to the kernel, which has to clear every page of them again.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    bissl::cli::main()
}
