//! What the kernels know of each image of a chunk: a table of words and one of numbers, for each
//! view.

use std::ops::Range;

use super::layout::{
    BETWEEN, BLUR_KERNELS, BLUR_LENGTH, BLUR_LIST, BLURRED, BRIGHTNESS, CHANGE_BITS, CHANGES,
    CHANGES_BEFORE, COLUMN_PRECISION, COLUMN_TAPS, CONTRAST, FACTORS, FIELDS, FLAGS, GREY, HEAD,
    HUE, PITCH, PIXELS, ROW_PRECISION, ROW_TAPS, SATURATION, SOLARISE, TAP_FIELDS, WORDS,
};
use super::weights::{Axis, Taps};
use crate::data::augment::{Change, Drawn, Mirror};

/// The scaling of one image for one view, in pixels of the image.
pub(super) struct Scaling {
    rows: Axis,
    columns: Axis,
    /// The rows and columns that are read.
    read: Area,
}

/// A rectangle of an image.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Area {
    pub(super) rows: Range<u32>,
    pub(super) columns: Range<u32>,
}

/// Where a rectangle of an image lies among the pixels of a chunk.
#[derive(Clone, Debug)]
pub(super) struct Held {
    pub(super) area: Area,
    /// Its first word; every row begins with one.
    pub(super) begin: usize,
}

/// The tables of one view, as [`layout`](super::layout) says.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Table {
    /// Places, taps, weights and flags.
    pub words: Vec<u32>,
    /// Levels, factors and the kernels of the blur.
    pub numbers: Vec<f32>,
    /// Words between the two passes of scaling, of all images.
    pub between: usize,
    /// Words of the longest of those rows.
    pub row_words_max: u32,
    /// Images that are blurred.
    pub blurred: u32,
    /// Whether any image has its contrast changed.
    pub contrast: bool,
}

impl Scaling {
    /// The scaling of an image of which views of `size` pixels were drawn.
    pub(super) fn new(drawn: &Drawn, size: u32) -> Self {
        let (part, (width, height), window) = (drawn.cut.part, drawn.cut.scaled, drawn.cut.window);
        assert_eq!((window.width, window.height), (size, size), "drawn for views of one size");
        let rows = Axis::new(part.height, height, window.top..window.top + window.height);
        let mut columns = Axis::new(part.width, width, window.left..window.left + window.width);
        if drawn.mirror == Mirror::Yes {
            columns.pixels.reverse();
        }
        let read =
            Area { rows: moved(rows.read(), part.top), columns: moved(columns.read(), part.left) };
        Self { rows, columns, read }
    }

    pub(super) fn read(&self) -> &Area {
        &self.read
    }

    /// Words of a row between the passes, with those bytes that share a word with the first column.
    fn row_words(&self, phase: u32) -> u32 {
        (phase + 3 * self.read.columns.len() as u32).div_ceil(4)
    }

    /// Words between the passes, at most.
    pub(super) fn between_max(&self) -> usize {
        self.rows.pixels.len() * self.row_words(3) as usize
    }
}

impl Area {
    /// The smallest rectangle that holds both.
    pub(super) fn with(&self, other: &Self) -> Self {
        let hull = |a: &Range<u32>, b: &Range<u32>| a.start.min(b.start)..a.end.max(b.end);
        Self { rows: hull(&self.rows, &other.rows), columns: hull(&self.columns, &other.columns) }
    }

    /// Words of a row.
    pub(super) fn pitch(&self) -> usize {
        (3 * self.columns.len()).div_ceil(4)
    }

    pub(super) fn words(&self) -> usize {
        self.rows.len() * self.pitch()
    }
}

impl Table {
    /// The table of images whose pixels are `held`, each with its scaling and what else was drawn.
    pub(super) fn new(held: &[Held], scalings: &[&Scaling], drawn: &[Drawn]) -> Self {
        let levels = (0..=255u8).map(|level| f32::from(level) / 255.0);
        let mut table = Self { numbers: levels.collect(), ..Self::default() };
        table.words.resize(HEAD + FIELDS * held.len(), 0);
        table.numbers.resize(FACTORS + 4 * held.len(), 0.0);
        for (image, ((held, scaling), drawn)) in held.iter().zip(scalings).zip(drawn).enumerate() {
            table.scale(image, held, scaling);
            table.colour(image, drawn);
        }
        table.blur(drawn);
        table
    }

