//! Checkpoints in NOR flash.

pub(crate) mod crc;
pub(crate) mod layout;
pub(crate) mod stream;

use core::fmt;
use core::marker::PhantomData;

use embedded_storage::nor_flash::NorFlash;

pub use self::crc::Crc;
pub use self::layout::BLOCK;

use self::layout::{
    Block, COMMITTED, CONTENT, Commit, HEADER, Header, LAYOUT, SEAL, Seal, commit,
    content_bytes_max, read_commit,
};
use self::stream::{Reader, StreamError, Writer};
use crate::program::StateError;
use crate::{Configuration, Fault, FrameSource, Kernels, Program};

/// What a slot holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum SlotState {
    /// There is no commit word: the slot is empty, or its checkpoint was not finished.
    Uncommitted,
    /// The commit word is neither erased nor right: power was cut while it was written, or bits
    /// flipped.
    CommitDamaged {
        /// Its first four bytes.
        found: u32,
        /// What they should be.
        expected: u32,
    },
    /// The header's own checksum differs, or no header is there.
    HeaderDamaged,
    /// A checkpoint of another version or of another network.
    Foreign {
        /// Layout number of the checkpoint.
        layout: u32,
        /// Layout number of this program.
        layout_expected: u32,
        /// Floats of the registers in the checkpoint.
        floats: u32,
        /// Floats of the registers of this program.
        floats_expected: u32,
    },
    /// The block of the seal is no valid seal.
    SealDamaged,
    /// The content does not have the checksum of the seal: bits flipped.
    ChecksumDiffers {
        /// CRC-32 of the content as read.
        found: u32,
        /// CRC-32 of the content as written.
        expected: u32,
    },
    /// The checksum is right, but the content does not decode: somebody changed the content and did
    /// not raise the layout number.
    Undecodable,
    /// A whole checkpoint.
    Valid {
        /// Its sequence number.
        sequence: u32,
    },
}

impl fmt::Display for SlotState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Uncommitted => write!(f, "no checkpoint, or an unfinished one"),
            Self::CommitDamaged { found, expected } => {
                write!(f, "commit word {found:#010x}, expected {expected:#010x}")
            }
            Self::HeaderDamaged => write!(f, "damaged header"),
            Self::Foreign { layout, layout_expected, floats, floats_expected } => write!(
                f,
                "layout {layout} of {floats} floats, expected layout {layout_expected} of \
                 {floats_expected}"
            ),
            Self::SealDamaged => write!(f, "damaged seal"),
            Self::ChecksumDiffers { found, expected } => {
                write!(f, "CRC-32 {found:#010x}, expected {expected:#010x}")
            }
            Self::Undecodable => write!(f, "right checksum, but no state of this program"),
            Self::Valid { sequence } => write!(f, "checkpoint {sequence}"),
        }
    }
}

/// Why a checkpoint was not written or read.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum CheckpointError<E> {
    /// The flash failed.
    Flash(E),
    /// The region does not begin at the beginning of a page.
    NotAligned {
        /// Where it begins, bytes.
        offset: u32,
        /// Bytes of a page.
        page: u32,
    },
    /// The flash ends before the region does.
    TooSmall {
        /// Bytes of the flash after the offset.
        found: u32,
        /// Bytes that two slots take.
        needed: u32,
    },
    /// The state is longer than a slot has room for.
    StateTooLong {
        /// Bytes that a slot has room for.
        room: u32,
    },
    /// What was written reads back differently: the page is worn out.
    NotWritten {
        /// The slot, 0 or 1.
        slot: u8,
        /// What the slot holds.
        found: SlotState,
    },
    /// The device has stopped with this fault, so its state is not worth keeping.
    Device(Fault),
    /// A request was performed, but its reply was not handed on. A device restored from this state
    /// would perform the request twice.
    InFlight,
}

