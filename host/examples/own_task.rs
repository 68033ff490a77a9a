//! A downstream task of one's own, through all stages: `cargo run --release -p bissl --example
//! own_task`.

use std::sync::Arc;

use bissl::config::{ConfigError, Layers, Preset, RunConfig};
use bissl::data::Targets;
use bissl::driver::{Downstream, DownstreamTask};
use bissl::error::Error;
use bissl::kernels::{Flex, Kernels};
use bissl::network::loss::{CrossEntropy, Loss};
use bissl::stage::{self, Needs, Silent, Task};

/// Which half of the classes an image belongs to.
#[derive(Clone, Copy, Debug)]
struct Halves {
    classes: usize,
}

impl Halves {
    fn label(self, class: u32) -> u32 {
        u32::from(2 * class as usize >= self.classes)
    }

    fn labels(self, targets: &Targets) -> Vec<u32> {
        let Targets::Classes(classes) = targets else { panic!("one label an image") };
        classes.iter().map(|class| self.label(*class)).collect()
    }
}

impl DownstreamTask for Halves {
    fn outputs(&self) -> usize {
        2
    }
}

impl<B: Kernels> Downstream<B> for Halves {
    fn loss(&self, targets: &Targets) -> Box<dyn Loss<B>> {
        Box::new(CrossEntropy { labels: self.labels(targets) })
    }
}

/// A few steps of every stage, on the pictures that come with the program.
fn config() -> Result<RunConfig, ConfigError> {
    let settings = [
        "network.width=8",
        "image.size=16",
        "pretrain.epochs=2",
        "pretrain.warm_up_epochs=0",
        "pretrain.batch=128",
        "warm_up.epochs=5",
        "align.alternations=2",
        "align.lower.warm_up_steps=1",
        "finetune.epochs=5",
        // No epoch is chosen by a metric of the data set's own classes.
        "finetune.choice=last",
    ];
    let set = |layers: Layers, setting: &&str| layers.set(setting);
    settings.iter().try_fold(Layers::preset(Preset::Demo), set)?.resolve()
}

fn main() -> Result<(), Error> {
    let task = Task::<Flex>::load(config()?, Needs::Both, Default::default())?;
    let halves = Halves { classes: task.images.downstream().classes().len() };
    let task = task.with_downstream(Arc::new(halves))?;
    let pretrained = stage::pretrain(&task, &mut Silent)?;
    let warmed = stage::warm_up(&task, &pretrained.backbone, &mut Silent)?;
    let aligned = stage::align(&task, &pretrained, &warmed, &mut Silent)?;
    let tuned = stage::finetune(&task, &aligned, &mut Silent)?.network;
    let test = &task.split.test;
    let scores = stage::scores(&task, &tuned.backbone, &tuned.head, test)?;
    let labels = halves.labels(&task.images.downstream().targets(test)?);
    let right = scores.values.chunks(2).zip(labels).filter(|(s, l)| u32::from(s[1] > s[0]) == *l);
    println!("test accuracy of the halves: {:.4}", right.count() as f64 / test.len() as f64);
    Ok(())
}
