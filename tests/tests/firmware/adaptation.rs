//! Networks from a flash image, and devices that align them with the frames that they find.

use std::fmt::Write as _;

use bissl_core::{Draws, Stream};
use bissl_firmware::{
    Blocked, Configuration, ConvolutionalDigitsDevice, Image, ImageError, LargeDigitsDevice,
    Lengths, Part, Scale, Settings, SmallDigitsDevice, Tick, WatchDevice,
};
use bissl_firmware_sim::{
    AlignedImage, Digits, DigitsShift, Pretrained, SimulatedDevice, Watch, adapt, pretrain_digits,
    small_digits_weights, write_image,
};

use crate::support::{draws, random};

/// Stages of a few steps.
const SHORT: Lengths = Lengths {
    pretrain: 3,
    warm_up: 10,
    alternations: 2,
    lower_steps: 3,
    upper_steps: 2,
    finetune: 10,
};

fn settings(lengths: Lengths) -> Settings {
    Settings::new(1, lengths).unwrap()
}

const CHANNELS: &[[f32; 3]] = &[[1.0 / 16.0, 0.25, 16.0]];

fn image() -> (Vec<f32>, Vec<u8>) {
    let model = SmallDigitsDevice::MODEL;
    let weights: Vec<f32> = random(&mut draws(1), model.image_weights());
    let bytes = write_image(&model, CHANNELS, &weights);
    (weights, bytes)
}

fn read(bytes: &[u8]) -> Result<AlignedImage, String> {
    let image = AlignedImage::new(bytes, "the file").map_err(|error| error.to_string())?;
    image.read(&SmallDigitsDevice::MODEL).map_err(|error| error.to_string())?;
    Ok(image)
}

#[test]
fn an_image_reads_back_as_it_was_written() {
    let (weights, bytes) = image();
    let file = read(&bytes).unwrap();
    let image = file.read(&SmallDigitsDevice::MODEL).unwrap();
    assert_eq!(image.weights(), weights);
    assert_eq!(image.scales()[0], Scale { scale: 1.0 / 16.0, offset: 0.25 });
    assert_eq!((image.per_unit(0), image.per_unit(1)), (Some(16.0), None));
    assert_eq!(small_digits_weights().unwrap().len(), weights.len());
}

#[test]
fn a_flipped_bit_anywhere_is_refused() {
    let (_, bytes) = image();
    let mut draws = draws(2);
    for byte in (0..bytes.len()).step_by(7).chain([0, 8, 9, bytes.len() - 1]) {
        let mut damaged = bytes.clone();
        damaged[byte] ^= 1 << draws.below(8);
        assert!(read(&damaged).is_err(), "byte {byte}");
    }
}

#[test]
fn other_images_are_refused_and_named() {
    let (_, bytes) = image();
    let other = ConvolutionalDigitsDevice::MODEL;
    let foreign = write_image(&other, CHANNELS, &vec![0.5; other.image_weights()]);
    let mut version = bytes.clone();
    version[8] = 2;
    for (bytes, words) in [
        (&bytes[..bytes.len() - 4], "image of 5288 bytes, expected 5292"),
        (&bytes[..bytes.len() - 1], "not aligned"),
        (&foreign, "another network"),
        (&version, "version 2, expected 1"),
        (&[0; 64], "no flash image"),
        (&[], "no flash image"),
    ] {
        let error = read(bytes).unwrap_err();
        assert!(error.starts_with("the file: ") && error.contains(words), "{error}");
    }
    // The same number of layers and weights, arranged differently.
    let mut model = bytes.clone();
    // After nine words of the header, three of the channel, and the kind come the inputs of the
    // first layer.
    let place = 4 * (9 + 3 + 1);
    model[place..place + 4].copy_from_slice(&32u32.to_le_bytes());
    let words: Vec<u32> =
        model.as_chunks::<4>().0.iter().map(|word| u32::from_ne_bytes(*word)).collect();
    let part = Part::Layer { layer: 0, word: 1 };
    let aligned: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
    let error = AlignedImage::new(&aligned, "x").unwrap();
    let error = error.read(&SmallDigitsDevice::MODEL).unwrap_err().to_string();
    let expected = ImageError::Differs { part, found: 32, expected: 64 }.to_string();
    assert!(error.ends_with(&expected), "{error}");
    // Bytes that are not aligned to a word.
    let unaligned = [&[0][..], &bytes].concat();
    let found = [&unaligned[1..], &bytes[..]].map(|bytes| {
        Image::read(&SmallDigitsDevice::MODEL, bytes).err() == Some(ImageError::NotAligned)
    });
    assert!(found.contains(&true), "one of two neighbouring addresses is no multiple of 4");
}

#[test]
fn what_a_device_finds_is_cut_up_without_a_remainder() {
    let shift = DigitsShift::default();
    let found = shift.surroundings(1);
    assert_eq!(found.labels.len(), 10 * shift.labelled_per_class);
    assert_eq!(found.labelled.len(), 64 * found.labels.len());
    assert_eq!(found.unlabelled.len(), 64 * shift.unlabelled);
    // These are all pictures that the pretraining does not see.
    let pictures = found.labels.len() + shift.unlabelled + found.held_out_labels.len();
    assert_eq!(pictures, 1797 - 1200);
    assert!(found.held_out.iter().chain(&found.unlabelled).all(|pixel| *pixel <= 16));
    let upright = DigitsShift { degrees: 0.0, noise: 0.0, ..shift }.surroundings(1);
    assert_eq!(&upright.labelled[..64], &Digits::embedded().flash().labelled[..64]);
    assert_ne!(upright.labelled, found.labelled);
}

