//! The guarantees of the superloop: determinism, restarts anywhere, one request per tick.

use std::collections::BTreeSet;

use bissl_core::{Event, Request};
use bissl_firmware::{Compact, DigitsDevice, Stage, Tick};
use bissl_firmware_sim::{Digits, compare};

use crate::support::{Device, draws, finish, short, start, train};

#[test]
fn same_seed_gives_the_same_state_and_another_seed_another() {
    let digits = Digits::embedded();
    let hashes: BTreeSet<u64> = (1..=4).map(|seed| train(&digits, short(seed))).collect();
    assert_eq!(hashes.len(), 4);
    assert!(hashes.contains(&train(&digits, short(1))));
}

#[test]
fn every_tick_changes_the_hash() {
    let digits = Digits::embedded();
    let mut device = start(&digits, short(5));
    let mut seen = BTreeSet::from([device.device.hash().unwrap()]);
    while device.tick().unwrap() != Tick::Idle {
        assert!(seen.insert(device.device.hash().unwrap()), "tick {}", device.device.ticks());
    }
}

#[test]
fn device_put_aside_between_any_two_ticks_goes_on_as_if_never_stopped() {
    let digits = Digits::embedded();
    let mut device = start(&digits, short(6));
    let mut draws = draws(6);
    let mut aside = vec![device.clone()];
    while device.tick().unwrap() != Tick::Idle {
        if draws.chance(0.03) {
            aside.push(device.clone());
        }
    }
    let hash = device.device.hash().unwrap();
    assert!(aside.len() > 10, "{} copies", aside.len());
    for copy in aside {
        let tick = copy.device.ticks();
        assert_eq!(finish(copy), hash, "put aside at tick {tick}");
    }
}

#[test]
fn beginning_again_forgets_everything() {
    let digits = Digits::embedded();
    let mut device = start(&digits, short(7));
    (0..200).for_each(|_| {
        device.tick().unwrap();
    });
    device.device.begin(short(8));
    assert_eq!(finish(device), train(&digits, short(8)));
}

#[test]
fn observing_changes_nothing() {
    let digits = Digits::embedded();
    let mut lines = 0;
    let mut log = |path, tick: &Tick| lines += format!("{path:?} {tick:?}").len();
    let logged = compare::<DigitsDevice>(&digits, short(9), &mut log).unwrap();
    assert_eq!(compare::<DigitsDevice>(&digits, short(9), &mut |_, _| {}).unwrap(), logged);
    assert_eq!(train(&digits, short(9)), logged.aligned.hash);
    assert!(lines > 10_000);
}

#[test]
fn conventional_path_is_that_of_settings_without_alignment() {
    let digits = Digits::embedded();
    let comparison = compare::<DigitsDevice>(&digits, short(10), &mut |_, _| {}).unwrap();
    assert_eq!(train(&digits, short(10).without_alignment()), comparison.conventional.hash);
}

#[test]
fn stages_come_in_order_and_the_bilevel_stage_asks_for_everything() {
    let digits = Digits::embedded();
    let mut device = start(&digits, short(11));
    let (mut stages, mut alternations) = (vec![], 0);
    let (mut linearised, mut products, mut gradients) = (0, 0, 0);
    loop {
        match device.tick().unwrap() {
            Tick::Idle => break,
            Tick::Begun(stage) => stages.push(stage),
            Tick::Event(Event::Alternation { .. }) => alternations += 1,
            Tick::Performed(exchange) => match exchange.request {
                Request::Linearize { .. } => linearised += 1,
                Request::Product { .. } => products += 1,
                Request::Gradient { .. } => gradients += 1,
                _ => {}
            },
            Tick::Event(_) | Tick::Ended(_) => {}
        }
    }
    assert_eq!(stages, [Stage::Pretrain, Stage::WarmUp, Stage::Align, Stage::Finetune]);
    // 4 + 3 + 4 plain steps, 2 × 3 lower steps, 2 × 2 upper steps of two gradients each.
    assert_eq!((alternations, linearised, gradients), (2, 2, 4 + 3 + 4 + 6 + 8));
    assert!((4..=20).contains(&products), "{products} products in four solves");
    assert_eq!(device.tick(), Ok(Tick::Idle));
}

#[test]
fn resting_device_stays_at_rest() {
    let digits = Digits::embedded();
    let mut device = Device::new();
    let hash = device.hash().unwrap();
    assert_eq!(device.tick(&digits.flash(), &mut Compact), Ok(Tick::Idle));
    assert_eq!((device.ticks(), device.hash().unwrap()), (0, hash));
}

/// The state after `short(1)`. If this number changes, every device trains, or stores its machine,
/// differently than before; make sure that this is intended.
const GOLDEN: u64 = 0xc348_eb7b_7071_eb93;

#[test]
fn short_training_ends_in_the_golden_state() {
    let hash = train(&Digits::embedded(), short(1));
    assert_eq!(hash, GOLDEN, "found {hash:#018x}");
}
