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

/// Never reached (`no_panic` proves it).
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    exit(101)
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
            Ok(Tick::Idle) => return 0,
            Ok(_) => {}
            Err(_) => return 1,
        }
    }
}
