//! The dictionaries of tensors in a file.

use std::borrow::Cow;
use std::collections::hash_map::Entry::{Occupied, Vacant};
use std::collections::{BTreeMap, HashMap, VecDeque};

use super::element::Element;
use super::entry::{Entry, Place};
use super::pickle::{Made, Object, Pickle, Tensor};
use super::words::shown;
use crate::pickle::{Id, Name};

/// Steps from the root at most.
const DEPTH_MAX: usize = 8;

/// Tensors of one file at most. A pickle can name one tensor as often as it has bytes.
const TENSORS_MAX: usize = 1 << 17;

/// Other ways to a dictionary that are kept.
const ALIASES_MAX: usize = 4;

/// Keys from the root to a dictionary, or a key in it.
pub(super) type Path<'a> = Vec<Cow<'a, str>>;

/// Tensors by name, somewhere in a file.
#[derive(Clone, Debug)]
pub struct Dictionary<'a> {
    /// The keys that lead to it; none for the file itself.
    pub(super) path: Path<'a>,
    /// Other keys that lead to the same.
    pub(super) aliases: Vec<Path<'a>>,
    pub(super) tensors: BTreeMap<Cow<'a, str>, Entry>,
    /// What is no tensor, and of what class it is where the file says so.
    pub(super) others: Vec<(Cow<'a, str>, Option<Class<'a>>)>,
}

/// What an object is that is no tensor.
#[derive(Clone, Debug)]
pub(super) enum Class<'a> {
    /// A class of Python.
    Python(Name<'a>),
    /// A type of elements that is not read.
    Elements(String),
}

impl std::fmt::Display for Class<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Python(Name { module, name }) => write!(f, "{}.{}", shown(module), shown(name)),
            Self::Elements(name) => f.write_str(name),
        }
    }
}

impl<'a> Dictionary<'a> {
    pub(super) fn new(path: Path<'a>) -> Self {
        Self { path, aliases: Vec::new(), tensors: BTreeMap::new(), others: Vec::new() }
    }

    /// The keys that lead to it, joined by dots; empty for the file itself.
    pub fn location(&self) -> String {
        self.path.join(".")
    }

    /// The keys that lead to it.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.path.iter().map(|key| &**key)
    }

    /// The tensors' names, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(|name| &**name)
    }

    /// The shape of a tensor.
    pub fn shape(&self, name: &str) -> Option<&[usize]> {
        self.tensors.get(name).map(|entry| entry.shape.as_slice())
    }

    /// The type of a tensor's elements, as safetensors calls it.
    pub fn element(&self, name: &str) -> Option<String> {
        self.tensors.get(name).map(|entry| entry.element.to_string())
    }

    /// Whether a tensor has other elements than floats, as no parameter has.
    pub(crate) fn is_no_float(&self, name: &str) -> bool {
        let element = self.tensors.get(name).map(|entry| entry.element);
        matches!(element, Some(Element::Other { .. }))
    }

    /// What is no tensor: names, and their classes where the file says them.
    pub fn others(&self) -> impl Iterator<Item = (&str, Option<String>)> {
        self.others.iter().map(|(name, class)| (&**name, class.as_ref().map(ToString::to_string)))
    }

    /// Whether both names stand for the same elements of the file.
    pub(crate) fn shares(&self, name: &str, other: &Self, others_name: &str) -> bool {
        let pair = (self.tensors.get(name), other.tensors.get(others_name));
        matches!(pair, (Some(own), Some(others)) if own == others)
    }

    /// Whether `key` leads here or to what holds it: all keys from the root, or a single one of
    /// them.
    pub(super) fn is_under(&self, key: &str) -> bool {
        let leads = |path: &Path<'_>| {
            let joined = path.join(".");
            let rest = joined.strip_prefix(key);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
                || path.iter().any(|part| part == key)
        };
        leads(&self.path) || self.aliases.iter().any(leads)
    }
}

