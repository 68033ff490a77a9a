//! Random faults from a seed: in sensors, arithmetic, time and replies.

use std::cell::Cell;
use std::collections::{BTreeMap, HashMap};
use std::panic::{AssertUnwindSafe, catch_unwind};

use bissl_core::{Draws, Machine, Pending, Reply, Stream};
use bissl_firmware::{
    CheckpointError, Compact, Configuration, Corpus, DigitsDevice, Fault, FrameSource, Kernels,
    Matrix, MatrixMut, SCALARS, Settings, SlotState, Tick,
};
use serde::Serialize;

use crate::flash::{FlashError, SimulatedFlash};
use crate::power::{pages, recover, save, shortest};
use crate::{Digits, SimulatedDevice, start};

/// Domain of the streams that draw faults.
const FAULTS: u16 = 0xfa17;
/// Number of trainings that faults are injected into; the seed of the fault chooses one.
const TRAININGS: u64 = 8;
/// A device that runs longer than this is caught in an endless loop.
const TICKS_MAX: u64 = 100_000;

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Scenario {
    /// One pixel of one frame is bad.
    BadFrame {
        /// The corpus whose frames are counted.
        corpus: Corpus,
        /// Frames of that corpus read before it.
        after: u32,
        /// The pixel.
        place: u32,
        /// The value it reads.
        pixel: f32,
    },
    /// The sensor repeats one frame.
    StuckSensor {
        /// Frames read before that.
        after: u32,
    },
    /// One matrix product has an element that is too large.
    Saturated {
        /// Products before.
        after: u32,
        /// The element.
        value: f32,
    },
    /// The time for training runs out again and again. A checkpoint is written and the power goes,
    /// sometimes too early. Then a new device continues.
    ExhaustedBudget {
        /// Ticks until the time runs out.
        ticks: u32,
    },
    /// The machine of the bilevel stage gets replies of the wrong kind or to another request.
    WrongReplies,
}

impl Scenario {
    fn draw(draws: &mut Draws) -> Self {
        let bad = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, -0.01, 1.01, 3e38, -0.5];
        let large = [f32::MAX, f32::MIN, 1e30, -1e20, f32::INFINITY, f32::NAN];
        let one_of =
            |values: &[f32], draws: &mut Draws| values[draws.below(values.len() as u32) as usize];
        match draws.below(5) {
            0 => Self::BadFrame {
                corpus: if draws.chance(0.5) { Corpus::Unlabelled } else { Corpus::Labelled },
                after: draws.below(80),
                place: draws.below(64),
                pixel: one_of(&bad, draws),
            },
            1 => Self::StuckSensor { after: draws.below(80) },
            2 => Self::Saturated { after: draws.below(300), value: one_of(&large, draws) },
            3 => Self::ExhaustedBudget { ticks: 10 + draws.below(60) },
            _ => Self::WrongReplies,
        }
    }

    fn name(&self) -> &'static str {
        match self {
            Self::BadFrame { .. } => "bad frame",
            Self::StuckSensor { .. } => "stuck sensor",
            Self::Saturated { value, .. } if value.is_finite() => "saturated product",
            Self::Saturated { .. } => "product not finite",
            Self::ExhaustedBudget { .. } => "exhausted time budget",
            Self::WrongReplies => "wrong replies",
        }
    }
}

/// How many trainings with one kind of fault ended in which way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Endings {
    /// They stopped with a fault that names the cause, at the first tick at which it could be seen.
    pub stopped: u64,
    /// They ended in the state of the training without a fault.
    pub same: u64,
    /// They ended in another state of finite numbers only: the faulty value was a legal one.
    pub other: u64,
}

