//! The smartwatch that is aligned to its wearer ends in the same state on the board as here.

use super::{Board, PLAIN, Tools, Variant, build, emulate, pairs, succeeded};
use crate::shell::Shell;

const WATCH: Variant = Variant { name: "-watch", program: "watch", ..PLAIN };

/// Builds and runs the image; returns a line about it.
///
/// # Errors
/// The state or an accuracy differs from that of this machine.
pub(super) fn check(shell: &mut Shell, tools: &Tools, board: &Board) -> Result<String, String> {
    let image = build(shell, tools, board, &WATCH)?;
    let output = shell.capture(&mut emulate(tools, board, &image))?;
    succeeded(board, &output).map_err(|reason| format!("watch: {reason}"))?;
    let line = "run --release --quiet -p bissl-firmware-sim -- adapt wearer --json";
    let here = shell.capture(&mut shell.cargo_command(line))?;
    let here = String::from_utf8_lossy(&here.stdout).into_owned();
    let found = pairs(&output.stdout);
    let value = |key: &str| found.get(key).map_or("?", String::as_str);
    for (key, expected) in [
        ("hash", format!("\"hash\":\"{}\"", value("hash"))),
        ("before", format!("\"before\":{},", value("before"))),
        ("aligned", format!("\"aligned\":{},", value("aligned"))),
        ("held_out", format!("\"held_out\":{},", value("held_out"))),
    ] {
        if !here.contains(&expected) {
            let (machine, here) = (board.machine, here.trim());
            return Err(format!("{machine}: found {key}={}, expected that of {here}", value(key)));
        }
    }
    Ok(format!(
        "watch: state hash {}, {} of {} windows before, {} aligned, as on this machine; static {}, stack {}/{}",
        value("hash"),
        value("before"),
        value("held_out"),
        value("aligned"),
        value("static"),
        value("stack"),
        value("stack_limit")
    ))
}
