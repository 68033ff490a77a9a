//! The examples train through all stages and say what came out.

use std::path::Path;
use std::process::Command;

/// Builds and runs an example; its output.
fn run(name: &str) -> String {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["run", "--release", "--locked", "-q", "-p", "bissl", "--example", name])
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(".."))
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("an example writes UTF-8")
}

/// The number behind a name at the beginning of a line.
fn value(output: &str, name: &str) -> f64 {
    let found = output.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok());
    found.unwrap_or_else(|| panic!("no {name} in {output}"))
}

/// By chance 1 of 10 classes, or 1 of 2 halves: a few seconds of training are better.
#[test]
fn a_loss_a_backbone_and_a_task_of_one_s_own_train_through_all_stages() {
    for name in ["own_loss", "own_backbone"] {
        let top_1 = value(&run(name), "test top-1:");
        assert!((0.12..1.0).contains(&top_1), "{name}: {top_1}");
    }
    let accuracy = value(&run("own_task"), "test accuracy of the halves:");
    assert!((0.55..1.0).contains(&accuracy), "{accuracy}");
}