#[test]
fn a_device_goes_four_ways_from_one_image() {
    let weights = pretrain_digits::<SmallDigitsDevice>(1, 5).unwrap();
    let found = DigitsShift::default().surroundings(1);
    let scales = &[Scale { scale: 1.0 / 16.0, offset: 0.0 }];
    let pretrained = Pretrained { weights: &weights, scales };
    let run = || adapt::<SmallDigitsDevice, u8>(&found, pretrained, SHORT, settings).unwrap();
    let ways = run();
    assert_eq!(ways, run());
    assert_eq!(ways.held_out, 267);
    let correct = [ways.before, ways.finetuned, ways.continued, ways.aligned];
    assert!(correct.iter().all(|correct| (1..267).contains(correct)), "{ways:?}");
    let few = Pretrained { weights: &weights[1..], scales };
    let error = adapt::<SmallDigitsDevice, u8>(&found, few, SHORT, settings).unwrap_err();
    assert!(error.to_string().contains("1269 weights in flash, the network has 1270"), "{error}");
}

/// Recordings of two people, seven exercises each, 900 samples long; each exercise has its own
/// frequency.
fn recordings(folder: &std::path::Path, draws: &mut Draws) {
    let mut table = String::from("recording,subject,side_right,exercise,first_sample,samples\n");
    let mut bytes = vec![];
    for subject in [4, 9] {
        for exercise in 0..7u16 {
            let number = bytes.len() / (24 * 900);
            writeln!(table, "{number},{subject},1,E{exercise},{},900", 900 * number).unwrap();
            for sample in 0..900u16 {
                for channel in 0..6u16 {
                    let phase = f32::from(sample * (exercise + 1) % 100) / 50.0 - 1.0;
                    let value = phase * f32::from(channel + 1) + draws.uniform_in(-0.1, 0.1);
                    bytes.extend(value.to_le_bytes());
                }
            }
        }
    }
    std::fs::write(folder.join("recordings.csv"), table).unwrap();
    std::fs::write(folder.join("samples.f32le"), bytes).unwrap();
}

#[test]
fn a_watch_is_aligned_to_its_wearer() {
    let folder = tempfile::tempdir().unwrap();
    recordings(folder.path(), &mut Stream::new(1, 0x7e57).at(3));
    let watch = Watch::open(folder.path()).unwrap();
    assert_eq!((watch.subjects(), watch.exercises().len()), (vec![4, 9], 7));
    let model = WatchDevice::MODEL;
    let weights: Vec<f32> =
        random(&mut draws(4), model.image_weights()).into_iter().map(|w: f32| 0.2 * w).collect();
    let channels: Vec<[f32; 3]> = (1..=6u8).map(|c| [0.01 / f32::from(c), 0.0, 100.0]).collect();
    let file = AlignedImage::new(&write_image(&model, &channels, &weights), "image").unwrap();
    let image = file.read(&model).unwrap();
    let found = watch.surroundings(9, &image).unwrap();
    // Each recording has two labelled windows, windows at steps of 50 in its first 450 samples, and
    // four held-out windows.
    assert_eq!((found.labels.len(), found.held_out_labels.len()), (14, 28));
    assert_eq!((found.labelled.len(), found.unlabelled.len()), (14 * 600, 7 * 7 * 600));
    // −1 on the first channel, up to noise, at 100 numbers per unit.
    assert!((-115..=-85).contains(&found.labelled[0]), "{}", found.labelled[0]);

    let scales = image.scales();
    let pretrained = Pretrained { weights: image.weights(), scales: &scales[..6] };
    let run = || adapt::<WatchDevice, i16>(&found, pretrained, SHORT, settings).unwrap();
    let ways = run();
    assert_eq!(ways, run());
    assert_eq!(ways.held_out, 28);

    let error = watch.surroundings(5, &image).unwrap_err().to_string();
    assert_eq!(error, "no recordings of subject 5, expected one of [4, 9]");
    let samples = folder.path().join("samples.f32le");
    let bytes = std::fs::read(&samples).unwrap();
    std::fs::write(&samples, &bytes[..bytes.len() - 24]).unwrap();
    let error = Watch::open(folder.path()).unwrap_err().to_string();
    assert!(
        error.contains("12599 samples of 6 channels, recordings.csv asks for 12600"),
        "{error}"
    );
    std::fs::write(folder.path().join("recordings.csv"), "subject\n4\n").unwrap();
    let error = Watch::open(folder.path()).unwrap_err().to_string();
    assert!(error.contains("recordings.csv") && error.contains("exercise"), "{error}");
}

#[test]
fn the_largest_device_trains() {
    let digits = Digits::embedded();
    let train = || {
        let mut device: SimulatedDevice<LargeDigitsDevice, _, _> =
            SimulatedDevice::new(digits.flash(), Blocked, settings(SHORT));
        while device.tick().unwrap() != Tick::Idle {}
        device.device.hash().unwrap()
    };
    assert_eq!(train(), train());
}
