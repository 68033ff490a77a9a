//! What can be wrong with a setting, found once, where the setting is made.

use core::fmt;

/// A setting outside its range; the machine is not built.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum ConfigError {
    /// `name` must lie in `range`; NaN lies nowhere.
    OutOfRange {
        /// The setting, as in the configuration.
        name: &'static str,
        /// What was given.
        value: f32,
        /// What is allowed, in words or interval notation.
        range: &'static str,
    },
    /// `name` counts something and must be at least one.
    Zero {
        /// The setting, as in the configuration.
        name: &'static str,
    },
    /// The solver is for a coupling by proximity and was given a general one.
    NeedsProximity {
        /// The solver, as in the configuration.
        solver: &'static str,
    },
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OutOfRange { name, value, range } => {
                write!(f, "{name} is {value}, expected {range}")
            }
            Self::Zero { name } => write!(f, "{name} is 0, expected at least 1"),
            Self::NeedsProximity { solver } => {
                write!(f, "solver {solver} on a general coupling, expected one by proximity")
            }
        }
    }
}

impl core::error::Error for ConfigError {}

/// The value, or an early return with the error: constant functions have no `?`.
macro_rules! get {
    ($result:expr) => {
        match $result {
            Ok(value) => value,
            Err(error) => return Err(error),
        }
    };
}
pub(crate) use get;

/// `value` if it is finite and at least zero.
pub(crate) const fn non_negative(name: &'static str, value: f32) -> Result<f32, ConfigError> {
    check(name, value, value >= 0.0, "[0, ∞)")
}

/// `value` if it is finite and above zero.
pub(crate) const fn positive(name: &'static str, value: f32) -> Result<f32, ConfigError> {
    check(name, value, value > 0.0, "(0, ∞)")
}

/// `value` if it lies in `[0, 1)`.
pub(crate) const fn fraction(name: &'static str, value: f32) -> Result<f32, ConfigError> {
    check(name, value, value >= 0.0 && value < 1.0, "[0, 1)")
}

/// `count` if it is not zero.
pub(crate) const fn at_least_one(name: &'static str, count: u32) -> Result<u32, ConfigError> {
    if count == 0 { Err(ConfigError::Zero { name }) } else { Ok(count) }
}

/// `value` if it is finite and `holds`.
pub(crate) const fn check(
    name: &'static str,
    value: f32,
    holds: bool,
    range: &'static str,
) -> Result<f32, ConfigError> {
    if holds && value.is_finite() {
        Ok(value)
    } else {
        Err(ConfigError::OutOfRange { name, value, range })
    }
}
