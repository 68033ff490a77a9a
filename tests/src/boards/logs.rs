//! An image that logs trains the same as one that does not, and its records are those of the
//! simulated device.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use super::{Board, PLAIN, TRAINING, Tools, Variant, build, emulate, pairs, succeeded};
use crate::shell::Shell;

const LOGGING: Variant = Variant { name: "-log", features: " --features log", ..PLAIN };

/// Records of [`TRAINING`]: beginning and end of four stages; steps of the stages, lower steps,
/// upper steps and ends of alternations; the result.
const RECORDS: usize = 2 * 4 + (10 + 10 + 2 * (10 + 4 + 1) + 10) + 1;

/// Builds, runs and decodes; returns a line about the records.
///
/// # Errors
/// The log changes the hash or names another one, its records differ from those of the simulated
/// device, or the decoder accepts something that is no log.
pub(super) fn check(
    shell: &mut Shell,
    tools: &Tools,
    board: &Board,
    hash: &str,
) -> Result<String, String> {
    let machine = board.machine;
    let image = build(shell, tools, board, &LOGGING)?;
    let output = shell.capture_bytes(&mut emulate(tools, board, &image))?;
    succeeded(board, &output).map_err(|reason| format!("log: {reason}"))?;
    let found = pairs(&output.stderr).remove("hash").unwrap_or_default();
    if found != hash {
        return Err(format!("{machine}: found state hash {found} with a log, {hash} without"));
    }
    let decoder = decoder(shell)?;
    let frames = write(shell, &format!("{machine}.frames"), &output.stdout)?;
    let log = decode(shell, &decoder, &image, &frames)?;
    let records = log.lines().count();
    if records != RECORDS {
        return Err(format!("{machine}: found {records} records, expected {RECORDS}"));
    }
    let end = format!("finished, state hash {hash}");
    if !log.lines().last().is_some_and(|line| line.ends_with(&end)) {
        return Err(format!("{machine}: the last record does not say `{end}`"));
    }
    expect_refusals(shell, &decoder, board, &image, &output.stdout)?;
    // The program's linker script works only for ELF files of this system.
    if !cfg!(target_os = "linux") {
        return Ok(format!("log of {records} records, not compared with the simulated device's"));
    }
    same_as_simulated(shell, &decoder, machine, &log)?;
    Ok(format!("log of {records} records, equal to those of the simulated device"))
}

/// Builds the program that turns frames into text.
fn decoder(shell: &mut Shell) -> Result<PathBuf, String> {
    shell.cargo(
        "build --release -p bissl-firmware-sim --features decode --bin bissl-firmware-sim",
    )?;
    Ok(shell.target().join("release/bissl-firmware-sim"))
}

/// Turns frames into text.
fn decode(
    shell: &mut Shell,
    decoder: &Path,
    image: &Path,
    frames: &Path,
) -> Result<String, String> {
    let output = decode_any(shell, decoder, image, frames)?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let reason = String::from_utf8_lossy(&output.stderr);
    Err(format!("{}: {}", frames.display(), reason.trim()))
}

fn decode_any(
    shell: &mut Shell,
    decoder: &Path,
    image: &Path,
    frames: &Path,
) -> Result<Output, String> {
    shell.capture(Command::new(decoder).args(["decode-log", "--image"]).arg(image).arg(frames))
}

/// Compares a board's log with that of the simulated device, record for record.
fn same_as_simulated(
    shell: &mut Shell,
    decoder: &Path,
    machine: &str,
    log: &str,
) -> Result<(), String> {
    let mut command = shell.cargo_command(
        "build --release -p bissl-firmware-sim --features defmt --bin bissl-firmware-log",
    );
    shell.run(command.env("DEFMT_LOG", "debug"))?;
    let program = shell.target().join("release/bissl-firmware-log");
    let output = shell.capture_bytes(Command::new(&program).args(TRAINING.split_whitespace()))?;
    if !output.status.success() {
        return Err(format!("{} ended with {}", program.display(), output.status));
    }
    let frames = write(shell, "simulated.frames", &output.stdout)?;
    let simulated = decode(shell, decoder, &program, &frames)?;
    if log == simulated {
        return Ok(());
    }
    let differs = || log.lines().zip(simulated.lines()).find(|(board, here)| board != here);
    let (board, here) = differs().unwrap_or(("fewer or more records", ""));
    Err(format!("{machine}: found the record `{board}`, the simulated device has `{here}`"))
}

/// Checks that what is no log of an image is refused, with the reason.
fn expect_refusals(
    shell: &mut Shell,
    decoder: &Path,
    board: &Board,
    image: &Path,
    frames: &[u8],
) -> Result<(), String> {
    let silent = shell.target().join(format!("{}.elf", board.machine));
    let missing = shell.target().join("no-such.frames");
    let whole = write(shell, "whole.frames", frames)?;
    let cut = write(shell, "cut.frames", frames.split_last().map_or(frames, |(_, rest)| rest))?;
    let damaged = write(shell, "damaged.frames", b"\xff\0")?;
    for (image, frames, reason) in [
        (silent.as_path(), &whole, "found no section .defmt"),
        (whole.as_path(), &whole, "found no table of format strings"),
        (missing.as_path(), &whole, "cannot read"),
        (image, &missing, "cannot read"),
        (image, &cut, &format!("the log ends within frame {RECORDS}")),
        (image, &damaged, "frame 1 is malformed"),
    ] {
        let output = decode_any(shell, decoder, image, frames)?;
        let said = String::from_utf8_lossy(&output.stderr);
        if output.status.code() != Some(1) || !said.contains(reason) {
            return Err(format!(
                "decode-log of {} with {} ended with {} and said `{}`, expected exit status 1 and `{reason}`",
                frames.display(),
                image.display(),
                output.status,
                said.trim()
            ));
        }
    }
    Ok(())
}

fn write(shell: &Shell, name: &str, bytes: &[u8]) -> Result<PathBuf, String> {
    let path = shell.target().join(name);
    fs::write(&path, bytes).map_err(|error| format!("cannot write {}: {error}", path.display()))?;
    Ok(path)
}
