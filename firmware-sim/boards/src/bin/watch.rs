//! A smartwatch that is aligned to its wearer: an encoder in flash, windows of 16-bit samples, a
//! bilevel stage.
//!
//! It prints one line, `key=value` separated by blanks: the hash of all training state, the
//! held-out windows that are classified correctly by a head on the network as it came and after the
//! bilevel stage, static RAM and stack. The exit status is 0, or 1 with a message if the device
//! stopped with a fault.
#![no_std]
#![no_main]

#[path = "../stack.rs"]
mod stack;
#[path = "../trap.rs"]
mod trap;

use core::ptr::addr_of_mut;

use bissl_firmware::{
    Augmentation, Blocked, Configuration, Fault, FlashFrames, Image, ImageError, Lengths, Program,
    Settings, Stage, Tick, WatchDevice,
};
use semihosting::println;
use semihosting::process::exit;

mod windows {
    include!(concat!(env!("OUT_DIR"), "/watch.rs"));
}

use windows::{HELD_OUT, HELD_OUT_LABELS, LABELLED, LABELS, UNLABELLED};

#[repr(C, align(4))]
struct Aligned<const N: usize>([u8; N]);

const FILE: &[u8] = include_bytes!("../../../harness/data/watch-9.bin");
static IMAGE: Aligned<{ FILE.len() }> =
    Aligned(*include_bytes!("../../../harness/data/watch-9.bin"));

static mut DEVICE: Program<WatchDevice> = Program::new();
/// The values of a held-out window.
static mut FRAME: [f32; WatchDevice::MODEL.input.floats()] =
    [0.0; WatchDevice::MODEL.input.floats()];

/// The settings of `bissl-firmware-sim adapt wearer`.
const SETTINGS: Settings = {
    let lengths = Lengths {
        pretrain: 1000,
        warm_up: 20,
        alternations: 2,
        lower_steps: 10,
        upper_steps: 4,
        finetune: 20,
    };
    let views = Augmentation { gain: 0.3, gain_channels: 3, noise: 0.15, shift: [0, 12] };
    match Settings::new(1, lengths) {
        Ok(settings) => Settings { views, ..settings.pretrained() },
        Err(_) => panic!("lengths in range"),
    }
};

/// Why there is no result.
enum Stop {
    Image(ImageError),
    Fault(Fault),
}

#[cfg_attr(target_arch = "arm", cortex_m_rt::entry)]
#[cfg_attr(target_arch = "riscv32", riscv_rt::entry)]
fn main() -> ! {
    stack::paint();
    trap::guard();
    match train() {
        Ok((before, aligned, hash)) => {
            println!(
                "hash={hash:016x} before={before} aligned={aligned} held_out={} static={} stack={} \
                 stack_limit={}",
                HELD_OUT_LABELS.len(),
                stack::statics(),
                stack::used(),
                stack::limit()
            );
            exit(0)
        }
        Err(Stop::Image(error)) => {
            println!("flash image: {error}");
            exit(1)
        }
        Err(Stop::Fault(fault)) => {
            println!("device stopped: {fault}");
            exit(1)
        }
    }
}

/// Correctly classified windows before and after alignment, and the final hash.
fn train() -> Result<(u32, u32, u64), Stop> {
    let image = Image::read(&WatchDevice::MODEL, &IMAGE.0).map_err(Stop::Image)?;
    let scales = image.scales();
    let channels = usize::from(WatchDevice::MODEL.input.channels);
    let frames = FlashFrames {
        unlabelled: &UNLABELLED[..],
        labelled: &LABELLED[..],
        labels: &LABELS,
        floats: WatchDevice::MODEL.input.floats(),
        scales: scales.get(..channels).unwrap_or(&scales),
        weights: image.weights(),
    };
    // SAFETY: nothing else has a reference to them: `train` is called once, and there is one
    // thread.
    let (device, frame) = unsafe { (&mut *addr_of_mut!(DEVICE), &mut *addr_of_mut!(FRAME)) };
    device.begin(SETTINGS);
    let mut before = 0;
    loop {
        match device.tick(&frames, &mut Blocked).map_err(Stop::Fault)? {
            Tick::Ended(Stage::WarmUp) => before = correct(device, &frames, frame)?,
            Tick::Idle => break,
            _ => {}
        }
    }
    let aligned = correct(device, &frames, frame)?;
    Ok((before, aligned, device.hash().map_err(Stop::Fault)?))
}

/// Number of held-out windows that the device classifies correctly.
fn correct(
    device: &mut Program<WatchDevice>,
    frames: &FlashFrames<'_, i16>,
    frame: &mut [f32],
) -> Result<u32, Stop> {
    let mut correct = 0;
    for (numbers, label) in HELD_OUT.chunks_exact(frame.len()).zip(&HELD_OUT_LABELS) {
        frames.scale(numbers, frame);
        let class = device.classify(frames, &mut Blocked, frame).map_err(Stop::Fault)?;
        correct += u32::from(class == *label);
    }
    Ok(correct)
}

#[panic_handler]
fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
    println!("{info}");
    exit(101)
}
