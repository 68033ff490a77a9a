//! A NOR flash that wears out, loses power and flips bits.

use std::ops::Range;

use bissl_core::{Draws, Stream};
use embedded_storage::nor_flash::{
    ErrorType, NorFlash, NorFlashError, NorFlashErrorKind, ReadNorFlash, check_erase, check_read,
    check_write,
};

const ERASED: u8 = 0xff;

/// Domain of the streams that tear words and pages.
const TEARS: u16 = 0xf1a5;

/// One in this many interrupted erasures starts at the page's end and leaves its beginning intact.
const BACKWARD: u32 = 8;

/// Why the flash did not do what was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FlashError {
    /// There is no power.
    #[error("power cut")]
    PowerCut,
    /// A word was to be written that is not erased.
    #[error("word at byte {offset} is not erased")]
    NotErased {
        /// Where the word is.
        offset: u32,
    },
    /// An address or length that is not a multiple of the word or page size.
    #[error("not whole words or pages")]
    NotAligned,
    /// After the end of the flash.
    #[error("beyond the end of the flash")]
    OutOfBounds,
}

impl NorFlashError for FlashError {
    fn kind(&self) -> NorFlashErrorKind {
        match self {
            Self::NotAligned => NorFlashErrorKind::NotAligned,
            Self::OutOfBounds => NorFlashErrorKind::OutOfBounds,
            Self::PowerCut | Self::NotErased { .. } => NorFlashErrorKind::Other,
        }
    }
}

impl From<NorFlashErrorKind> for FlashError {
    fn from(kind: NorFlashErrorKind) -> Self {
        match kind {
            NorFlashErrorKind::NotAligned => Self::NotAligned,
            _ => Self::OutOfBounds,
        }
    }
}

/// What an operation changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// A page becomes all ones.
    Erase {
        /// The page's number.
        page: u32,
    },
    /// Erased words are written.
    Write {
        /// Offset of the first word in bytes.
        offset: u32,
        /// The words.
        bytes: Vec<u8>,
    },
}

/// What was done since the flash was new.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Bytes read.
    pub read: u64,
    /// Bytes written.
    pub written: u64,
    /// Pages erased.
    pub erased: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Power {
    On,
    /// Power is lost after this many more bytes have been written or erased.
    Ending(u64),
    Off,
}

/// A flash of pages of `PAGE` bytes, written in words of `WORD` bytes.
///
/// Writing clears bits. A word can be written once after it was erased, and only erasing its page
/// sets bits again. Power can be lost at any byte of either operation:
///
/// - In a word that is being written, each bit that should be cleared may or may not be cleared.
/// - In a page that is being erased, a part is erased, and each bit of the rest may or may not be.
///   In rare cases the page is erased from its end, and its beginning is as before.
///
/// A torn word keeps its value: cells that read differently from time to time are not simulated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SimulatedFlash<const PAGE: usize = 4096, const WORD: usize = 4> {
    bytes: Vec<u8>,
    /// For each word, whether it was written since its page was erased.
    written: Vec<bool>,
    wear: Vec<u32>,
    traffic: Traffic,
    power: Power,
    seed: u64,
    changes: u64,
    journal: Option<Vec<Change>>,
    watched: Option<Vec<Range<usize>>>,
}

impl<const PAGE: usize, const WORD: usize> SimulatedFlash<PAGE, WORD> {
    /// A flash of `pages` erased pages; `seed` determines how words and pages are torn.
    pub fn new(pages: usize, seed: u64) -> Self {
        Self {
            bytes: vec![ERASED; pages * PAGE],
            written: vec![false; pages * PAGE / WORD],
            wear: vec![0; pages],
            traffic: Traffic::default(),
            power: Power::On,
            seed,
            changes: 0,
            journal: None,
            watched: None,
        }
    }

    /// Power will be lost after `bytes` more bytes are written or erased.
    pub fn cut_after(&mut self, bytes: u64) {
        self.power = Power::Ending(bytes);
    }

