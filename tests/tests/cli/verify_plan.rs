//! `bissl verify` and `bissl plan`, on the smallest network that a configuration allows.

use std::sync::LazyLock;

use crate::binary::{Ended, run, succeed};

const TINY: &str = "--preset demo --width 8 --image-size 16 --batch 8 --upper-batch 8 \
    --lower-steps 2 --upper-steps 2 --quiet --set network.projector=[16,16] \
    --set align.product_batch=8 --set align.lower.warm_up_steps=1";

fn flags(line: &str) -> Vec<&str> {
    line.split_whitespace().collect()
}

fn tiny(command: &str, more: &[&str]) -> Ended {
    run(&[&[command], &flags(TINY)[..], more].concat())
}

/// The JSON object of a command that succeeded.
fn object(command: &str, more: &[&str]) -> serde_json::Value {
    let ended = tiny(command, &[&["--json"], more].concat());
    assert_eq!(ended.code, Some(0), "{ended:?}");
    serde_json::from_str(&ended.stdout).unwrap_or_else(|error| panic!("{error}: {ended:?}"))
}

fn number(value: &serde_json::Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("expected a number, found {value}"))
}

#[test]
fn verify_passes_on_a_right_program_and_names_every_part() {
    let report = object("verify", &[]);
    assert_eq!(report["failed"], 0, "{report:#}");
    let checks = report["checks"].as_array().unwrap();
    for check in checks {
        assert_eq!(check["ok"], true, "{check}");
        assert!(number(&check["error"]) <= number(&check["bound"]), "{check}");
    }
    let has = |group: &str, name: &str| {
        checks.iter().any(|check| check["group"] == group && check["name"] == name)
    };
    for form in ["quadratic", "ridge", "logistic"] {
        for name in ["gradient", "product", "solve, recycled-cg", "hypergradient, recycled-cg"] {
            assert!(has(form, name), "{form}: {name}: {report:#}");
        }
    }
    assert!(has("narrow network", "hessian product, differences of the gradient"), "{report:#}");
    for name in ["u·Hv = v·Hu", "running statistics untouched by products"] {
        assert!(has("own configuration", name), "{name}: {report:#}");
    }
}

#[test]
fn verify_passes_with_every_pretext_method_and_curvature() {
    for method in ["byol", "vicreg", "barlow-twins"] {
        for curvature in ["hessian", "gauss-newton"] {
            let more =
                ["--method", method, "--set", "byol.predictor=[16]", "--curvature", curvature];
            let report = object("verify", &more);
            assert_eq!(report["failed"], 0, "{method}, {curvature}: {report:#}");
            let notes = report["notes"].to_string();
            assert!(notes.contains(&format!("narrow network: {method}")), "{notes}");
        }
    }
}

#[test]
fn a_plan_counts_the_target_network() {
    let target = |method: &str| {
        let more = ["--method", method, "--set", "byol.predictor=[16]", "--measured", "1"];
        number(&object("plan", &more)["memory"]["target"])
    };
    assert!(target("byol") > 0.0);
    assert_eq!(target("vicreg"), 0.0);
}

