//! Runs the device program on a PC as a simulated device.
//!
//! [`Digits`] are the sensor's frames, [`compare`] trains the device along both paths, [`record`]
//! and [`replay`] keep the conversation between core and device. [`SimulatedFlash`] holds its
//! checkpoints, and [`explore`] cuts the power; [`simulate_faults`] corrupts frames, products and
//! replies. [`FixedPoint`] is a port of its arithmetic to short integers, [`AsynchronousDevice`] a
//! port to an accelerator that works asynchronously.

mod adaptation;
mod digits;
mod experiment;
mod faults;
mod flash;
#[cfg(feature = "decode")]
mod log;
mod ports;
mod power;
mod trace;

pub use adaptation::{
    Adaptation, AlignedImage, DigitsShift, Extract, ImageFileError, Pretrained, PretrainedDigits,
    Surroundings, WATCH_VIEWS, Watch, WatchError, Wearer, adapt, align_wearer, pretrain_digits,
    small_digits_weights, wearer, write_image,
};
pub use digits::{CLASSES, Digits, LABELLED_PER_CLASS, PICTURES, PIXELS, UNLABELLED};
pub use experiment::{
    Comparison, Observer, Outcome, Path, SimulatedDevice, Stopped, compare, compare_with, run_to,
    start,
};
pub use faults::{Endings, FaultFailure, Scenario, simulate_faults};
pub use flash::{Change, FlashError, SimulatedFlash, Tear, Traffic};
#[cfg(feature = "decode")]
pub use log::{LogError, decode_log};
pub use ports::{
    AsynchronousDevice, AsynchronousError, BITS, BitsOutOfRange, CompletionFault,
    CompletionTraffic, ConformanceDevice, FixedPoint, HypergradientError, Latency, Manners,
    PortError, PortReport, PortSeed, Turn, check_laws, judge, port_report, prepare,
};
pub use power::{
    Cadence, Coverage, CutError, Explored, Twice, Wear, explore, explore_flips, explore_twice,
    pages, recover, save, shortest, wear,
};
pub use trace::{RecordError, ReplayError, ReplayReport, record, replay};

/// Compiles and runs the code of the document.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/porting.md")]
struct Porting;
