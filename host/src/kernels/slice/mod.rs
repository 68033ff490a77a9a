//! The arithmetic of the CPU backends, on plain slices.
//!
//! *Invariant:* the result does not depend on the number of threads or on which finishes first.
//! Work is split into chunks whose sizes depend on shapes alone, and partial sums are added in
//! chunk order.

pub(crate) mod conv;
pub(crate) mod gemm;
pub(crate) mod norm;
pub(crate) mod pool;
pub(crate) mod vector;
pub(crate) mod written;
