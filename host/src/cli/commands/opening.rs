//! What the training commands say and do before a stage begins.

use crate::error::Result;
use crate::kernels::Kernels;
use crate::run::RunFolder;
use crate::stage::{Session, Task, View};

/// Says which images were left out.
pub(super) fn warn<B: Kernels>(task: &Task<B>) {
    for warning in &task.images.warnings {
        eprintln!("{warning}");
    }
}

/// Opens the run of a task, and lists there what was left out.
pub(super) fn open<B: Kernels>(folder: RunFolder, task: &Task<B>, view: View) -> Result<Session> {
    let session = Session::open(folder, &task.config, view, task.images.kept())?;
    if let Some(list) = task.images.write_quarantine(session.folder().path())? {
        eprintln!("the broken images are listed in {}; they stay where they are", list.display());
    }
    Ok(session)
}
