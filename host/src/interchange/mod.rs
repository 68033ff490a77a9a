//! Weights to and from other programs, under torchvision's names, and to devices: `bissl import`,
//! `export`, `features`, `predict`.

mod anatomy;
mod candidates;
mod description;
mod dialects;
mod differences;
mod export;
mod features;
mod firmware;
mod flash_image;
mod import;
mod predict;
mod reading;
mod recognize;

pub use description::{FileDescription, describe_file};
pub use export::{ExportFormat, ExportJob, export};
pub use features::{FeaturesJob, features};
pub use import::{ImportJob, import};
pub use predict::{PredictJob, PredictionFormat, Predictions, predict};
pub use recognize::NetworkHints;
pub(crate) use recognize::{Recognized, is_no_parameter, recognize};
