//! Pickles as `torch.save` writes them: what those of state dicts may build.
//!
//! The few names of [`Known`] describe dictionaries and tensors. A call of any other makes a
//! [`Made::Foreign`] that remembers the name and can do nothing.

use super::element::Element;
use crate::pickle::{self, Called, Id, Kind, Name, Objects, Policy, Refusal};

/// Objects of one pickle at most. A state dict has about twenty for a tensor.
const OBJECTS_MAX: usize = 1 << 21;

/// Bytes of a text at most. A longer one is no name, and is not kept: a pickle could refer to it as
/// often as it has bytes.
const TEXT_MAX: usize = 1024;

/// Sizes of a tensor at most.
const AXES_MAX: usize = 8;

/// A pickle that was read.
pub(super) type Pickle<'a> = pickle::Pickle<'a, Tensors<'a>>;

/// What it is made of.
pub(super) type Object<'a> = pickle::Object<'a, Made<'a>>;

/// What calls and references make.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Made<'a> {
    Storage(Storage<'a>),
    Tensor(Tensor<'a>),
    /// What a call of a name that means nothing here would have made.
    Foreign(Name<'a>),
}

/// Elements that lie elsewhere in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Storage<'a> {
    pub(super) element: Element,
    /// Its name among the file's storages.
    pub(super) key: &'a str,
    /// Number of elements, as stated.
    pub(super) len: usize,
}

/// A view of a storage, in elements.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Tensor<'a> {
    pub(super) storage: Storage<'a>,
    pub(super) offset: usize,
    pub(super) shape: Vec<usize>,
    pub(super) strides: Vec<usize>,
}

/// Names that mean something.
enum Known {
    Dict,
    /// `(factory)`: a dictionary to be filled.
    DefaultDict,
    /// `(storage, offset, shape, strides, …)`.
    Tensor,
    /// `(tensor, …)`: the tensor.
    Parameter,
    /// `(function, class, arguments, state)`: what the function makes.
    Subclass,
}

impl Known {
    fn of(name: Name<'_>) -> Option<Self> {
        Some(match (name.module, name.name) {
            ("collections", "OrderedDict") | ("builtins" | "__builtin__", "dict") => Self::Dict,
            ("torch._utils", "_rebuild_tensor_v2" | "_rebuild_tensor") => Self::Tensor,
            ("torch._utils", "_rebuild_parameter" | "_rebuild_parameter_with_state") => {
                Self::Parameter
            }
            ("collections", "defaultdict") => Self::DefaultDict,
            ("torch._tensor", "_rebuild_from_type_v2") => Self::Subclass,
            _ => return None,
        })
    }
}

/// What these pickles may build.
#[derive(Debug, Default)]
pub(super) struct Tensors<'a> {
    /// Every storage that was named, in order, possibly more than once.
    pub(super) storages: Vec<Storage<'a>>,
    /// Pairs that dictionaries copied from lists.
    copied: usize,
}

