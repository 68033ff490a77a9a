//! The binary `bissl`.

use std::process::ExitCode;

// A training step allocates and frees hundreds of tensors of some megabytes. The system's allocator
// returns such blocks to the kernel, which has to clear every page of them again. It is counted for
// `bissl bench`.
#[global_allocator]
static ALLOCATOR: bissl::kernels::CountingAllocator<mimalloc::MiMalloc> =
    bissl::kernels::CountingAllocator(mimalloc::MiMalloc);

/// Milliseconds after which freed memory goes back to the system, unless `MIMALLOC_PURGE_DELAY`
/// says otherwise; −1: never. A step of a large network frees a block seconds before the next one
/// needs it again, and a linearisation its blocks a whole alternation before; given back, they come
/// as pages to be cleared.
const PURGE_DELAY_MS: std::ffi::c_long = -1;
/// `mi_option_purge_delay` of `mimalloc.h`, for which the bindings have no name.
const PURGE_DELAY: libmimalloc_sys::mi_option_t = 15;

fn main() -> ExitCode {
    // SAFETY: an option's number and a plain number; it may be called at any time.
    unsafe { libmimalloc_sys::mi_option_set_default(PURGE_DELAY, PURGE_DELAY_MS) };
    bissl::cli::main()
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_purge_delay_is_the_option_that_is_set() {
        // Of the options around it none has this default, so an upgrade that moves it is found.
        // SAFETY: an option's number.
        let default = unsafe { libmimalloc_sys::mi_option_get(super::PURGE_DELAY) };
        let from_environment = std::env::var("MIMALLOC_PURGE_DELAY").is_ok();
        assert!(default == 1000 || from_environment, "{default}");
    }
}
