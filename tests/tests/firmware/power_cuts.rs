//! Whenever power is cut, a whole checkpoint is left, and the training continues from it as if
//! nothing had happened.

use bissl_core::Request;
use bissl_firmware::{
    BLOCK, CheckpointError, Checkpoints, Compact, Corpus, Crc, DigitsDevice, Fault, SlotState, Tick,
};
use bissl_firmware_sim::{
    Cadence, Change, Coverage, Digits, FlashError, PIXELS, SimulatedDevice, SimulatedFlash,
    explore, explore_flips, explore_twice, pages, recover, save, shortest, wear,
};
use embedded_storage::nor_flash::{ErrorType, NorFlash, ReadNorFlash};

use crate::support::{Device, Simulated, Spoilt, finish, short, start};

/// A microcontroller's flash: pages of 4 KiB, words of 4 bytes.
type Flash = SimulatedFlash<4096, 4>;

fn flash() -> Flash {
    Flash::new(pages::<DigitsDevice, 4096, 4>(), 1)
}

fn rest() -> u64 {
    Device::new().hash().unwrap()
}

/// A device in the middle of a solve: a product of the second solve on one linearisation was
/// computed.
fn in_a_solve(digits: &Digits) -> Simulated<'_> {
    let mut device = start(digits, shortest(1));
    let (mut gradients, mut linearised) = (0, false);
    loop {
        if let Tick::Performed(exchange) = device.tick().unwrap() {
            match exchange.request {
                Request::Linearize { .. } => linearised = true,
                Request::Gradient { .. } if linearised => gradients += 1,
                Request::Product { .. } if gradients > 2 => return device,
                _ => {}
            }
        }
    }
}

#[test]
fn a_cut_at_every_byte_of_every_checkpoint_leaves_the_old_state_or_the_new_one() {
    let digits = Digits::embedded();
    let explored =
        explore::<_, _, _, 4096, 4>(start(&digits, shortest(1)), 1, Coverage::Thinned(1)).unwrap();
    assert!(explored.checkpoints > 150, "{explored:?}");
    // Every byte of the pages of two slots and of the blocks of a state of some 58 KB.
    assert!(explored.cuts > 115_000 * explored.checkpoints, "{explored:?}");
    assert!(explored.recoveries > 3 * explored.checkpoints, "{explored:?}");
    assert!(explored.left_old < explored.cuts, "{explored:?}");
}

#[test]
fn a_second_cut_leaves_one_of_the_two_states_as_well() {
    let digits = Digits::embedded();
    let sometimes = |tick| u32::from(tick % 4 == 1 || tick == 0);
    let tried =
        explore_twice::<_, _, _, 4096, 4>(start(&digits, shortest(2)), 2, sometimes).unwrap();
    assert!(tried.pairs > 40, "{tried:?}");
}

#[test]
fn flipped_bits_are_found() {
    let digits = Digits::embedded();
    // Every byte of commit word, header and seal; every 17th byte of the rest of the 60 KB.
    let bytes = |count| (0..4 * BLOCK as u32).chain((4 * BLOCK as u32..count).step_by(17));
    let flips =
        explore_flips::<_, _, _, _, 4096, 4>(start(&digits, shortest(3)), 3, bytes).unwrap();
    assert!(flips > 3500, "{flips}");
}

#[test]
fn a_cut_at_any_tick_costs_the_ticks_since_the_checkpoint_and_nothing_else() {
    let digits = Digits::embedded();
    let mut device = start(&digits, shortest(4));
    let (mut flash, mut recovered) = (flash(), start(&digits, shortest(5)));
    loop {
        let tick = device.device.ticks();
        if tick.is_multiple_of(7) {
            save(&mut flash, &device.device).unwrap();
        }
        recover(&mut recovered, &mut flash).unwrap();
        assert_eq!(recovered.device.ticks(), tick - tick % 7);
        while recovered.device.ticks() < tick {
            recovered.tick().unwrap();
        }
        assert_eq!(recovered.device.hash(), device.device.hash(), "tick {tick}");
        if device.tick().unwrap() == Tick::Idle {
            break;
        }
    }
}

