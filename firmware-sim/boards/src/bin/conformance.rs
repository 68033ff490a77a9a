//! The conformance kit on the board itself, with the board's own arithmetic.
//!
//! It prints one line for each law, `key=value` separated by blanks: the kernels, the law, the
//! measured value, its upper limit, and whether the law holds. Then it checks some laws over
//! kernels with a fault, and one of these must not hold: a kit that cannot fail shows nothing. The
//! last line has the counts. The exit status is 0 if every measured law holds for the board's
//! kernels and the fault is found, 1 otherwise, and 102 if the processor faulted.
#![no_std]
#![no_main]

#[path = "../frames.rs"]
mod frames;
#[path = "../laws.rs"]
mod laws;
#[path = "../stack.rs"]
mod stack;
#[path = "../trap.rs"]
mod trap;

use core::ptr::addr_of_mut;

use bissl_core::conformance::{Law, Settings};
use bissl_firmware::{Blocked, Kernels, Matrix, MatrixMut, Program};
use semihosting::println;
use semihosting::process::exit;

use crate::laws::{ConformanceDevice, judge, prepare};

static mut DEVICE: Program<ConformanceDevice> = Program::new();

/// The laws that detect weight gradients twice as large as they should be.
const OF_GRADIENTS: [Law; 2] = [Law::LowerDifferences, Law::UpperDifferences];

/// The board's kernels with a fault: weight gradients are added twice.
struct Doubled;

impl Kernels<f32> for Doubled {
    fn multiply_transposed(
        &mut self,
        x: Matrix<'_, f32>,
        w: Matrix<'_, f32>,
        y: MatrixMut<'_, f32>,
    ) {
        Blocked.multiply_transposed(x, w, y);
    }

    fn multiply(&mut self, y: Matrix<'_, f32>, w: Matrix<'_, f32>, x: MatrixMut<'_, f32>) {
        Blocked.multiply(y, w, x);
    }

    fn outer(&mut self, y: Matrix<'_, f32>, x: Matrix<'_, f32>, mut w: MatrixMut<'_, f32>) {
        Blocked.outer(y, x, w.reborrow());
        Blocked.outer(y, x, w);
    }
}

#[cfg_attr(target_arch = "arm", cortex_m_rt::entry)]
#[cfg_attr(target_arch = "riscv32", riscv_rt::entry)]
fn main() -> ! {
    stack::paint();
    trap::guard();
    // SAFETY: nothing else has a reference to it: `main` is called once, and there is one thread.
    let device = unsafe { &mut *addr_of_mut!(DEVICE) };
    let frames = frames::flash().unwrap_or_else(|error| {
        println!("flash image: {error}");
        exit(1)
    });
    let settings = match prepare(device, &frames, &mut Blocked) {
        Ok(settings) => settings,
        Err(fault) => {
            println!("device stopped at tick {}: {fault}", device.ticks());
            exit(1)
        }
    };
    let tolerances = Settings::DEFAULT;
    let print = |line: core::fmt::Arguments<'_>| println!("{line}");
    let own = ("blocked", &mut Blocked);
    let right = judge((device, &settings), &frames, own, (&Law::ALL, tolerances), print);
    let other = ("doubled", &mut Doubled);
    let wrong = judge((device, &settings), &frames, other, (&OF_GRADIENTS, tolerances), print);
    match (right, wrong) {
        (Ok(right), Ok(wrong)) => {
            println!(
                "hold={} broken={} unsupported={} found={} stack={} stack_limit={} static={}",
                right.hold,
                right.broken,
                right.unsupported,
                wrong.broken,
                stack::used(),
                stack::limit(),
                stack::statics()
            );
            let all = right.broken == 0 && right.hold > 0 && wrong.broken > 0;
            exit(i32::from(!all))
        }
        (right, wrong) => {
            for error in [right.err(), wrong.err()].into_iter().flatten() {
                println!("the kit stopped: {error}");
            }
            exit(1)
        }
    }
}

#[panic_handler]
fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
    println!("{info}");
    exit(101)
}
