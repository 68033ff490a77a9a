//! The data of a task, as its run records them.

use super::images::split_settings;
use super::record::DataRecord;
use super::task::Task;
use crate::data::Role;
use crate::kernels::Kernels;

/// How a run divides its items.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Splits {
    /// Once, by its seed.
    One,
    /// Once for each of several seeds.
    Several,
}

/// The data of a task, with the roles of its items where it divides them once.
pub(crate) fn record<B: Kernels>(task: &Task<B>, splits: Splits) -> DataRecord {
    let Task { config, images, split, .. } = task;
    let one = splits == Splits::One && !split.train.is_empty();
    let pretext = images.pretext.as_ref().map(|set| set.record(None));
    let mut downstream = images.downstream.as_ref().map(|set| set.record(one.then_some(split)));
    for item in downstream.iter_mut().flat_map(|set| &mut set.items) {
        if item.role.is_none() && images.seen().contains(&item.hash) {
            item.role = Some(Role::Seen);
        }
    }
    let division = (task.seed, one.then(|| split_settings(config)));
    DataRecord::new(division, images.redrawn(), config.windows(), pretext, downstream)
}