impl<'a> Policy<'a> for Tensors<'a> {
    type Made = Made<'a>;

    const OBJECTS_MAX: usize = OBJECTS_MAX;
    /// An entry of the stack or the memo costs a byte of the file or more.
    const STACK_MAX: usize = usize::MAX;
    /// Bytes that may change.
    const UNKNOWN: &'static [u8] = &[0x96];

    fn keeps(kind: Kind, bytes: &[u8]) -> Result<bool, String> {
        let is_text = std::str::from_utf8(bytes).is_ok();
        match kind {
            Kind::Text if !is_text => Err("a text that is no UTF-8".to_owned()),
            Kind::Text | Kind::Python2 => Ok(is_text && bytes.len() <= TEXT_MAX),
            Kind::Bytes => Ok(false),
        }
    }

    /// One of more than 16 bytes says nothing about tensors.
    fn keeps_integer(bytes: usize) -> Result<bool, String> {
        Ok(bytes <= 16)
    }

    fn call(
        &mut self,
        objects: &Objects<'a, Made<'a>>,
        callable: Id,
        arguments: Id,
    ) -> Result<Called<'a, Made<'a>>, String> {
        let name = match objects.object(callable) {
            Object::Name(name) | Object::Made(Made::Foreign(name)) => *name,
            _ => return Err("a call of something that has no name".to_owned()),
        };
        let arguments = objects
            .sequence(arguments)
            .ok_or_else(|| format!("a call of {name} without a tuple of arguments"))?;
        let made = match Known::of(name) {
            Some(Known::Dict) => {
                let pairs =
                    arguments.first().map_or(Ok(Vec::new()), |list| pairs(objects, *list))?;
                // One list may be copied by many calls.
                self.copied += pairs.len();
                if self.copied > OBJECTS_MAX {
                    return Err(format!("more than {OBJECTS_MAX} pairs in dictionaries"));
                }
                return Ok(Called::New(Object::Dict(pairs)));
            }
            Some(Known::DefaultDict) => return Ok(Called::New(Object::Dict(Vec::new()))),
            Some(Known::Subclass) => match arguments {
                [function, _, arguments, ..] if is_tensor(objects, *function) => {
                    let arguments = objects
                        .sequence(*arguments)
                        .ok_or_else(|| format!("{name} without a tuple of arguments"))?;
                    tensor(objects, arguments).map_err(|error| format!("{name}: {error}"))?
                }
                _ => Made::Foreign(name),
            },
            Some(Known::Tensor) => {
                tensor(objects, arguments).map_err(|error| format!("{name}: {error}"))?
            }
            Some(Known::Parameter) => {
                let tensor = arguments.first().ok_or_else(|| format!("{name} without a tensor"))?;
                return Ok(Called::Same(*tensor));
            }
            None => Made::Foreign(name),
        };
        Ok(Called::New(Object::Made(made)))
    }

    /// `("storage", class, key, device, elements)`, in old files with a sixth part for a view of a
    /// storage, which is `None` since 2017.
    fn reference(&mut self, objects: &Objects<'a, Made<'a>>, id: Id) -> Result<Made<'a>, String> {
        let refused = "a reference that is no storage of torch.save";
        let (kind, class, key, len) = match objects.sequence(id) {
            Some(&[kind, class, key, _, len]) => (kind, class, key, len),
            Some(&[kind, class, key, _, len, view]) if *objects.object(view) == Object::Plain => {
                (kind, class, key, len)
            }
            _ => return Err(refused.to_owned()),
        };
        let (Some("storage"), Object::Name(class), Some(key)) =
            (objects.text(kind), objects.object(class), objects.text(key))
        else {
            return Err(refused.to_owned());
        };
        let len = size(objects, len)?;
        let element = match class.module {
            "torch" | "torch.cuda" | "torch.storage" => Element::of_storage(class.name),
            _ => None,
        };
        let Some(element) = element else { return Ok(Made::Foreign(*class)) };
        let storage = Storage { element, key, len };
        self.storages.push(storage);
        Ok(Made::Storage(storage))
    }

    /// Attributes of a dictionary are versions of modules, and what is foreign has none here.
    fn build(_: &mut Object<'a>, _: Id) -> Result<(), String> {
        Ok(())
    }

    fn swallows(made: &Made<'a>) -> bool {
        matches!(made, Made::Foreign(_))
    }

    fn words(refusal: Refusal) -> String {
        let words = match refusal {
            Refusal::End { left, expected } => {
                return format!("{left} bytes are left, expected {expected} more");
            }
            Refusal::EndOfName => "a name without an end",
            Refusal::Nameless => "a name that is no text",
            Refusal::Empty => "the stack is empty",
            Refusal::NoMark => "no mark on the stack",
            Refusal::NotStored(index) => return format!("nothing is memorised as {index}"),
            Refusal::TooMany => return format!("more than {OBJECTS_MAX} objects"),
            Refusal::NoList => "found another object, expected a list to append to",
            Refusal::NoDict => "found another object, expected a dictionary",
            Refusal::Opcode(opcode) => {
                return format!("opcode 0x{opcode:02x}, which no state dict needs");
            }
        };
        words.to_owned()
    }

    fn located(reason: &str, byte: usize) -> String {
        format!("pickle, byte {byte}: {reason}")
    }
}

/// Whether this is the function that makes plain tensors.
fn is_tensor(objects: &Objects<'_, Made<'_>>, function: Id) -> bool {
    match objects.object(function) {
        Object::Name(name) => matches!(Known::of(*name), Some(Known::Tensor)),
        _ => false,
    }
}

/// A list of pairs.
fn pairs(objects: &Objects<'_, Made<'_>>, list: Id) -> Result<Vec<(Id, Id)>, String> {
    let refused = || "a dictionary from something that is no list of pairs".to_owned();
    let pair = |item: &Id| match objects.sequence(*item) {
        Some(&[key, value]) => Ok((key, value)),
        _ => Err(refused()),
    };
    objects.sequence(list).ok_or_else(refused)?.iter().map(pair).collect()
}

fn tensor<'a>(objects: &Objects<'a, Made<'a>>, arguments: &[Id]) -> Result<Made<'a>, String> {
    let [storage, offset, shape, strides, ..] = arguments else {
        return Err(format!("found {} arguments, expected 4 or more", arguments.len()));
    };
    let storage = match objects.object(*storage) {
        Object::Made(Made::Storage(storage)) => *storage,
        // A type of elements that is not known.
        Object::Made(Made::Foreign(name)) => return Ok(Made::Foreign(*name)),
        _ => return Err("the first argument is no storage".to_owned()),
    };
    let (shape, strides) = (sizes(objects, *shape)?, sizes(objects, *strides)?);
    if shape.len() != strides.len() {
        return Err(format!("found {} sizes and {} strides", shape.len(), strides.len()));
    }
    Ok(Made::Tensor(Tensor { storage, offset: size(objects, *offset)?, shape, strides }))
}

fn sizes(objects: &Objects<'_, Made<'_>>, id: Id) -> Result<Vec<usize>, String> {
    match objects.sequence(id) {
        Some(items) if items.len() <= AXES_MAX => {
            items.iter().map(|item| size(objects, *item)).collect()
        }
        _ => Err(format!("expected a tuple of at most {AXES_MAX} sizes")),
    }
}

fn size(objects: &Objects<'_, Made<'_>>, id: Id) -> Result<usize, String> {
    match objects.object(id) {
        Object::Integer(value) => {
            usize::try_from(*value).map_err(|_| format!("found {value}, expected a size"))
        }
        _ => Err("found another object, expected a size".to_owned()),
    }
}
