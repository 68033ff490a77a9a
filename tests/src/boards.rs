//! The device program on emulated boards ends in the same bits as on this machine.
//!
//! `firmware-sim/boards` is built for each board and run in QEMU. It prints the hash of all
//! training state, which has to be that of the simulated device after the same training here.
//! [`logs`] checks the records of images that log, [`overflow`] images with too small a stack,
//! [`conformance`] the laws of the core's kit.

mod conformance;
mod figures;
mod logs;
mod overflow;
mod replay;
mod watch;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::bare_metal::{self, Toolchain};
use crate::shell::{Shell, workspace};

/// A machine of QEMU and its properties.
struct Board {
    machine: &'static str,
    processor: &'static str,
    target: &'static str,
    device: &'static str,
}

/// Networks and batches, by the name that the simulated device's `--device` takes. The image
/// chooses them by the board's RAM.
const DIGITS: &str = "digits";
const SMALL_DIGITS: &str = "small-digits";

const BOARDS: [Board; 5] = [
    Board {
        machine: "netduinoplus2",
        processor: "Cortex-M4F, 128 KiB",
        target: "thumbv7em-none-eabihf",
        device: DIGITS,
    },
    Board {
        machine: "mps2-an500",
        processor: "Cortex-M7, 4 MiB",
        target: "thumbv7em-none-eabihf",
        device: DIGITS,
    },
    Board {
        machine: "virt",
        processor: "RV32IMAFC, 128 KiB",
        target: "riscv32imafc-unknown-none-elf",
        device: DIGITS,
    },
    Board {
        machine: "microbit",
        processor: "Cortex-M0, 16 KiB",
        target: "thumbv6m-none-eabi",
        device: SMALL_DIGITS,
    },
    Board {
        machine: "sifive_e",
        processor: "RV32IMAC, 16 KiB",
        target: "riscv32imac-unknown-none-elf",
        device: SMALL_DIGITS,
    },
];

/// The training of the images, as arguments of the simulated device.
const TRAINING: &str =
    "--seed 6 --pretrain-steps 10 --warm-up-steps 10 --alternations 2 --finetune-steps 10";

/// One board of each instruction set. Its log is read, its stack is made to overflow, and the
/// conformance kit runs on it.
const FURTHER: [&str; 2] = ["netduinoplus2", "virt"];

/// Time limit of a board in seconds; the slowest needs a few.
const LIMIT: &str = "120";
/// Exit status of `timeout` after the limit.
const TIMED_OUT: i32 = 124;

/// The tools that build and run an image.
struct Tools {
    toolchain: Toolchain,
    emulators: PathBuf,
    linker: PathBuf,
}

/// The variants of a board's image.
struct Variant {
    /// Part of the file's name; may be empty.
    name: &'static str,
    /// The program of `firmware-sim/boards`.
    program: &'static str,
    /// Features in addition to those of the board.
    features: &'static str,
    /// Bytes of the stack; `None` for those of the board.
    stack: Option<&'static str>,
    /// Profile of `firmware-sim/boards/Cargo.toml`: how the compiler weighs space against time.
    profile: &'static str,
}

const PLAIN: Variant =
    Variant { name: "", program: "bissl-boards", features: "", stack: None, profile: "release" };
const FAST: Variant = Variant { name: "-fast", profile: "speed", ..PLAIN };
const NO_PANIC: Variant = Variant { name: "-no-panic", program: "no_panic", ..PLAIN };

/// Builds and runs every board; returns the table of what they printed.
///
/// # Errors
/// A compiler or an emulator is not available, an image does not build or run, or a hash differs.
pub(crate) fn check(shell: &mut Shell) -> Result<String, String> {
    let tools = Tools {
        toolchain: bare_metal::toolchain(shell)?,
        emulators: emulators(shell)?,
        linker: linker(shell)?,
    };
    let mut expected = BTreeMap::new();
    for device in [DIGITS, SMALL_DIGITS] {
        expected.insert(device, host_hash(shell, device)?);
    }
    let mut table = heading();
    let mut failures = Vec::new();
    for board in &BOARDS {
        let wanted = &expected[board.device];
        for variant in [&PLAIN, &FAST] {
            table += &train(shell, &tools, (board, variant), wanted, &mut failures)?;
        }
        let image = build(shell, &tools, board, &NO_PANIC)?;
        let output = shell.capture(&mut emulate(&tools, board, &image))?;
        failures
            .extend(succeeded(board, &output).err().map(|reason| format!("no_panic: {reason}")));
    }
    for board in BOARDS.iter().filter(|board| FURTHER.contains(&board.machine)) {
        let hash = &expected[board.device];
        let checks = [
            logs::check(shell, &tools, board, hash),
            overflow::check(shell, &tools, board),
            conformance::check(shell, &tools, board),
            replay::check(shell, &tools, board),
            watch::check(shell, &tools, board),
        ];
        for check in checks {
            match check {
                Ok(line) => table += &format!("{:<14} {line}\n", board.machine),
                Err(reason) => failures.push(reason),
            }
        }
    }
    for board in BOARDS.iter().filter(|board| board.machine == figures::BOARD) {
        for check in [figures::speed(shell, &tools, board), figures::size(shell, &tools, board)] {
            match check {
                Ok(line) => table += &format!("{:<14} {line}\n", board.machine),
                Err(reason) => failures.push(reason),
            }
        }
    }
    for (name, hash) in &expected {
        let here = std::env::consts::ARCH;
        table += &format!("{:<14} {here:<20} {name:<12} {:<5} {hash:<16}\n", "this machine", "");
    }
    shell.note(&table)?;
    if failures.is_empty() { Ok(table) } else { Err(failures.join("; ")) }
}