/// A device that did not do what it should.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error(
    "seed {seed}, {scenario:?}: {what}; to replay: cargo run --release -p bissl-firmware-sim -- faults \
     --seed {seed} --count 1"
)]
pub struct FaultFailure {
    /// Seed of the fault.
    pub seed: u64,
    /// The fault.
    pub scenario: Scenario,
    /// What was found and what was expected.
    pub what: String,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Ending {
    Stopped { fault: Fault, ticks: u64 },
    Finished { hash: u64, ticks: u64 },
}

/// Trains with the faults of `count` seeds, from `first` on; returns the endings by kind of fault.
///
/// A device must never panic, and never end in a wrong state without reporting it. Each training
/// ends with a fault that stays or in the state of the training without a fault; if the faulty
/// value was a legal one, it may also end in another finite state. Each training is run twice and
/// must end the same way.
///
/// # Errors
/// The first device that breaks this rule.
pub fn simulate_faults(
    digits: &Digits,
    first: u64,
    count: u64,
) -> Result<BTreeMap<&'static str, Endings>, FaultFailure> {
    let mut endings: BTreeMap<&'static str, Endings> = BTreeMap::new();
    let mut clean: HashMap<u64, u64> = HashMap::new();
    for seed in (0..count).map(|number| first.wrapping_add(number)) {
        let scenario = Scenario::draw(&mut Stream::new(seed, FAULTS).at(0));
        let fail = |what: String| FaultFailure { seed, scenario, what };
        let training = seed % TRAININGS;
        let expected = match clean.get(&training) {
            Some(hash) => *hash,
            None => {
                let ending =
                    run(&mut start::<DigitsDevice>(digits, shortest(training))).map_err(fail)?;
                let Ending::Finished { hash, .. } = ending else {
                    return Err(fail(format!("without a fault the training ends so: {ending:?}")));
                };
                clean.insert(training, hash);
                hash
            }
        };
        let once = || {
            catch_unwind(AssertUnwindSafe(|| try_scenario(digits, seed, scenario)))
                .unwrap_or_else(|_| Err("a panic".to_owned()))
        };
        let (ending, allowed) = once().map_err(fail)?;
        let again = once().map_err(fail)?.0;
        if again != ending {
            return Err(fail(format!("ended once so: {ending:?}, and once so: {again:?}")));
        }
        let entry = endings.entry(scenario.name()).or_default();
        match (ending, allowed) {
            (Ending::Finished { hash, .. }, _) if hash == expected => entry.same += 1,
            (Ending::Finished { .. }, Allowed::Finite) => entry.other += 1,
            (Ending::Stopped { fault, .. }, Allowed::Finite | Allowed::Numerical)
                if is_numerical(&fault) =>
            {
                entry.stopped += 1;
            }
            (Ending::Stopped { fault, .. }, Allowed::Fault(wanted)) if fault == wanted => {
                entry.stopped += 1;
            }
            (ending, allowed) => {
                return Err(fail(format!(
                    "ended so: {ending:?}; expected the state {expected:016x} or {allowed:?}"
                )));
            }
        }
    }
    Ok(endings)
}

/// How a device may end, other than in the right state.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Allowed {
    Nothing,
    Fault(Fault),
    /// A fault that says that a number is not finite.
    Numerical,
    /// A fault that says that a number is not finite, or any state of finite numbers.
    Finite,
}

fn is_numerical(fault: &Fault) -> bool {
    matches!(fault, Fault::LossNotFinite { .. } | Fault::Diverged { .. } | Fault::StateNotFinite)
}

fn try_scenario(
    digits: &Digits,
    seed: u64,
    scenario: Scenario,
) -> Result<(Ending, Allowed), String> {
    match scenario {
        Scenario::BadFrame { .. } | Scenario::StuckSensor { .. } => {
            with_sensor(digits, seed, scenario)
        }
        Scenario::Saturated { after, value } => {
            let kernels = Saturated { products: 0, after, value };
            let mut device =
                SimulatedDevice::<DigitsDevice, _, _>::new(digits.flash(), kernels, settings(seed));
            let ending = run(&mut device)?;
            let allowed = match device.kernels.products > after {
                true if value.is_finite() => Allowed::Finite,
                true => Allowed::Numerical,
                false => Allowed::Nothing,
            };
            Ok((ending, allowed))
        }
        Scenario::ExhaustedBudget { ticks } => {
            Ok((in_portions(digits, seed, ticks)?, Allowed::Nothing))
        }
        Scenario::WrongReplies => Ok((with_wrong_replies(digits, seed)?, Allowed::Nothing)),
    }
}

/// Settings of the training that a fault is injected into.
fn settings(seed: u64) -> Settings {
    shortest(seed % TRAININGS)
}

