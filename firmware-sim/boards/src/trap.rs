//! Reports a fault of the processor on one line, with exit status 102.
//!
//! The stack is at the bottom of the RAM, so an overflow faults. A handler that used that stack
//! would fault again; this one starts at the stack's top, because nothing stored there is needed
//! any more. The line is written without formatting, which would need more stack and may panic.
//!
//! On Arm the processor stores registers on the overflowing stack before any handler runs, and may
//! lock up if that faults too. QEMU goes on, but then the faulting instruction is unknown.

use core::ffi::CStr;

use semihosting::process::exit;
use semihosting::sys::arm_compat::{sys_write0, sys_writec};

use crate::stack::bottom;

/// Exit status of a fault.
const FAULT: i32 = 102;

/// Says what happened; `pointer` is the stack pointer at the fault, `at` the instruction if it is
/// known.
fn report(at: Option<usize>, pointer: usize) -> ! {
    let bottom = bottom();
    let overflow = pointer < bottom + platform::SAVED_BYTES;
    write(if overflow { c"stack overflow" } else { c"fault of the processor" });
    if let Some(at) = at {
        write_word(c" at pc=0x", at);
    }
    write_word(c": stack pointer 0x", pointer);
    write_word(c", end of the stack 0x", bottom);
    write(c"\n");
    exit(FAULT)
}

fn write(text: &CStr) {
    sys_write0(text);
}

/// Writes a text and all hexadecimal digits of a 32-bit word.
fn write_word(text: &CStr, word: usize) {
    write(text);
    for shift in (0..8).rev() {
        let digit = (word >> (4 * shift) & 0xF) as u8;
        sys_writec(if digit < 10 { b'0' + digit } else { b'a' + (digit - 10) });
    }
}

#[cfg(target_arch = "riscv32")]
mod platform {
    use core::arch::{asm, global_asm};

    use crate::stack::bottom;

    /// The stack pointer moves before anything is stored.
    pub const SAVED_BYTES: usize = 0;

    // The entries of riscv-rt would save registers on the stack, or loop. A second fault, inside
    // the handler, goes to another vector, so it is recognised without using RAM: an endless series
    // of faults would end only with the time limit. The two sequences around `ebreak` are
    // semihosting calls: 4 writes a text, 0x20 exits.
    global_asm!(
        ".section .trap.start, \"ax\"",
        ".balign 16",
        ".global _start_trap",
        ".global _pre_init_trap",
        "_start_trap:",
        "_pre_init_trap:",
        "la t0, 2f",
        "csrw mtvec, t0",
        "mv a1, sp",
        "csrr a0, mepc",
        "la sp, _stack_start",
        "andi sp, sp, -16",
        "j {report}",
        ".option push",
        ".option norvc",
        ".balign 16",
        "2:",
        "li a0, 4",
        "la a1, 3f",
        "j 6f",
        ".balign 16",
        "6:",
        "slli x0, x0, 0x1f",
        "ebreak",
        "srai x0, x0, 7",
        "li a0, 0x20",
        "la a1, 4f",
        "j 7f",
        ".balign 16",
        "7:",
        "slli x0, x0, 0x1f",
        "ebreak",
        "srai x0, x0, 7",
        "8: j 8b",
        ".option pop",
        ".balign 4",
        "4: .word 0x20026, 102",
        "3: .asciz \"\\nfault of the processor while one was reported\\n\"",
        ".balign 4",
        report = sym report_trap,
    );

    extern "C" fn report_trap(at: usize, pointer: usize) -> ! {
        super::report(Some(at), pointer)
    }

    /// Makes everything below the stack read-only with the first entry of the memory protection.
    /// The entry is locked, so that it also binds machine mode.
    pub fn guard() {
        const LOCKED_TOP_OF_RANGE_READ_EXECUTE: usize = 0x8D;
        // SAFETY: nothing is ever stored below the stack.
        unsafe {
            asm!(
                "csrw pmpaddr0, {top}",
                "csrw pmpcfg0, {mode}",
                top = in(reg) bottom() >> 2,
                mode = in(reg) LOCKED_TOP_OF_RANGE_READ_EXECUTE,
                options(nostack)
            );
        }
    }
}

#[cfg(target_arch = "arm")]
mod platform {
    use core::arch::global_asm;
    use core::ptr::read_volatile;

    use cortex_m::peripheral::MPU;

    use crate::stack::bottom;

    /// Most bytes that `push` and `vpush` store: r4 to r11 and lr, d8 to d15. They move the stack
    /// pointer afterwards.
    pub const SAVED_BYTES: usize = 100;

    /// Words that the processor stores at a fault; the seventh is the address of the instruction.
    const FRAME_WORDS: usize = 8;
    const INSTRUCTION: usize = 6;
    /// Further words if the program uses the FPU: s0 to s15, FPSCR, one for alignment.
    const FLOAT_WORDS: usize = 18;
    /// The bit of EXC_RETURN that is 0 if they were stored.
    const NO_FLOATS: usize = 1 << 4;

    global_asm!(
        ".section .HardFault.user, \"ax\"",
        ".balign 4",
        ".global HardFault",
        ".type HardFault, %function",
        ".thumb_func",
        "HardFault:",
        "mov r0, sp",
        "mov r1, lr",
        "ldr r2, =_stack_start",
        "mov sp, r2",
        "bl {report}",
        ".pool",
        report = sym report_fault,
    );

    /// `frame` is the address at which the processor stored its registers, `link` is EXC_RETURN.
    extern "C" fn report_fault(frame: usize, link: usize) -> ! {
        let floats = if link & NO_FLOATS == 0 { FLOAT_WORDS } else { 0 };
        let pointer = frame + 4 * (FRAME_WORDS + floats);
        let at = (frame >= bottom()).then(|| {
            // SAFETY: the address is a word of the stack.
            unsafe { read_volatile((frame as *const usize).wrapping_add(INSTRUCTION)) }
        });
        super::report(at, pointer)
    }

    /// Makes everything below the stack read-only with region 0 of the memory protection unit, if
    /// there is one. The unit is disabled in the handler.
    pub fn guard() {
        /// AP: read-only; B and C: cached, like flash.
        const READ_ONLY: u32 = 0b110 << 24 | 1 << 17;
        const ENABLE: u32 = 1;
        /// The region adds to the default map instead of replacing it.
        const DEFAULT_MAP: u32 = 1 << 2;
        // SAFETY: nothing else touches these registers, and nothing is ever stored below the stack.
        let mpu = unsafe { &*MPU::PTR };
        let bottom = bottom();
        // The size of a region at address 0 is a power of two.
        if mpu._type.read() == 0 || !bottom.is_power_of_two() {
            return;
        }
        let size = (bottom.trailing_zeros() - 1) << 1;
        // SAFETY: as above.
        unsafe {
            mpu.rnr.write(0);
            mpu.rbar.write(0);
            mpu.rasr.write(READ_ONLY | size | ENABLE);
            mpu.ctrl.write(DEFAULT_MAP | ENABLE);
        }
        cortex_m::asm::dsb();
        cortex_m::asm::isb();
    }
}

/// Makes a stack overflow fault even if there is something below the RAM: on some machines flash
/// that is RAM too, on others a device that accepts every store.
#[inline(never)]
pub fn guard() {
    platform::guard();
}
