//! Reads the pickles that arrays and lists are stored in, as data: nothing that a pickle names is looked up
//! or called.
//!
//! The part of pickle protocols 1 to 5 that Python writes for dictionaries, lists, tuples, numbers, strings and
//! numpy arrays ([`pickletools`](https://docs.python.org/3/library/pickletools.html) describes it). An object is
//! what it was to be made of: [`Node::Object`]. Strings and bytes are places in the file and are not copied.
//! Memory is bounded by [`NODES_MAX`] and the size of the file, whatever that claims, and nothing recurses.

use std::ops::Range;

/// Most values of one pickle; CIFAR-100's has about 200 000.
const NODES_MAX: usize = 4_000_000;

/// A value, by its number in the [`Pickle`].
pub(super) type Id = u32;

/// One value.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Node {
    None,
    Bool(bool),
    Int(i64),
    Float(f64),
    /// Bytes, or a string of any kind: where they lie in the file.
    Bytes(Range<usize>),
    Tuple(Vec<Id>),
    List(Vec<Id>),
    Dict(Vec<(Id, Id)>),
    /// A class or function, by module and name.
    Global(Range<usize>, Range<usize>),
    /// What calling `callable` with the tuple `arguments` would give, and the state that it would be given.
    Object {
        callable: Id,
        arguments: Id,
        state: Option<Id>,
    },
}

/// A pickle that was read.
#[derive(Debug)]
pub(super) struct Pickle<'a> {
    bytes: &'a [u8],
    nodes: Vec<Node>,
    top: Id,
}

impl<'a> Pickle<'a> {
    /// Reads one pickle.
    ///
    /// # Errors
    /// What is wrong, with its place.
    pub(super) fn read(bytes: &'a [u8]) -> Result<Self, String> {
        let mut reader = Reader {
            bytes,
            position: 0,
            nodes: Vec::new(),
            stack: Vec::new(),
            marks: Vec::new(),
            memo: Vec::new(),
        };
        loop {
            let at = reader.position;
            match reader.step() {
                Ok(None) => {}
                Ok(Some(top)) => return Ok(Self { bytes, nodes: reader.nodes, top }),
                Err(reason) => {
                    return Err(format!("not a pickle of arrays: {reason} at byte {at}"));
                }
            }
        }
    }

    /// The value itself.
    pub(super) fn top(&self) -> &Node {
        self.node(self.top)
    }

    /// A value inside it.
    pub(super) fn node(&self, id: Id) -> &Node {
        &self.nodes[id as usize]
    }

    /// The bytes of a string.
    pub(super) fn bytes(&self, place: &Range<usize>) -> &'a [u8] {
        &self.bytes[place.clone()]
    }

    /// The value of a key of the dictionary that the pickle is.
    pub(super) fn entry(&self, key: &str) -> Option<&Node> {
        let Node::Dict(entries) = self.top() else { return None };
        let found = entries.iter().rev().find(|(id, _)| self.is_text(*id, key));
        found.map(|(_, value)| self.node(*value))
    }

    /// Whether a value is this text.
    pub(super) fn is_text(&self, id: Id, text: &str) -> bool {
        matches!(self.node(id), Node::Bytes(place) if self.bytes(place) == text.as_bytes())
    }
}

struct Reader<'a> {
    bytes: &'a [u8],
    position: usize,
    nodes: Vec<Node>,
    stack: Vec<Id>,
    /// Heights of the stack at the marks.
    marks: Vec<usize>,
    memo: Vec<Option<Id>>,
}

const SHORT: &str = "the file ends in the middle";
const EMPTY: &str = "a value is missing";

type Step<T> = Result<T, String>;

