//! Claims about configurations.

use std::fs;

use super::*;

/// Resolves the default preset with `text` as the file `run.toml`; the error as text.
fn refusal(text: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.toml");
    fs::write(&path, text).unwrap();
    let layers = Layers::preset(Preset::Default).file(&path).unwrap();
    let error = layers.resolve().expect_err(text).to_string();
    error.replace(&format!("{}/", folder.path().display()), "")
}

fn with_flag(key: &str, value: &str) -> Result<RunConfig, ConfigError> {
    Layers::preset(Preset::Default).flag("--flag", key, value).resolve()
}

#[test]
fn presets_resolve_and_survive_their_own_text() {
    for preset in Preset::NAMES.iter().map(|name| Preset::named(name).unwrap()) {
        let config = preset.config();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.toml");
        fs::write(&path, config.to_toml()).unwrap();
        let again = Layers::stored(&path).unwrap().resolve().unwrap();
        assert_eq!(config, again, "{preset:?}");
        assert_eq!(config.to_toml(), again.to_toml());
        assert_eq!(first_difference(&config, &again), None);
    }
}

#[test]
fn every_key_is_a_setting_and_every_setting_a_key() {
    let text = Preset::Default.config().to_toml();
    let table: toml::Table = text.parse().unwrap();
    for key in KEYS.iter() {
        let value = key
            .name
            .split('.')
            .try_fold(toml::Value::Table(table.clone()), |value, part| value.get(part).cloned());
        assert!(value.is_some(), "{} is in KEYS but not in the configuration", key.name);
    }
    // The other direction: a setting without a key would be refused as unknown.
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("all.toml");
    fs::write(&path, toml::to_string(&Preset::Default.config()).unwrap()).unwrap();
    Layers::stored(&path).unwrap().resolve().unwrap();
}

/// A configuration as a run stores it, without the keys (and their comments) of those names.
fn stored_without(names: &[&str]) -> Layers {
    let text = Preset::Demo.config().to_toml();
    let lines: Vec<&str> = text.lines().collect();
    let is_named = |line: Option<&&str>| {
        line.is_some_and(|line| names.iter().any(|name| line.starts_with(&format!("{name} = "))))
    };
    let kept = (0..lines.len()).filter(|i| !is_named(lines.get(*i)));
    let kept = kept.filter(|i| !(lines[*i].starts_with('#') && is_named(lines.get(i + 1))));
    let text: String = kept.map(|i| format!("{}\n", lines[i])).collect();
    Layers::stored_text("config.toml".as_ref(), text)
}

#[test]
fn a_stored_configuration_of_an_older_program_has_defaults_for_the_keys_that_it_lacks() {
    let layers = stored_without(&["precision", "augment_on", "hue"]);
    assert_eq!(layers.absent(), ["precision", "image.augment_on", "augment.hue"]);
    assert_eq!(layers.resolve().unwrap(), Preset::Demo.config());
    assert!(stored_without(&[]).absent().is_empty());
    assert!(Layers::preset(Preset::Demo).absent().is_empty());
    // The default preset's value, and not that of the preset that the run was started with.
    let width = stored_without(&["width"]).resolve().unwrap().network.width;
    assert_eq!(width, Preset::Default.config().network.width);
    assert_ne!(width, Preset::Demo.config().network.width);
}

#[test]
fn a_stored_configuration_is_refused_where_it_has_other_keys_or_no_end() {
    let stored = |text: String| Layers::stored_text("config.toml".as_ref(), text).resolve();
    let text = Preset::Demo.config().to_toml();
    let error = stored(format!("sed = 1\n{text}")).expect_err("an unknown key").to_string();
    assert!(error.starts_with("config.toml:1: unknown key `sed`"), "{error}");
    for end in ["[align]", "[demo]", "\n[augment]"] {
        let cut = text[..text.find(end).unwrap()].to_owned();
        let error = stored(cut).expect_err("cut short").to_string();
        assert!(error.contains("missing field `augment`"), "{end}: {error}");
    }
    assert!(stored(String::new()).is_err());
}

const SOLVERS: &str = "one of \"recycled-cg\", \"cg\", \"layerwise\", \"neumann\", \
                       \"nystrom\", \"mfac\", \"soba\", \"identity\"";

