//! Weights of other programs: names, shapes, and the files that they are stored in.

mod checkpoints;
mod import;
mod layouts;
mod names;
mod state_dict;
