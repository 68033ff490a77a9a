//! Data that there is nothing to learn from, said before a stage begins.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::task::Task;
use crate::data::{Dataset, Recipe, Targets};
use crate::error::Result;
use crate::kernels::Kernels;
use crate::text::shown;

/// A batch of a stage: the setting, its value, and the items that it is drawn from.
type Batch = (&'static str, usize, usize);

/// What is wrong with the sets of a task, a sentence each with the cure, for a command that draws
/// batches as `commands` of the configuration say: `pretrain`, `warm_up`, `align`, `finetune`.
///
/// # Errors
/// An item cannot be read.
pub fn findings<B: Kernels>(task: &Task<B>, commands: &[&str]) -> Result<Vec<String>> {
    let mut found = Vec::new();
    let (pretext, downstream) = task.images.loaded();
    for (name, set) in [("data.pretext", pretext), ("data.downstream", downstream)] {
        if let Some(set) = set {
            found.extend(of_set(name, set, &task.images.recipe)?);
        }
    }
    if let Some(set) = downstream
        && commands.iter().any(|command| *command != "pretrain")
    {
        found.extend(one_class(set, &task.split.train)?);
    }
    let (items, labelled) = (pretext.map_or(0, |set| set.len() as usize), task.split.train.len());
    let config = &task.config;
    let batches: [(&str, Batch); 6] = [
        ("pretrain", ("pretrain.batch", config.pretrain.batch, items)),
        ("warm_up", ("warm_up.batch", config.warm_up.batch, labelled)),
        ("align", ("align.batch", config.align.batch, items)),
        ("align", ("align.product_batch", config.align.product_batch(), items)),
        ("align", ("align.upper_batch", config.align.upper_batch, labelled)),
        ("finetune", ("finetune.batch", config.finetune.batch, labelled)),
    ];
    let asked = batches.iter().filter(|(command, _)| commands.contains(command));
    found.extend(asked.filter_map(|(_, batch)| too_large(*batch)));
    Ok(found)
}

/// A set of one item, or of items that are all the same.
fn of_set(section: &str, set: &Arc<Dataset>, recipe: &Recipe) -> Result<Option<String>> {
    let name = shown(set.name());
    let cure = "give a folder of pictures that differ (`bissl data check` lists what is there)";
    if set.len() == 1 {
        return Ok(Some(format!(
            "{section}: {name} holds a single item, expected many: there is nothing to tell apart; \
             {cure}"
        )));
    }
    let seen = |item: u32| -> Result<Vec<f32>> {
        let mut values = vec![0.0; recipe.input_len()];
        recipe.evaluation(&set.sample(item)?, &mut values);
        Ok(values)
    };
    let items = set.all_items();
    let Some((first, others)) = items.split_first() else { return Ok(None) };
    let first = seen(*first)?;
    for item in others {
        // In most sets the first two differ.
        if seen(*item)? != first {
            return Ok(None);
        }
    }
    Ok(Some(format!(
        "{section}: all {} items of {name} are the same, expected items that differ: there is \
         nothing to tell apart; {cure}",
        set.len()
    )))
}

/// Training images of a single class, where each image has one.
fn one_class(set: &Dataset, train: &[u32]) -> Result<Option<String>> {
    let Targets::Classes(classes) = set.targets(train)? else { return Ok(None) };
    let seen: BTreeSet<u32> = classes.into_iter().collect();
    let (1, Some(class)) = (seen.len(), seen.first()) else { return Ok(None) };
    let class = set.classes().get(*class as usize).map_or("", String::as_str);
    Ok(Some(format!(
        "data.downstream: all {} training items of {} are of class `{}`, expected two classes or \
         more: every answer is right; put one folder for each class beside each other",
        train.len(),
        shown(set.name()),
        shown(class)
    )))
}

fn too_large((key, batch, items): Batch) -> Option<String> {
    (items > 0 && batch > items).then(|| {
        format!(
            "`{key}` is {batch}, but there are {items} items: a batch is the whole set, and a \
             step an epoch; set `{key}` to {items} or less"
        )
    })
}
