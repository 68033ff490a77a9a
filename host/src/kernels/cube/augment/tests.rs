//! The device's views compared with the host's.

use bissl_core::{Draws, Stream};
use burn_wgpu::{WgpuDevice, WgpuRuntime};
use cubecl::Runtime;
use image::{Rgb, RgbImage};

use super::views;
use crate::data::packed::Packed;
use crate::data::{AugmentSettings, Augmentation, DEVIATION, Drawn, View};

/// Differences of a few f32 operations on values up to 1, in units of ¹⁄₂₅₅.
const ROUNDING: f32 = 2e-3;

/// Smooth colours with some noise and saturated corners, like a photograph.
fn picture(draws: &mut Draws, width: u32, height: u32) -> RgbImage {
    let mut slope = || draws.uniform_in(-2.0, 2.0);
    let slopes: [[f32; 2]; 3] = std::array::from_fn(|_| [slope(), slope()]);
    let begins: [f32; 3] = std::array::from_fn(|_| draws.uniform_in(-60.0, 315.0));
    RgbImage::from_fn(width, height, |x, y| {
        Rgb(std::array::from_fn(|channel| {
            let [right, down] = slopes[channel];
            let noise = draws.uniform_in(-40.0, 40.0);
            (begins[channel] + right * x as f32 + down * y as f32 + noise) as u8
        }))
    })
}

/// Images of many sizes: some smaller than the views, some long, some square.
fn pictures(count: usize) -> Vec<RgbImage> {
    const SIZES: [(u32, u32); 10] = [
        (32, 32),
        (96, 96),
        (33, 47),
        (120, 61),
        (7, 5),
        (150, 150),
        (301, 40),
        (64, 96),
        (1, 13),
        (95, 222),
    ];
    let stream = Stream::new(7, 1);
    let one = |(index, &(width, height)): (usize, &(u32, u32))| {
        picture(&mut stream.at(index as u64), width, height)
    };
    SIZES.iter().cycle().take(count).enumerate().map(one).collect()
}

/// Settings without anything random: the whole image, neither mirrored nor changed.
fn still() -> AugmentSettings {
    AugmentSettings {
        crop_area: [1.0, 1.0],
        crop_aspect: [1.0, 1.0],
        flip: 0.0,
        jitter: 0.0,
        grey: 0.0,
        blur_a: 0.0,
        blur_b: 0.0,
        solarise_b: 0.0,
        ..AugmentSettings::default()
    }
}

/// Settings with one part of the jitter only, at a given strength.
fn only(brightness: f32, contrast: f32, saturation: f32, hue: f32) -> AugmentSettings {
    AugmentSettings { jitter: 1.0, brightness, contrast, saturation, hue, ..still() }
}

fn pretext(augmentation: &Augmentation, images: &[RgbImage], view: View) -> Vec<Drawn> {
    let stream = Stream::new(3, 11);
    let draw = |(index, image): (usize, &RgbImage)| {
        augmentation.draw_pretext(image.dimensions(), view, stream.at(index as u64))
    };
    images.iter().enumerate().map(draw).collect()
}

fn on_device<const VIEWS: usize>(
    size: u32,
    images: &[RgbImage],
    drawn: [&[Drawn]; VIEWS],
) -> [Vec<f32>; VIEWS] {
    made(Packed::new(size, images, drawn))
}

fn made<const VIEWS: usize>(packed: Packed<VIEWS>) -> [Vec<f32>; VIEWS] {
    let device = WgpuDevice::default();
    let client = WgpuRuntime::client(&device);
    let (batch, side) = (packed.batch(), packed.size() as usize);
    views::<WgpuRuntime, VIEWS>(packed, &client, &device).map(|view| {
        assert_eq!(view.meta.shape()[..], [batch, 3, side, side]);
        assert_eq!(view.meta.strides()[..], [3 * side * side, 1, 3 * side, 3]);
        let bytes = client.read_one(view.handle).unwrap();
        bytemuck::cast_slice(&bytes)[..batch * 3 * side * side].to_vec()
    })
}

/// The same views on the host, in the device's order.
fn on_host(augmentation: &Augmentation, images: &[RgbImage], drawn: &[Drawn]) -> Vec<f32> {
    let mut values = Vec::new();
    let mut planes = vec![f32::NAN; augmentation.image_len()];
    for (image, drawn) in images.iter().zip(drawn) {
        augmentation.apply(image, drawn, &mut planes);
        let pixels = planes.len() / 3;
        values.extend((0..planes.len()).map(|at| planes[at % 3 * pixels + at / 3]));
    }
    values
}

/// Differences of normalised values, in units of ¹⁄₂₅₅ of the range before normalisation.
struct Errors {
    largest: f32,
    mean: f64,
    /// Number of values that differ by more than [`ROUNDING`].
    beyond: usize,
}

impl Errors {
    fn of(device: &[f32], host: &[f32]) -> Self {
        assert_eq!(device.len(), host.len());
        let errors = device.iter().zip(host).enumerate().map(|(at, (device, host))| {
            assert!(device.is_finite(), "{device} at {at}");
            (device - host).abs() * DEVIATION[at % 3] * 255.0
        });
        let errors: Vec<f32> = errors.collect();
        Self {
            largest: errors.iter().copied().fold(0.0, f32::max),
            mean: errors.iter().map(|&error| f64::from(error)).sum::<f64>() / errors.len() as f64,
            beyond: errors.iter().filter(|&&error| error > ROUNDING).count(),
        }
    }
}

