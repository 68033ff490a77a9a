//! What running statistics are statistics of.

use crate::names::names;

names! {
    /// Which passes through θ_P update its running statistics, and φ_P's where it takes part.
    StatisticsUpdates {
        /// Those of lower steps: products and g_P leave them as they are.
        LowerSteps = "lower-steps",
        /// Those of products and of g_P, too: once a view and pass, as in the reference, where
        /// every product runs the network again.
        EveryPass = "every-pass",
    }
}
