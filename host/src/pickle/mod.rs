//! Pickles, read as data: nothing that a pickle names is looked up or called.
//!
//! A pickle is a program for a stack machine, and its `REDUCE`, `NEWOBJ` and `BUILD` call whatever
//! its names say ([`pickletools`](https://docs.python.org/3/library/pickletools.html) describes
//! it). One machine reads the opcodes of protocols 1 to 5 that data needs; the text opcodes of
//! protocol 0 are refused. A [`Policy`] says which of them one kind of file may use, how much may
//! be built, and what a call stands for.
//!
//! Nothing is allocated by a length that the file states: strings are places in the file, and every
//! object costs at least a byte of it. Nothing recurses.

mod machine;
mod object;
mod policy;

pub(crate) use machine::Pickle;
pub(crate) use object::{Id, Name, Object, Objects};
pub(crate) use policy::{Called, Kind, Policy, Refusal};
