//! Turns defmt frames into text.

use std::fmt::Write as _;

use defmt_decoder::{DecodeError, Encoding, Table};

/// Why frames cannot be turned into text.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The image is no ELF file, or one of another version of defmt.
    #[error("found no table of format strings: {0:#}")]
    Table(anyhow::Error),
    /// The image has no format strings.
    #[error("found no section .defmt, expected an image built with its feature `log` or `defmt`")]
    NoTable,
    /// The image's encoding does not separate frames.
    #[error("found the encoding {0:?}, expected rzcobs")]
    Encoding(Encoding),
    /// A frame is damaged, or of another image.
    #[error("frame {number} is malformed, expected a frame of this very image")]
    Malformed {
        /// The frame's number, from 1.
        number: u64,
    },
    /// The last frame is not complete.
    #[error("the log ends within frame {number}")]
    Truncated {
        /// The frame's number, from 1.
        number: u64,
    },
}

/// The text of `frames`, one line for each record: its level and its message.
///
/// `image` is the ELF file whose run wrote the frames; only this file has the format strings.
///
/// # Errors
/// The image has no format strings, or a frame is not from it.
pub fn decode_log(image: &[u8], frames: &[u8]) -> Result<String, LogError> {
    let table = Table::parse(image).map_err(LogError::Table)?.ok_or(LogError::NoTable)?;
    if table.encoding() != Encoding::Rzcobs {
        return Err(LogError::Encoding(table.encoding()));
    }
    let mut decoder = table.new_stream_decoder();
    decoder.received(frames);
    let mut text = String::new();
    for number in 1.. {
        let frame = match decoder.decode() {
            Ok(frame) => frame,
            Err(DecodeError::Malformed) => return Err(LogError::Malformed { number }),
            // Every frame ends with a zero.
            Err(DecodeError::UnexpectedEof) => match frames.last() {
                Some(byte) if *byte != 0 => return Err(LogError::Truncated { number }),
                _ => break,
            },
        };
        let level = frame.level().map_or("print", |level| level.as_str());
        let _ = writeln!(text, "{level:<5} {}", frame.display_message());
    }
    Ok(text)
}
