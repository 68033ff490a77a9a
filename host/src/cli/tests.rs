//! Claims about the command line, without starting a process.

use std::fs;

use super::*;
use crate::config::SolverName;

fn invocation(line: &str) -> Invocation {
    let words = line.split_whitespace().map(OsString::from);
    match args::parse(words).unwrap_or_else(|error| panic!("{line}: {error}")) {
        Parsed::Stage(_, invocation) => invocation,
        other => panic!("{line}: {other:?}"),
    }
}

/// Opens what a line asks for.
fn opened(line: &str) -> Result<Command> {
    let words = line.split_whitespace().map(OsString::from);
    match args::parse(words).unwrap_or_else(|error| panic!("{line}: {error}")) {
        Parsed::Stage(stage, invocation) => open(stage, &invocation, &config(line)),
        other => panic!("{line}: {other:?}"),
    }
}

fn config(line: &str) -> RunConfig {
    resolve(&invocation(line)).unwrap_or_else(|error| panic!("{line}: {error}"))
}

/// Exit code and message.
fn refusal(line: &str) -> (u8, String) {
    let words: Vec<_> = line.split_whitespace().map(OsString::from).collect();
    match args::parse(words.clone()) {
        Err(usage) => (u8::try_from(usage.exit_code()).unwrap(), usage.to_string()),
        Ok(parsed) => {
            let error = run(parsed, words).expect_err(line);
            (code(&error), message(&error))
        }
    }
}

#[test]
fn a_switch_is_on_by_its_name_alone() {
    for (flag, on) in [("", false), ("--recompute", true), ("--recompute=false", false)] {
        assert_eq!(config(&format!("bissl demo {flag} --quiet")).align.recompute, on);
    }
    let (code, text) = refusal("bissl bench step --recompute=yes");
    assert_eq!(code, 2);
    assert!(text.contains("--recompute") && text.contains("true or false"), "{text}");
}

#[test]
fn the_grammar_is_consistent_and_every_flag_has_help() {
    args::grammar().debug_assert();
    for command in args::grammar().get_subcommands() {
        assert!(command.get_about().is_some(), "{}", command.get_name());
        for argument in command.get_arguments() {
            assert!(argument.get_help().is_some(), "{} {argument}", command.get_name());
        }
    }
}

#[test]
fn flags_mean_the_stage_of_their_command() {
    assert_eq!(config("bissl pretrain --batch 64").pretrain.batch, 64);
    let align = "bissl align --preset default --from x --batch 64 --solver identity";
    assert_eq!(config(align).align.batch, 64);
    assert_eq!(config(align).align.solver, SolverName::Identity);
    assert_eq!(config(align).from, "x");
    let finetune = "bissl finetune --preset demo --from x --batch 16 --labels-per-class none";
    assert_eq!(config(finetune).finetune.batch, 16);
    assert_eq!(config(finetune).data.downstream.labels_per_class, None);
    assert_eq!(config("bissl demo --seeds 5").demo.seeds, 5);
    assert_eq!(config("bissl demo").network, Preset::Demo.config().network);
}

#[test]
fn set_wins_over_flags_and_flags_over_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("c.toml");
    fs::write(&path, "seed = 1\n[pretrain]\nepochs = 1\nbatch = 8\nwarm_up_epochs = 0\n").unwrap();
    let line = format!("bissl pretrain --config {} --epochs 2 --seed 2", path.display());
    let resolved = config(&format!("{line} --set seed=3"));
    assert_eq!((resolved.pretrain.batch, resolved.pretrain.epochs, resolved.seed), (8, 2, 3));
}

#[test]
fn impossible_values_are_usage_errors_that_name_the_flag() {
    // A binary without the default backend refuses that first.
    let built = crate::backend::available().first().expect("a backend is compiled in").name();
    for (line, expected) in [
        ("pretrain --batch 0", "error: --batch: `pretrain.batch` is 0, expected an integer in [2,"),
        ("pretrain --batch -4", "error: --batch: `pretrain.batch` is -4, expected"),
        ("demo --damping nan", "error: --damping: `align.damping` is nan, expected a number"),
        ("demo --solver lu", "error: --solver: `align.solver` is \"lu\", expected one of"),
        ("demo --set align.damp=1", "error: --set align.damp=1: unknown key `align.damp`"),
        ("demo --set align.damping", "error: --set align.damping: expected KEY=VALUE"),
        ("demo --preset huge", "error: unknown preset `huge`, expected one of default, fast"),
        ("config show huge", "error: unknown preset `huge`"),
        ("demo --config no.toml", "error: configuration no.toml: No such file"),
        ("align --from no/run", "error: no/run is not the folder of a run or of a checkpoint"),
        ("align --preset demo --backend BUILT", "error: bissl align needs --from RUN"),
        ("evaluate --backend BUILT", "error: bissl evaluate needs --from RUN"),
        ("demo --out no/run --resume", "error: no/run is not the folder of a run"),
    ] {
        let line = line.replace("BUILT", built);
        let (code, message) = refusal(&format!("bissl {line}"));
        assert!(message.starts_with(expected), "{line}: {message}");
        assert_eq!((code, message.lines().count()), (2, 1), "{line}: {message}");
    }
}