#[test]
fn numbers_out_of_range_are_refused_with_line_key_and_range() {
    for (key, value, expected) in [
        ("damping", "nan", "a number in [0, 1000000]"),
        ("damping", "-1", "a number in [0, 1000000]"),
        ("damping", "-0.5", "a number in [0, 1000000]"),
        ("damping", "inf", "a number in [0, 1000000]"),
        ("damping", "\"ten\"", "a number in [0, 1000000]"),
        ("damping", "true", "a number in [0, 1000000]"),
        ("damping", "[1]", "a number in [0, 1000000]"),
        ("damping", "\"none\"", "a number in [0, 1000000]"),
        ("proximity", "0", "a number in (0, 1000000]"),
        ("proximity", "1e-60", "a number in (0, 1000000]"),
        ("tolerance", "1.0", "a number in [0, 1)"),
        ("tolerance", "0.99999999999", "a number in [0, 1)"),
        ("alternations", "0", "an integer in [1, 1000000]"),
        ("alternations", "-3", "an integer in [1, 1000000]"),
        ("alternations", "2.5", "an integer in [1, 1000000]"),
        ("alternations", "99999999999999999999999", "an integer in [1, 1000000]"),
        ("solver", "\"lu\"", SOLVERS),
        ("solver", "3", SOLVERS),
        ("recompute", "\"yes\"", "true or false"),
        ("recompute", "1", "true or false"),
        ("product_batch", "1", "an integer in [2, 65536] or \"none\""),
        ("product_batch", "\"all\"", "an integer in [2, 65536] or \"none\""),
    ] {
        let text = format!("# a comment\n\n[align]\nupper_steps = 4\n{key} = {value}\n");
        let expected = format!("run.toml:5: `align.{key}` is {value}, expected {expected}");
        assert_eq!(refusal(&text), expected);
    }
}

#[test]
fn unknown_keys_are_refused_with_line_and_the_known_ones() {
    let text = "seed = 1\n[simclr]\ntemprature = 0.1\n";
    let expected = "run.toml:3: unknown key `simclr.temprature`, expected one of temperature";
    assert_eq!(refusal(text), expected);
    assert!(refusal("[alignment]\nx = 1\n").starts_with("run.toml:1: unknown key `alignment`"));
    assert!(refusal("\nsede = 1\n").starts_with("run.toml:2: unknown key `sede`"));
    assert!(refusal("[augment]\n\nno_such_thing = 1\n").starts_with("run.toml:3: "));
    assert_eq!(refusal("align = 3\n"), "run.toml:1: `align` is 3, expected a section [align]");
    assert!(refusal("[image]\nsize.x = 3\n").starts_with("run.toml:2: `image.size` is"));
}

#[test]
fn augmentations_out_of_range_are_refused_with_their_line() {
    for (key, value) in [
        ("crop_area", "[0.5, 0.4]"),
        ("crop_area", "[nan, 1]"),
        ("hue", "0.6"),
        ("flip", "-0.1"),
        ("grey", "nan"),
    ] {
        let error = refusal(&format!("\n\n[augment]\n{key} = {value}\n"));
        let expected = format!("run.toml:4: `augment.{key}` is {value}, expected ");
        assert!(error.starts_with(&expected), "{error}");
    }
    let error = refusal("[augment]\nhue = \"red\"\n");
    assert!(error.starts_with("run.toml:2: "), "{error}");
}

#[test]
fn text_that_is_not_toml_is_refused_with_its_line() {
    assert!(refusal("seed = 1\n[align\n").starts_with("run.toml:2: not valid TOML"));
    assert!(refusal("seed = 1\nseed = 2\n").starts_with("run.toml:2: not valid TOML"));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("latin1.toml");
    fs::write(&path, b"seed = 1 # \xe9\n").unwrap();
    let error = Layers::preset(Preset::Default).file(&path).expect_err("not UTF-8").to_string();
    assert!(error.contains("latin1.toml") && error.contains("UTF-8"), "{error}");
    let missing = folder.path().join("missing.toml");
    let error = Layers::preset(Preset::Default).file(&missing).expect_err("missing").to_string();
    assert!(error.contains("missing.toml"), "{error}");
}

#[test]
fn settings_that_contradict_each_other_are_refused_where_they_are_written() {
    let text = "[pretrain]\nepochs = 3\nwarm_up_epochs = 4\n";
    let expected =
        "run.toml:3: `pretrain.warm_up_epochs` is 4, expected at most pretrain.epochs = 3";
    assert_eq!(refusal(text), expected);
    let text = "[align]\nalternations = 2\n[align.lower]\nwarm_up_steps = 41\n";
    assert!(refusal(text).starts_with("run.toml:4: `align.lower.warm_up_steps` is 41"));
    let text = "[align]\nlower_steps = 1000000\nalternations = 5000\n";
    assert!(refusal(text).starts_with("run.toml:3: `align.alternations` is 5000"));
}

