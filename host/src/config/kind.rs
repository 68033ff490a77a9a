//! Which values a setting may have.

use crate::network::LayerSpec;

/// The values that a key may have.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    /// An integer from `min` to `max`.
    Integer {
        /// Smallest.
        min: u64,
        /// Largest.
        max: u64,
    },
    /// As `Integer`, or `"none"`.
    IntegerOrNone {
        /// Smallest.
        min: u64,
        /// Largest.
        max: u64,
    },
    /// A number in an interval.
    Number(Interval),
    /// As `Number`, or `"none"`.
    NumberOrNone(Interval),
    /// `true` or `false`.
    Switch,
    /// One of some names.
    Name(&'static [&'static str]),
    /// A folder, or `"none"`.
    Folder,
    /// A folder of images, or one of the embedded data sets.
    Data(&'static [&'static str]),
    /// A list of 1 to 8 integers from `min` to `max`.
    Widths {
        /// Smallest.
        min: u64,
        /// Largest.
        max: u64,
    },
    /// A list of texts.
    Texts,
    /// A list of 0 to 16 layers, each in words.
    Layers,
    /// `sgd`, `lars` or `adamw` with all its coefficients.
    Optimizer,
}

/// A range of numbers. It contains neither NaN nor infinity.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Interval {
    /// Infimum.
    pub min: f64,
    /// Supremum.
    pub max: f64,
    /// Whether `min` itself is allowed.
    pub min_allowed: bool,
    /// Whether `max` itself is allowed.
    pub max_allowed: bool,
}

pub(super) const fn integer(min: u64, max: u64) -> Kind {
    Kind::Integer { min, max }
}

pub(super) const fn integer_or_none(min: u64, max: u64) -> Kind {
    Kind::IntegerOrNone { min, max }
}

pub(super) const fn positive(max: f64) -> Interval {
    Interval { min: 0.0, max, min_allowed: false, max_allowed: true }
}

const fn non_negative(max: f64) -> Interval {
    Interval { min: 0.0, max, min_allowed: true, max_allowed: true }
}

/// A number in `(0, max]`.
pub(super) const fn above_0(max: f64) -> Kind {
    Kind::Number(positive(max))
}

/// A number in `[0, max]`.
pub(super) const fn from_0(max: f64) -> Kind {
    Kind::Number(non_negative(max))
}

pub(super) const BELOW_1: Interval =
    Interval { min: 0.0, max: 1.0, min_allowed: true, max_allowed: false };
pub(super) const FRACTION: Kind = Kind::Number(BELOW_1);
pub(super) const SHARE: Kind = from_0(1.0);
pub(super) const RATE: Kind = above_0(1000.0);
pub(super) const DECAY: Kind = from_0(1.0);
pub(super) const MOMENTUM: Kind = FRACTION;
pub(super) const CLIP: Kind = Kind::NumberOrNone(positive(1e6));
pub(super) const WEIGHT: Kind = from_0(1e6);
pub(super) const EPOCHS: Kind = integer(1, 100_000);
pub(super) const STEPS: Kind = integer(1, 1_000_000);
pub(super) const COUNT: Kind = integer(0, 1_000_000_000);
pub(super) const BATCH: Kind = integer(2, 65_536);
pub(super) const WIDTHS: Kind = Kind::Widths { min: 2, max: 16_384 };
pub(super) const DATA: Kind = Kind::Data(&["embedded:twemoji", "embedded:noto-emoji"]);

/// Optimisers and their coefficients.
pub(super) const OPTIMIZERS: &[(&str, &[(&str, Kind)])] = &[
    ("sgd", &[("momentum", MOMENTUM), ("weight_decay", DECAY)]),
    ("lars", &[("momentum", MOMENTUM), ("weight_decay", DECAY), ("trust", above_0(1.0))]),
    (
        "adamw",
        &[
            ("beta1", MOMENTUM),
            ("beta2", MOMENTUM),
            ("epsilon", above_0(1.0)),
            ("weight_decay", DECAY),
        ],
    ),
];

/// Maximum number of texts in a list.
pub(super) const TEXTS_MAX: usize = 256;
/// Maximum number of backbone layers.
pub(super) const LAYERS_MAX: usize = 16;

impl Kind {
    /// Whether its values are strings, so that a flag needs no quotes.
    pub(super) fn is_text(&self) -> bool {
        matches!(self, Self::Name(_) | Self::Data(_) | Self::Folder)
    }
}

impl std::fmt::Display for Interval {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let open = if self.min_allowed { '[' } else { '(' };
        let close = if self.max_allowed { ']' } else { ')' };
        write!(f, "{open}{}, {}{close}", self.min, self.max)
    }
}

impl std::fmt::Display for Kind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Integer { min, max } => write!(f, "an integer in [{min}, {max}]"),
            Self::IntegerOrNone { min, max } => {
                write!(f, "an integer in [{min}, {max}] or \"none\"")
            }
            Self::Number(interval) => write!(f, "a number in {interval}"),
            Self::NumberOrNone(interval) => write!(f, "a number in {interval} or \"none\""),
            Self::Switch => write!(f, "true or false"),
            Self::Name(names) => write!(f, "one of \"{}\"", names.join("\", \"")),
            Self::Folder => write!(f, "a folder or \"none\""),
            Self::Data(names) => write!(f, "a folder or \"{}\"", names.join("\", \"")),
            Self::Widths { min, max } => write!(f, "a list of 1 to 8 integers in [{min}, {max}]"),
            Self::Texts => write!(f, "a list of at most {TEXTS_MAX} texts, none of them empty"),
            Self::Layers => write!(f, "a list of 0 to {LAYERS_MAX} of {}", LayerSpec::EXPECTED),
            Self::Optimizer => {
                let names: Vec<_> = OPTIMIZERS.iter().map(|(name, _)| *name).collect();
                write!(f, "a table with one of {}", names.join(", "))
            }
        }
    }
}
