//! Decoded pixels are those of libjpeg and Pillow, or the file is refused with a reason.
//!
//! `pixels/files.bin` holds the files one after the other, `pixels/index.tsv` names them, and
//! `pixels/expected.png` holds their pixels below each other: `tests/peers/run pixels` writes all.

use bissl::data::{ImageSettings, decode_image};
use image::RgbImage;

/// Largest difference to the reference, of 255: transforms and products round differently.
const TOLERANCE: u8 = 3;

const FILES: &[u8] = include_bytes!("pixels/files.bin");
const INDEX: &str = include_str!("pixels/index.tsv");
const EXPECTED: &[u8] = include_bytes!("pixels/expected.png");

enum Expected {
    Pixels(RgbImage),
    /// Words that the refusal contains; none: any.
    Refusal(&'static str),
}

fn corpus() -> Vec<(&'static str, &'static [u8], Expected)> {
    let all = image::load_from_memory(EXPECTED).unwrap().into_rgb8();
    let (mut at, mut row) = (0, 0);
    let files = INDEX.lines().skip(1).map(|line| {
        let cells: Vec<&str> = line.split('\t').collect();
        let &[name, bytes, width, height, expected] = cells.as_slice() else {
            panic!("{line}: expected five cells")
        };
        let number = |cell: &str| cell.parse::<u32>().unwrap();
        let bytes = number(bytes) as usize;
        let file = &FILES[at..at + bytes];
        at += bytes;
        let expected = if expected == "pixels" {
            let (width, height) = (number(width), number(height));
            let view = image::imageops::crop_imm(&all, 0, row, width, height);
            row += height;
            Expected::Pixels(view.to_image())
        } else {
            Expected::Refusal(if expected == "-" { "" } else { expected })
        };
        (name, file, expected)
    });
    let files = files.collect();
    assert_eq!((at, row), (FILES.len(), all.height()), "the table and the files belong together");
    files
}

/// What is wrong about a file of the corpus.
fn fault(file: &[u8], expected: &Expected) -> Option<String> {
    match (decode_image("f", file, &ImageSettings::default()), expected) {
        (Ok(image), Expected::Pixels(expected)) => {
            if image.dimensions() != expected.dimensions() {
                let (found, expected) = (image.dimensions(), expected.dimensions());
                return Some(format!("found {found:?} pixels, expected {expected:?}"));
            }
            let pairs = image.as_raw().iter().zip(expected.as_raw());
            let most = pairs.map(|(found, expected)| found.abs_diff(*expected)).max().unwrap();
            (most > TOLERANCE).then(|| format!("differs by {most}"))
        }
        (Err(error), Expected::Pixels(_)) => Some(format!("is refused: {error}")),
        (Ok(_), Expected::Refusal(words)) => Some(format!("is read, expected a refusal: {words}")),
        (Err(error), Expected::Refusal(words)) => {
            (!error.to_string().contains(words)).then(|| format!("expected `{words}`, got {error}"))
        }
    }
}

#[test]
fn pixels_are_those_of_the_reference_or_the_file_is_refused() {
    let faults: Vec<String> = corpus()
        .iter()
        .filter_map(|(name, file, expected)| {
            fault(file, expected).map(|fault| format!("{name}: {fault}"))
        })
        .collect();
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
}

#[test]
fn a_cut_jpeg_is_refused_even_with_an_end_marker() {
    for (name, file, expected) in corpus() {
        let Expected::Pixels(expected) = expected else { continue };
        if !name.ends_with(".jpg") {
            continue;
        }
        for cut in 2..file.len() {
            // Nothing is lost where the rest is behind the image or is its end marker.
            for bytes in [file[..cut].to_vec(), [&file[..cut], &[0xFF, 0xD9]].concat()] {
                if let Ok(image) = decode_image("f", &bytes, &ImageSettings::default()) {
                    let same = image.dimensions() == expected.dimensions()
                        && image.iter().zip(expected.iter()).all(|(a, b)| a.abs_diff(*b) <= 3);
                    assert!(same, "{name} cut at {cut}: other pixels");
                }
            }
        }
    }
}

/// Why the decoder is our own: prints how that of crate `image` fares, and fails once that is as
/// good.
#[test]
fn the_decoder_of_the_image_crate_reads_other_pixels() {
    let (mut other, mut refused, mut damaged, mut valid, mut invalid) = (0, 0, 0, 0, 0);
    let jpeg = |name: &str| name.ends_with(".jpg") && !name.contains("exif");
    for (_, file, expected) in corpus().into_iter().filter(|(name, ..)| jpeg(name)) {
        let decode = || image::load_from_memory_with_format(file, image::ImageFormat::Jpeg);
        // It panics on one of them.
        let decoded = std::panic::catch_unwind(decode).ok().and_then(Result::ok);
        match (expected, decoded.map(|image| image.into_rgb8())) {
            (Expected::Pixels(_), None) => (valid, refused) = (valid + 1, refused + 1),
            (Expected::Pixels(expected), Some(found)) => {
                let near = |(a, b): (&u8, &u8)| a.abs_diff(*b) <= TOLERANCE;
                let same = found.dimensions() == expected.dimensions()
                    && found.iter().zip(expected.iter()).all(near);
                (valid, other) = (valid + 1, other + usize::from(!same));
            }
            (Expected::Refusal(_), found) => {
                (invalid, damaged) = (invalid + 1, damaged + usize::from(found.is_some()));
            }
        }
    }
    println!("{valid} valid JPEG: {other} as other pixels, {refused} refused");
    println!("{invalid} damaged or unsupported: {damaged} read");
    assert!(other > 0 || damaged > 0, "the library does: decision 0015 can be taken back");
}
