//! Augmentation on the device: images are transferred as bytes and become views where they are
//! used.
//!
//! The host draws what is done to each image, by the same code and from the same streams as for its
//! own augmentation. It also computes the weights that depend on nothing else. The device does the
//! work on pixels. Cropping and scaling use integers and give the host's bytes. The steps after
//! that use f32 without rounding to bytes in between, as on the host. They differ from it by the
//! rounding of single operations, which a device may fuse, and by the order of the sum that is the
//! mean for the contrast. If such a difference moves a value across the threshold of solarisation,
//! the result differs by ¹⁄₂₅₅.
//!
//! A view takes three launches, or six with jitter and blur: rows and columns of the scaling, the
//! mean luma, colours, rows and columns of the blur.

mod blur;
mod colour;
mod scale;

#[cfg(all(test, feature = "wgpu"))]
mod tests;

use burn_backend::{Bytes, DType, Shape};
use burn_cubecl::CubeRuntime;
use burn_cubecl::tensor::CubeTensor;
use cubecl::client::ComputeClient;
use cubecl::prelude::*;
use cubecl::server::Handle;

use crate::data::packed::{Chunk, Packed};

/// Threads of a cube in the kernels of one dimension.
const UNITS: u32 = 256;
/// Threads of a cube in [`scale::scale_rows`]: words of a row, and rows.
const ROW_UNITS: [u32; 2] = [32, 8];

/// The views of a batch, one tensor each: `[batch, 3, size, size]`, normalised by ImageNet's mean
/// and deviation, f32, channels last in memory.
///
/// Work is queued and not waited for. The same input gives the same bits every time on the same
/// device.
///
/// # Panics
/// A view has 2³² values or more.
pub(super) fn views<R: CubeRuntime, const VIEWS: usize>(
    packed: Packed<VIEWS>,
    client: &ComputeClient<R>,
    device: &R::Device,
) -> [CubeTensor<R>; VIEWS] {
    let (batch, size) = (packed.batch(), packed.size());
    let side = size as usize;
    let len = batch * side * side * 3;
    assert!(u32::try_from(len).is_ok(), "a view of {len} values; kernels index by 32 bits");
    let outputs: [Handle; VIEWS] =
        std::array::from_fn(|_| client.empty(len.max(1) * size_of::<f32>()));
    for Chunk { images, pixels, tables } in packed.into_chunks() {
        let pixels = Buffer::upload(client, pixels);
        for (table, out) in tables.into_iter().zip(&outputs) {
            let out = Buffer { handle: out.clone(), len };
            let launches = Launches {
                client,
                first: images.start as u32,
                images: images.len() as u32,
                size,
                words: Buffer::upload(client, table.words),
                numbers: Buffer::upload(client, table.numbers),
            };
            let between = launches.scale_rows(&pixels, table.between, table.row_words_max);
            let cut = launches.scale_columns(&between);
            let means = launches.means(&cut, table.contrast);
            launches.colour(&cut, &means, &out);
            launches.blur(table.blurred, &out);
        }
    }
    outputs.map(|handle| {
        let shape = Shape::from([batch, side, side, 3]);
        let (client, device) = (client.clone(), device.clone());
        let mut tensor = CubeTensor::new_contiguous(client, device, shape, handle, DType::F32);
        tensor.meta.permute(&[0, 3, 1, 2]).expect("four dimensions change places");
        tensor
    })
}

/// A device buffer and its length in elements of four bytes.
struct Buffer {
    handle: Handle,
    len: usize,
}

impl Buffer {
    fn upload<R: CubeRuntime, E>(client: &ComputeClient<R>, values: Vec<E>) -> Self
    where
        E: bytemuck::NoUninit + Send + Sync,
    {
        let len = values.len();
        Self { handle: client.create(Bytes::from_elems(values)), len }
    }

    fn empty<R: CubeRuntime>(client: &ComputeClient<R>, len: usize) -> Self {
        Self { handle: client.empty(len.max(1) * size_of::<u32>()), len }
    }

    fn arg<R: CubeRuntime>(&self) -> ArrayArg<R> {
        // SAFETY: the buffer was allocated with this many elements.
        unsafe { ArrayArg::from_raw_parts(self.handle.clone(), self.len) }
    }
}

