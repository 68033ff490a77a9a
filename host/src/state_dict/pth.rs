//! `.pth` files: a pickle of names and shapes, and the storages that it refers to.
//!
//! Since PyTorch 1.6 an uncompressed zip archive: `NAME/data.pkl`, and `NAME/data/KEY` for every
//! storage. Before that five pickles in a row (a magic number, a version, the machine, the object,
//! the storages' keys), and behind them each storage's length and elements.

use std::collections::{BTreeMap, HashMap};

use rawzip::{CompressionMethod, ZipArchive};

use super::dictionary::{Dictionary, dictionaries};
use super::entry::Place;
use super::pickle::{Made, Object, Pickle, Storage};

const MAGIC: i128 = 0x1950_a86a_20f9_469c_fc6c;
const VERSION: i128 = 1001;

/// Reads a zip archive of `torch.save`.
///
/// # Errors
/// What is wrong with it.
pub(super) fn zip(bytes: &[u8]) -> Result<Vec<Dictionary<'_>>, String> {
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
        return Err(match files.keys().find(|name| name.ends_with(".npy")) {
            Some(_) => "arrays of numpy, expected a file of torch.save or safetensors".to_owned(),
            None => "a zip archive without data.pkl, expected one of torch.save".to_owned(),
        });
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
    found(&pickle, |storage| files.get(&format!("{folder}data/{storage}")).cloned())
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
pub(super) fn legacy(bytes: &[u8]) -> Result<Vec<Dictionary<'_>>, String> {
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
    found(&object, |storage| places.get(storage).cloned())
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
    // The first of a key counts.
    let named = object.policy.storages.iter().rev().map(|storage| (storage.key, storage));
    let storages: HashMap<&str, &Storage<'_>> = named.collect();
    let mut places = BTreeMap::new();
    for item in items {
        let key = keys.text(*item).ok_or("a storage's key that is no text")?;
        let storage = storages.get(key).ok_or_else(|| format!("storage {key} is of no tensor"))?;
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

/// The dictionaries of a pickle that is no single object of another kind.
fn found<'a>(
    pickle: &Pickle<'a>,
    place: impl Fn(&str) -> Option<Place>,
) -> Result<Vec<Dictionary<'a>>, String> {
    let what = match pickle.root() {
        Object::Dict(_) | Object::List(_) | Object::Tuple(_) => {
            return dictionaries(pickle, place);
        }
        Object::Made(Made::Foreign(name)) => format!("a whole object of {name}"),
        Object::Made(Made::Tensor(_)) => "a single tensor".to_owned(),
        _ => "something else".to_owned(),
    };
    Err(format!("{what}, expected a state dict: save `model.state_dict()`"))
}
