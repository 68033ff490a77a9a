//! What lies in a data set's folders and is no part of it: counted and named, so that nothing is
//! lost in silence.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fmt;
use std::path::Path;

use serde::Serialize;

/// Endings of image formats that are not read.
const UNREAD: [&str; 41] = [
    "ai", "arw", "avif", "cr2", "cr3", "dcm", "dds", "dng", "emf", "eps", "exr", "hdr", "heic",
    "heif", "hif", "icns", "ico", "j2k", "jls", "jp2", "jpf", "jpx", "jxl", "jxr", "nef", "nii",
    "orf", "pbm", "pcx", "pef", "pgm", "pnm", "ppm", "psd", "raf", "raw", "rw2", "srw", "svg",
    "tga", "xcf",
];

/// Some files, and the first of them in the order of the listing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Files {
    /// How many there are.
    pub count: u32,
    /// The path of the first one.
    pub first: String,
}

impl Files {
    fn add(&mut self, path: &Path) {
        if self.count == 0 {
            self.first = path.display().to_string();
        }
        self.count += 1;
    }

    fn join(&mut self, other: Self) {
        if self.count == 0 {
            self.first = other.first;
        }
        self.count += other.count;
    }
}

impl fmt::Display for Files {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, the first {:?}", self.count, self.first)
    }
}

/// What a listing of folders left out or found odd.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Overlooked {
    /// Files of image formats that are not read, by ending.
    pub unread: BTreeMap<String, Files>,
    /// Images beside the class folders, in a set whose labels are its folders.
    pub beside_classes: Files,
    /// Named pipes, sockets and devices that are named like images; they are never opened.
    pub special: Files,
    /// Classes whose names differ by upper and lower case alone.
    pub alike: Vec<[String; 2]>,
}

impl Overlooked {
    /// Notes a file that is no image, if its ending says that it is one of another format.
    pub(super) fn note_unread(&mut self, path: &Path) {
        if let Some(ending) = unread_ending(path) {
            self.unread.entry(ending).or_default().add(path);
        }
    }

    /// Notes an image that lies beside the class folders.
    pub(super) fn note_beside(&mut self, path: &Path) {
        self.beside_classes.add(path);
    }

    /// Notes something that is neither a file nor a folder.
    pub(super) fn note_special(&mut self, path: &Path) {
        self.special.add(path);
    }

    /// Adds what another listing overlooked.
    pub(super) fn add(&mut self, other: Self) {
        for (ending, files) in other.unread {
            self.unread.entry(ending).or_default().join(files);
        }
        self.beside_classes.join(other.beside_classes);
        self.special.join(other.special);
        self.alike.extend(other.alike);
    }

    /// Notes classes that differ by case alone.
    pub(super) fn note_classes(&mut self, classes: &[String]) {
        let mut known: BTreeMap<String, &String> = BTreeMap::new();
        for class in classes {
            if let Some(earlier) = known.insert(class.to_lowercase(), class) {
                self.alike.push([earlier.clone(), class.clone()]);
            }
        }
    }

    /// One line for each kind, without an end; none where nothing was overlooked.
    pub fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for (ending, files) in &self.unread {
            lines.push(format!("files of a format that is not read (.{ending}): {files}"));
        }
        if self.beside_classes.count > 0 {
            let files = &self.beside_classes;
            lines.push(format!("images beside the class folders, not part of the set: {files}"));
        }
        if self.special.count > 0 {
            let files = &self.special;
            lines.push(format!("pipes, sockets or devices named like images, not opened: {files}"));
        }
        for [one, other] in &self.alike {
            lines.push(format!("classes that differ by case alone: {one:?} and {other:?}"));
        }
        lines
    }
}

/// The ending of a format that is not read, in lower case.
pub(super) fn unread_ending(path: &Path) -> Option<String> {
    let ending = path.extension().and_then(OsStr::to_str)?.to_ascii_lowercase();
    UNREAD.contains(&ending.as_str()).then_some(ending)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_a_line_with_its_number_and_first_file() {
        let mut overlooked = Overlooked::default();
        assert!(overlooked.lines().is_empty());
        for name in ["a/1.HEIC", "a/2.heic", "b/3.svg", "notes.txt", "none"] {
            overlooked.note_unread(Path::new(name));
        }
        overlooked.note_beside(Path::new("x.jpg"));
        overlooked.note_special(Path::new("pipe.png"));
        overlooked.note_classes(&["Cat", "cat", "dog"].map(String::from));
        assert_eq!(
            overlooked.lines(),
            [
                "files of a format that is not read (.heic): 2, the first \"a/1.HEIC\"",
                "files of a format that is not read (.svg): 1, the first \"b/3.svg\"",
                "images beside the class folders, not part of the set: 1, the first \"x.jpg\"",
                "pipes, sockets or devices named like images, not opened: 1, the first \"pipe.png\"",
                "classes that differ by case alone: \"Cat\" and \"cat\"",
            ]
        );
    }
}
