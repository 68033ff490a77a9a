//! Which module of the host may use which: from the paths in its sources.

use std::collections::BTreeSet;

use crate::rust_source::{Crate, Graph, circle, shipped, tokens};
use crate::{files, text};

/// The top-level modules of the host from the lowest up, and those that each of them names.
const MODULES: [(&str, &[&str]); 25] = [
    ("device_failure", &[]),
    ("hash", &[]),
    ("machine", &[]),
    ("names", &[]),
    ("pickle", &[]),
    ("text", &[]),
    ("progress", &["text"]),
    ("report", &["text"]),
    ("data", &["hash", "names", "pickle", "text"]),
    ("kernels", &["data", "device_failure", "names"]),
    ("backend", &["device_failure", "kernels"]),
    ("network", &["kernels", "names"]),
    ("config", &["data", "kernels", "names", "network", "text"]),
    ("driver", &["data", "kernels", "network"]),
    ("model", &["config", "driver", "kernels", "network"]),
    ("run", &["config", "hash", "machine", "text"]),
    ("error", &["backend", "config", "data", "driver", "machine", "report", "run"]),
    ("state_dict", &["pickle", "run", "text"]),
    (
        "stage",
        &[
            "backend", "config", "data", "driver", "error", "hash", "kernels", "machine", "model",
            "network", "progress", "run", "text",
        ],
    ),
    (
        "bench",
        &[
            "backend", "config", "data", "driver", "error", "hash", "kernels", "model", "network",
            "progress", "report", "run", "stage",
        ],
    ),
    (
        "interchange",
        &[
            "backend",
            "config",
            "data",
            "driver",
            "error",
            "kernels",
            "model",
            "network",
            "run",
            "stage",
            "state_dict",
            "text",
        ],
    ),
    (
        "plan",
        &[
            "backend", "config", "data", "driver", "error", "kernels", "machine", "model",
            "network", "progress", "report", "run", "stage",
        ],
    ),
    (
        "verify",
        &[
            "backend", "config", "data", "driver", "error", "kernels", "model", "network",
            "progress", "report", "run", "stage",
        ],
    ),
    (
        "curvature",
        &[
            "backend",
            "config",
            "data",
            "driver",
            "error",
            "interchange",
            "kernels",
            "model",
            "network",
            "progress",
            "report",
            "run",
            "stage",
            "text",
        ],
    ),
    (
        "cli",
        &[
            "backend",
            "bench",
            "config",
            "curvature",
            "data",
            "device_failure",
            "error",
            "interchange",
            "kernels",
            "machine",
            "model",
            "network",
            "plan",
            "progress",
            "report",
            "run",
            "stage",
            "text",
            "verify",
        ],
    ),
];

/// Where the host prints; the rest returns what there is to say.
const PRINTING: [&str; 2] = ["cli/", "progress.rs"];

/// Where the host makes a problem out of settings.
const PROBLEMS: [&str; 3] = ["stage/bilevel.rs", "stage/pretrain.rs", "stage/warm_up.rs"];

/// The sources of the host: paths below `host/src`, and texts.
fn sources() -> Vec<(String, String)> {
    let all = files().into_iter().filter(|path| path.ends_with(".rs"));
    let own =
        all.filter_map(|path| Some((path.strip_prefix("host/src/")?.to_owned(), text(&path))));
    own.collect()
}

fn joined(circle: &[String]) -> String {
    [circle, &circle[..1]].concat().join(" -> ")
}

#[test]
fn modules_use_exactly_those_of_the_table_and_never_in_a_circle() {
    let names = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect();
    let table: Graph = MODULES.iter().map(|(from, to)| ((*from).to_owned(), names(to))).collect();
    if let Some(circle) = circle(&table) {
        panic!("the table has a circle: {}", joined(&circle));
    }
    let found = Crate::read(&sources()).top_level();
    let none = BTreeSet::new();
    for name in found.keys().chain(table.keys()).collect::<BTreeSet<_>>() {
        let (used, allowed) = (found.get(name).unwrap_or(&none), table.get(name).unwrap_or(&none));
        let new: Vec<_> = used.difference(allowed).collect();
        assert!(new.is_empty(), "{name} must not use {new:?}; the table has no such arrows");
        let gone: Vec<_> = allowed.difference(used).collect();
        assert!(gone.is_empty(), "{name} uses {gone:?} no more; take the arrows out of the table");
    }
    assert_eq!(found.keys().collect::<Vec<_>>(), table.keys().collect::<Vec<_>>());
}

#[test]
fn no_files_use_each_other_in_a_circle() {
    let graph = Crate::read(&sources()).files_used();
    if let Some(circle) = circle(&graph) {
        panic!("what both need belongs into a file below both: {}", joined(&circle));
    }
    assert!(graph.values().flatten().count() > 300, "too few arrows: paths are not read");
}

/// The files of the host whose shipped code has a sequence of tokens.
fn files_with(sequences: &[&[&str]]) -> BTreeSet<String> {
    let sources = sources();
    let shipped_files: BTreeSet<String> =
        Crate::read(&sources).files().map(str::to_owned).collect();
    let has = |text: &str| {
        let (kept, _) = shipped(&tokens(text));
        sequences.iter().any(|words| kept.windows(words.len()).any(|window| window == *words))
    };
    let found = sources.iter().filter(|(path, text)| shipped_files.contains(path) && has(text));
    found.map(|(path, _)| path.clone()).collect()
}

#[test]
fn the_command_line_and_the_progress_bar_alone_print() {
    let printing = ["print", "println", "eprint", "eprintln"].map(|name| [name, "!"]);
    let found = files_with(&printing.each_ref().map(|words| words.as_slice()));
    assert!(found.iter().any(|path| path.starts_with("cli/")), "nothing prints: {found:?}");
    let may = |path: &String| PRINTING.iter().any(|folder| path.starts_with(folder));
    let others: Vec<_> = found.iter().filter(|path| !may(path)).collect();
    assert!(others.is_empty(), "{others:?} print, which is the work of {PRINTING:?}");
}

/// So that `verify`, `plan` and `bench` measure what `align` trains.
#[test]
fn three_stages_make_all_problems_out_of_settings() {
    let found = files_with(&[&["Problem", "::", "new", "("]]);
    assert_eq!(found, PROBLEMS.map(str::to_owned).into());
}

#[test]
fn drive_of_the_core_is_the_only_loop_over_requests() {
    let found = files_with(&[&["Pending", "::"], &[".", "pending", "("]]);
    assert!(found.is_empty(), "{found:?} ask machines themselves, which is the work of `drive`");
    assert!(!files_with(&[&["drive", "("]]).is_empty(), "nothing of the host calls `drive`");
}
