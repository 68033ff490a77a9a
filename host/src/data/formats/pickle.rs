//! Pickles that arrays and lists are stored in: what those of CIFAR's batches may build.
//!
//! Dictionaries, lists, tuples, numbers, strings and numpy arrays. What a call would make is what
//! it was to be made of: [`Call`].

use crate::pickle::{self, Called, Id, Kind, Object, Objects, Policy, Refusal};

/// Most values of one pickle; CIFAR-100's has about 200 000.
const VALUES_MAX: usize = 4_000_000;

/// A pickle that was read.
pub(super) type Pickle<'a> = pickle::Pickle<'a, Arrays>;

/// One value.
pub(super) type Value<'a> = Object<'a, Call>;

/// What calling `callable` with `arguments` would give, and the state that it would be given.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Call {
    pub(super) callable: Id,
    pub(super) arguments: Id,
    pub(super) state: Option<Id>,
}

/// What these pickles may build.
#[derive(Debug, Default)]
pub(super) struct Arrays;

impl<'a> Policy<'a> for Arrays {
    type Made = Call;

    const OBJECTS_MAX: usize = VALUES_MAX;
    const STACK_MAX: usize = VALUES_MAX;
    /// Long integers of four bytes' length, sets, the two ways to make an object of a class,
    /// references.
    const UNKNOWN: &'static [u8] = &[0x8b, 0x8f, 0x90, 0x81, 0x92, b'Q'];

    fn keeps(_: Kind, _: &[u8]) -> Result<bool, String> {
        Ok(true)
    }

    fn keeps_integer(bytes: usize) -> Result<bool, String> {
        if bytes > 8 { Err("an integer of more than 64 bits".to_owned()) } else { Ok(true) }
    }

    fn call(
        &mut self,
        _: &Objects<'a, Call>,
        callable: Id,
        arguments: Id,
    ) -> Result<Called<'a, Call>, String> {
        Ok(Called::New(Object::Made(Call { callable, arguments, state: None })))
    }

    fn reference(&mut self, _: &Objects<'a, Call>, _: Id) -> Result<Call, String> {
        Err(Self::words(Refusal::Opcode(b'Q')))
    }

    fn build(object: &mut Value<'a>, given: Id) -> Result<(), String> {
        let Object::Made(call) = object else {
            return Err("a state for what is no object".to_owned());
        };
        call.state = Some(given);
        Ok(())
    }

    fn swallows(_: &Call) -> bool {
        false
    }

    fn words(refusal: Refusal) -> String {
        let words = match refusal {
            Refusal::End { .. } | Refusal::EndOfName => "the file ends in the middle",
            Refusal::Nameless => "a global without a name",
            Refusal::Empty => "a value is missing",
            Refusal::NoMark => "a mark is missing",
            Refusal::NotStored(_) => "a value that was not stored",
            Refusal::TooMany => return format!("more than {VALUES_MAX} values"),
            Refusal::NoList => "items for what is no list",
            Refusal::NoDict => "entries for what is no dictionary",
            Refusal::Opcode(opcode) => {
                return format!("operation {opcode:#04x} is not expected here");
            }
        };
        words.to_owned()
    }

    fn located(reason: &str, byte: usize) -> String {
        format!("not a pickle of arrays: {reason} at byte {byte}")
    }
}

/// The value of a key of the dictionary that the pickle is.
pub(super) fn entry<'p, 'a>(pickle: &'p Pickle<'a>, key: &str) -> Option<&'p Value<'a>> {
    let Object::Dict(entries) = pickle.root() else { return None };
    let found = entries.iter().rev().find(|(id, _)| pickle.text(*id) == Some(key));
    found.map(|(_, value)| pickle.object(*value))
}