/// Equal hashes imply equal futures only if the activations of a linearisation, which the hash
/// leaves out, are recomputed correctly. So this is checked at each tick, up to the next product
/// and beyond it.
#[test]
fn a_device_recovered_at_any_tick_goes_on_as_the_one_that_was_never_cut() {
    let digits = Digits::embedded();
    let mut device = start(&digits, shortest(6));
    // Its activations are of another training: those left from an earlier recovery could be the
    // right ones.
    let (mut flash, stranger) = (flash(), in_a_solve(&digits));
    let (mut products, mut in_solves) = (0, 0);
    loop {
        save(&mut flash, &device.device).unwrap();
        let mut recovered = stranger.clone();
        recover(&mut recovered, &mut flash).unwrap();
        let mut uninterrupted = device.clone();
        let from = device.device.ticks();
        for _ in 0..12 {
            let tick = uninterrupted.tick().unwrap();
            assert_eq!(recovered.tick().unwrap(), tick, "recovered at tick {from}");
            if let Tick::Performed(exchange) = tick
                && let Request::Product { .. } = exchange.request
            {
                products += 1;
            }
        }
        assert_eq!(recovered.device.hash(), uninterrupted.device.hash(), "tick {from}");
        match device.tick().unwrap() {
            Tick::Idle => break,
            Tick::Performed(exchange) => {
                in_solves += u32::from(matches!(exchange.request, Request::Product { .. }));
            }
            _ => {}
        }
    }
    assert!(in_solves > 4 && products > 4 * in_solves, "{products} {in_solves}");
}

#[test]
fn a_device_recovered_within_a_solve_ends_as_the_one_that_was_never_cut() {
    let digits = Digits::embedded();
    let device = in_a_solve(&digits);
    let mut flash = flash();
    save(&mut flash, &device.device).unwrap();
    // It held other activations, from another training.
    let mut recovered = in_a_solve(&digits);
    recovered.device.begin(short(9));
    for _ in 0..30 {
        recovered.tick().unwrap();
    }
    recover(&mut recovered, &mut flash).unwrap();
    assert_eq!(recovered.device.hash(), device.device.hash());
    assert_eq!(finish(recovered), finish(device));
}

#[test]
fn slots_that_are_both_damaged_leave_a_device_at_rest() {
    let digits = Digits::embedded();
    let mut device = in_a_solve(&digits);
    let mut flash = flash();
    save(&mut flash, &device.device).unwrap();
    save(&mut flash, &device.device).unwrap();
    let slot = flash.bytes().len() / 2;
    flash.flip(5000, 3);
    flash.flip(slot + 5000, 3);
    let slots = recover(&mut device, &mut flash).unwrap();
    for slot in slots {
        assert!(matches!(slot, SlotState::ChecksumDiffers { .. }), "{slot}");
    }
    assert_eq!(device.device.hash(), Ok(rest()));
    assert_eq!(device.tick(), Ok(Tick::Idle));
}

#[test]
fn a_flash_that_was_never_written_leaves_a_device_at_rest() {
    let digits = Digits::embedded();
    let mut device = in_a_solve(&digits);
    assert_eq!(recover(&mut device, &mut flash()), Ok([SlotState::Uncommitted; 2]));
    assert_eq!(device.device.hash(), Ok(rest()));
}

#[test]
fn slots_take_turns_and_numbers_grow() {
    let digits = Digits::embedded();
    let device = start(&digits, shortest(1)).device;
    let mut flash = flash();
    let mut checkpoints = Checkpoints::<DigitsDevice, _>::open(&mut flash, 0).unwrap();
    assert_eq!(checkpoints.newest(), None);
    for sequence in 0..4 {
        let saved = checkpoints.save(&device).unwrap();
        assert_eq!(saved.sequence, sequence);
        assert_eq!(checkpoints.newest(), Some(((sequence % 2) as u8, sequence)));
    }
    let wear = checkpoints.close().wear().to_vec();
    assert!(wear.iter().all(|erasures| *erasures == 2), "{wear:?}");
}

