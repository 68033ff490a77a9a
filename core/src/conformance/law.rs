//! The laws by name.

use super::Settings;

/// The largest figure with which a law holds.
enum Limit {
    /// 0: the same bits.
    Exact,
    /// [`Settings::rounding`].
    Rounding,
    /// [`Settings::product_differences`].
    Product,
    /// [`Settings::loss_differences`].
    Loss,
    /// Just below 1, for what must not be parallel.
    NotParallel,
}

macro_rules! laws {
    ($($(#[$doc:meta])* $law:ident $limit:ident $name:literal $statement:literal,)+) => {
        /// One promise of a backend.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[cfg_attr(feature = "defmt", derive(defmt::Format))]
        #[non_exhaustive]
        pub enum Law {
            $(#[doc = $statement] $law,)+
        }

        impl Law {
            /// All of them; each rests on the ones before it, so the first that fails is the one to
            /// mend.
            pub const ALL: [Self; [$(Self::$law),+].len()] = [$(Self::$law),+];

            /// In lower case, words joined by hyphens.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$law => $name,)+ }
            }

            /// What it says, in a line.
            pub const fn statement(self) -> &'static str {
                match self { $(Self::$law => $statement,)+ }
            }

            const fn limited_by(self) -> Limit {
                match self { $(Self::$law => Limit::$limit,)+ }
            }
        }
    };
}

laws! {
    Zero Exact "zero" "zero overwrites whatever a register held, NaN too",
    Copy Exact "copy" "copy makes equal what held NaN, and leaves its source alone",
    Axpby Rounding "axpby" "(a x + b y)·z = a x·z + b y·z",
    UnreadFactor Exact "unread-factor" "a vector with factor 0 is not read, whatever it holds",
    AliasedAxpby Rounding "aliased-axpby" "y ← a y + b y is y ← (a + b) y, also where a or b is 0",
    DotsSymmetry Rounding "dots-symmetry" "x·y = y·x, and |x·y| is at most ‖x‖‖y‖",
    DotsTogether Exact "dots-together" "dots of several pairs in one request are the dots alone, in order",
    DotsRepeat Exact "dots-repeat" "the same contents give the same scalars, bit for bit, in any register",
    SegmentDots Rounding "segment-dots" "dots over the segments add up to the dot, pair by pair",
    SegmentAxpby Rounding "segment-axpby" "each segment is scaled by its own factor; equal factors are an axpby",
    BasisDots Rounding "basis-dots" "dots with a bank are the dots alone, behind those of the pairs",
    Combine Rounding "combine" "a combination of a bank is the sum of its axpbys",
    SketchRepeats Exact "sketch-repeats" "the same index gives the same draw, bit for bit",
    SketchVaries NotParallel "sketch-varies" "another index gives a draw in another direction",
    LowerRepeats Exact "lower-repeats" "a lower gradient at the same index is the same, bit for bit, loss included",
    LowerFrozen Rounding "lower-frozen" "without the backbone the lower head's gradient and the loss are the same",
    LowerDifferences Loss "lower-differences" "the lower gradient by θ_P is the slope of the lower loss",
    LowerHeadDifferences Loss "lower-head-differences" "the lower gradient by φ_P is the slope of the lower loss",
    UpperRepeats Exact "upper-repeats" "an upper gradient at the same index is the same, bit for bit, loss included",
    UpperFrozen Rounding "upper-frozen" "without the backbone the upper head's gradient and the loss are the same",
    UpperAgree Rounding "upper-agree" "where θ_D = θ_P both upper evaluations of an index agree",
    UpperSeparate Exact "upper-separate" "UpperAtLower does not depend on θ_D, nor UpperAtUpper on θ_P",
    UpperDifferences Loss "upper-differences" "the upper gradient by θ_P is the slope of the upper loss",
    UpperAtUpperDifferences Loss "upper-at-upper-differences" "the upper gradient by θ_D is the slope of the upper loss",
    UpperHeadDifferences Loss "upper-head-differences" "the upper gradient by φ_D is the slope of the upper loss",
    Symmetry Rounding "symmetry" "u·Hv = v·Hu",
    Linearity Rounding "linearity" "H(a u + b v) = a Hu + b Hv",
    ProductRepeats Exact "product-repeats" "the same product twice is the same, bit for bit",
    LinearizeRepeats Exact "linearize-repeats" "linearised again at the same index, products are the same, bit for bit",
    ProductPreserves Exact "product-preserves" "products do not change the losses and gradients that follow",
    UpperPreserves Exact "upper-preserves" "upper gradients do not change the products that follow",
    ProductDifferences Product "product-differences" "Hv is the slope of the lower gradient along v",
    CrossProductDifferences Product "cross-product-differences" "u·(cross product of v) is minus the slope of v·gradient along u",
    Untouched Exact "untouched" "gradients and products write to no parameter and no momentum",
    HypergradientRepeats Exact "hypergradient-repeats" "a whole hypergradient twice is the same, bit for bit",
    NonFinite Exact "non-finite" "NaN in the first parameters makes losses, gradients and products not finite",
    RefusedReply Exact "refused-reply" "a late, reordered, duplicated or wrong reply is refused and changes nothing",
    SameReplies Exact "same-replies" "a machine and its copy ask the same after the same replies",
}

impl Law {
    /// The most that its figure may be.
    pub(super) const fn limit(self, settings: &Settings) -> f32 {
        match self.limited_by() {
            Limit::Exact => 0.0,
            Limit::Rounding => settings.rounding,
            Limit::Product => settings.product_differences,
            Limit::Loss => settings.loss_differences,
            Limit::NotParallel => 0.999,
        }
    }
}
