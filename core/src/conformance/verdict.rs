//! How a check ended.

use core::fmt;

use super::Law;

/// What was found, beside what is allowed.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Verdict {
    /// The law.
    pub law: Law,
    /// How far the two sides of the law are apart, relative to their size. NaN where there was
    /// nothing to measure: vectors that are 0, or not finite.
    pub measured: f32,
    /// The most that it may be; 0 where the sides must be the same bits.
    pub limit: f32,
}

impl Verdict {
    /// Whether the law holds. NaN does not.
    pub fn holds(&self) -> bool {
        self.measured <= self.limit
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = if self.holds() { "" } else { "BROKEN " };
        let Self { law, measured, limit } = self;
        write!(f, "{word}{}: measured {measured:.1e}, at most {limit:.1e}", law.name())
    }
}

/// The end of a check that met no error.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Outcome<E> {
    /// Both sides were computed.
    Judged(Verdict),
    /// The problem refused something that it may lack; nothing is known about the law.
    Unsupported {
        /// The law.
        law: Law,
        /// The problem's refusal.
        error: E,
    },
    /// The law is about problems of another kind, says [`Settings`](super::Settings).
    NotAsked {
        /// The law.
        law: Law,
    },
}

impl<E> Outcome<E> {
    /// The law that was checked.
    pub fn law(&self) -> Law {
        match self {
            Self::Judged(verdict) => verdict.law,
            Self::Unsupported { law, .. } | Self::NotAsked { law } => *law,
        }
    }

    /// Whether the law was measured and holds.
    pub fn holds(&self) -> bool {
        matches!(self, Self::Judged(verdict) if verdict.holds())
    }

    /// Whether the law was measured and does not hold.
    pub fn is_broken(&self) -> bool {
        matches!(self, Self::Judged(verdict) if !verdict.holds())
    }
}

impl<E: fmt::Display> fmt::Display for Outcome<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Judged(verdict) => write!(f, "{verdict}"),
            Self::Unsupported { law, error } => write!(f, "{}: unsupported, {error}", law.name()),
            Self::NotAsked { law } => write!(f, "{}: not asked", law.name()),
        }
    }
}

/// How many laws ended in which way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Summary {
    /// Measured, and as they should be.
    pub hold: u32,
    /// Measured, and not.
    pub broken: u32,
    /// Not measured: the problem lacks something.
    pub unsupported: u32,
    /// Not measured: the settings leave them out.
    pub not_asked: u32,
}

impl Summary {
    pub(super) fn count<E>(&mut self, outcome: &Outcome<E>) {
        let counter = match outcome {
            Outcome::Judged(verdict) if verdict.holds() => &mut self.hold,
            Outcome::Judged(_) => &mut self.broken,
            Outcome::Unsupported { .. } => &mut self.unsupported,
            Outcome::NotAsked { .. } => &mut self.not_asked,
        };
        *counter = counter.saturating_add(1);
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { hold, broken, unsupported, not_asked } = self;
        write!(f, "{hold} hold, {broken} broken, {unsupported} unsupported, {not_asked} not asked")
    }
}