/// Rewrites a slot's header with this layout and this number, and with a valid checksum.
fn write_header(flash: &mut Flash, slot: usize, layout: u32, sequence: u32) {
    let at = slot * flash.bytes().len() / 2 + BLOCK;
    let mut header = flash.bytes()[at..at + 24].to_vec();
    header[8..12].copy_from_slice(&layout.to_le_bytes());
    header[16..20].copy_from_slice(&sequence.to_le_bytes());
    let crc = Crc::new().with(&header[..20]).value();
    header[20..24].copy_from_slice(&crc.to_le_bytes());
    for (byte, new) in header.iter().enumerate() {
        let difference = flash.bytes()[at + byte] ^ new;
        (0..8).filter(|bit| difference >> bit & 1 == 1).for_each(|bit| flash.flip(at + byte, bit));
    }
}

#[test]
fn a_checkpoint_of_another_layout_is_named_and_not_read() {
    let digits = Digits::embedded();
    let mut device = start(&digits, shortest(1));
    let mut flash = flash();
    save(&mut flash, &device.device).unwrap();
    write_header(&mut flash, 0, 77, 0);
    let [slot, _] = recover(&mut device, &mut flash).unwrap();
    assert!(matches!(slot, SlotState::Foreign { layout: 77, layout_expected: 4, .. }), "{slot}");
    assert!(slot.to_string().contains("layout 77"), "{slot}");
    assert_eq!(device.device.hash(), Ok(rest()));
}

#[test]
fn the_checksum_covers_the_number() {
    let digits = Digits::embedded();
    let mut device = start(&digits, shortest(1));
    let mut flash = flash();
    save(&mut flash, &device.device).unwrap();
    save(&mut flash, &device.device).unwrap();
    write_header(&mut flash, 0, 4, 2);
    let slots = recover(&mut device, &mut flash).unwrap();
    assert!(matches!(slots, [SlotState::ChecksumDiffers { .. }, SlotState::Valid { sequence: 1 }]));
}

#[test]
fn a_failed_device_is_not_stored_and_frames_that_are_gone_stop_a_recovered_one() {
    let digits = Digits::embedded();
    let device = in_a_solve(&digits);
    let mut flash = flash();
    save(&mut flash, &device.device).unwrap();
    let mut frames = digits.flash();
    frames.unlabelled = &frames.unlabelled[..10 * PIXELS];
    let (corpus, index) = (Corpus::Unlabelled, 4);
    let source = Spoilt { source: frames, corpus, index, pixel: f32::NAN };
    let fault = Fault::ValueOutOfRange { corpus, index };
    let mut broken = SimulatedDevice { device: device.device, frames: source, kernels: Compact };
    assert_eq!(recover(&mut broken, &mut flash), Err(CheckpointError::Device(fault)));
    assert_eq!(broken.tick(), Err(fault), "it stays stopped");
    assert_eq!(save(&mut flash, &broken.device), Err(CheckpointError::Device(fault)));
}

#[test]
fn no_checkpoint_is_written_between_performance_and_completion() {
    let digits = Digits::embedded();
    let mut simulated = in_a_solve(&digits);
    let (ticket, request) = simulated.device.pending().unwrap();
    let SimulatedDevice { device, frames, kernels } = &mut simulated;
    let mut flash = flash();
    save(&mut flash, device).unwrap();
    let reply = device.perform(frames, kernels, &request).unwrap();
    assert_eq!(save(&mut flash, device), Err(CheckpointError::InFlight));
    // A refused reply does not change that.
    assert!(device.complete(ticket.next(), reply).is_err());
    assert_eq!(save(&mut flash, device), Err(CheckpointError::InFlight));
    device.complete(ticket, reply).unwrap();
    save(&mut flash, device).unwrap();
}

