//! Weights that other programs saved: state dicts of PyTorch and safetensors files.
//!
//! | file | what is read of it |
//! |---|---|
//! | `.safetensors` | every tensor |
//! | `.pth`, `.pt` of `torch.save` since PyTorch 1.6 | a zip archive: a pickle of dictionaries of tensors, and their storages |
//! | the same from before | five pickles and the storages behind them |
//!
//! The kind is told by the first bytes, not by the name. Nothing in a file is executed, and nothing
//! is allocated by a length that only the file states.

mod dictionary;
mod disguise;
mod element;
mod entry;
mod file;
mod pickle;
mod pth;
mod words;

pub use dictionary::Dictionary;
pub use file::{StateDict, TensorFile, decode_state_dict, read_weights};
pub(crate) use words::{shown, some};
