//! `downstream.class_weights`, through every stage that trains on labels.

use std::fs;
use std::path::Path;

use image::{Rgb, RgbImage};

use crate::binary::succeed;

/// Red pictures and, of the training images, a seventh as many green ones.
fn put_set(root: &Path) {
    for (part, class, count) in
        [("train", "red", 28u8), ("train", "green", 4), ("test", "red", 6), ("test", "green", 6)]
    {
        let folder = root.join(part).join(class);
        fs::create_dir_all(&folder).unwrap();
        for i in 0..count {
            let shade = 255 - 5 * i;
            let colour = if class == "red" { [shade, 60, i] } else { [60, shade, i] };
            let path = folder.join(format!("{i:02}.png"));
            RgbImage::from_pixel(20, 16, Rgb(colour)).save(path).unwrap();
        }
    }
}

/// The weights of a run's last checkpoint.
fn weights(run: &str) -> Vec<u8> {
    let folders = fs::read_dir(Path::new(run).join("checkpoints")).unwrap();
    let newest = folders.map(|folder| folder.unwrap().path()).max().unwrap();
    fs::read(newest.join("weights.safetensors")).unwrap()
}

#[test]
fn they_change_every_stage_on_labels_where_classes_differ_and_no_bit_where_they_do_not() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    put_set(&folder.path().join("set"));
    let (set, pretrained) = (path("set"), path("pretrained"));
    let mut words = vec!["pretrain", "--preset", "demo", "--pretext", &set, "--out", &pretrained];
    words.extend(["--width", "8", "--batch", "8", "--epochs", "1", "--image-size", "16"]);
    words.extend(["--set", "network.projector=[16,16]", "--set", "pretrain.warm_up_epochs=0"]);
    succeed(&words);

    // All training images of seven to one, then four of each.
    for (labels, same) in [("none", false), ("4", true)] {
        let trained = ["none", "balanced"].map(|class_weights| {
            let out = |stage: &str| path(&format!("{stage}-{labels}-{class_weights}"));
            let (aligned, tuned) = (out("aligned"), out("tuned"));
            let setting = format!("downstream.class_weights={class_weights}");
            let common =
                ["--downstream", &set, "--labels-per-class", labels, "--set", &setting, "--quiet"];
            let none_held_out = ["--set", "data.downstream.validation_per_class=0"];
            let mut words = vec!["align", "--from", &pretrained, "--out", &aligned];
            words.extend(common.iter().chain(&none_held_out));
            words.extend(["--alternations", "1", "--lower-steps", "1", "--upper-steps", "2"]);
            words.extend(["--set", "align.batch=8", "--set", "align.product_batch=8"]);
            words.extend(["--set", "align.upper_batch=8", "--set", "warm_up.batch=8"]);
            words.extend(["--set", "warm_up.epochs=1", "--set", "align.lower.warm_up_steps=0"]);
            succeed(&words);
            let mut words = vec!["finetune", "--from", &aligned, "--out", &tuned];
            words.extend(common.iter().chain(&none_held_out));
            words.extend(["--set", "finetune.epochs=2", "--set", "finetune.batch=8"]);
            words.extend(["--set", "finetune.choice=last"]);
            succeed(&words);
            let config = fs::read_to_string(Path::new(&tuned).join("config.toml")).unwrap();
            assert!(config.contains(&format!("class_weights = \"{class_weights}\"")), "{config}");
            let probe = succeed(&["evaluate", "--from", &aligned]).stdout;
            let probe = probe.lines().skip(1).map(str::to_owned).collect::<Vec<_>>();
            (weights(&aligned), weights(&tuned), probe)
        });
        let [none, balanced] = trained;
        assert_eq!(none.0 == balanced.0, same, "align, {labels} labels a class");
        assert_eq!(none.1 == balanced.1, same, "finetune, {labels} labels a class");
        if same {
            assert_eq!(none.2, balanced.2, "evaluate, {labels} labels a class");
        }
    }
}
