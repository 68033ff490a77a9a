//! Every pretext method goes through all stages, as the lower level with either curvature operator.

use crate::binary::succeed;

/// The smallest demo of a method; VICReg's loss is tens of times larger than NT-Xent's, and its
/// rate smaller.
fn aligns(method: &str, curvature: &str) {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    let mut words = vec!["demo", "--quiet", "--out", out.to_str().unwrap()];
    words.extend(["--method", method, "--curvature", curvature, "--solver", "recycled-cg"]);
    words.extend(["--width", "8", "--batch", "256", "--epochs", "1", "--seeds", "1"]);
    words.extend(["--alternations", "2", "--lower-steps", "2", "--upper-steps", "2"]);
    words.extend(["--learning-rate", "0.01", "--proximity", "1"]);
    for setting in [
        "image.size=16",
        "network.projector=[16,16]",
        "byol.predictor=[16]",
        "pretrain.warm_up_epochs=0",
        "warm_up.epochs=2",
        "align.batch=32",
        "align.product_batch=16",
        "align.lower.learning_rate=0.01",
        "align.lower.warm_up_steps=1",
        "finetune.epochs=2",
        "evaluate.probe_epochs=5",
    ] {
        words.extend(["--set", setting]);
    }
    succeed(&words);
    let metrics = std::fs::read_to_string(out.join("metrics.jsonl")).unwrap();
    let records = metrics.lines().map(|line| serde_json::from_str(line).unwrap());
    let solves: Vec<_> = records
        .map(|record: serde_json::Value| record["solve"].clone())
        .filter(|x| x.is_object())
        .collect();
    assert_eq!(solves.len(), 4, "{method}, {curvature}: a solve an upper step: {metrics}");
    let products: u64 = solves.iter().map(|solve| solve["products"].as_u64().unwrap()).sum();
    assert!(products > 0, "{method}, {curvature}: {solves:?}");
    for solve in solves {
        let termination = solve["termination"].as_str().unwrap();
        let indefinite = curvature == "gauss-newton" && termination == "negative-curvature";
        assert!(!indefinite && termination != "non-finite", "{method}, {curvature}: {solve}");
    }
}

#[test]
fn simclr_aligns_with_either_operator() {
    aligns("simclr", "hessian");
    aligns("simclr", "gauss-newton");
}

#[test]
fn byol_aligns_with_either_operator() {
    aligns("byol", "hessian");
    aligns("byol", "gauss-newton");
}

#[test]
fn vicreg_aligns_with_either_operator() {
    aligns("vicreg", "hessian");
    aligns("vicreg", "gauss-newton");
}

#[test]
fn barlow_twins_aligns_with_either_operator() {
    aligns("barlow-twins", "hessian");
    aligns("barlow-twins", "gauss-newton");
}