impl<E: fmt::Debug> fmt::Display for CheckpointError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flash(error) => write!(f, "flash: {error:?}"),
            Self::NotAligned { offset, page } => {
                write!(f, "region at byte {offset}, which begins no page of {page} bytes")
            }
            Self::TooSmall { found, needed } => {
                write!(f, "{found} bytes of flash for checkpoints, needed {needed}")
            }
            Self::StateTooLong { room } => write!(f, "a state longer than {room} bytes"),
            Self::NotWritten { slot, found } => {
                write!(f, "slot {slot} does not hold what was written to it, but: {found}")
            }
            Self::Device(fault) => write!(f, "device: {fault}"),
            Self::InFlight => write!(f, "between a request's performance and its completion"),
        }
    }
}

impl<E> From<StreamError<E>> for CheckpointError<E> {
    fn from(error: StreamError<E>) -> Self {
        match error {
            StreamError::Flash(error) => Self::Flash(error),
            StreamError::End(room) => Self::StateTooLong { room },
        }
    }
}

impl<E: fmt::Debug> core::error::Error for CheckpointError<E> {}

/// What was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Saved {
    /// Sequence number of the checkpoint.
    pub sequence: u32,
    /// Bytes of the state.
    pub bytes: u32,
}

/// What was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Restored {
    /// Sequence number of the checkpoint.
    pub sequence: u32,
    /// Ticks of the device when it was written.
    pub ticks: u64,
}

/// Two slots of a NOR flash for the whole state of a [`Program`].
///
/// Saving erases a slot, writes header and content block by block, then writes the seal with the
/// checksum, reads everything back, and writes the commit word last. The slot with the newest valid
/// checkpoint is never touched, so a power cut at any moment leaves either that checkpoint or the
/// new one.
///
/// No word is written twice between two erasures, and words are written whole. The word size of the
/// flash must divide [`BLOCK`] bytes.
#[derive(Debug)]
pub struct Checkpoints<C, F> {
    configuration: PhantomData<C>,
    flash: F,
    offset: u32,
    slots: [SlotState; 2],
}

/// Bytes of the first write unit that holds the commit word.
const fn commit_bytes(write_size: usize) -> usize {
    if write_size > 4 { write_size } else { 4 }
}

impl<C: Configuration, F: NorFlash> Checkpoints<C, F> {
    const FLOATS: u32 = C::PLAN.registers.floats as u32;
    const CONTENT_BYTES_MAX: u32 = content_bytes_max(Self::FLOATS);

    /// Bytes of a slot: whole pages, with room for the longest state.
    pub const SLOT_BYTES: u32 = {
        assert!(BLOCK.is_multiple_of(F::WRITE_SIZE), "words divide a block");
        assert!(4usize.is_multiple_of(F::WRITE_SIZE) || F::WRITE_SIZE.is_multiple_of(4), "words");
        assert!(BLOCK.is_multiple_of(F::READ_SIZE), "reads divide a block");
        let blocks = Self::CONTENT_BYTES_MAX.div_ceil(BLOCK as u32);
        (CONTENT + blocks * BLOCK as u32).next_multiple_of(F::ERASE_SIZE as u32)
    };

    /// Bytes of the region.
    pub const BYTES: u32 = 2 * Self::SLOT_BYTES;

    /// Reads both slots to the end and writes nothing.
    ///
    /// The region begins at byte `offset` of the flash and has [`BYTES`](Self::BYTES).
    ///
    /// # Errors
    /// The region does not fit, or the flash fails. A damaged slot is no error: see
    /// [`slots`](Self::slots).
    pub fn open(flash: F, offset: u32) -> Result<Self, CheckpointError<F::Error>> {
        let page = F::ERASE_SIZE as u32;
        if !offset.is_multiple_of(page) {
            return Err(CheckpointError::NotAligned { offset, page });
        }
        let found = u32::try_from(flash.capacity()).unwrap_or(u32::MAX).saturating_sub(offset);
        if found < Self::BYTES {
            return Err(CheckpointError::TooSmall { found, needed: Self::BYTES });
        }
        let mut checkpoints =
            Self { configuration: PhantomData, flash, offset, slots: [SlotState::Uncommitted; 2] };
        checkpoints.slots = [checkpoints.examine(0)?, checkpoints.examine(1)?];
        Ok(checkpoints)
    }

