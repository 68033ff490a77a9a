//! Augmentation of motion windows: what a sensor worn a little otherwise would have written.

use bissl_core::Draws;
use serde::{Deserialize, Serialize};

use super::recordings::{CHANNELS, Channels, Window};

/// Axes of either sensor.
const AXES: usize = 3;

/// Length of windows, and the strengths of their augmentation.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WindowSettings {
    /// Samples of a window, at least 1.
    pub length: usize,
    /// Samples from the beginning of one window to that of the next, at least 1.
    pub hop: usize,
    /// Most samples that a pretext view is shifted by, either way; it stays in its recording.
    pub shift: usize,
    /// The same of a labelled training window, which stays in its part of the recording.
    pub labelled_shift: usize,
    /// Largest angle that a pretext view is turned by about a random axis, degrees in `[0, 180]`.
    pub rotation: f32,
    /// A pretext view's acceleration is multiplied by a factor from `[1 − g, 1 + g]`, g in `[0,
    /// 1)`.
    pub accelerometer_gain: f32,
    /// Its angular rate, likewise.
    pub gyroscope_gain: f32,
    /// Deviation of the noise that is added to a pretext view, in deviations of the channel, at
    /// least 0.
    pub noise: f32,
    /// Longest part of a pretext view that is replaced by the channels' means, as a share in `[0,
    /// 1)`.
    pub mask: f32,
}

/// The recipes of windows, with the channels' normalisation.
///
/// Every recipe writes `[CHANNELS, 1, length]` values, a channel behind the other. Results are a
/// pure function of the arguments.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Motion {
    settings: WindowSettings,
    channels: Channels,
}

impl Motion {
    /// Recipes at checked settings.
    pub fn new(settings: WindowSettings, channels: Channels) -> Self {
        Self { settings, channels }
    }

    /// Samples of a window.
    pub fn length(&self) -> usize {
        self.settings.length
    }

    /// The channels' normalisation.
    pub fn channels(&self) -> &Channels {
        &self.channels
    }

    /// One pretext view: shift, rotation, gain, noise, mask.
    ///
    /// `out` has `CHANNELS · length` values.
    pub fn pretext(&self, window: Window<'_>, mut draws: Draws, out: &mut [f32]) {
        let settings = &self.settings;
        let samples = shifted(window, settings.shift, &mut draws);
        let turn = rotation(settings.rotation, &mut draws);
        let gain = |draws: &mut Draws, g: f32| draws.uniform_in(1.0 - g, 1.0 + g);
        let accelerometer = gain(&mut draws, settings.accelerometer_gain);
        let gyroscope = gain(&mut draws, settings.gyroscope_gain);
        self.write(samples, out, |sample| {
            let (acceleration, rate) = sample.split_at_mut(AXES);
            for (sensor, gain) in [(acceleration, accelerometer), (rate, gyroscope)] {
                let before = [sensor[0], sensor[1], sensor[2]];
                for (value, row) in sensor.iter_mut().zip(&turn) {
                    let turned = row[0] * before[0] + row[1] * before[1] + row[2] * before[2];
                    *value = gain * turned;
                }
            }
        });
        if settings.noise > 0.0 {
            for value in out.iter_mut() {
                *value += settings.noise * draws.normal();
            }
        }
        let length = settings.length;
        let masked = (draws.uniform() * settings.mask * length as f32) as usize;
        let first = draws.below((length - masked + 1) as u32) as usize;
        for channel in out.chunks_exact_mut(length) {
            channel[first..first + masked].fill(0.0);
        }
    }

    /// A labelled training window: shift alone.
    ///
    /// `out` has `CHANNELS · length` values.
    pub fn downstream(&self, window: Window<'_>, mut draws: Draws, out: &mut [f32]) {
        let samples = shifted(window, self.settings.labelled_shift, &mut draws);
        self.write(samples, out, |_| {});
    }

    /// The window as it is, normalised.
    ///
    /// `out` has `CHANNELS · length` values.
    pub fn evaluation(&self, window: Window<'_>, out: &mut [f32]) {
        self.write(samples_at(window, window.start), out, |_| {});
    }

    /// Changes every sample by `change`, normalises, and writes channel behind channel.
    fn write(&self, samples: &[f32], out: &mut [f32], change: impl Fn(&mut [f32; CHANNELS])) {
        let Channels { scale, offset, .. } = &self.channels;
        let length = samples.len() / CHANNELS;
        let (samples, _) = samples.as_chunks::<CHANNELS>();
        for (time, sample) in samples.iter().enumerate() {
            let mut sample = *sample;
            change(&mut sample);
            for (channel, value) in sample.into_iter().enumerate() {
                out[channel * length + time] = value * scale[channel] + offset[channel];
            }
        }
    }
}

