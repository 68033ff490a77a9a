//! Names from outside are data: whatever files, classes and runs are called, what a person reads
//! keeps its lines, its direction and its terminal.

use std::fs;
use std::path::Path;

use image::{Rgb, RgbImage};

use crate::binary::{Ended, run};

/// Names of classes that do something where they are not escaped: to a page, a line, a terminal, a
/// reader, a spreadsheet.
const HOSTILE: [&str; 6] = [
    "<script>alert(1)<script>",
    "\"onload=",
    "two\nlines",
    "red\u{1b}[31m\u{1b}[2J\r",
    "gpj.\u{202e}exe",
    "=1+1",
];

/// Two different pictures in each class.
fn put_set(root: &Path) {
    for (number, class) in HOSTILE.iter().enumerate() {
        let folder = root.join(class);
        fs::create_dir_all(&folder).unwrap();
        for i in 0..2u8 {
            let colour = |x: u32, y: u32| Rgb([9 * x as u8, 7 * y as u8, 60 * i + number as u8]);
            RgbImage::from_fn(16, 16, colour).save(folder.join(format!("{i}.png"))).unwrap();
        }
    }
}

/// Nothing in a text acts on the terminal that shows it, but for line breaks.
#[track_caller]
fn is_inert(text: &str) {
    let acts = |c: char| {
        c != '\n' && c.is_control()
            || ('\u{202a}'..='\u{202e}').contains(&c)
            || ('\u{2066}'..='\u{2069}').contains(&c)
    };
    assert!(!text.contains(acts), "{text:?}");
}

fn check(root: &Path, more: &[&str]) -> Ended {
    run(&[&["data", "check", root.to_str().unwrap(), "--quiet"], more].concat())
}

#[test]
fn a_table_has_a_line_for_each_class_whatever_its_name() {
    let root = tempfile::tempdir().unwrap();
    put_set(root.path());
    let ended = check(root.path(), &[]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    is_inert(&ended.stdout);
    is_inert(&ended.stderr);
    for name in ["two\\nlines", "red\\u{1b}[31m\\u{1b}[2J\\r", "gpj.\\u{202e}exe", "\"onload="] {
        let line = ended.stdout.lines().find(|line| line.starts_with(name));
        assert!(line.is_some_and(|line| line.trim_end().ends_with('2')), "{name}: {ended:?}");
    }
}

#[test]
fn json_has_the_names_themselves_and_no_character_that_acts() {
    let root = tempfile::tempdir().unwrap();
    put_set(root.path());
    let ended = check(root.path(), &["--json"]);
    is_inert(&ended.stdout);
    let report: serde_json::Value = serde_json::from_str(&ended.stdout).unwrap();
    let classes = report["classes"].as_array().unwrap();
    let found: Vec<&str> = classes.iter().map(|row| row["class"].as_str().unwrap()).collect();
    for name in HOSTILE {
        assert!(found.contains(&name), "{name:?}: {found:?}");
    }
}

#[test]
fn errors_and_warnings_keep_their_lines() {
    let root = tempfile::tempdir().unwrap();
    put_set(root.path());
    // A broken picture, whose name imitates a line of the program's own.
    let broken =
        root.path().join("two\nlines").join("x\nerror: \u{1b}[2Jnothing is wrong\u{202e}.png");
    fs::write(broken, b"no picture").unwrap();
    let ended = check(root.path(), &[]);
    assert_eq!(ended.code, Some(1), "{ended:?}");
    is_inert(&ended.stdout);
    is_inert(&ended.stderr);
    assert!(ended.stdout.contains("x\\nerror: \\u{1b}[2Jnothing"), "{ended:?}");
    assert!(!ended.stdout.lines().any(|line| line.starts_with("error: ")), "{ended:?}");

    let out = root.path().join("a\nwarning: run\u{1b}[2J");
    let out = out.to_str().unwrap();
    let pretext = format!("data.pretext.path={:?}", root.path().to_str().unwrap());
    let small = ["--preset", "demo", "--quiet", "--epochs", "1", "--set", &pretext];
    let ended = run(&[&["pretrain", "--out", out], &small[..]].concat());
    is_inert(&ended.stdout);
    is_inert(&ended.stderr);
    assert!(ended.stderr.contains("1 of 13 images are broken"), "{ended:?}");
    assert!(!ended.stdout.lines().any(|line| line.starts_with("warning: ")), "{ended:?}");

    // A folder that is missing, and a run whose folder is in the way.
    for arguments in [vec!["runs", "no\n\u{1b}[2Jsuch"], vec!["inspect", "no\n\u{1b}[2Jsuch"]] {
        let ended = run(&arguments);
        assert_ne!(ended.code, Some(0), "{ended:?}");
        is_inert(&ended.stderr);
        assert_eq!(ended.stderr.lines().count(), 1, "{ended:?}");
    }
    let listed = run(&["runs", root.path().to_str().unwrap()]);
    is_inert(&listed.stdout);
    assert!(listed.stdout.contains("a\\nwarning: run\\u{1b}[2J"), "{listed:?}");
}
