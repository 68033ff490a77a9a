//! The device program on a board: trains for a few steps and prints one line about it.
//!
//! The line is `key=value` separated by blanks: the hash of all training state, the bytes of static
//! RAM, the most stack in use, and the instructions of a lower step, of a product and of an
//! alternation (means over the bilevel stage). The exit status is 0, or 1 with a message if the
//! device stopped with a fault, or 102 if the processor did (`trap`). With the feature `log`, defmt
//! frames go to standard output and the line goes to standard error.
#![no_std]
#![no_main]

mod counter;
mod device;
mod frames;
#[cfg(feature = "log")]
mod log;
#[cfg(not(feature = "log"))]
#[path = "silent.rs"]
mod log;
mod stack;
#[cfg(feature = "log")]
mod transport;
mod trap;

use core::ptr::addr_of_mut;

use bissl_core::{Event, Request};
use bissl_firmware::{Lengths, Program, Settings, Stage, Tick};
#[cfg(not(feature = "log"))]
use semihosting::println;
use semihosting::process::exit;

use crate::counter::{Counter, LOOP_INSTRUCTIONS};
use crate::device::{Device, Kernels};
#[cfg(feature = "log")]
use crate::transport::println;

/// The whole training state; all zeros at rest, so it takes no flash.
static mut DEVICE: Program<Device> = Program::new();

/// Long enough for every stage and for two alternations.
const LENGTHS: Lengths = Lengths {
    pretrain: 10,
    warm_up: 10,
    alternations: 2,
    lower_steps: 10,
    upper_steps: 4,
    finetune: 10,
};
/// The settings are checked at compile time.
const SETTINGS: Settings = match Settings::new(6, LENGTHS) {
    Ok(settings) if cfg!(small) => settings.from_flash(),
    Ok(settings) => settings,
    Err(_) => panic!("lengths in range"),
};

/// Instructions of one kind of work.
#[derive(Default)]
struct Work {
    count: u32,
    ticks: u64,
}

impl Work {
    fn add(&mut self, ticks: u32) {
        self.count += 1;
        self.ticks += u64::from(ticks);
    }

    /// Mean instructions of one piece of work.
    fn mean(&self, counter: &Counter) -> u64 {
        counter.instructions(self.ticks) / u64::from(self.count.max(1))
    }
}

/// The work of the bilevel stage.
#[derive(Default)]
struct AlignWork {
    lower_step: Work,
    product: Work,
    alternation: Work,
    running: bool,
    since_step: u32,
    since_alternation: u32,
}

impl AlignWork {
    /// Counts a tick of the device that took `ticks` ticks of the counter.
    fn take(&mut self, tick: &Tick, ticks: u32) {
        self.since_step += ticks;
        self.since_alternation += ticks;
        match tick {
            Tick::Begun(stage) => {
                self.running = *stage == Stage::Align;
                (self.since_step, self.since_alternation) = (0, 0);
            }
            Tick::Performed(exchange) => {
                if let Request::Product { .. } = exchange.request {
                    self.product.add(ticks);
                }
            }
            Tick::Event(Event::Step(_)) if self.running => {
                self.lower_step.add(self.since_step);
                self.since_step = 0;
            }
            Tick::Event(Event::UpperStep(_)) => self.since_step = 0,
            Tick::Event(Event::Alternation { .. }) => {
                self.alternation.add(self.since_alternation);
                (self.since_step, self.since_alternation) = (0, 0);
            }
            _ => {}
        }
    }
}

#[cfg_attr(target_arch = "arm", cortex_m_rt::entry)]
#[cfg_attr(target_arch = "riscv32", riscv_rt::entry)]
fn main() -> ! {
    trap::guard();
    stack::paint();
    // SAFETY: nothing else has a reference to it: `main` is called once, and there is one thread.
    let device = unsafe { &mut *addr_of_mut!(DEVICE) };
    let frames = frames::flash().unwrap_or_else(|error| {
        println!("flash image: {error}");
        exit(1)
    });
    device.begin(SETTINGS);
    let mut counter = Counter::start();
    let mut work = AlignWork::default();
    loop {
        let tick = device.tick(&frames, &mut Kernels);
        let ticks = counter.lap();
        match tick {
            Ok(Tick::Idle) => break,
            Ok(tick) => {
                work.take(&tick, ticks);
                log::tick(device.ticks(), &tick);
            }
            Err(fault) => {
                log::stopped(device.ticks(), &fault);
                println!("device stopped at tick {}: {fault}", device.ticks());
                exit(1)
            }
        }
    }
    let used = stack::used();
    match device.hash() {
        Ok(hash) => {
            log::finished(device.ticks(), hash);
            println!(
                "hash={hash:016x} ticks={} static={} stack={used} stack_limit={} lower={} product={} \
                 alternation={} unit={}/{}",
                device.ticks(),
                stack::statics(),
                stack::limit(),
                work.lower_step.mean(&counter),
                work.product.mean(&counter),
                work.alternation.mean(&counter),
                LOOP_INSTRUCTIONS,
                counter.unit()
            );
            exit(0)
        }
        Err(fault) => {
            println!("no hash: {fault}");
            exit(1)
        }
    }
}

#[panic_handler]
fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
    println!("{info}");
    exit(101)
}
