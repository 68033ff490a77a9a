//! A data set with several labels per image, from its files to its metric.

use std::fs;
use std::path::Path;

use image::{Rgb, RgbImage};

use crate::binary::{run, succeed};

/// A VOC 2007 folder: a red picture shows a dog, a green one a cat, a yellow one both; some cats
/// are difficult.
fn put_voc(root: &Path) {
    let image_sets = root.join("ImageSets/Main");
    for folder in [&image_sets, &root.join("Annotations"), &root.join("JPEGImages")] {
        fs::create_dir_all(folder).unwrap();
    }
    for (part, count) in [("train", 24u8), ("val", 12), ("test", 12)] {
        let mut names = String::new();
        for i in 0..count {
            let name = format!("{part}{i:04}");
            names += &format!("{name}\n");
            let (dog, cat) = (i % 3 != 1, i % 3 != 0);
            let shade = 255 - i;
            let colour = Rgb([shade * u8::from(dog), shade * u8::from(cat), 40]);
            RgbImage::from_pixel(20, 16, colour)
                .save(root.join(format!("JPEGImages/{name}.jpg")))
                .unwrap();
            let object = |class: &str, difficult: bool| {
                let difficult = u8::from(difficult);
                format!("<object><name>{class}</name><difficult>{difficult}</difficult></object>")
            };
            let objects = [
                if dog { object("dog", false) } else { String::new() },
                if cat { object("cat", i % 6 == 5) } else { String::new() },
            ];
            let text = format!("<annotation>{}</annotation>", objects.concat());
            fs::write(root.join(format!("Annotations/{name}.xml")), text).unwrap();
        }
        fs::write(image_sets.join(format!("{part}.txt")), names).unwrap();
    }
}

#[test]
fn voc_2007_is_aligned_fine_tuned_and_judged_by_eleven_point_precision() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    put_voc(&folder.path().join("VOCdevkit/VOC2007"));
    let (voc, pretrained) = (path("VOCdevkit/VOC2007"), path("pretrained"));
    let mut words = vec!["pretrain", "--preset", "demo", "--pretext", &voc, "--out", &pretrained];
    words.extend(["--width", "8", "--batch", "8", "--epochs", "1", "--image-size", "16"]);
    words.extend(["--set", "network.projector=[16,16]", "--set", "pretrain.warm_up_epochs=0"]);
    succeed(&words);

    for loss in ["binary", "softmax"] {
        let loss_setting = format!("downstream.multi_label_loss={loss}");
        let aligned = path(&format!("aligned-{loss}"));
        let mut words =
            vec!["align", "--from", &pretrained, "--downstream", &voc, "--out", &aligned];
        words.extend(["--alternations", "2", "--lower-steps", "2", "--upper-steps", "2"]);
        words.extend(["--labels-per-class", "none", "--set", &loss_setting]);
        words.extend(["--set", "align.batch=8", "--set", "align.product_batch=8"]);
        words.extend(["--set", "warm_up.epochs=2", "--set", "align.lower.warm_up_steps=1"]);
        succeed(&words);

        let tuned = path(&format!("tuned-{loss}"));
        let mut words = vec!["finetune", "--from", &aligned, "--downstream", &voc, "--out", &tuned];
        words.extend(["--labels-per-class", "none", "--set", &loss_setting]);
        words.extend(["--set", "finetune.epochs=6", "--set", "finetune.learning_rate=0.1"]);
        // Validation images are used only to choose among the epochs.
        words.extend(["--set", "finetune.choice=best"]);
        let ended = succeed(&words);
        let measure = |name: &str| -> f64 {
            let row = ended.stdout.lines().find(|line| line.starts_with(name)).unwrap();
            row.split_whitespace().last().unwrap().parse().unwrap()
        };
        let test = measure("test 11-point mAP");
        // Chance is about a half, since two thirds of the images show each class.
        assert!(test > 0.8 && measure("validation 11-point mAP") > 0.8, "{}", ended.stdout);
        let metrics = fs::read_to_string(Path::new(&tuned).join("metrics.jsonl")).unwrap();
        let records: Vec<serde_json::Value> =
            metrics.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let validations = records.iter().filter(|record| record["kind"] == "validation");
        assert!(validations.clone().count() == 6, "{metrics}");
        assert!(validations.clone().all(|record| record["metric"] == "map-11"), "{metrics}");
        let result = records.iter().find(|record| record["name"] == "test_map_11").unwrap();
        assert_eq!(format!("{:.4}", result["value"].as_f64().unwrap()), format!("{test:.4}"));
        let evaluated = succeed(&["evaluate", "--from", &tuned]);
        let row = format!("held-out 11-point mAP  {test:.4}");
        let squeezed = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(squeezed(&evaluated.stdout).contains(&squeezed(&row)), "{}", evaluated.stdout);

        let setting = "downstream.class_weights=balanced";
        let refused =
            run(&["finetune", "--from", &aligned, "--downstream", &voc, "--set", setting]);
        assert_eq!(refused.code, Some(1), "{refused:?}");
        let expected = "downstream.class_weights: balanced needs one label an image";
        assert!(refused.stderr.contains(expected), "{refused:?}");

        let setting = "evaluate.metric=top-1";
        let refused = run(&["evaluate", "--from", &tuned, "--set", setting]);
        assert_eq!(refused.code, Some(1), "{refused:?}");
        assert!(refused.stderr.contains("top-1 needs one label an image"), "{refused:?}");
    }
}
