//! Pickles as `torch.save` writes them, read without executing anything.
//!
//! A pickle is a program for a stack machine, and its `REDUCE`, `NEWOBJ` and `BUILD` call whatever its
//! names say. Here no name is ever looked up: the few of [`Known`] describe dictionaries and tensors, and
//! everything else becomes an [`Object::Foreign`] that remembers its name and can do nothing. Opcodes are
//! those of protocols 2 to 5 that data needs; the text opcodes of protocol 0 are refused.
//!
//! Nothing is allocated by a length that the file states: texts are borrowed, and every object costs at
//! least a byte of the file. Nothing recurses.

use std::collections::HashMap;

use super::element::Element;

/// Objects of one pickle at most. A state dict has about twenty for a tensor.
const OBJECTS_MAX: usize = 1 << 21;

/// Sizes of a tensor at most.
const AXES_MAX: usize = 8;

/// Place of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Id(u32);

/// What a pickle is made of.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Object<'a> {
    /// Numbers that are no integers, bytes, `None`.
    Plain,
    Truth(bool),
    Integer(i128),
    Text(&'a str),
    /// A tuple or a list.
    Sequence(Vec<Id>),
    Dict(Vec<(Id, Id)>),
    /// A class or function by name.
    Name(Name<'a>),
    Storage(Storage<'a>),
    Tensor(Tensor<'a>),
    /// What a call of a name that means nothing here would have made.
    Foreign(Name<'a>),
}

/// `module.name`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Name<'a> {
    module: &'a str,
    name: &'a str,
}

impl std::fmt::Display for Name<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.module, self.name)
    }
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

/// A pickle that was read.
#[derive(Debug)]
pub(super) struct Pickle<'a> {
    objects: Vec<Object<'a>>,
    root: Id,
    /// Every storage that was named, in order, possibly more than once.
    pub(super) storages: Vec<Storage<'a>>,
    /// Bytes that it took.
    pub(super) len: usize,
}

impl<'a> Pickle<'a> {
    /// The object that the pickle describes.
    pub(super) fn root(&self) -> &Object<'a> {
        self.object(self.root)
    }

    pub(super) fn object(&self, id: Id) -> &Object<'a> {
        &self.objects[id.0 as usize]
    }

    /// The text at `id`, if it is one.
    pub(super) fn text(&self, id: Id) -> Option<&'a str> {
        match self.object(id) {
            Object::Text(text) => Some(text),
            _ => None,
        }
    }
}

/// Names that mean something.
enum Known {
    Dict,
    /// `(storage, offset, shape, strides, …)`.
    Tensor,
    /// `(tensor, …)`: the tensor.
    Parameter,
}

impl Known {
    fn of(name: Name<'_>) -> Option<Self> {
        Some(match (name.module, name.name) {
            ("collections", "OrderedDict") | ("builtins" | "__builtin__", "dict") => Self::Dict,
            ("torch._utils", "_rebuild_tensor_v2" | "_rebuild_tensor") => Self::Tensor,
            ("torch._utils", "_rebuild_parameter") => Self::Parameter,
            _ => return None,
        })
    }
}

/// Reads the pickle that begins `bytes`.
///
/// # Errors
/// What is wrong, and at which byte.
pub(super) fn read(bytes: &[u8]) -> Result<Pickle<'_>, String> {
    let mut machine = Machine {
        bytes,
        at: 0,
        objects: Vec::new(),
        stack: Vec::new(),
        marks: Vec::new(),
        memo: HashMap::new(),
        storages: Vec::new(),
        copied: 0,
    };
    loop {
        let at = machine.at;
        match machine.step() {
            Ok(None) => {}
            Ok(Some(root)) => {
                let Machine { objects, storages, at: len, .. } = machine;
                return Ok(Pickle { objects, root, storages, len });
            }
            Err(reason) => return Err(format!("pickle, byte {at}: {reason}")),
        }
    }
}

struct Machine<'a> {
    bytes: &'a [u8],
    at: usize,
    objects: Vec<Object<'a>>,
    stack: Vec<Id>,
    /// Lengths of the stack at the marks.
    marks: Vec<usize>,
    memo: HashMap<u32, Id>,
    storages: Vec<Storage<'a>>,
    /// Pairs that dictionaries copied from lists.
    copied: usize,
}