fn with_sensor(
    digits: &Digits,
    seed: u64,
    scenario: Scenario,
) -> Result<(Ending, Allowed), String> {
    let sensor = FaultySensor::new(digits.flash(), scenario);
    let mut device = SimulatedDevice::<DigitsDevice, _, _>::new(sensor, Compact, settings(seed));
    let ending = run(&mut device)?;
    let allowed = match (device.frames.spoilt.get(), scenario) {
        (Some((corpus, index)), Scenario::BadFrame { .. }) => {
            // The bad frame was read, so the device must have noticed it.
            if let Ending::Finished { .. } = ending {
                return Err(format!("a pixel of {corpus:?} frame {index} went unseen"));
            }
            Allowed::Fault(Fault::ValueOutOfRange { corpus, index })
        }
        (Some(_), _) => Allowed::Finite,
        (None, _) => Allowed::Nothing,
    };
    Ok((ending, allowed))
}

/// Runs to the end or to a fault, which must stay and must not be stored.
fn run<C: Configuration, S: FrameSource, K: Kernels<f32>>(
    device: &mut SimulatedDevice<C, S, K>,
) -> Result<Ending, String> {
    for _ in 0..TICKS_MAX {
        match device.tick() {
            Ok(Tick::Idle) => return finished(device),
            Ok(_) => {}
            Err(fault) => {
                let ticks = device.device.ticks();
                if device.tick() != Err(fault) || device.device.hash() != Err(fault) {
                    return Err(format!("the fault did not stay: {fault}"));
                }
                let mut flash = flash(0);
                let saved = save(&mut flash, &device.device);
                if saved != Err(CheckpointError::Device(fault)) {
                    return Err(format!("a device that stopped was stored: {saved:?}"));
                }
                return Ok(Ending::Stopped { fault, ticks });
            }
        }
    }
    Err(format!("no end after {TICKS_MAX} ticks"))
}

fn finished<C: Configuration, S: FrameSource, K: Kernels<f32>>(
    device: &SimulatedDevice<C, S, K>,
) -> Result<Ending, String> {
    let ticks = device.device.ticks();
    match device.device.hash() {
        Ok(hash) => Ok(Ending::Finished { hash, ticks }),
        Err(fault) => Err(format!("ended after {ticks} ticks without a fault, yet: {fault}")),
    }
}

fn flash(seed: u64) -> SimulatedFlash {
    SimulatedFlash::new(pages::<DigitsDevice, 4096, 4>(), seed)
}

/// Trains in portions of `portion` ticks, each on a new device.
fn in_portions(digits: &Digits, seed: u64, portion: u32) -> Result<Ending, String> {
    let mut device = start::<DigitsDevice>(digits, settings(seed));
    let mut flash = flash(seed);
    let mut draws = Stream::new(seed, FAULTS).at(1);
    for _ in 0..TICKS_MAX / u64::from(portion) {
        for _ in 0..portion {
            match device.tick() {
                Ok(Tick::Idle) => return finished(&device),
                Ok(_) => {}
                Err(fault) => return Ok(Ending::Stopped { fault, ticks: device.device.ticks() }),
            }
        }
        if draws.chance(0.3) {
            flash.cut_after(u64::from(draws.below(130_000)));
        }
        match save(&mut flash, &device.device) {
            // Whether it was written or not, there is a checkpoint to continue from, or the
            // beginning.
            Ok(_) | Err(CheckpointError::Flash(FlashError::PowerCut)) => {}
            Err(error) => return Err(error.to_string()),
        }
        flash.power_on();
        let slots = recover(&mut device, &mut flash).map_err(|error| error.to_string())?;
        if device.device.ticks() == 0 {
            if slots.iter().any(|slot| matches!(slot, SlotState::Valid { .. })) {
                return Err("a valid checkpoint was not used".to_owned());
            }
            device.device.begin(settings(seed));
        }
    }
    Err(format!("no end after {TICKS_MAX} ticks"))
}

