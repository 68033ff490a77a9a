//! A file system that fails, for tests.
//!
//! Files and folders are kept in two versions: as processes see them, and as they would be found
//! after a power cut. Synchronising a file copies its content to the second version, synchronising
//! a folder copies its names. What was not synchronised survives a power cut partially: any part of
//! a file, and any of the changes of a folder.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs::TryLockError;
use std::io::{Error, ErrorKind, Result};
use std::path::{Component, Path};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::SystemTime;

use bissl_core::{Draws, Stream};

use super::disk::{Disk, Lock};

/// The faults and their frequencies.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Faults {
    /// Operations until the power is cut.
    pub(super) power_cut: Option<u32>,
    /// Probability that an operation fails without a reason.
    pub(super) error: f32,
    /// Probability that a file is silently written with one bit changed.
    pub(super) flip: f32,
    /// Bytes of free space.
    pub(super) space: Option<usize>,
}

/// The file system; clones share it.
#[derive(Clone, Debug)]
pub(super) struct SimulatedDisk {
    state: Arc<Mutex<State>>,
}

type Id = usize;

#[derive(Debug)]
struct State {
    nodes: Vec<Node>,
    faults: Faults,
    draws: Draws,
    /// Nothing works until [`SimulatedDisk::restart`].
    off: bool,
    locked: BTreeSet<Id>,
    /// Operations so far.
    operations: u64,
    /// Bytes of files that were read so far.
    bytes_read: u64,
}

#[derive(Debug)]
enum Node {
    File(File),
    Folder(Folder),
}

#[derive(Debug, Default)]
struct File {
    live: Vec<u8>,
    durable: Vec<u8>,
    /// Where synchronising failed: the system regards everything from there on as written, and
    /// never writes it again.
    given_up: Option<usize>,
}

#[derive(Debug, Default)]
struct Folder {
    live: BTreeMap<OsString, Id>,
    durable: BTreeMap<OsString, Id>,
    changes: Vec<Change>,
}

#[derive(Clone, Debug)]
enum Change {
    Insert(OsString, Id),
    Remove(OsString),
    Rename(OsString, OsString, Id),
}

impl Change {
    fn apply(&self, names: &mut BTreeMap<OsString, Id>) {
        match self {
            Self::Insert(name, id) => drop(names.insert(name.clone(), *id)),
            Self::Remove(name) => drop(names.remove(name)),
            Self::Rename(from, to, id) => {
                names.remove(from);
                names.insert(to.clone(), *id);
            }
        }
    }
}

const ROOT: Id = 0;

fn error(kind: ErrorKind) -> Error {
    Error::new(kind, "simulated")
}

impl SimulatedDisk {
    /// An empty file system, whose faults depend on the seed alone.
    pub(super) fn new(seed: u64) -> Self {
        let state = State {
            nodes: vec![Node::Folder(Folder::default())],
            faults: Faults::default(),
            draws: Stream::new(seed, 1).at(0),
            off: false,
            locked: BTreeSet::new(),
            operations: 0,
            bytes_read: 0,
        };
        Self { state: Arc::new(Mutex::new(state)) }
    }

    pub(super) fn shared(&self) -> Arc<dyn Disk> {
        Arc::new(self.clone())
    }

    /// Injects `faults` from now on.
    pub(super) fn fail(&self, faults: Faults) {
        self.state().faults = faults;
    }

    /// Whether the power is off.
    pub(super) fn is_off(&self) -> bool {
        self.state().off
    }

    /// Cuts the power now: what was not synchronised survives partially.
    pub(super) fn cut_power(&self) {
        self.state().cut_power();
    }

    /// Power comes back, without further faults.
    pub(super) fn restart(&self) {
        let mut state = self.state();
        state.off = false;
        state.locked.clear();
        state.faults = Faults::default();
    }

    /// Bytes of files that were read so far.
    pub(super) fn bytes_read(&self) -> u64 {
        self.state().bytes_read
    }

