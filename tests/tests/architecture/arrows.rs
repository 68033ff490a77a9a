//! Which package may depend on which: from `cargo metadata`.

use std::process::Command;

use serde_json::Value;

use crate::{files, text, workspace};

/// What a package may depend on.
struct Arrows {
    package: &'static str,
    /// Packages of this workspace.
    ours: &'static [&'static str],
    /// Packages of others, in what is built for use.
    others: Others,
}

enum Others {
    /// These and none besides.
    Only(&'static [&'static str]),
    /// Any but those whose names begin so.
    Without(&'static [&'static str]),
}

const ARROWS: [Arrows; 5] = [
    Arrows {
        package: "bissl-core",
        ours: &[],
        others: Others::Only(&["libm", "heapless", "serde", "defmt"]),
    },
    Arrows {
        package: "bissl-firmware",
        ours: &["bissl-core"],
        others: Others::Only(&[
            "libm",
            "heapless",
            "bytemuck",
            "embedded-storage",
            "serde",
            "postcard",
            "defmt",
        ]),
    },
    Arrows { package: "bissl", ours: &["bissl-core"], others: Others::Without(&["defmt"]) },
    Arrows {
        package: "bissl-firmware-sim",
        ours: &["bissl-core", "bissl-firmware"],
        others: Others::Without(&["burn"]),
    },
    Arrows {
        package: "bissl-tests",
        ours: &["bissl-core", "bissl", "bissl-firmware", "bissl-firmware-sim"],
        others: Others::Without(&["defmt"]),
    },
];

fn packages() -> Vec<Value> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--no-deps", "--offline"])
        .current_dir(workspace())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    metadata["packages"].as_array().unwrap().clone()
}

fn name(value: &Value) -> &str {
    value["name"].as_str().unwrap()
}

#[test]
fn the_workspace_has_exactly_the_packages_of_the_table() {
    let mut found: Vec<String> = packages().iter().map(|p| name(p).to_owned()).collect();
    let mut expected: Vec<&str> = ARROWS.iter().map(|arrows| arrows.package).collect();
    found.sort();
    expected.sort();
    assert_eq!(found, expected);
}

#[test]
fn every_dependency_follows_an_arrow() {
    for package in packages() {
        let arrows = ARROWS.iter().find(|arrows| arrows.package == name(&package)).unwrap();
        for dependency in package["dependencies"].as_array().unwrap() {
            let (from, to) = (arrows.package, name(dependency));
            if ARROWS.iter().any(|other| other.package == to) {
                assert!(arrows.ours.contains(&to), "{from} must not depend on {to}");
            } else if dependency["kind"].is_null() {
                let allowed = match arrows.others {
                    Others::Only(names) => names.contains(&to),
                    Others::Without(prefixes) => !prefixes.iter().any(|p| to.starts_with(p)),
                };
                assert!(allowed, "{from} must not depend on {to}");
            } else {
                assert_ne!(dependency["kind"], "build", "{from} must not run {to} while building");
            }
        }
    }
}

/// The version of Burn is one decision (docs/decisions/0001), and so is that of libm, on which bit
/// identity rests.
#[test]
fn burn_and_libm_are_pinned_exactly() {
    for package in packages() {
        for dependency in package["dependencies"].as_array().unwrap() {
            let to = name(dependency);
            if to.starts_with("burn") || to == "libm" {
                let version = dependency["req"].as_str().unwrap();
                assert!(version.starts_with('='), "{}: {to} {version}", name(&package));
            }
        }
    }
}

/// The board images are outside the workspace and have a lock file of their own. What the hash
/// rests on, arithmetic and encoding, must be the same crate there as here.
#[test]
fn the_board_images_lock_the_versions_of_the_workspace() {
    let here = locked(&text("Cargo.lock"));
    let boards = locked(&text("firmware-sim/boards/Cargo.lock"));
    for name in ["libm", "postcard", "serde", "serde_core", "embedded-storage"] {
        let versions = |lock: &[(String, String)]| -> Vec<String> {
            let of_name = lock.iter().filter(|(found, _)| found == name);
            of_name.map(|(_, version)| version.clone()).collect()
        };
        assert_eq!(versions(&boards), versions(&here), "{name}: boards and workspace differ");
        assert!(!versions(&here).is_empty(), "{name} is not locked");
    }
}

/// Names and versions of a lock file.
fn locked(lock: &str) -> Vec<(String, String)> {
    let value = |line: &str, key: &str| {
        Some(line.strip_prefix(key)?.strip_prefix(" = \"")?.trim_end_matches('"').to_owned())
    };
    let lines: Vec<&str> = lock.lines().collect();
    let pairs = lines.windows(2);
    pairs.filter_map(|pair| Some((value(pair[0], "name")?, value(pair[1], "version")?))).collect()
}

#[test]
fn every_package_carries_both_licences() {
    for package in packages() {
        assert_eq!(package["license"], "MIT OR Apache-2.0", "{}", name(&package));
    }
}

/// The bare-metal build proves it; this says it in a second, and says where.
#[test]
fn the_device_packages_name_neither_std_nor_alloc() {
    for root in ["core/src/lib.rs", "firmware-sim/lib/src/lib.rs"] {
        for attribute in ["#![no_std]", "#![forbid(unsafe_code)]"] {
            assert!(text(root).contains(attribute), "{root} lacks {attribute}");
        }
    }
    for path in sources("core/src/").chain(sources("firmware-sim/lib/src/")) {
        let content = text(&path);
        // Tests run on a PC; they stand at the end of a file.
        let shipped = content.split("#[cfg(test)]").next().unwrap_or("");
        for line in shipped.lines().map(str::trim_start).filter(|line| !line.starts_with("//")) {
            for word in ["std::", "alloc::", "extern crate"] {
                assert!(!line.contains(word), "{path} names {word}: {line}");
            }
        }
    }
}

/// Where Burn's types may be named in the host; everything else goes through these.
const BURN_FOLDERS: [&str; 4] = ["backend.rs", "driver/", "kernels/", "network/"];

#[test]
fn burn_stays_behind_its_folders() {
    let mut seen = 0;
    for path in sources("host/src/") {
        let within = path.trim_start_matches("host/src/");
        let names_burn = text(&path)
            .lines()
            .filter(|line| !line.trim_start().starts_with("//"))
            .any(|line| line.contains("burn_"));
        let may = BURN_FOLDERS.iter().any(|folder| within.starts_with(folder));
        assert!(may || !names_burn, "{path} names Burn, which is the work of {BURN_FOLDERS:?}");
        seen += usize::from(names_burn);
    }
    assert!(seen > 0, "no file of the host names Burn: this test looks for the wrong word");
}

/// So that tests can put a file system under a run that fails.
#[test]
fn runs_touch_files_through_their_disk_alone() {
    let own = |path: &String| path.ends_with("/disk.rs") || path.contains("tests");
    for path in sources("host/src/run/").filter(|path| !own(path)) {
        let content = text(&path);
        let shipped = content.split("#[cfg(test)]\nmod tests {").next().unwrap_or("");
        for word in ["fs::read", "fs::write", "fs::{self", "fs::File", "std::fs;"] {
            assert!(!shipped.contains(word), "{path} names {word}, which is the work of disk.rs");
        }
    }
    assert!(text("host/src/run/disk.rs").contains("std::fs"), "the disk is elsewhere");
}

fn sources(folder: &'static str) -> impl Iterator<Item = String> {
    files().into_iter().filter(move |path| path.starts_with(folder) && path.ends_with(".rs"))
}
