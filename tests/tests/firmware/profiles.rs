//! The same bits in every build profile.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// Builds the harness with `profile` in a target folder of its own; returns the binary's path.
fn build(profile: &str) -> PathBuf {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("firmware-profiles");
    let status = Command::new(env!("CARGO"))
        .args(["build", "--locked", "--offline", "--quiet", "--package", "bissl-firmware-sim"])
        .args(["--profile", profile])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .env("CARGO_TARGET_DIR", &target)
        .status()
        .unwrap();
    assert!(status.success(), "cargo build --profile {profile}: {status}");
    let folder = if profile == "dev" { "debug" } else { profile };
    target.join(folder).join(format!("bissl-firmware-sim{}", std::env::consts::EXE_SUFFIX))
}

fn run(binary: &Path, arguments: &[&str]) -> Output {
    Command::new(binary).args(arguments).output().unwrap()
}

const QUICK: [&str; 8] = [
    "--alternations",
    "2",
    "--pretrain-steps",
    "10",
    "--warm-up-steps",
    "10",
    "--finetune-steps",
    "10",
];

#[test]
fn debug_and_release_end_in_the_same_state_with_and_without_log() {
    let binaries = [build("dev"), build("release")];
    for seed in ["1", "18446744073709551615"] {
        let arguments = [&QUICK[..], &["--seed", seed, "--json"]].concat();
        let logged = [&arguments[..], &["--log"]].concat();
        let outputs = binaries.iter().flat_map(|b| [run(b, &arguments), run(b, &logged)]);
        let texts: Vec<String> = outputs
            .map(|output| {
                assert!(output.status.success(), "{output:?}");
                String::from_utf8(output.stdout).unwrap()
            })
            .collect();
        assert!(texts[0].contains("\"hash\":\""), "{}", texts[0]);
        assert!(texts.iter().all(|text| *text == texts[0]), "seed {seed}: {texts:#?}");
    }
    refuses_bad_arguments(&binaries[0]);
}

/// Exit code 2 for wrong usage, 1 for a failure, and a message that names the flag or file.
fn refuses_bad_arguments(binary: &Path) {
    for (arguments, code, named) in [
        (&["--seed", "x"][..], 2, "--seed"),
        (&["--alternations", "0"], 2, "alternations"),
        (&["--nonsense"], 2, "--nonsense"),
        (&["--memory", "--log"], 2, "--log"),
        (&["wear", "--every-ticks", "0"], 2, "--every-ticks"),
        (&["power-cuts", "--thinned", "9", "--every-byte"], 2, "--every-byte"),
        (&["faults", "--count", "x"], 2, "--count"),
        (&["adapt", "digits", "--degrees", "NaN"], 2, "--degrees"),
        (&["adapt", "digits", "--noise=-1"], 2, "--noise"),
        (&["adapt", "digits", "--seeds", "0"], 2, "--seeds"),
        (&["adapt", "digits", "--labelled", "1000", "--pretrain-steps", "1"], 1, "--labelled"),
        (&["adapt", "digits", "--damping", "NaN", "--pretrain-steps", "1"], 1, "damping"),
        (&["adapt", "watch", "--data", "absent", "--images", "absent"], 1, "absent/recordings.csv"),
        (&["pretrain", "--steps", "1", "--out", "absent/image.bin"], 1, "absent/image.bin"),
        (&["--replay", "absent.jsonl"], 1, "absent.jsonl"),
        (&["--record", "absent/trace.jsonl"], 1, "absent/trace.jsonl"),
        (&["--record", "/dev/full"], 1, "/dev/full"),
    ] {
        let output = run(binary, arguments);
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {text}");
        assert!(text.contains(named), "{arguments:?}: {text}");
    }
}
