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
#[path = "../stack.rs"]
#[allow(dead_code)]
mod stack;
#[path = "../trap.rs"]
mod trap;

use core::ptr::addr_of_mut;

use bissl_firmware::{Lengths, Program, Settings, Tick};
use semihosting::process::exit;

use crate::device::{Device, Kernels};

static mut DEVICE: Program<Device> = Program::new();

/// One step of each stage. The settings are checked at compile time, so the image holds no code
/// that checks.
const SETTINGS: Settings = {
    let lengths = Lengths {
        pretrain: 1,
        warm_up: 1,
        alternations: 1,
        lower_steps: 1,
        upper_steps: 1,
        finetune: 1,
    };
    match Settings::new(6, lengths) {
        Ok(settings) if cfg!(small) => settings.from_flash(),
        Ok(settings) => settings,
        Err(_) => panic!("lengths in range"),
    }
};

unsafe extern "C" {
    fn a_panic_is_reachable() -> !;
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    // SAFETY: the function does not exist, so no image that calls it is ever linked.
    unsafe { a_panic_is_reachable() }
}

#[cfg(target_arch = "arm")]
#[cortex_m_rt::entry]
fn main() -> ! {
    exit(run())
}

#[cfg(target_arch = "riscv32")]
#[riscv_rt::entry]
fn main() -> ! {
    exit(run())
}

fn run() -> i32 {
    trap::guard();
    // SAFETY: nothing else has a reference to it: `run` is called once, and there is one thread.
    let device = unsafe { &mut *addr_of_mut!(DEVICE) };
    let Ok(frames) = frames::flash() else { return 1 };
    device.begin(SETTINGS);
    loop {
        match device.tick(&frames, &mut Kernels) {
            Ok(Tick::Idle) => return i32::from(device.hash().is_err()),
            Ok(_) => {}
            Err(_) => return 1,
        }
    }
}
