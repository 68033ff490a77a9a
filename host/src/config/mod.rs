//! Configuration: presets, a TOML file and flags become one validated [`RunConfig`].
//!
//! ```text
//! preset or stored config ─┐
//! --config FILE ───────────┼─ Layers ─ merge ─ check against KEYS ─ RunConfig ─ config.toml
//! flags and --set ─────────┘
//! ```
//!
//! Later layers override earlier ones key by key. Whatever is wrong is reported with its file and
//! line, or its flag, the key, what was found and what is allowed. Nothing behind this module checks a
//! setting again.

mod check;
mod convert;
mod error;
mod layers;
mod optional;
#[cfg(test)]
mod paper_values;
mod preset;
mod render;
mod schema;
mod settings;
#[cfg(test)]
mod tests;

pub use error::ConfigError;
pub use layers::Layers;
pub use preset::{Preset, Recipe, TASKS, Task};
pub use render::{differences, first_difference};
pub use schema::{KEYS, Key, Kind};
pub use settings::{
    AlignSettings, Architecture, AugmentOn, BackendName, ByolSettings, CheckpointSettings, Choice,
    CurvatureName, DataSettings, DemoSettings, DownstreamSettings, EvaluateSettings,
    FinetuneSettings, ImageSettings, LevelSettings, MethodName, MethodSettings, Metric,
    MultiLabelLoss, NetworkSettings, PretextSettings, PretrainSettings, RunConfig, SimclrSettings,
    SolverName, StatisticsName, Stem, TaskSettings, VicregSettings, WarmUpSettings,
};