#[test]
fn a_base_s_warm_up_keeps_its_share_of_a_shorter_schedule() {
    let notes = |layers: Layers| layers.resolve_with_notes().unwrap();
    let (config, none) = notes(Layers::preset(Preset::Default));
    let (epochs, warm_up) = (config.pretrain.epochs, config.pretrain.warm_up_epochs);
    assert!(warm_up > 2 && none.is_empty(), "{none:?}");
    let shorter = |key: &str, value: u32| {
        notes(Layers::preset(Preset::Default).flag("--flag", key, &value.to_string()))
    };
    // Where it fits, it stays.
    assert_eq!(shorter("pretrain.epochs", warm_up).0.pretrain.warm_up_epochs, warm_up);
    let (config, notes) = shorter("pretrain.epochs", warm_up - 1);
    assert_eq!(config.pretrain.warm_up_epochs, (warm_up - 1) * warm_up / epochs);
    assert!(notes[0].starts_with("pretrain.warm_up_epochs: "), "{notes:?}");
    let (config, notes) = shorter("align.alternations", 1);
    assert!(config.align.lower.warm_up_steps <= config.align.lower_steps);
    assert!(notes[0].starts_with("align.lower.warm_up_steps: "), "{notes:?}");
    // Of a run's stored settings as of a preset's.
    let stored = || Layers::stored_text("config.toml".as_ref(), RunConfig::default().to_toml());
    let shorter = stored().flag("--epochs", "pretrain.epochs", "1");
    assert_eq!(shorter.resolve().unwrap().pretrain.warm_up_epochs, 0);
    // What somebody has set is theirs.
    let set = stored().flag("--set", "pretrain.warm_up_epochs", "2");
    set.flag("--epochs", "pretrain.epochs", "1").resolve().expect_err("2 of 1");
}

#[test]
fn augmentation_on_a_device_is_refused_where_none_computes_and_of_windows() {
    let text = "[image]\naugment_on = \"device\"\n";
    for backend in ["flex", "candle", "ndarray"] {
        let error = refusal(&format!("backend = \"{backend}\"\n{text}"));
        let expected = format!(
            "run.toml:3: `image.augment_on` is device, \
             expected host: the backend `{backend}` computes on the host"
        );
        assert_eq!(error, expected);
    }
    let on_device = |preset: Preset| {
        let layers = Layers::preset(preset).flag("--backend", "backend", "wgpu");
        layers.flag("--augment-on", "image.augment_on", "device").resolve()
    };
    assert_eq!(on_device(Preset::Default).unwrap().image.augment_on, AugmentOn::Device);
    let error = on_device(Preset::named("watch").unwrap()).expect_err("windows").to_string();
    let expected = "--augment-on: `image.augment_on` is device, \
                    expected host: windows are always augmented there";
    assert_eq!(error, expected);
}

#[test]
fn another_optimizer_replaces_the_preset_and_the_same_one_extends_it() {
    let text = "[pretrain.optimizer]\nsgd = { momentum = 0.8, weight_decay = 0 }\n";
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.toml");
    fs::write(&path, text).unwrap();
    let config = Layers::preset(Preset::Default).file(&path).unwrap().resolve().unwrap();
    let sgd = bissl_core::Optimizer::Sgd { momentum: 0.8, weight_decay: 0.0 };
    assert_eq!(config.pretrain.optimizer, sgd);
    fs::write(&path, "[pretrain.optimizer.lars]\ntrust = 0.01\n").unwrap();
    let config = Layers::preset(Preset::Default).file(&path).unwrap().resolve().unwrap();
    let lars = bissl_core::Optimizer::Lars { momentum: 0.9, weight_decay: 1e-6, trust: 0.01 };
    assert_eq!(config.pretrain.optimizer, lars);
}

#[test]
fn wrong_optimizers_are_refused_with_line_and_coefficient() {
    for (text, expected) in [
        ("adam = { }", "run.toml:2: unknown key `pretrain.optimizer.adam`"),
        ("sgd = { momentum = 0.9 }", "run.toml:2: `pretrain.optimizer.sgd` is"),
        (
            "sgd = { momentum = 1.0, weight_decay = 0 }",
            "run.toml:2: `pretrain.optimizer.sgd.momentum` is 1.0",
        ),
        (
            "sgd = { momentum = nan, weight_decay = 0 }",
            "run.toml:2: `pretrain.optimizer.sgd.momentum` is nan",
        ),
        (
            "lars = { nesterov = true }",
            "run.toml:2: unknown key `pretrain.optimizer.lars.nesterov`",
        ),
        ("lars = 3", "run.toml:2: `pretrain.optimizer.lars` is 3"),
    ] {
        let error = refusal(&format!("[pretrain.optimizer]\n{text}\n"));
        assert!(error.starts_with(expected), "{error}");
    }
}

