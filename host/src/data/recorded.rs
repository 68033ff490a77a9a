//! What a run writes down about a data set, so that every later command works on the same items.
//!
//! An item is known by its path below the set's folder and the hash of its bytes: a set may move,
//! items may be added, and the record still means the same ones.

use std::collections::HashMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::changes::Changes;
use super::item::Item;
use super::label::{Label, LabelSet, Task};
use super::{Dataset, Split};

/// What an item was for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Trained on.
    Train,
    /// Chosen by.
    Validation,
    /// Reported on.
    Test,
    /// None of them here, but an earlier stage has seen its label.
    Seen,
}

/// One item.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordedItem {
    /// Path below the set's folder, or the name in its file.
    pub path: String,
    /// 64-bit FNV-1a of its bytes as stored.
    #[serde(with = "super::hexadecimal")]
    pub hash: u64,
    /// Classes that it shows, by their place in the set's list.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub classes: Vec<u32>,
    /// Classes that it shows difficult objects of alone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub difficult: Vec<u32>,
    /// Absent where a run has several splits, or did not use it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<Role>,
}

/// A data set as a run met it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecordedSet {
    /// Its folder or file, absolute; the name of an embedded set.
    pub root: String,
    /// Class names in the order of the head's outputs.
    pub classes: Vec<String>,
    /// Whether an item may show several classes.
    pub several_labels: bool,
    /// In the set's order.
    pub items: Vec<RecordedItem>,
}

/// Items of a set, found by a record.
#[derive(Debug)]
pub(crate) struct Found {
    /// The recorded items alone, in the record's order, with its classes and labels; `None` where
    /// that is the set as it is.
    pub(crate) set: Option<Dataset>,
    pub(crate) changes: Changes,
}

impl Dataset {
    /// Path of an item `< len()` below the set's folder.
    pub(crate) fn recorded_path(&self, item: u32) -> String {
        let name = self.item_name(item);
        // However the folder was typed: `set` and `set/` are the same.
        match name.strip_prefix(self.name().trim_end_matches(['/', '\\'])) {
            Some(rest) if rest.starts_with(['/', '\\', '#']) => {
                rest.trim_start_matches(['/', '\\']).replace('\\', "/")
            }
            _ => name.into_owned(),
        }
    }

    /// The set as a record; `split` says what each item is for.
    pub(crate) fn record(&self, split: Option<&Split>) -> RecordedSet {
        let mut items: Vec<RecordedItem> = (0..self.len())
            .map(|item| {
                let (classes, difficult) = match self.label_of(item) {
                    Label::Unlabelled => Default::default(),
                    Label::Class(class) => (vec![*class], Vec::new()),
                    Label::Set(set) => (set.present.clone(), set.difficult.clone()),
                };
                let (path, hash) = (self.recorded_path(item), self.hashes()[item as usize]);
                RecordedItem { path, hash, classes, difficult, role: None }
            })
            .collect();
        if let Some(Split { train, validation, test }) = split {
            let roles = [(train, Role::Train), (validation, Role::Validation), (test, Role::Test)];
            for (members, role) in roles {
                members.iter().for_each(|item| items[*item as usize].role = Some(role));
            }
        }
        let root = std::path::absolute(PathBuf::from(self.name()));
        let root = match root {
            Ok(root) if root.exists() => root.display().to_string(),
            _ => self.name().to_owned(),
        };
        let several_labels = self.task() == Task::MultiLabel;
        RecordedSet { root, classes: self.classes().to_vec(), several_labels, items }
    }

