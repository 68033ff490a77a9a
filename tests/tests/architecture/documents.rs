//! Documents that exist, whose links lead somewhere, whose names are those of the code, and whose
//! lines hold one sentence each.

use std::path::{Component, Path, PathBuf};

use crate::{files, text};

const DOCUMENTS: [&str; 6] = [
    "CHANGELOG.md",
    "README.md",
    "docs/architecture.md",
    "docs/method.md",
    "docs/style.md",
    "docs/testing.md",
];

/// The README's two commands.
const COMMANDS: [&str; 2] =
    ["cargo run --release -p bissl -- demo", "cargo run --release -p bissl-tests"];

fn markdown() -> impl Iterator<Item = String> {
    files().into_iter().filter(|path| path.ends_with(".md"))
}

#[test]
fn the_documents_exist() {
    for document in DOCUMENTS {
        assert!(text(document).starts_with("# "), "{document} does not begin with its title");
    }
    for (licence, words) in [
        ("LICENSE-MIT", "Permission is hereby granted"),
        ("LICENSE-APACHE", "TERMS AND CONDITIONS FOR USE"),
    ] {
        assert!(text(licence).contains(words), "{licence} is not the whole text");
    }
}

#[test]
fn the_readme_names_its_two_commands() {
    for command in COMMANDS {
        assert!(text("README.md").contains(command), "README.md lacks `{command}`");
    }
}

/// `folder/../file` as `file`.
pub(crate) fn normal(path: &Path) -> PathBuf {
    let mut result = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => {
                result.pop();
            }
            Component::CurDir => {}
            other => result.push(other),
        }
    }
    result
}

#[test]
fn every_relative_link_leads_to_a_file() {
    let files = files();
    let exists =
        |path: &str| files.iter().any(|file| file == path || file.starts_with(&format!("{path}/")));
    let mut links = 0;
    for document in markdown() {
        let folder = Path::new(&document).parent().unwrap().to_owned();
        for link in text(&document).split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let path = link.split('#').next().unwrap_or("");
            if path.is_empty() || path.contains("://") || path.starts_with("mailto:") {
                continue;
            }
            let target = normal(&folder.join(path)).to_string_lossy().into_owned();
            assert!(exists(&target), "{document} links to {link}, which is not there");
            links += 1;
        }
    }
    assert!(links > 0, "no document links to a file");
}

#[test]
fn decision_records_are_numbered_without_gaps_and_complete() {
    let records: Vec<String> =
        files().into_iter().filter(|path| path.starts_with("docs/decisions/")).collect();
    assert!(!records.is_empty());
    for (number, record) in (1..).zip(&records) {
        let content = text(record);
        let title = format!("# {number:04}. ");
        assert!(
            record.starts_with(&format!("docs/decisions/{number:04}-")),
            "{record} at {number}"
        );
        assert!(content.starts_with(&title), "{record} does not begin with `{title}`");
        for part in ["Status: ", "## Context", "## Decision", "## Consequences"] {
            assert!(content.contains(part), "{record} lacks `{part}`");
        }
    }
}

#[test]
fn the_code_map_names_every_module() {
    let map = text("docs/architecture.md");
    for folder in ["core/src/", "host/src/", "firmware-sim/lib/src/"] {
        for path in files().iter().filter(|path| path.starts_with(folder)) {
            let within = &path[folder.len()..];
            let Some(module) = within.split('/').next() else { continue };
            let module = module.trim_end_matches(".rs");
            if !["lib", "main"].contains(&module) {
                assert!(
                    map.contains(&format!("`{module}`")),
                    "no `{module}` of {folder} in the map"
                );
            }
        }
    }
}

/// The table of docs/method.md has symbols in its first column and identifiers in its second.
#[test]
fn the_notation_table_names_identifiers_of_the_code() {
    let method = text("docs/method.md");
    let code: String = files()
        .iter()
        .filter(|path| path.ends_with(".rs") && !path.starts_with("tests/"))
        .map(|path| text(path))
        .collect();
    let words: std::collections::BTreeSet<&str> =
        code.split(|c: char| !c.is_alphanumeric() && c != '_').collect();
    let header = "| symbol | identifier |";
    let table = method.split(header).nth(1).unwrap_or_else(|| panic!("no table `{header}`"));
    let mut checked = 0;
    for row in table.lines().skip(2).take_while(|line| line.starts_with('|')) {
        let cell = row.split('|').nth(2).unwrap_or("");
        for quoted in cell.split('`').skip(1).step_by(2) {
            for word in quoted.split(|c: char| !c.is_alphanumeric() && c != '_') {
                assert!(word.is_empty() || words.contains(word), "{row}: no `{word}` in the code");
                checked += 1;
            }
        }
    }
    assert!(checked > 10, "only {checked} identifiers in the table");
}

/// Words whose full stop ends no sentence. Initials, as in "D. Knuth", end none either.
const ABBREVIATIONS: [&str; 5] = ["al.", "cf.", "e.g.", "i.e.", "vs."];

/// Whether a sentence ends with this word.
fn ends_sentence(word: &str) -> bool {
    let word = word.trim_end_matches([')', ']', '*', '_', '"', '”']);
    let word = word.trim_start_matches(['(', '[', '*', '_', '"', '“']);
    let initial = word.len() == 2 && word.starts_with(|c: char| c.is_ascii_uppercase());
    word.ends_with(['.', '?', '!']) && !initial && !ABBREVIATIONS.contains(&word)
}

/// Whether a sentence may begin with this word: with a capital, a digit, a Greek letter or code.
fn begins_sentence(word: &str) -> bool {
    let word = word.trim_start_matches(['(', '[', '*', '_', '"', '“']);
    word.starts_with(|c: char| c == '`' || c.is_alphanumeric() && !c.is_ascii_lowercase())
}

