//! A few windows of one person's watch, as a file that is part of the program.
//!
//! The file holds, in this order: the numbers of windows without labels, with labels, and held out
//! (u32 each); the classes of the labelled and then of the held-out windows (one byte each); the
//! windows in the same order, as 16-bit integers. Everything is little-endian. This source file is
//! also part of the boards' build script.

/// Numbers in a window: 100 samples of six channels.
const WINDOW_NUMBERS: usize = 600;

/// The windows of an extract.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Extract {
    /// Windows without labels, one after the other.
    pub unlabelled: Vec<i16>,
    /// Labelled windows.
    pub labelled: Vec<i16>,
    /// Their classes.
    pub labels: Vec<u8>,
    /// Windows that no training sees.
    pub held_out: Vec<i16>,
    /// Their classes.
    pub held_out_labels: Vec<u8>,
}

impl Extract {
    /// Reads a file; `None` if its length is not what it says.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let mut rest = bytes;
        let mut take = |count: usize| {
            let (taken, behind) = rest.split_at_checked(count)?;
            rest = behind;
            Some(taken)
        };
        let mut count = || Some(u32::from_le_bytes(take(4)?.try_into().ok()?) as usize);
        let (unlabelled, labelled, held_out) = (count()?, count()?, count()?);
        let labels = take(labelled)?.to_vec();
        let held_out_labels = take(held_out)?.to_vec();
        let mut windows = |count: usize| {
            let bytes = take(count.checked_mul(2 * WINDOW_NUMBERS)?)?;
            Some(bytes.chunks_exact(2).map(|b| i16::from_le_bytes([b[0], b[1]])).collect())
        };
        let extract = Self {
            unlabelled: windows(unlabelled)?,
            labelled: windows(labelled)?,
            labels,
            held_out: windows(held_out)?,
            held_out_labels,
        };
        rest.is_empty().then_some(extract)
    }

    /// The bytes of the file.
    #[allow(dead_code, reason = "the boards' build script only reads")]
    pub fn write(&self) -> Vec<u8> {
        let counts = [&self.unlabelled, &self.labelled, &self.held_out];
        let counts = counts.map(|numbers| (numbers.len() / WINDOW_NUMBERS) as u32);
        let mut bytes: Vec<u8> = counts.iter().flat_map(|count| count.to_le_bytes()).collect();
        bytes.extend(&self.labels);
        bytes.extend(&self.held_out_labels);
        for numbers in [&self.unlabelled, &self.labelled, &self.held_out] {
            bytes.extend(numbers.iter().flat_map(|number| number.to_le_bytes()));
        }
        bytes
    }
}
