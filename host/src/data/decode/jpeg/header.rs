//! The segments of a JPEG file: its frame, tables and scans (T.81, annex B).

use super::bits::{Bits, Huffman};

/// What is said of a file that ends before its end marker.
pub(super) const TRUNCATED: &str = "truncated JPEG, expected an end-of-image marker";

/// Coefficients of a block in the order of the file, by their place in it.
pub(super) const ZIGZAG: [u8; 64] = {
    let mut order = [0; 64];
    let (mut row, mut column, mut at) = (0usize, 0usize, 0);
    while at < 64 {
        order[at] = (row * 8 + column) as u8;
        // Diagonals run upwards and downwards in turn, and turn at the edges.
        if (row + column) % 2 == 0 {
            if column == 7 {
                row += 1;
            } else {
                column += 1;
                row = row.saturating_sub(1);
            }
        } else if row == 7 {
            column += 1;
        } else {
            row += 1;
            column = column.saturating_sub(1);
        }
        at += 1;
    }
    order
};

/// One colour component of the frame.
#[derive(Clone, Copy, Debug)]
pub(super) struct Component {
    pub(super) id: u8,
    /// Sampling factors, 1 to 4.
    pub(super) across: usize,
    pub(super) down: usize,
    /// Number of its quantisation table, 0 to 3.
    pub(super) table: usize,
}

/// The frame's header: 8 bits a sample, Huffman coding, 1, 3 or 4 components.
#[derive(Clone, Debug)]
pub(super) struct Frame {
    pub(super) progressive: bool,
    pub(super) width: usize,
    pub(super) height: usize,
    pub(super) components: Vec<Component>,
}

impl Frame {
    /// The largest sampling factors of all components.
    pub(super) fn most(&self) -> (usize, usize) {
        let most = |factor: fn(&Component) -> usize| {
            self.components.iter().map(factor).max().expect("a frame has components")
        };
        (most(|component| component.across), most(|component| component.down))
    }
}

/// A component in a scan: its index in the frame, and the numbers of its tables.
#[derive(Clone, Copy, Debug)]
pub(super) struct Coded {
    pub(super) component: usize,
    pub(super) dc: usize,
    pub(super) ac: usize,
}

/// A scan's header.
#[derive(Clone, Debug)]
pub(super) struct Scan {
    pub(super) coded: Vec<Coded>,
    /// First and last coefficient.
    pub(super) band: (usize, usize),
    /// Bits of the coefficients that were known before, and after it: all but the lowest so many.
    pub(super) approximation: (u8, u8),
}

/// How the components make colours, as libjpeg decides it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Colour {
    Grey,
    Rgb,
    YCbCr,
    Cmyk,
    Ycck,
}

/// A file, read up to some place.
pub(super) struct Segments<'a> {
    bytes: &'a [u8],
    /// Behind what was read last.
    pub(super) position: usize,
    pub(super) frame: Option<Frame>,
    /// Each in the order of [`ZIGZAG`]'s places.
    pub(super) quantisation: [Option<[u16; 64]>; 4],
    pub(super) dc: [Option<Huffman>; 4],
    pub(super) ac: [Option<Huffman>; 4],
    /// MCUs between two restart markers; 0 without.
    pub(super) restart_interval: usize,
    jfif: bool,
    /// The transform that Adobe's marker states.
    adobe: Option<u8>,
    /// The first EXIF block.
    pub(super) exif: Option<&'a [u8]>,
}

