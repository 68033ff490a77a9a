//! The image sets that are embedded in the program.

use bissl::data::{Dataset, Embedded, ImageSettings, SizeRange};

#[test]
fn both_sets_are_whole_labelled_and_of_equal_make() {
    let mut classes = Vec::new();
    for which in [Embedded::Twemoji, Embedded::NotoEmoji] {
        let set = Dataset::embedded(which).unwrap();
        let strict = ImageSettings { bad_image_limit: 0.0, ..ImageSettings::default() };
        let (set, report) = set.checked(&strict).unwrap();
        assert_eq!((set.len(), report.bad.len()), (1906, 0));
        assert_eq!(set.sizes(), Some(SizeRange { width: (32, 32), height: (32, 32) }));
        assert!(set.is_cached());
        let counts: Vec<u32> = set.describe(None).classes.iter().map(|row| row.images).collect();
        assert_eq!(counts, [85, 159, 270, 131, 264, 386, 169, 224, 218]);
        classes.push(set.classes().to_vec());
    }
    assert_eq!(classes[0], classes[1]);
    assert_eq!(classes[0][0], "Activities");
}

#[test]
fn the_packs_are_small_enough_to_ship() {
    let assets = concat!(env!("CARGO_MANIFEST_DIR"), "/../host/assets");
    let Ok(entries) = std::fs::read_dir(assets) else { panic!("{assets} is missing") };
    let bytes: u64 = entries.map(|entry| entry.unwrap().metadata().unwrap().len()).sum();
    assert!(bytes < 8_000_000, "{bytes}");
}

#[test]
fn transparent_corners_are_white() {
    let set = Dataset::embedded(Embedded::Twemoji).unwrap();
    let grinning = set.all_items().into_iter().find(|&item| set.item_name(item).contains("1f600"));
    let image = set.image(grinning.expect("the grinning face")).unwrap();
    assert_eq!(image.get_pixel(0, 0).0, [255; 3]);
    // Yellow: much red and green, little blue.
    let [red, green, blue] = image.get_pixel(16, 3).0;
    assert!(red > 200 && green > 150 && blue < 130, "{red} {green} {blue}");
}
