//! Uncompressed images that lie one behind the other in a file, of which no more is read than is
//! used.

use std::fs::File;
use std::io;
use std::ops::Deref;
use std::path::{Path, PathBuf};

use image::RgbImage;
use memmap2::Mmap;

use super::DataError;

/// The bytes of a file.
#[derive(Debug)]
pub(crate) enum Bytes {
    /// Mapped: pages are read when they are looked at, and may be dropped again.
    Mapped(Mmap),
    /// In memory.
    Owned(Vec<u8>),
}

impl Bytes {
    /// Maps a file; `what` says what was expected there.
    ///
    /// # Errors
    /// It is missing, no regular file, or cannot be mapped.
    pub(crate) fn map(path: &Path, what: &'static str) -> Result<Self, DataError> {
        let unreadable = |error: io::Error| match error.kind() {
            io::ErrorKind::NotFound => DataError::MissingFile { path: path.into(), what },
            _ => DataError::unreadable(path, &error),
        };
        // Asked first, because opening a pipe would wait for its writer.
        let metadata = std::fs::metadata(path).map_err(unreadable)?;
        if !metadata.is_file() {
            return Err(DataError::MissingFile { path: path.into(), what });
        }
        if metadata.len() == 0 {
            return Ok(Self::Owned(Vec::new()));
        }
        let file = File::open(path).map_err(unreadable)?;
        // SAFETY: the map is read only and any bytes are valid. Nobody here writes to data sets; a
        // process that shortened the file meanwhile would end this one by a signal, not by wrong
        // data.
        let map = unsafe { Mmap::map(&file) }.map_err(unreadable)?;
        Ok(Self::Mapped(map))
    }
}

impl Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Mapped(map) => map,
            Self::Owned(bytes) => bytes,
        }
    }
}

/// The order of one image's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// One value a pixel, row by row: replicated to three channels.
    Grey,
    /// Red, green and blue plane, each row by row.
    PlanesByRow,
    /// Red, green and blue plane, each column by column.
    PlanesByColumn,
}

/// Where the images lie in the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    /// Pixels.
    pub(crate) width: u32,
    /// Pixels.
    pub(crate) height: u32,
    pub(crate) order: Order,
    /// Bytes before the first image.
    pub(crate) first: usize,
    /// Bytes from the beginning of one image to that of the next.
    pub(crate) stride: usize,
    /// Images.
    pub(crate) count: u32,
}

impl Layout {
    /// Bytes of one image; `None` beyond the address space.
    pub(crate) fn image_len(&self) -> Option<usize> {
        let channels = if self.order == Order::Grey { 1 } else { 3 };
        (self.width as usize).checked_mul(self.height as usize)?.checked_mul(channels)
    }

    /// Bytes up to the end of the last image; `None` beyond the address space.
    fn end(&self) -> Option<usize> {
        match self.count.checked_sub(1) {
            None => Some(self.first),
            Some(last) => (last as usize)
                .checked_mul(self.stride)?
                .checked_add(self.first)?
                .checked_add(self.image_len()?),
        }
    }
}

/// Images of one size in one file.
#[derive(Debug)]
pub(crate) struct RawImages {
    path: PathBuf,
    bytes: Bytes,
    layout: Layout,
}

impl RawImages {
    /// The images of a file.
    ///
    /// # Errors
    /// The bytes end before the last image does.
    pub(crate) fn new(path: &Path, bytes: Bytes, layout: Layout) -> Result<Self, DataError> {
        match layout.end() {
            Some(end) if end <= bytes.len() => Ok(Self { path: path.into(), bytes, layout }),
            _ => {
                let (found, count) = (bytes.len(), layout.count);
                Err(DataError::damaged(
                    path,
                    format!("found {found} bytes, too few for {count} images"),
                ))
            }
        }
    }

    /// Number of images.
    pub(crate) fn len(&self) -> u32 {
        self.layout.count
    }

    /// Width and height of each, in pixels.
    pub(crate) fn dimensions(&self) -> (u32, u32) {
        (self.layout.width, self.layout.height)
    }

    /// `FILE#INDEX`, counted from 0.
    pub(crate) fn name(&self, index: u32) -> String {
        format!("{}#{index}", self.path.display())
    }

    /// Image `index < len()`.
    pub(crate) fn image(&self, index: u32) -> RgbImage {
        let Layout { width, height, order, .. } = self.layout;
        let bytes = self.bytes(index);
        let (columns, rows) = (width as usize, height as usize);
        let plane = columns * rows;
        RgbImage::from_fn(width, height, |x, y| {
            let (x, y) = (x as usize, y as usize);
            let by_row = y * columns + x;
            image::Rgb(match order {
                Order::Grey => [bytes[by_row]; 3],
                Order::PlanesByRow => [0, 1, 2].map(|channel| bytes[channel * plane + by_row]),
                Order::PlanesByColumn => {
                    [0, 1, 2].map(|channel| bytes[channel * plane + x * rows + y])
                }
            })
        })
    }

    /// The pixels of an image as they lie in the file.
    pub(crate) fn bytes(&self, index: u32) -> &[u8] {
        let Layout { first, stride, .. } = self.layout;
        let start = first + index as usize * stride;
        let length = self.layout.image_len().expect("the constructor looked");
        &self.bytes[start..start + length]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn images(order: Order, bytes: &[u8]) -> RawImages {
        let layout = Layout { width: 3, height: 2, order, first: 1, stride: bytes.len(), count: 1 };
        let bytes = [&[99], bytes].concat();
        RawImages::new(Path::new("f"), Bytes::Owned(bytes), layout).unwrap()
    }

    #[test]
    fn pixels_are_where_each_order_puts_them() {
        let rows = [1, 2, 3, 4, 5, 6];
        let columns = [1, 4, 2, 5, 3, 6];
        let planes = |one: [u8; 6]| [one, one.map(|v| v + 10), one.map(|v| v + 20)].concat();
        let expected: Vec<u8> = rows.iter().flat_map(|&v| [v, v + 10, v + 20]).collect();
        let by_row = images(Order::PlanesByRow, &planes(rows)).image(0);
        assert_eq!(by_row.as_raw(), &expected);
        assert_eq!(images(Order::PlanesByColumn, &planes(columns)).image(0), by_row);
        let grey: Vec<u8> = rows.iter().flat_map(|&v| [v; 3]).collect();
        assert_eq!(images(Order::Grey, &rows).image(0).as_raw(), &grey);
    }

    #[test]
    fn bytes_that_end_early_are_refused_whatever_the_layout_claims() {
        let layout = |first, stride, count| Layout {
            width: 2,
            height: 2,
            order: Order::PlanesByRow,
            first,
            stride,
            count,
        };
        let refused = |layout, length| {
            RawImages::new(Path::new("f"), Bytes::Owned(vec![0; length]), layout).is_err()
        };
        assert!(!refused(layout(1, 13, 2), 26) && refused(layout(1, 13, 2), 25));
        assert!(refused(layout(usize::MAX, 13, 1), 100));
        assert!(refused(layout(0, usize::MAX, u32::MAX), 100));
        let huge = Layout { width: u32::MAX, height: u32::MAX, ..layout(0, 0, 1) };
        assert!(refused(huge, 100));
    }
}
