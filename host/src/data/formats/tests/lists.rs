//! Formats that list image files: Caltech-101, Food-101, VOC 2007, ImageNet, split files.

use super::*;
use crate::data::{LabelSet, Targets, Task};

#[test]
fn caltech_101_has_no_background_class() {
    let root = tempfile::tempdir().unwrap();
    let root = root.path();
    for class in ["BACKGROUND_Google", "Faces", "Faces_easy", "Leopards"] {
        put(root, &format!("caltech101/101_ObjectCategories/{class}/image_0001.jpg"), &jpeg(1));
    }
    let set = open(root, Corpus::Downstream);
    assert_eq!(set.classes(), ["Faces", "Faces_easy", "Leopards"]);
    assert_eq!((set.len(), open(root, Corpus::Pretext).len()), (3, 3));
}

fn put_food(root: &Path) {
    put(root, "meta/train.txt", b"pie/1\npie/2\ncake/3\n");
    put(root, "meta/test.txt", b"cake/4\n");
    for name in ["pie/1", "pie/2", "cake/3", "cake/4"] {
        put(root, &format!("images/{name}.jpg"), &jpeg(2));
    }
}

#[test]
fn food_101_is_read_by_its_lists() {
    let root = tempfile::tempdir().unwrap();
    let root = root.path();
    put_food(root);
    put(root, "images/pie/99.jpg", &jpeg(3));
    let set = open(root, Corpus::Downstream);
    assert_eq!(
        (set.classes(), labels(&set)),
        (&["cake".into(), "pie".into()][..], vec![1, 1, 0, 0])
    );
    assert_eq!(in_part(&set, Some(Part::Test)), 1);
    put(root, "meta/test.txt", b"cake/4\nsoup/5\n");
    refused(root, "meta/test.txt", "line 2: class `soup` has no training image");
    put(root, "meta/test.txt", b"cake\n");
    refused(root, "meta/test.txt", "line 1: found `cake`, expected CLASS/NUMBER");
    put(root, "meta/test.txt", b"cake/5\n");
    refused(root, "images/cake/5.jpg", "no such file, expected an image of Food-101");
    put(root, "meta/test.txt", b"cake/\xFF\n");
    let error = Dataset::open(root, Format::Auto, Corpus::Downstream).unwrap_err();
    assert!(
        error.to_string().contains("test.txt") && error.to_string().contains("UTF-8"),
        "{error}"
    );
    fs::remove_file(root.join("meta/test.txt")).unwrap();
    refused(root, "meta/test.txt", "no such file, expected the list of Food-101's images");
}

fn object(class: &str, difficult: &str) -> String {
    format!(
        "<object><name>{class}</name><pose>Left</pose>{difficult}<bndbox><xmin>1</xmin></bndbox></object>"
    )
}

fn annotation(objects: &[String]) -> Vec<u8> {
    let head = "<annotation>\n\t<folder>VOC2007</folder><owner><name>?</name></owner>";
    format!("{head}{}</annotation>\n", objects.concat()).into_bytes()
}

fn put_voc(root: &Path) {
    let (yes, no) = ("<difficult>1</difficult>", "<difficult>0</difficult>");
    let images = [
        ("000001", vec![object("dog", no), object("person", no), object("dog", yes)]),
        ("000002", vec![object("person", yes), object("cat", "")]),
        ("000003", vec![object("tvmonitor", no)]),
        ("000004", vec![object("person", yes)]),
    ];
    for (name, objects) in images {
        put(root, &format!("JPEGImages/{name}.jpg"), &jpeg(4));
        put(root, &format!("Annotations/{name}.xml"), &annotation(&objects));
    }
    put(root, "ImageSets/Main/train.txt", b"000001\n000002\n");
    put(root, "ImageSets/Main/val.txt", b"000003 \n");
    put(root, "ImageSets/Main/test.txt", b"000004\n");
}

#[test]
fn voc_2007_has_sets_of_labels_in_which_difficult_objects_do_not_count() {
    let root = tempfile::tempdir().unwrap();
    put_voc(&root.path().join("VOCdevkit/VOC2007"));
    let set = open(root.path(), Corpus::Downstream);
    assert_eq!((set.task(), set.classes().len()), (Task::MultiLabel, 20));
    let class = |name: &str| set.classes().iter().position(|known| known == name).unwrap() as u32;
    let (dog, cat, person, monitor) =
        (class("dog"), class("cat"), class("person"), class("tvmonitor"));
    let Targets::Sets(sets) = set.targets(&set.all_items()).unwrap() else { panic!("no sets") };
    assert_eq!(sets[0], LabelSet::new(vec![dog, person], vec![]));
    assert_eq!(sets[1], LabelSet::new(vec![cat], vec![person]));
    assert_eq!(sets[2], LabelSet::new(vec![monitor], vec![]));
    assert_eq!(sets[3], LabelSet::new(vec![], vec![person]));
    let parts: Vec<_> = set.all_items().iter().map(|&item| set.part(item).unwrap()).collect();
    assert_eq!(parts, [Part::Train, Part::Train, Part::Validation, Part::Test]);
    assert!(matches!(set.labels(&[0]), Err(DataError::MultiLabel { .. })));
    // A class without an image is no reason to refuse, and counts are those of the images that show
    // one.
    let (set, _) = set.checked(&crate::data::ImageSettings::default()).unwrap();
    assert_eq!(set.describe(None).classes[person as usize].images, 1);
    assert_eq!(open(root.path(), Corpus::Pretext).len(), 2);
}