impl Reader<'_> {
    /// One operation; the value at the last one.
    fn step(&mut self) -> Step<Option<Id>> {
        let operation = self.take(1)?[0];
        match operation {
            b'.' => return self.pop().map(Some),
            // Protocol and frames: nothing depends on them.
            0x80 => drop(self.take(1)?),
            0x95 => drop(self.take(8)?),
            b'(' => {
                self.limit(self.marks.len())?;
                self.marks.push(self.stack.len());
            }
            b'0' => drop(self.pop()?),
            b'1' => drop(self.since_mark()?),
            b'2' => {
                let top = self.top()?;
                self.push_id(top)?;
            }
            b'q' | b'r' | 0x94 => self.memoize(operation)?,
            b'h' | b'j' => self.recall(operation)?,
            b'N' => self.push(Node::None)?,
            0x88 | 0x89 => self.push(Node::Bool(operation == 0x88))?,
            b'J' => {
                let value = i32::from_le_bytes(self.array()?);
                self.push(Node::Int(value.into()))?;
            }
            b'K' => {
                let value = self.take(1)?[0];
                self.push(Node::Int(value.into()))?;
            }
            b'M' => {
                let value = u16::from_le_bytes(self.array()?);
                self.push(Node::Int(value.into()))?;
            }
            0x8A => self.long()?,
            b'G' => {
                let value = f64::from_be_bytes(self.array()?);
                self.push(Node::Float(value))?;
            }
            b'U' | b'C' | 0x8C => self.string(1)?,
            b'T' | b'B' | b'X' => self.string(4)?,
            0x8D | 0x8E | 0x96 => self.string(8)?,
            b')' => self.push(Node::Tuple(Vec::new()))?,
            0x85..=0x87 => {
                let count = usize::from(operation - 0x84);
                let from = self.stack.len().checked_sub(count).ok_or(EMPTY)?;
                let items = self.stack.split_off(from);
                self.push(Node::Tuple(items))?;
            }
            b't' => {
                let items = self.since_mark()?;
                self.push(Node::Tuple(items))?;
            }
            b']' => self.push(Node::List(Vec::new()))?,
            b'l' => {
                let items = self.since_mark()?;
                self.push(Node::List(items))?;
            }
            b'a' => {
                let item = self.pop()?;
                self.append(vec![item])?;
            }
            b'e' => {
                let items = self.since_mark()?;
                self.append(items)?;
            }
            b'}' => self.push(Node::Dict(Vec::new()))?,
            b'd' => {
                let items = self.since_mark()?;
                self.push(Node::Dict(Vec::new()))?;
                self.insert(&items)?;
            }
            b's' => {
                let (value, key) = (self.pop()?, self.pop()?);
                self.insert(&[key, value])?;
            }
            b'u' => {
                let items = self.since_mark()?;
                self.insert(&items)?;
            }
            b'c' => {
                let (module, name) = (self.line()?, self.line()?);
                self.push(Node::Global(module, name))?;
            }
            0x93 => {
                let (name, module) = (self.pop()?, self.pop()?);
                let node = |id: Id| self.nodes[id as usize].clone();
                let (Node::Bytes(module), Node::Bytes(name)) = (node(module), node(name)) else {
                    return Err("a global without a name".into());
                };
                self.push(Node::Global(module, name))?;
            }
            b'R' => {
                let (arguments, callable) = (self.pop()?, self.pop()?);
                self.push(Node::Object { callable, arguments, state: None })?;
            }
            b'b' => {
                let given = self.pop()?;
                let top = self.top()?;
                match &mut self.nodes[top as usize] {
                    Node::Object { state, .. } => *state = Some(given),
                    _ => return Err("a state for what is no object".into()),
                }
            }
            _ => return Err(format!("operation {operation:#04x} is not expected here")),
        }
        Ok(None)
    }

    fn take(&mut self, count: usize) -> Step<&[u8]> {
        let end = self.position.checked_add(count).ok_or(SHORT)?;
        let taken = self.bytes.get(self.position..end).ok_or(SHORT)?;
        self.position = end;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Step<[u8; N]> {
        Ok(self.take(N)?.try_into().expect("as many bytes as taken"))
    }

    /// A length of 1, 4 or 8 bytes, little endian.
    fn length(&mut self, bytes: usize) -> Step<usize> {
        let mut value = [0; 8];
        value[..bytes].copy_from_slice(self.take(bytes)?);
        usize::try_from(u64::from_le_bytes(value)).map_err(|_| SHORT.into())
    }

    fn string(&mut self, length_bytes: usize) -> Step<()> {
        let length = self.length(length_bytes)?;
        let start = self.position;
        self.take(length)?;
        self.push(Node::Bytes(start..self.position))
    }

    /// The rest of the line, without its end.
    fn line(&mut self) -> Step<Range<usize>> {
        let start = self.position;
        let length = self.bytes[start..].iter().position(|&byte| byte == b'\n').ok_or(SHORT)?;
        self.position += length + 1;
        Ok(start..start + length)
    }

    /// An integer of as many bytes as the first one says, two's complement.
    fn long(&mut self) -> Step<()> {
        let length = self.length(1)?;
        let digits = self.take(length)?;
        if length > 8 {
            return Err("an integer of more than 64 bits".into());
        }
        let negative = digits.last().is_some_and(|&byte| byte >= 0x80);
        let mut value = [if negative { 0xFF } else { 0 }; 8];
        value[..length].copy_from_slice(digits);
        self.push(Node::Int(i64::from_le_bytes(value)))
    }

    fn limit(&self, length: usize) -> Step<()> {
        if length < NODES_MAX {
            return Ok(());
        }
        Err(format!("more than {NODES_MAX} values"))
    }

    fn push_id(&mut self, id: Id) -> Step<()> {
        self.limit(self.stack.len())?;
        self.stack.push(id);
        Ok(())
    }

    fn push(&mut self, node: Node) -> Step<()> {
        self.limit(self.nodes.len())?;
        let id = self.nodes.len() as Id;
        self.nodes.push(node);
        self.push_id(id)
    }

    fn top(&self) -> Step<Id> {
        let bottom = self.marks.last().copied().unwrap_or(0);
        if self.stack.len() <= bottom {
            return Err(EMPTY.into());
        }
        Ok(self.stack[self.stack.len() - 1])
    }

    fn pop(&mut self) -> Step<Id> {
        let top = self.top()?;
        self.stack.pop();
        Ok(top)
    }

    fn since_mark(&mut self) -> Step<Vec<Id>> {
        let mark = self.marks.pop().ok_or("a mark is missing")?;
        if mark > self.stack.len() {
            return Err(EMPTY.into());
        }
        Ok(self.stack.split_off(mark))
    }

    fn memoize(&mut self, operation: u8) -> Step<()> {
        let place = match operation {
            b'q' => self.length(1)?,
            b'r' => self.length(4)?,
            _ => self.memo.len(),
        };
        self.limit(place)?;
        let top = self.top()?;
        if place >= self.memo.len() {
            self.memo.resize(place + 1, None);
        }
        self.memo[place] = Some(top);
        Ok(())
    }

    fn recall(&mut self, operation: u8) -> Step<()> {
        let place = self.length(if operation == b'h' { 1 } else { 4 })?;
        let id = self.memo.get(place).copied().flatten();
        self.push_id(id.ok_or("a value that was not stored")?)
    }

    fn append(&mut self, items: Vec<Id>) -> Step<()> {
        let top = self.top()?;
        match &mut self.nodes[top as usize] {
            Node::List(list) => list.extend(items),
            _ => return Err("items for what is no list".into()),
        }
        Ok(())
    }

    fn insert(&mut self, items: &[Id]) -> Step<()> {
        let top = self.top()?;
        let pairs = items.chunks_exact(2);
        if !pairs.remainder().is_empty() {
            return Err("a key without a value".into());
        }
        match &mut self.nodes[top as usize] {
            Node::Dict(entries) => entries.extend(pairs.map(|pair| (pair[0], pair[1]))),
            _ => return Err("entries for what is no dictionary".into()),
        }
        Ok(())
    }
}