#[test]
fn a_resumed_run_takes_its_own_settings_and_refuses_others() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    let start = format!("bissl pretrain --out {} --batch 64 --seed 9", out.display());
    drop(opened(&start).unwrap());
    let occupied = opened(&start).expect_err("not empty");
    assert_eq!(code(&occupied), 2);
    let resume = format!("bissl pretrain --out {} --resume", out.display());
    assert_eq!(config(&resume), config(&start));
    opened(&resume).unwrap();
    let other = format!("{resume} --batch 32");
    let error = opened(&other).expect_err("another batch");
    assert!(message(&error).contains("`pretrain.batch` = 64"), "{error}");
    assert_eq!(code(&error), 2);
}

#[test]
fn a_stage_takes_the_settings_of_the_run_it_starts_from() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    let start = format!("bissl pretrain --out {} --width 24", out.display());
    drop(opened(&start).unwrap());
    let align = format!("bissl align --from {0} --out {0}-aligned", out.display());
    assert_eq!(config(&align).network.width, 24);
    let error = opened(&align).expect_err("nothing to start from");
    assert!(message(&error).contains("no checkpoint yet"), "{error}");
    assert!(!folder.path().join("run-aligned").exists());
}

#[test]
fn causes_are_printed_once_each() {
    let error =
        Result::<()>::Err(Error::Failed("outer: inner".to_owned())).at("outermost").unwrap_err();
    assert_eq!(message(&error), "error: outermost\n  because: outer: inner\n");
    let source = std::io::Error::other("disk on fire");
    let path = "x".into();
    let error = Error::from(RunError::Io { action: "read", path, source });
    assert_eq!(message(&error), "error: cannot read x: disk on fire\n");
    assert_eq!(code(&error), 1);
}

#[test]
fn a_failed_check_is_a_failure_and_no_usage_error() {
    let failed = crate::verify::VerifyFailed { failed: 2, all: 30 };
    let error = Error::from(failed);
    assert_eq!(code(&error), 1);
    assert!(message(&error).contains("2 of 30 checks failed"), "{error}");
}

#[test]
fn inspect_describes_runs_checkpoints_and_files() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    let run = RunFolder::create(&out, &Preset::Demo.config()).unwrap();
    let described = inspect::describe(&out).unwrap();
    assert!(described.contains("no valid checkpoint") && described.contains("last metrics: none"));
    let tensors = [crate::run::TensorView { name: "w", shape: &[2, 1], values: &[1.0, 2.0] }];
    run.metrics(0).unwrap().append(&3).unwrap();
    run.checkpoints()
        .unwrap()
        .save(&crate::run::NewCheckpoint {
            stage: "pretrain",
            step: 7,
            retention: crate::run::Retention::Permanent,
            architecture: "toy",
            score: None,
            metrics_bytes: 2,
            tensors: &tensors,
            state: &0,
        })
        .unwrap();
    let described = inspect::describe(&out).unwrap();
    for expected in [
        "align      alternations=",
        "pretrain     7      toy",
        "step 7, network toy",
        "[2, 1]",
        "last metrics\n3\n",
    ] {
        assert!(described.contains(expected), "{expected}: {described}");
    }
    let checkpoint = out.join("checkpoints/pretrain-00000007");
    assert!(inspect::describe(&checkpoint).unwrap().contains("total"));
    let file = checkpoint.join("weights.safetensors");
    assert!(inspect::describe(&file).unwrap().contains("F32"));
    fs::write(&file, "short").unwrap();
    assert!(inspect::describe(&file).is_err() && inspect::describe(&checkpoint).is_err());
    assert!(inspect::describe(&out).unwrap().contains("warning: "));
}
