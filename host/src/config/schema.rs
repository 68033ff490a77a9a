//! Every key of a configuration, and the flags that override it.

use std::sync::LazyLock;

use super::flags::Flag;
use super::keys::{Section, Table};
use super::kind::Kind;
use super::settings::RunConfig;

/// A key of the configuration.
#[derive(Clone, Debug)]
pub struct Key {
    /// Name with its sections, such as `align.damping`.
    pub name: String,
    /// The values that it may have.
    pub kind: Kind,
    /// Its help, one line, for `config show`.
    pub help: &'static str,
    /// The flags that override it.
    pub flags: &'static [Flag],
    /// The note of its section.
    pub(super) note: &'static str,
}

/// The section that [`crate::data::AugmentSettings`] describes itself.
pub(super) const AUGMENT: &str = "augment";

/// Every key except those of `[augment]`, in the order in which they are written.
pub static KEYS: LazyLock<Vec<Key>> = LazyLock::new(|| {
    let mut keys = Vec::new();
    collect("", &RunConfig::TABLE, &mut keys);
    keys
});

fn collect(section: &str, table: &Table, keys: &mut Vec<Key>) {
    let full = |name: &str| match section {
        "" => name.to_owned(),
        _ => format!("{section}.{name}"),
    };
    keys.extend(table.rows.iter().map(|row| Key {
        name: full(row.name),
        kind: row.kind,
        help: row.help,
        flags: row.flags,
        note: table.note,
    }));
    for (name, inner) in table.sections {
        collect(&full(name), inner, keys);
    }
}

/// Every flag with its key, in the order of help texts.
static FLAGS: LazyLock<Vec<(&Flag, &Key)>> = LazyLock::new(|| {
    let all = KEYS.iter().flat_map(|key| key.flags.iter().map(move |flag| (flag, key)));
    let (mut flags, moved): (Vec<_>, Vec<_>) = all.partition(|(flag, _)| flag.after.is_none());
    for (flag, key) in moved {
        let before = flags.iter().rposition(|(other, _)| Some(other.name) == flag.after);
        let before = before.expect("a flag follows a known one: a test reads every help text");
        flags.insert(before + 1, (flag, key));
    }
    flags
});

/// The flags of a command with their keys, in the order of its help text. A flag that overrides two
/// keys appears twice.
pub fn flags_of(command: &str) -> impl Iterator<Item = (&'static Flag, &'static Key)> {
    FLAGS.iter().copied().filter(move |(flag, _)| flag.commands.contains(&command))
}

impl Key {
    /// The key with this name.
    pub fn find(name: &str) -> Option<&'static Key> {
        KEYS.iter().find(|key| key.name == name)
    }

    /// Its section, empty at the top level, and its name within the section.
    pub(super) fn parts(&self) -> (&str, &str) {
        self.name.rsplit_once('.').unwrap_or(("", &self.name))
    }
}