impl<'a> Machine<'a> {
    /// Performs one opcode; the root after the last.
    fn step(&mut self) -> Result<Option<Id>, String> {
        match self.byte()? {
            // PROTO: opcodes tell what is needed. FRAME: its length helps readers of streams alone.
            0x80 => self.skip(1)?,
            0x95 => self.skip(8)?,
            b'(' => self.marks.push(self.stack.len()),
            b'0' => self.discard()?,
            b'1' => drop(self.pop_mark()?),
            b'2' => {
                let top = self.top()?;
                self.stack.push(top);
            }
            b'N' => self.push(Object::Plain)?,
            0x88 => self.push(Object::Truth(true))?,
            0x89 => self.push(Object::Truth(false))?,
            b'G' => self.plain(8)?,
            b'J' => {
                let value = self.little_endian(4)? as u32;
                self.push(Object::Integer((value as i32).into()))?;
            }
            b'K' => self.integer(1)?,
            b'M' => self.integer(2)?,
            0x8a => {
                let len = self.byte()?;
                self.long(len.into())?;
            }
            0x8b => {
                let len = self.len(4)?;
                self.long(len)?;
            }
            b'X' => self.text(4)?,
            0x8c => self.text(1)?,
            0x8d => self.text(8)?,
            // Texts of Python 2, which may be bytes.
            b'T' => self.old_text(4)?,
            b'U' => self.old_text(1)?,
            b'B' => self.bytes_object(4)?,
            b'C' => self.bytes_object(1)?,
            0x8e => self.bytes_object(8)?,
            b')' | b']' => self.push(Object::Sequence(Vec::new()))?,
            b't' | b'l' => {
                let items = self.pop_mark()?;
                self.push(Object::Sequence(items))?;
            }
            count @ 0x85..=0x87 => {
                let mut items = Vec::new();
                for _ in 0x84..count {
                    items.push(self.pop()?);
                }
                items.reverse();
                self.push(Object::Sequence(items))?;
            }
            b'a' => {
                let item = self.pop()?;
                self.append(&[item])?;
            }
            b'e' | 0x90 => {
                let items = self.pop_mark()?;
                self.append(&items)?;
            }
            // EMPTY_SET.
            0x8f => self.push(Object::Sequence(Vec::new()))?,
            b'}' => self.push(Object::Dict(Vec::new()))?,
            b'd' => {
                let items = self.pop_mark()?;
                self.push(Object::Dict(Vec::new()))?;
                self.insert(&items)?;
            }
            b's' => {
                let (value, key) = (self.pop()?, self.pop()?);
                self.insert(&[key, value])?;
            }
            b'u' => {
                let items = self.pop_mark()?;
                self.insert(&items)?;
            }
            b'c' => {
                let (module, name) = (self.line()?, self.line()?);
                self.push(Object::Name(Name { module, name }))?;
            }
            0x93 => self.stack_name()?,
            b'R' | 0x81 => {
                let (arguments, callable) = (self.pop()?, self.pop()?);
                self.call(callable, arguments)?;
            }
            0x92 => {
                let (_keywords, arguments, callable) = (self.pop()?, self.pop()?, self.pop()?);
                self.call(callable, arguments)?;
            }
            // BUILD sets attributes: those of a dictionary are versions of modules, and what is foreign
            // has none here.
            b'b' => self.discard()?,
            b'Q' => self.persistent()?,
            b'q' => {
                let index = self.byte()?;
                self.memorize(index.into())?;
            }
            b'r' => {
                let index = self.little_endian(4)? as u32;
                self.memorize(index)?;
            }
            0x94 => self.memorize(self.memo.len() as u32)?,
            b'h' => {
                let index = self.byte()?;
                self.recall(index.into())?;
            }
            b'j' => {
                let index = self.little_endian(4)? as u32;
                self.recall(index)?;
            }
            b'.' => return self.pop().map(Some),
            opcode => {
                return Err(format!("opcode 0x{opcode:02x}, which no state dict needs"));
            }
        }
        Ok(None)
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8], String> {
        let rest = &self.bytes[self.at..];
        let Some(taken) = rest.get(..len) else {
            return Err(format!("{} bytes are left, expected {len} more", rest.len()));
        };
        self.at += len;
        Ok(taken)
    }

    fn skip(&mut self, len: usize) -> Result<(), String> {
        self.take(len).map(|_| ())
    }

    fn byte(&mut self) -> Result<u8, String> {
        Ok(self.take(1)?[0])
    }

