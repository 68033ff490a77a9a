//! Text from outside is data: names of files, folders, classes and runs in what a person reads.
//!
//! A file may be called anything, and so can turn a line into two, move a terminal's cursor or make
//! a name look like another one. Whatever names such a thing in a message, a table or a page writes
//! it through [`shown`].

use std::ffi::OsStr;
use std::fmt::{self, Write};

/// Text on its way into a message; made by [`shown`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shown<'a>(&'a OsStr);

/// `text`, which is a path or a name, for a message: control characters and those that change the
/// direction or the lines of text become escapes such as `\n` and `\u{1b}`, and bytes that are no
/// UTF-8 become `\x80`.
pub(crate) fn shown<T: AsRef<OsStr> + ?Sized>(text: &T) -> Shown<'_> {
    Shown(text.as_ref())
}

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for chunk in self.0.as_encoded_bytes().utf8_chunks() {
            for character in chunk.valid().chars() {
                write_character(f, character)?;
            }
            for byte in chunk.invalid() {
                write!(f, "\\x{byte:02x}")?;
            }
        }
        Ok(())
    }
}

fn write_character(to: &mut impl Write, character: char) -> fmt::Result {
    if acts(character) {
        write!(to, "{}", character.escape_default())
    } else {
        to.write_char(character)
    }
}

/// Whether a character does something to the text around it instead of being seen.
pub(crate) fn acts(character: char) -> bool {
    character.is_control()
        || matches!(character,
            // Marks, embeddings, overrides and isolates of the bidirectional algorithm.
            '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
            // Separators of lines and paragraphs; spaces that cannot be seen.
            | '\u{2028}' | '\u{2029}' | '\u{200b}' | '\u{feff}')
}

/// A whole message: everything but its line breaks is escaped. What the message quotes should have
/// been [`shown`] already; this is for what other libraries say.
pub(crate) fn message(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\n' => out.push('\n'),
            // To a string nothing can fail.
            _ => write_character(&mut out, character).unwrap_or_default(),
        }
    }
    out
}

/// JSON whose strings hold no character that acts: the writer of JSON leaves some of them as they
/// are.
pub(crate) fn json(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        // Outside of strings JSON has no such character but its line breaks; and all that act are
        // of the basic plane.
        if acts(character) && character != '\n' {
            let _ = write!(out, "\\u{:04x}", u32::from(character));
        } else {
            out.push(character);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_acts_is_escaped_and_the_rest_is_left() {
        for (text, expected) in [
            ("a/b c.png", "a/b c.png"),
            ("Äpfel 林檎 تفاح 🏳️‍🌈", "Äpfel 林檎 تفاح 🏳️‍🌈"),
            ("two\nlines\ttab\r", "two\\nlines\\ttab\\r"),
            ("\u{1b}[31mred\u{9b}2J\u{7f}\0", "\\u{1b}[31mred\\u{9b}2J\\u{7f}\\u{0}"),
            ("gpj.\u{202e}exe\u{2066}\u{200f}", "gpj.\\u{202e}exe\\u{2066}\\u{200f}"),
            ("\u{2028}\u{feff}\u{200b}", "\\u{2028}\\u{feff}\\u{200b}"),
        ] {
            assert_eq!(shown(text).to_string(), expected);
        }
    }

    #[cfg(unix)]
    #[test]
    fn bytes_that_are_no_text_are_seen() {
        use std::os::unix::ffi::OsStrExt;
        let path = std::path::Path::new(OsStr::from_bytes(b"a\xff\x1b.png"));
        assert_eq!(shown(path).to_string(), "a\\xff\\u{1b}.png");
    }

    #[test]
    fn a_message_keeps_its_lines_and_nothing_else_that_acts() {
        assert_eq!(
            message("error: a\n  because: \u{1b}[2J\r"),
            "error: a\n  because: \\u{1b}[2J\\r"
        );
    }

    #[test]
    fn json_stays_json() {
        let name = "a\u{202e}\u{9b}\n\"";
        let text = json(&serde_json::to_string_pretty(&[name]).unwrap());
        assert!(!text.chars().any(|c| acts(c) && c != '\n'), "{text}");
        assert_eq!(serde_json::from_str::<[String; 1]>(&text).unwrap(), [name]);
    }
}