/// The launches for one view of a chunk, which begins at image `first` of the batch.
struct Launches<'a, R: CubeRuntime> {
    client: &'a ComputeClient<R>,
    first: u32,
    images: u32,
    size: u32,
    words: Buffer,
    numbers: Buffer,
}

impl<R: CubeRuntime> Launches<'_, R> {
    fn pixels(&self) -> u32 {
        self.size * self.size
    }

    /// Enough cubes of one dimension for `work` threads on each of `images` images.
    fn grid(work: u32, images: u32) -> (CubeCount, CubeDim) {
        (CubeCount::Static(work.div_ceil(UNITS), images, 1), CubeDim::new_1d(UNITS))
    }

    fn scale_rows(&self, pixels: &Buffer, between: usize, row_words_max: u32) -> Buffer {
        let between = Buffer::empty(self.client, between);
        let [words, rows] = ROW_UNITS;
        let count =
            CubeCount::Static(row_words_max.div_ceil(words), self.size.div_ceil(rows), self.images);
        // SAFETY: by the tables every read is within the pixels and every write within the rows.
        unsafe {
            scale::scale_rows::launch_unchecked::<R>(
                self.client,
                count,
                CubeDim::new_2d(words, rows),
                pixels.arg(),
                self.words.arg(),
                between.arg(),
                self.size,
            );
        }
        between
    }

    fn scale_columns(&self, between: &Buffer) -> Buffer {
        let cut = Buffer::empty(self.client, (self.images * self.pixels()) as usize);
        let (count, dim) = Self::grid(self.pixels(), self.images);
        // SAFETY: by the tables every read is within the rows; a word is written for every pixel.
        unsafe {
            scale::scale_columns::launch_unchecked::<R>(
                self.client,
                count,
                dim,
                between.arg(),
                self.words.arg(),
                cut.arg(),
                self.size,
            );
        }
        cut
    }

    /// The mean luma before the contrast is changed; if no contrast changes, nothing is written.
    fn means(&self, cut: &Buffer, contrast: bool) -> Buffer {
        let means = Buffer::empty(self.client, self.images as usize);
        if contrast {
            // SAFETY: a word is read for every pixel, and a number written for every image.
            unsafe {
                colour::mean_luma::launch_unchecked::<R>(
                    self.client,
                    CubeCount::Static(self.images, 1, 1),
                    CubeDim::new_1d(colour::MEAN_UNITS),
                    cut.arg(),
                    self.words.arg(),
                    self.numbers.arg(),
                    means.arg(),
                    self.pixels(),
                );
            }
        }
        means
    }

    fn colour(&self, cut: &Buffer, means: &Buffer, out: &Buffer) {
        let (count, dim) = Self::grid(self.pixels(), self.images);
        // SAFETY: a word is read and three numbers are written for every pixel of the chunk, which
        // is part of the batch.
        unsafe {
            colour::colour::launch_unchecked::<R>(
                self.client,
                count,
                dim,
                cut.arg(),
                self.words.arg(),
                self.numbers.arg(),
                means.arg(),
                out.arg(),
                self.first,
                self.pixels(),
            );
        }
    }

    /// Blurs the `blurred` images that the table lists.
    fn blur(&self, blurred: u32, out: &Buffer) {
        if blurred == 0 {
            return;
        }
        let values = 3 * self.pixels();
        let rows = Buffer::empty(self.client, (blurred * values) as usize);
        let (cubes, dim) = Self::grid(values, blurred);
        // SAFETY: the list names images of the chunk, and half a kernel is less than the size.
        unsafe {
            blur::blur_rows::launch_unchecked::<R>(
                self.client,
                cubes.clone(),
                dim,
                out.arg(),
                self.words.arg(),
                self.numbers.arg(),
                rows.arg(),
                self.first,
                self.size,
            );
            blur::blur_columns::launch_unchecked::<R>(
                self.client,
                cubes,
                dim,
                rows.arg(),
                self.words.arg(),
                self.numbers.arg(),
                out.arg(),
                self.first,
                self.size,
            );
        }
    }
}
