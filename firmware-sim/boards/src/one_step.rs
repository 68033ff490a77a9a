//! The shortest training, for the images that measure the program or prove something about it.

use core::ptr::addr_of_mut;

use bissl_firmware::{Lengths, Program, Settings, Tick};

use crate::device::{Device, Kernels};
use crate::{frames, trap};

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

/// Trains to the end; `None` if the device stopped with a fault.
pub fn train() -> Option<&'static Program<Device>> {
    trap::guard();
    // SAFETY: nothing else has a reference to it: `train` is called once, and there is one thread.
    let device = unsafe { &mut *addr_of_mut!(DEVICE) };
    let frames = frames::flash().ok()?;
    device.begin(SETTINGS);
    loop {
        if let Tick::Idle = device.tick(&frames, &mut Kernels).ok()? {
            return Some(device);
        }
    }
}
