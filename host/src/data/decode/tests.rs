//! Claims about decoding: every kind of pixel, every orientation, every kind of damage.

use std::io::Cursor;

use image::codecs::png::PngEncoder;
use image::{GrayAlphaImage, GrayImage, ImageBuffer, ImageEncoder, Luma, Rgb, Rgba, RgbaImage};

use super::*;

fn png(image: impl Into<DynamicImage>) -> Vec<u8> {
    encode(&image.into(), ImageFormat::Png)
}

pub(super) fn encode(image: &DynamicImage, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    image.write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

fn decode(bytes: &[u8]) -> Result<RgbImage, DataError> {
    decode_image("a file", bytes, &ImageSettings::default())
}

#[test]
fn transparency_is_laid_over_white() {
    let mut image = RgbaImage::new(3, 1);
    image.put_pixel(0, 0, Rgba([10, 20, 30, 255]));
    image.put_pixel(1, 0, Rgba([10, 20, 30, 0]));
    image.put_pixel(2, 0, Rgba([0, 100, 255, 51]));
    let rgb = decode(&png(image)).unwrap();
    // A fifth of (0, 100, 255) and four fifths of white.
    assert_eq!(rgb.as_raw(), &[10, 20, 30, 255, 255, 255, 204, 224, 255]);
    let grey = GrayAlphaImage::from_raw(2, 1, vec![7, 255, 7, 0]).unwrap();
    assert_eq!(decode(&png(grey)).unwrap().as_raw(), &[7, 7, 7, 255, 255, 255]);
}

#[test]
fn grey_and_16_bit_images_become_rgb() {
    let grey = GrayImage::from_raw(2, 1, vec![3, 250]).unwrap();
    assert_eq!(decode(&png(grey)).unwrap().as_raw(), &[3, 3, 3, 250, 250, 250]);
    let deep = ImageBuffer::<Luma<u16>, _>::from_raw(2, 1, vec![0, 0xFFFF]).unwrap();
    assert_eq!(decode(&png(deep)).unwrap().as_raw(), &[0, 0, 0, 255, 255, 255]);
    let deep = ImageBuffer::<Rgba<u16>, _>::from_raw(1, 1, vec![0xFFFF, 0, 0, 0xFFFF]).unwrap();
    assert_eq!(decode(&png(deep)).unwrap().as_raw(), &[255, 0, 0]);
}

#[test]
fn every_cut_of_a_jpeg_or_png_is_refused_by_name() {
    let image = DynamicImage::from(RgbImage::from_fn(33, 17, |x, y| {
        Rgb([(x * 7) as u8, (y * 13) as u8, (x * y) as u8])
    }));
    for format in [ImageFormat::Jpeg, ImageFormat::Png] {
        let bytes = encode(&image, format);
        assert_eq!(decode(&bytes).unwrap().dimensions(), (33, 17));
        // The last chunk of a PNG (12 bytes) holds no pixels; its loss is harmless.
        let whole = if format == ImageFormat::Png { bytes.len() - 12 } else { bytes.len() };
        for cut in 0..whole {
            let error = decode(&bytes[..cut]).unwrap_err();
            assert!(error.to_string().starts_with("a file: "), "cut at {cut}: {error}");
        }
    }
}

#[test]
fn a_thumbnails_end_does_not_hide_a_cut() {
    let image = DynamicImage::from(RgbImage::new(8, 8));
    let inner = encode(&image, ImageFormat::Jpeg);
    let mut outer = vec![0xFF, 0xD8, 0xFF, 0xE1];
    outer.extend_from_slice(&u16::try_from(inner.len() + 2).unwrap().to_be_bytes());
    outer.extend_from_slice(&inner);
    outer.extend_from_slice(&inner[2..]);
    assert!(decode(&outer).is_ok());
    assert!(decode(&outer[..outer.len() - 2]).is_err());
}

#[test]
fn sizes_over_the_limits_are_refused_by_the_header() {
    let bytes = png(RgbImage::new(20, 10));
    assert_eq!(decode(&bytes).unwrap().dimensions(), (20, 10));
    let narrow = ImageSettings { side_max: 19, ..ImageSettings::default() };
    let error = decode_image("a", &bytes, &narrow).unwrap_err().to_string();
    assert_eq!(error, "a: 20 x 10 pixels, expected sides of 1 to 19");
    let few = ImageSettings { pixels_max: 199, ..ImageSettings::default() };
    let error = decode_image("a", &bytes, &few).unwrap_err().to_string();
    assert_eq!(error, "a: 20 x 10 pixels are 200, expected at most 199 (`pixels_max`)");
    let small = ImageSettings { image_bytes_max: 599, ..ImageSettings::default() };
    assert!(decode_image("a", &bytes, &small).is_err());
    let jpeg = encode(&RgbImage::new(20, 10).into(), ImageFormat::Jpeg);
    for settings in [narrow, few, small] {
        let error = decode_image("a", &jpeg, &settings).unwrap_err().to_string();
        assert!(error.contains("expected"), "{error}");
    }
}

#[test]
fn the_number_of_bad_images_allowed_has_a_floor_and_a_ceiling() {
    let settings = ImageSettings::default();
    let allowed: Vec<u32> =
        [0, 1, 3, 32, 1600, 5000].map(|items| settings.bad_images_allowed(items)).into();
    assert_eq!(allowed, [0, 0, 1, 16, 16, 50]);
    let strict = ImageSettings { bad_image_limit: 0.0, ..settings };
    assert_eq!(strict.bad_images_allowed(5000), 0);
    for wrong in [f32::NAN, -0.1, 1.1] {
        assert!(ImageSettings { bad_image_limit: wrong, ..settings }.checked().is_err());
    }
}

/// A TIFF header and one entry, orientation, as EXIF has it.
fn exif(orientation: u16, big_endian: bool) -> Vec<u8> {
    // Tag 0x0112, type 3 (16 bits), one value, padded to four bytes; no further directory.
    if big_endian {
        let mut bytes = b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01".to_vec();
        bytes.extend_from_slice(&orientation.to_be_bytes());
        bytes.extend_from_slice(&[0; 6]);
        bytes
    } else {
        let mut bytes = b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0".to_vec();
        bytes.extend_from_slice(&orientation.to_le_bytes());
        bytes.extend_from_slice(&[0; 6]);
        bytes
    }
}

/// A JPEG with `exif` in an APP1 segment behind its first marker.
fn with_exif(jpeg: &[u8], exif: &[u8]) -> Vec<u8> {
    let mut bytes = jpeg[..2].to_vec();
    bytes.extend_from_slice(&[0xFF, 0xE1]);
    bytes.extend_from_slice(&u16::try_from(exif.len() + 8).unwrap().to_be_bytes());
    bytes.extend_from_slice(b"Exif\0\0");
    bytes.extend_from_slice(exif);
    bytes.extend_from_slice(&jpeg[2..]);
    bytes
}

/// The stored pixel that is shown at `(x, y)`, by the table of the EXIF standard (tag 274): which
/// side of the picture the stored rows and columns begin at.
fn shown(stored: &RgbImage, orientation: u16, (x, y): (u32, u32)) -> Rgb<u8> {
    let (right, bottom) = (stored.width() - 1, stored.height() - 1);
    let (x, y) = match orientation {
        1 => (x, y),
        2 => (right - x, y),
        3 => (right - x, bottom - y),
        4 => (x, bottom - y),
        5 => (y, x),
        6 => (y, bottom - x),
        7 => (right - y, bottom - x),
        8 => (right - y, x),
        _ => panic!("no such orientation"),
    };
    *stored.get_pixel(x, y)
}

#[test]
fn all_eight_orientations_are_applied_to_jpeg_and_png() {
    let picture =
        RgbImage::from_fn(23, 9, |x, y| Rgb([(x * 11) as u8, (y * 28) as u8, (x * y) as u8]));
    let jpeg = encode(&picture.clone().into(), ImageFormat::Jpeg);
    let stored = decode(&jpeg).unwrap();
    for orientation in 1..=8 {
        for big_endian in [false, true] {
            let exif = exif(orientation, big_endian);
            let mut png = Vec::new();
            let mut encoder = PngEncoder::new(&mut png);
            encoder.set_exif_metadata(exif.clone()).unwrap();
            encoder.write_image(picture.as_raw(), 23, 9, image::ExtendedColorType::Rgb8).unwrap();
            for (bytes, stored) in [(with_exif(&jpeg, &exif), &stored), (png, &picture)] {
                let upright = decode(&bytes).unwrap();
                let size = if orientation < 5 { (23, 9) } else { (9, 23) };
                assert_eq!(upright.dimensions(), size, "{orientation}");
                for (x, y, pixel) in upright.enumerate_pixels() {
                    let expected = shown(stored, orientation, (x, y));
                    assert_eq!(*pixel, expected, "{orientation} at {x}, {y}");
                }
            }
        }
    }
}

#[test]
fn a_broken_exif_segment_does_not_lose_the_picture() {
    let jpeg = encode(&RgbImage::new(5, 3).into(), ImageFormat::Jpeg);
    let whole = exif(6, false);
    let cuts = (0..whole.len() - 6).map(|cut| whole[..cut].to_vec());
    for exif in cuts.chain([exif(0, true), exif(9, false), b"II*\0\xFF\xFF\xFF\xFF".to_vec()]) {
        assert_eq!(decode(&with_exif(&jpeg, &exif)).unwrap().dimensions(), (5, 3), "{exif:?}");
    }
}

/// What Pillow reads from the quadrants of `samples/cmyk.jpg`, as `samples/make.py` prints it.
const CMYK: [[u8; 3]; 4] = [[255, 255, 255], [0, 255, 255], [255, 55, 155], [107, 87, 67]];
/// The same of `samples/ycck.jpg`.
const YCCK: [[u8; 3]; 4] = [[0, 134, 0], [77, 255, 30], [0, 0, 129], [15, 30, 0]];

#[test]
fn cmyk_and_ycck_are_read_in_adobes_convention() {
    let cmyk = include_bytes!("samples/cmyk.jpg").as_slice();
    let ycck = include_bytes!("samples/ycck.jpg").as_slice();
    let unmarked = {
        let marker = cmyk.windows(2).position(|pair| pair == [0xFF, 0xEE]).unwrap();
        // The marker, its length and what it holds.
        [&cmyk[..marker], &cmyk[marker + 16..]].concat()
    };
    for (name, bytes, expected) in
        [("cmyk", cmyk, CMYK), ("unmarked", unmarked.as_slice(), CMYK), ("ycck", ycck, YCCK)]
    {
        let image = decode(bytes).unwrap();
        assert_eq!(image.dimensions(), (16, 16), "{name}");
        for (quadrant, expected) in expected.into_iter().enumerate() {
            let (x, y) = (4 + 8 * (quadrant as u32 % 2), 4 + 8 * (quadrant as u32 / 2));
            for (found, expected) in image.get_pixel(x, y).0.into_iter().zip(expected) {
                // Decoders round differently: the transform, the colours, the product with black.
                assert!(found.abs_diff(expected) <= 3, "{name}, {quadrant}: {image:?}");
            }
        }
    }
}

#[test]
fn palettes_of_every_depth_become_rgb() {
    for (depth, bytes) in [
        (1, include_bytes!("samples/palette-1.png").as_slice()),
        (2, include_bytes!("samples/palette-2.png")),
        (4, include_bytes!("samples/palette-4.png")),
        (8, include_bytes!("samples/palette-8.png")),
    ] {
        let image = decode(bytes).unwrap();
        assert_eq!(image.dimensions(), (5, 2), "{depth}");
        for (x, y, pixel) in image.enumerate_pixels() {
            let entry = ((x + y) % 2) as u8;
            assert_eq!(pixel.0, [10 + 100 * entry, 20 + 100 * entry, 30 + 100 * entry], "{depth}");
        }
    }
    // Entry 0 is transparent, entry 1 half so.
    let image = decode(include_bytes!("samples/palette-transparent.png")).unwrap();
    assert_eq!(image.get_pixel(0, 0).0, [255, 255, 255]);
    assert_eq!(image.get_pixel(1, 0).0, [182, 187, 192]);
}

#[test]
fn sixteen_bit_colours_and_alpha_are_read() {
    let deep = ImageBuffer::<Rgb<u16>, _>::from_raw(1, 1, vec![0x8080, 0x00FF, 0xFFFF]).unwrap();
    // 255 of 65535 is 0.99 of 255: rounded, not cut off.
    assert_eq!(decode(&png(deep)).unwrap().as_raw(), &[128, 1, 255]);
    let deep = ImageBuffer::<image::LumaA<u16>, _>::from_raw(2, 1, vec![0x4040, 0xFFFF, 0, 0]);
    assert_eq!(decode(&png(deep.unwrap())).unwrap().as_raw(), &[64, 64, 64, 255, 255, 255]);
}
