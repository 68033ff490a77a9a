//! Coefficients out of entropy-coded data: sequential and progressive scans (T.81, annexes F, G).

use super::bits::{Bits, Damage, Huffman};
use super::header::{Coded, Frame, Scan, Segments, TRUNCATED, ZIGZAG};

/// The coefficients of one component.
pub(super) struct Plane {
    /// Blocks across, filled up to whole MCUs.
    pub(super) stride: usize,
    /// Blocks that show something.
    pub(super) blocks: (usize, usize),
    /// Samples that show something.
    pub(super) samples: (usize, usize),
    /// Rows of blocks, each in the order of rows and columns.
    pub(super) coefficients: Vec<[i16; 64]>,
    /// The table that held when its first scan began.
    pub(super) quantisation: Option<[u16; 64]>,
    /// Lowest bit that is known of every coefficient; `None` before its first scan.
    known: [Option<u8>; 64],
}

impl Plane {
    fn new(frame: &Frame, component: usize) -> Self {
        let (most, component) = (frame.most(), frame.components[component]);
        let samples = (
            (frame.width * component.across).div_ceil(most.0),
            (frame.height * component.down).div_ceil(most.1),
        );
        let stride = frame.width.div_ceil(8 * most.0) * component.across;
        let rows = frame.height.div_ceil(8 * most.1) * component.down;
        Self {
            stride,
            blocks: (samples.0.div_ceil(8), samples.1.div_ceil(8)),
            samples,
            coefficients: vec![[0; 64]; stride * rows],
            quantisation: None,
            known: [None; 64],
        }
    }
}

/// Decodes all scans of a file whose first scan's header was read.
///
/// # Errors
/// Damaged or missing data, or scans that leave coefficients incomplete.
pub(super) fn decode(segments: &mut Segments, first: Scan) -> Result<Vec<Plane>, String> {
    let frame = segments.frame.clone().expect("the frame was read");
    let mut planes: Vec<Plane> =
        (0..frame.components.len()).map(|component| Plane::new(&frame, component)).collect();
    let mut scan = first;
    loop {
        for coded in &scan.coded {
            let plane = &mut planes[coded.component];
            note_progress(plane, coded.component, &scan, frame.progressive)?;
            let table = frame.components[coded.component].table;
            if plane.quantisation.is_none() {
                plane.quantisation = segments.quantisation[table];
            }
            if plane.quantisation.is_none() {
                return Err(format!("found no quantisation table {table}"));
            }
        }
        decode_scan(segments, &frame, &scan, &mut planes)?;
        match segments.next_scan()? {
            Some(next) => scan = next,
            None => break,
        }
    }
    for (component, plane) in planes.iter().enumerate() {
        if plane.known[0].is_none() {
            return Err(format!("no scan for colour component {component}"));
        }
        if let Some(coefficient) = plane.known.iter().position(|&lowest| lowest != Some(0)) {
            return Err(format!(
                "its scans leave coefficient {coefficient} of colour component {component} \
                 incomplete"
            ));
        }
    }
    Ok(planes)
}

/// Notes what a scan adds to the coefficients of a component.
fn note_progress(
    plane: &mut Plane,
    component: usize,
    scan: &Scan,
    progressive: bool,
) -> Result<(), String> {
    let ((first, last), (before, after)) = (scan.band, scan.approximation);
    let (band, (before, after)) = if progressive {
        let one_kind = if first == 0 { last == 0 } else { scan.coded.len() == 1 };
        let one_bit = before == 0 || before == after + 1;
        if !one_kind || last < first || last > 63 || after > 13 || !one_bit {
            return Err(format!(
                "a progressive scan of coefficients {first} to {last}, bits {before} to {after}"
            ));
        }
        (first..=last, (before, after))
    } else {
        // Sequential scans hold all, whatever their headers say.
        (0..=63, (0, 0))
    };
    for lowest in &mut plane.known[band] {
        let expected = if before == 0 { None } else { Some(before) };
        if *lowest != expected {
            return Err(format!("a scan repeats or skips bits of colour component {component}"));
        }
        *lowest = Some(after);
    }
    Ok(())
}

