//! The stack machine.

use std::collections::HashMap;
use std::ops::Range;

use super::object::{Id, Name, Object, Objects};
use super::policy::{Called, Kind, Policy, Refusal};

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
        let mut machine = Machine {
            at: 0,
            objects: Objects { bytes, objects: Vec::new() },
            stack: Vec::new(),
            marks: Vec::new(),
            memo: HashMap::new(),
            policy: P::default(),
        };
        loop {
            let at = machine.at;
            match machine.step() {
                Ok(None) => {}
                Ok(Some(root)) => {
                    let Machine { objects, policy, at: len, .. } = machine;
                    return Ok(Pickle { objects, root, policy, len });
                }
                Err(reason) => return Err(P::located(&reason, at)),
            }
        }
    }

    /// Where the object is that the pickle describes.
    pub(crate) fn root_id(&self) -> Id {
        self.root
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

struct Machine<'a, P: Policy<'a>> {
    at: usize,
    objects: Objects<'a, P::Made>,
    stack: Vec<Id>,
    /// Lengths of the stack at the marks.
    marks: Vec<usize>,
    memo: HashMap<u32, Id>,
    policy: P,
}

impl<'a, P: Policy<'a>> Machine<'a, P> {
    /// Performs one opcode; the root after the last.
    fn step(&mut self) -> Result<Option<Id>, String> {
        let opcode = self.byte()?;
        if P::UNKNOWN.contains(&opcode) {
            return Err(P::words(Refusal::Opcode(opcode)));
        }
        match opcode {
            // PROTO: opcodes tell what is needed. FRAME: its length helps readers of streams alone.
            0x80 => {
                self.take(1)?;
            }
            0x95 => {
                self.take(8)?;
            }
            b'(' => {
                Self::limit(self.marks.len())?;
                self.marks.push(self.stack.len());
            }
            b'0' => drop(self.pop()?),
            b'1' => drop(self.pop_mark()?),
            b'2' => {
                let top = self.top()?;
                self.push_id(top)?;
            }
            b'N' => self.push(Object::Plain)?,
            0x88 | 0x89 => self.push(Object::Truth(opcode == 0x88))?,
            b'G' => {
                self.take(8)?;
                self.push(Object::Plain)?;
            }
            b'J' => {
                let value = self.little_endian(4)? as u32;
                self.push(Object::Integer((value as i32).into()))?;
            }
            b'K' => self.integer(1)?,
            b'M' => self.integer(2)?,
            0x8a => self.long(1)?,
            0x8b => self.long(4)?,
            b'X' => self.string(4, Kind::Text)?,
            0x8c => self.string(1, Kind::Text)?,
            0x8d => self.string(8, Kind::Text)?,
            b'T' => self.string(4, Kind::Python2)?,
            b'U' => self.string(1, Kind::Python2)?,
            b'B' => self.string(4, Kind::Bytes)?,
            b'C' => self.string(1, Kind::Bytes)?,
            0x8e | 0x96 => self.string(8, Kind::Bytes)?,
            b')' => self.push(Object::Tuple(Vec::new()))?,
            0x85..=0x87 => {
                let mut items = Vec::new();
                for _ in 0x84..opcode {
                    items.push(self.pop()?);
                }
                items.reverse();
                self.push(Object::Tuple(items))?;
            }
            b't' => {
                let items = self.pop_mark()?;
                self.push(Object::Tuple(items))?;
            }
            // A set is read as the list of its items.
            b']' | 0x8f => self.push(Object::List(Vec::new()))?,
            b'l' => {
                let items = self.pop_mark()?;
                self.push(Object::List(items))?;
            }
            b'a' => {
                let item = self.pop()?;
                self.append(&[item])?;
            }
            b'e' | 0x90 => {
                let items = self.pop_mark()?;
                self.append(&items)?;
            }
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
            0x93 => {
                let (name, module) = (self.pop()?, self.pop()?);
                let (Some(module), Some(name)) =
                    (self.objects.text(module), self.objects.text(name))
                else {
                    return Err(P::words(Refusal::Nameless));
                };
                self.push(Object::Name(Name { module, name }))?;
            }
            b'R' | 0x81 => {
                let (arguments, callable) = (self.pop()?, self.pop()?);
                self.call(callable, arguments)?;
            }
            0x92 => {
                let (_keywords, arguments, callable) = (self.pop()?, self.pop()?, self.pop()?);
                self.call(callable, arguments)?;
            }
            b'b' => {
                let state = self.pop()?;
                let top = self.top()?;
                P::build(&mut self.objects.objects[top.0 as usize], state)?;
            }
            b'Q' => {
                let id = self.pop()?;
                let made = self.policy.reference(&self.objects, id)?;
                self.push(Object::Made(made))?;
            }
            b'q' => self.memorize(1)?,
            b'r' => self.memorize(4)?,
            0x94 => self.memorize_as(self.memo.len() as u32)?,
            b'h' => self.recall(1)?,
            b'j' => self.recall(4)?,
            b'.' => return self.pop().map(Some),
            _ => return Err(P::words(Refusal::Opcode(opcode))),
        }
        Ok(None)
    }

    /// The next `len` bytes: where they lie.
    fn take(&mut self, len: u64) -> Result<Range<usize>, String> {
        let left = self.objects.bytes.len() - self.at;
        match usize::try_from(len) {
            Ok(taken) if taken <= left => {
                self.at += taken;
                Ok(self.at - taken..self.at)
            }
            _ => Err(P::words(Refusal::End { left, expected: len })),
        }
    }

    fn byte(&mut self) -> Result<u8, String> {
        Ok(self.little_endian(1)? as u8)
    }

    /// An unsigned number of at most 8 bytes.
    fn little_endian(&mut self, len: u64) -> Result<u64, String> {
        let place = self.take(len)?;
        let bytes = self.objects.bytes[place].iter().rev();
        Ok(bytes.fold(0, |value, byte| value << 8 | u64::from(*byte)))
    }

    /// The rest of the line, without its end.
    fn line(&mut self) -> Result<&'a str, String> {
        let bytes = self.objects.bytes;
        let end = bytes[self.at..].iter().position(|byte| *byte == b'\n');
        let place = self.take(end.ok_or_else(|| P::words(Refusal::EndOfName))? as u64)?;
        self.at += 1;
        std::str::from_utf8(&bytes[place]).map_err(|_| "a text that is no UTF-8".to_owned())
    }

    fn integer(&mut self, width: u64) -> Result<(), String> {
        let value = self.little_endian(width)?;
        self.push(Object::Integer(value.into()))
    }

    /// A number in two's complement, behind its length in `width` bytes.
    fn long(&mut self, width: u64) -> Result<(), String> {
        let len = self.little_endian(width)?;
        let place = self.take(len)?;
        if !P::keeps_integer(place.len())? {
            return self.push(Object::Plain);
        }
        let digits = &self.objects.bytes[place];
        let start = if digits.last().is_some_and(|byte| byte & 0x80 != 0) { -1 } else { 0 };
        let value = digits.iter().rev().fold(start, |value: i128, d| value << 8 | i128::from(*d));
        self.push(Object::Integer(value))
    }

    /// A string, behind its length in `width` bytes.
    fn string(&mut self, width: u64, kind: Kind) -> Result<(), String> {
        let len = self.little_endian(width)?;
        let place = self.take(len)?;
        let is_kept = P::keeps(kind, &self.objects.bytes[place.clone()])?;
        self.push(if is_kept { Object::Bytes(place) } else { Object::Plain })
    }

    fn limit(count: usize) -> Result<(), String> {
        if count < P::STACK_MAX { Ok(()) } else { Err(P::words(Refusal::TooMany)) }
    }

    fn push_id(&mut self, id: Id) -> Result<(), String> {
        Self::limit(self.stack.len())?;
        self.stack.push(id);
        Ok(())
    }

    fn push(&mut self, object: Object<'a, P::Made>) -> Result<(), String> {
        let objects = &mut self.objects.objects;
        if objects.len() >= P::OBJECTS_MAX {
            return Err(P::words(Refusal::TooMany));
        }
        let id = Id(objects.len() as u32);
        objects.push(object);
        self.push_id(id)
    }

    /// The top of the stack, above the last mark.
    fn top(&self) -> Result<Id, String> {
        let floor = self.marks.last().copied().unwrap_or(0);
        match self.stack.last() {
            Some(top) if self.stack.len() > floor => Ok(*top),
            _ => Err(P::words(Refusal::Empty)),
        }
    }

    fn pop(&mut self) -> Result<Id, String> {
        let top = self.top()?;
        self.stack.pop();
        Ok(top)
    }

    /// Everything above the last mark.
    fn pop_mark(&mut self) -> Result<Vec<Id>, String> {
        let mark = self.marks.pop().ok_or_else(|| P::words(Refusal::NoMark))?;
        Ok(self.stack.split_off(mark))
    }

    /// Stores the top of the stack under a number of `width` bytes.
    fn memorize(&mut self, width: u64) -> Result<(), String> {
        let index = self.little_endian(width)? as u32;
        self.memorize_as(index)
    }

    fn memorize_as(&mut self, index: u32) -> Result<(), String> {
        Self::limit(index as usize)?;
        let top = self.top()?;
        self.memo.insert(index, top);
        Ok(())
    }

    fn recall(&mut self, width: u64) -> Result<(), String> {
        let index = self.little_endian(width)? as u32;
        let id = self.memo.get(&index).copied();
        self.push_id(id.ok_or_else(|| P::words(Refusal::NotStored(index)))?)
    }

    /// Appends to the list on top of the stack.
    fn append(&mut self, items: &[Id]) -> Result<(), String> {
        let top = self.top()?;
        match &mut self.objects.objects[top.0 as usize] {
            Object::List(list) => list.extend_from_slice(items),
            Object::Made(made) if P::swallows(made) => {}
            _ => return Err(P::words(Refusal::NoList)),
        }
        Ok(())
    }

    /// Inserts keys and values by turns into the dictionary on top of the stack.
    fn insert(&mut self, items: &[Id]) -> Result<(), String> {
        let (pairs, []) = items.as_chunks::<2>() else {
            return Err("a key without a value".to_owned());
        };
        let top = self.top()?;
        match &mut self.objects.objects[top.0 as usize] {
            Object::Dict(dict) => dict.extend(pairs.iter().map(|[key, value]| (*key, *value))),
            Object::Made(made) if P::swallows(made) => {}
            _ => return Err(P::words(Refusal::NoDict)),
        }
        Ok(())
    }

    fn call(&mut self, callable: Id, arguments: Id) -> Result<(), String> {
        match self.policy.call(&self.objects, callable, arguments)? {
            Called::New(object) => self.push(object),
            Called::Same(id) => self.push_id(id),
        }
    }
}