    /// An unsigned number of at most 8 bytes.
    fn little_endian(&mut self, len: usize) -> Result<u64, String> {
        let bytes = self.take(len)?;
        Ok(bytes.iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte)))
    }

    /// A length in `width` bytes.
    fn len(&mut self, width: usize) -> Result<usize, String> {
        let value = self.little_endian(width)?;
        usize::try_from(value).map_err(|_| format!("a length of {value}"))
    }

    fn line(&mut self) -> Result<&'a str, String> {
        let rest = &self.bytes[self.at..];
        let end = rest.iter().position(|byte| *byte == b'\n').ok_or("a name without an end")?;
        let line = self.take(end)?;
        self.at += 1;
        utf8(line)
    }

    fn push(&mut self, object: Object<'a>) -> Result<(), String> {
        if self.objects.len() >= OBJECTS_MAX {
            return Err(format!("more than {OBJECTS_MAX} objects"));
        }
        self.stack.push(Id(self.objects.len() as u32));
        self.objects.push(object);
        Ok(())
    }

    /// The top of the stack, above the last mark.
    fn top(&self) -> Result<Id, String> {
        let floor = self.marks.last().copied().unwrap_or(0);
        match self.stack.last() {
            Some(top) if self.stack.len() > floor => Ok(*top),
            _ => Err("the stack is empty".to_owned()),
        }
    }

    fn pop(&mut self) -> Result<Id, String> {
        let top = self.top()?;
        self.stack.pop();
        Ok(top)
    }

    fn discard(&mut self) -> Result<(), String> {
        self.pop().map(|_| ())
    }

    /// Everything above the last mark.
    fn pop_mark(&mut self) -> Result<Vec<Id>, String> {
        let mark = self.marks.pop().ok_or("no mark on the stack")?;
        Ok(self.stack.split_off(mark))
    }

    fn plain(&mut self, len: usize) -> Result<(), String> {
        self.take(len)?;
        self.push(Object::Plain)
    }

    fn integer(&mut self, width: usize) -> Result<(), String> {
        let value = self.little_endian(width)?;
        self.push(Object::Integer(value.into()))
    }

    /// A number in two's complement; one of more than 16 bytes says nothing about tensors.
    fn long(&mut self, len: usize) -> Result<(), String> {
        let bytes = self.take(len)?;
        let negative = bytes.last().is_some_and(|byte| byte & 0x80 != 0);
        if len > 16 {
            return self.push(Object::Plain);
        }
        let start = if negative { -1 } else { 0 };
        let value =
            bytes.iter().rev().fold(start, |value: i128, byte| value << 8 | i128::from(*byte));
        self.push(Object::Integer(value))
    }

    fn text(&mut self, width: usize) -> Result<(), String> {
        let len = self.len(width)?;
        let text = utf8(self.take(len)?)?;
        self.push(Object::Text(text))
    }

    fn old_text(&mut self, width: usize) -> Result<(), String> {
        let len = self.len(width)?;
        let bytes = self.take(len)?;
        self.push(std::str::from_utf8(bytes).map_or(Object::Plain, Object::Text))
    }

    fn bytes_object(&mut self, width: usize) -> Result<(), String> {
        let len = self.len(width)?;
        self.plain(len)
    }

    fn memorize(&mut self, index: u32) -> Result<(), String> {
        let top = self.top()?;
        self.memo.insert(index, top);
        Ok(())
    }

    fn recall(&mut self, index: u32) -> Result<(), String> {
        let id =
            *self.memo.get(&index).ok_or_else(|| format!("nothing is memorised as {index}"))?;
        self.stack.push(id);
        Ok(())
    }

    fn object(&self, id: Id) -> &Object<'a> {
        &self.objects[id.0 as usize]
    }

    /// Appends to the list on top of the stack.
    fn append(&mut self, items: &[Id]) -> Result<(), String> {
        let top = self.top()?;
        match &mut self.objects[top.0 as usize] {
            Object::Sequence(list) => list.extend_from_slice(items),
            Object::Foreign(_) => {}
            _ => return Err("found another object, expected a list to append to".to_owned()),
        }
        Ok(())
    }

    /// Inserts keys and values by turns into the dictionary on top of the stack.
    fn insert(&mut self, items: &[Id]) -> Result<(), String> {
        let (pairs, []) = items.as_chunks::<2>() else {
            return Err("a key without a value".to_owned());
        };
        let top = self.top()?;
        match &mut self.objects[top.0 as usize] {
            Object::Dict(dict) => dict.extend(pairs.iter().map(|[key, value]| (*key, *value))),
            Object::Foreign(_) => {}
            _ => return Err("found another object, expected a dictionary".to_owned()),
        }
        Ok(())
    }

    /// STACK_GLOBAL: module and name are texts on the stack.
    fn stack_name(&mut self) -> Result<(), String> {
        let (name, module) = (self.pop()?, self.pop()?);
        match (self.object(module), self.object(name)) {
            (Object::Text(module), Object::Text(name)) => {
                let name = Name { module, name };
                self.push(Object::Name(name))
            }
            _ => Err("a name that is no text".to_owned()),
        }
    }

    /// What a call would make.
    fn call(&mut self, callable: Id, arguments: Id) -> Result<(), String> {
        let name = match self.object(callable) {
            Object::Name(name) | Object::Foreign(name) => *name,
            _ => return Err("a call of something that has no name".to_owned()),
        };
        let Object::Sequence(arguments) = self.object(arguments) else {
            return Err(format!("a call of {name} without a tuple of arguments"));
        };
        let made = match Known::of(name) {
            Some(Known::Dict) => {
                let pairs = arguments.first().map_or(Ok(Vec::new()), |list| self.pairs(*list))?;
                // One list may be copied by many calls.
                self.copied += pairs.len();
                if self.copied > OBJECTS_MAX {
                    return Err(format!("more than {OBJECTS_MAX} pairs in dictionaries"));
                }
                Object::Dict(pairs)
            }
            Some(Known::Tensor) => self.tensor(arguments).map_err(|e| format!("{name}: {e}"))?,
            Some(Known::Parameter) => {
                let Some(tensor) = arguments.first() else {
                    return Err(format!("{name} without a tensor"));
                };
                let tensor = *tensor;
                self.stack.push(tensor);
                return Ok(());
            }
            None => Object::Foreign(name),
        };
        self.push(made)
    }

    /// A list of pairs.
    fn pairs(&self, list: Id) -> Result<Vec<(Id, Id)>, String> {
        let refused = || "a dictionary from something that is no list of pairs".to_owned();
        let Object::Sequence(items) = self.object(list) else { return Err(refused()) };
        let pair = |item: &Id| match self.object(*item) {
            Object::Sequence(pair) if pair.len() == 2 => Ok((pair[0], pair[1])),
            _ => Err(refused()),
        };
        items.iter().map(pair).collect()
    }

    fn tensor(&self, arguments: &[Id]) -> Result<Object<'a>, String> {
        let [storage, offset, shape, strides, ..] = arguments else {
            return Err(format!("found {} arguments, expected 4 or more", arguments.len()));
        };
        let storage = match self.object(*storage) {
            Object::Storage(storage) => *storage,
            // A type of elements that is not known.
            Object::Foreign(name) => return Ok(Object::Foreign(*name)),
            _ => return Err("the first argument is no storage".to_owned()),
        };
        let (shape, strides) = (self.sizes(*shape)?, self.sizes(*strides)?);
        if shape.len() != strides.len() {
            return Err(format!("found {} sizes and {} strides", shape.len(), strides.len()));
        }
        Ok(Object::Tensor(Tensor { storage, offset: self.size(*offset)?, shape, strides }))
    }

    fn sizes(&self, id: Id) -> Result<Vec<usize>, String> {
        match self.object(id) {
            Object::Sequence(items) if items.len() <= AXES_MAX => {
                items.iter().map(|item| self.size(*item)).collect()
            }
            _ => Err(format!("expected a tuple of at most {AXES_MAX} sizes")),
        }
    }

    fn size(&self, id: Id) -> Result<usize, String> {
        match self.object(id) {
            Object::Integer(value) => {
                usize::try_from(*value).map_err(|_| format!("found {value}, expected a size"))
            }
            _ => Err("found another object, expected a size".to_owned()),
        }
    }

    /// BINPERSID: `("storage", class, key, device, elements)`, in old files with a sixth part for a view of
    /// a storage, which is `None` since 2017.
    fn persistent(&mut self) -> Result<(), String> {
        let id = self.pop()?;
        let refused = "a reference that is no storage of torch.save";
        let Object::Sequence(parts) = self.object(id) else { return Err(refused.to_owned()) };
        let (kind, class, key, len) = match parts[..] {
            [kind, class, key, _, len] => (kind, class, key, len),
            [kind, class, key, _, len, view] if *self.object(view) == Object::Plain => {
                (kind, class, key, len)
            }
            _ => return Err(refused.to_owned()),
        };
        let (Object::Text("storage"), Object::Name(class), Object::Text(key)) =
            (self.object(kind), self.object(class), self.object(key))
        else {
            return Err(refused.to_owned());
        };
        let (class, key, len) = (*class, *key, self.size(len)?);
        let element = match class.module {
            "torch" | "torch.storage" => Element::of_storage(class.name),
            _ => None,
        };
        let Some(element) = element else { return self.push(Object::Foreign(class)) };
        let storage = Storage { element, key, len };
        self.storages.push(storage);
        self.push(Object::Storage(storage))
    }
}

fn utf8(bytes: &[u8]) -> Result<&str, String> {
    std::str::from_utf8(bytes).map_err(|_| "a text that is no UTF-8".to_owned())
}