fn compare(name: &str, settings: AugmentSettings, view: View, size: u32, count: usize) -> Errors {
    let augmentation = Augmentation::new(size, settings).unwrap();
    let images = pictures(count);
    let drawn = pretext(&augmentation, &images, view);
    let [device] = on_device(size, &images, [&drawn]);
    let errors = Errors::of(&device, &on_host(&augmentation, &images, &drawn));
    let Errors { largest, mean, beyond } = errors;
    println!("{name}, {size} px: largest {largest:.2e}, mean {mean:.2e}, {beyond} beyond rounding");
    errors
}

#[test]
fn cutting_scaling_and_mirroring_give_the_hosts_bytes() {
    let ours = AugmentSettings::default();
    let crop =
        AugmentSettings { crop_area: ours.crop_area, crop_aspect: ours.crop_aspect, ..still() };
    for (name, settings) in [
        ("whole", still()),
        ("crop", crop),
        ("tall crop", AugmentSettings { crop_aspect: [0.05, 0.5], ..crop }),
        ("flip", AugmentSettings { flip: 1.0, ..still() }),
        ("crop and flip", AugmentSettings { flip: 0.5, ..crop }),
    ] {
        for (size, count) in [(32, 40), (96, 20), (75, 10)] {
            let errors = compare(name, settings, View::A, size, count);
            // Far below 1: no byte differs.
            assert!(errors.largest < 1e-4, "{name} at {size}: {}", errors.largest);
        }
    }
}

#[test]
fn every_colour_change_alone_agrees_with_the_hosts() {
    for (name, settings, view) in [
        ("brightness", only(0.9, 0.0, 0.0, 0.0), View::A),
        ("contrast", only(0.0, 0.9, 0.0, 0.0), View::A),
        ("saturation", only(0.0, 0.0, 0.9, 0.0), View::A),
        ("hue", only(0.0, 0.0, 0.0, 0.5), View::A),
        ("jitter", only(0.4, 0.4, 0.2, 0.1), View::A),
        ("grey", AugmentSettings { grey: 1.0, ..still() }, View::A),
        ("solarisation", AugmentSettings { solarise_b: 1.0, ..still() }, View::B),
        ("blur", AugmentSettings { blur_a: 1.0, ..still() }, View::A),
    ] {
        for (size, count) in [(32, 40), (96, 20)] {
            let errors = compare(name, settings, view, size, count);
            assert!(errors.largest < ROUNDING, "{name} at {size}: {}", errors.largest);
        }
    }
}

#[test]
fn whole_views_agree_with_the_hosts() {
    let half_solarised = AugmentSettings { solarise_b: 0.5, blur_b: 0.5, ..Default::default() };
    for (name, settings, view) in [
        ("view A", AugmentSettings::default(), View::A),
        ("view B", AugmentSettings::default(), View::B),
        ("view A, paper", AugmentSettings::paper(), View::A),
        ("view B, half solarised", half_solarised, View::B),
    ] {
        for (size, count) in [(32, 60), (96, 30)] {
            let errors = compare(name, settings, view, size, count);
            // A value may cross the threshold of solarisation and then differ by ¹⁄₂₅₅.
            assert!(errors.largest < 1.01, "{name} at {size}: {}", errors.largest);
            let allowed = count * (3 * size * size) as usize / 10_000;
            assert!(errors.beyond <= allowed, "{name} at {size}: {} values", errors.beyond);
        }
    }
}

#[test]
fn downstream_and_evaluation_give_the_hosts_bytes() {
    for (size, count) in [(32, 40), (96, 20)] {
        for settings in [AugmentSettings::default(), AugmentSettings::paper()] {
            let augmentation = Augmentation::new(size, settings).unwrap();
            let images = pictures(count);
            let stream = Stream::new(5, 21);
            let train = |(index, image): (usize, &RgbImage)| {
                augmentation.draw_downstream(image.dimensions(), stream.at(index as u64))
            };
            let train: Vec<Drawn> = images.iter().enumerate().map(train).collect();
            let seen = |image: &RgbImage| augmentation.evaluation_of(image.dimensions());
            let seen: Vec<Drawn> = images.iter().map(seen).collect();
            // Two views of the same bytes, as for the pretext.
            let [on_train, on_seen] = on_device(size, &images, [&train, &seen]);
            for (device, drawn) in [(on_train, train), (on_seen, seen)] {
                let errors = Errors::of(&device, &on_host(&augmentation, &images, &drawn));
                assert!(errors.largest < 1e-4, "{size}: {}", errors.largest);
            }
        }
    }
}

#[test]
fn the_same_input_gives_the_same_bits() {
    let images = pictures(20);
    for size in [32, 96] {
        let augmentation = Augmentation::new(size, AugmentSettings::default()).unwrap();
        let a = pretext(&augmentation, &images, View::A);
        let b = pretext(&augmentation, &images, View::B);
        let first = on_device(size, &images, [&a, &b]);
        for _ in 0..3 {
            assert!(on_device(size, &images, [&a, &b]) == first, "{size}");
        }
        // The rest of the batch does not matter either.
        let half = images.len() / 2;
        let [alone] = on_device(size, &images[half..], [&a[half..]]);
        assert!(alone == first[0][first[0].len() / 2..], "{size}");
    }
}

#[test]
fn chunks_change_no_bit() {
    let images = pictures(20);
    let augmentation = Augmentation::new(32, AugmentSettings::default()).unwrap();
    let a = pretext(&augmentation, &images, View::A);
    let b = pretext(&augmentation, &images, View::B);
    let whole = on_device(32, &images, [&a, &b]);
    for words_max in [1, 20_000] {
        let packed = Packed::in_chunks(32, &images, [&a, &b], words_max);
        assert!(packed.clone().into_chunks().len() > 1);
        assert!(made(packed) == whole, "{words_max} words");
    }
}

#[test]
fn an_empty_batch_makes_empty_views() {
    let [empty] = on_device(32, &[], [&[]]);
    assert!(empty.is_empty());
}
