//! A slot's content, written and read block by block, so that the state is never in memory twice.

use embedded_storage::nor_flash::{NorFlash, ReadNorFlash};
use postcard::Error;

use crate::checkpoint::crc::Crc;
use crate::checkpoint::layout::{BLOCK, Block, ERASED};

/// Why content could not be written or read to its end.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum StreamError<E> {
    Flash(E),
    /// The room or the content ended after this many bytes.
    End(u32),
}

/// Writes content.
pub(crate) struct Writer<'f, F: NorFlash> {
    flash: &'f mut F,
    at: u32,
    room: u32,
    bytes: u32,
    block: Block,
    filled: usize,
    crc: Crc,
    /// The first error, which the serialiser cannot carry.
    error: Option<StreamError<F::Error>>,
}

impl<'f, F: NorFlash> Writer<'f, F> {
    /// A writer that begins at `at`, with room for `room` bytes; `crc` is the checksum of what
    /// comes before.
    pub(crate) fn new(flash: &'f mut F, at: u32, room: u32, crc: Crc) -> Self {
        let block = [ERASED; BLOCK];
        Self { flash, at, room, bytes: 0, block, filled: 0, crc, error: None }
    }

    pub(crate) fn push(&mut self, bytes: &[u8]) -> Result<(), StreamError<F::Error>> {
        for byte in bytes {
            if self.bytes >= self.room {
                return Err(StreamError::End(self.room));
            }
            if let Some(place) = self.block.get_mut(self.filled) {
                *place = *byte;
            }
            self.filled += 1;
            self.bytes += 1;
            if self.filled == BLOCK {
                self.flush()?;
            }
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), StreamError<F::Error>> {
        self.flash.write(self.at, &self.block).map_err(StreamError::Flash)?;
        self.crc = self.crc.with(&self.block);
        self.at = self.at.saturating_add(BLOCK as u32);
        self.block = [ERASED; BLOCK];
        self.filled = 0;
        Ok(())
    }

    /// Writes what is left; returns the number of bytes and the checksum of everything.
    pub(crate) fn finish(mut self) -> Result<(u32, Crc), StreamError<F::Error>> {
        if let Some(error) = self.error {
            return Err(error);
        }
        if self.filled > 0 {
            self.flush()?;
        }
        Ok((self.bytes, self.crc))
    }
}

impl<F: NorFlash> postcard::ser_flavors::Flavor for &mut Writer<'_, F> {
    type Output = ();

    fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
        self.try_extend(&[byte])
    }

    fn try_extend(&mut self, bytes: &[u8]) -> postcard::Result<()> {
        self.push(bytes).map_err(|error| {
            self.error = Some(error);
            Error::SerializeBufferFull
        })
    }

    fn finalize(self) -> postcard::Result<()> {
        Ok(())
    }
}

/// Reads content.
pub(crate) struct Reader<'f, F: ReadNorFlash> {
    flash: &'f mut F,
    at: u32,
    bytes: u32,
    left: u32,
    block: Block,
    used: usize,
    crc: Crc,
    error: Option<StreamError<F::Error>>,
}

impl<'f, F: ReadNorFlash> Reader<'f, F> {
    /// A reader of `bytes` bytes that begin at `at`; `crc` is the checksum of what comes before.
    pub(crate) fn new(flash: &'f mut F, at: u32, bytes: u32, crc: Crc) -> Self {
        let block = [ERASED; BLOCK];
        Self { flash, at, bytes, left: bytes, block, used: BLOCK, crc, error: None }
    }

    /// Fills `bytes`.
    pub(crate) fn take(&mut self, bytes: &mut [u8]) -> Result<(), StreamError<F::Error>> {
        for byte in bytes {
            if self.left == 0 {
                return Err(StreamError::End(self.bytes));
            }
            if self.used == BLOCK {
                self.fetch()?;
            }
            *byte = self.block.get(self.used).copied().unwrap_or(ERASED);
            self.used += 1;
            self.left -= 1;
        }
        Ok(())
    }

    fn fetch(&mut self) -> Result<(), StreamError<F::Error>> {
        self.flash.read(self.at, &mut self.block).map_err(StreamError::Flash)?;
        self.crc = self.crc.with(&self.block);
        self.at = self.at.saturating_add(BLOCK as u32);
        self.used = 0;
        Ok(())
    }

    /// Reads what is left; returns the checksum of everything.
    pub(crate) fn finish(mut self) -> Result<Crc, StreamError<F::Error>> {
        if let Some(StreamError::Flash(error)) = self.error {
            return Err(StreamError::Flash(error));
        }
        self.left = self.left.saturating_sub((BLOCK - self.used) as u32);
        while self.left > 0 {
            self.fetch()?;
            self.left = self.left.saturating_sub(BLOCK as u32);
        }
        Ok(self.crc)
    }
}

/// A reader as postcard wants it.
pub(crate) struct Source<'r, 'f, F: ReadNorFlash> {
    pub(crate) reader: &'r mut Reader<'f, F>,
    /// Holds a number of fixed size; 8 bytes is the longest.
    pub(crate) number: [u8; 8],
}

impl<'r, 'f, F: ReadNorFlash> postcard::de_flavors::Flavor<'r> for Source<'r, 'f, F>
where
    'f: 'r,
    F: 'r,
{
    type Remainder = ();
    type Source = ();

    fn pop(&mut self) -> postcard::Result<u8> {
        let mut byte = [0];
        self.reader.take(&mut byte).map_err(|error| {
            self.reader.error = Some(error);
            Error::DeserializeUnexpectedEnd
        })?;
        let [byte] = byte;
        Ok(byte)
    }

    /// Nothing in a state borrows from its stored form.
    fn try_take_n(&mut self, _: usize) -> postcard::Result<&'r [u8]> {
        Err(Error::WontImplement)
    }

    fn try_take_n_temp<'a>(&'a mut self, count: usize) -> postcard::Result<&'a [u8]>
    where
        'r: 'a,
    {
        let number = self.number.get_mut(..count).ok_or(Error::WontImplement)?;
        self.reader.take(number).map_err(|error| {
            self.reader.error = Some(error);
            Error::DeserializeUnexpectedEnd
        })?;
        Ok(number)
    }

    fn finalize(self) -> postcard::Result<()> {
        Ok(())
    }
}
