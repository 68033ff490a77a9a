//! The host as a library: no terminal, no folder of a run, nothing shared between two runs of one
//! process.

mod examples;

use std::ops::ControlFlow;

use bissl::config::{Layers, Preset, RunConfig};
use bissl::error::Error;
use bissl::kernels::Flex;
use bissl::progress::{Interrupt, Verbosity};
use bissl::run::{Record, RunFolder};
use bissl::stage::{self, Needs, Observer, Session, Silent, Task, View, Watch, Weights};

/// A few steps of every stage.
fn config(seed: u64) -> RunConfig {
    let settings = [
        "network.width=4",
        "network.projector=[16,16]",
        "image.size=16",
        "pretrain.epochs=1",
        "pretrain.warm_up_epochs=0",
        "pretrain.batch=128",
        "warm_up.epochs=1",
        "align.alternations=2",
        "align.lower_steps=2",
        "align.upper_steps=2",
        "align.batch=16",
        "align.upper_batch=16",
        "align.product_batch=16",
        "align.lower.warm_up_steps=1",
        "finetune.epochs=1",
        "finetune.batch=64",
    ];
    let layers = Layers::preset(Preset::Demo).flag("--seed", "seed", &seed.to_string());
    let set = |layers: Layers, setting: &&str| layers.set(setting).unwrap();
    settings.iter().fold(layers, set).resolve().unwrap()
}

fn task(seed: u64) -> Task<Flex> {
    Task::load(config(seed), Needs::Both, Default::default()).unwrap()
}

/// Every stage; the aligned backbone and the fine-tuned one.
fn train(task: &Task<Flex>, observer: &mut impl Observer) -> Result<[Weights; 2], Error> {
    let pretrained = stage::pretrain(task, observer)?;
    let warmed = stage::warm_up(task, &pretrained.backbone, observer)?;
    let aligned = stage::align(task, &pretrained, &warmed, observer)?;
    let tuned = stage::finetune(task, &aligned, observer)?;
    Ok([aligned, tuned.network.backbone])
}

#[test]
fn stages_in_memory_and_in_a_run_s_folder_train_the_same_weights() {
    let folder = tempfile::tempdir().unwrap();
    let task = task(3);
    let run = RunFolder::create(&folder.path().join("run"), &task.config).unwrap();
    let view = View { interrupt: Interrupt::default(), verbosity: Verbosity::Quiet, strict: false };
    let mut session = Session::open(run, &task.config, view, Vec::new()).unwrap();
    let in_folder = train(&task, &mut session).unwrap();
    assert_eq!(train(&task, &mut Silent).unwrap(), in_folder);
    assert!(session.folder().metrics_path().exists());
}

#[test]
fn two_runs_side_by_side_are_the_runs_alone() {
    let alone = [3, 4].map(|seed| train(&task(seed), &mut Silent).unwrap());
    assert_ne!(alone[0], alone[1]);
    let together = std::thread::scope(|scope| {
        let runs = [3, 4].map(|seed| scope.spawn(move || train(&task(seed), &mut Silent).unwrap()));
        runs.map(|run| run.join().unwrap())
    });
    assert_eq!(together, alone);
}

#[test]
fn an_observer_sees_every_step_and_may_break_off() {
    let task = task(5);
    let mut steps = 0;
    let mut watch = Watch::new(|record: &Record| {
        steps += u32::from(matches!(record, Record::Step { .. }));
        if steps == 3 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    });
    let ended = stage::pretrain(&task, &mut watch);
    assert!(matches!(ended, Err(Error::Interrupted)), "{ended:?}");
    assert_eq!(steps, 3);
}

/// The kind of an error tells what to do about it, wherever it happened.
#[test]
fn errors_are_told_apart_by_their_kind() {
    let mut config = config(3);
    config.data.pretext.path = "no/such/folder".to_owned();
    let error = Task::<Flex>::load(config, Needs::Both, Default::default()).unwrap_err();
    assert!(matches!(error.kind(), Error::Data(_)), "{error:?}");
    let mut task = task(3);
    task.config.pretrain.learning_rate = 1e30;
    let error = stage::pretrain(&task, &mut Silent).unwrap_err();
    assert!(matches!(error.kind(), Error::Diverged { .. }), "{error:?}");
}