#[test]
fn verify_checks_the_configured_solver_and_says_what_it_left_out() {
    let ended = tiny("verify", &["--solver", "soba", "--curvature", "gauss-newton"]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    for expected in ["hypergradient, soba", "u·Hv = v·Hu", "left out: "] {
        assert!(ended.stdout.contains(expected), "{expected}: {ended:?}");
    }
}

#[test]
fn a_plan_adds_up_and_states_the_memory_of_the_solver() {
    let arguments = ["--alternations", "7", "--measured", "1", "--solver", "recycled-cg"];
    let plan = object("plan", &arguments);
    let parts = ["lower_s", "linearization_s", "products_s", "upper_s", "vectors_s"];
    let sum: f64 = parts.iter().map(|part| number(&plan[part])).sum();
    let alternation = number(&plan["alternation_s"]);
    assert!(alternation > 0.0 && (sum - alternation).abs() < 1e-9 * sum, "{plan:#}");
    let stage = number(&plan["stage_s"]);
    assert!((stage - 7.0 * alternation).abs() < 1e-9 * stage, "{plan:#}");
    assert!(number(&plan["products_per_alternation"]) >= 1.0, "{plan:#}");
    let memory = &plan["memory"];
    for part in ["parameters", "momenta", "work", "solver", "activations", "linearization"] {
        assert!(number(&memory[part]) > 0.0, "{part}: {plan:#}");
    }
    assert!(number(&memory["peak"]) > number(&memory["parameters"]), "{plan:#}");
    let stages = plan["other_stages"].as_array().unwrap();
    let names: Vec<_> = stages.iter().map(|stage| &stage["stage"]).collect();
    assert_eq!(names, ["pretrain", "warm-up", "finetune"]);
    assert!(plan["budget"].is_null(), "{plan:#}");
}

#[test]
fn the_largest_batch_that_fits_is_the_same_from_one_batch_or_from_twice_as_many() {
    let largest = |batch: u32| {
        let batches = ["batch", "product_batch", "upper_batch"];
        let [lower, products, upper] = batches.map(|key| format!("align.{key}={batch}"));
        let more = ["--measured", "1", "--set", &lower, "--set", &products, "--set", &upper];
        let memory = &object("plan", &more)["memory"];
        let (largest, available) = (number(&memory["largest_batch"]), number(&memory["available"]));
        assert!(largest > 64.0, "{memory:#}");
        // Other processes allocate and free memory meanwhile.
        largest / available
    };
    let ratio = largest(64) / largest(32);
    assert!((0.8..1.25).contains(&ratio), "{ratio}");
}

#[test]
fn mfac_needs_no_products_and_the_plan_says_how_many_floats_it_keeps() {
    let plan = object("plan", &["--solver", "mfac", "--measured", "1"]);
    assert_eq!(number(&plan["products_per_alternation"]), 0.0, "{plan:#}");
    assert_eq!(number(&plan["memory"]["linearization"]), 0.0, "{plan:#}");
    let words = plan["solver_memory"].as_str().unwrap();
    assert!(words.starts_with("mfac keeps 2 vectors of "), "{words}");
}

#[test]
fn a_budget_that_is_too_short_shortens_the_stage_and_prints_flags_to_paste() {
    let arguments = ["--alternations", "1000000", "--measured", "1"];
    let ended = tiny("plan", &[&arguments[..], &["--budget", "10m"]].concat());
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.stdout.contains("too long") && ended.stdout.contains("chosen: "), "{ended:?}");
    let flags = ended.stdout.lines().last().unwrap().trim();
    assert!(flags.starts_with("--solver "), "{flags}");
    let words: Vec<_> = flags.split_whitespace().collect();
    let value = |flag: &str| {
        let at = words.iter().position(|word| *word == flag).unwrap_or_else(|| panic!("{flag}"));
        words[at + 1]
    };
    let alternations: u32 = value("--alternations").parse().unwrap();
    assert!((1..1_000_000).contains(&alternations), "{flags}");
    // `align` accepts these flags: the error is about something else.
    let ended = run(&[&["align", "--from", "no/such/run"], &words[..]].concat());
    assert!(ended.stderr.contains("no/such/run"), "{ended:?}");
}

#[test]
fn a_budget_below_one_alternation_fails_and_says_what_it_would_take() {
    let ended = tiny("plan", &["--measured", "1", "--budget", "0.001s"]);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    assert!(ended.stderr.contains("--budget") && ended.stderr.contains("expected"), "{ended:?}");
}

