//! A split file: a table that names the images, their labels and their parts, for sets in no other
//! format.
//!
//! Tab-separated (`.tsv`) or comma-separated (`.csv`, quoted as in RFC 4180), UTF-8, with a header.
//! Columns, in any order: `path`, relative to the file; `label` for one class, or `labels` for any
//! number of them between `|`; `split`, one of `train`, `val`, `test`, `unlabelled`; and with
//! `labels`, `difficult`: classes that count neither for nor against. `split` may be left out, and
//! then the set is divided at random.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use csv::{ReaderBuilder, StringRecord};

use super::reader::{Corpus, Format, Listing, Reader};
use crate::data::item::{Item, Source};
use crate::data::label::{Label, LabelSet};
use crate::data::{DataError, Part};
use crate::text::shown;

const NAMES: [&str; 2] = ["split.tsv", "split.csv"];

pub(super) const READER: Reader = Reader {
    format: Format::SplitFile,
    mark: "split.tsv or split.csv, or such a file of any name",
    places: &[""],
    is_at: |path| {
        let is_table = delimiter(path).is_some() && path.is_file();
        is_table || NAMES.iter().any(|name| path.join(name).is_file())
    },
    list,
};

/// The columns of a header.
struct Columns {
    path: usize,
    label: Option<usize>,
    labels: Option<usize>,
    difficult: Option<usize>,
    split: Option<usize>,
}

/// One line, with its classes still in words.
struct Row<'a> {
    file: PathBuf,
    present: Vec<&'a str>,
    difficult: Vec<&'a str>,
    part: Option<Part>,
    is_labelled: bool,
}

fn delimiter(path: &Path) -> Option<u8> {
    match path.extension().and_then(OsStr::to_str) {
        Some("tsv") => Some(b'\t'),
        Some("csv") => Some(b','),
        _ => None,
    }
}

fn list(root: &Path, _: Corpus) -> Result<Listing, DataError> {
    let path = table_in(root)?;
    let folder = path.parent().unwrap_or(Path::new(""));
    let damaged =
        |line: u64, reason: String| DataError::damaged(&path, format!("line {line}: {reason}"));
    let mut reader = ReaderBuilder::new()
        .delimiter(delimiter(&path).unwrap_or(b'\t'))
        .quoting(delimiter(&path) == Some(b','))
        .from_path(&path)
        .map_err(|error| DataError::damaged(&path, error))?;
    let header = reader.headers().map_err(|error| DataError::damaged(&path, error))?;
    let columns = columns(header).map_err(|reason| damaged(1, reason))?;
    let mut records = Vec::new();
    for record in reader.records() {
        let record = record.map_err(|error| DataError::damaged(&path, error))?;
        let line = record.position().map_or(0, csv::Position::line);
        records.push((line, record));
    }
    let mut rows = Vec::with_capacity(records.len());
    for (line, record) in &records {
        let row = row(record, &columns, folder).map_err(|reason| damaged(*line, reason))?;
        if !row.file.is_file() {
            return Err(damaged(*line, format!("{:?}: no such file", row.file)));
        }
        rows.push(row);
    }
    require_one_kind(&rows).map_err(|reason| DataError::damaged(&path, reason))?;
    Ok(listing(rows, columns.labels.is_some()))
}

/// The split file itself, or the one in a folder.
fn table_in(root: &Path) -> Result<PathBuf, DataError> {
    if root.is_file() {
        return Ok(root.to_path_buf());
    }
    let mut found: Vec<PathBuf> =
        NAMES.iter().map(|name| root.join(name)).filter(|path| path.is_file()).collect();
    match found.len() {
        1 => Ok(found.remove(0)),
        0 => Err(DataError::MissingFile { path: root.join(NAMES[0]), what: "a split file" }),
        _ => {
            let found = found.iter().map(|path| shown(path).to_string()).collect();
            Err(DataError::AmbiguousFormat { path: root.into(), found })
        }
    }
}