    fn scale(&mut self, image: usize, held: &Held, scaling: &Scaling) {
        let (read, pitch) = (&scaling.read, held.area.pitch());
        let first_byte = 3 * (read.columns.start - held.area.columns.start);
        let below = (read.rows.start - held.area.rows.start) as usize;
        let begin = held.begin + below * pitch + (first_byte / 4) as usize;
        let phase = first_byte % 4;
        let words = scaling.row_words(phase);
        let (top, left) = (scaling.rows.read().start, scaling.columns.read().start);
        let rows = self.axis(&scaling.rows, |row| row - top);
        let columns = self.axis(&scaling.columns, |column| phase + 3 * (column - left));
        self.set(image, PIXELS, word(begin));
        self.set(image, PITCH, word(pitch));
        self.set(image, BETWEEN, word(self.between));
        self.set(image, WORDS, words);
        self.set(image, ROW_TAPS, rows);
        self.set(image, ROW_PRECISION, scaling.rows.precision);
        self.set(image, COLUMN_TAPS, columns);
        self.set(image, COLUMN_PRECISION, scaling.columns.precision);
        self.row_words_max = self.row_words_max.max(words);
        self.between += scaling.rows.pixels.len() * words as usize;
    }

    /// Appends taps and weights; where the taps begin.
    fn axis(&mut self, axis: &Axis, place: impl Fn(u32) -> u32) -> u32 {
        let taps = self.words.len();
        let weights = word(taps + TAP_FIELDS * axis.pixels.len());
        for &Taps { first, count, weights: begin } in &axis.pixels {
            self.words.extend([place(first), count, weights + begin]);
        }
        self.words.extend(axis.weights.iter().map(|&weight| i32::from(weight).cast_unsigned()));
        word(taps)
    }

    fn colour(&mut self, image: usize, drawn: &Drawn) {
        let mut codes = 0;
        for (step, &change) in drawn.jitter.iter().flatten().enumerate() {
            let (code, factor) = match change {
                Change::Brightness(factor) => (BRIGHTNESS, factor),
                Change::Contrast(factor) => (CONTRAST, factor),
                Change::Saturation(factor) => (SATURATION, factor),
                Change::Hue(shift) => (HUE, shift),
            };
            codes |= code << (step as u32 * CHANGE_BITS);
            self.numbers[FACTORS + 4 * image + step] = factor;
            if code == CONTRAST {
                self.contrast = true;
                self.set(image, CHANGES_BEFORE, step as u32);
            }
        }
        let flag = |condition: bool, flag: u32| if condition { flag } else { 0 };
        let flags = flag(drawn.grey, GREY)
            | flag(drawn.blur.is_some(), BLURRED)
            | flag(drawn.solarise, SOLARISE);
        self.set(image, CHANGES, codes);
        self.set(image, FLAGS, flags);
    }

    fn blur(&mut self, drawn: &[Drawn]) {
        self.words[BLUR_LIST] = word(self.words.len());
        self.words[BLUR_KERNELS] = word(self.numbers.len());
        for (image, drawn) in drawn.iter().enumerate() {
            let Some(kernel) = &drawn.blur else { continue };
            let length = word(kernel.len());
            assert!(
                self.blurred == 0 || self.words[BLUR_LENGTH] == length,
                "views of one size have kernels of one length"
            );
            self.words[BLUR_LENGTH] = length;
            self.blurred += 1;
            self.words.push(word(image));
            self.numbers.extend_from_slice(kernel);
        }
    }

    fn set(&mut self, image: usize, field: usize, value: u32) {
        self.words[HEAD + FIELDS * image + field] = value;
    }
}

fn moved(range: Range<u32>, by: u32) -> Range<u32> {
    range.start + by..range.end + by
}

/// A place in a buffer; kernels count by 32 bits.
fn word(place: usize) -> u32 {
    u32::try_from(place).expect("a chunk has fewer than 2³² words")
}
