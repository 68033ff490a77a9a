//! What a run records about its data, and what later commands make of it.

use std::fs;
use std::path::{Path, PathBuf};

use image::{Rgb, RgbImage};

use crate::binary::{Ended, bissl, run};

const CLASSES: [(&str, [u8; 3]); 3] =
    [("apple", [200, 60, 60]), ("leaf", [60, 200, 60]), ("sky", [60, 60, 200])];
const IMAGES: u8 = 20;

/// A picture that no other number makes.
fn picture(number: u8, [r, g, b]: [u8; 3]) -> RgbImage {
    RgbImage::from_fn(16, 16, |x, y| {
        let noise = (x * 31 + y * 17 + u32::from(number) * 7) % 40;
        Rgb([r + noise as u8, g + number, b + noise as u8 / 2])
    })
}

fn put_class(root: &Path, class: &str, colour: [u8; 3], numbers: std::ops::Range<u8>) {
    fs::create_dir_all(root.join(class)).unwrap();
    for number in numbers {
        picture(number, colour).save(root.join(class).join(format!("{number:02}.png"))).unwrap();
    }
}

/// A folder with a labelled set, and runs on it.
pub(crate) struct Desk {
    folder: tempfile::TempDir,
}

impl Desk {
    pub(crate) fn new() -> Self {
        let desk = Self { folder: tempfile::tempdir().unwrap() };
        for (class, colour) in CLASSES {
            put_class(&desk.set(), class, colour, 0..IMAGES);
        }
        let mut words = vec!["pretrain", "--preset", "demo", "--pretext", "set", "--out", "p"];
        words.extend(["--width", "8", "--batch", "16", "--epochs", "1", "--image-size", "16"]);
        words.extend(["--set", "network.projector=[16,16]"]);
        words.extend(["--set", "pretrain.warm_up_epochs=0"]);
        desk.succeed(&words);
        desk
    }