impl<'a> Segments<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self {
            bytes,
            position: 2,
            frame: None,
            quantisation: [None; 4],
            dc: [const { None }; 4],
            ac: [const { None }; 4],
            restart_interval: 0,
            jfif: false,
            adobe: None,
            exif: None,
        }
    }

    /// Reads up to the data of the next scan; `None` at the end of the image.
    ///
    /// Bytes between segments are skipped, as libjpeg does.
    ///
    /// # Errors
    /// The file ends; a segment is damaged; a kind of JPEG that is not read.
    pub(super) fn next_scan(&mut self) -> Result<Option<Scan>, String> {
        loop {
            let marker = self.next_marker()?;
            match marker {
                0xD9 => return Ok(None),
                0x01 | 0xD0..=0xD8 => continue,
                _ => {}
            }
            let content = self.content()?;
            match marker {
                0xDA => return self.scan(content).map(Some),
                0xC0..=0xC2 => self.set_frame(marker, content)?,
                0xC3 => return Err("a lossless JPEG, expected baseline or progressive".into()),
                0xC9..=0xCB | 0xCD..=0xCF => {
                    return Err("arithmetic coding, expected Huffman coding".into());
                }
                0xC5..=0xC8 => {
                    return Err("a differential JPEG, expected baseline or progressive".into());
                }
                0xC4 => self.set_codes(content)?,
                0xDB => self.set_quantisation(content)?,
                0xDD => match content {
                    &[high, low] => {
                        self.restart_interval = u16::from_be_bytes([high, low]).into();
                    }
                    _ => return Err("the restart interval's segment has another length".into()),
                },
                0xDC | 0xDE | 0xDF => {
                    return Err("a number of lines or an expansion in a segment of its own".into());
                }
                0xE0 => self.jfif |= content.len() >= 14 && content.starts_with(b"JFIF\0"),
                0xE1 => {
                    let exif = content.strip_prefix(b"Exif\0\0").filter(|exif| !exif.is_empty());
                    self.exif = self.exif.or(exif);
                }
                0xEE if content.len() >= 12 && content.starts_with(b"Adobe") => {
                    self.adobe = Some(content[11]);
                }
                _ => {}
            }
        }
    }

    /// The data of the scan whose header was read last.
    pub(super) fn bits(&self) -> Bits<'a> {
        Bits::new(self.bytes, self.position)
    }

    fn next_marker(&mut self) -> Result<u8, String> {
        loop {
            match self.bytes.get(self.position..) {
                None | Some([] | [_]) => return Err(TRUNCATED.into()),
                Some([0xFF, 0xFF, ..]) => self.position += 1,
                Some([0xFF, 0x00, ..]) => self.position += 2,
                Some(&[0xFF, marker, ..]) => {
                    self.position += 2;
                    return Ok(marker);
                }
                Some(_) => self.position += 1,
            }
        }
    }

    /// What a segment holds behind its length.
    fn content(&mut self) -> Result<&'a [u8], String> {
        let bytes = self.bytes;
        let length = match bytes.get(self.position..self.position + 2) {
            Some(&[high, low]) => usize::from(u16::from_be_bytes([high, low])),
            _ => return Err(TRUNCATED.into()),
        };
        if length < 2 {
            return Err(format!("a segment of {length} bytes, expected at least 2"));
        }
        let content = bytes.get(self.position + 2..self.position + length);
        self.position += length;
        content.ok_or_else(|| TRUNCATED.into())
    }

    fn set_frame(&mut self, marker: u8, content: &[u8]) -> Result<(), String> {
        if self.frame.is_some() {
            return Err("found a second frame, expected one".into());
        }
        let &[precision, high, low, left, right, count, ref components @ ..] = content else {
            return Err("the frame's header is too short".into());
        };
        if precision != 8 {
            return Err(format!("{precision} bits a sample, expected 8"));
        }
        if ![1, 3, 4].contains(&count) {
            return Err(format!("{count} colour components, expected 1 (grey), 3 or 4 (CMYK)"));
        }
        if components.len() != 3 * usize::from(count) {
            return Err("the frame's header has another length than its components".into());
        }
        let component = |bytes: &[u8]| Component {
            id: bytes[0],
            across: usize::from(bytes[1] >> 4),
            down: usize::from(bytes[1] & 15),
            table: usize::from(bytes[2]),
        };
        let components: Vec<Component> = components.chunks_exact(3).map(component).collect();
        for &Component { across, down, table, .. } in &components {
            if !(1..=4).contains(&across) || !(1..=4).contains(&down) {
                return Err(format!("sampling factors {across} x {down}, expected 1 to 4"));
            }
            if table > 3 {
                return Err(format!("quantisation table {table}, expected 0 to 3"));
            }
        }
        let frame = Frame {
            progressive: marker == 0xC2,
            width: u16::from_be_bytes([left, right]).into(),
            height: u16::from_be_bytes([high, low]).into(),
            components,
        };
        let most = frame.most();
        if frame
            .components
            .iter()
            .any(|c| !most.0.is_multiple_of(c.across) || !most.1.is_multiple_of(c.down))
        {
            return Err("sampling factors that do not divide the largest".into());
        }
        self.frame = Some(frame);
        Ok(())
    }

    fn set_codes(&mut self, mut content: &[u8]) -> Result<(), String> {
        while !content.is_empty() {
            let Some((head, rest)) = content.split_at_checked(17) else {
                return Err("a Huffman table is cut off".into());
            };
            let (kind, number) = (head[0] >> 4, usize::from(head[0] & 15));
            let counts: &[u8; 16] = head[1..].try_into().expect("16 bytes");
            let symbols = counts.iter().map(|&count| usize::from(count)).sum();
            if kind > 1 || number > 3 || symbols > 256 || symbols > rest.len() {
                return Err("a Huffman table with a wrong head".into());
            }
            let (symbols, rest) = rest.split_at(symbols);
            let table =
                Huffman::new(counts, symbols).ok_or("a Huffman table with too many codes")?;
            if kind == 0 && !table.symbols_up_to(15) {
                return Err("a Huffman table of DC coefficients with more than 15 bits".into());
            }
            let tables = if kind == 0 { &mut self.dc } else { &mut self.ac };
            tables[number] = Some(table);
            content = rest;
        }
        Ok(())
    }

    fn set_quantisation(&mut self, mut content: &[u8]) -> Result<(), String> {
        while let Some((&head, rest)) = content.split_first() {
            let (wide, number) = (head >> 4, usize::from(head & 15));
            let bytes = if wide == 0 { 64 } else { 128 };
            if wide > 1 || number > 3 || rest.len() < bytes {
                return Err("a quantisation table with a wrong head or length".into());
            }
            let (values, rest) = rest.split_at(bytes);
            let mut table = [0; 64];
            for (place, value) in table.iter_mut().enumerate() {
                *value = match wide {
                    0 => values[place].into(),
                    _ => u16::from_be_bytes([values[2 * place], values[2 * place + 1]]),
                };
            }
            self.quantisation[number] = Some(table);
            content = rest;
        }
        Ok(())
    }

    fn scan(&self, content: &[u8]) -> Result<Scan, String> {
        let frame = self.frame.as_ref().ok_or("a scan before the frame's header")?;
        let count = usize::from(content.first().copied().unwrap_or(0));
        if !(1..=4).contains(&count) || content.len() != 2 * count + 4 {
            return Err("a scan's header with a wrong length or number of components".into());
        }
        let (listed, rest) = content[1..].split_at(2 * count);
        let mut coded: Vec<Coded> = Vec::with_capacity(count);
        for entry in listed.chunks_exact(2) {
            // libjpeg asks for the frame's order, too; of equal ids the next one is meant.
            let from = coded.last().map_or(0, |last| last.component + 1);
            let later = frame.components.iter().skip(from).position(|c| c.id == entry[0]);
            let Some(later) = later else {
                return Err(format!(
                    "component {} in a scan, expected those of the frame in its order",
                    entry[0]
                ));
            };
            let (dc, ac) = (usize::from(entry[1] >> 4), usize::from(entry[1] & 15));
            if dc > 3 || ac > 3 {
                return Err("a scan with a Huffman table above 3".into());
            }
            coded.push(Coded { component: from + later, dc, ac });
        }
        let blocks = |coded: &Coded| {
            let component = frame.components[coded.component];
            component.across * component.down
        };
        if count > 1 && coded.iter().map(blocks).sum::<usize>() > 10 {
            return Err("more than 10 blocks an MCU".into());
        }
        let band = (usize::from(rest[0]), usize::from(rest[1]));
        Ok(Scan { coded, band, approximation: (rest[2] >> 4, rest[2] & 15) })
    }

    /// The colours of the frame that was read, by libjpeg's rules.
    pub(super) fn colour(&self) -> Colour {
        let frame = self.frame.as_ref().expect("the frame was read");
        let ids: Vec<u8> = frame.components.iter().map(|component| component.id).collect();
        match (ids.as_slice(), self.jfif, self.adobe) {
            ([_], ..) => Colour::Grey,
            ([_, _, _], true, _) => Colour::YCbCr,
            ([_, _, _], false, Some(0)) => Colour::Rgb,
            ([_, _, _], false, Some(_)) => Colour::YCbCr,
            (b"RGB", false, None) => Colour::Rgb,
            ([_, _, _], ..) => Colour::YCbCr,
            (_, _, None | Some(0)) => Colour::Cmyk,
            _ => Colour::Ycck,
        }
    }
}
