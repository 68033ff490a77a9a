//! `.pth` files: a pickle of names and shapes, and the storages that it refers to.
//!
//! Since PyTorch 1.6 an uncompressed zip archive: `NAME/data.pkl`, and `NAME/data/KEY` for every
//! storage. Before that five pickles in a row (a magic number, a version, the machine, the object,
//! the storages' keys), and behind them each storage's length and elements.

use std::collections::BTreeMap;

use rawzip::{CompressionMethod, ZipArchive};

use super::entry::{Entry, Place};
use super::pickle::{Made, Object, Pickle, Tensor};
use crate::pickle::Id;

const MAGIC: i128 = 0x1950_a86a_20f9_469c_fc6c;
const VERSION: i128 = 1001;

/// Where a state dict is looked for in a checkpoint, in this order.
const WRAPPERS: &[&str] =
    &["state_dict", "model_state_dict", "model", "net", "network", "backbone", "encoder"];

/// Names listed in a message at most.
const SHOWN: usize = 12;

/// The tensors of a file, and what there is to say about where they were.
pub(super) type Found = (BTreeMap<String, Entry>, Vec<String>);

/// Reads a zip archive of `torch.save`.
///
/// # Errors
/// What is wrong with it.
pub(super) fn zip(bytes: &[u8], key: Option<&str>) -> Result<Found, String> {
    let Members { files, compressed } = members(bytes)?;
    let named = |end: &str| {
        let names = files.keys().filter(|name| name.rsplit('/').next() == Some(end));
        names.min_by_key(|name| name.len())
    };
    // Looked for first: the code of such a program is compressed.
    if named("constants.pkl").is_some() {
        return Err(
            "a TorchScript program, expected a state dict: save `model.state_dict()` with \
                    torch.save"
                .to_owned(),
        );
    }
    if let Some(name) = compressed {
        return Err(format!("{name} is compressed, which torch.save never does"));
    }
    let Some(name) = named("data.pkl") else {
        return Err("a zip archive without data.pkl, expected one of torch.save".to_owned());
    };
    let folder = &name[..name.len() - "data.pkl".len()];
    if let Some(order) = files.get(&format!("{folder}byteorder"))
        && &bytes[order.bytes.clone()] != b"little"
    {
        return Err("numbers in big-endian order, expected little-endian".to_owned());
    }
    let program = &files[name];
    program.check(bytes).map_err(|reason| format!("{name}: {reason}"))?;
    let pickle = Pickle::read(&bytes[program.bytes.clone()])?;
    entries(&pickle, key, |storage| files.get(&format!("{folder}data/{storage}")).cloned())
}

/// What an archive holds.
struct Members {
    /// Those that are stored as they are.
    files: BTreeMap<String, Place>,
    /// The first one that is not.
    compressed: Option<String>,
}

/// The members of an archive, whatever is in them.
fn members(bytes: &[u8]) -> Result<Members, String> {
    let damaged = |error: rawzip::Error| format!("a damaged zip archive: {error}");
    let archive = ZipArchive::from_slice(bytes).map_err(damaged)?;
    let (mut files, mut compressed) = (BTreeMap::new(), None);
    for header in archive.entries() {
        let header = header.map_err(damaged)?;
        let path = header.file_path();
        let name = std::str::from_utf8(path.as_bytes())
            .map_err(|_| "a zip archive with a name that is no UTF-8".to_owned())?;
        if header.compression_method() != CompressionMethod::STORE {
            compressed.get_or_insert_with(|| name.to_owned());
            continue;
        }
        let entry = archive.get_entry(header.wayfinder()).map_err(damaged)?;
        let (start, end) = entry.compressed_data_range();
        let place = Place { bytes: start as usize..end as usize, crc: Some(header.crc32()) };
        if files.insert(name.to_owned(), place).is_some() {
            return Err(format!("{name} is there twice"));
        }
    }
    Ok(Members { files, compressed })
}

/// Reads a file of `torch.save` from before PyTorch 1.6.
///
/// # Errors
/// What is wrong with it.
pub(super) fn legacy(bytes: &[u8], key: Option<&str>) -> Result<Found, String> {
    let mut at = 0;
    let mut next = || {
        let pickle = Pickle::read(&bytes[at..])?;
        at += pickle.len;
        Ok::<_, String>(pickle)
    };
    let (magic, version) = (next()?, next()?);
    if (magic.root(), version.root()) != (&Object::Integer(MAGIC), &Object::Integer(VERSION)) {
        return Err("a pickle of another program, expected one of torch.save".to_owned());
    }
    if !is_little_endian(&next()?) {
        return Err("numbers in big-endian order, expected little-endian".to_owned());
    }
    let (object, keys) = (next()?, next()?);
    let places = legacy_storages(bytes, at, &keys, &object)?;
    entries(&object, key, |storage| places.get(storage).cloned())
}

