//! What the training commands say and do before a stage begins.

use crate::error::Result;
use crate::kernels::Kernels;
use crate::progress;
use crate::run::{Origin, RunFolder};
use crate::stage::origin::Stored;
use crate::stage::record::{DataRecord, Known, Whose};
use crate::stage::recording::{self, Splits};
use crate::stage::{self, Session, Task, View};
use crate::text::shown;

/// Says which images were left out, what is not as it was recorded, and what there is nothing to
/// learn from in the stages `commands`.
///
/// # Errors
/// Where the latter is an error; an image cannot be read.
pub(super) fn warn<B: Kernels>(task: &Task<B>, view: &View, commands: &[&str]) -> Result<()> {
    for warning in &task.images.warnings {
        crate::progress::warn(warning);
    }
    stage::findings(task, commands)?.iter().try_for_each(|finding| view.degenerate(finding))
}

/// What a run that is begun or continued has to go by: its own record, else that of the run whose
/// weights it starts from, if those have seen labels.
pub(super) fn known(
    folder: &RunFolder,
    origin: Option<(&Origin, &Stored)>,
    accept_changed: bool,
) -> Result<Known> {
    if let Some(record) = DataRecord::read(folder.path())? {
        return Ok(Known { record: Some(record), whose: Whose::Own, accept_changed });
    }
    if begun(folder)? {
        unrecorded(&shown(folder.path()).to_string());
    }
    match origin {
        Some((origin, stored)) if stored.saw_labels() => {
            recorded(origin, Whose::Origin, accept_changed)
        }
        _ => Ok(Known::default()),
    }
}

/// Whether a run has checkpoints.
fn begun(folder: &RunFolder) -> Result<bool> {
    let run = Origin::Run(folder.path().to_owned());
    Ok(!run.checkpoints().entries()?.0.is_empty())
}

/// The record of the run that is measured.
pub(super) fn measured(origin: &Origin, stored: &Stored, accept_changed: bool) -> Result<Known> {
    if stored.saw_labels() {
        recorded(origin, Whose::Measured { head: stored.fine_tuned() }, accept_changed)
    } else {
        Ok(Known::default())
    }
}

fn recorded(origin: &Origin, whose: Whose, accept_changed: bool) -> Result<Known> {
    let run = origin.run_path();
    let record = DataRecord::read(&run)?;
    if record.is_none() {
        unrecorded(&shown(&run).to_string());
    }
    Ok(Known { record, whose, accept_changed })
}

fn unrecorded(run: &str) {
    progress::warn(&format!(
        "warning: {run}: written by an older version of bissl, which recorded no images: held-out \
         images are those of the same seed only if nothing was added, removed or renamed since"
    ));
}

/// Opens the run of a task, and records there what it works on and what was left out.
pub(super) fn open<B: Kernels>(
    folder: RunFolder,
    task: &Task<B>,
    splits: Splits,
    view: View,
) -> Result<Session> {
    let records = !DataRecord::exists(folder.path()) && !begun(&folder)?;
    if records || task.images.redrawn() {
        recording::record(task, splits).write(folder.path())?;
    }
    let session = Session::open(folder, &task.config, view, task.images.kept())?;
    if let Some(list) = task.images.write_quarantine(session.folder().path())? {
        eprintln!("the broken images are listed in {}; they stay where they are", shown(&list));
    }
    Ok(session)
}
