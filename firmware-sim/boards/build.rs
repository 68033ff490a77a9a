//! The memory map of the board named by `$BISSL_BOARD`, and the frames that its flash holds.

use std::path::{Path, PathBuf};
use std::{env, fs};

#[path = "../harness/src/digits.rs"]
#[allow(dead_code, unreachable_pub)]
mod digits;
#[path = "../harness/src/adaptation/extract.rs"]
mod extract;
#[path = "build/trace.rs"]
mod trace;

/// The first address and the number of bytes of a region.
type Region = (u32, u32);

const KIB: u32 = 1024;
const MIB: u32 = 1024 * KIB;

/// A board that QEMU emulates.
struct Board {
    /// QEMU's name of the machine.
    name: &'static str,
    flash: Region,
    ram: Region,
    /// Bytes at the bottom of the RAM for the stack. The stack grows away from the data, so an
    /// overflow faults instead of overwriting weights.
    stack: u32,
}

const BOARDS: &[Board] = &[
    // STM32F405, Cortex-M4F.
    Board {
        name: "netduinoplus2",
        flash: (0x0800_0000, MIB),
        ram: (0x2000_0000, 128 * KIB),
        stack: 8 * KIB,
    },
    // nRF51822, Cortex-M0.
    Board {
        name: "microbit",
        flash: (0, 256 * KIB),
        ram: (0x2000_0000, 16 * KIB),
        stack: 4 * KIB - 64,
    },
    // Cortex-M7.
    Board { name: "mps2-an500", flash: (0, 4 * MIB), ram: (0x2000_0000, 4 * MIB), stack: 8 * KIB },
    // FE310, RV32IMAC.
    Board {
        name: "sifive_e",
        flash: (0x2040_0000, 512 * MIB),
        ram: (0x8000_0000, 16 * KIB),
        stack: 4 * KIB - 64,
    },
    // A generic RISC-V machine. Its memory is one piece, of which the image takes as much as a
    // small processor has.
    Board {
        name: "virt",
        flash: (0x8000_0000, MIB),
        ram: (0x8010_0000, 128 * KIB),
        stack: 8 * KIB,
    },
];

fn main() {
    println!("cargo::rerun-if-env-changed=BISSL_BOARD");
    println!("cargo::rerun-if-env-changed=BISSL_STACK");
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=../harness/src/digits.rs");
    println!("cargo::rerun-if-changed=../harness/data/optdigits.bin");
    println!("cargo::rerun-if-changed=../harness/data/small-digits.bin");
    println!("cargo::rerun-if-changed=build/trace.rs");
    println!("cargo::rerun-if-changed=../harness/data/host-trace.jsonl");
    println!("cargo::rerun-if-changed=../harness/src/adaptation/extract.rs");
    println!("cargo::rerun-if-changed=../harness/data/watch-9.bin");
    println!("cargo::rerun-if-changed=../harness/data/watch-9-windows.bin");
    let asked = env::var("BISSL_BOARD").unwrap_or_default();
    let Some(board) = BOARDS.iter().find(|board| board.name == asked) else {
        let names: Vec<_> = BOARDS.iter().map(|board| board.name).collect();
        panic!("$BISSL_BOARD is `{asked}`, expected one of {}", names.join(", "));
    };
    let board = &Board { stack: stack(board), ..*board };
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    let arch = env::var("CARGO_CFG_TARGET_ARCH").expect("cargo sets the architecture");
    write(&out.join("memory.x"), memory(board, &arch).as_bytes());
    write_frames(&out);
    trace::write(&out);
    write_watch(&out);
    println!("cargo::rustc-check-cfg=cfg(small)");
    if board.ram.1 <= 16 * KIB {
        println!("cargo::rustc-cfg=small");
    }
    println!("cargo::rustc-link-search={}", out.display());
    if arch == "riscv32" {
        println!("cargo::rustc-link-arg=-Tmemory.x");
    }
    println!("cargo::rustc-link-arg=-Tlink.x");
    println!("cargo::rustc-link-arg=--nmagic");
    if env::var_os("CARGO_FEATURE_LOG").is_some() {
        // Without a level defmt keeps only errors.
        let level = env::var("DEFMT_LOG").unwrap_or_else(|_| "debug".to_owned());
        println!("cargo::rerun-if-env-changed=DEFMT_LOG");
        println!("cargo::rustc-env=DEFMT_LOG={level}");
        println!("cargo::rustc-link-arg-bin=bissl-boards=-Tdefmt.x");
    }
}

