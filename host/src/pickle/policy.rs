//! What one kind of file may build.

use super::object::{Id, Object, Objects};

/// What pickles of one kind of file may build, and in which words others are refused.
pub(crate) trait Policy<'a>: Default {
    /// What calls and references make.
    type Made;

    /// Objects of one pickle at most.
    const OBJECTS_MAX: usize;

    /// Entries of the stack, marks, and numbers in the memo at most.
    const STACK_MAX: usize;

    /// Opcodes of the machine that no file of this kind needs.
    const UNKNOWN: &'static [u8];

    /// Whether a string is kept as [`Object::Bytes`]; else it is [`Object::Plain`].
    ///
    /// # Errors
    /// No file of this kind has such a string.
    fn keeps(kind: Kind, bytes: &[u8]) -> Result<bool, String>;

    /// Whether an integer of `bytes` bytes is kept.
    ///
    /// # Errors
    /// No file of this kind has such an integer.
    fn keeps_integer(bytes: usize) -> Result<bool, String>;

    /// What a call of `callable` with `arguments` stands for.
    ///
    /// # Errors
    /// It is no call that this kind of file may make.
    fn call(
        &mut self,
        objects: &Objects<'a, Self::Made>,
        callable: Id,
        arguments: Id,
    ) -> Result<Called<'a, Self::Made>, String>;

    /// What the persistent identifier `id` refers to.
    ///
    /// # Errors
    /// It refers to nothing that this kind of file has.
    fn reference(
        &mut self,
        objects: &Objects<'a, Self::Made>,
        id: Id,
    ) -> Result<Self::Made, String>;

    /// Gives `object` a state.
    ///
    /// # Errors
    /// It can have none.
    fn build(object: &mut Object<'a, Self::Made>, state: Id) -> Result<(), String>;

    /// Whether items and entries may be put into what was made, where they are lost.
    fn swallows(made: &Self::Made) -> bool;

    /// The words for a pickle that is wrong.
    fn words(refusal: Refusal) -> String;

    /// The whole message, with the first byte of the operation that failed.
    fn located(reason: &str, byte: usize) -> String;
}

/// What a call stands for.
#[derive(Debug)]
pub(crate) enum Called<'a, M> {
    New(Object<'a, M>),
    /// An object that is there.
    Same(Id),
}

/// Kinds of strings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Text,
    /// A string of Python 2, which may be bytes.
    Python2,
    Bytes,
}

/// What is wrong with a pickle, whatever it describes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// `left` bytes are left of the file where `expected` are to come.
    End {
        left: usize,
        expected: u64,
    },
    /// A name ends with the file.
    EndOfName,
    /// A global's name on the stack is no text.
    Nameless,
    /// The stack is empty above the last mark.
    Empty,
    NoMark,
    /// The memo has nothing under this number.
    NotStored(u32),
    TooMany,
    /// Items for something else.
    NoList,
    /// Entries for something else.
    NoDict,
    Opcode(u8),
}
