//! Files as `torch.save` writes them, made in memory: any nesting of dictionaries, lists, tensors
//! and foreign objects.

use std::collections::HashMap;
use std::rc::Rc;

/// What a checkpoint is made of.
#[derive(Clone, Debug)]
pub(crate) enum Value {
    None,
    Integer(i32),
    Text(String),
    Tensor(Tensor),
    /// A plain dictionary.
    Dict(Vec<(Value, Value)>),
    /// An `OrderedDict`, as `state_dict()` gives it.
    Ordered(Vec<(Value, Value)>),
    List(Vec<Value>),
    /// An object of a class: `NEWOBJ` and its state by `BUILD`.
    Object(&'static str, &'static str, Vec<(Value, Value)>),
}

/// A contiguous tensor. Clones share their storage in a file, as parameters of one module do.
#[derive(Clone, Debug)]
pub(crate) struct Tensor {
    pub(crate) shape: Vec<usize>,
    pub(crate) elements: Rc<Elements>,
}

/// Elements of a storage.
#[derive(Clone, Debug)]
pub(crate) enum Elements {
    F32(Vec<f32>),
    I64(Vec<i64>),
    /// Pairs of real and imaginary parts.
    C64(Vec<[f32; 2]>),
}

impl Elements {
    fn class(&self) -> &'static str {
        match self {
            Self::F32(_) => "FloatStorage",
            Self::I64(_) => "LongStorage",
            Self::C64(_) => "ComplexFloatStorage",
        }
    }

    fn len(&self) -> usize {
        match self {
            Self::F32(values) => values.len(),
            Self::I64(values) => values.len(),
            Self::C64(values) => values.len(),
        }
    }

    fn bytes(&self) -> Vec<u8> {
        match self {
            Self::F32(values) => values.iter().flat_map(|value| value.to_le_bytes()).collect(),
            Self::I64(values) => values.iter().flat_map(|value| value.to_le_bytes()).collect(),
            Self::C64(values) => values.iter().flatten().flat_map(|it| it.to_le_bytes()).collect(),
        }
    }
}

pub(crate) fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}

pub(crate) fn floats(shape: &[usize], values: Vec<f32>) -> Value {
    assert_eq!(shape.iter().product::<usize>(), values.len());
    Value::Tensor(Tensor { shape: shape.to_vec(), elements: Rc::new(Elements::F32(values)) })
}

/// A number as a tensor without axes.
pub(crate) fn count(value: i64) -> Value {
    Value::Tensor(Tensor { shape: Vec::new(), elements: Rc::new(Elements::I64(vec![value])) })
}

/// A complex number.
pub(crate) fn complex() -> Value {
    let elements = Rc::new(Elements::C64(vec![[1.0, 2.0]]));
    Value::Tensor(Tensor { shape: vec![1], elements })
}

/// A plain dictionary with texts as keys.
pub(crate) fn dict<const N: usize>(pairs: [(&str, Value); N]) -> Value {
    Value::Dict(pairs.into_iter().map(|(key, value)| (text(key), value)).collect())
}

/// A pickle of protocol 2, and the storages that it refers to.
struct Pickler {
    bytes: Vec<u8>,
    storages: Vec<Rc<Elements>>,
    keys: HashMap<*const Elements, usize>,
}

impl Pickler {
    fn of(root: &Value) -> Self {
        let mut own = Self { bytes: vec![0x80, 2], storages: Vec::new(), keys: HashMap::new() };
        own.value(root);
        own.bytes.push(b'.');
        own
    }

    fn value(&mut self, value: &Value) {
        match value {
            Value::None => self.bytes.push(b'N'),
            Value::Integer(number) => self.integer(*number),
            Value::Text(text) => self.text(text),
            Value::Tensor(tensor) => self.tensor(tensor),
            Value::Dict(pairs) => {
                self.bytes.push(b'}');
                self.pairs(pairs);
            }
            Value::Ordered(pairs) => {
                self.name("collections", "OrderedDict");
                self.bytes.extend(b")R");
                self.pairs(pairs);
            }
            Value::List(items) => {
                self.bytes.extend(b"](");
                items.iter().for_each(|item| self.value(item));
                self.bytes.push(b'e');
            }
            Value::Object(module, name, state) => {
                self.name(module, name);
                self.bytes.extend(b")\x81}");
                self.pairs(state);
                self.bytes.push(b'b');
            }
        }
    }

    fn pairs(&mut self, pairs: &[(Value, Value)]) {
        self.bytes.push(b'(');
        for (key, value) in pairs {
            self.value(key);
            self.value(value);
        }
        self.bytes.push(b'u');
    }

