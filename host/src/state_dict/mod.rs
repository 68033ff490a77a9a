//! Weights that other programs saved: state dicts of PyTorch and safetensors files.
//!
//! | file | what is read of it |
//! |---|---|
//! | `.safetensors` | every tensor |
//! | `.pth`, `.pt` of `torch.save` since PyTorch 1.6 | a zip archive: the state dict's pickle and its storages |
//! | the same from before | five pickles and the storages behind them |
//!
//! The kind is told by the first bytes, not by the name. Nothing in a file is executed, and nothing
//! is allocated by a length that only the file states.

mod element;
mod entry;
mod file;
mod pickle;
mod pth;

pub use file::{StateDict, decode_state_dict, read_state_dict};
