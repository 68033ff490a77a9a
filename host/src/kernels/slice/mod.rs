//! The arithmetic of the CPU backends, on plain slices.
//!
//! *Invariant:* the result does not depend on the number of threads or on which finishes first.
//! Work is split into chunks whose sizes depend on shapes alone, and partial sums are added in
//! chunk order.

pub mod conv;
pub mod gemm;
pub mod norm;
pub mod pool;
pub mod vector;
pub mod written;
