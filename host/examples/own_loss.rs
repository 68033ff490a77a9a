//! A pretext loss of one's own, through all stages: `cargo run --release -p bissl --example
//! own_loss`.

use std::sync::Arc;

use bissl::config::{ConfigError, Layers, Preset, RunConfig};
use bissl::error::Error;
use bissl::kernels::{Flex, Kernels, Tensor};
use bissl::network::dual::Dual;
use bissl::network::loss::{Autodiff, Loss};
use bissl::network::pretext::{Method, PretextTask};
use bissl::stage::{self, Needs, Silent, Task};

/// The spectral contrastive loss (HaoChen et al. 2021) on normalised outputs, up to a constant: the
/// squared distance of their Gram matrix from a matrix that is n where two rows are views of one
/// image, over n².
#[derive(Clone, Copy, Debug)]
struct Spectral;

impl PretextTask for Spectral {
    fn loss_label(&self) -> &'static str {
        "spectral contrastive loss"
    }
}

impl<B: Kernels> Method<B> for Spectral {
    fn loss(&self, _targets: Vec<Tensor<B, 2>>) -> Box<dyn Loss<B>> {
        Box::new(*self)
    }
}

impl<B: Kernels> Loss<B> for Spectral {
    fn inner(&self, outputs: Vec<Dual<Autodiff<B>, 2>>) -> Dual<Autodiff<B>, 2> {
        Dual::cat(outputs).normalize_rows().gram()
    }

    fn outer(&self, gram: Dual<Autodiff<B>, 2>) -> Dual<Autodiff<B>, 1> {
        let [rows, _] = gram.value.dims();
        let (device, batch) = (gram.value.device(), rows / 2);
        let (none, same) = (
            Tensor::<Autodiff<B>, 2>::zeros([batch, batch], &device),
            Tensor::eye(batch, &device) * rows as f64,
        );
        let upper = Tensor::cat(vec![none.clone(), same.clone()], 1);
        let targets = Tensor::cat(vec![upper, Tensor::cat(vec![same, none], 1)], 0);
        gram.minus(Dual::new(targets, None)).square_sum().scale(1.0 / (rows * rows) as f64)
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
    ];
    let set = |layers: Layers, setting: &&str| layers.set(setting);
    settings.iter().try_fold(Layers::preset(Preset::Demo), set)?.resolve()
}

fn main() -> Result<(), Error> {
    let task = Task::<Flex>::load(config()?, Needs::Both, Default::default())?;
    let task = task.with_pretext(Arc::new(Spectral))?;
    let pretrained = stage::pretrain(&task, &mut Silent)?;
    let warmed = stage::warm_up(&task, &pretrained.backbone, &mut Silent)?;
    let aligned = stage::align(&task, &pretrained, &warmed, &mut Silent)?;
    let tuned = stage::finetune(&task, &aligned, &mut Silent)?;
    for (metric, value) in stage::measured(&task, &tuned.network, &task.split.test)? {
        println!("test {metric}: {value:.4}");
    }
    Ok(())
}