/// The samples of the window after a random shift by at most `shift`, which stays in its stretch:
/// all places that are left are equally likely.
fn shifted<'a>(window: Window<'a>, shift: usize, draws: &mut Draws) -> &'a [f32] {
    let last = window.stretch.len() / CHANNELS - window.length;
    let first = window.start.saturating_sub(shift);
    let places = (window.start + shift).min(last) - first + 1;
    samples_at(window, first + draws.below(places as u32) as usize)
}

fn samples_at(Window { stretch, length, .. }: Window<'_>, start: usize) -> &[f32] {
    &stretch[start * CHANNELS..(start + length) * CHANNELS]
}

/// A rotation about a random axis by at most `degrees` (Rodrigues).
fn rotation(degrees: f32, draws: &mut Draws) -> [[f32; AXES]; AXES] {
    let axis = [draws.normal(), draws.normal(), draws.normal()];
    let angle = draws.uniform_in(-degrees, degrees) * std::f32::consts::PI / 180.0;
    let norm = libm::sqrtf(axis.iter().map(|v| v * v).sum());
    if norm == 0.0 {
        // Three draws that are all 0 name no axis: nothing is turned.
        return [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]];
    }
    let [x, y, z] = axis.map(|v| v / norm);
    let (sine, cosine) = (libm::sinf(angle), libm::cosf(angle));
    let rest = 1.0 - cosine;
    [
        [cosine + x * x * rest, x * y * rest - z * sine, x * z * rest + y * sine],
        [y * x * rest + z * sine, cosine + y * y * rest, y * z * rest - x * sine],
        [z * x * rest - y * sine, z * y * rest + x * sine, cosine + z * z * rest],
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use bissl_core::Stream;

    const LENGTH: usize = 8;

    fn still() -> WindowSettings {
        WindowSettings {
            length: LENGTH,
            hop: 4,
            shift: 0,
            labelled_shift: 0,
            rotation: 0.0,
            accelerometer_gain: 0.0,
            gyroscope_gain: 0.0,
            noise: 0.0,
            mask: 0.0,
        }
    }

    /// Sample i of channel c is i + 100 c.
    fn stretch() -> Vec<f32> {
        (0..20).flat_map(|i| (0..CHANNELS).map(move |c| (i + 100 * c) as f32)).collect()
    }

    fn plain() -> Channels {
        Channels { scale: [1.0; CHANNELS], offset: [0.0; CHANNELS], per_unit: [1.0; CHANNELS] }
    }

    fn view(settings: WindowSettings, start: usize, index: u64) -> Vec<f32> {
        let stretch = stretch();
        let window = Window { stretch: &stretch, start, length: LENGTH };
        let mut out = vec![f32::NAN; CHANNELS * LENGTH];
        Motion::new(settings, plain()).pretext(window, Stream::new(1, 2).at(index), &mut out);
        out
    }

    fn evaluated(channels: Channels, start: usize) -> Vec<f32> {
        let stretch = stretch();
        let window = Window { stretch: &stretch, start, length: LENGTH };
        let mut out = vec![f32::NAN; CHANNELS * LENGTH];
        Motion::new(still(), channels).evaluation(window, &mut out);
        out
    }

    #[test]
    fn evaluation_writes_normalised_channels_one_behind_the_other() {
        let mut channels = plain();
        (channels.scale[2], channels.offset[2]) = (0.5, -3.0);
        let out = evaluated(channels, 3);
        assert_eq!(out[..3], [3.0, 4.0, 5.0]);
        assert_eq!(out[LENGTH..LENGTH + 2], [103.0, 104.0]);
        assert_eq!(out[2 * LENGTH], 203.0 * 0.5 - 3.0);
    }

    #[test]
    fn with_every_strength_zero_a_view_is_the_window() {
        let (view, window) = (view(still(), 3, 5), evaluated(plain(), 3));
        assert!(view.iter().zip(&window).all(|(a, b)| (a - b).abs() <= 1e-4 * b.abs()));
    }

    #[test]
    fn shifts_stay_in_the_stretch_and_reach_its_ends() {
        let settings = WindowSettings { shift: 4, ..still() };
        for (start, range) in [(0, 0..=4), (6, 2..=10), (12, 8..=12)] {
            let firsts: std::collections::BTreeSet<usize> =
                (0..300).map(|index| (view(settings, start, index)[0] + 0.5) as usize).collect();
            assert_eq!(firsts, range.collect(), "from {start}");
        }
    }

    #[test]
    fn labelled_windows_have_a_shift_of_their_own_and_nothing_else() {
        let settings = WindowSettings { labelled_shift: 2, shift: 9, noise: 1.0, ..still() };
        let stretch = stretch();
        let window = Window { stretch: &stretch, start: 4, length: LENGTH };
        let mut firsts = std::collections::BTreeSet::new();
        for index in 0..100 {
            let mut out = vec![f32::NAN; CHANNELS * LENGTH];
            let motion = Motion::new(settings, plain());
            motion.downstream(window, Stream::new(1, 2).at(index), &mut out);
            let first = out[0] as usize;
            assert_eq!(out, evaluated(plain(), first));
            firsts.insert(first);
        }
        assert_eq!(firsts, (2..=6).collect());
    }

    #[test]
    fn rotations_keep_lengths_and_turn_both_sensors_alike() {
        let settings = WindowSettings { rotation: 90.0, ..still() };
        let (turned, straight) = (view(settings, 3, 7), evaluated(plain(), 3));
        let vector = |values: &[f32], sensor: usize, time: usize| {
            [0, 1, 2].map(|axis| f64::from(values[(3 * sensor + axis) * LENGTH + time]))
        };
        let dot = |a: [f64; 3], b: [f64; 3]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
        for time in 0..LENGTH {
            for pair in [(0, 0), (1, 1), (0, 1)] {
                let product = |values: &[f32]| {
                    dot(vector(values, pair.0, time), vector(values, pair.1, time))
                };
                let (found, expected) = (product(&turned), product(&straight));
                assert!((found - expected).abs() <= 1e-5 * expected.abs(), "{found} {expected}");
            }
        }
        assert!(turned.iter().zip(&straight).any(|(a, b)| (a - b).abs() > 1.0));
    }

    #[test]
    fn gains_stay_in_their_ranges_and_are_one_for_each_sensor() {
        let settings = WindowSettings { accelerometer_gain: 0.5, gyroscope_gain: 0.1, ..still() };
        let straight = evaluated(plain(), 3);
        let (mut least, mut most) = ([f32::MAX; 2], [0.0f32; 2]);
        for index in 0..200 {
            let scaled = view(settings, 3, index);
            for sensor in 0..2 {
                let factors = (3 * sensor * LENGTH..3 * (sensor + 1) * LENGTH)
                    .map(|place| scaled[place] / straight[place]);
                for factor in factors.clone() {
                    let first = scaled[3 * sensor * LENGTH] / straight[3 * sensor * LENGTH];
                    assert!((factor - first).abs() < 1e-4);
                    least[sensor] = least[sensor].min(factor);
                    most[sensor] = most[sensor].max(factor);
                }
            }
        }
        for (sensor, gain) in [(0, 0.5), (1, 0.1)] {
            assert!(least[sensor] >= 1.0 - gain - 1e-4 && least[sensor] < 1.0 - 0.9 * gain);
            assert!(most[sensor] <= 1.0 + gain + 1e-4 && most[sensor] > 1.0 + 0.9 * gain);
        }
    }

    #[test]
    fn masks_are_one_stretch_of_zeros_in_all_channels_and_noise_has_its_deviation() {
        let settings = WindowSettings { mask: 0.75, ..still() };
        let mut longest = 0;
        for index in 0..200 {
            let out = view(settings, 3, index);
            let zeros: Vec<usize> = (0..LENGTH).filter(|t| out[LENGTH + t] == 0.0).collect();
            for channel in out.chunks_exact(LENGTH) {
                let found = (0..LENGTH).filter(|t| channel[*t] == 0.0);
                assert!(found.eq(zeros.iter().copied()));
            }
            assert!(zeros.windows(2).all(|pair| pair[1] == pair[0] + 1));
            longest = longest.max(zeros.len());
        }
        assert_eq!(longest, 5);
        let settings = WindowSettings { noise: 2.0, ..still() };
        let straight = evaluated(plain(), 3);
        let squares = (0..100).flat_map(|index| {
            let noisy = view(settings, 3, index);
            noisy.iter().zip(&straight).map(|(a, b)| f64::from(a - b).powi(2)).collect::<Vec<_>>()
        });
        let square = squares.sum::<f64>() / (100 * CHANNELS * LENGTH) as f64;
        // 4800 squares of deviation 2·4/√2 around 4: five deviations of their mean are 0.41.
        assert!((square - 4.0).abs() < 0.41, "{square}");
    }
}