    /// Gives the flash back.
    pub fn close(self) -> F {
        self.flash
    }

    /// Writes the state of `device` to the slot that does not hold the newest checkpoint.
    ///
    /// After any error the newest checkpoint from before is still there.
    ///
    /// # Errors
    /// The flash fails, the device has failed, or the device is between [`Program::perform`] and
    /// [`Program::complete`].
    pub fn save(&mut self, device: &Program<C>) -> Result<Saved, CheckpointError<F::Error>> {
        if let Some(fault) = device.failed() {
            return Err(CheckpointError::Device(fault));
        }
        if device.between() {
            return Err(CheckpointError::InFlight);
        }
        let newest = self.newest();
        let slot = newest.map_or(0, |(slot, _)| 1 - slot.min(1));
        let sequence = newest.map_or(0, |(_, sequence)| sequence.wrapping_add(1));
        self.note(slot, SlotState::Uncommitted);

        let at = self.start(slot);
        self.flash
            .erase(at, at.saturating_add(Self::SLOT_BYTES))
            .map_err(CheckpointError::Flash)?;
        let header = Header::new(Self::FLOATS, sequence);
        self.put(at + HEADER, &header.write())?;
        let room = Self::CONTENT_BYTES_MAX;
        let mut writer = Writer::new(&mut self.flash, at + CONTENT, room, header.checksum());
        let decodable = match device.write(&mut writer) {
            Err(StateError::Stream(error)) => return Err(error.into()),
            written => written.is_ok(),
        };
        let (bytes, crc) = writer.finish()?;
        if !decodable {
            return Err(CheckpointError::Device(Fault::NotSerializable));
        }
        self.put(at + SEAL, &Seal::new(bytes, crc).write())?;

        let valid = SlotState::Valid { sequence };
        let found = self.examine_content(slot)?;
        if found != valid {
            return Err(CheckpointError::NotWritten { slot, found });
        }
        let commit = commit();
        let word = commit.get(..commit_bytes(F::WRITE_SIZE)).unwrap_or(&commit);
        self.flash.write(at, word).map_err(CheckpointError::Flash)?;
        let found = self.examine_commit(slot)?.unwrap_or(valid);
        self.note(slot, found);
        if found != valid {
            return Err(CheckpointError::NotWritten { slot, found });
        }
        Ok(Saved { sequence, bytes })
    }

    /// Puts `device` into the state of the newest valid checkpoint. If there is none, returns
    /// `None` and leaves the device at rest.
    ///
    /// A linearisation that was in use is computed again, from the same frames.
    ///
    /// # Errors
    /// If the flash fails, the device is at rest. If frames are no longer there, the device has
    /// stopped with that fault.
    pub fn restore<S: FrameSource, K: Kernels<f32>>(
        &mut self,
        device: &mut Program<C>,
        source: &S,
        kernels: &mut K,
    ) -> Result<Option<Restored>, CheckpointError<F::Error>> {
        device.clear();
        // Each pass that fails rules out one of the two slots.
        while let Some((slot, sequence)) = self.newest() {
            let found = match self.load(slot, device) {
                Ok(found) => found,
                Err(error) => {
                    device.clear();
                    return Err(error);
                }
            };
            if found == (SlotState::Valid { sequence }) {
                device.rebuild(source, kernels).map_err(CheckpointError::Device)?;
                return Ok(Some(Restored { sequence, ticks: device.ticks() }));
            }
            device.clear();
            let changed = match found {
                // A moment ago this was another checkpoint: the flash is not to be trusted.
                SlotState::Valid { .. } => SlotState::HeaderDamaged,
                found => found,
            };
            self.note(slot, changed);
        }
        Ok(None)
    }

    /// What the two slots hold.
    pub fn slots(&self) -> &[SlotState; 2] {
        &self.slots
    }

