//! Records of the training as defmt frames. A board and the simulated device write the same ones:
//! the latter compiles this file too (`harness/src/bin/bissl-firmware-log.rs`).
//!
//! A record is the number of its format string, which stays in the ELF file, and the bytes of its
//! arguments; `bissl-firmware-sim decode-log` turns it into text. `crate::transport` says where
//! frames go. `$DEFMT_LOG` chooses at compile time which records there are: `trace` (each request
//! as well), `debug` (the default of the build scripts: each step), `info` (stages, upper steps,
//! alternations, the result) or `error` (faults).

use core::cell::UnsafeCell;

use bissl_core::Event;
use bissl_firmware::{Fault, Tick};

use crate::transport;

/// Logs what the device did; `ticks` is [`Device::ticks`](bissl_firmware::Device::ticks)
/// afterwards.
pub(crate) fn tick(ticks: u64, tick: &Tick) {
    match tick {
        Tick::Idle => {}
        Tick::Begun(stage) => defmt::info!("tick {=u64}: begun: {}", ticks, stage),
        Tick::Performed(exchange) => defmt::trace!("tick {=u64}: {}", ticks, exchange),
        Tick::Event(Event::Step(record)) => defmt::debug!("tick {=u64}: step: {}", ticks, record),
        Tick::Event(Event::UpperStep(record)) => {
            defmt::info!("tick {=u64}: upper step: {}", ticks, record);
        }
        Tick::Event(Event::Alternation { index }) => {
            defmt::info!("tick {=u64}: alternation {=u32} complete", ticks, index);
        }
        Tick::Ended(stage) => defmt::info!("tick {=u64}: ended: {}", ticks, stage),
    }
}

/// Logs the hash of the final state.
pub(crate) fn finished(ticks: u64, hash: u64) {
    defmt::info!("tick {=u64}: finished, state hash {=u64:016x}", ticks, hash);
}

/// Logs why the device stopped.
pub(crate) fn stopped(ticks: u64, fault: &Fault) {
    defmt::error!("tick {=u64}: stopped: {}", ticks, fault);
}

#[defmt::global_logger]
struct Logger;

struct Frames(UnsafeCell<defmt::Encoder>);

// SAFETY: only one thread logs, and no interrupt handler does.
unsafe impl Sync for Frames {}

static FRAMES: Frames = Frames(UnsafeCell::new(defmt::Encoder::new()));

impl Frames {
    /// Calls a method of the encoder and passes it the destination of its bytes.
    fn encode(&self, method: impl FnOnce(&mut defmt::Encoder, fn(&[u8]))) {
        // SAFETY: the calls of a logger do not overlap, since no `Format` of a record logs itself.
        method(unsafe { &mut *self.0.get() }, transport::write);
    }
}

// SAFETY: there is one thread and no interrupt handler, so nothing can come between acquiring and
// releasing.
unsafe impl defmt::Logger for Logger {
    fn acquire() {
        FRAMES.encode(|encoder, write| encoder.start_frame(write));
    }

    unsafe fn flush() {}

    unsafe fn write(bytes: &[u8]) {
        FRAMES.encode(|encoder, write| encoder.write(bytes, write));
    }

    unsafe fn release() {
        FRAMES.encode(|encoder, write| encoder.end_frame(write));
    }
}
