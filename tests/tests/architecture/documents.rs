//! Documents that exist, whose links lead somewhere and whose names are those of the code.

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
