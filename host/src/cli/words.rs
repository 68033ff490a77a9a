//! Words that several commands share.

use std::path::PathBuf;

use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use serde::de::DeserializeOwned;

use crate::progress::Verbosity;
use crate::report::Format;

/// How results are printed.
#[derive(Clone, Copy, Debug, Args)]
pub(super) struct Output {
    /// Print one JSON object instead of a table.
    #[arg(long)]
    json: bool,
}

impl Output {
    pub(super) fn format(self) -> Format {
        if self.json { Format::Json } else { Format::Text }
    }
}

/// Where settings come from, besides the flags of single keys.
#[derive(Clone, Debug, Args)]
pub(super) struct Settings {
    /// TOML file of settings that override the preset's (`bissl config show default`).
    #[arg(long, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
    /// Base of the settings: default, fast, demo, bench, bench-stage, paper-resnet18-stl10,
    /// paper-resnet50-imagenet-simclr[/TASK] or paper-resnet50-imagenet-byol[/TASK] [default: demo
    /// for demo, bench for bench step, bench-stage for bench stage; the settings of --from where
    /// that is given; else default].
    #[arg(long, value_name = "NAME")]
    pub(super) preset: Option<String>,
    /// Override any key: --set align.lower.clip=5. May be repeated; wins over everything else.
    #[arg(long, value_name = "KEY=VALUE")]
    pub(super) set: Vec<String>,
    /// Show no progress.
    #[arg(long)]
    quiet: bool,
    /// Print every setting before the first step.
    #[arg(short, long, conflicts_with = "quiet")]
    pub(super) verbose: bool,
}

impl Settings {
    /// How much is shown.
    pub(super) fn verbosity(&self) -> Verbosity {
        if self.quiet { Verbosity::Quiet } else { Verbosity::Progress }
    }
}

/// A parser of a closed set of names.
pub(super) fn named<T>(names: &'static [&'static str]) -> impl TypedValueParser<Value = T>
where
    T: DeserializeOwned + Clone + Send + Sync + 'static,
{
    PossibleValuesParser::new(names.iter().copied()).map(|name| {
        serde_json::from_value(name.into()).expect("the names offered are those of the type")
    })
}
