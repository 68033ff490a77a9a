//! Laws of splits: they are disjoint, stratified and repeatable, and refused if a class is too
//! small.

use std::path::Path;

use bissl::data::{
    Corpus, DataError, Dataset, Embedded, Format, Labels, Split, SplitSettings, Validation,
};

use crate::support::{png, put, put_classes};

fn few(labels: u32, validation: u32) -> SplitSettings {
    let validation = Validation::PerClass(validation);
    SplitSettings { labels_per_class: Some(labels), validation, ..SplitSettings::default() }
}

fn listed(root: &Path) -> Dataset {
    Dataset::folder(root, Labels::FromFolders).unwrap()
}

fn count(set: &Dataset, items: &[u32], class: u32) -> usize {
    items.iter().filter(|&&item| set.label(item) == Some(class)).count()
}

#[test]
fn parts_are_disjoint_complete_and_stratified_for_every_seed() {
    let set = Dataset::embedded(Embedded::NotoEmoji).unwrap();
    for seed in 0..20 {
        let split = Split::draw(&set, &few(20, 5), seed).unwrap();
        let mut all = [split.train.as_slice(), &split.validation, &split.test].concat();
        assert!([&split.train, &split.validation, &split.test].iter().all(|part| part.is_sorted()));
        all.sort_unstable();
        assert_eq!(all, set.all_items(), "seed {seed}");
        for class in 0..9 {
            assert_eq!(count(&set, &split.train, class), 20, "seed {seed}");
            assert_eq!(count(&set, &split.validation, class), 5, "seed {seed}");
        }
        assert_eq!(split, Split::draw(&set, &few(20, 5), seed).unwrap());
        assert_ne!(split, Split::draw(&set, &few(20, 5), seed + 1).unwrap());
    }
}

#[test]
fn fewer_labels_are_a_subset_and_leave_validation_as_it_is() {
    let set = Dataset::embedded(Embedded::NotoEmoji).unwrap();
    let many = Split::draw(&set, &few(20, 5), 3).unwrap();
    let less = Split::draw(&set, &few(4, 5), 3).unwrap();
    assert!(less.train.iter().all(|item| many.train.contains(item)));
    assert_eq!(less.validation, many.validation);
}

#[test]
fn given_parts_are_kept() {
    let root = tempfile::tempdir().unwrap();
    put_classes(&root.path().join("train"), &[("a", 9), ("b", 7)]);
    put_classes(&root.path().join("val"), &[("a", 2), ("b", 3)]);
    put_classes(&root.path().join("test"), &[("a", 4), ("b", 1)]);
    let set = listed(root.path());
    let all = Split::draw(&set, &SplitSettings::default(), 1).unwrap();
    assert_eq!([all.train.len(), all.validation.len(), all.test.len()], [16, 5, 5]);
    // With a validation folder the number has no use: all images are used.
    let some = Split::draw(&set, &few(3, 100), 1).unwrap();
    assert_eq!([some.train.len(), some.validation.len(), some.test.len()], [6, 5, 5]);
    assert_eq!((&some.validation, &some.test), (&all.validation, &all.test));
}

#[test]
fn validation_comes_from_training_where_only_a_test_part_is_given() {
    let root = tempfile::tempdir().unwrap();
    put_classes(&root.path().join("train"), &[("a", 9), ("b", 7)]);
    put_classes(&root.path().join("test"), &[("a", 4), ("b", 1)]);
    let set = listed(root.path());
    let settings =
        SplitSettings { validation: Validation::PerClass(2), ..SplitSettings::default() };
    let split = Split::draw(&set, &settings, 1).unwrap();
    assert_eq!([split.train.len(), split.validation.len(), split.test.len()], [12, 4, 5]);
    let printed = set.describe(Some(&split)).to_string();
    let row = printed.lines().find(|line| line.trim_start().starts_with("a ")).unwrap();
    let numbers: Vec<&str> = row.split_whitespace().skip(1).collect();
    assert_eq!(numbers, ["13", "7", "2", "4"], "{printed}");
}

