//! The device program and nothing else: it trains, and its exit status says whether it finished.
//!
//! It is for measuring the size of the program: no state hash, no checkpoints, no text.
//! `tests/src/boards.rs` builds it with link-time optimisation and checks that it takes at most 32
//! KiB without frames and weights.
#![no_std]
#![no_main]

#[path = "../device.rs"]
mod device;
#[path = "../frames.rs"]
mod frames;
#[path = "../one_step.rs"]
mod one_step;
#[path = "../stack.rs"]
#[allow(dead_code)]
mod stack;
#[path = "../trap.rs"]
mod trap;

use semihosting::process::exit;

/// Never reached (`no_panic` proves it).
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    exit(101)
}

#[cfg_attr(target_arch = "arm", cortex_m_rt::entry)]
#[cfg_attr(target_arch = "riscv32", riscv_rt::entry)]
fn main() -> ! {
    exit(i32::from(one_step::train().is_none()))
}
