//! Bad frames and bad numbers stop the device with an error value.

use bissl_core::{ConfigError, DescentSettings, Evaluation, Event, Optimizer, Request, Schedule};
use bissl_firmware::{
    Compact, Configuration, Corpus, DigitsDevice, Fault, FlashFrames, FrameSource, Lengths,
    Settings, Stage, Tick,
};
use bissl_firmware_sim::{Digits, PIXELS};

use crate::support::{Device, Simulated, Spoilt, short};

const PRETEXT_BATCH: usize = DigitsDevice::MODEL.pretext_batch as usize;

/// Ticks until the first fault, which must stay.
fn fault(frames: impl FrameSource) -> Fault {
    let (mut device, kernels) = (Device::new(), &mut Compact);
    device.begin(short(1));
    for _ in 0..100_000 {
        match device.tick(&frames, kernels) {
            Ok(Tick::Idle) => panic!("the device came to its end"),
            Ok(_) => assert!(device.hash().is_ok(), "tick {}", device.ticks()),
            Err(fault) => {
                let ticks = device.ticks();
                assert_eq!(device.tick(&frames, kernels), Err(fault), "a fault stays");
                assert_eq!((device.ticks(), device.hash()), (ticks, Err(fault)));
                return fault;
            }
        }
    }
    panic!("neither fault nor end");
}

#[test]
fn pixels_out_of_range_stop_the_device() {
    let digits = Digits::embedded();
    // A labelled corpus of one batch, so that every frame of it is read. The unlabelled corpus is
    // also one batch.
    let mut frames = digits.flash();
    frames.unlabelled = &frames.unlabelled[..PRETEXT_BATCH * PIXELS];
    frames.labelled = &frames.labelled[..10 * PIXELS];
    for pixel in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, -0.01, 1.01] {
        for (corpus, index) in
            [(Corpus::Unlabelled, PRETEXT_BATCH as u32 - 1), (Corpus::Labelled, 3)]
        {
            let source = Spoilt { source: frames, corpus, index, pixel };
            let found = fault(source);
            assert_eq!(found, Fault::ValueOutOfRange { corpus, index });
        }
    }
}

#[test]
fn numbers_that_leave_the_range_of_floats_stop_the_device() {
    let digits = Digits::embedded();
    let mut device = Device::new();
    let sgd = Optimizer::Sgd { momentum: 0.0, weight_decay: 0.0 };
    let rate = Schedule::constant(1e30, 50).unwrap();
    let pretrain = DescentSettings::new(Evaluation::Lower, sgd, rate, None).unwrap();
    device.begin(Settings { pretrain: Some(pretrain), ..short(1) });
    let fault = loop {
        match device.tick(&digits.flash(), &mut Compact) {
            Ok(Tick::Idle) => panic!("a rate of 1e30 did no harm"),
            Ok(_) => {}
            Err(fault) => break fault,
        }
    };
    let loud = matches!(fault, Fault::LossNotFinite { evaluation: Evaluation::Lower, .. })
        || matches!(fault, Fault::Diverged { stage: Stage::Pretrain, .. });
    assert!(loud, "{fault}");
    assert_eq!(device.hash(), Err(fault));
}

#[test]
fn unknown_labels_and_missing_frames_stop_the_device() {
    let digits = Digits::embedded();
    let mut frames = digits.flash();
    frames.labelled = &frames.labelled[..10 * PIXELS];
    let labels = [0, 1, 2, 3, 4, 5, 6, 7, 8, 10];
    let wrong = FlashFrames { labels: &labels, ..frames };
    assert_eq!(fault(wrong), Fault::LabelUnknown { index: 9, label: 10 });
    let short = FlashFrames { labels: &labels[..9], ..frames };
    let missing = Fault::FrameMissing { corpus: Corpus::Labelled, index: 9 };
    assert_eq!(fault(short), missing);
}

#[test]
fn corpora_smaller_than_a_batch_are_refused_at_the_start() {
    let digits = Digits::embedded();
    let frames = digits.flash();
    let few =
        FlashFrames { unlabelled: &frames.unlabelled[..(PRETEXT_BATCH - 1) * PIXELS], ..frames };
    let corpus = Corpus::Unlabelled;
    let expected = Fault::TooFewFrames {
        corpus,
        found: PRETEXT_BATCH as u32 - 1,
        needed: PRETEXT_BATCH as u32,
    };
    assert_eq!(fault(few), expected);
    let none = FlashFrames { labelled: &[], labels: &[], ..frames };
    let corpus = Corpus::Labelled;
    let expected = Fault::TooFewFrames { corpus, found: 0, needed: 10 };
    assert_eq!(fault(none), expected);
}

#[test]
fn stages_without_steps_are_refused() {
    for lengths in [
        Lengths { pretrain: 0, ..Lengths::default() },
        Lengths { warm_up: 0, ..Lengths::default() },
        Lengths { alternations: 0, ..Lengths::default() },
        Lengths { finetune: 0, ..Lengths::default() },
    ] {
        let error = Settings::new(1, lengths).unwrap_err();
        assert!(matches!(error, ConfigError::Zero { .. }), "{error}");
    }
    let endless = Lengths { alternations: u32::MAX, ..Lengths::default() };
    assert!(Settings::new(1, endless).is_err());
}

#[test]
fn adam_has_no_second_moments_here_and_lars_trains() {
    let digits = Digits::embedded();
    let with = |optimizer| {
        let rate = Schedule::constant(0.1, 20).unwrap();
        let pretrain = DescentSettings::new(Evaluation::Lower, optimizer, rate, None).unwrap();
        Simulated::new(digits.flash(), Compact, Settings { pretrain: Some(pretrain), ..short(1) })
    };
    let mut adam =
        with(Optimizer::Adamw { beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weight_decay: 0.0 });
    let fault = loop {
        if let Err(fault) = adam.tick() {
            break fault;
        }
    };
    assert!(matches!(fault, Fault::Unsupported(Request::Adam { .. })), "{fault}");

    // Norms of four segments in the backbone and three in the head fill the workspace exactly.
    let mut lars = with(Optimizer::Lars { momentum: 0.9, weight_decay: 1e-6, trust: 0.05 });
    let mut losses = vec![];
    loop {
        match lars.tick().unwrap() {
            Tick::Event(Event::Step(record)) => losses.push(record.loss),
            Tick::Ended(Stage::Pretrain) => break,
            _ => {}
        }
    }
    assert!(losses[19] < losses[0], "{losses:?}");
}