#[test]
fn one_image_in_a_class_is_refused_by_name() {
    let root = tempfile::tempdir().unwrap();
    put_classes(root.path(), &[("many", 9), ("lonely", 1)]);
    let refused = Split::draw(&listed(root.path()), &few(1, 1), 0).unwrap_err();
    let DataError::TooFewInClass { class, found, needed, .. } = &refused else {
        panic!("{refused}");
    };
    assert_eq!((class.as_str(), *found, *needed), ("lonely", 1, 3));
    assert!(Split::draw(&listed(root.path()), &few(u32::MAX, u32::MAX), 0).is_err());
    // Exactly enough is enough.
    put_classes(root.path(), &[("lonely", 3)]);
    let split = Split::draw(&listed(root.path()), &few(1, 1), 0).unwrap();
    assert_eq!([split.train.len(), split.validation.len(), split.test.len()], [2, 2, 8]);
}

#[test]
fn a_class_that_a_given_part_lacks_is_refused() {
    for part in ["validation", "test"] {
        let root = tempfile::tempdir().unwrap();
        put_classes(&root.path().join("train"), &[("a", 5), ("b", 5)]);
        put_classes(&root.path().join(part), &[("a", 2)]);
        let refused = Split::draw(&listed(root.path()), &few(2, 0), 0).unwrap_err();
        assert!(
            matches!(&refused, DataError::TooFewInClass { class, found: 0, .. } if class == "b"),
            "{refused}"
        );
    }
}

#[test]
fn what_cannot_be_split_is_refused() {
    let root = tempfile::tempdir().unwrap();
    put_classes(root.path(), &[("a", 5)]);
    let set = listed(root.path());
    let nothing_left = Split::draw(&set, &SplitSettings::default(), 0);
    assert!(matches!(nothing_left, Err(DataError::NothingToTest { .. })));
    assert!(matches!(Split::draw(&set, &few(0, 0), 0), Err(DataError::Config(_))));
    let unlabelled = Dataset::folder(root.path(), Labels::Ignore).unwrap();
    let refused = Split::draw(&unlabelled, &few(1, 0), 0);
    assert!(matches!(refused, Err(DataError::Unlabelled { .. })));
    put(root.path(), "notes.txt", b"ignored");
    assert_eq!(listed(root.path()).len(), 5);
}

#[test]
fn unknown_keys_are_refused() {
    let parse = serde_json::from_str::<SplitSettings>;
    assert_eq!(parse(r#"{"labels_per_class": 20}"#).unwrap(), few(20, 0));
    assert_eq!(
        parse(r#"{"validation": {"per_class": 5}}"#).unwrap().validation,
        few(1, 5).validation
    );
    assert!(parse(r#"{"labels": 20}"#).is_err());
}

#[test]
fn a_share_is_rounded_down_in_every_class() {
    let root = tempfile::tempdir().unwrap();
    put_classes(&root.path().join("train"), &[("a", 100), ("b", 29), ("c", 4)]);
    put_classes(&root.path().join("test"), &[("a", 1), ("b", 1), ("c", 1)]);
    let set = listed(root.path());
    let counts = |share| {
        let validation = Validation::Share(share);
        let settings = SplitSettings { validation, ..SplitSettings::default() };
        let split = Split::draw(&set, &settings, 3).unwrap();
        assert_eq!(split.train.len() + split.validation.len(), 133);
        [0, 1, 2].map(|class| count(&set, &split.validation, class))
    };
    assert_eq!(counts(0.2), [20, 5, 0]);
    // 0.29 of 100 is slightly less than 29 in binary.
    assert_eq!(counts(0.29), [29, 8, 1]);
    assert_eq!(counts(0.0), [0, 0, 0]);
}

#[test]
fn a_set_with_several_labels_an_image_is_divided_as_a_whole() {
    let root = tempfile::tempdir().unwrap();
    let mut table = "path\tlabels\n".to_owned();
    for i in 0..30u8 {
        put(root.path(), &format!("{i}.png"), &png(i));
        table += &format!("{i}.png\t{}\n", ["cat", "dog", "cat|dog"][usize::from(i % 3)]);
    }
    put(root.path(), "split.tsv", table.as_bytes());
    let set = Dataset::open(root.path(), Format::Auto, Corpus::Downstream).unwrap();
    // With two classes, twice the numbers.
    let split = Split::draw(&set, &few(5, 3), 1).unwrap();
    assert_eq!([split.train.len(), split.validation.len(), split.test.len()], [10, 6, 14]);
    let mut all = [split.train.as_slice(), &split.validation, &split.test].concat();
    all.sort_unstable();
    assert_eq!(all, set.all_items());
    assert_eq!(split, Split::draw(&set, &few(5, 3), 1).unwrap());
    assert!(matches!(Split::draw(&set, &few(20, 0), 1), Err(DataError::TooFewInClass { .. })));
}
