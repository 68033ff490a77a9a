//! The stages of a run, one file each: functions that take a [`Task`] and an [`Observer`] and
//! return what they have trained.
//!
//! ```no_run
//! use bissl::config::Preset;
//! use bissl::kernels::Kernels;
//! use bissl::stage::{self, Needs, Silent, Task};
//!
//! fn train<B: Kernels>() -> Result<(), bissl::error::Error> {
//!     let task = Task::<B>::load(Preset::Demo.config(), Needs::Both, Default::default())?;
//!     let pretrained = stage::pretrain(&task, &mut Silent)?;
//!     let warmed = stage::warm_up(&task, &pretrained.backbone, &mut Silent)?;
//!     let aligned = stage::align(&task, &pretrained, &warmed, &mut Silent)?;
//!     let tuned = stage::finetune(&task, &aligned, &mut Silent)?;
//!     println!("{:?}", stage::measured(&task, &tuned.network, &task.split.test)?);
//!     Ok(())
//! }
//! ```
//!
//! A stage gives the core's machine a [`Problem`](crate::driver::Problem) and drives it event by
//! event. An observer sees the metrics, may stop the stage, and, as a [`Session`] does in the
//! folder of a run, store it and let it go on later.

mod align;
pub(crate) mod bilevel;
mod degenerate;
mod evaluate;
mod features;
mod finetune;
pub(crate) mod images;
pub(crate) mod initial;
mod measured;
pub(crate) mod memory;
pub(crate) mod metric;
mod observer;
mod online;
pub(crate) mod origin;
mod pretrain;
mod probe;
pub(crate) mod record;
pub(crate) mod recording;
mod session;
mod spread;
pub(crate) mod start;
mod task;
pub(crate) mod tensors;
mod training;
mod warm_up;

pub use align::align;
pub use degenerate::findings;
pub use evaluate::{Frozen, frozen, knn_scores, measured, metric_of, nearest};
pub use features::{Evaluation, features, scores};
pub use finetune::{Finetuned, finetune, finetune_as};
pub use images::{Images, Needs};
pub use memory::{MemoryThere, NotEnoughMemory, SolverNeed, require_memory, solver_memory};
pub use metric::{Scores, value as metric_value};
pub use observer::{Observer, Pause, Saved, Silent, Watch};
pub use online::require_validation;
pub use origin::Pretrained;
pub use pretrain::pretrain;
pub use session::{Session, View};
pub use task::Task;
pub use tensors::Weights;
pub use warm_up::{Headed, warm_up};
