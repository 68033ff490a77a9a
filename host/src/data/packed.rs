//! A batch before its augmentation: images as bytes, and in tables what a device is to make of
//! them.
//!
//! Host memory and nothing of any device; the kernels that read it know [`layout`] and no more.

pub mod layout;
mod table;
mod weights;

use std::borrow::Borrow;
use std::ops::Range;

use image::RgbImage;
use rayon::prelude::*;

use super::Drawn;
pub use table::Table;
use table::{Area, Held, Scaling};

/// Words of the largest buffer that a chunk is to need, 256 MiB, which devices bind as a whole.
const CHUNK_WORDS_MAX: usize = 1 << 26;
/// Images of a chunk: cubes that every device counts in one dimension.
const CHUNK_IMAGES_MAX: usize = 65_535;

/// A batch of images and what becomes of them in `VIEWS` views, ready for a device.
///
/// Host memory only, so that it can be made ahead on other threads: the part of each image that
/// some view reads, as bytes, and for each view some tables, 16 to 32 bytes for each row and column
/// read or made.
#[derive(Clone, Debug, PartialEq)]
pub struct Packed<const VIEWS: usize> {
    batch: usize,
    size: u32,
    chunks: Vec<Chunk<VIEWS>>,
}

/// As many images as a device's buffers are sure to hold.
#[derive(Clone, Debug, PartialEq)]
pub struct Chunk<const VIEWS: usize> {
    /// Of the batch.
    pub images: Range<usize>,
    /// The parts that are read, four bytes a word; every row begins with one.
    pub pixels: Vec<u32>,
    /// What becomes of them in each view.
    pub tables: [Table; VIEWS],
}

impl<const VIEWS: usize> Packed<VIEWS> {
    /// Packs images; `drawn[view][i]` is what was drawn for image `i`, by recipes of `size` pixels.
    ///
    /// On all cores. Images may differ in size. Beside the images this takes the memory that
    /// [`bytes`](Self::bytes) counts, and for the time of the call the weights twice.
    ///
    /// # Panics
    /// Unless every view has as many entries as there are images, drawn for images of their sizes
    /// and for `size`.
    pub fn new<I>(size: u32, images: &[I], drawn: [&[Drawn]; VIEWS]) -> Self
    where
        I: Borrow<RgbImage> + Sync,
    {
        Self::in_chunks(size, images, drawn, CHUNK_WORDS_MAX)
    }

    /// The same; a chunk's largest buffer has `words_max` words, or what a single image takes.
    pub(crate) fn in_chunks<I>(
        size: u32,
        images: &[I],
        drawn: [&[Drawn]; VIEWS],
        words_max: usize,
    ) -> Self
    where
        I: Borrow<RgbImage> + Sync,
    {
        assert!(
            drawn.iter().all(|view| view.len() == images.len()),
            "a view draws for every image"
        );
        let scalings: Vec<[Scaling; VIEWS]> = (0..images.len())
            .into_par_iter()
            .map(|image| drawn.map(|view| Scaling::new(&view[image], size)))
            .collect();
        let areas: Vec<Area> = scalings.iter().map(|views| area(views)).collect();
        let chunks = chunks(size, &areas, &scalings, words_max)
            .into_iter()
            .map(|range| {
                let held = place(&areas[range.clone()]);
                let tables = std::array::from_fn(|view| {
                    let scalings: Vec<_> =
                        scalings[range.clone()].iter().map(|views| &views[view]).collect();
                    Table::new(&held, &scalings, &drawn[view][range.clone()])
                });
                let pixels = copy(&images[range.clone()], &held);
                Chunk { images: range, pixels, tables }
            })
            .collect();
        Self { batch: images.len(), size, chunks }
    }

    /// Images.
    pub fn batch(&self) -> usize {
        self.batch
    }

    /// Side of the views, pixels.
    pub fn size(&self) -> u32 {
        self.size
    }

    /// The images, divided.
    pub fn into_chunks(self) -> Vec<Chunk<VIEWS>> {
        self.chunks
    }

    /// Bytes that go to the device.
    pub fn bytes(&self) -> usize {
        let words = |chunk: &Chunk<VIEWS>| {
            let tables = chunk.tables.iter().map(|table| table.words.len() + table.numbers.len());
            chunk.pixels.len() + tables.sum::<usize>()
        };
        size_of::<u32>() * self.chunks.iter().map(words).sum::<usize>()
    }
}

/// What all views of an image read.
fn area(views: &[Scaling]) -> Area {
    let areas = views.iter().map(|scaling| scaling.read().clone());
    areas.reduce(|all, area| all.with(&area)).unwrap_or_default()
}

/// Divides images into chunks whose buffers stay within the bound; an image beyond it is a chunk
/// alone.
fn chunks<const VIEWS: usize>(
    size: u32,
    areas: &[Area],
    scalings: &[[Scaling; VIEWS]],
    words_max: usize,
) -> Vec<Range<usize>> {
    let blurred = 3 * size as usize * size as usize;
    let mut chunks = Vec::new();
    let (mut begin, mut words) = (0, 0);
    for (image, (area, views)) in areas.iter().zip(scalings).enumerate() {
        let between = views.iter().map(Scaling::between_max).max().unwrap_or(0);
        let more = area.words().max(between).max(blurred);
        if image > begin && (words + more > words_max || image - begin == CHUNK_IMAGES_MAX) {
            chunks.push(begin..image);
            (begin, words) = (image, 0);
        }
        words += more;
    }
    if begin < areas.len() {
        chunks.push(begin..areas.len());
    }
    chunks
}

/// Lays the rectangles one after the other.
fn place(areas: &[Area]) -> Vec<Held> {
    let mut begin = 0;
    let place = |area: &Area| {
        let held = Held { area: area.clone(), begin };
        begin += area.words();
        held
    };
    areas.iter().map(place).collect()
}

/// The bytes of the rectangles, every row filled up to whole words.
fn copy<I: Borrow<RgbImage> + Sync>(images: &[I], held: &[Held]) -> Vec<u32> {
    let total = held.iter().map(|held| held.area.words()).sum();
    let mut pixels = vec![0; total];
    let mut rest = pixels.as_mut_slice();
    let mut jobs = Vec::with_capacity(images.len());
    for (image, held) in images.iter().zip(held) {
        let (part, after) = rest.split_at_mut(held.area.words());
        rest = after;
        jobs.push((image, &held.area, part));
    }
    jobs.into_par_iter().for_each(|(image, area, part)| {
        let Area { rows, columns } = area;
        let image: &RgbImage = image.borrow();
        assert!(
            columns.end <= image.width() && rows.end <= image.height(),
            "views are drawn for the size of their image"
        );
        let bytes = |column: u32| 3 * column as usize;
        let source = image.as_raw().chunks_exact(bytes(image.width()));
        let source = source.skip(rows.start as usize).take(rows.len());
        for (row, words) in source.zip(part.chunks_exact_mut(area.pitch())) {
            let row = &row[bytes(columns.start)..bytes(columns.end)];
            bytemuck::cast_slice_mut(words)[..row.len()].copy_from_slice(row);
        }
    });
    pixels
}
