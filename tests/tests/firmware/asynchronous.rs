//! A device with an accelerator that completes requests asynchronously, correctly or not, trains to
//! the same bits as the synchronous device.

use bissl_core::conformance::{Law, Outcome, check_machine};
use bissl_core::{Reply, Training};
use bissl_firmware::{
    Checkpoints, Compact, DigitsDevice, Fault, FlashFrames, FrameSource, Program, SCALARS,
    Settings, Stage, Tick,
};
use bissl_firmware_sim::{
    AsynchronousDevice, AsynchronousError, CompletionFault, CompletionTraffic, Digits, Latency,
    Manners, PIXELS, SimulatedFlash, Turn, pages, save, shortest,
};

use crate::support::{Device, short, train};

type Asynchronous<'a> = AsynchronousDevice<DigitsDevice, FlashFrames<'a, u8>, Compact>;
type Flash = SimulatedFlash<4096, 4>;

const QUICK: Latency = Latency { queued_max: 0, working_max: 0, limit: 3 };
const SLOW: Latency = Latency { queued_max: 5, working_max: 20, limit: 30 };

fn begun(settings: Settings) -> Device {
    let mut program = Program::new();
    program.begin(settings);
    program
}

fn lend(
    digits: &Digits,
    program: Device,
    (latency, manners): (Latency, Manners),
    seed: u64,
) -> Asynchronous<'_> {
    AsynchronousDevice::new(program, (digits.flash(), Compact), (latency, manners), seed)
}

/// Trains to the end; returns the hash, the statistics, and how many frames the processor read
/// meanwhile, with their checksum.
fn finish(digits: &Digits, mut device: Asynchronous<'_>) -> (u64, CompletionTraffic, u64, u64) {
    let sensor = digits.flash();
    let (mut frame, mut read, mut checksum) = ([0.0; PIXELS], 0u64, 0u64);
    loop {
        match device.turn().unwrap() {
            Turn::Ticked(Tick::Idle) => break,
            Turn::Waiting => {
                sensor.unlabelled((read % 100) as u32, &mut frame).unwrap();
                for pixel in frame {
                    checksum = checksum.wrapping_mul(31).wrapping_add(u64::from(pixel.to_bits()));
                }
                read += 1;
            }
            Turn::Submitted | Turn::Completed | Turn::Ticked(_) => {}
        }
    }
    let hash = device.program().unwrap().hash().unwrap();
    (hash, device.traffic(), read, checksum)
}

#[test]
fn the_hash_is_that_of_the_synchronous_device_whatever_the_latency() {
    let digits = Digits::embedded();
    for seed in [1, 2, 3] {
        let expected = train(&digits, short(seed));
        let mut waits = vec![];
        for (latency, delays) in [(QUICK, 0), (SLOW, seed), (SLOW, seed + 100)] {
            let device = lend(&digits, begun(short(seed)), (latency, Manners::Right), delays);
            let (hash, traffic, read, checksum) = finish(&digits, device);
            assert_eq!(hash, expected, "seed {seed}, {latency:?}");
            assert_eq!(traffic.waits, read);
            // A request is started in one poll and completed in another, the next one at the
            // earliest.
            assert!(read >= traffic.completed && traffic.completed > 100, "{traffic:?}");
            assert_ne!(checksum, 0);
            waits.push(read);
        }
        println!("seed={seed} hash={expected:016x} waits={waits:?}");
        // Delays are random: other seeds give other delays.
        assert!(waits[1] > 5 * waits[0] && waits[1] != waits[2], "{waits:?}");
    }
}

#[test]
fn wrong_completions_are_refused_and_change_nothing() {
    let digits = Digits::embedded();
    let expected = train(&digits, short(4));
    for (delays, latency) in [(7, QUICK), (8, SLOW)] {
        let device = lend(&digits, begun(short(4)), (latency, Manners::Wrong(0.3)), delays);
        let (hash, traffic, ..) = finish(&digits, device);
        for fault in CompletionFault::ALL {
            println!("delays={delays} fault={fault:?} refused={}", traffic.refused(fault));
            assert!(traffic.refused(fault) > 0, "{fault:?} {traffic:?}");
        }
        assert_eq!(hash, expected, "{delays}");
    }
    let right = lend(&digits, begun(short(4)), (SLOW, Manners::Right), 8);
    let (_, traffic, ..) = finish(&digits, right);
    assert!(CompletionFault::ALL.iter().all(|fault| traffic.refused(*fault) == 0), "{traffic:?}");
}