    /// Power returns.
    pub fn power_on(&mut self) {
        self.power = Power::On;
    }

    /// Flips one bit, 0 to 7, of one byte, as age or radiation does.
    pub fn flip(&mut self, offset: usize, bit: u32) {
        self.bytes[offset] ^= 1 << (bit % 8);
    }

    /// Starts recording changes.
    pub fn start_journal(&mut self) {
        self.journal = Some(vec![]);
    }

    /// The changes recorded since then, without one that a power cut left unfinished.
    pub fn take_journal(&mut self) -> Vec<Change> {
        self.journal.take().unwrap_or_default()
    }

    /// Starts recording which bytes are read.
    pub fn start_watch(&mut self) {
        self.watched = Some(vec![]);
    }

    /// The ranges read since then; adjacent reads are merged.
    pub fn take_watch(&mut self) -> Vec<Range<usize>> {
        self.watched.take().unwrap_or_default()
    }

    /// The content.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// How often each page was erased.
    pub fn wear(&self) -> &[u32] {
        &self.wear
    }

    /// What was done since the flash was new.
    pub fn traffic(&self) -> Traffic {
        self.traffic
    }

    /// What a power cut during `change` does to this flash.
    pub fn tear(&self, change: &Change) -> Tear<WORD> {
        let mut draws = Stream::new(self.seed, TEARS).at(self.changes);
        let range = self.range(change);
        let before = self.bytes[range.clone()].to_vec();
        let mut mixed = |all: &dyn Fn(u8, u8) -> u8| -> Vec<u8> {
            before.iter().map(|byte| all(*byte, byte_of(&mut draws))).collect()
        };
        let (manner, mixed) = match change {
            Change::Write { bytes, .. } => {
                let random = mixed(&|_, random| random);
                let torn = |(new, random): (&u8, &u8)| new | random;
                (Manner::Write, bytes.iter().zip(&random).map(torn).collect())
            }
            Change::Erase { .. } => {
                let mixed = mixed(&|old, random| old | random);
                let backward = draws.below(BACKWARD) == 0;
                (if backward { Manner::Backward } else { Manner::Forward }, mixed)
            }
        };
        let after = match change {
            Change::Write { bytes, .. } => bytes.clone(),
            Change::Erase { .. } => vec![ERASED; PAGE],
        };
        let written = self.written[range.start / WORD..range.end / WORD].to_vec();
        Tear { start: range.start, before, written, mixed, after, manner }
    }

    /// Puts the flash into the state after a power cut at byte `cut` of the torn change.
    pub fn put(&mut self, tear: &Tear<WORD>, cut: usize) {
        let Tear { start, before, mixed, after, manner, .. } = tear;
        let length = before.len();
        let bytes = &mut self.bytes[*start..start + length];
        if cut == 0 {
            return;
        }
        match manner {
            Manner::Write => {
                let word = cut.next_multiple_of(WORD);
                bytes[..cut].copy_from_slice(&after[..cut]);
                bytes[cut..word].copy_from_slice(&mixed[cut..word]);
                self.written[start / WORD..(start + word) / WORD].fill(true);
            }
            Manner::Forward => {
                bytes[..cut].fill(ERASED);
                bytes[cut..].copy_from_slice(&mixed[cut..]);
                self.written[start / WORD..(start + length) / WORD].fill(true);
            }
            Manner::Backward => {
                bytes[length - cut..].fill(ERASED);
                self.written[start / WORD..(start + length) / WORD].fill(true);
            }
        }
    }

    /// Puts the flash into the state before the torn change.
    pub fn undo(&mut self, tear: &Tear<WORD>) {
        let Tear { start, before, written, .. } = tear;
        self.bytes[*start..start + before.len()].copy_from_slice(before);
        self.written[start / WORD..start / WORD + written.len()].copy_from_slice(written);
    }

