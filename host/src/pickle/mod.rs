//! Pickles, read as data: nothing that a pickle names is looked up or called.
//!
//! A pickle is a program for a stack machine, and its `REDUCE`, `NEWOBJ` and `BUILD` call whatever its names
//! say ([`pickletools`](https://docs.python.org/3/library/pickletools.html) describes it). One machine reads
//! the opcodes of protocols 1 to 5 that data needs; the text opcodes of protocol 0 are refused. A [`Policy`]
//! says which of them one kind of file may use, how much may be built, and what a call stands for.
//!
//! Nothing is allocated by a length that the file states: strings are places in the file, and every object
//! costs at least a byte of it. Nothing recurses.

mod machine;
mod policy;

use std::ops::Range;

pub(crate) use policy::{Called, Kind, Policy, Refusal};

/// Place of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Id(u32);

/// What a pickle is made of; `M` is what a policy makes of calls and references.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Object<'a, M> {
    /// `None`, a float, and whatever the policy does not keep.
    Plain,
    Truth(bool),
    Integer(i128),
    /// Bytes, or a string of any kind: where they lie in the file.
    Bytes(Range<usize>),
    Tuple(Vec<Id>),
    List(Vec<Id>),
    Dict(Vec<(Id, Id)>),
    /// A class or function.
    Name(Name<'a>),
    Made(M),
}

/// `module.name`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Name<'a> {
    pub(crate) module: &'a str,
    pub(crate) name: &'a str,
}

impl std::fmt::Display for Name<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.module, self.name)
    }
}

/// The objects of a pickle.
#[derive(Debug)]
pub(crate) struct Objects<'a, M> {
    bytes: &'a [u8],
    objects: Vec<Object<'a, M>>,
}

impl<'a, M> Objects<'a, M> {
    pub(crate) fn object(&self, id: Id) -> &Object<'a, M> {
        &self.objects[id.0 as usize]
    }

    /// The text at `id`, if it is one.
    pub(crate) fn text(&self, id: Id) -> Option<&'a str> {
        match self.object(id) {
            Object::Bytes(place) => std::str::from_utf8(&self.bytes[place.clone()]).ok(),
            _ => None,
        }
    }

    /// The items of the tuple or list at `id`, if it is one.
    pub(crate) fn sequence(&self, id: Id) -> Option<&[Id]> {
        match self.object(id) {
            Object::Tuple(items) | Object::List(items) => Some(items),
            _ => None,
        }
    }
}

/// A pickle that was read.
#[derive(Debug)]
pub(crate) struct Pickle<'a, P: Policy<'a>> {
    objects: Objects<'a, P::Made>,
    root: Id,
    /// What it gathered.
    pub(crate) policy: P,
    /// Bytes that the pickle took.
    pub(crate) len: usize,
}

impl<'a, P: Policy<'a>> Pickle<'a, P> {
    /// Reads the pickle that begins `bytes`.
    ///
    /// # Errors
    /// What is wrong, and at which byte.
    pub(crate) fn read(bytes: &'a [u8]) -> Result<Self, String> {
        machine::read(bytes)
    }

    /// The object that the pickle describes.
    pub(crate) fn root(&self) -> &Object<'a, P::Made> {
        self.object(self.root)
    }

    pub(crate) fn object(&self, id: Id) -> &Object<'a, P::Made> {
        self.objects.object(id)
    }

    /// The text at `id`, if it is one.
    pub(crate) fn text(&self, id: Id) -> Option<&'a str> {
        self.objects.text(id)
    }
}
