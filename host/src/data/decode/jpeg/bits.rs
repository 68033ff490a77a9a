//! Bits of entropy-coded data, and the Huffman codes in them (T.81, annexes C and F).

/// What is wrong with entropy-coded data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Damage {
    /// A marker, or the end of the file, before the last block.
    Ended,
    /// A code that the table does not have, or a value that no block can hold.
    Code,
}

/// The data of one scan from its first byte; they end at the first marker.
pub(super) struct Bits<'a> {
    data: &'a [u8],
    /// The next byte that is not in the buffer.
    position: usize,
    /// Bits not yet taken, from the top; zeros below them.
    buffer: u64,
    count: u32,
}

impl<'a> Bits<'a> {
    /// Reads from a position of a file.
    pub(super) fn new(data: &'a [u8], position: usize) -> Self {
        Self { data, position, buffer: 0, count: 0 }
    }

    /// Where the search for the next marker begins.
    pub(super) fn position(&self) -> usize {
        self.position
    }

    /// Whether the data go on to the last byte of the file, without a marker.
    pub(super) fn at_end_of_file(&self) -> bool {
        self.position + 1 >= self.data.len()
    }

    /// At least 57 bits in the buffer, or all that there are.
    #[inline]
    fn refill(&mut self) {
        if let Some(word) = self.data.get(self.position..self.position + 8) {
            let word = u64::from_be_bytes(word.try_into().expect("eight bytes"));
            // A byte of `!word` is zero where one of `word` is 0xFF.
            let zeros = (!word).wrapping_sub(0x0101_0101_0101_0101) & word & 0x8080_8080_8080_8080;
            if zeros == 0 && self.count <= 56 {
                let bits = (64 - self.count) & !7;
                self.buffer |= (word >> (64 - bits)) << (64 - bits - self.count);
                self.position += bits as usize / 8;
                self.count += bits;
                return;
            }
        }
        self.refill_bytewise();
    }

    #[cold]
    fn refill_bytewise(&mut self) {
        while self.count <= 56 {
            let step = match self.data.get(self.position..) {
                Some([0xFF, 0x00, ..]) => 2,
                Some([0xFF, ..] | []) | None => return,
                Some(_) => 1,
            };
            self.buffer |= u64::from(self.data[self.position]) << (56 - self.count);
            self.position += step;
            self.count += 8;
        }
    }

    /// Drops `bits` ≤ 31 of them.
    #[inline]
    fn drop(&mut self, bits: u32) -> Result<(), Damage> {
        if bits > self.count {
            return Err(Damage::Ended);
        }
        self.buffer <<= bits;
        self.count -= bits;
        Ok(())
    }

    /// A number of `bits` ≤ 16 bits.
    pub(super) fn take(&mut self, bits: u32) -> Result<i32, Damage> {
        if bits == 0 {
            return Ok(0);
        }
        if self.count < bits {
            self.refill();
        }
        let value = (self.buffer >> (64 - bits)) as i32;
        self.drop(bits)?;
        Ok(value)
    }

    /// A symbol.
    #[inline]
    pub(super) fn symbol(&mut self, table: &Huffman) -> Result<u8, Damage> {
        let (symbol, length) = self.look_up(table)?;
        self.drop(length)?;
        Ok(symbol)
    }

    /// A symbol, and the difference or coefficient after it, of the category that is the symbol's
    /// lower half (T.81, F.2.2.1, EXTEND).
    #[inline]
    pub(super) fn value(&mut self, table: &Huffman) -> Result<(u8, i32), Damage> {
        let (symbol, length) = self.look_up(table)?;
        let category = u32::from(symbol & 15);
        let rest = self.buffer << length;
        self.drop(length + category)?;
        let value = (rest >> 1 >> (63 - category)) as i32;
        // A first bit of 0 means a negative one.
        let negative = !((rest as i64 >> 63) as i32);
        Ok((symbol, value + (negative & (1 - (1 << category)))))
    }

    #[inline]
    fn look_up(&mut self, table: &Huffman) -> Result<(u8, u32), Damage> {
        if self.count < 32 {
            self.refill();
        }
        let ahead = (self.buffer >> 48) as u32;
        // No code at all is behind the end of the data.
        table.find(ahead).ok_or(if self.count < 16 { Damage::Ended } else { Damage::Code })
    }

    /// Goes behind the restart marker of a number.
    ///
    /// # Errors
    /// There is none, or one of another number.
    pub(super) fn restart(&mut self, number: u8) -> Result<(), String> {
        // All that may be left before it is what fills the last byte.
        while self.count < 8 && self.data.get(self.position..self.position + 2) == Some(&[0xFF; 2])
        {
            self.position += 1;
        }
        let marker = self.data.get(self.position..self.position + 2);
        match marker {
            Some(&[0xFF, found]) if self.count < 8 && found == 0xD0 + number => {
                *self = Self::new(self.data, self.position + 2);
                Ok(())
            }
            Some(&[0xFF, found @ 0xD0..=0xD7]) if self.count < 8 => {
                let found = found - 0xD0;
                Err(format!("found restart marker {found}, expected restart marker {number}"))
            }
            _ => Err(format!("found no restart marker, expected restart marker {number}")),
        }
    }
}

/// Bits of a code that one look decides about.
const LOOK: u32 = 10;

/// A Huffman table.
#[derive(Clone)]
pub(super) struct Huffman {
    /// Length and symbol by the first bits of a code; 0 for those that are longer.
    short: Box<[u16; 1 << LOOK]>,
    /// Codes of each length lie below these, read as 16 bits.
    ends: [u32; 17],
    /// Index of a symbol, less its code.
    offsets: [i32; 17],
    symbols: Vec<u8>,
}

impl Huffman {
    /// The table of a number of codes of each length, 1 to 16 bits, and their symbols in order;
    /// `None` if there are more codes than a length has room for.
    pub(super) fn new(counts: &[u8; 16], symbols: &[u8]) -> Option<Self> {
        let mut table = Self {
            short: Box::new([0; 1 << LOOK]),
            ends: [0; 17],
            offsets: [0; 17],
            symbols: symbols.to_vec(),
        };
        let (mut code, mut index) = (0u32, 0);
        for (length, &count) in (1u32..).zip(counts) {
            table.offsets[length as usize] = index as i32 - code as i32;
            for _ in 0..count {
                if code >= 1 << length {
                    return None;
                }
                if length <= LOOK {
                    let (first, room) = (code << (LOOK - length), 1 << (LOOK - length));
                    let entry = (length as u16) << 8 | u16::from(symbols[index]);
                    table.short[first as usize..(first + room) as usize].fill(entry);
                }
                code += 1;
                index += 1;
            }
            table.ends[length as usize] = code << (16 - length);
            code <<= 1;
        }
        Some(table)
    }

    /// Whether all symbols are at most `most`.
    pub(super) fn symbols_up_to(&self, most: u8) -> bool {
        self.symbols.iter().all(|&symbol| symbol <= most)
    }

    /// The symbol at the start of 16 bits, and the length of its code.
    #[inline]
    fn find(&self, ahead: u32) -> Option<(u8, u32)> {
        let entry = self.short[(ahead >> (16 - LOOK)) as usize];
        if entry != 0 {
            return Some((entry as u8, u32::from(entry >> 8)));
        }
        (LOOK + 1..=16).find(|&length| ahead < self.ends[length as usize]).map(|length| {
            let index = (ahead >> (16 - length)) as i32 + self.offsets[length as usize];
            (self.symbols[index as usize], length)
        })
    }
}