    /// Performs a change.
    ///
    /// # Errors
    /// Power is off or goes off, or words are not erased.
    pub fn apply(&mut self, change: &Change) -> Result<(), FlashError> {
        let range = self.range(change);
        let words = range.start / WORD..range.end / WORD;
        if let Power::Off = self.power {
            return Err(FlashError::PowerCut);
        }
        if let Change::Write { .. } = change {
            let old = self.bytes[range.clone()].chunks_exact(WORD);
            let bad = old
                .zip(&self.written[words.clone()])
                .position(|(word, written)| *written || word.iter().any(|byte| *byte != ERASED));
            if let Some(word) = bad {
                return Err(FlashError::NotErased { offset: (range.start + word * WORD) as u32 });
            }
        }
        if let Power::Ending(left) = self.power {
            if left < range.len() as u64 {
                let tear = self.tear(change);
                self.put(&tear, left as usize);
                self.power = Power::Off;
                return Err(FlashError::PowerCut);
            }
            self.power = Power::Ending(left - range.len() as u64);
        }
        match change {
            Change::Write { bytes, .. } => {
                self.traffic.written += bytes.len() as u64;
                self.bytes[range].copy_from_slice(bytes);
                self.written[words].fill(true);
            }
            Change::Erase { page } => {
                self.traffic.erased += 1;
                self.wear[*page as usize] += 1;
                self.bytes[range].fill(ERASED);
                self.written[words].fill(false);
            }
        }
        self.changes += 1;
        if let Some(journal) = &mut self.journal {
            journal.push(change.clone());
        }
        Ok(())
    }

    fn range(&self, change: &Change) -> Range<usize> {
        match change {
            Change::Erase { page } => *page as usize * PAGE..(*page as usize + 1) * PAGE,
            Change::Write { offset, bytes } => *offset as usize..*offset as usize + bytes.len(),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Manner {
    Write,
    Forward,
    Backward,
}

/// A change that a power cut may interrupt at each of its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tear<const WORD: usize> {
    start: usize,
    before: Vec<u8>,
    written: Vec<bool>,
    mixed: Vec<u8>,
    after: Vec<u8>,
    manner: Manner,
}

impl<const WORD: usize> Tear<WORD> {
    /// Whether this is a page that is erased from its end.
    pub fn is_backward(&self) -> bool {
        self.manner == Manner::Backward
    }

    /// Where the change is.
    pub fn range(&self) -> Range<usize> {
        self.start..self.start + self.before.len()
    }
}

fn byte_of(draws: &mut Draws) -> u8 {
    draws.next_u32() as u8
}

impl<const PAGE: usize, const WORD: usize> ErrorType for SimulatedFlash<PAGE, WORD> {
    type Error = FlashError;
}

impl<const PAGE: usize, const WORD: usize> ReadNorFlash for SimulatedFlash<PAGE, WORD> {
    const READ_SIZE: usize = 1;

    fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), FlashError> {
        check_read(self, offset, bytes.len())?;
        if let Power::Off = self.power {
            return Err(FlashError::PowerCut);
        }
        let range = offset as usize..offset as usize + bytes.len();
        bytes.copy_from_slice(&self.bytes[range.clone()]);
        self.traffic.read += bytes.len() as u64;
        if let Some(watched) = &mut self.watched {
            match watched.last_mut() {
                Some(last) if last.end == range.start => last.end = range.end,
                _ => watched.push(range),
            }
        }
        Ok(())
    }

    fn capacity(&self) -> usize {
        self.bytes.len()
    }
}

impl<const PAGE: usize, const WORD: usize> NorFlash for SimulatedFlash<PAGE, WORD> {
    const WRITE_SIZE: usize = WORD;
    const ERASE_SIZE: usize = PAGE;

    fn erase(&mut self, from: u32, to: u32) -> Result<(), FlashError> {
        check_erase(self, from, to)?;
        (from / PAGE as u32..to / PAGE as u32)
            .try_for_each(|page| self.apply(&Change::Erase { page }))
    }

    fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), FlashError> {
        check_write(self, offset, bytes.len())?;
        self.apply(&Change::Write { offset, bytes: bytes.to_vec() })
    }
}
