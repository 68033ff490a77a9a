//! An image whose stack is too small reports it, and soon.

use super::{Board, PLAIN, Tools, Variant, build, emulate};
use crate::shell::Shell;

/// A stack that is enough to begin with, and a third of what training needs.
const TINY: Variant = Variant { name: "-tiny-stack", stack: Some("1024"), ..PLAIN };

/// Exit status of an image after a fault of its processor.
const FAULT: i32 = 102;

/// Builds and runs an image with a tiny stack; returns the line that names the overflow.
///
/// # Errors
/// The image trains, hangs, or ends without naming the overflow.
pub(super) fn check(shell: &mut Shell, tools: &Tools, board: &Board) -> Result<String, String> {
    let image = build(shell, tools, board, &TINY)?;
    let output = shell.capture(&mut emulate(tools, board, &image))?;
    let printed = String::from_utf8_lossy(&output.stderr);
    let line = printed.lines().find(|line| line.starts_with("stack overflow"));
    match line {
        Some(line) if output.status.code() == Some(FAULT) => Ok(line.to_owned()),
        _ => Err(format!(
            "{}: with too small a stack the image ended with {} and printed `{}`, expected exit status \
             {FAULT} and `stack overflow`",
            board.machine,
            output.status,
            printed.trim()
        )),
    }
}