#[test]
fn flags_override_files_and_presets_and_are_named_when_wrong() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("run.toml");
    fs::write(&path, "[align]\ndamping = 3\nupper_steps = 2\n").unwrap();
    let layers = Layers::preset(Preset::Demo).file(&path).unwrap();
    let config = layers.flag("--damping", "align.damping", "4").resolve().unwrap();
    assert_eq!((config.align.damping, config.align.upper_steps), (4.0, 2));
    assert_eq!(config.network.width, Preset::Demo.config().network.width);
    let error = with_flag("align.damping", "nan").expect_err("nan").to_string();
    assert_eq!(error, "--flag: `align.damping` is nan, expected a number in [0, 1000000]");
    let error = with_flag("align.damping", "3\nseed = 4").expect_err("two lines").to_string();
    assert!(error.starts_with("--flag: `align.damping` is "), "{error}");
}

#[test]
fn set_takes_any_key_and_text_without_quotes() {
    let set = |text: &str| Layers::preset(Preset::Default).set(text).and_then(|l| l.resolve());
    assert_eq!(set("align.solver=identity").unwrap().align.solver, SolverName::Identity);
    assert_eq!(set("align.solver=\"identity\"").unwrap().align.solver, SolverName::Identity);
    assert_eq!(
        set("data.pretext.path=12 \"o'clock\"").unwrap().data.pretext.path,
        "12 \"o'clock\""
    );
    assert_eq!(set("align.lower.clip = none").unwrap().align.lower.clip, None);
    assert_eq!(set("align.lower.clip=2").unwrap().align.lower.clip, Some(2.0));
    assert_eq!(
        set("data.downstream.labels_per_class=7").unwrap().data.downstream.labels_per_class,
        Some(7)
    );
    assert_eq!(set("network.projector=[64]").unwrap().network.projector, [64]);
    for malformed in ["align.damping", "=3", "a..b=1", "a b=1"] {
        assert!(matches!(set(malformed), Err(ConfigError::Assignment { .. })), "{malformed}");
    }
    let error = set("align.tolerence=1").expect_err("unknown").to_string();
    assert!(error.starts_with("--set align.tolerence=1: unknown key"), "{error}");
}

#[test]
fn paths_and_lists_are_checked() {
    assert!(with_flag("data.pretext.path", "").is_err());
    assert!(with_flag("data.pretext.path", "embedded:cats").is_err());
    assert!(with_flag("network.projector", "[]").is_err());
    assert!(with_flag("network.projector", "[64, 1]").is_err());
    assert!(with_flag("network.projector", "64").is_err());
    assert!(with_flag("seed", "-1").is_err());
    assert!(with_flag("seed", "9223372036854775808").is_err());
    assert_eq!(with_flag("seed", "9223372036854775807").unwrap().seed, i64::MAX as u64);
    assert_eq!(with_flag("seed", "0xff").unwrap().seed, 255);
}

#[test]
fn differences_name_the_key_and_leave_out_what_changes_no_result() {
    let base = Preset::Default.config();
    let changed = with_flag("align.damping", "1").unwrap();
    let difference = ("align.damping".to_owned(), "10.0".to_owned(), "1.0".to_owned());
    assert_eq!(first_difference(&base, &changed), Some(difference));
    assert_eq!(first_difference(&base, &with_flag("threads", "3").unwrap()), None);
    assert_eq!(first_difference(&base, &with_flag("checkpoint.keep", "9").unwrap()), None);
    assert!(first_difference(&base, &base.clone().with_seed(1)).is_some());
}

#[test]
fn settings_in_range_are_settings_of_the_core() {
    for preset in Preset::NAMES.iter().map(|name| Preset::named(name).unwrap()) {
        let config = preset.config();
        assert_eq!(config.pretrain.descent(7).unwrap().steps(), 7 * config.pretrain.epochs);
        assert_eq!(config.warm_up.descent(7).unwrap().steps(), 7 * config.warm_up.epochs);
        assert_eq!(config.finetune.descent(7).unwrap().steps(), 7 * config.finetune.epochs);
        assert_eq!(config.align.alternation().unwrap().alternations(), config.align.alternations);
        assert!(config.pretrain.descent(u32::MAX).is_err());
    }
}