    pub(crate) fn set(&self) -> PathBuf {
        self.folder.path().join("set")
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn run(&self, words: &[&str]) -> Ended {
        bissl().args(words).current_dir(self.folder.path()).output().unwrap().into()
    }

    pub(crate) fn succeed(&self, words: &[&str]) -> Ended {
        let ended = self.run(words);
        assert_eq!(ended.code, Some(0), "{words:?}: {ended:?}");
        ended
    }

    /// Refused with exit code 1 and each of these words, on the standard error.
    pub(crate) fn refused(&self, words: &[&str], because: &[&str]) {
        let ended = self.run(words);
        assert_eq!(ended.code, Some(1), "{words:?}: {ended:?}");
        for word in because {
            assert!(ended.stderr.contains(word), "{word}: {}", ended.stderr);
        }
    }

    pub(crate) fn finetune(&self, from: &str, out: &str, more: &[&str]) -> Ended {
        let mut words = vec!["finetune", "--from", from, "--out", out, "--downstream", "set"];
        words.extend(more);
        words.extend(["--set", "data.downstream.validation_per_class=2"]);
        words.extend(["--set", "finetune.batch=8"]);
        if !more.contains(&"--epochs") {
            words.extend(["--epochs", "1"]);
        }
        self.succeed(&words)
    }

    /// The paths in a run's record, by role.
    fn recorded(&self, run: &str, role: &str) -> Vec<String> {
        let text = fs::read_to_string(self.folder.path().join(run).join("data.jsonl")).unwrap();
        let items = text.lines().skip(1);
        let items = items.map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
        let of = items.filter(|item| item["role"] == role);
        of.map(|item| item["path"].as_str().unwrap().to_owned()).collect()
    }
}

#[test]
fn the_same_images_stay_held_out_whatever_is_added() {
    let desk = Desk::new();
    desk.finetune("p", "f", &["--labels-per-class", "8"]);
    assert_eq!(desk.recorded("f", "train").len(), 24);
    assert_eq!(desk.recorded("f", "validation").len(), 6);
    assert_eq!(desk.recorded("f", "test").len(), 30);
    let before = desk.succeed(&["evaluate", "--from", "f"]).stdout;
    assert!(before.contains("(30 test images)"), "{before}");

    // More images, and a class that comes first in the order of the names.
    put_class(&desk.set(), "leaf", [60, 200, 60], IMAGES..IMAGES + 5);
    put_class(&desk.set(), "aardvark", [10, 10, 10], 0..20);
    let after = desk.succeed(&["evaluate", "--from", "f"]);
    assert_eq!(after.stdout, before);
    assert!(after.stderr.contains("25 items were added to set"), "{}", after.stderr);
    desk.succeed(&["finetune", "--resume", "--out", "f"]);
    assert_eq!(desk.succeed(&["evaluate", "--from", "f"]).stdout, before);

    // The set has moved.
    fs::rename(desk.set(), desk.folder.path().join("elsewhere")).unwrap();
    for place in ["elsewhere", "elsewhere/"] {
        let moved = desk.succeed(&["evaluate", "--from", "f", "--downstream", place]);
        assert_eq!(moved.stdout, before);
    }
}

#[test]
fn what_is_missing_changed_or_renamed_is_named() {
    let desk = Desk::new();
    desk.finetune("p", "f", &["--labels-per-class", "8"]);
    let evaluate = ["evaluate", "--from", "f"];
    let accepted = ["evaluate", "--from", "f", "--accept-changed-data"];
    let other_labels = ["evaluate", "--from", "f", "--labels-per-class", "4"];
    desk.refused(&other_labels, &["labels_per_class = 4", "expected labels_per_class = 8"]);
    let leaf = desk.set().join("leaf/03.png");
    fs::remove_file(&leaf).unwrap();
    for words in [&evaluate[..], &["finetune", "--resume", "--out", "f"]] {
        desk.refused(words, &["1 missing (leaf/03.png)", "--accept-changed-data"]);
    }
    let ended = desk.succeed(&accepted);
    assert!(ended.stderr.contains("the split is drawn anew"), "{}", ended.stderr);
    picture(77, [9, 9, 9]).save(&leaf).unwrap();
    desk.refused(&evaluate, &["1 with other content (leaf/03.png)"]);
    picture(3, CLASSES[1].1).save(&leaf).unwrap();
    desk.succeed(&evaluate);

    fs::rename(desk.set().join("apple"), desk.set().join("pomme")).unwrap();
    desk.refused(&evaluate, &["20 moved or renamed (apple/00.png is now pomme/00.png"]);
    // The head has no output of that name.
    let ended = desk.succeed(&accepted);
    assert!(ended.stderr.contains("the head does not know pomme"), "{}", ended.stderr);
    let row = ended.stdout.lines().find(|line| line.starts_with("pomme")).unwrap();
    let counts = row.split_whitespace().skip(1).map(|count| count.parse::<u32>().unwrap());
    assert_eq!(counts.sum::<u32>(), u32::from(IMAGES));
}

#[test]
fn another_set_is_judged_by_the_names_of_its_classes() {
    let desk = Desk::new();
    desk.finetune("p", "f", &["--labels-per-class", "8"]);
    let other = desk.folder.path().join("other");
    put_class(&other, "leaf", CLASSES[1].1, 60..70);
    put_class(&other, "sky", CLASSES[2].1, 60..70);
    let words = ["evaluate", "--from", "f", "--downstream", "other", "--labels-per-class", "4"];
    desk.succeed(&words);
    put_class(&other, "sea", [0, 0, 90], 60..70);
    desk.refused(&words, &["found classes sea", "apple, leaf, sky"]);
}

#[test]
fn labels_that_an_earlier_stage_has_seen_are_not_held_out() {
    let desk = Desk::new();
    let mut words = vec!["align", "--from", "p", "--out", "a", "--downstream", "set"];
    words.extend(["--labels-per-class", "12", "--lower-steps", "1", "--upper-steps", "1"]);
    words.extend(["--alternations", "1", "--set", "align.batch=16"]);
    words.extend(["--set", "align.product_batch=8", "--set", "align.upper_batch=8"]);
    words.extend(["--set", "warm_up.batch=8", "--set", "warm_up.epochs=1"]);
    words.extend(["--set", "align.lower.warm_up_steps=0"]);
    words.extend(["--set", "data.downstream.validation_per_class=2"]);
    desk.succeed(&words);
    let seen = desk.recorded("a", "train");
    assert_eq!(seen.len(), 36);

    // The same division, and one with fewer labels.
    desk.finetune("a", "same", &["--labels-per-class", "12"]);
    assert_eq!(desk.recorded("same", "test"), desk.recorded("a", "test"));
    let ended = desk.finetune("a", "fewer", &["--labels-per-class", "4"]);
    assert!(ended.stderr.contains("an earlier stage has seen the labels"), "{}", ended.stderr);
    assert!(desk.recorded("fewer", "test").iter().all(|path| !seen.contains(path)));
    assert_eq!(desk.recorded("fewer", "train").len(), 12);
    assert_eq!(desk.recorded("fewer", "seen").len(), 24);
}

#[test]
fn a_set_without_a_test_part_gives_a_share_of_every_class() {
    let desk = Desk::new();
    let ended = desk.finetune("p", "f", &["--labels-per-class", "none"]);
    assert!(ended.stderr.contains("20 % of each class are held out"), "{}", ended.stderr);
    assert_eq!(desk.recorded("f", "test").len(), 12);
    assert_eq!(desk.recorded("f", "validation").len(), 6);
    assert_eq!(desk.recorded("f", "train").len(), 42);
}

#[test]
fn relative_paths_of_a_run_begin_where_it_was_started() {
    let desk = Desk::new();
    desk.finetune("p", "f", &["--labels-per-class", "8"]);
    let here = desk.succeed(&["evaluate", "--from", "f"]).stdout;
    let measures = |text: &str| text.lines().skip(1).map(str::to_owned).collect::<Vec<_>>();
    let elsewhere = desk.folder.path().join("f").to_str().unwrap().to_owned();
    let ended = run(&["evaluate", "--from", &elsewhere]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_eq!(measures(&ended.stdout), measures(&here));
    assert_eq!(run(&["finetune", "--resume", "--out", &elsewhere]).code, Some(0));
    fs::rename(desk.set(), desk.folder.path().join("gone")).unwrap();
    let ended = run(&["evaluate", "--from", &elsewhere]);
    assert_eq!(ended.code, Some(2), "{ended:?}");
    assert!(ended.stderr.contains(desk.set().to_str().unwrap()), "{}", ended.stderr);
}