#[test]
fn regions_that_do_not_fit_are_refused() {
    let needed = Checkpoints::<DigitsDevice, Flash>::BYTES;
    let mut small = Flash::new(pages::<DigitsDevice, 4096, 4>() - 1, 1);
    let found = needed - 4096;
    let error = Checkpoints::<DigitsDevice, _>::open(&mut small, 0).err();
    assert_eq!(error, Some(CheckpointError::TooSmall { found, needed }));
    let mut flash = Flash::new(pages::<DigitsDevice, 4096, 4>() + 1, 1);
    assert!(Checkpoints::<DigitsDevice, _>::open(&mut flash, 4096).is_ok());
    let error = Checkpoints::<DigitsDevice, _>::open(&mut flash, 4100).err();
    assert_eq!(error, Some(CheckpointError::NotAligned { offset: 4100, page: 4096 }));
}

fn round_trip<const PAGE: usize, const WORD: usize>() {
    let digits = Digits::embedded();
    let device = in_a_solve(&digits);
    let mut flash = SimulatedFlash::<PAGE, WORD>::new(pages::<DigitsDevice, PAGE, WORD>(), 1);
    save(&mut flash, &device.device).unwrap();
    save(&mut flash, &device.device).unwrap();
    let mut recovered = start(&digits, shortest(2));
    recover(&mut recovered, &mut flash).unwrap();
    assert_eq!(recovered.device.hash(), device.device.hash(), "{PAGE} {WORD}");
}

#[test]
fn words_of_one_byte_to_a_block_and_pages_of_any_size_will_do() {
    round_trip::<512, 1>();
    round_trip::<2048, 8>();
    round_trip::<131_072, 32>();
    round_trip::<16_384, 64>();
}

/// A flash that loses one write, as a worn page does.
struct Worn {
    flash: Flash,
    writes: u32,
    lost: u32,
}

impl ErrorType for Worn {
    type Error = FlashError;
}

impl ReadNorFlash for Worn {
    const READ_SIZE: usize = 1;

    fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), FlashError> {
        self.flash.read(offset, bytes)
    }

    fn capacity(&self) -> usize {
        self.flash.capacity()
    }
}

impl NorFlash for Worn {
    const WRITE_SIZE: usize = 4;
    const ERASE_SIZE: usize = 4096;

    fn erase(&mut self, from: u32, to: u32) -> Result<(), FlashError> {
        self.flash.erase(from, to)
    }

    fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), FlashError> {
        self.writes += 1;
        if self.writes == self.lost { Ok(()) } else { self.flash.write(offset, bytes) }
    }
}

#[test]
fn a_write_that_was_lost_is_noticed_and_the_older_checkpoint_counts() {
    let digits = Digits::embedded();
    let device = start(&digits, shortest(1)).device;
    let mut whole = Worn { flash: flash(), writes: 0, lost: 0 };
    Checkpoints::<DigitsDevice, _>::open(&mut whole, 0).unwrap().save(&device).unwrap();
    let writes = whole.writes;
    // The lost write is the header, in the content, the seal, or the commit word.
    for lost in [1, 2, writes / 2, writes - 1, writes] {
        let worn = Worn { flash: whole.flash.clone(), writes: 0, lost };
        let mut checkpoints = Checkpoints::<DigitsDevice, _>::open(worn, 0).unwrap();
        let error = checkpoints.save(&device).unwrap_err();
        assert!(matches!(error, CheckpointError::NotWritten { slot: 1, .. }), "{error}");
        assert_eq!(checkpoints.newest(), Some((0, 0)));
        let reopened = Checkpoints::<DigitsDevice, _>::open(checkpoints.close(), 0).unwrap();
        assert_eq!(reopened.newest(), Some((0, 0)));
    }
}

#[test]
fn the_checksum_is_the_usual_one() {
    assert_eq!(Crc::new().with(b"123456789").value(), 0xcbf4_3926);
    assert_eq!(Crc::new().with(b"12345").with(b"6789").value(), 0xcbf4_3926);
}

/// The checkpoint of a device in a solve. If this number changes, stored states are read
/// differently than they were written: raise `LAYOUT` in `checkpoint/layout.rs`, then change it.
const GOLDEN: u32 = 0x8f7a_474e;