/// Bytes of the stack: the board's, or `$BISSL_STACK` to provoke an overflow.
fn stack(board: &Board) -> u32 {
    let Ok(asked) = env::var("BISSL_STACK") else { return board.stack };
    let bytes =
        asked.parse().ok().filter(|bytes| bytes % 16 == 0 && (1..board.ram.1).contains(bytes));
    bytes.unwrap_or_else(|| {
        let ram = board.ram.1;
        panic!(
            "$BISSL_STACK is `{asked}`, expected a multiple of 16 bytes below the {ram} of the RAM"
        )
    })
}

/// The linker's memory map.
fn memory(board: &Board, arch: &str) -> String {
    let Board { flash, ram, stack, .. } = board;
    let mut map = format!(
        "MEMORY {{\n  FLASH (rx) : ORIGIN = {:#x}, LENGTH = {}\n  STACK (rw) : ORIGIN = {:#x}, LENGTH = {stack}\n  \
         RAM (rwx) : ORIGIN = {:#x}, LENGTH = {}\n}}\n",
        flash.0,
        flash.1,
        ram.0,
        ram.0 + stack,
        ram.1 - stack
    );
    map += "_stack_bottom = ORIGIN(STACK);\n";
    if arch == "riscv32" {
        for (region, memory) in [
            ("TEXT", "FLASH"),
            ("RODATA", "FLASH"),
            ("DATA", "RAM"),
            ("BSS", "RAM"),
            ("HEAP", "RAM"),
            ("STACK", "STACK"),
        ] {
            map += &format!("REGION_ALIAS(\"REGION_{region}\", {memory});\n");
        }
    } else {
        map += "_stack_start = ORIGIN(STACK) + LENGTH(STACK);\n_stack_end = ORIGIN(STACK);\n";
    }
    map
}

/// The corpora, one byte per pixel, in the split of the simulated device.
fn write_frames(out: &Path) {
    let digits = digits::Digits::embedded();
    let flash = digits.flash();
    write(&out.join("unlabelled.bin"), flash.unlabelled);
    write(&out.join("labelled.bin"), flash.labelled);
    write(&out.join("labels.bin"), flash.labels);
}

fn write(path: &Path, bytes: &[u8]) {
    fs::write(path, bytes).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
}

/// A person's windows as constants: the 16-bit numbers are then aligned in flash.
fn write_watch(out: &Path) {
    let file = "../harness/data/watch-9-windows.bin";
    let bytes = fs::read(file).unwrap_or_else(|error| panic!("{file}: {error}"));
    let extract =
        extract::Extract::read(&bytes).unwrap_or_else(|| panic!("{file}: another length"));
    let mut text = String::new();
    for (name, numbers) in [
        ("UNLABELLED", &extract.unlabelled),
        ("LABELLED", &extract.labelled),
        ("HELD_OUT", &extract.held_out),
    ] {
        text += &format!("pub static {name}: [i16; {}] = {numbers:?};\n", numbers.len());
    }
    for (name, labels) in
        [("LABELS", &extract.labels), ("HELD_OUT_LABELS", &extract.held_out_labels)]
    {
        text += &format!("pub static {name}: [u8; {}] = {labels:?};\n", labels.len());
    }
    write(&out.join("watch.rs"), text.as_bytes());
}
