//! `data.jsonl` in the folder of a run: which items it works on, and what each is for.
//!
//! The first line describes the sets, every further line is an item.

use std::fs::File;
use std::io::{BufRead, BufReader, ErrorKind};
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::data::{DEVIATION, DataError, Dataset, MEAN, RecordedItem, RecordedSet, SplitSettings};
use crate::error::{Result, fail};
use crate::run::{RunError, write_atomic};
use crate::text::shown;

const FILE: &str = "data.jsonl";
const VERSION: u32 = 1;

/// The first line.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Header {
    version: u32,
    /// Of the split.
    seed: u64,
    /// How labelled items were divided; absent where there are none, or several divisions.
    split: Option<SplitSettings>,
    /// Whether the data had changed since an earlier record, and the user accepted that.
    redrawn: bool,
    /// Of image channels, for values in `[0, 1]`; absent of windows: checkpoints hold theirs.
    normalization: Option<Normalization>,
    pretext: Option<SetHeader>,
    downstream: Option<SetHeader>,
}

/// `(value − mean) / deviation`, for red, green and blue.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
struct Normalization {
    mean: [f32; 3],
    deviation: [f32; 3],
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct SetHeader {
    root: String,
    classes: Vec<String>,
    several_labels: bool,
    items: usize,
}

/// Every further line.
#[derive(Serialize, Deserialize)]
struct Line {
    set: SetName,
    #[serde(flatten)]
    item: RecordedItem,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum SetName {
    Pretext,
    Downstream,
}

/// The data of a run.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct DataRecord {
    header: Header,
    pub(crate) pretext: Option<RecordedSet>,
    pub(crate) downstream: Option<RecordedSet>,
}

/// Whose record it is that a command goes by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Whose {
    /// The run's own: it is continued, and both sets have to be as they were.
    #[default]
    Own,
    /// That of the run whose weights it starts from: labels that those have seen are not for
    /// testing. Another data set may be used.
    Origin,
    /// That of the run that is measured: its test items are measured, no others. With a `head`, the
    /// names of its classes are those of its outputs.
    Measured { head: bool },
}

/// What is known about the data before they are opened.
#[derive(Clone, Debug, Default)]
pub(crate) struct Known {
    pub(crate) record: Option<DataRecord>,
    pub(crate) whose: Whose,
    /// Go on with changed data: draw a new split, without what was seen.
    pub(crate) accept_changed: bool,
}

impl DataRecord {
    /// The data of a run with seed `seed`, divided by `split` if once; `windows` tells whether they
    /// are images.
    pub(crate) fn new(
        (seed, split): (u64, Option<SplitSettings>),
        redrawn: bool,
        windows: bool,
        pretext: Option<RecordedSet>,
        downstream: Option<RecordedSet>,
    ) -> Self {
        let about = |set: &RecordedSet| SetHeader {
            root: set.root.clone(),
            classes: set.classes.clone(),
            several_labels: set.several_labels,
            items: set.items.len(),
        };
        let header = Header {
            version: VERSION,
            seed,
            split,
            redrawn,
            normalization: (!windows).then_some(Normalization { mean: MEAN, deviation: DEVIATION }),
            pretext: pretext.as_ref().map(about),
            downstream: downstream.as_ref().map(about),
        };
        Self { header, pretext, downstream }
    }

    /// Writes it into the folder of a run.
    ///
    /// # Errors
    /// It cannot be written.
    pub(crate) fn write(&self, run: &Path) -> Result<()> {
        let mut text = serde_json::to_string(&self.header)? + "\n";
        let sets = [(SetName::Pretext, &self.pretext), (SetName::Downstream, &self.downstream)];
        for (set, recorded) in sets {
            for item in recorded.iter().flat_map(|recorded| &recorded.items) {
                text += &serde_json::to_string(&Line { set, item: item.clone() })?;
                text.push('\n');
            }
        }
        Ok(write_atomic(&run.join(FILE), text.as_bytes())?)
    }