/// The number of sentences in a line of prose. What stands in backticks counts as one word.
fn sentences(line: &str) -> usize {
    let mut code = false;
    let line: String = line
        .chars()
        .map(|c| {
            code ^= c == '`';
            if code && c != '`' { 'x' } else { c }
        })
        .collect();
    let words: Vec<&str> = line.split_whitespace().collect();
    1 + words.windows(2).filter(|pair| ends_sentence(pair[0]) && begins_sentence(pair[1])).count()
}

/// The marker of a list item ("- ", "12. ") at the beginning of `line`, in bytes.
fn marker(line: &str) -> Option<usize> {
    let (mark, rest) = line.split_once(' ')?;
    let number = mark.strip_suffix('.').is_some_and(|n| n.parse::<u32>().is_ok());
    (number || ["-", "*", "+"].contains(&mark)).then(|| line.len() - rest.len())
}

/// The lines of prose, each with its number from 1 and without the marker of a list item.
///
/// Not prose: headings, tables, quotations, link definitions, fenced code, and code that is
/// indented by four spaces outside of a list.
fn prose(document: &str) -> Vec<(usize, &str)> {
    let (mut fence, mut list, mut paragraph) = (false, false, false);
    let mut found = Vec::new();
    for (number, line) in (1..).zip(document.lines()) {
        let content = line.trim();
        if content.starts_with("```") {
            fence = !fence;
        } else if content.is_empty() {
            paragraph = false;
        } else if !fence && !content.starts_with(['#', '|', '>']) {
            let item = marker(content);
            list = item.is_some() || list && (paragraph || line.starts_with(' '));
            let code = line.starts_with("    ") && !list && !paragraph;
            let definition = content.starts_with('[') && content.contains("]: ");
            if !code && !definition {
                found.push((number, &content[item.unwrap_or(0)..]));
                paragraph = true;
            }
        }
    }
    found
}

/// The numbers of the lines that hold more than one sentence.
fn crowded_lines(document: &str) -> Vec<usize> {
    let lines = prose(document).into_iter();
    lines.filter(|(_, line)| sentences(line) > 1).map(|(number, _)| number).collect()
}

#[test]
fn a_line_of_prose_holds_one_sentence() {
    let (mut lines, mut crowded) = (0, Vec::new());
    for document in markdown() {
        let content = text(&document);
        crowded.extend(crowded_lines(&content).iter().map(|number| format!("{document}:{number}")));
        lines += prose(&content).len();
    }
    assert!(crowded.is_empty(), "begin a line with each sentence:\n{}", crowded.join("\n"));
    assert!(lines > 500, "only {lines} lines of prose");
}

#[test]
fn two_sentences_in_a_line_are_found() {
    for line in [
        "One fact. Another.",
        "Is it? Yes.",
        "**Stack.** It lies below the data.",
        "(In brackets.) Outside.",
        "It runs `cargo test`. `cargo doc` follows.",
        "It ends. λ is small.",
        "There are two. 32 laws hold.",
        "- An item. Its second sentence.",
        "12. An item. Its second sentence.",
    ] {
        assert_eq!(crowded_lines(&format!("# Title\n\nA line.\n{line}\n")), [4], "{line}");
    }
    assert_eq!(crowded_lines("- An item.\n\n    Still the item. And again.\n"), [3]);
}

#[test]
fn what_is_no_second_sentence_is_left_alone() {
    for line in [
        "One fact.",
        "Zakarias et al. 2024, D. Knuth, i.e. Two, e.g. `cargo`, cf. Section 3, CPU vs. GPU.",
        "1. An item.",
        "Version 0.21.0 is `Once. Upon. A time.` in [decision 1](decisions/0001-burn-0.21.0.md).",
        "# 0001. Burn. Pinned.",
        "| a cell. Another sentence. |",
        "> Quoted. As it was written.",
        "[link]: target.md \"A title. Another.\"",
        "```\nx. Y\n```",
        "\n    A x = b. C y = d.",
    ] {
        assert_eq!(crowded_lines(line), [0; 0], "{line}");
    }
}

/// The most columns of a comment in Rust.
const COMMENT_COLUMNS: usize = 100;

/// The numbers, from 1, of the lines that are a comment and have more than [`COMMENT_COLUMNS`]. A
/// row of a table cannot be broken.
fn wide_comments(source: &str) -> Vec<usize> {
    let comments =
        (1..).zip(source.lines()).filter(|(_, line)| line.trim_start().starts_with("//"));
    comments
        .filter(|(_, line)| line.chars().count() > COMMENT_COLUMNS && !line.ends_with(" |"))
        .map(|(number, _)| number)
        .collect()
}

#[test]
fn comments_have_at_most_100_columns() {
    let mut wide = Vec::new();
    for path in files().iter().filter(|path| path.ends_with(".rs")) {
        wide.extend(wide_comments(&text(path)).iter().map(|number| format!("{path}:{number}")));
    }
    assert!(wide.is_empty(), "{} comments are too wide:\n{}", wide.len(), wide.join("\n"));
}

#[test]
fn wide_comments_are_found() {
    let line =
        |start: &str, columns: usize| format!("{start}{}\n", "ø".repeat(columns - start.len()));
    for start in ["// ", "/// ", "//! ", "    // "] {
        assert_eq!(wide_comments(&line(start, COMMENT_COLUMNS)), [0; 0], "{start}");
        assert_eq!(
            wide_comments(&format!("\n{}", line(start, COMMENT_COLUMNS + 1))),
            [2],
            "{start}"
        );
    }
    assert_eq!(wide_comments(&line("let x = ", 200)), [0; 0]);
}
