//! Damaged and hostile files: an error that says what is wrong, never a panic, never much memory.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::panic::catch_unwind;
use std::time::{Duration, Instant};

use bissl_core::Stream;
use image::{DynamicImage, ImageFormat, Rgb, RgbImage};

use super::tests::encode;
use super::{ImageSettings, decode_image};

thread_local! {
    /// The largest single allocation of this thread since it was last set to 0, bytes.
    static LARGEST: Cell<usize> = const { Cell::new(0) };
}

struct Watched;

fn note(bytes: usize) {
    LARGEST.with(|largest| largest.set(largest.get().max(bytes)));
}

// SAFETY: every call goes to the system's allocator as it came; noting touches only a thread-local
// cell that is initialised by a constant and so allocates nothing.
unsafe impl GlobalAlloc for Watched {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        note(layout.size());
        // SAFETY: the caller's contract, handed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        note(layout.size());
        // SAFETY: the caller's contract, handed on.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: the caller's contract, handed on; every pointer is the system's.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        note(size);
        // SAFETY: the caller's contract, handed on; every pointer is the system's.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Watched = Watched;

/// The reason of the refusal, or `None`, and the largest allocation on the way to it.
fn outcome(bytes: &[u8], settings: &ImageSettings) -> (Option<String>, usize) {
    LARGEST.with(|largest| largest.set(0));
    let result = decode_image("a file", bytes, settings);
    (result.err().map(|error| error.to_string()), LARGEST.with(Cell::get))
}

/// A chunk of a PNG.
fn chunk(kind: &[u8; 4], data: &[u8]) -> Vec<u8> {
    let tagged = [kind.as_slice(), data].concat();
    let crc = !tagged.iter().fold(!0u32, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| {
            if crc & 1 == 1 { (crc >> 1) ^ 0xEDB8_8320 } else { crc >> 1 }
        })
    });
    let length = u32::try_from(data.len()).unwrap().to_be_bytes();
    [length.as_slice(), &tagged, &crc.to_be_bytes()].concat()
}

/// A PNG of 8-bit RGB whose header says `width` × `height`, with these chunks behind it.
fn png(width: u32, height: u32, chunks: &[(&[u8; 4], &[u8])]) -> Vec<u8> {
    let mut bytes = b"\x89PNG\r\n\x1a\n".to_vec();
    let [width, height] = [width, height].map(u32::to_be_bytes);
    bytes.extend(chunk(b"IHDR", &[width.as_slice(), &height, &[8, 2, 0, 0, 0]].concat()));
    for (kind, data) in chunks {
        bytes.extend(chunk(kind, data));
    }
    bytes.extend(chunk(b"IEND", &[]));
    bytes
}

/// A zlib stream of `258 · matches + 1` zeros, without its checksum: 13 bits for each 258 bytes.
fn zeros(matches: usize) -> Vec<u8> {
    let mut bytes = vec![0x78, 0x9C];
    let (mut pending, mut filled) = (0u32, 0);
    let mut put = |value: u32, bits: u32| {
        pending |= value << filled;
        filled += bits;
        while filled >= 8 {
            bytes.push(pending as u8);
            pending >>= 8;
            filled -= 8;
        }
    };
    // The last block, with the fixed codes; the literal 0 (0x30, first bit first).
    put(0b011, 3);
    put(0b0000_1100, 8);
    for _ in 0..matches {
        // Length 258 (0b1100_0101, first bit first), distance 1.
        put(0b1010_0011, 8);
        put(0, 5);
    }
    // The end of the block, and what fills the last byte.
    put(0, 7);
    put(0, 7);
    bytes
}

/// Where in a JPEG the height and width of its frame stand.
fn frame_size(jpeg: &[u8]) -> usize {
    jpeg.windows(2).position(|pair| pair == [0xFF, 0xC0]).unwrap() + 5
}

