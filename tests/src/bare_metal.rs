//! The core and the device program compile without std and without an allocator.
//!
//! The compiler is the installed one, with `rustup target add`; if rustup cannot fetch the targets,
//! a compiler is assembled from Debian packages (`bare_metal.sh`). Either way the crates see a
//! sysroot that holds `core` and `compiler_builtins` and nothing else, so an `extern crate alloc`
//! in any dependency is an error.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::shell::{Shell, cargo, workspace};

/// Cortex-M4F and -M7 (hard float), Cortex-M0 (no FPU, no compare-and-swap), and another
/// instruction set without and with floats.
const TARGETS: [&str; 4] = [
    "thumbv7em-none-eabihf",
    "thumbv6m-none-eabi",
    "riscv32imac-unknown-none-elf",
    "riscv32imafc-unknown-none-elf",
];

/// The crates of a sysroot without an allocator.
const CRATES: [&str; 2] = ["core", "compiler_builtins"];

/// Packages and features that must build.
const BUILDS: [&str; 3] = [
    "build --release -p bissl-core -p bissl-firmware",
    "build --release -p bissl-core --features serde",
    "build --release -p bissl-core -p bissl-firmware --features bissl-core/defmt,bissl-firmware/defmt",
];

/// A compiler and the sysroot of its bare-metal crates.
#[derive(Debug)]
pub(crate) struct Toolchain {
    rustc: PathBuf,
    sysroot: PathBuf,
}

impl Toolchain {
    /// Makes a call of cargo use this toolchain for the target, but not for build scripts.
    pub(crate) fn apply<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        command.env("RUSTC", &self.rustc);
        // Encoded, because a path may contain spaces.
        let flags = format!("--sysroot\u{1f}{}", self.sysroot.display());
        command.env("CARGO_ENCODED_RUSTFLAGS", flags)
    }
}

/// The installed compiler, or one of Debian's packages.
///
/// # Errors
/// Neither is available.
pub(crate) fn toolchain(shell: &mut Shell) -> Result<Toolchain, String> {
    fs::create_dir_all(shell.target())
        .map_err(|error| format!("cannot make {}: {error}", shell.target().display()))?;
    match from_rustup(shell)? {
        Some(toolchain) => Ok(toolchain),
        None => from_debian(shell),
    }
}

/// Gets a toolchain, shows that it has no alloc, and builds.
///
/// # Errors
/// The target that is not available, the probe that should have failed, or the build that failed.
pub(crate) fn check(shell: &mut Shell) -> Result<(), String> {
    let toolchain = toolchain(shell)?;
    for target in TARGETS {
        expect_no_alloc(shell, &toolchain, target)?;
    }
    for line in BUILDS {
        let mut command = shell.cargo_command(line);
        command.args(TARGETS.iter().flat_map(|target| ["--target", target]));
        shell.run(toolchain.apply(&mut command))?;
    }
    Ok(())
}

/// The installed compiler with rustup's targets, which are added; `None` if rustup cannot add them.
fn from_rustup(shell: &mut Shell) -> Result<Option<Toolchain>, String> {
    let output = shell.capture(Command::new("rustc").args(["--print", "sysroot"]))?;
    let full = PathBuf::from(String::from_utf8_lossy(&output.stdout).trim());
    let libraries = |target: &str| full.join("lib/rustlib").join(target).join("lib");
    let complete = || TARGETS.iter().all(|target| libraries(target).is_dir());
    if !complete() {
        // Under rustup the folder has the toolchain's name; the default toolchain may be another
        // one.
        let toolchain = full.file_name().unwrap_or_default();
        let mut command = Command::new("rustup");
        command.args(["target", "add", "--toolchain"]).arg(toolchain).args(TARGETS);
        if let Err(reason) = shell.run(&mut command) {
            shell.note(&format!("{reason}; turning to Debian's packages"))?;
            return Ok(None);
        }
        if !complete() {
            return Err(format!("rustup added the targets, but not below {}", full.display()));
        }
    }
    let sysroot = shell.target().join("sysroot");
    for target in TARGETS {
        let into = sysroot.join("lib/rustlib").join(target).join("lib");
        copy_crates(&libraries(target), &into)
            .map_err(|error| format!("cannot copy core for {target}: {error}"))?;
    }
    Ok(Some(Toolchain { rustc: PathBuf::from("rustc"), sysroot }))
}

/// Copies core and compiler_builtins of one target again, since the compiler may have changed.
fn copy_crates(from: &Path, into: &Path) -> std::io::Result<()> {
    if into.exists() {
        fs::remove_dir_all(into)?;
    }
    fs::create_dir_all(into)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let name = entry.file_name();
        let wanted = |krate| name.to_string_lossy().starts_with(&format!("lib{krate}-"));
        if CRATES.into_iter().any(wanted) {
            fs::copy(entry.path(), into.join(&name))?;
        }
    }
    Ok(())
}

/// The folder for compiler and emulators, outside the clone.
///
/// # Errors
/// No environment variable names it.
pub(crate) fn prefix() -> Result<PathBuf, String> {
    if let Some(given) = std::env::var_os("BISSL_BARE_METAL") {
        return Ok(workspace().join(given));
    }
    let home = std::env::var_os("HOME")
        .ok_or("neither BISSL_BARE_METAL nor HOME is set, expected a folder for the compiler")?;
    Ok(Path::new(&home).join(".cache/bissl/bare-metal"))
}

/// A compiler assembled from Debian's packages, kept outside the clone.
fn from_debian(shell: &mut Shell) -> Result<Toolchain, String> {
    let prefix = prefix()?;
    let script = workspace().join("tests/src/bare_metal.sh");
    shell
        .run(Command::new("bash").arg(script).arg(&prefix).args(TARGETS).env("CARGO", cargo()))
        .map_err(|reason| {
            format!(
                "no compiler for bare metal: rustup could not add {} and {reason} \
                 (`--no-bare-metal` knowingly leaves this step out)",
                TARGETS.join(", ")
            )
        })?;
    Ok(Toolchain { rustc: prefix.join("rustc"), sysroot: prefix.join("sysroot") })
}

/// Compiles an empty crate, then one that uses alloc: the first must compile and the second must
/// not.
fn expect_no_alloc(shell: &mut Shell, toolchain: &Toolchain, target: &str) -> Result<(), String> {
    let probe = shell.target().join("probe.rs");
    for (source, compiles) in [("", true), ("extern crate alloc;\n", false)] {
        fs::write(&probe, format!("#![no_std]\n{source}"))
            .map_err(|error| format!("cannot write {}: {error}", probe.display()))?;
        let mut command = Command::new(&toolchain.rustc);
        command.arg("--sysroot").arg(&toolchain.sysroot).args(["--target", target]);
        command.args(["--crate-type", "rlib", "-o"]).arg(probe.with_extension("rlib")).arg(&probe);
        let output = shell.capture(&mut command)?;
        let no_such_crate = String::from_utf8_lossy(&output.stderr).contains("E0463");
        match (compiles, output.status.success()) {
            (true, false) => return Err(format!("an empty crate does not compile for {target}")),
            (false, true) => return Err(format!("the sysroot for {target} offers alloc")),
            (false, false) if !no_such_crate => {
                return Err(format!("the probe for {target} failed, but not for want of alloc"));
            }
            _ => {}
        }
    }
    Ok(())
}
