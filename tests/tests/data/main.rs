//! Data sets, splits and batches of the host, on folders made by the tests and on the embedded
//! sets.

mod batches;
mod damage;
mod embedded;
mod folders;
mod pixels;
mod prefetch;
mod splits;
mod support;
