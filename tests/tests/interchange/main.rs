//! Weights of other programs: names, shapes, and the files that they are stored in.

mod names;
mod state_dict;