    /// The slot of the newest valid checkpoint and its sequence number.
    ///
    /// Sequence numbers wrap around and are compared by their difference: 2³¹ checkpoints outlast
    /// any flash.
    pub fn newest(&self) -> Option<(u8, u32)> {
        match self.slots {
            [SlotState::Valid { sequence: a }, SlotState::Valid { sequence: b }] => {
                Some(if b.wrapping_sub(a) < 1 << 31 { (1, b) } else { (0, a) })
            }
            [SlotState::Valid { sequence }, _] => Some((0, sequence)),
            [_, SlotState::Valid { sequence }] => Some((1, sequence)),
            _ => None,
        }
    }

    fn start(&self, slot: u8) -> u32 {
        self.offset.saturating_add(u32::from(slot) * Self::SLOT_BYTES)
    }

    fn note(&mut self, slot: u8, state: SlotState) {
        if let Some(place) = self.slots.get_mut(usize::from(slot)) {
            *place = state;
        }
    }

    fn put(&mut self, at: u32, block: &Block) -> Result<(), CheckpointError<F::Error>> {
        self.flash.write(at, block).map_err(CheckpointError::Flash)
    }

    fn get(&mut self, at: u32) -> Result<Block, CheckpointError<F::Error>> {
        let mut block = [0; BLOCK];
        self.flash.read(at, &mut block).map_err(CheckpointError::Flash)?;
        Ok(block)
    }

    fn examine(&mut self, slot: u8) -> Result<SlotState, CheckpointError<F::Error>> {
        match self.examine_commit(slot)? {
            Some(bad) => Ok(bad),
            None => self.examine_content(slot),
        }
    }

    /// What is wrong with the commit word; `None` if it is valid.
    fn examine_commit(&mut self, slot: u8) -> Result<Option<SlotState>, CheckpointError<F::Error>> {
        Ok(match read_commit(&self.get(self.start(slot))?) {
            Commit::Committed => None,
            Commit::Erased => Some(SlotState::Uncommitted),
            Commit::Other(found) => Some(SlotState::CommitDamaged { found, expected: COMMITTED }),
        })
    }

    fn examine_content(&mut self, slot: u8) -> Result<SlotState, CheckpointError<F::Error>> {
        self.read_content(slot, |_| Ok(()))
    }

    fn load(
        &mut self,
        slot: u8,
        device: &mut Program<C>,
    ) -> Result<SlotState, CheckpointError<F::Error>> {
        self.read_content(slot, |reader| device.read(reader))
    }

    /// Reads header, seal and content; `read` takes what it needs from the content.
    fn read_content(
        &mut self,
        slot: u8,
        read: impl FnOnce(&mut Reader<'_, F>) -> Result<(), StateError<F::Error>>,
    ) -> Result<SlotState, CheckpointError<F::Error>> {
        let at = self.start(slot);
        let Some(header) = Header::read(&self.get(at + HEADER)?) else {
            return Ok(SlotState::HeaderDamaged);
        };
        let Header { layout, floats, sequence } = header;
        let (layout_expected, floats_expected) = (LAYOUT, Self::FLOATS);
        if (layout, floats) != (layout_expected, floats_expected) {
            return Ok(SlotState::Foreign { layout, layout_expected, floats, floats_expected });
        }
        let seal = match Seal::read(&self.get(at + SEAL)?) {
            Some(seal) if seal.bytes <= Self::CONTENT_BYTES_MAX => seal,
            _ => return Ok(SlotState::SealDamaged),
        };
        let mut reader = Reader::new(&mut self.flash, at + CONTENT, seal.bytes, header.checksum());
        let taken = match read(&mut reader) {
            Err(StateError::Stream(StreamError::Flash(error))) => {
                return Err(CheckpointError::Flash(error));
            }
            taken => taken.is_ok(),
        };
        let found = match reader.finish() {
            Ok(crc) => Seal::new(seal.bytes, crc),
            Err(StreamError::Flash(error)) => return Err(CheckpointError::Flash(error)),
            Err(StreamError::End(_)) => return Ok(SlotState::SealDamaged),
        };
        Ok(if found != seal {
            SlotState::ChecksumDiffers { found: found.crc, expected: seal.crc }
        } else if !taken {
            SlotState::Undecodable
        } else {
            SlotState::Valid { sequence }
        })
    }
}
