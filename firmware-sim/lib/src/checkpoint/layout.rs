//! The layout of a slot.
//!
//! | block | content |
//! |---|---|
//! | 0 | commit word; written last |
//! | 1 | header: magic, layout, floats of the registers, sequence number, CRC-32 of these |
//! | 2 | seal: bytes of content, CRC-32 of sequence number, content and this length |
//! | 3 … | content: the registers' floats, then the position in its serialised form |
//!
//! Numbers are little-endian. The unused part of a block is left erased, and readers check that it
//! is.

use crate::checkpoint::crc::Crc;

/// Bytes that are read or written at a time. The word size of a flash must divide it.
pub const BLOCK: usize = 64;

pub(crate) type Block = [u8; BLOCK];

/// Raised whenever the content of a checkpoint changes its meaning.
pub(crate) const LAYOUT: u32 = 4;
const MAGIC: [u8; 8] = *b"bisslckp";

/// The value that the commit word of a valid slot has. It is neither erased nor all zeros.
pub(crate) const COMMITTED: u32 = 0x600d_c0de;

pub(crate) const ERASED: u8 = 0xff;

/// Where the blocks are, from the slot's start in bytes.
pub(crate) const HEADER: u32 = BLOCK as u32;
pub(crate) const SEAL: u32 = 2 * BLOCK as u32;
pub(crate) const CONTENT: u32 = 3 * BLOCK as u32;

/// Most bytes that settings, machine, scalars and positions take.
pub(crate) const POSITION_BYTES_MAX: u32 = 1536;
/// Most bytes that the whole content takes if the registers have `floats` floats.
pub(crate) const fn content_bytes_max(floats: u32) -> u32 {
    4 * floats + POSITION_BYTES_MAX
}

/// `parts` one after the other in an erased block; what does not fit is cut off.
fn block(parts: &[&[u8]]) -> Block {
    let mut block = [ERASED; BLOCK];
    let bytes = parts.iter().copied().flatten();
    block.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
    block
}

pub(crate) fn commit() -> Block {
    block(&[&COMMITTED.to_le_bytes()])
}

/// The word at `index` of a block.
fn word(block: &Block, index: usize) -> u32 {
    let (words, _) = block.as_chunks::<4>();
    words.get(index).map_or(0, |word| u32::from_le_bytes(*word))
}

/// What a commit block contains.
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
    /// The header of a checkpoint of a program whose registers have `floats` floats.
    pub(crate) fn new(floats: u32, sequence: u32) -> Self {
        Self { layout: LAYOUT, floats, sequence }
    }

    pub(crate) fn write(&self) -> Block {
        let [layout, floats, sequence] =
            [self.layout, self.floats, self.sequence].map(u32::to_le_bytes);
        let crc = Crc::new().with(&MAGIC).with(&layout).with(&floats).with(&sequence).value();
        block(&[&MAGIC, &layout, &floats, &sequence, &crc.to_le_bytes()])
    }

    /// The initial value of the content's checksum, which binds the content to this header. It
    /// takes in the sequence number and not the whole block: a block that ends with its own CRC
    /// always leaves the same remainder.
    pub(crate) fn checksum(&self) -> Crc {
        Crc::new().with(&self.sequence.to_le_bytes())
    }

    /// The header in a block; `None` if the block is no valid header.
    pub(crate) fn read(found: &Block) -> Option<Self> {
        let header =
            Self { layout: word(found, 2), floats: word(found, 3), sequence: word(found, 4) };
        (header.write() == *found).then_some(header)
    }
}

/// The length of the content and its checksum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seal {
    pub(crate) bytes: u32,
    pub(crate) crc: u32,
}

impl Seal {
    /// The seal of content whose blocks, after [`Header::checksum`], have the checksum `blocks`.
    pub(crate) fn new(bytes: u32, blocks: Crc) -> Self {
        Self { bytes, crc: blocks.with(&bytes.to_le_bytes()).value() }
    }

    pub(crate) fn write(&self) -> Block {
        block(&[&self.bytes.to_le_bytes(), &self.crc.to_le_bytes()])
    }

    /// The seal in a block; `None` if the block is no valid seal.
    pub(crate) fn read(found: &Block) -> Option<Self> {
        let seal = Self { bytes: word(found, 0), crc: word(found, 1) };
        (seal.write() == *found).then_some(seal)
    }
}
