//! How much of the stack is ever used: it is painted first and inspected afterwards.
//!
//! The stack is below the data (`build.rs`), so an overflow leaves the RAM and faults.

use core::ptr::{addr_of, read_volatile, write_volatile};

const PAINT: u32 = 0xC5C5_C5C5;
/// Bytes below the stack pointer that are left unpainted: those of `paint` itself.
const MARGIN: usize = 128;

unsafe extern "C" {
    static _stack_start: u32;
    static _stack_bottom: u32;
    static __sdata: u32;
    static __ebss: u32;
}

/// The stack's lowest address.
pub fn bottom() -> usize {
    addr_of!(_stack_bottom).addr()
}

fn top() -> usize {
    addr_of!(_stack_start).addr()
}

fn pointer() -> usize {
    let pointer: usize;
    // SAFETY: copies a register, and touches no memory.
    unsafe {
        #[cfg(target_arch = "arm")]
        core::arch::asm!("mov {}, sp", out(reg) pointer, options(nomem, nostack));
        #[cfg(target_arch = "riscv32")]
        core::arch::asm!("mv {}, sp", out(reg) pointer, options(nomem, nostack));
    }
    pointer
}

/// Paints the free part of the stack.
#[inline(never)]
pub fn paint() {
    let mut at = bottom();
    while at + MARGIN < pointer() {
        // SAFETY: nothing is stored between the end of the stack and the stack pointer; the linker
        // reserves this part.
        unsafe { write_volatile(at as *mut u32, PAINT) };
        at += 4;
    }
}

/// The most bytes of stack in use since [`paint`].
pub fn used() -> usize {
    let mut at = bottom();
    // SAFETY: the address is within the stack, which is readable.
    while at < top() && unsafe { read_volatile(at as *const u32) } == PAINT {
        at += 4;
    }
    top() - at
}

/// Bytes that the linker reserves for the stack.
pub fn limit() -> usize {
    top() - bottom()
}

/// Bytes of RAM with static data.
pub fn statics() -> usize {
    addr_of!(__ebss).addr() - addr_of!(__sdata).addr()
}