#[test]
fn a_request_is_performed_once_and_completed_after_that() {
    let digits = Digits::embedded();
    let (frames, settings) = (digits.flash(), shortest(5));
    let mut program = begun(settings);
    let mut requests = 0;
    loop {
        let Some((ticket, request)) = program.pending() else {
            if program.tick(&frames, &mut Compact).unwrap() == Tick::Idle {
                break;
            }
            continue;
        };
        requests += 1;
        let before = program.clone();
        for reply in [Reply::Ack, Reply::Scalars(1), Reply::Scalars(2)] {
            assert_eq!(program.complete(ticket, reply), Err(Fault::NotPerformed));
        }
        assert!(program == before, "request {requests}: a refused completion changed something");
        let reply = program.perform(&frames, &mut Compact, &request).unwrap();
        let performed = program.clone();
        let again = program.perform(&frames, &mut Compact, &request);
        assert_eq!(again, Err(Fault::PerformedAlready));
        assert_eq!(program.tick(&frames, &mut Compact), Err(Fault::PerformedAlready));
        assert!(program == performed, "request {requests}: it was performed twice");
        program.complete(ticket, reply).unwrap();
    }
    assert!(requests > 100, "{requests}");
    assert_eq!(program.hash().unwrap(), train(&digits, settings));
}

fn restored(digits: &Digits, flash: &mut Flash) -> Device {
    let mut program = Program::new();
    let mut checkpoints = Checkpoints::<DigitsDevice, _>::open(flash, 0).unwrap();
    checkpoints.restore(&mut program, &digits.flash(), &mut Compact).unwrap().unwrap();
    program
}

#[test]
fn a_power_cut_in_flight_costs_that_request_and_nothing_else() {
    let digits = Digits::embedded();
    let settings = shortest(6);
    let expected = train(&digits, settings);
    let mut flash = Flash::new(pages::<DigitsDevice, 4096, 4>(), 1);
    let latency = Latency { queued_max: 2, working_max: 3, limit: 10 };
    let right = (latency, Manners::Right);
    let mut device = lend(&digits, begun(settings), right, 11);
    let (mut before, mut saved, mut cuts) = (0, false, 0);
    loop {
        if !device.is_in_flight() {
            before = device.program().unwrap().hash().unwrap();
        }
        match device.turn().unwrap() {
            Turn::Ticked(Tick::Idle) => break,
            // The request is in flight but not started: memory is in the state before the request.
            Turn::Submitted => {
                let program = device.program().unwrap();
                assert_eq!(program.hash().unwrap(), before);
                save(&mut flash, program).unwrap();
                saved = true;
            }
            // The request is started but not completed: the memory is not accessible, and the power
            // goes.
            Turn::Waiting if saved && device.program().is_none() => {
                saved = false;
                let program = restored(&digits, &mut flash);
                assert_eq!(program.hash().unwrap(), before);
                let (hash, ..) = finish(&digits, lend(&digits, program, right, 12 + cuts));
                assert_eq!(hash, expected, "cut {cuts}");
                cuts += 1;
            }
            Turn::Waiting | Turn::Completed | Turn::Ticked(_) => {}
        }
    }
    println!("cuts={cuts} completed={}", device.traffic().completed);
    assert_eq!(cuts, device.traffic().completed);
}

#[test]
fn a_request_that_is_not_completed_in_time_is_given_up() {
    let digits = Digits::embedded();
    let settings = shortest(7);
    let expected = train(&digits, settings);
    let mut flash = Flash::new(pages::<DigitsDevice, 4096, 4>(), 1);
    let hasty = Latency { limit: 12, ..SLOW };
    let (mut program, mut given_up) = (begun(settings), 0);
    for seed in 0..1000 {
        let mut device = lend(&digits, program, (hasty, Manners::Wrong(0.1)), seed);
        let stopped = loop {
            if !device.is_in_flight() {
                save(&mut flash, device.program().unwrap()).unwrap();
            }
            match device.turn() {
                Ok(Turn::Ticked(Tick::Idle)) => break None,
                Ok(_) => {}
                Err(error) => break Some(error),
            }
        };
        let Some(error) = stopped else {
            assert_eq!(device.program().unwrap().hash().unwrap(), expected);
            println!("given_up={given_up}");
            assert!(given_up > 3, "{given_up}");
            return;
        };
        assert_eq!(error, AsynchronousError::TimedOut { polls: 12, limit: 12 });
        given_up += 1;
        program = restored(&digits, &mut flash);
    }
    panic!("the training did not end");
}

#[test]
fn the_bilevel_machine_that_an_accelerator_leaves_obeys_the_laws_of_the_protocol() {
    let digits = Digits::embedded();
    let (frames, settings) = (digits.flash(), short(8));
    let mut device = lend(&digits, begun(settings), (SLOW, Manners::Wrong(0.3)), 3);
    while device.turn().unwrap() != Turn::Ticked(Tick::Begun(Stage::Align)) {}
    for law in [Law::RefusedReply, Law::SameReplies] {
        let mut program = device.program().unwrap().clone();
        let machine = *program.alternation().unwrap();
        let mut kernels = Compact;
        let mut session = program.session(&settings, &frames, &mut kernels);
        let driver = &mut Training(&mut session);
        let outcome = check_machine(machine, driver, law, &mut [f32::NAN; SCALARS]);
        let outcome: Outcome<Fault> = outcome.unwrap();
        println!("{outcome}");
        let Outcome::Judged(verdict) = outcome else { panic!("{outcome:?}") };
        assert!(verdict.holds(), "{verdict}");
    }
}
