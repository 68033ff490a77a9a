//! Configuration: presets, a TOML file and flags become one validated [`RunConfig`].
//!
//! ```text
//! preset or stored config ─┐
//! --config FILE ───────────┼─ Layers ─ merge ─ check against KEYS ─ RunConfig ─ config.toml
//! flags and --set ─────────┘
//! ```
//!
//! Later layers override earlier ones key by key. An error names the file and line or the flag, the
//! key, what was found and what is allowed. No later module checks a setting again.

mod check;
mod convert;
mod error;
mod flags;
mod keys;
mod kind;
mod layers;
mod names;
mod optional;
#[cfg(test)]
mod paper_values;
mod places;
mod preset;
mod render;
mod schema;
mod settings;
mod shorten;
#[cfg(test)]
mod tests;

pub use error::ConfigError;
pub use flags::{Flag, STAGES};
pub use kind::{Interval, Kind};
pub use layers::Layers;
pub use names::{
    AugmentOn, ClassWeights, EpochChoice, Family, MethodName, Metric, MultiLabelLoss, SolverName,
};
pub use preset::{Preset, Recipe, TASKS, Task};
pub use render::{differences, first_difference};
pub use schema::{KEYS, Key, flags_of};
pub use settings::{
    AlignSettings, BarlowTwinsSettings, ByolSettings, CheckpointSettings, DataSettings,
    DemoSettings, DownstreamSettings, EvaluateSettings, FinetuneSettings, ImageSettings,
    LevelSettings, MethodSettings, NetworkSettings, PretextSettings, PretrainSettings, RunConfig,
    SimclrSettings, TaskSettings, VicregSettings, WarmUpSettings,
};
