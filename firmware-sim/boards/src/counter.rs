//! Counts instructions, as far as the emulator does.
//!
//! With `-icount shift=0` every instruction takes a nanosecond of QEMU's clock. RISC-V counts
//! instructions in `minstret`. On Arm QEMU has no cycle counter; SysTick runs at the processor's
//! clock, and one of its ticks is several instructions. Neither is taken on trust: a loop with a
//! known number of instructions is timed first and calibrates everything that follows.

/// Differences of the counter.
pub struct Counter {
    last: u32,
    /// Ticks that [`LOOP_INSTRUCTIONS`] take.
    unit: u32,
}

/// Turns of the calibration loop, with two instructions each.
const LOOP_TURNS: u32 = 1_000_000;
/// Instructions of the calibration loop.
pub const LOOP_INSTRUCTIONS: u32 = 2 * LOOP_TURNS;

impl Counter {
    /// Starts counting and times the calibration loop.
    pub fn start() -> Self {
        start();
        let mut counter = Self { last: now(), unit: 1 };
        turn(LOOP_TURNS);
        counter.unit = counter.lap();
        counter
    }

    /// Ticks since the last lap. On Arm there must be fewer than 2²⁴ of them, or they wrap.
    pub fn lap(&mut self) -> u32 {
        let now = now();
        let ticks = now.wrapping_sub(self.last) & MASK;
        self.last = now;
        ticks
    }

    /// Ticks that [`LOOP_INSTRUCTIONS`] take.
    pub fn unit(&self) -> u32 {
        self.unit
    }

    /// Converts ticks to instructions.
    pub fn instructions(&self, ticks: u64) -> u64 {
        ticks * u64::from(LOOP_INSTRUCTIONS) / u64::from(self.unit.max(1))
    }
}

#[cfg(target_arch = "riscv32")]
mod platform {
    pub const MASK: u32 = u32::MAX;

    pub fn start() {}

    pub fn now() -> u32 {
        let count: u32;
        // SAFETY: reads a counter.
        unsafe { core::arch::asm!("csrr {}, minstret", out(reg) count, options(nomem, nostack)) };
        count
    }

    /// A loop of two instructions per turn.
    pub fn turn(turns: u32) {
        // SAFETY: changes one register, which is declared to the compiler.
        unsafe {
            core::arch::asm!(
                "2:",
                "addi {0}, {0}, -1",
                "bnez {0}, 2b",
                inout(reg) turns => _,
                options(nomem, nostack)
            );
        }
    }
}

#[cfg(target_arch = "arm")]
mod platform {
    use cortex_m::peripheral::SYST;
    use cortex_m::peripheral::syst::SystClkSource;

    pub const MASK: u32 = 0x00FF_FFFF;

    pub fn start() {
        // SAFETY: the one place that takes the peripherals.
        let mut systick = unsafe { cortex_m::Peripherals::steal() }.SYST;
        systick.set_clock_source(SystClkSource::Core);
        systick.set_reload(MASK);
        systick.clear_current();
        systick.enable_counter();
    }

    /// SysTick counts down.
    pub fn now() -> u32 {
        MASK - SYST::get_current()
    }

    /// A loop of two instructions per turn.
    pub fn turn(turns: u32) {
        // SAFETY: changes one register and the flags, which are declared to the compiler.
        unsafe {
            core::arch::asm!(
                "2:",
                "subs {0}, #1",
                "bne 2b",
                inout(reg) turns => _,
                options(nomem, nostack)
            );
        }
    }
}

use platform::{MASK, now, start, turn};