#[test]
fn huge_sizes_are_refused_before_pixels_are_allocated() {
    let settings = ImageSettings::default();
    let mut jpeg = encode(&RgbImage::new(8, 8).into(), ImageFormat::Jpeg);
    let position = frame_size(&jpeg);
    for (width, height, expected) in [
        (65_535u16, 65_535u16, "65535 x 65535 pixels, expected sides of 1 to 16384"),
        (16_384, 16_384, "268435456, expected at most 100000000 (`pixels_max`)"),
        (0, 8, ""),
    ] {
        jpeg[position..position + 2].copy_from_slice(&height.to_be_bytes());
        jpeg[position + 2..position + 4].copy_from_slice(&width.to_be_bytes());
        let png = png(width.into(), height.into(), &[(b"IDAT", &[])]);
        for bytes in [&jpeg, &png] {
            let (error, largest) = outcome(bytes, &settings);
            let error = error.expect("a size that is refused");
            assert!(error.starts_with("a file: ") && error.contains(expected), "{error}");
            assert!(largest < 1 << 20, "{width} x {height}: {largest} bytes at once");
        }
    }
    let png = png(u32::MAX, u32::MAX, &[(b"IDAT", &[])]);
    let (error, largest) = outcome(&png, &settings);
    assert!(error.is_some() && largest < 1 << 20, "{largest} bytes at once");
}

#[test]
fn huge_sizes_of_other_formats_are_refused_before_pixels_are_allocated() {
    let picture = DynamicImage::from(RgbImage::new(8, 8));
    let side = 16_383u32;
    let mut bmp = encode(&picture, ImageFormat::Bmp);
    let mut gif = encode(&picture, ImageFormat::Gif);
    let mut webp = encode(&picture, ImageFormat::WebP);
    let mut tiff = encode(&picture, ImageFormat::Tiff);
    for at in [18, 22] {
        bmp[at..at + 4].copy_from_slice(&side.to_le_bytes());
    }
    for at in [6, 8] {
        gif[at..at + 2].copy_from_slice(&(side as u16).to_le_bytes());
    }
    // Two numbers of 14 bits, each less by 1, behind `VP8L`, its length and a byte.
    let at = webp.windows(4).position(|four| four == b"VP8L").unwrap() + 9;
    webp[at..at + 4].copy_from_slice(&((side - 1) | (side - 1) << 14).to_le_bytes());
    // The entries of width and height: tag, type, one value.
    for tag in [256u16, 257] {
        let head = [tag.to_le_bytes(), 4u16.to_le_bytes()].concat();
        let at = tiff.windows(4).position(|four| four == head).unwrap() + 8;
        tiff[at..at + 4].copy_from_slice(&side.to_le_bytes());
    }
    for (name, bytes) in [("BMP", bmp), ("GIF", gif), ("WebP", webp), ("TIFF", tiff)] {
        let (error, largest) = outcome(&bytes, &ImageSettings::default());
        let error = error.unwrap_or_else(|| panic!("{name}: a size that is refused"));
        assert!(error.contains("268402689, expected at most 100000000"), "{name}: {error}");
        assert!(largest < 4 << 20, "{name}: {largest} bytes at once");
    }
}

#[test]
fn a_few_bytes_that_expand_to_gigabytes_are_refused_in_bounded_memory() {
    let settings = ImageSettings::default();
    // A profile of 64 MB, twice what is allowed beside the pixels, out of 400 kB.
    let profile = [b"p\0\0".as_slice(), &zeros(250_000)].concat();
    let bytes = png(1, 1, &[(b"iCCP", &profile), (b"IDAT", &zeros(0))]);
    let (_, largest) = outcome(&bytes, &settings);
    assert!(largest <= 72 << 20, "{largest} bytes at once");
    // Pixel data for far more rows than the header has: what is too much is never expanded.
    let bytes = png(4, 4, &[(b"IDAT", &zeros(4_000_000))]);
    let (_, largest) = outcome(&bytes, &settings);
    assert!(largest < 8 << 20, "{largest} bytes at once");
    // Less than the header has.
    let bytes = png(4096, 4096, &[(b"IDAT", &zeros(10))]);
    let (error, largest) = outcome(&bytes, &settings);
    assert!(error.is_some() && largest <= 3 << 24, "{error:?}, {largest} bytes at once");
}

