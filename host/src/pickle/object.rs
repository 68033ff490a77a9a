//! What a pickle is made of.

use std::ops::Range;

/// Place of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Id(pub(super) u32);

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
    pub(super) bytes: &'a [u8],
    pub(super) objects: Vec<Object<'a, M>>,
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