/// The heading of the table.
fn heading() -> String {
    let first = "flash, static, stack in bytes; lower step, product, alternation in instructions, counted by the \
                 ticks of the last column";
    format!(
        "{first}\n{:<14} {:<20} {:<12} {:<5} {:<16} {:>7} {:>7} {:>9} {:>11} {:>11} {:>13}  instructions/ticks\n",
        "board",
        "processor",
        "device",
        "level",
        "state hash",
        "flash",
        "static",
        "stack",
        "lower step",
        "product",
        "alternation"
    )
}

/// Builds and runs the image that trains; returns its line of the table.
fn train(
    shell: &mut Shell,
    tools: &Tools,
    (board, variant): (&Board, &Variant),
    wanted: &str,
    failures: &mut Vec<String>,
) -> Result<String, String> {
    let machine = board.machine;
    let image = build(shell, tools, board, variant)?;
    let flash = flash_bytes(&image)?;
    let output = shell.capture(&mut emulate(tools, board, &image))?;
    let printed = succeeded(board, &output).map(|()| pairs(&output.stdout))?;
    let value = |key: &str| printed.get(key).map_or("?", String::as_str);
    let hash = value("hash");
    if value("product") == "0" {
        // If all units of the network were off, this would be no training.
        failures.push(format!("{machine}: found no curvature product, expected some"));
    }
    if hash != wanted {
        failures.push(format!("{machine}: found state hash {hash}, expected {wanted}"));
    }
    Ok(format!(
        "{machine:<14} {:<20} {:<12} {:<5} {hash:<16} {flash:>7} {:>7} {:>9} {:>11} {:>11} {:>13}  {}\n",
        board.processor,
        board.device,
        if variant.profile == PLAIN.profile { "s" } else { "3" },
        value("static"),
        format!("{}/{}", value("stack"), value("stack_limit")),
        value("lower"),
        value("product"),
        value("alternation"),
        value("unit")
    ))
}

/// Hash of the simulated device's state after the same training.
fn host_hash(shell: &mut Shell, device: &str) -> Result<String, String> {
    let line = format!(
        "run --release --quiet -p bissl-firmware-sim -- {TRAINING} --device {device} --json"
    );
    let output = shell.capture(&mut shell.cargo_command(&line))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let after = |text: &str, word: &str| text.split_once(word).map(|(_, rest)| rest.to_owned());
    let hash = after(&text, "\"aligned\":")
        .and_then(|rest| after(&rest, "\"hash\":\""))
        .and_then(|rest| rest.split('"').next().map(str::to_owned));
    match hash {
        Some(hash) if output.status.success() => Ok(hash),
        _ => Err(format!("`cargo {line}` ended with {} and no hash", output.status)),
    }
}

/// The folder of the emulators; empty if they are on the path.
fn emulators(shell: &mut Shell) -> Result<PathBuf, String> {
    let there = |name: &str| Command::new(name).arg("--version").output().is_ok();
    if there("qemu-system-arm") && there("qemu-system-riscv32") {
        return Ok(PathBuf::new());
    }
    let prefix = bare_metal::prefix()?;
    let script = workspace().join("tests/src/qemu.sh");
    shell.run(Command::new("bash").arg(script).arg(&prefix)).map_err(|reason| {
        format!(
            "no emulator: qemu-system-arm and qemu-system-riscv32 are not on the path, and {reason} \
             (`--no-boards` knowingly leaves this step out)"
        )
    })?;
    Ok(prefix)
}