#[test]
fn nothing_and_zeros_are_no_images() {
    for length in [0, 1, 2, 3, 8, 100, 10_000] {
        let (error, _) = outcome(&vec![0; length], &ImageSettings::default());
        let expected =
            "a file: expected JPEG, PNG, WebP, BMP, TIFF or GIF data, found none of them";
        assert_eq!(error.as_deref(), Some(expected), "{length}");
    }
    for head in [b"\xFF\xD8\xFF".as_slice(), b"\x89PNG\r\n\x1a\n"] {
        let bytes = [head, &[0; 500]].concat();
        assert!(outcome(&bytes, &ImageSettings::default()).0.is_some());
    }
}

/// Whole files of several kinds, small enough for thousands of decodings.
fn whole_files() -> Vec<Vec<u8>> {
    let picture = DynamicImage::from(RgbImage::from_fn(29, 21, |x, y| {
        Rgb([(x * 9) as u8, (y * 12) as u8, (x * x + y) as u8])
    }));
    let mut files = vec![
        encode(&picture, ImageFormat::Jpeg),
        encode(&picture.to_luma8().into(), ImageFormat::Jpeg),
        include_bytes!("samples/cmyk.jpg").to_vec(),
        include_bytes!("samples/ycck.jpg").to_vec(),
        include_bytes!("samples/progressive.jpg").to_vec(),
        include_bytes!("samples/palette-transparent.png").to_vec(),
    ];
    for format in [ImageFormat::WebP, ImageFormat::Bmp, ImageFormat::Tiff, ImageFormat::Gif] {
        files.push(encode(&picture, format));
    }
    for image in [picture.clone(), picture.to_rgba16().into(), picture.to_luma_alpha8().into()] {
        files.push(encode(&image, ImageFormat::Png));
    }
    files
}

/// Changes, removes and repeats a few bytes.
fn mutate(bytes: &mut Vec<u8>, seed: u64) {
    let mut draws = Stream::new(seed, 0).at(0);
    for _ in 0..1 + draws.below(6) {
        let length = bytes.len() as u32;
        if length < 16 {
            return;
        }
        let position = draws.below(length) as usize;
        match draws.below(5) {
            0 => bytes[position] = draws.below(256) as u8,
            1 => bytes[position] ^= 1 << draws.below(8),
            2 => bytes[position] = 0xFF,
            3 => bytes.truncate(position.max(8)),
            _ => {
                let end = (position + 1 + draws.below(40) as usize).min(bytes.len());
                let piece = bytes[position..end].to_vec();
                let to = draws.below(length) as usize;
                bytes.splice(to..to, piece);
            }
        }
    }
}

#[test]
fn thousands_of_mutated_files_never_panic_and_never_allocate_much() {
    // Sizes that a mutation can claim must not decide the test's time.
    let settings = ImageSettings { pixels_max: 1 << 20, ..ImageSettings::default() };
    let files = whole_files();
    for file in &files {
        assert_eq!(outcome(file, &settings).0, None, "the unchanged file");
    }
    let (start, mut tried, mut refused) = (Instant::now(), 0, 0);
    for seed in 0..20_000 {
        let mut bytes = files[seed as usize % files.len()].clone();
        mutate(&mut bytes, seed);
        let (error, largest) = catch_unwind(|| outcome(&bytes, &settings))
            .unwrap_or_else(|_| panic!("seed {seed} panics"));
        // A megapixel of four 16-bit channels, and the decoder's own buffers.
        assert!(largest <= 64 << 20, "seed {seed}: {largest} bytes at once");
        refused += usize::from(error.is_some());
        tried += 1;
        if start.elapsed() > Duration::from_secs(20) {
            break;
        }
    }
    assert!(tried >= 1000, "only {tried} in the time");
    assert!(refused > tried / 4 && refused < tried, "{refused} of {tried} were refused");
}