/// Where the storages lie: in the order of their keys, each behind its number of elements.
fn legacy_storages(
    bytes: &[u8],
    mut at: usize,
    keys: &Pickle<'_>,
    object: &Pickle<'_>,
) -> Result<BTreeMap<String, Place>, String> {
    let (Object::Tuple(items) | Object::List(items)) = keys.root() else {
        return Err("no list of storages behind the state dict".to_owned());
    };
    let mut places = BTreeMap::new();
    for item in items {
        let key = keys.text(*item).ok_or("a storage's key that is no text")?;
        let storage = object.policy.storages.iter().find(|storage| storage.key == key);
        let storage = storage.ok_or_else(|| format!("storage {key} is of no tensor"))?;
        let cut = || format!("storage {key} is cut off: the file has {} bytes", bytes.len());
        let stated = bytes.get(at..).and_then(|rest| rest.first_chunk()).ok_or_else(cut)?;
        let stated = u64::from_le_bytes(*stated);
        if usize::try_from(stated) != Ok(storage.len) {
            return Err(format!("storage {key} has {stated} elements, expected {}", storage.len));
        }
        let start = at + 8;
        let end = storage.len.checked_mul(storage.element.bytes());
        let end = end.and_then(|len| start.checked_add(len));
        let end = end.filter(|end| *end <= bytes.len()).ok_or_else(cut)?;
        places.insert(key.to_owned(), Place { bytes: start..end, crc: None });
        at = end;
    }
    Ok(places)
}

/// Whether the third pickle says that numbers are little-endian; what says nothing is.
fn is_little_endian(machine: &Pickle<'_>) -> bool {
    let Object::Dict(pairs) = machine.root() else { return true };
    let stated = pairs.iter().find(|(key, _)| machine.text(*key) == Some("little_endian"));
    !stated.is_some_and(|(_, value)| *machine.object(*value) == Object::Truth(false))
}

/// The tensors of the state dict that a pickle describes.
fn entries(
    pickle: &Pickle<'_>,
    key: Option<&str>,
    place: impl Fn(&str) -> Option<Place>,
) -> Result<Found, String> {
    let mut notices = Vec::new();
    let pairs = state_dict(pickle, key, &mut notices)?;
    let (mut entries, mut others) = (BTreeMap::new(), Vec::new());
    for (name, value) in pairs {
        let Some(name) = pickle.text(*name) else { continue };
        match pickle.object(*value) {
            Object::Made(Made::Tensor(tensor)) => {
                let entry = entry(tensor, &place).map_err(|e| format!("tensor {name}: {e}"))?;
                entries.insert(name.to_owned(), entry);
            }
            Object::Made(Made::Foreign(what)) => others.push(format!("{name} ({what})")),
            _ => others.push(name.to_owned()),
        }
    }
    if !others.is_empty() {
        notices.push(format!("left out, as they are no tensors: {}", listed(&others)));
    }
    Ok((entries, notices))
}

/// Some of `names`, and how many more there are.
fn listed(names: &[String]) -> String {
    let shown = names[..names.len().min(SHOWN)].join(", ");
    match names.len().saturating_sub(SHOWN) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

/// The dictionary of tensors: the root, or what it holds under `key` or under one of the usual
/// names.
fn state_dict<'p>(
    pickle: &'p Pickle<'_>,
    key: Option<&str>,
    notices: &mut Vec<String>,
) -> Result<&'p [(Id, Id)], String> {
    let Object::Dict(root) = pickle.root() else {
        let found = match pickle.root() {
            Object::Made(Made::Foreign(name)) => format!("a whole object of {name}"),
            Object::Made(Made::Tensor(_)) => "a single tensor".to_owned(),
            _ => "something else".to_owned(),
        };
        return Err(format!("{found}, expected a state dict: save `model.state_dict()`"));
    };
    let inner = |wanted: &str| {
        root.iter().find(|(name, _)| pickle.text(*name) == Some(wanted)).and_then(|(_, value)| {
            match pickle.object(*value) {
                Object::Dict(pairs) => Some(pairs.as_slice()),
                _ => None,
            }
        })
    };
    let names = || {
        let names: Vec<_> =
            root.iter().filter_map(|(name, _)| pickle.text(*name)).map(str::to_owned).collect();
        listed(&names)
    };
    if let Some(key) = key {
        return inner(key)
            .ok_or_else(|| format!("no dictionary `{key}`, expected one of: {}", names()));
    }
    let is_tensor =
        |(_, value): &(Id, Id)| matches!(pickle.object(*value), Object::Made(Made::Tensor(_)));
    if root.iter().any(is_tensor) {
        return Ok(root);
    }
    for wrapper in WRAPPERS {
        if let Some(pairs) = inner(wrapper).filter(|pairs| pairs.iter().any(is_tensor)) {
            notices.push(format!("the state dict is what the file holds under `{wrapper}`"));
            return Ok(pairs);
        }
    }
    Err(format!("no state dict; the file holds: {}", names()))
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
