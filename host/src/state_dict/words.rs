//! Names out of a file, in messages.

use crate::text;

/// Names in one message at most.
const NAMES_MAX: usize = 8;

/// Characters of a name at most.
const CHARS_MAX: usize = 100;

/// A name as [`text::shown`] shows it; a long one is cut.
pub(crate) fn shown(name: &str) -> String {
    match name.char_indices().nth(CHARS_MAX) {
        Some((end, _)) => format!("{}…", text::shown(&name[..end])),
        None => text::shown(name).to_string(),
    }
}

/// Some names, and how many more there are.
pub(crate) fn some<N: AsRef<str>>(names: impl IntoIterator<Item = N>) -> String {
    let mut names = names.into_iter();
    let first: Vec<String> =
        names.by_ref().take(NAMES_MAX).map(|name| shown(name.as_ref())).collect();
    match names.count() {
        0 => first.join(", "),
        more => format!("{} and {more} more", first.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_out_of_a_file_stays_on_its_line() {
        assert_eq!(shown("a\n\u{1b}[31m.weight"), "a\\n\\u{1b}[31m.weight");
        assert_eq!(shown(&"ü".repeat(200)).chars().count(), CHARS_MAX + 1);
        assert_eq!(some(["a"; 9]), "a, a, a, a, a, a, a, a and 1 more");
    }
}
