//! A backbone of one's own, through all stages: `cargo run --release -p bissl --example
//! own_backbone`.

use bissl::config::{ConfigError, Layers, Preset, RunConfig};
use bissl::error::Error;
use bissl::kernels::Flex;
use bissl::network::{BuildError, Builder, Network};
use bissl::stage::{self, Needs, Silent, Task};

/// Two stages of one residual block, and the mean over all positions.
fn backbone(size: usize) -> Result<Network, BuildError> {
    Builder::new([3, size, size])
        .conv("stem", 16, 3, 1)
        .batch_norm("stem.norm")
        .relu()
        .residual(|main| main.conv("first", 16, 3, 1).batch_norm("first.norm"))
        .relu()
        .conv("down", 32, 3, 2)
        .batch_norm("down.norm")
        .relu()
        .residual(|main| main.conv("second", 32, 3, 1).batch_norm("second.norm"))
        .relu()
        .average_pool()
        .build()
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
    ];
    let set = |layers: Layers, setting: &&str| layers.set(setting);
    settings.iter().try_fold(Layers::preset(Preset::Demo), set)?.resolve()
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let task = Task::<Flex>::load(config()?, Needs::Both, Default::default())?;
    let backbone = backbone(task.config.image.size)?;
    println!("{} parameters", backbone.parameters().len());
    let task = task.with_backbone(backbone)?;
    train(&task)?;
    Ok(())
}

fn train(task: &Task<Flex>) -> Result<(), Error> {
    let pretrained = stage::pretrain(task, &mut Silent)?;
    let warmed = stage::warm_up(task, &pretrained.backbone, &mut Silent)?;
    let aligned = stage::align(task, &pretrained, &warmed, &mut Silent)?;
    let tuned = stage::finetune(task, &aligned, &mut Silent)?;
    for (metric, value) in stage::measured(task, &tuned.network, &task.split.test)? {
        println!("test {metric}: {value:.4}");
    }
    Ok(())
}
