//! A proof that the device program cannot panic: the panic handler calls a function that does not
//! exist, so this image links only if nothing reaches the handler.
//!
//! It takes one step of each stage and ends with exit status 0 if the state is sound.
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

unsafe extern "C" {
    fn a_panic_is_reachable() -> !;
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    // SAFETY: the function does not exist, so no image that calls it is ever linked.
    unsafe { a_panic_is_reachable() }
}

#[cfg_attr(target_arch = "arm", cortex_m_rt::entry)]
#[cfg_attr(target_arch = "riscv32", riscv_rt::entry)]
fn main() -> ! {
    let sound = one_step::train().is_some_and(|device| device.hash().is_ok());
    exit(i32::from(!sound))
}
