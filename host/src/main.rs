//! The binary `bissl`.

use std::process::ExitCode;

// A training step allocates and frees hundreds of tensors of some megabytes. The system's allocator
// returns such blocks to the kernel, which has to clear every page of them again. It is counted for
// `bissl bench`.
#[global_allocator]
static ALLOCATOR: bissl::measure::CountingAllocator<mimalloc::MiMalloc> =
    bissl::measure::CountingAllocator(mimalloc::MiMalloc);

fn main() -> ExitCode {
    bissl::cli::main()
}