/// Trains. From time to time copies of the machine are given every possible reply, and the right
/// reply with a wrong ticket. Exactly one reply is accepted, and the others change nothing.
fn with_wrong_replies(digits: &Digits, seed: u64) -> Result<Ending, String> {
    let mut device = start::<DigitsDevice>(digits, settings(seed));
    let mut draws = Stream::new(seed, FAULTS).at(2);
    for _ in 0..TICKS_MAX {
        if let Some(before) = device.device.alternation().copied()
            && draws.chance(0.3)
            && let Pending::Request(ticket, request) = before.pending()
        {
            let counts = (0..=SCALARS as u32).chain([SCALARS as u32 + 1 + draws.below(1000)]);
            let replies = counts.map(Reply::Scalars).chain([Reply::Ack]);
            let all = replies.flat_map(|reply| [(ticket, reply), (ticket.next(), reply)]);
            let mut taken = 0;
            for (given, reply) in all {
                let mut machine = before;
                let mut scalars = [0.5; SCALARS];
                if machine.step(given, reply, &mut scalars).is_ok() {
                    taken += 1;
                } else if machine != before || scalars != [0.5; SCALARS] {
                    return Err(format!("{request:?} refused {reply:?}, and yet changed"));
                }
            }
            if taken != 1 {
                return Err(format!("{request:?} took {taken} replies, expected one"));
            }
        }
        match device.tick() {
            Ok(Tick::Idle) => return finished(&device),
            Ok(_) => {}
            Err(fault) => return Ok(Ending::Stopped { fault, ticks: device.device.ticks() }),
        }
    }
    Err(format!("no end after {TICKS_MAX} ticks"))
}

/// A sensor that fails after a number of frames.
#[derive(Clone, Debug)]
struct FaultySensor<S> {
    source: S,
    scenario: Scenario,
    read: Cell<[u32; 2]>,
    /// The first bad frame that was read.
    spoilt: Cell<Option<(Corpus, u32)>>,
}

impl<S: FrameSource> FaultySensor<S> {
    fn new(source: S, scenario: Scenario) -> Self {
        Self { source, scenario, read: Cell::default(), spoilt: Cell::default() }
    }

    /// The index of the frame that is read in place of `index`.
    fn index(&self, corpus: Corpus, index: u32) -> u32 {
        match self.scenario {
            Scenario::StuckSensor { after } if self.count_of(corpus) >= after && index != 0 => {
                self.spoilt.set(self.spoilt.get().or(Some((corpus, index))));
                0
            }
            _ => index,
        }
    }

    fn spoil(&self, read: Corpus, index: u32, frame: &mut [f32]) {
        let count = self.count_of(read);
        if let Scenario::BadFrame { corpus, after, place, pixel } = self.scenario
            && corpus == read
            && count == after
        {
            frame[place as usize] = pixel;
            self.spoilt.set(Some((corpus, index)));
        }
        let mut counts = self.read.get();
        counts[read as usize] += 1;
        self.read.set(counts);
    }

    fn count_of(&self, corpus: Corpus) -> u32 {
        self.read.get()[corpus as usize]
    }
}

impl<S: FrameSource> FrameSource for FaultySensor<S> {
    fn count(&self, corpus: Corpus) -> u32 {
        self.source.count(corpus)
    }

    fn unlabelled(&self, index: u32, frame: &mut [f32]) -> Option<()> {
        self.source.unlabelled(self.index(Corpus::Unlabelled, index), frame)?;
        self.spoil(Corpus::Unlabelled, index, frame);
        Some(())
    }

    fn labelled(&self, index: u32, frame: &mut [f32]) -> Option<u8> {
        let label = self.source.labelled(self.index(Corpus::Labelled, index), frame)?;
        self.spoil(Corpus::Labelled, index, frame);
        Some(label)
    }
}

/// Kernels that corrupt one product.
#[derive(Clone, Copy, Debug)]
struct Saturated {
    products: u32,
    after: u32,
    value: f32,
}

impl Saturated {
    /// Corrupts the first element if it is this product's turn.
    fn spoil(&mut self, matrix: &mut MatrixMut<'_, f32>) {
        if self.products == self.after
            && let Some(element) = matrix.row(0).and_then(|row| row.first_mut())
        {
            *element = self.value;
        }
        self.products += 1;
    }
}

impl Kernels<f32> for Saturated {
    fn multiply_transposed(
        &mut self,
        x: Matrix<'_, f32>,
        w: Matrix<'_, f32>,
        mut y: MatrixMut<'_, f32>,
    ) {
        Compact.multiply_transposed(x, w, y.reborrow());
        self.spoil(&mut y);
    }

    fn multiply(&mut self, y: Matrix<'_, f32>, w: Matrix<'_, f32>, mut x: MatrixMut<'_, f32>) {
        Compact.multiply(y, w, x.reborrow());
        self.spoil(&mut x);
    }

    fn outer(&mut self, y: Matrix<'_, f32>, x: Matrix<'_, f32>, mut w: MatrixMut<'_, f32>) {
        Compact.outer(y, x, w.reborrow());
        self.spoil(&mut w);
    }
}