#[test]
fn the_layout_is_the_golden_one() {
    let digits = Digits::embedded();
    let mut flash = flash();
    save(&mut flash, &in_a_solve(&digits).device).unwrap();
    let crc = Crc::new().with(flash.bytes()).value();
    assert_eq!(crc, GOLDEN, "found {crc:#010x}");
}

#[test]
fn a_checkpoint_writes_little_more_than_the_state() {
    let digits = Digits::embedded();
    let device = || start(&digits, shortest(1));
    let each = wear::<_, _, _, 4096, 4>(device(), Cadence::Alternations).unwrap();
    assert_eq!((each.alternations, each.checkpoints), (2, 2));
    assert!(each.write_amplification() < 1.01, "{each:?}");
    assert_eq!(each.erasures_per_alternation(), f64::from(each.slot_pages));
    assert_eq!(each.erasures_max, 1);
    let often = wear::<_, _, _, 4096, 4>(device(), Cadence::Ticks(10)).unwrap();
    assert_eq!(u64::from(often.checkpoints), often.ticks / 10);
}

// Tests of the simulated flash itself.

#[test]
fn words_are_written_once_between_erasures() {
    let mut flash = flash();
    flash.write(8, &[0xff; 4]).unwrap();
    assert_eq!(flash.write(8, &[1; 4]), Err(FlashError::NotErased { offset: 8 }));
    flash.write(4, &[7; 4]).unwrap();
    assert_eq!(flash.write(0, &[0; 12]), Err(FlashError::NotErased { offset: 4 }));
    assert_eq!(flash.write(2, &[0; 4]), Err(FlashError::NotAligned));
    assert_eq!(flash.erase(0, 100), Err(FlashError::NotAligned));
    let end = flash.bytes().len() as u32;
    assert_eq!(flash.write(end, &[0; 4]), Err(FlashError::OutOfBounds));
    flash.erase(0, 4096).unwrap();
    flash.write(8, &[1; 4]).unwrap();
    assert_eq!((flash.wear()[0], flash.wear()[1]), (1, 0));
}

#[test]
fn power_goes_at_the_byte_it_was_told_and_takes_everything_with_it() {
    for cut in 0..16 {
        let mut flash = flash();
        flash.cut_after(cut);
        assert_eq!(flash.write(0, &[0x55; 16]), Err(FlashError::PowerCut));
        assert_eq!(flash.write(64, &[0; 4]), Err(FlashError::PowerCut));
        assert_eq!(flash.read(0, &mut [0; 4]), Err(FlashError::PowerCut));
        flash.power_on();
        let cut = cut as usize;
        let (bytes, word) = (&flash.bytes()[..16], cut.next_multiple_of(4));
        assert!(bytes[..cut].iter().all(|byte| *byte == 0x55), "{bytes:x?}");
        assert!(bytes[cut..word].iter().all(|byte| byte & 0x55 == 0x55), "{bytes:x?}");
        assert!(bytes[word..].iter().all(|byte| *byte == 0xff), "{bytes:x?}");
        let torn = (word > cut).then(|| word as u32 - 4);
        if let Some(offset) = torn {
            assert_eq!(flash.write(offset, &[0; 4]), Err(FlashError::NotErased { offset }));
        }
    }
}

#[test]
fn an_interrupted_erasure_leaves_garbage_that_differs_by_seed() {
    let mut forms = std::collections::BTreeSet::new();
    let mut backward = 0;
    for seed in 0..64 {
        let mut flash = Flash::new(1, seed);
        flash.write(0, &[0; 4096]).unwrap();
        let tear = flash.tear(&Change::Erase { page: 0 });
        flash.put(&tear, 1000);
        backward += u32::from(tear.is_backward());
        let erased = if tear.is_backward() { 3096..4096 } else { 0..1000 };
        assert!(flash.bytes()[erased].iter().all(|byte| *byte == 0xff));
        assert!(flash.bytes().iter().any(|byte| *byte != 0xff));
        forms.insert(flash.bytes().to_vec());
        flash.undo(&tear);
        assert!(flash.bytes().iter().all(|byte| *byte == 0));
    }
    assert!((1..64).contains(&backward) && forms.len() > 50, "{backward} of 64, {}", forms.len());
}
