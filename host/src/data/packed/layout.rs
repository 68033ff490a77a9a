//! Where in its tables an image has what: the border between the host, which writes, and kernels.

/// At the head of the table: where the list of the images that are blurred lies, in this table.
pub const BLUR_LIST: usize = 0;
/// At the head of the table: where their kernels lie, among the numbers.
pub const BLUR_KERNELS: usize = 1;
/// At the head of the table: weights of each kernel.
pub const BLUR_LENGTH: usize = 2;
/// Words of the head. Those of the images follow, then taps and weights.
pub const HEAD: usize = 3;

/// Words of an image.
pub const FIELDS: usize = 11;
/// The first word that the view needs, among the pixels.
pub const PIXELS: usize = 0;
/// Words from a row to the next, among the pixels.
pub const PITCH: usize = 1;
/// The first word among the rows between the two passes of scaling.
pub const BETWEEN: usize = 2;
/// Words of one of those rows.
pub const WORDS: usize = 3;
/// Taps of the first row, in this table.
pub const ROW_TAPS: usize = 4;
/// Binary digits after the point of the rows' weights.
pub const ROW_PRECISION: usize = 5;
/// Taps of the first column, in this table.
pub const COLUMN_TAPS: usize = 6;
/// Binary digits after the point of the columns' weights.
pub const COLUMN_PRECISION: usize = 7;
/// Codes of the parts of the jitter in their order, the first one lowest.
pub const CHANGES: usize = 8;
/// How many of them come before the contrast.
pub const CHANGES_BEFORE: usize = 9;
/// [`GREY`], [`BLURRED`], [`SOLARISE`].
pub const FLAGS: usize = 10;

/// Words of one row's or column's taps: first row or byte, count, place of the weights in this
/// table.
pub const TAP_FIELDS: usize = 3;
/// Bits of a code in [`CHANGES`].
pub const CHANGE_BITS: u32 = 4;
/// A code in [`CHANGES`]; 0 is none.
pub const BRIGHTNESS: u32 = 1;
/// See [`BRIGHTNESS`].
pub const CONTRAST: u32 = 2;
/// See [`BRIGHTNESS`].
pub const SATURATION: u32 = 3;
/// See [`BRIGHTNESS`].
pub const HUE: u32 = 4;
/// In [`FLAGS`]: three equal channels.
pub const GREY: u32 = 1;
/// In [`FLAGS`]: solarisation and normalisation come after the blur.
pub const BLURRED: u32 = 2;
/// In [`FLAGS`]: bright values are inverted.
pub const SOLARISE: u32 = 4;

/// Among the numbers: the value of each byte.
pub const LEVELS: usize = 0;
/// Among the numbers: the factors of each image's jitter, four of them, in their order.
pub const FACTORS: usize = 256;
