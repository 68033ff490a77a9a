//! The cost of a multiply-accumulate: instructions of the three matrix products, with plain and
//! with blocked loops.
//!
//! It prints one line for each product, `key=value` separated by blanks: the name of the loops, the
//! product, its size, and multiply-accumulates per 1 000 instructions.
#![no_std]
#![no_main]

#[path = "../counter.rs"]
#[allow(dead_code, reason = "this image reports no unit")]
mod counter;

use core::hint::black_box;
use core::ptr::addr_of_mut;

use bissl_firmware::{Blocked, Compact, Kernels, Matrix, MatrixMut};
use semihosting::println;
use semihosting::process::exit;

use crate::counter::Counter;

/// Rows, columns (the inner dimension of the first product), outputs, and floats from row to row of
/// x, for a dense layer on a batch, the windows of a time series (kernel 5, stride 2, 16 channels),
/// and a small layer.
const SIZES: [(usize, usize, usize, usize); 3] =
    [(20, 64, 20, 64), (10, 80, 16, 32), (16, 16, 16, 16)];

const X: usize = 20 * 64;
const W: usize = 20 * 80;
const Y: usize = 20 * 20;

static mut OPERANDS: ([f32; X], [f32; W], [f32; Y]) = ([0.5; X], [0.25; W], [0.125; Y]);

#[cfg_attr(target_arch = "arm", cortex_m_rt::entry)]
#[cfg_attr(target_arch = "riscv32", riscv_rt::entry)]
fn main() -> ! {
    let mut counter = Counter::start();
    measure("plain", &mut Compact, &mut counter);
    measure("blocked", &mut Blocked, &mut counter);
    exit(0)
}

#[inline(never)]
fn measure<K: Kernels<f32>>(loops: &str, kernels: &mut K, counter: &mut Counter) {
    // SAFETY: nothing else has a reference to it: there is one thread, and the two calls of
    // `measure` do not overlap.
    let (x, w, y) = unsafe { &mut *addr_of_mut!(OPERANDS) };
    for (rows, columns, outputs, stride) in black_box(SIZES) {
        let products = rows * columns * outputs;
        for product in ["multiply-transposed", "multiply", "outer"] {
            counter.lap();
            match product {
                "multiply-transposed" => kernels.multiply_transposed(
                    Matrix::new(x, rows, columns, stride),
                    Matrix::new(w, outputs, columns, columns),
                    MatrixMut::new(y, rows, outputs, outputs),
                ),
                "multiply" => kernels.multiply(
                    Matrix::new(y, rows, outputs, outputs),
                    Matrix::new(w, outputs, columns, columns),
                    MatrixMut::new(x, rows, columns, stride),
                ),
                _ => kernels.outer(
                    Matrix::new(y, rows, outputs, outputs),
                    Matrix::new(x, rows, columns, stride),
                    MatrixMut::new(w, outputs, columns, columns),
                ),
            }
            let ticks = counter.lap();
            let instructions = counter.instructions(ticks.into());
            println!(
                "loops={loops} product={product} rows={rows} columns={columns} outputs={outputs} \
                 stride={stride} per_thousand={}",
                products as u64 * 1000 / instructions.max(1)
            );
        }
    }
}

#[panic_handler]
fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
    println!("{info}");
    exit(101)
}
