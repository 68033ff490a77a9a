//! Which passes update running statistics.

use crate::names::names;

names! {
    /// Which passes through θ_P update its running statistics, and φ_P's if φ_P takes part.
    StatisticsUpdates {
        /// Only lower steps; products and g_P leave the statistics unchanged.
        LowerSteps = "lower-steps",
        /// Products and g_P, too: once per view and pass, as in the reference, where every product
        /// runs the network again.
        EveryPass = "every-pass",
    }
}