    /// Changes one bit of a stored file.
    pub(super) fn rot(&self, path: &Path) {
        let mut state = self.state();
        let id = state.find(path).expect("only what is there can rot");
        let length = state.file(id).expect("a file").live.len() as u32;
        let (index, bit) = (state.draws.below(length) as usize, state.draws.below(8));
        let file = state.file(id).expect("a file");
        file.live[index] ^= 1 << bit;
        if let Some(byte) = file.durable.get_mut(index) {
            *byte ^= 1 << bit;
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no test panics while it holds the disk")
    }
}

impl State {
    /// Counts an operation. Returns an error if the operation is to do nothing, and `true` if it is
    /// to fail half-way.
    fn begin(&mut self) -> Result<bool> {
        if self.off {
            return Err(error(ErrorKind::Other));
        }
        self.operations += 1;
        if let Some(left) = &mut self.faults.power_cut {
            if *left == 0 {
                return Ok(true);
            }
            *left -= 1;
        }
        if self.draws.chance(self.faults.error) {
            return Err(error(ErrorKind::Other));
        }
        Ok(false)
    }

    /// Like [`State::begin`], for an operation that happens completely or not at all.
    fn atomic(&mut self) -> Result<()> {
        if self.begin()? {
            self.cut_power();
            return Err(error(ErrorKind::Other));
        }
        Ok(())
    }

    fn cut_power(&mut self) {
        self.off = true;
        let Self { nodes, draws, .. } = self;
        for node in nodes {
            match node {
                Node::File(file) => file.cut_power(draws),
                Node::Folder(folder) => folder.cut_power(draws),
            }
        }
    }

    fn find(&mut self, path: &Path) -> Result<Id> {
        let mut id = ROOT;
        for part in path.components() {
            let Component::Normal(name) = part else { continue };
            id = *self.folder(id)?.live.get(name).ok_or_else(|| error(ErrorKind::NotFound))?;
        }
        Ok(id)
    }

    /// The folder of a path, and the name in it.
    fn place(&mut self, path: &Path) -> Result<(Id, OsString)> {
        let name = path.file_name().ok_or_else(|| error(ErrorKind::InvalidInput))?.to_owned();
        Ok((self.find(path.parent().unwrap_or(Path::new("")))?, name))
    }

    fn folder(&mut self, id: Id) -> Result<&mut Folder> {
        match &mut self.nodes[id] {
            Node::Folder(folder) => Ok(folder),
            Node::File(_) => Err(error(ErrorKind::NotADirectory)),
        }
    }

    fn file(&mut self, id: Id) -> Result<&mut File> {
        match &mut self.nodes[id] {
            Node::File(file) => Ok(file),
            Node::Folder(_) => Err(error(ErrorKind::IsADirectory)),
        }
    }

    fn change(&mut self, folder: Id, change: Change) -> Result<()> {
        let folder = self.folder(folder)?;
        change.apply(&mut folder.live);
        folder.changes.push(change);
        Ok(())
    }

    fn insert(&mut self, path: &Path, node: Node) -> Result<Id> {
        let (folder, name) = self.place(path)?;
        if self.folder(folder)?.live.contains_key(&name) {
            return Err(error(ErrorKind::AlreadyExists));
        }
        self.nodes.push(node);
        let id = self.nodes.len() - 1;
        self.change(folder, Change::Insert(name, id))?;
        Ok(id)
    }

    fn find_or_create_file(&mut self, path: &Path) -> Result<Id> {
        match self.find(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                self.insert(path, Node::File(File::default()))
            }
            found => found,
        }
    }

    /// Writes bytes to a file, or only the part that fits or that was written before the power cut.
    fn put(&mut self, id: Id, offset: usize, bytes: &[u8], torn: bool) -> Result<()> {
        let mut part = bytes.len();
        if torn {
            part = self.draws.below(bytes.len() as u32 + 1) as usize;
        }
        let fits = self.faults.space.unwrap_or(usize::MAX);
        let full = part > fits;
        part = part.min(fits);
        let file = self.file(id)?;
        // What is written again is also synchronised again.
        file.given_up = file.given_up.filter(|from| *from < offset);
        // A gap reads as zeros.
        file.live.resize(file.live.len().max(offset + part), 0);
        file.live[offset..offset + part].copy_from_slice(&bytes[..part]);
        if let Some(space) = &mut self.faults.space {
            *space -= part;
        }
        if torn {
            self.cut_power();
            return Err(error(ErrorKind::Other));
        }
        if full { Err(error(ErrorKind::StorageFull)) } else { Ok(()) }
    }