#[test]
fn a_budget_that_is_no_time_is_refused_by_name() {
    for text in ["2w", "soon", "0s", "-1h", "2 h", ""] {
        let argument = format!("--budget={text}");
        let ended = run(&["plan", &argument]);
        assert_eq!(ended.code, Some(2), "{text}: {ended:?}");
        for part in ["--budget", &format!("found `{text}`"), "expected a time above 0"] {
            assert!(ended.stderr.contains(part), "{text}: {part}: {ended:?}");
        }
    }
}

/// A pretrained run, and an aligned one that has seen the labels of seed 1. The tests share both.
fn runs() -> &'static (tempfile::TempDir, String, String) {
    static RUNS: LazyLock<(tempfile::TempDir, String, String)> = LazyLock::new(|| {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
        let (pretrained, aligned) = (path("p"), path("a"));
        let words = ["pretrain", "--preset", "demo", "--out", &pretrained, "--quiet"];
        let small = ["--width", "4", "--image-size", "16", "--epochs", "1", "--batch", "16"];
        let more = ["--set", "pretrain.warm_up_epochs=0"];
        succeed(&[&words[..], &small, &more].concat());
        let words = ["align", "--from", &pretrained, "--out", &aligned, "--quiet"];
        succeed(&[&words[..], &flags(SHORT), &["--set", "align.alternations=1"]].concat());
        (folder, pretrained, aligned)
    });
    &RUNS
}

const SHORT: &str = "--lower-steps 2 --upper-steps 2 --batch 16 --upper-batch 16 \
    --product-batch 16 --set align.lower.warm_up_steps=0";

/// On labels that the backbone has seen, a held-out figure would measure something else.
#[test]
fn what_has_seen_other_labels_is_measured_by_no_command() {
    let (_, _, aligned) = runs();
    for command in [&["verify"][..], &["plan", "--measured", "1"], &["bench", "stage"]] {
        let words = [command, &["--from", aligned, "--seed", "2", "--quiet"]].concat();
        let ended = run(&words);
        assert_eq!(ended.code, Some(1), "{command:?}: {ended:?}");
        for part in ["has seen labels of seed 1", "use --seed 1"] {
            assert!(ended.stderr.contains(part), "{command:?}: {ended:?}");
        }
        succeed(&[command, &["--from", aligned, "--quiet"], &flags(SHORT)].concat());
    }
}

/// A machine that has ended takes no time: its rounds would enter the means as 0 s.
#[test]
fn more_alternations_than_the_stage_has_are_all_run() {
    let (_, pretrained, _) = runs();
    let stage = |alternations: &str, lower_steps: &str| {
        let words = ["bench", "stage", "--from", pretrained, "--json", "--quiet"];
        let more = ["--alternations", alternations, "--set", "align.alternations=1"];
        run(&[
            &words[..],
            &flags(SHORT),
            &more,
            &["--set", &format!("align.lower_steps={lower_steps}")],
        ]
        .concat())
    };
    let ended = stage("3", "2");
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let report: serde_json::Value = serde_json::from_str(&ended.stdout).unwrap();
    let products = report["reference"]["products"].as_array().unwrap();
    assert_eq!(products.len(), 3, "{report:#}");
    assert!(products.iter().all(|count| number(count) == 10.0), "{report:#}");
    // 10¹⁰ steps do not fit in the integer that counts them.
    let ended = stage("10000", "1000000");
    assert_eq!(ended.code, Some(2), "{ended:?}");
    assert!(ended.stderr.contains("steps"), "{ended:?}");
}

/// Under `every-pass` products move running statistics, and `verify` runs them as training does.
#[test]
fn verify_knows_what_moves_running_statistics() {
    for (setting, name) in [
        ("align.statistics=lower-steps", "running statistics untouched by products"),
        ("align.statistics=every-pass", "running statistics move with every product"),
    ] {
        let report = object("verify", &["--set", setting]);
        let checks = report["checks"].as_array().unwrap();
        let found = checks.iter().any(|check| check["name"] == name && check["ok"] == true);
        assert!(found, "{setting}: {report:#}");
    }
}
