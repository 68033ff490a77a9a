//! The structure that `docs/architecture.md` describes, held by tests.

mod arrows;
mod documents;
mod modules;
mod rust_source;
mod tree;

use std::path::PathBuf;
use std::process::Command;

/// The folder that holds the workspace's manifest.
fn workspace() -> PathBuf {
    let mut path = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    path.pop();
    path
}

/// The text of a file, named from the workspace's root.
fn text(path: &str) -> String {
    let full = workspace().join(path);
    std::fs::read_to_string(&full).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The files of the project, named from the workspace's root with `/`: those that git tracks, or,
/// in an unpacked archive, all but the build's.
fn files() -> Vec<String> {
    let git = Command::new("git").args(["ls-files", "-z"]).current_dir(workspace()).output();
    let mut files = match git {
        Ok(output) if output.status.success() => String::from_utf8(output.stdout)
            .unwrap()
            .split_terminator('\0')
            .filter(|path| workspace().join(path).exists())
            .map(str::to_owned)
            .collect(),
        _ => {
            let mut found = Vec::new();
            walk("", &mut found);
            found
        }
    };
    files.sort();
    assert!(files.iter().any(|path| path == "Cargo.toml"), "no manifest among {files:?}");
    files
}

fn walk(folder: &str, found: &mut Vec<String>) {
    for entry in std::fs::read_dir(workspace().join(folder)).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        let path = if folder.is_empty() { name.clone() } else { format!("{folder}/{name}") };
        if !entry.file_type().unwrap().is_dir() {
            found.push(path);
        } else if name != "target" && name != ".git" {
            walk(&path, found);
        }
    }
}
