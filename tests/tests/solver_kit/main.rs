//! The solver kit: what every machine of the core must hold to, against dense references in f64.
//!
//! Five parts. *Tools*: `matrix`, `systems`, `dense`, `solve`, `krylov`, `tape`, and the bilevel
//! problems `quadratic` and `ridge`. *Laws* that any conjugate gradient run must obey (`laws`),
//! applied to the machine (`cg_*`) and to the mistakes other packages ship (`historic`).
//! *Protocol*: every state times every wrong reply. *Oracles* for hypergradients: closed forms and
//! central differences. *Recurrences* of the training machines against straightforward f64 ones.

mod precision;

mod dense;
mod krylov;
mod laws;
mod matrix;
mod quadratic;
mod recurrence;
mod recycled_series;
mod ridge;
mod solve;
mod systems;
mod tape;

mod alternation;
mod cg_breakdown;
mod cg_solution;
mod cg_stopping;
mod descent;
mod drive;
mod historic;
mod hypergradient;
mod hypergradient_bias;
mod hypergradient_ridge;
mod identity;
mod layerwise;
mod messages;
mod mfac;
mod neumann;
mod nystrom;
mod optimizer;
mod order;
mod protocol;
mod random;
mod recycled_free_step;
mod recycled_limits;
mod recycled_optimality;
mod recycled_protocol;
mod recycled_savings;
mod recycled_trust;
mod schedule;
mod settings;
mod soba;
mod typed;