#[test]
fn damaged_annotations_are_refused() {
    let root = tempfile::tempdir().unwrap();
    let root = root.path();
    put_voc(root);
    let file = "Annotations/000003.xml";
    for (bytes, reason) in [
        (annotation(&[object("unicorn", "")]), "found class `unicorn`, expected one of aeroplane"),
        (annotation(&[object("cat", "<difficult>2</difficult>")]), "found <difficult> `2`"),
        (b"<annotation><object></object></annotation>".to_vec(), "an <object> without <name>"),
        (b"<other/>".to_vec(), "found an element <other>, expected <annotation>"),
        (b"".to_vec(), ""),
        (b"<!DOCTYPE a [<!ENTITY b \"c\">]><annotation/>".to_vec(), ""),
        (vec![b' '; 2 << 20], "found 2097152 bytes, expected at most 1048576"),
    ] {
        put(root, file, &bytes);
        refused(root, file, reason);
    }
    put_voc(root);
    // Cuts inside the last tag's trailing line break leave a whole document.
    let whole = fs::read(root.join(file)).unwrap().len();
    assert_eq!(cut_everywhere(root, file, 1), whole - 1);
    fs::remove_file(root.join(file)).unwrap();
    refused(root, file, "no such file, expected an annotation of VOC 2007");
    put_voc(root);
    fs::remove_file(root.join("JPEGImages/000004.jpg")).unwrap();
    refused(root, "JPEGImages/000004.jpg", "no such file");
    put_voc(root);
    fs::remove_file(root.join("ImageSets/Main/val.txt")).unwrap();
    refused(root, "ImageSets/Main/val.txt", "no such file");
}

#[test]
fn the_validation_images_of_imagenet_are_those_to_report_on() {
    let root = tempfile::tempdir().unwrap();
    let root = root.path();
    for name in ["train/n01440764/a.JPEG", "train/n01443537/b.JPEG", "val/n01443537/c.JPEG"] {
        put(root, name, &jpeg(5));
    }
    let set = open(root, Corpus::Downstream);
    assert_eq!(
        (set.classes(), labels(&set)),
        (&["n01440764".into(), "n01443537".into()][..], vec![0, 1, 1])
    );
    assert_eq!((in_part(&set, Some(Part::Train)), in_part(&set, Some(Part::Test))), (2, 1));
    assert_eq!(open(root, Corpus::Pretext).len(), 2);
    put(root, "val/n09999999/d.JPEG", &jpeg(5));
    refused(root, "val/n09999999", "class `n09999999` does not appear among the training classes");
    fs::remove_dir_all(root.join("val")).unwrap();
    refused(root, "val", "no such folder");
    put(root, "val/flat.JPEG", &jpeg(5));
    refused(root, "val", "has no sub-folders, expected one per class");
    assert_eq!(open(root, Corpus::Pretext).len(), 2);
}

#[test]
fn a_split_file_gives_paths_labels_and_parts() {
    let root = tempfile::tempdir().unwrap();
    let root = root.path();
    for name in ["a, b.jpg", "c.jpg", "d.jpg", "e.jpg"] {
        put(root, &format!("images/{name}"), &jpeg(6));
    }
    put(
        root,
        "my.csv",
        b"split,label,path\ntrain,cat,\"images/a, b.jpg\"\ntrain,dog,images/c.jpg\n\
          valid,dog,images/d.jpg\nunlabelled,,images/e.jpg\n",
    );
    let file = root.join("my.csv");
    let set = open(&file, Corpus::Downstream);
    assert_eq!((set.classes(), labels(&set)), (&["cat".into(), "dog".into()][..], vec![0, 1, 1]));
    assert_eq!(in_part(&set, Some(Part::Validation)), 1);
    let pretext = open(&file, Corpus::Pretext);
    assert!(pretext.len() == 1 && pretext.item_name(0).ends_with("e.jpg"));
    put(
        root,
        "split.tsv",
        b"path\tlabels\tdifficult\nimages/c.jpg\tcat | dog\t\nimages/d.jpg\t\tcat\n",
    );
    let set = open(root, Corpus::Downstream);
    let expected = vec![LabelSet::new(vec![0, 1], vec![]), LabelSet::new(vec![], vec![0])];
    assert_eq!(set.targets(&[0, 1]).unwrap(), Targets::Sets(expected));
    assert_eq!(in_part(&set, None), 2);
}

#[test]
fn split_files_that_contradict_themselves_are_refused_by_line() {
    let root = tempfile::tempdir().unwrap();
    let root = root.path();
    put(root, "a.jpg", &jpeg(7));
    for (text, reason) in [
        ("label\tsplit\nx\ttrain\n", "line 1: found no column `path`"),
        ("path\tlabel\tclass\n", "line 1: found column `class`, expected each of"),
        ("path\tpath\n", "found column `path`, expected each of"),
        ("path\tlabel\tlabels\n", "expected one"),
        ("path\tlabel\tdifficult\n", "found column `difficult` without `labels`"),
        ("path\tlabel\na.jpg\tx\nb.jpg\tx\n", "line 3: "),
        ("path\tlabel\na.jpg\t\n", "line 2: found no label"),
        ("path\tlabel\n\tx\n", "line 2: found no path"),
        ("path\tlabel\tsplit\na.jpg\tx\tdev\n", "line 2: found split `dev`, expected train, val"),
        ("path\tlabel\tsplit\na.jpg\tx\tunlabelled\n", "found a label of an unlabelled image"),
        ("path\tlabel\tsplit\na.jpg\tx\n", "line: 2"),
        ("path\tlabel\tsplit\na.jpg\tx\ttrain\na.jpg\ty\ttest\n", "class `y` does not appear"),
    ] {
        put(root, "split.tsv", text.as_bytes());
        refused(root, "split.tsv", reason);
    }
    put(root, "split.tsv", b"path\tlabel\na.jpg\t\xFF\n");
    refused(root, "split.tsv", "UTF-8");
}