    fn remove(&mut self, path: &Path) -> Result<()> {
        let (folder, name) = self.place(path)?;
        if !self.folder(folder)?.live.contains_key(&name) {
            return Err(error(ErrorKind::NotFound));
        }
        self.change(folder, Change::Remove(name))
    }
}

impl File {
    fn cut_power(&mut self, draws: &mut Draws) {
        if self.live != self.durable {
            // The file system may write at any time. The common beginning was durable all the time.
            let same = self.same();
            let until = self.given_up.unwrap_or(self.live.len()).max(same);
            let part = same + draws.below((until - same) as u32 + 1) as usize;
            match draws.below(4) {
                0 => {}
                1 if self.given_up.is_none() => self.durable = self.live.clone(),
                2 => self.durable = self.live[..part].to_vec(),
                _ => {
                    // Blocks that were never written read as zeros.
                    self.durable = self.live[..part].to_vec();
                    self.durable.resize(self.live.len(), 0);
                }
            }
        }
        self.live = self.durable.clone();
        self.given_up = None;
    }

    /// Length of the common beginning of both versions.
    fn same(&self) -> usize {
        self.live.iter().zip(&self.durable).take_while(|(a, b)| a == b).count()
    }
}

impl Folder {
    fn cut_power(&mut self, draws: &mut Draws) {
        let changes = std::mem::take(&mut self.changes);
        let first = draws.below(changes.len() as u32 + 1) as usize;
        match draws.below(3) {
            // In the order in which they were made, as a journal keeps them.
            0 => changes[..first].iter().for_each(|change| change.apply(&mut self.durable)),
            // In any order.
            1 => {
                for change in changes.iter().filter(|_| draws.chance(0.5)) {
                    change.apply(&mut self.durable);
                }
            }
            _ => {}
        }
        self.live = self.durable.clone();
    }
}

impl Disk for SimulatedDisk {
    fn read(&self, path: &Path) -> Result<Vec<u8>> {
        let mut state = self.state();
        state.atomic()?;
        let id = state.find(path)?;
        let bytes = state.file(id)?.live.clone();
        state.bytes_read += bytes.len() as u64;
        Ok(bytes)
    }

    fn read_at(&self, path: &Path, offset: u64, buffer: &mut [u8]) -> Result<usize> {
        let mut state = self.state();
        state.atomic()?;
        let id = state.find(path)?;
        let rest = state.file(id)?.live.get(offset as usize..).unwrap_or_default();
        let count = rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        state.bytes_read += count as u64;
        Ok(count)
    }

    fn names(&self, folder: &Path) -> Result<Vec<OsString>> {
        let mut state = self.state();
        state.atomic()?;
        let id = state.find(folder)?;
        Ok(state.folder(id)?.live.keys().cloned().collect())
    }

    fn exists(&self, path: &Path) -> bool {
        let mut state = self.state();
        !state.off && state.find(path).is_ok()
    }

    fn length(&self, path: &Path) -> Result<u64> {
        let mut state = self.state();
        state.atomic()?;
        let id = state.find(path)?;
        Ok(state.file(id)?.live.len() as u64)
    }

    fn modified(&self, path: &Path) -> Result<SystemTime> {
        self.read(path).map(|_| SystemTime::UNIX_EPOCH)
    }

    fn create_folder(&self, path: &Path) -> Result<()> {
        let mut state = self.state();
        state.atomic()?;
        state.insert(path, Node::Folder(Folder::default())).map(drop)
    }