/// How the blocks of one scan are coded.
#[derive(Clone, Copy)]
enum Coding<'a> {
    Sequential { dc: &'a Huffman, ac: &'a Huffman },
    DcFirst { dc: &'a Huffman },
    DcRefined,
    AcFirst { ac: &'a Huffman },
    AcRefined { ac: &'a Huffman },
}

fn coding<'a>(
    segments: &'a Segments,
    coded: &Coded,
    scan: &Scan,
    progressive: bool,
) -> Result<Coding<'a>, String> {
    let dc = || segments.dc[coded.dc].as_ref().ok_or("found no Huffman table for DC coefficients");
    let ac = || segments.ac[coded.ac].as_ref().ok_or("found no Huffman table for AC coefficients");
    Ok(match (progressive, scan.band.0, scan.approximation.0) {
        (false, ..) => Coding::Sequential { dc: dc()?, ac: ac()? },
        (true, 0, 0) => Coding::DcFirst { dc: dc()? },
        (true, 0, _) => Coding::DcRefined,
        (true, _, 0) => Coding::AcFirst { ac: ac()? },
        (true, ..) => Coding::AcRefined { ac: ac()? },
    })
}

/// The MCUs of a scan, restarts included: `mcu` is called with the number of each, and told to
/// forget what it remembers before the first one behind a restart.
///
/// # Errors
/// Damaged data, with the number of the MCU.
pub(super) fn each_mcu(
    bits: &mut Bits,
    mcus: usize,
    restart_interval: usize,
    mut mcu: impl FnMut(&mut Bits, usize, bool) -> Result<(), Damage>,
) -> Result<(), String> {
    for number in 0..mcus {
        let restarts = restart_interval > 0 && number > 0 && number % restart_interval == 0;
        if restarts {
            let marker = (number / restart_interval - 1) % 8;
            bits.restart(marker as u8)
                .map_err(|reason| format!("{reason} before MCU {number} of {mcus}"))?;
        }
        mcu(bits, number, restarts).map_err(|damage| match damage {
            Damage::Ended if bits.at_end_of_file() => TRUNCATED.into(),
            Damage::Ended => format!("the data of a scan end in MCU {number} of {mcus}"),
            Damage::Code => format!("corrupt data in MCU {number} of {mcus}"),
        })?;
    }
    Ok(())
}

fn decode_scan(
    segments: &mut Segments,
    frame: &Frame,
    scan: &Scan,
    planes: &mut [Plane],
) -> Result<(), String> {
    let codings: Vec<Coding> = scan
        .coded
        .iter()
        .map(|coded| coding(segments, coded, scan, frame.progressive))
        .collect::<Result<_, String>>()?;
    let most = frame.most();
    // A component alone has no MCUs but blocks, and only those that show something.
    let alone = scan.coded.len() == 1;
    let (across, down) = if alone {
        planes[scan.coded[0].component].blocks
    } else {
        (frame.width.div_ceil(8 * most.0), frame.height.div_ceil(8 * most.1))
    };
    let mut state = State {
        predictors: [0; 4],
        run: 0,
        band: scan.band,
        lowest: u32::from(scan.approximation.1),
    };
    let mut bits = segments.bits();
    each_mcu(&mut bits, across * down, segments.restart_interval, |bits, number, restarts| {
        if restarts {
            (state.predictors, state.run) = ([0; 4], 0);
        }
        let (x, y) = (number % across, number / across);
        for (coded, &coding) in scan.coded.iter().zip(&codings) {
            let component = frame.components[coded.component];
            let plane = &mut planes[coded.component];
            let (wide, high) = if alone { (1, 1) } else { (component.across, component.down) };
            for block in 0..wide * high {
                let (column, row) = (x * wide + block % wide, y * high + block / wide);
                let block = &mut plane.coefficients[row * plane.stride + column];
                state.decode(bits, coding, coded.component, block)?;
            }
        }
        Ok(())
    })?;
    segments.position = bits.position();
    Ok(())
}

/// What one block leaves to the next.
struct State {
    /// DC of the last block, by component.
    predictors: [i32; 4],
    /// Blocks without further coefficients in the band.
    run: u32,
    band: (usize, usize),
    /// Number of the lowest bit that the scan codes.
    lowest: u32,
}

