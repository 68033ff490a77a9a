//! Flags that override one setting, and the commands that take them.

/// A flag that overrides one or more settings. `--batch` and similar flags refer to the command's
/// own stage.
#[derive(Clone, Copy, Debug)]
pub struct Flag {
    /// Name without the dashes.
    pub name: &'static str,
    /// Name of its value in help texts.
    pub value: &'static str,
    /// The commands that take it, such as `bench stage`.
    pub commands: &'static [&'static str],
    /// The flag after which help texts list it; `None` lists it at the place of its setting.
    pub after: Option<&'static str>,
}

pub(super) const fn flag(
    name: &'static str,
    value: &'static str,
    commands: &'static [&'static str],
) -> Flag {
    Flag { name, value, commands, after: None }
}

impl Flag {
    pub(super) const fn after(self, name: &'static str) -> Self {
        Self { after: Some(name), ..self }
    }
}

/// Every command with such flags.
pub const STAGES: &[&str] = &[
    "demo",
    "pretrain",
    "align",
    "finetune",
    "evaluate",
    "bench stage",
    "bench step",
    "plan",
    "verify",
    "spectrum",
];
pub(super) const STARTED: &[&str] =
    &["align", "finetune", "evaluate", "bench stage", "plan", "verify"];
pub(super) const LABELLED: &[&str] =
    &["demo", "align", "finetune", "evaluate", "bench stage", "plan", "verify"];
pub(super) const PRETEXT: &[&str] =
    &["demo", "pretrain", "align", "bench stage", "plan", "verify", "spectrum"];
pub(super) const NETWORK: &[&str] =
    &["demo", "pretrain", "bench stage", "bench step", "plan", "verify"];
pub(super) const FRESH: &[&str] = &["demo", "pretrain"];
pub(super) const BILEVEL: &[&str] = &["demo", "align", "plan"];
pub(super) const SOLVES: &[&str] = &["demo", "align", "bench stage", "plan", "verify"];
pub(super) const PRODUCTS: &[&str] =
    &["demo", "align", "bench stage", "bench step", "plan", "verify"];
/// Commands whose `--batch` is that of a lower step (`LOWER`), and whose `--upper-batch` is that of
/// an upper step (`UPPER`).
pub(super) const LOWER: &[&str] = &["align", "bench stage", "bench step", "plan", "verify"];
pub(super) const UPPER: &[&str] = &["align", "bench stage", "plan", "verify"];
