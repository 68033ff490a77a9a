//! The conformance kit on the board: every law holds for the board's arithmetic, with the same
//! figures as on this machine.

use std::process::Output;

use super::{Board, PLAIN, Tools, Variant, build, emulate, pairs, succeeded};
use crate::shell::Shell;

const LAWS: Variant = Variant { name: "-conformance", program: "conformance", ..PLAIN };

/// Builds and runs the image; returns a line with the number of laws.
///
/// # Errors
/// A law does not hold, the kit does not find a fault in the arithmetic, or a figure differs from
/// that of this machine.
pub(super) fn check(shell: &mut Shell, tools: &Tools, board: &Board) -> Result<String, String> {
    let machine = board.machine;
    let image = build(shell, tools, board, &LAWS)?;
    let output = shell.capture(&mut emulate(tools, board, &image))?;
    // The image fails if a law does, or if the kit does not notice the kernels with a fault.
    succeeded(board, &output).map_err(|reason| format!("conformance: {reason}"))?;
    let line = "run --release --quiet -p bissl-firmware-sim -- conformance";
    let here = shell.capture(&mut shell.cargo_command(line))?;
    let (found, expected) = (verdicts(&output), verdicts(&here));
    if expected.is_empty() {
        return Err(format!("`cargo {line}` ended with {} and no verdict", here.status));
    }
    if found.len() != expected.len() {
        let (found, expected) = (found.len(), expected.len());
        return Err(format!("{machine}: found {found} verdicts, expected {expected}"));
    }
    for (found, expected) in found.iter().zip(&expected) {
        if found != expected {
            return Err(format!("{machine}: found `{found}`, expected `{expected}`"));
        }
    }
    let counts = pairs(&output.stdout);
    let count = |key: &str| counts.get(key).map_or("?", String::as_str);
    Ok(format!(
        "{} laws hold with the figures of this machine, {} unsupported; the fault breaks {}; stack {}/{}, static {}",
        count("hold"),
        count("unsupported"),
        count("found"),
        count("stack"),
        count("stack_limit"),
        count("static")
    ))
}

/// The verdicts about the board's own arithmetic, one per line.
fn verdicts(output: &Output) -> Vec<String> {
    let text = String::from_utf8_lossy(&output.stdout);
    let lines = text.lines().map(str::trim_end);
    lines.filter(|line| line.starts_with("kernels=blocked ")).map(str::to_owned).collect()
}
