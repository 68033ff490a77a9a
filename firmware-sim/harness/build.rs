//! Build settings of the program that logs with defmt: the log level, and a place for its format
//! strings.

use std::env;
use std::path::Path;

const PROGRAM: &str = "bissl-firmware-log";

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=defmt.x");
    println!("cargo::rerun-if-env-changed=DEFMT_LOG");
    if env::var_os("CARGO_FEATURE_DEFMT").is_none() {
        return;
    }
    // Without a level defmt keeps only errors.
    let level = env::var("DEFMT_LOG").unwrap_or_else(|_| "debug".to_owned());
    println!("cargo::rustc-env=DEFMT_LOG={level}");
    let folder = env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets the package's folder");
    let script = Path::new(&folder).join("defmt.x");
    println!("cargo::rustc-link-arg-bin={PROGRAM}=-Wl,-T,{}", script.display());
    // A record's number is the address of its format string, which must not move.
    println!("cargo::rustc-link-arg-bin={PROGRAM}=-no-pie");
}