fn columns(header: &StringRecord) -> Result<Columns, String> {
    let find = |name: &str| header.iter().position(|column| column.trim() == name);
    let known = ["path", "label", "labels", "difficult", "split"];
    let names: Vec<&str> = header.iter().map(str::trim).collect();
    for (position, name) in names.iter().enumerate() {
        if !known.contains(name) || names[..position].contains(name) {
            return Err(format!(
                "found column `{name}`, expected each of {} once",
                known.join(", ")
            ));
        }
    }
    let columns = Columns {
        path: find("path").ok_or("found no column `path`")?,
        label: find("label"),
        labels: find("labels"),
        difficult: find("difficult"),
        split: find("split"),
    };
    match (columns.label, columns.labels, columns.difficult) {
        (Some(_), Some(_), _) => Err("found columns `label` and `labels`, expected one".into()),
        (_, None, Some(_)) => Err("found column `difficult` without `labels`".into()),
        _ => Ok(columns),
    }
}

fn row<'a>(record: &'a StringRecord, columns: &Columns, folder: &Path) -> Result<Row<'a>, String> {
    // The table's reader has refused rows of another length than the header's.
    let field = |column: Option<usize>| column.and_then(|c| record.get(c)).unwrap_or("").trim();
    let classes = |column| {
        let names = field(column).split('|').map(str::trim);
        names.filter(|name| !name.is_empty()).collect::<Vec<&str>>()
    };
    let path = field(Some(columns.path));
    if path.is_empty() {
        return Err("found no path".into());
    }
    let (part, is_unlabelled) = match field(columns.split) {
        "unlabelled" | "unlabeled" => (None, true),
        "" if columns.split.is_none() => (None, false),
        name => {
            let part = Part::named(name).ok_or_else(|| {
                format!("found split `{name}`, expected train, val, test or unlabelled")
            })?;
            (Some(part), false)
        }
    };
    let present = match columns.label {
        Some(_) => Some(field(columns.label)).filter(|name| !name.is_empty()).into_iter().collect(),
        None => classes(columns.labels),
    };
    let difficult = classes(columns.difficult);
    if is_unlabelled && !(present.is_empty() && difficult.is_empty()) {
        return Err("found a label of an unlabelled image".into());
    }
    let is_labelled = !is_unlabelled && (columns.labels.is_some() || !present.is_empty());
    if !is_labelled && !is_unlabelled && columns.label.is_some() {
        return Err("found no label; images without one belong to split `unlabelled`".into());
    }
    let file = folder.join(path);
    Ok(Row { file, present, difficult, part, is_labelled })
}

/// Refuses classes that only other parts than the training part know.
fn require_one_kind(rows: &[Row<'_>]) -> Result<(), String> {
    let trained: BTreeSet<&str> = rows
        .iter()
        .filter(|row| matches!(row.part, None | Some(Part::Train)))
        .flat_map(|row| row.present.iter().copied())
        .collect();
    let all = rows.iter().flat_map(|row| row.present.iter().chain(&row.difficult));
    match all.copied().find(|class| !trained.contains(class)) {
        None => Ok(()),
        Some(class) => Err(format!("class `{class}` does not appear among the training images")),
    }
}

fn listing(rows: Vec<Row<'_>>, has_sets: bool) -> Listing {
    let classes: BTreeSet<&str> = rows.iter().flat_map(|row| row.present.iter().copied()).collect();
    let classes: Vec<String> = classes.into_iter().map(str::to_owned).collect();
    let number = |name: &&str| {
        let found = classes.binary_search_by(|class| class.as_str().cmp(name));
        found.expect("classes were collected from the rows") as u32
    };
    let items = rows.iter().map(|row| Item {
        source: Source::File(row.file.clone()),
        label: match (row.is_labelled, has_sets) {
            (false, _) => Label::Unlabelled,
            (true, false) => Label::Class(number(&row.present[0])),
            (true, true) => {
                let numbers = |names: &[&str]| names.iter().map(number).collect();
                Label::Set(Box::new(LabelSet::new(numbers(&row.present), numbers(&row.difficult))))
            }
        },
        part: row.part,
    });
    let items = items.collect();
    Listing { classes, items, ..Listing::default() }
}
