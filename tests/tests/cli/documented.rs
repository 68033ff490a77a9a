//! The commands that the documents print, run as they are printed on folders as they are described.

use std::fs;
use std::path::Path;

use image::{Rgb, RgbImage};

use crate::binary::bissl;

/// What makes each stage small, and nothing else.
const SMALLER: [(&str, &[&str]); 3] = [
    (
        "pretrain",
        &[
            "--architecture",
            "resnet-small",
            "--width",
            "8",
            "--image-size",
            "16",
            "--epochs",
            "2",
            "--batch",
            "16",
            "--set",
            "network.projector=[16,16]",
        ],
    ),
    (
        "align",
        &[
            "--alternations",
            "1",
            "--lower-steps",
            "1",
            "--upper-steps",
            "1",
            "--set",
            "align.batch=16",
            "--set",
            "align.product_batch=16",
            "--set",
            "align.upper_batch=8",
            "--set",
            "warm_up.batch=8",
            "--set",
            "warm_up.epochs=1",
        ],
    ),
    ("finetune", &["--set", "finetune.epochs=1", "--set", "finetune.batch=8"]),
];

/// The commands of `document` in the blocks below the heading `section`.
fn commands(document: &str, section: &str) -> Vec<Vec<String>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(document);
    let text = fs::read_to_string(path).unwrap();
    let section = text.split(section).nth(1).expect("the section is there");
    let section = section.split("\n## ").next().unwrap_or_default();
    let lines =
        section.lines().filter_map(|line| line.strip_prefix("cargo run --release -p bissl -- "));
    lines.map(|line| line.split_whitespace().map(str::to_owned).collect()).collect()
}

fn put(folder: &Path, count: u8, [r, g, b]: [u8; 3]) {
    fs::create_dir_all(folder).unwrap();
    for number in 0..count {
        let image = RgbImage::from_fn(24, 20, |x, y| {
            Rgb([
                r + (x * 7 + u32::from(number) * 3) as u8 % 40,
                g + number,
                b + (y * 5) as u8 % 40,
            ])
        });
        image.save(folder.join(format!("{number:02}.png"))).unwrap();
    }
}

#[test]
fn the_way_through_images_of_one_s_own_works_as_printed() {
    let folder = tempfile::tempdir().unwrap();
    put(&folder.path().join("photos"), 20, [120, 30, 60]);
    put(&folder.path().join("photos/deeper"), 12, [20, 130, 60]);
    put(&folder.path().join("labelled/cat"), 16, [120, 30, 60]);
    put(&folder.path().join("labelled/dog"), 16, [20, 130, 60]);
    let commands = commands("docs/commands.md", "\n## Your own images\n");
    let names: Vec<&str> = commands.iter().map(|words| words[0].as_str()).collect();
    assert_eq!(names, ["pretrain", "align", "finetune"]);
    for words in &commands {
        let (_, smaller) = SMALLER.iter().find(|(name, _)| *name == words[0]).unwrap();
        let output =
            bissl().args(words).args(*smaller).current_dir(folder.path()).output().unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{words:?}: {stderr}");
        if words[0] == "align" {
            assert!(stderr.contains("20 % of each class are held out"), "{stderr}");
        }
        // What matters, and not every setting.
        let first = stderr.lines().take_while(|line| !line.contains("steps/s")).count();
        assert!((4..=14).contains(&first), "{first} lines before the first step: {stderr}");
    }
}
