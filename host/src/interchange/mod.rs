//! Weights to and from other programs, under torchvision's names, and to devices: `bissl import`,
//! `export`, `features`.

mod export;
mod features;
mod firmware;
mod flash_image;
mod import;
mod recognize;

pub use export::{ExportFormat, ExportJob, export};
pub use features::{FeaturesJob, features};
pub use import::{ImportJob, import};
pub use recognize::NetworkHints;
pub(crate) use recognize::{Recognized, is_no_parameter, recognize};
