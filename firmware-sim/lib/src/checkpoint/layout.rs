//! What stands where in a slot.
//!
//! | block | content |
//! |---|---|
//! | 0 | commit word; written last |
//! | 1 | header: magic, layout, floats of the registers, sequence number, CRC-32 of these |
//! | 2 | seal: bytes of content, CRC-32 of sequence number, content and this length |
//! | 3 … | content: the registers' floats, then the position in its serialised form |
//!
//! Numbers are little-endian. What a block does not use is left erased, and checked to be.

use crate::checkpoint::crc::Crc;

/// Bytes that are read or written at a time. A flash's words divide it.
pub const BLOCK: usize = 64;

pub(crate) type Block = [u8; BLOCK];

/// Raised whenever the content of a checkpoint changes its meaning.
pub(crate) const LAYOUT: u32 = 4;
const MAGIC: [u8; 8] = *b"bisslckp";

/// The commit word: what it must be for the slot to count. Neither erased nor all zeros.
pub(crate) const COMMITTED: u32 = 0x600d_c0de;

pub(crate) const ERASED: u8 = 0xff;

/// Where the blocks are, from the slot's start in bytes.
pub(crate) const HEADER: u32 = BLOCK as u32;
pub(crate) const SEAL: u32 = 2 * BLOCK as u32;
pub(crate) const CONTENT: u32 = 3 * BLOCK as u32;

/// The most that settings, machine, scalars and positions take.
pub(crate) const POSITION_BYTES_MAX: u32 = 1536;
/// The most that the whole content takes, with so many floats of registers.
pub(crate) const fn content_bytes_max(floats: u32) -> u32 {
    4 * floats + POSITION_BYTES_MAX
}

/// `parts` one after the other in an erased block; what goes beyond it is cut off.
fn block(parts: &[&[u8]]) -> Block {
    let mut block = [ERASED; BLOCK];
    let bytes = parts.iter().copied().flatten();
    block.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
    block
}

pub(crate) fn commit() -> Block {
    block(&[&COMMITTED.to_le_bytes()])
}

/// The word of this number in a block.
fn word(block: &Block, index: usize) -> u32 {
    let (words, _) = block.as_chunks::<4>();
    words.get(index).map_or(0, |word| u32::from_le_bytes(*word))
}

/// What a commit block says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Commit {
    Erased,
    Committed,
    Other(u32),
}

pub(crate) fn read_commit(found: &Block) -> Commit {
    if *found == commit() {
        Commit::Committed
    } else if found.iter().all(|byte| *byte == ERASED) {
        Commit::Erased
    } else {
        Commit::Other(word(found, 0))
    }
}

/// Who wrote a slot's content, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) layout: u32,
    pub(crate) floats: u32,
    pub(crate) sequence: u32,
}

impl Header {
    /// Of a checkpoint of a program with so many floats of registers.
    pub(crate) fn new(floats: u32, sequence: u32) -> Self {
        Self { layout: LAYOUT, floats, sequence }
    }

    pub(crate) fn write(&self) -> Block {
        let [layout, floats, sequence] =
            [self.layout, self.floats, self.sequence].map(u32::to_le_bytes);
        let crc = Crc::new().with(&MAGIC).with(&layout).with(&floats).with(&sequence).value();
        block(&[&MAGIC, &layout, &floats, &sequence, &crc.to_le_bytes()])
    }

    /// Where the checksum of the content begins, so that it is bound to this header. Not with the
    /// block itself: what ends with its own CRC leaves the same remainder, whatever it says.
    pub(crate) fn checksum(&self) -> Crc {
        Crc::new().with(&self.sequence.to_le_bytes())
    }

    /// `None`: no header is written so.
    pub(crate) fn read(found: &Block) -> Option<Self> {
        let header =
            Self { layout: word(found, 2), floats: word(found, 3), sequence: word(found, 4) };
        (header.write() == *found).then_some(header)
    }
}

/// How much content there is, and what its checksum is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seal {
    pub(crate) bytes: u32,
    pub(crate) crc: u32,
}

impl Seal {
    /// Of content whose blocks, after [`Header::checksum`], have the checksum `blocks`.
    pub(crate) fn new(bytes: u32, blocks: Crc) -> Self {
        Self { bytes, crc: blocks.with(&bytes.to_le_bytes()).value() }
    }

    pub(crate) fn write(&self) -> Block {
        block(&[&self.bytes.to_le_bytes(), &self.crc.to_le_bytes()])
    }

    /// `None`: no seal is written so.
    pub(crate) fn read(found: &Block) -> Option<Self> {
        let seal = Self { bytes: word(found, 0), crc: word(found, 1) };
        (seal.write() == *found).then_some(seal)
    }
}