    /// Reads that of a run; `None` of one that an older program wrote.
    ///
    /// # Errors
    /// It is damaged, of a later version, or cannot be read.
    pub(crate) fn read(run: &Path) -> Result<Option<Self>> {
        let path = run.join(FILE);
        let Some((header, lines)) = open(&path)? else { return Ok(None) };
        let (mut pretext, mut downstream) = (Vec::new(), Vec::new());
        for line in lines {
            let line = line.map_err(RunError::io("read", &path))?;
            let Line { set, item } = parse(&path, &line)?;
            (if set == SetName::Pretext { &mut pretext } else { &mut downstream }).push(item);
        }
        let whole =
            |about: &Option<SetHeader>, items: Vec<RecordedItem>| -> Result<_> {
                let expected = about.as_ref().map_or(0, |about| about.items);
                if items.len() != expected {
                    let reason = format!("found {} items, expected {expected}", items.len());
                    return Err(RunError::damaged(&path, reason).into());
                }
                Ok(about.clone().map(|SetHeader { root, classes, several_labels, .. }| {
                    RecordedSet { root, classes, several_labels, items }
                }))
            };
        let pretext = whole(&header.pretext, pretext)?;
        let downstream = whole(&header.downstream, downstream)?;
        let own = Normalization { mean: MEAN, deviation: DEVIATION };
        if let Some(found) = header.normalization.filter(|found| *found != own) {
            let reason = format!("normalization: found {found:?}, expected {own:?}");
            return Err(RunError::damaged(&path, reason).into());
        }
        Ok(Some(Self { header, pretext, downstream }))
    }

    /// Whether the run wrote one.
    pub(crate) fn exists(run: &Path) -> bool {
        run.join(FILE).exists()
    }

    /// How its labelled items were divided, and the seed of that.
    pub(crate) fn division(&self) -> Option<(SplitSettings, u64)> {
        Some((self.header.split?, self.header.seed))
    }
}

type Lines = std::io::Lines<BufReader<File>>;

fn open(path: &Path) -> Result<Option<(Header, Lines)>> {
    let file = match File::open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        file => file.map_err(RunError::io("read", path))?,
    };
    let mut lines = BufReader::new(file).lines();
    let first = lines.next().transpose().map_err(RunError::io("read", path))?.unwrap_or_default();
    #[derive(Deserialize)]
    struct Version {
        version: u32,
    }
    let Version { version } = parse(path, &first)?;
    if version != VERSION {
        let path = shown(path);
        fail!("{path}: found version {version}, expected {VERSION}: use the program that wrote it");
    }
    Ok(Some((parse(path, &first)?, lines)))
}

fn parse<'a, T: Deserialize<'a>>(path: &Path, line: &'a str) -> Result<T> {
    Ok(serde_json::from_str(line).map_err(|error| RunError::damaged(path, error))?)
}

/// What has become of a set that is opened by a record.
pub(crate) enum Followed {
    /// The recorded items, and how many others there are.
    Same { set: Option<Box<Dataset>>, added: usize },
    /// It is to be used as it is; the reason, where it is not simply another set.
    Anew { accepted: Option<String> },
}

impl Known {
    /// Looks for the recorded items in a set.
    ///
    /// # Errors
    /// Some are missing or changed, and that was not accepted.
    pub(crate) fn follow(&self, set: &Dataset, recorded: &RecordedSet) -> Result<Followed> {
        let found = set.find(recorded);
        let changes = found.changes;
        if changes.none() {
            return Ok(Followed::Same { set: found.set.map(Box::new), added: changes.added });
        }
        if self.accept_changed {
            return Ok(Followed::Anew { accepted: Some(changes.to_string()) });
        }
        if changes.all() && self.whose != Whose::Own {
            return Ok(Followed::Anew { accepted: None });
        }
        Err(DataError::Changed(Box::new(changes)).into())
    }
}
