//! PASCAL VOC 2007, classification: `ImageSets/Main/{train,val,test}.txt` name the images, an XML
//! file for each says what they show.
//!
//! Everingham et al. (2010) and the development kit: an image shows a class if one object of it is
//! not marked *difficult*; where all are, it counts neither for nor against the class.

use std::path::Path;

use roxmltree::{Document, Node};

use super::reader::{Corpus, Format, Listing, Reader, read_text};
use crate::data::item::{Item, Source};
use crate::data::label::{Label, LabelSet};
use crate::data::{DataError, Part};

/// The twenty classes, in the development kit's order.
const CLASSES: [&str; 20] = [
    "aeroplane",
    "bicycle",
    "bird",
    "boat",
    "bottle",
    "bus",
    "car",
    "cat",
    "chair",
    "cow",
    "diningtable",
    "dog",
    "horse",
    "motorbike",
    "person",
    "pottedplant",
    "sheep",
    "sofa",
    "train",
    "tvmonitor",
];

/// Longest annotation, in bytes; those of VOC have a few thousand.
const ANNOTATION_MAX: u64 = 1 << 20;

pub(super) const READER: Reader = Reader {
    format: Format::Voc2007,
    mark: "ImageSets/Main, Annotations and JPEGImages",
    places: &["", "VOC2007", "VOCdevkit/VOC2007"],
    is_at: |path| {
        ["ImageSets/Main", "Annotations", "JPEGImages"].iter().all(|name| path.join(name).is_dir())
    },
    list,
};

fn list(root: &Path, corpus: Corpus) -> Result<Listing, DataError> {
    let parts: &[(Part, &str)] = match corpus {
        Corpus::Pretext => &[(Part::Train, "train")],
        Corpus::Downstream | Corpus::All => {
            &[(Part::Train, "train"), (Part::Validation, "val"), (Part::Test, "test")]
        }
    };
    let classes = CLASSES.iter().map(|&class| class.to_owned()).collect();
    let mut listing = Listing { classes, ..Listing::default() };
    for (part, name) in parts {
        let path = root.join(format!("ImageSets/Main/{name}.txt"));
        let text = read_text(&path, "the names of VOC 2007's images")?;
        for name in text.lines().map(str::trim).filter(|name| !name.is_empty()) {
            let file = root.join(format!("JPEGImages/{name}.jpg"));
            if !file.is_file() {
                return Err(DataError::MissingFile { path: file, what: "an image of VOC 2007" });
            }
            let set = annotation(&root.join(format!("Annotations/{name}.xml")))?;
            listing.items.push(Item {
                source: Source::File(file),
                label: Label::Set(Box::new(set)),
                part: Some(*part),
            });
        }
    }
    Ok(listing)
}

/// What one image shows.
fn annotation(path: &Path) -> Result<LabelSet, DataError> {
    let length = std::fs::metadata(path).map_or(0, |metadata| metadata.len());
    if length > ANNOTATION_MAX {
        let reason = format!("found {length} bytes, expected at most {ANNOTATION_MAX}");
        return Err(DataError::damaged(path, reason));
    }
    let text = read_text(path, "an annotation of VOC 2007")?;
    let damaged = |reason: String| DataError::damaged(path, reason);
    let document = Document::parse(&text).map_err(|error| damaged(error.to_string()))?;
    let root = document.root_element();
    if !root.has_tag_name("annotation") {
        let found = root.tag_name().name();
        return Err(damaged(format!("found an element <{found}>, expected <annotation>")));
    }
    let (mut present, mut difficult) = (Vec::new(), Vec::new());
    for object in root.children().filter(|child| child.has_tag_name("object")) {
        let name = text_of(object, "name")
            .ok_or_else(|| damaged("found an <object> without <name>".into()))?;
        let class = CLASSES.iter().position(|class| *class == name).ok_or_else(|| {
            damaged(format!("found class `{name}`, expected one of {}", CLASSES.join(", ")))
        })?;
        match text_of(object, "difficult") {
            None | Some("0") => present.push(class as u32),
            Some("1") => difficult.push(class as u32),
            Some(found) => {
                return Err(damaged(format!("found <difficult> `{found}`, expected 0 or 1")));
            }
        }
    }
    Ok(LabelSet::new(present, difficult))
}

fn text_of<'a>(object: Node<'a, '_>, name: &str) -> Option<&'a str> {
    object.children().find(|child| child.has_tag_name(name))?.text().map(str::trim)
}
