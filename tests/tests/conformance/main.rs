//! The conformance kit, on correct backends and on backends with one fault each.

mod arrays;
mod broken;
mod losses;
mod machines;
mod mutants;
mod number;
mod right;
