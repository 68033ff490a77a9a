//! Weights of other programs: names, shapes, and the files that hold them.

mod names;
mod state_dict;