/// The linker of the installed compiler.
fn linker(shell: &mut Shell) -> Result<PathBuf, String> {
    let output = shell.capture(Command::new("rustc").args(["--print", "target-libdir"]))?;
    let libraries = PathBuf::from(String::from_utf8_lossy(&output.stdout).trim());
    let linker = libraries.with_file_name("bin").join("rust-lld");
    if linker.exists() {
        Ok(linker)
    } else {
        Err(format!(
            "found no linker {}, expected the one of rustup's toolchains",
            linker.display()
        ))
    }
}

/// An image of a board.
fn build(
    shell: &mut Shell,
    tools: &Tools,
    board: &Board,
    variant: &Variant,
) -> Result<PathBuf, String> {
    let Board { machine, target, .. } = board;
    let Variant { name, program, features, stack, profile } = variant;
    let line = format!(
        "build --profile {profile} --locked --manifest-path firmware-sim/boards/Cargo.toml --bin {program} \
         --target {target}{features}"
    );
    let mut command = shell.cargo_command(&line);
    let variable = target.to_uppercase().replace(['-', '.'], "_");
    command.env(format!("CARGO_TARGET_{variable}_LINKER"), &tools.linker);
    command.env("BISSL_BOARD", machine).env("DEFMT_LOG", "debug").env_remove("BISSL_STACK");
    command.envs(stack.map(|bytes| ("BISSL_STACK", bytes)));
    shell.run(tools.toolchain.apply(&mut command))?;
    let built = shell.target().join(target).join(profile).join(program);
    // The next board of this target is built to the same path.
    let image = shell.target().join(format!("{machine}{name}.elf"));
    fs::copy(&built, &image).map_err(|error| {
        format!("cannot copy {} to {}: {error}", built.display(), image.display())
    })?;
    Ok(image)
}

/// The command that runs an image to its end.
fn emulate(tools: &Tools, board: &Board, image: &Path) -> Command {
    let risc_v = board.target.starts_with("riscv");
    let emulator = if risc_v { "qemu-system-riscv32" } else { "qemu-system-arm" };
    let mut command = Command::new("timeout");
    command.arg(LIMIT).arg(match tools.emulators.as_os_str().is_empty() {
        true => PathBuf::from(emulator),
        false => tools.emulators.join(emulator),
    });
    command.args(["-M", board.machine, "-nographic", "-icount", "shift=0"]);
    if risc_v && board.machine == "virt" {
        command.args(["-bios", "none"]);
    }
    command.args(["-semihosting-config", "enable=on,target=native", "-kernel"]).arg(image);
    command
}

/// Whether an image ended successfully.
fn succeeded(board: &Board, output: &Output) -> Result<(), String> {
    if output.status.success() {
        return Ok(());
    }
    let printed = String::from_utf8_lossy(&output.stderr);
    let printed = printed.lines().next().unwrap_or_default();
    Err(if output.status.code() == Some(TIMED_OUT) {
        format!("{}: the image did not end within {LIMIT} s", board.machine)
    } else if printed.contains("Lockup") {
        // A possible result of a stack overflow; see `trap` of the boards.
        format!("{}: a fault, or an overflow of the stack, locked the processor up", board.machine)
    } else {
        let out = String::from_utf8_lossy(&output.stdout);
        let status = output.status;
        format!(
            "{}: the image ended with {status} and printed `{}{printed}`",
            board.machine,
            out.trim()
        )
    })
}

/// The pairs that an image prints, by key.
fn pairs(text: &[u8]) -> BTreeMap<String, String> {
    let text = String::from_utf8_lossy(text);
    let pairs = text.split_whitespace().filter_map(|word| word.split_once('='));
    pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
}

/// Bytes that an image takes in flash: the content of its loadable segments in the file.
fn flash_bytes(image: &Path) -> Result<u64, String> {
    let bytes = fs::read(image).map_err(|error| format!("{}: {error}", image.display()))?;
    let number = |at: usize, len: usize| -> Option<usize> {
        let field = bytes.get(at..at + len)?;
        Some(field.iter().rev().fold(0, |sum, byte| sum << 8 | usize::from(*byte)))
    };
    let sum = || {
        // In a 32-bit ELF file the offset of the program headers is at 28, their size at 42, their
        // number at 44.
        let (start, size, count) = (number(28, 4)?, number(42, 2)?, number(44, 2)?);
        let mut sum = 0;
        for header in (0..count).map(|i| start + i * size) {
            let loaded = number(header, 4)? == 1;
            sum += if loaded { number(header + 16, 4)? } else { 0 };
        }
        Some(sum as u64)
    };
    let elf = bytes.starts_with(b"\x7fELF\x01");
    sum()
        .filter(|_| elf)
        .ok_or_else(|| format!("{}: found no ELF file of 32 bits", image.display()))
}
