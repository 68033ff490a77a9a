//! The guarantees of the device program on one board: multiply-accumulates per instruction, bytes
//! of flash.

use super::{Board, PLAIN, Tools, Variant, build, emulate, flash_bytes, pairs, succeeded};
use crate::shell::Shell;

/// A Cortex-M4F with the memory map of an STM32F405.
pub(super) const BOARD: &str = "netduinoplus2";

const SPEED: Variant = Variant { name: "-speed", program: "speed", profile: "speed", ..PLAIN };
const SIZE: Variant = Variant {
    name: "-minimal",
    program: "minimal",
    features: " --features compact",
    profile: "size",
    ..PLAIN
};

/// Fewest multiply-accumulates per 1 000 instructions.
const RATE: u32 = 300;
/// Most bytes of a program that trains, without frames and weights.
const PROGRAM: u64 = 32 * 1024;
/// Bytes of the frames in flash: pictures with one byte per pixel, and labels.
const FRAMES: u64 = (1200 + 50) * 64 + 50;

/// Measures the three matrix products with plain and with tiled loops; returns a line about them.
///
/// # Errors
/// A product with tiled loops is below the rate.
pub(super) fn speed(shell: &mut Shell, tools: &Tools, board: &Board) -> Result<String, String> {
    let image = build(shell, tools, board, &SPEED)?;
    let output = shell.capture(&mut emulate(tools, board, &image))?;
    succeeded(board, &output).map_err(|reason| format!("speed: {reason}"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let mut rates = [Vec::new(), Vec::new()];
    for line in text.lines() {
        let values = pairs(line.as_bytes());
        let rate = values.get("per_thousand").and_then(|text| text.parse::<u32>().ok());
        match (values.get("loops").map(String::as_str), rate) {
            (Some("plain"), Some(rate)) => rates[0].push(rate),
            (Some("blocked"), Some(rate)) => {
                if rate < RATE {
                    return Err(format!(
                        "{}: found `{line}`, expected at least {RATE}",
                        board.machine
                    ));
                }
                rates[1].push(rate);
            }
            _ => {}
        }
    }
    let range = |rates: &[u32]| match (rates.iter().min(), rates.iter().max()) {
        (Some(least), Some(most)) => Ok(format!("{least} to {most}")),
        _ => Err(format!("{}: found no rates in `{}`", board.machine, text.trim())),
    };
    Ok(format!(
        "multiply-accumulates for 1 000 instructions: plain loops {}, tiled loops {}",
        range(&rates[0])?,
        range(&rates[1])?
    ))
}

/// Measures the smallest program that trains; returns a line about it.
///
/// # Errors
/// It has more bytes than guaranteed, or does not run to its end.
pub(super) fn size(shell: &mut Shell, tools: &Tools, board: &Board) -> Result<String, String> {
    let image = build(shell, tools, board, &SIZE)?;
    let output = shell.capture(&mut emulate(tools, board, &image))?;
    succeeded(board, &output).map_err(|reason| format!("minimal: {reason}"))?;
    let program = flash_bytes(&image)?.saturating_sub(FRAMES);
    if program > PROGRAM {
        let machine = board.machine;
        return Err(format!(
            "{machine}: found a program of {program} bytes, expected at most {PROGRAM}"
        ));
    }
    Ok(format!("program without frames: {program} bytes of flash"))
}