    fn integer(&mut self, number: i32) {
        self.bytes.push(b'J');
        self.bytes.extend(number.to_le_bytes());
    }

    fn text(&mut self, text: &str) {
        self.bytes.push(b'X');
        self.bytes.extend((text.len() as u32).to_le_bytes());
        self.bytes.extend(text.as_bytes());
    }

    fn name(&mut self, module: &str, name: &str) {
        self.bytes.extend(format!("c{module}\n{name}\n").bytes());
    }

    fn sizes(&mut self, sizes: &[usize]) {
        self.bytes.push(b'(');
        sizes.iter().for_each(|size| self.integer(*size as i32));
        self.bytes.push(b't');
    }

    /// `_rebuild_tensor_v2(storage, offset, shape, strides, requires_grad, hooks)`.
    fn tensor(&mut self, tensor: &Tensor) {
        let Tensor { shape, elements } = tensor;
        let next = self.storages.len();
        let key = *self.keys.entry(Rc::as_ptr(elements)).or_insert(next);
        if key == next {
            self.storages.push(elements.clone());
        }
        let mut strides = vec![1; shape.len()];
        for axis in (1..shape.len()).rev() {
            strides[axis - 1] = strides[axis] * shape[axis];
        }
        self.name("torch._utils", "_rebuild_tensor_v2");
        self.bytes.extend(b"((");
        self.text("storage");
        self.name("torch", elements.class());
        self.text(&key.to_string());
        self.text("cpu");
        self.integer(elements.len() as i32);
        self.bytes.extend(b"tQ");
        self.integer(0);
        self.sizes(shape);
        self.sizes(&strides);
        self.bytes.push(0x89);
        self.name("collections", "OrderedDict");
        self.bytes.extend(b")RtR");
    }
}

/// The archive that PyTorch writes since 1.6.
pub(crate) fn zip_file(root: &Value) -> Vec<u8> {
    let Pickler { bytes, storages, .. } = Pickler::of(root);
    let storages = storages.iter().enumerate();
    let storages = storages.map(|(key, storage)| (format!("data/{key}"), storage.bytes()));
    archive([("data.pkl".to_owned(), bytes)].into_iter().chain(storages))
}

/// A zip archive whose members are stored as they are, in a folder.
pub(crate) fn archive(members: impl Iterator<Item = (String, Vec<u8>)>) -> Vec<u8> {
    let (mut file, mut directory, mut count) = (Vec::new(), Vec::new(), 0u16);
    for (name, content) in members {
        let name = format!("archive/{name}");
        // What both headers share: version, flags, method, time, date; checksum, lengths.
        let mut about = vec![0; 10];
        about.extend(crc32(&content).to_le_bytes());
        about.extend([(content.len() as u32).to_le_bytes(); 2].concat());
        about.extend((name.len() as u16).to_le_bytes());
        about.extend([0; 2]);
        let offset = file.len() as u32;
        file.extend([b"PK\x03\x04".as_slice(), &about, name.as_bytes(), &content].concat());
        directory.extend([b"PK\x01\x02\0\0".as_slice(), &about, &[0; 10]].concat());
        directory.extend(offset.to_le_bytes());
        directory.extend(name.as_bytes());
        count += 1;
    }
    let (start, len) = (file.len() as u32, directory.len() as u32);
    file.extend(directory);
    file.extend(b"PK\x05\x06\x00\x00\x00\x00");
    file.extend([count.to_le_bytes(); 2].concat());
    file.extend(len.to_le_bytes());
    file.extend(start.to_le_bytes());
    file.extend(0u16.to_le_bytes());
    file
}

/// The five pickles and the storages of PyTorch before 1.6.
pub(crate) fn legacy_file(root: &Value) -> Vec<u8> {
    let Pickler { bytes, storages, .. } = Pickler::of(root);
    let mut magic = b"\x80\x02\x8a\x0a".to_vec();
    magic.extend(0x1950_a86a_20f9_469c_fc6c_u128.to_le_bytes()[..10].iter());
    let keys = (0..storages.len()).map(|key| text(&key.to_string())).collect();
    let mut file = [magic.as_slice(), b".\x80\x02M\xe9\x03.\x80\x02}.", &bytes].concat();
    file.extend(Pickler::of(&Value::List(keys)).bytes);
    for storage in storages {
        file.extend((storage.len() as u64).to_le_bytes());
        file.extend(storage.bytes());
    }
    file
}

/// The checksum of zip archives.
fn crc32(bytes: &[u8]) -> u32 {
    let step = |crc: u32| if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 };
    !bytes.iter().fold(!0, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), |crc, _| step(crc)))
}