impl State {
    fn decode(
        &mut self,
        bits: &mut Bits,
        coding: Coding,
        component: usize,
        block: &mut [i16; 64],
    ) -> Result<(), Damage> {
        match coding {
            Coding::Sequential { dc, ac } => {
                block[0] = self.dc(bits, dc, component)? as i16;
                sequential_ac(bits, ac, block)
            }
            Coding::DcFirst { dc } => {
                block[0] = (self.dc(bits, dc, component)? << self.lowest) as i16;
                Ok(())
            }
            Coding::DcRefined => {
                block[0] |= (bits.take(1)? << self.lowest) as i16;
                Ok(())
            }
            Coding::AcFirst { ac } => self.first_ac(bits, ac, block),
            Coding::AcRefined { ac } => self.refined_ac(bits, ac, block),
        }
    }

    fn dc(&mut self, bits: &mut Bits, dc: &Huffman, component: usize) -> Result<i32, Damage> {
        let (_, difference) = bits.value(dc)?;
        let predictor = &mut self.predictors[component];
        *predictor = predictor.wrapping_add(difference);
        Ok(*predictor)
    }

    fn first_ac(
        &mut self,
        bits: &mut Bits,
        ac: &Huffman,
        block: &mut [i16; 64],
    ) -> Result<(), Damage> {
        if self.run > 0 {
            self.run -= 1;
            return Ok(());
        }
        let (mut at, last) = self.band;
        while at <= last {
            let (symbol, value) = bits.value(ac)?;
            let (zeros, category) = (usize::from(symbol >> 4), symbol & 15);
            match (zeros, category) {
                (15, 0) => at += 16,
                (zeros, 0) => {
                    self.run = (1 << zeros) + bits.take(zeros as u32)? as u32 - 1;
                    break;
                }
                _ => {
                    at += zeros;
                    if at > last {
                        return Err(Damage::Code);
                    }
                    block[usize::from(ZIGZAG[at])] = (value << self.lowest) as i16;
                    at += 1;
                }
            }
        }
        Ok(())
    }

    /// One more bit of the coefficients that are not 0, and those that become ±1 of it.
    fn refined_ac(
        &mut self,
        bits: &mut Bits,
        ac: &Huffman,
        block: &mut [i16; 64],
    ) -> Result<(), Damage> {
        let (mut at, last) = self.band;
        let one = 1i16 << self.lowest;
        while self.run == 0 && at <= last {
            let symbol = bits.symbol(ac)?;
            let (zeros, category) = (u32::from(symbol >> 4), symbol & 15);
            let new = match (zeros, category) {
                (15, 0) => None,
                (zeros, 0) => {
                    self.run = (1 << zeros) + bits.take(zeros)? as u32;
                    break;
                }
                (_, 1) => Some(if bits.take(1)? == 1 { one } else { -one }),
                _ => return Err(Damage::Code),
            };
            at = refine(bits, block, (at, last), one, zeros)?;
            if let Some(new) = new {
                if at > last {
                    return Err(Damage::Code);
                }
                block[usize::from(ZIGZAG[at])] = new;
            }
            at += 1;
        }
        if self.run > 0 {
            refine(bits, block, (at, last), one, u32::MAX)?;
            self.run -= 1;
        }
        Ok(())
    }
}

fn sequential_ac(bits: &mut Bits, ac: &Huffman, block: &mut [i16; 64]) -> Result<(), Damage> {
    let mut at = 1;
    while at < 64 {
        let (symbol, value) = bits.value(ac)?;
        let (zeros, category) = (usize::from(symbol >> 4), symbol & 15);
        match (zeros, category) {
            (15, 0) => at += 16,
            (_, 0) => break,
            _ => {
                at += zeros;
                if at > 63 {
                    return Err(Damage::Code);
                }
                block[usize::from(ZIGZAG[at])] = value as i16;
                at += 1;
            }
        }
    }
    Ok(())
}

/// Reads a bit of each coefficient that is not 0, up to the place behind `zeros` that are.
fn refine(
    bits: &mut Bits,
    block: &mut [i16; 64],
    (first, last): (usize, usize),
    one: i16,
    mut zeros: u32,
) -> Result<usize, Damage> {
    let mut at = first;
    while at <= last {
        let value = &mut block[usize::from(ZIGZAG[at])];
        if *value != 0 {
            if bits.take(1)? == 1 {
                *value = value.wrapping_add(if *value < 0 { -one } else { one });
            }
        } else if zeros == 0 {
            break;
        } else {
            zeros -= 1;
        }
        at += 1;
    }
    Ok(at)
}