    fn write(&self, path: &Path, bytes: &[u8]) -> Result<()> {
        let mut state = self.state();
        let torn = state.begin()?;
        let id = state.find_or_create_file(path)?;
        let file = state.file(id)?;
        file.live.clear();
        file.given_up = None;
        let mut bytes = bytes.to_vec();
        let flip = state.faults.flip;
        if !bytes.is_empty() && state.draws.chance(flip) {
            let index = state.draws.below(bytes.len() as u32) as usize;
            bytes[index] ^= 1 << state.draws.below(8);
        }
        state.put(id, 0, &bytes, torn)
    }

    fn write_at(&self, path: &Path, offset: u64, bytes: &[u8]) -> Result<()> {
        let mut state = self.state();
        let torn = state.begin()?;
        let id = state.find_or_create_file(path)?;
        state.put(id, offset as usize, bytes, torn)
    }

    fn cut(&self, path: &Path, length: u64) -> Result<()> {
        let mut state = self.state();
        state.atomic()?;
        let id = state.find(path)?;
        let file = state.file(id)?;
        file.live.truncate(length as usize);
        file.given_up = file.given_up.filter(|from| *from < length as usize);
        Ok(())
    }

    fn sync_file(&self, path: &Path) -> Result<()> {
        let mut state = self.state();
        if state.off {
            return Err(error(ErrorKind::Other));
        }
        let begun = state.atomic();
        let id = state.find(path)?;
        let file = state.file(id)?;
        if begun.is_err() {
            // After a power cut both versions are equal, and nothing is given up.
            file.given_up = Some(file.same()).filter(|same| *same < file.live.len());
        } else if file.given_up.is_none() {
            file.durable = file.live.clone();
        }
        begun
    }

    fn sync_folder(&self, path: &Path) -> Result<()> {
        let mut state = self.state();
        state.atomic()?;
        let id = state.find(path)?;
        let folder = state.folder(id)?;
        folder.durable = folder.live.clone();
        folder.changes.clear();
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> Result<()> {
        let mut state = self.state();
        state.atomic()?;
        assert_eq!(from.parent(), to.parent(), "renamed from folder to folder");
        let id = state.find(from)?;
        if let Ok(target) = state.find(to) {
            match (&state.nodes[target], &state.nodes[id]) {
                (Node::Folder(folder), Node::Folder(_)) if folder.live.is_empty() => {}
                (Node::File(_), Node::File(_)) => {}
                _ => return Err(error(ErrorKind::DirectoryNotEmpty)),
            }
        }
        let (folder, old) = state.place(from)?;
        let (_, new) = state.place(to)?;
        state.change(folder, Change::Rename(old, new, id))
    }

    fn remove_file(&self, path: &Path) -> Result<()> {
        let mut state = self.state();
        state.atomic()?;
        state.remove(path)
    }

    fn remove_folder(&self, path: &Path) -> Result<()> {
        let mut state = self.state();
        state.atomic()?;
        let id = state.find(path)?;
        if !state.folder(id)?.live.is_empty() {
            return Err(error(ErrorKind::DirectoryNotEmpty));
        }
        state.remove(path)
    }

    fn remove_tree(&self, path: &Path) -> Result<()> {
        for name in self.names(path)? {
            self.remove_file(&path.join(name))?;
        }
        self.remove_folder(path)
    }

    fn lock(&self, path: &Path) -> std::result::Result<Lock, TryLockError> {
        let mut state = self.state();
        let id = state.find(path).map_err(TryLockError::Error)?;
        if !state.locked.insert(id) {
            return Err(TryLockError::WouldBlock);
        }
        Ok(Box::new(Unlock { disk: self.clone(), id }))
    }

    fn is_locked(&self, path: &Path) -> bool {
        let mut state = self.state();
        state.find(path).is_ok_and(|id| state.locked.contains(&id))
    }
}

struct Unlock {
    disk: SimulatedDisk,
    id: Id,
}

impl Drop for Unlock {
    fn drop(&mut self) {
        self.disk.state().locked.remove(&self.id);
    }
}
