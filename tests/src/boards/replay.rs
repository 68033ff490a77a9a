//! With the replies of the host's tensors the core makes the same requests on the board.

use super::{Board, PLAIN, Tools, Variant, build, emulate, pairs, succeeded};
use crate::shell::{Shell, workspace};

const REPLAY: Variant = Variant { name: "-replay", program: "replay", ..PLAIN };

/// Builds and runs the image; returns a line with the number of requests.
///
/// # Errors
/// A request differs, or there are fewer than in the trace.
pub(super) fn check(shell: &mut Shell, tools: &Tools, board: &Board) -> Result<String, String> {
    let image = build(shell, tools, board, &REPLAY)?;
    let output = shell.capture(&mut emulate(tools, board, &image))?;
    succeeded(board, &output).map_err(|reason| format!("replay: {reason}"))?;
    let path = workspace().join("firmware-sim/harness/data/host-trace.jsonl");
    let trace =
        std::fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    let (found, expected) = (pairs(&output.stdout), trace.lines().count() - 1);
    let value = |key: &str| found.get(key).map_or("?", String::as_str);
    if value("requests") != expected.to_string() {
        let found = value("requests");
        return Err(format!("{}: found {found} requests, expected {expected}", board.machine));
    }
    Ok(format!(
        "the host's trace: {expected} requests equal, {} events; stack {}/{}",
        value("events"),
        value("stack"),
        value("stack_limit")
    ))
}