/// The root, and every dictionary or list below it that has tensors, nearest first.
///
/// # Errors
/// A tensor's storage is not in the file; there are too many tensors.
pub(super) fn dictionaries<'a>(
    pickle: &Pickle<'a>,
    place: impl Fn(&str) -> Option<Place>,
) -> Result<Vec<Dictionary<'a>>, String> {
    let mut found: Vec<Dictionary<'a>> = Vec::new();
    // Objects may refer to each other in circles: each is looked at once.
    let mut ways: HashMap<Id, Vec<Path<'a>>> = HashMap::new();
    let mut waiting = VecDeque::from([(pickle.root_id(), Path::new())]);
    ways.insert(pickle.root_id(), Vec::new());
    let mut order = Vec::new();
    let mut count = 0;
    while let Some((id, path)) = waiting.pop_front() {
        let mut dictionary = Dictionary::new(path);
        for (name, value) in items(pickle, id) {
            let class = match pickle.object(value) {
                Object::Made(Made::Tensor(tensor)) => {
                    count += 1;
                    if count > TENSORS_MAX {
                        return Err(format!("more than {TENSORS_MAX} tensors"));
                    }
                    let entry = entry(tensor, &place)
                        .map_err(|reason| format!("tensor {}: {reason}", shown(&name)))?;
                    dictionary.tensors.insert(name, entry);
                    continue;
                }
                Object::Dict(_) | Object::List(_) | Object::Tuple(_) => {
                    if dictionary.path.len() < DEPTH_MAX {
                        let keys = dictionary.path.iter().chain([&name]);
                        follow(&mut ways, &mut waiting, value, || keys.cloned().collect());
                    }
                    None
                }
                Object::Made(Made::Foreign(class)) => Some(Class::Python(*class)),
                _ => None,
            };
            dictionary.others.push((name, class));
        }
        if found.is_empty() || !dictionary.tensors.is_empty() {
            found.push(dictionary);
            order.push(id);
        }
    }
    for (dictionary, id) in found.iter_mut().zip(order) {
        dictionary.aliases = ways.remove(&id).unwrap_or_default();
    }
    Ok(found)
}

/// Has `id` looked at later, or keeps the way to what already waits or was looked at.
fn follow<'a>(
    ways: &mut HashMap<Id, Vec<Path<'a>>>,
    waiting: &mut VecDeque<(Id, Path<'a>)>,
    id: Id,
    path: impl FnOnce() -> Path<'a>,
) {
    match ways.entry(id) {
        Occupied(mut known) if known.get().len() < ALIASES_MAX => known.get_mut().push(path()),
        Occupied(_) => {}
        Vacant(new) => {
            new.insert(Vec::new());
            waiting.push_back((id, path()));
        }
    }
}

/// Names and values of a dictionary or a list; a list's names are its places.
fn items<'a>(pickle: &Pickle<'a>, id: Id) -> Vec<(Cow<'a, str>, Id)> {
    match pickle.object(id) {
        Object::Dict(pairs) => {
            let name = |key: Id| match pickle.object(key) {
                Object::Integer(number) => Some(Cow::Owned(number.to_string())),
                _ => pickle.text(key).map(Cow::Borrowed),
            };
            pairs.iter().filter_map(|(key, value)| Some((name(*key)?, *value))).collect()
        }
        Object::List(items) | Object::Tuple(items) => {
            let places = items.iter().enumerate();
            places.map(|(place, value)| (Cow::Owned(place.to_string()), *value)).collect()
        }
        _ => Vec::new(),
    }
}

fn entry(tensor: &Tensor<'_>, place: impl Fn(&str) -> Option<Place>) -> Result<Entry, String> {
    let Tensor { storage, offset, shape, strides } = tensor;
    let found = place(storage.key).ok_or_else(|| format!("storage {} is missing", storage.key))?;
    Ok(Entry {
        element: storage.element,
        storage: found,
        offset: *offset,
        shape: shape.clone(),
        strides: strides.clone(),
    })
}
