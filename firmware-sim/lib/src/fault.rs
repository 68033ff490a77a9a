//! What can go wrong on the device.

use core::fmt;

use bissl_core::{ConfigError, Evaluation, Register, Request, UnexpectedReply};

use crate::Stage;

/// The two sets of frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Corpus {
    /// The pretext frames.
    Unlabelled,
    /// The downstream frames.
    Labelled,
}

/// Why the device stopped; it stays stopped.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum Fault {
    /// The source has no frame of this number.
    FrameMissing {
        /// The corpus.
        corpus: Corpus,
        /// The frame's number.
        index: u32,
    },
    /// A value of this frame is outside the range of a sound sensor. NaN is always outside.
    ValueOutOfRange {
        /// The corpus.
        corpus: Corpus,
        /// The frame's number.
        index: u32,
    },
    /// The label of this frame names no class.
    LabelUnknown {
        /// The frame's number.
        index: u32,
        /// The label; classes are below those of the [`Model`](crate::Model).
        label: u8,
    },
    /// The source has fewer frames than a batch needs.
    TooFewFrames {
        /// The corpus.
        corpus: Corpus,
        /// Frames in the source.
        found: u32,
        /// Frames of a batch.
        needed: u32,
    },
    /// A loss is infinite or NaN.
    LossNotFinite {
        /// Which loss.
        evaluation: Evaluation,
        /// The step of the stage.
        index: u32,
    },
    /// Every further step of a stage would have been non-finite, and the stage ended.
    Diverged {
        /// The stage.
        stage: Stage,
        /// The step.
        index: u32,
    },
    /// A number of the training state is infinite or NaN, so the state has no hash.
    StateNotFinite,
    /// This device has no such register.
    RegisterMissing(Register),
    /// The registers are of different spaces.
    RegistersDiffer(Register, Register),
    /// Two registers that share memory were asked for at once. They share it because their
    /// lifetimes do not overlap.
    RegistersShareMemory,
    /// The memory does not have the length of the plan.
    MemoryMismatch,
    /// The flash holds no weights, or weights of another network.
    WeightsMissing {
        /// Floats in the flash.
        found: u32,
        /// Floats of backbone and pretext head.
        needed: u32,
    },
    /// A product was asked for while no linearisation is kept.
    NotLinearized,
    /// A request was performed, or a reply given, while no machine waits for one.
    NotAsked,
    /// A reply was given to a request that was not performed.
    NotPerformed,
    /// A request was to be performed while the reply to the last one had not been handed on.
    PerformedAlready,
    /// The network of this device cannot do this.
    Unsupported(Request),
    /// The scalar workspace is too short for the request.
    ShortWorkspace,
    /// A part of the state has no serialised form.
    NotSerializable,
    /// The machine refused a reply.
    Reply(UnexpectedReply),
    /// A setting is out of its range.
    Config(ConfigError),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::FrameMissing { corpus, index } => write!(f, "no {corpus:?} frame {index}"),
            Self::ValueOutOfRange { corpus, index } => {
                write!(f, "{corpus:?} frame {index} has a value outside the sensor's range")
            }
            Self::LabelUnknown { index, label } => {
                write!(f, "label {label} of frame {index} names no class")
            }
            Self::TooFewFrames { corpus, found, needed } => {
                write!(f, "{found} {corpus:?} frames, a batch needs {needed}")
            }
            Self::LossNotFinite { evaluation, index } => {
                write!(f, "loss {evaluation:?} of step {index} is not finite")
            }
            Self::Diverged { stage, index } => {
                write!(f, "stage {stage:?} diverged before step {index}")
            }
            Self::StateNotFinite => {
                write!(f, "the training state holds a number that is not finite")
            }
            Self::RegisterMissing(register) => write!(f, "no register {register:?} on this device"),
            Self::RegistersDiffer(x, y) => write!(f, "{x:?} and {y:?} are of different spaces"),
            Self::RegistersShareMemory => write!(f, "two registers that share memory at once"),
            Self::MemoryMismatch => write!(f, "the memory has not the length of the plan"),
            Self::WeightsMissing { found, needed } => {
                write!(f, "{found} weights in flash, the network has {needed}")
            }
            Self::NotLinearized => write!(f, "product without a linearisation"),
            Self::NotAsked => write!(f, "no request waits for a reply"),
            Self::NotPerformed => write!(f, "a reply to a request that was not performed"),
            Self::PerformedAlready => write!(f, "a request that was performed already"),
            Self::Unsupported(request) => write!(f, "request not supported: {request:?}"),
            Self::NotSerializable => write!(f, "a part of the state has no serialised form"),
            Self::ShortWorkspace => write!(f, "scalar workspace too short"),
            Self::Reply(error) => write!(f, "{error}"),
            Self::Config(error) => write!(f, "{error}"),
        }
    }
}

impl core::error::Error for Fault {}

impl From<UnexpectedReply> for Fault {
    fn from(error: UnexpectedReply) -> Self {
        Self::Reply(error)
    }
}

impl From<ConfigError> for Fault {
    fn from(error: ConfigError) -> Self {
        Self::Config(error)
    }
}