    /// Looks for the items of a record.
    ///
    /// The set that is found holds the recorded items that are there as they were; with
    /// [`Changes::none`], all of them.
    pub(crate) fn find(&self, record: &RecordedSet) -> Found {
        let paths: Vec<String> = (0..self.len()).map(|item| self.recorded_path(item)).collect();
        let by_path: HashMap<&str, u32> = paths.iter().map(String::as_str).zip(0..).collect();
        let by_hash: HashMap<u64, u32> = self.hashes().iter().copied().zip(0..).collect();
        let (mut kept, mut items) = (Vec::new(), Vec::<Item>::new());
        let root = record.root.clone();
        let mut changes = Changes { root, recorded: record.items.len(), ..Changes::default() };
        for recorded in &record.items {
            let path = recorded.path.clone();
            let Some(&item) = by_path.get(path.as_str()) else {
                match by_hash.get(&recorded.hash) {
                    Some(&now) => changes.moved.push((path, paths[now as usize].clone())),
                    None => changes.missing.push(path),
                }
                continue;
            };
            if self.hashes()[item as usize] != recorded.hash {
                changes.changed.push(path);
                continue;
            }
            if !self.shows(item, record, recorded) {
                changes.relabelled.push(path);
                continue;
            }
            kept.push(item);
            items.push(self.item(item).labelled(recorded.label(self.label_of(item))));
        }
        let met = kept.len() + changes.changed.len() + changes.relabelled.len();
        changes.added = (self.len() as usize).saturating_sub(met + changes.moved.len());
        let as_it_is = kept == self.all_items() && self.classes() == record.classes;
        let set = (!as_it_is).then(|| self.with_items(&kept, items, record.classes.clone()));
        Found { set, changes }
    }

    /// The set with its classes numbered as in `classes`, which has all of them.
    ///
    /// # Panics
    /// If it has not.
    pub(crate) fn numbered_by(&self, classes: Vec<String>) -> Self {
        let place = |class: &String| classes.iter().position(|name| name == class);
        let numbers: Vec<u32> = self
            .classes()
            .iter()
            .map(|class| place(class).expect("the caller names every class") as u32)
            .collect();
        let all = |old: &[u32]| old.iter().map(|class| numbers[*class as usize]).collect();
        let renumbered = |item| {
            let label = match self.label_of(item) {
                Label::Unlabelled => Label::Unlabelled,
                Label::Class(class) => Label::Class(numbers[*class as usize]),
                Label::Set(set) => {
                    Label::Set(Box::new(LabelSet::new(all(&set.present), all(&set.difficult))))
                }
            };
            self.item(item).labelled(label)
        };
        let kept = self.all_items();
        let items = kept.iter().map(|item| renumbered(*item)).collect();
        self.with_items(&kept, items, classes)
    }

    /// Whether an item has the recorded labels, by the names of the classes.
    fn shows(&self, item: u32, record: &RecordedSet, recorded: &RecordedItem) -> bool {
        let names = |classes: &[u32], of: &[String]| -> Vec<String> {
            let name = |class: &u32| of.get(*class as usize).cloned().unwrap_or_default();
            let mut names: Vec<String> = classes.iter().map(name).collect();
            names.sort_unstable();
            names
        };
        let (own, difficult): (&[u32], &[u32]) = match self.label_of(item) {
            Label::Unlabelled => return true,
            Label::Class(class) => (std::slice::from_ref(class), &[]),
            Label::Set(set) => (&set.present, &set.difficult),
        };
        names(own, self.classes()) == names(&recorded.classes, &record.classes)
            && names(difficult, self.classes()) == names(&recorded.difficult, &record.classes)
    }
}

impl RecordedItem {
    /// Its label, of the kind of `like`.
    fn label(&self, like: &Label) -> Label {
        match like {
            Label::Unlabelled => Label::Unlabelled,
            Label::Class(_) => self.classes.first().copied().into(),
            Label::Set(_) => {
                Label::Set(Box::new(LabelSet::new(self.classes.clone(), self.difficult.clone())))
            }
        }
    }
}

impl RecordedSet {
    /// The recorded division, as positions in [`items`](Self::items); `None` where no item has a
    /// role.
    pub(crate) fn split(&self) -> Option<Split> {
        let of = |role| -> Vec<u32> {
            let items = (0..).zip(&self.items);
            items.filter(|(_, item)| item.role == Some(role)).map(|(index, _)| index).collect()
        };
        let split = Split {
            train: of(Role::Train),
            validation: of(Role::Validation),
            test: of(Role::Test),
        };
        (split != Split::default()).then_some(split)
    }

    /// Hashes of the items that a stage was trained on, or, with `chosen`, was chosen by as well.
    pub(crate) fn seen(&self, chosen: bool) -> impl Iterator<Item = u64> {
        let seen = move |item: &&RecordedItem| match item.role {
            Some(Role::Train | Role::Seen) => true,
            Some(Role::Validation) => chosen,
            Some(Role::Test) | None => false,
        };
        self.items.iter().filter(seen).map(|item| item.hash)
    }
}
