//! What lies where: nothing at the top that has no place there, no source that nothing compiles.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use crate::documents::normal;
use crate::{files, text, workspace};

const TOP_LEVEL: [&str; 14] = [
    ".ci",
    ".gitignore",
    ".rustfmt.toml",
    "CHANGELOG.md",
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE-APACHE",
    "LICENSE-MIT",
    "README.md",
    "core",
    "docs",
    "firmware-sim",
    "host",
    "tests",
];

#[test]
fn the_top_level_is_as_designed() {
    let found: BTreeSet<String> =
        files().iter().filter_map(|path| path.split('/').next().map(str::to_owned)).collect();
    let expected: BTreeSet<String> = TOP_LEVEL.iter().map(|&entry| entry.to_owned()).collect();
    assert_eq!(found, expected);
}

/// Where cargo starts to compile, by its rules for file names.
fn is_root(path: &str) -> bool {
    let mut parts: Vec<&str> = path.split('/').collect();
    let file = parts.pop().unwrap_or("");
    let folder = parts.pop().unwrap_or("");
    let above = parts.pop().unwrap_or("");
    match folder {
        "src" => file == "main.rs" || file == "lib.rs",
        "tests" | "examples" | "benches" | "bin" => true,
        _ if file == "build.rs" => true,
        _ => file == "main.rs" && ["tests", "examples", "benches", "bin"].contains(&above),
    }
}

/// The files that `path` declares as its modules.
fn modules(path: &str) -> Vec<String> {
    let own = Path::new(path);
    let folder = own.parent().unwrap();
    let below = if is_root(path) || own.ends_with("mod.rs") {
        folder.to_owned()
    } else {
        own.with_extension("")
    };
    let mut found = Vec::new();
    let mut given: Option<PathBuf> = None;
    for line in text(path).lines().map(str::trim) {
        if let Some(rest) = line.strip_prefix("#[path = \"") {
            given = rest.split('"').next().map(|file| folder.join(file));
            continue;
        }
        let words: Vec<&str> = line.trim_end_matches(';').split_whitespace().collect();
        let declares = line.ends_with(';') && words.len() >= 2 && words[words.len() - 2] == "mod";
        if declares {
            let module = words[words.len() - 1];
            let candidates = match given.take() {
                Some(file) => vec![normal(&file)],
                None => vec![below.join(format!("{module}.rs")), below.join(module).join("mod.rs")],
            };
            found.extend(candidates.iter().map(|file| file.to_string_lossy().into_owned()));
        }
    }
    found
}

#[test]
fn every_source_is_compiled() {
    let sources: BTreeSet<String> =
        files().into_iter().filter(|path| path.ends_with(".rs")).collect();
    let mut reached = BTreeSet::new();
    let mut queue: Vec<String> = sources.iter().filter(|path| is_root(path)).cloned().collect();
    while let Some(path) = queue.pop() {
        if reached.insert(path.clone()) {
            let declared = modules(&path).into_iter().filter(|module| sources.contains(module));
            queue.extend(declared);
        }
    }
    let dead: Vec<&String> = sources.difference(&reached).collect();
    assert!(dead.is_empty(), "no target compiles {dead:?}");
    assert!(reached.len() > 20, "only {} sources were found", reached.len());
}

#[test]
fn the_ci_script_runs_the_command_of_the_readme() {
    let script = text(".ci/run");
    assert!(script.contains("-p bissl-tests"), ".ci/run does not run the test command");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = workspace().join(".ci/run").metadata().unwrap().permissions().mode();
        assert_ne!(mode & 0o100, 0, ".ci/run is not executable");
    }
}
