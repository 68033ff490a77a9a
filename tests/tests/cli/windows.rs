//! Motion windows from the recordings to a device: pretrained, evaluated, exported, and read back
//! by plain loops.

use std::f64::consts::TAU;
use std::fs;
use std::path::{Path, PathBuf};

use bissl::run::{NamedTensor, TensorView, read_tensors, write_tensors};
use bissl_core::Stream;

use crate::binary::{run, succeed, text};

const CHANNELS: usize = 6;
const LENGTH: usize = 40;
/// Samples of a recording.
const SAMPLES: usize = 400;
/// The largest magnitude: 30 000/4096, so that a device's integer is exactly 4096 times the sample.
const LARGEST: f64 = 7.324_218_75;

/// Two exercises of three subjects: a slow and a fast movement with noise, in multiples of 1/4096.
fn recordings(folder: &Path) -> PathBuf {
    let path = folder.join("motion");
    fs::create_dir(&path).unwrap();
    let mut table = String::from("recording,subject,exercise,first_sample,samples\n");
    let mut bytes = Vec::new();
    for number in 0..6 {
        let (subject, exercise) = (number / 2, number % 2);
        let name = ["slow", "fast"][exercise];
        table += &format!("{number},{subject},{name},{},{SAMPLES}\n", number * SAMPLES);
        let mut draws = Stream::new(number as u64, 1).at(0);
        for time in 0..SAMPLES {
            let turn = TAU * time as f64 * [1.0, 4.0][exercise] / 50.0 + subject as f64;
            for channel in 0..CHANNELS {
                let wave = (turn + channel as f64).sin() + 0.3 * f64::from(draws.normal());
                let value = if time == 0 { LARGEST } else { wave + channel as f64 * 0.5 };
                let value = (value.clamp(-LARGEST, LARGEST) * 4096.0).round() / 4096.0;
                bytes.extend((value as f32).to_le_bytes());
            }
        }
    }
    fs::write(path.join("recordings.csv"), table).unwrap();
    fs::write(path.join("samples.f32le"), bytes).unwrap();
    path
}

/// Flags of a small run on these recordings.
fn settings(data: &Path) -> Vec<String> {
    let path = text(data);
    [
        format!("data.pretext.path={path}"),
        format!("data.downstream.path={path}"),
        "data.pretext.leave_out_subjects=[\"2\"]".to_owned(),
        "data.downstream.subjects=[\"2\"]".to_owned(),
        format!("window.length={LENGTH}"),
        "window.hop=10".to_owned(),
        "window.shift=10".to_owned(),
        "network.layers=[\"convolution 16 kernel 1x8 stride 1x4\", \"average-pool\", \"dense 16\"]"
            .to_owned(),
        "network.projector=[6, 4]".to_owned(),
        "pretrain.epochs=20".to_owned(),
        "pretrain.batch=32".to_owned(),
    ]
    .into_iter()
    .flat_map(|setting| ["--set".to_owned(), setting])
    .collect()
}

fn pretrained(folder: &Path, data: &Path, name: &str, more: &[&str]) -> PathBuf {
    let out = folder.join(name);
    let settings = settings(data);
    let mut words = vec!["pretrain", "--preset", "watch", "--quiet", "--out", text(&out)];
    words.extend(settings.iter().map(String::as_str));
    words.extend(more);
    succeed(&words);
    out
}

/// A flash image, read by its document alone.
struct Image {
    input: [usize; 3],
    /// Scale, offset, and stored numbers per unit.
    channels: Vec<[f32; 3]>,
    encoder: Vec<[usize; 10]>,
    projector: Vec<[usize; 10]>,
    weights: Vec<f32>,
}

impl Image {
    fn read(bytes: &[u8]) -> Self {
        assert_eq!(&bytes[..8], b"bisslfim");
        let (body, crc) = bytes.split_at(bytes.len() - 4);
        assert_eq!(crc32(body).to_le_bytes(), crc);
        let mut words =
            bytes[8..].chunks_exact(4).map(|b| u32::from_le_bytes(b.try_into().unwrap()));
        let mut size = || words.next().unwrap() as usize;
        assert_eq!(size(), 1, "version");
        let (encoder, projector) = (size(), size());
        let (input, weights) = ([size(), size(), size()], size());
        let mut float = || f32::from_bits(words.next().unwrap());
        let channels = (0..input[0]).map(|_| [float(), float(), float()]).collect();
        let mut layer = || std::array::from_fn(|_| words.next().unwrap() as usize);
        let encoder = (0..encoder).map(|_| layer()).collect();
        let projector = (0..projector).map(|_| layer()).collect();
        let weights = (0..weights).map(|_| f32::from_bits(words.next().unwrap())).collect();
        assert_eq!(words.count(), 1, "the checksum alone is left");
        Self { input, channels, encoder, projector, weights }
    }

    /// The encoder's features of an input `[y][x][channel]`, in f64.
    fn features(&self, mut x: Vec<f64>) -> Vec<f64> {
        let mut weights = self.weights.iter().map(|w| f64::from(*w));
        for layer in &self.encoder {
            let mut take = |len: usize| weights.by_ref().take(len).collect::<Vec<f64>>();
            let (mut y, relu) = match *layer {
                [1, inputs, outputs, bias, relu, ..] => {
                    assert_eq!(x.len(), inputs);
                    let w = take(inputs * outputs);
                    let b = if bias == 1 { take(outputs) } else { vec![0.0; outputs] };
                    let row = |o: usize| {
                        (0..inputs).map(|i| w[o * inputs + i] * x[i]).sum::<f64>() + b[o]
                    };
                    ((0..outputs).map(row).collect::<Vec<f64>>(), relu)
                }
                [2, channels, height, width, filters, kh, kw, sh, sw, relu] => {
                    assert_eq!(x.len(), channels * height * width);
                    let (w, b) = (take(filters * kh * kw * channels), take(filters));
                    let mut y = Vec::new();
                    for oy in 0..(height - kh) / sh + 1 {
                        for ox in 0..(width - kw) / sw + 1 {
                            for (f, bias) in b.iter().enumerate() {
                                let mut sum = *bias;
                                for ky in 0..kh {
                                    for kx in 0..kw {
                                        for c in 0..channels {
                                            let at = (oy * sh + ky) * width + ox * sw + kx;
                                            let tap = ((f * kh + ky) * kw + kx) * channels + c;
                                            sum += w[tap] * x[at * channels + c];
                                        }
                                    }
                                }
                                y.push(sum);
                            }
                        }
                    }
                    (y, relu)
                }
                [3, channels, positions, ..] => {
                    assert_eq!(x.len(), channels * positions);
                    let mean = |c: usize| {
                        x.iter().skip(c).step_by(channels).sum::<f64>() / positions as f64
                    };
                    ((0..channels).map(mean).collect(), 0)
                }
                _ => panic!("unknown layer {layer:?}"),
            };
            if relu == 1 {
                y.iter_mut().for_each(|v| *v = v.max(0.0));
            }
            x = y;
        }
        x
    }
}

/// Computed bit by bit, by the polynomial's definition.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 }
        })
    })
}

fn tensors(run: &Path) -> Vec<NamedTensor> {
    let checkpoints = fs::read_dir(run.join("checkpoints")).unwrap();
    let newest = checkpoints.map(|entry| entry.unwrap().path()).max().unwrap();
    read_tensors(&newest.join("weights.safetensors")).unwrap()
}

/// The windows of the set as a device stores them, `[time][channel]`.
fn raw_windows(data: &Path, per_unit: &[f32], count: usize) -> Vec<Vec<i16>> {
    let bytes = fs::read(data.join("samples.f32le")).unwrap();
    let samples: Vec<f32> =
        bytes.chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect();
    (0..count)
        .map(|window| {
            let first = window * 173 * CHANNELS;
            let window = &samples[first..first + LENGTH * CHANNELS];
            let raw = window.iter().enumerate().map(|(place, sample)| {
                let raw = sample * per_unit[place % CHANNELS];
                assert_eq!(raw, raw.round(), "the samples are whole numbers of units");
                raw as i16
            });
            raw.collect()
        })
        .collect()
}

/// Features of the run, by `bissl features`.
fn host_features(run: &Path, inputs: &[f32], count: usize, folder: &Path) -> NamedTensor {
    let (given, out) = (folder.join("inputs.safetensors"), folder.join("features.safetensors"));
    let view = TensorView { name: "images", shape: &[count, CHANNELS, 1, LENGTH], values: inputs };
    write_tensors(&given, &[view]).unwrap();
    succeed(&["features", "--from", text(run), "--input", text(&given), "--out", text(&out)]);
    read_tensors(&out).unwrap().remove(0)
}

#[test]
fn a_flash_image_gives_the_hosts_features_by_plain_loops() {
    let folder = tempfile::tempdir().unwrap();
    let data = recordings(folder.path());
    // Without a pool the dense layer reads positions and channels, whose order differs on a device.
    let flat = "network.layers=[\"convolution 6 kernel 1x8 stride 1x4\", \"convolution 5 kernel 1x3\", \
                \"dense 7\"]";
    for (name, features, more) in [("flat", 7, &["--set", flat][..]), ("pooled", 16, &[][..])] {
        let run = pretrained(folder.path(), &data, name, more);
        let out = folder.path().join("image.bin");
        let said =
            succeed(&["export", "--to", "firmware", "--from", text(&run), "--out", text(&out)]);
        let image = Image::read(&fs::read(&out).unwrap());
        assert!(said.stdout.contains(&format!("{} weights", image.weights.len())), "{said:?}");
        assert_eq!((image.input, image.encoder.len()), ([CHANNELS, 1, LENGTH], 3));
        let per_unit: Vec<f32> = image.channels.iter().map(|[_, _, per_unit]| *per_unit).collect();
        assert_eq!(per_unit, [4096.0; CHANNELS]);

        const WINDOWS: usize = 9;
        let raw = raw_windows(&data, &per_unit, WINDOWS);
        let mut inputs = vec![0.0f32; WINDOWS * CHANNELS * LENGTH];
        let mut expected = Vec::new();
        let kept = tensors(&run);
        let kept = |name: &str| &kept.iter().find(|t| t.name == name).unwrap().values;
        let (scale, offset) = (kept("input.scale"), kept("input.offset"));
        for (number, window) in raw.iter().enumerate() {
            let mut x = Vec::new();
            for (place, raw) in window.iter().enumerate() {
                let (time, channel) = (place / CHANNELS, place % CHANNELS);
                let [of_raw, shift, _] = image.channels[channel];
                x.push(f64::from(*raw) * f64::from(of_raw) + f64::from(shift));
                let physical = f32::from(*raw) / per_unit[channel];
                let at = (number * CHANNELS + channel) * LENGTH + time;
                inputs[at] = physical * scale[channel] + offset[channel];
            }
            expected.extend(image.features(x));
        }
        let found = host_features(&run, &inputs, WINDOWS, folder.path());
        assert_eq!(found.shape, [WINDOWS, features]);
        let largest = expected.iter().fold(0.0f64, |largest, value| largest.max(value.abs()));
        assert!(largest > 0.0, "{name}: the features are silent");
        let pairs = found.values.iter().zip(&expected);
        let error = pairs.fold(0.0f64, |error, (a, b)| error.max((f64::from(*a) - b).abs()));
        assert!(error <= 1e-5 * largest, "{name}: {error:e} of {largest}");

        // The projector follows the encoder, without any change of order.
        assert_eq!(image.projector[0][..5], [1, features, 6, 1, 1]);
        assert_eq!(image.projector[1][..5], [1, 6, 4, 0, 0]);
        let head = ["0.weight", "0.bias", "2.weight"];
        let head: Vec<f32> =
            head.iter().flat_map(|name| kept(&format!("pretext_head.{name}")).clone()).collect();
        assert_eq!(image.weights[image.weights.len() - head.len()..], head);
    }
}

#[test]
fn a_new_persons_exercises_are_told_and_the_normalisation_stays_with_the_run() {
    let folder = tempfile::tempdir().unwrap();
    let data = recordings(folder.path());
    let run = pretrained(folder.path(), &data, "run", &[]);
    let again = pretrained(folder.path(), &data, "again", &[]);
    assert_eq!(tensors(&run), tensors(&again), "the same seed gives the same weights");
    let judged = succeed(&["evaluate", "--from", text(&run)]).stdout;
    let probe = judged.lines().find(|line| line.starts_with("linear probe")).unwrap();
    let accuracy: f64 = probe.split_whitespace().last().unwrap().parse().unwrap();
    assert!(accuracy >= 0.9, "{judged}");

    // Another corpus has other means; the run continues with those that it was trained with.
    let (aligned, tuned) = (folder.path().join("aligned"), folder.path().join("tuned"));
    let other = "data.pretext.leave_out_subjects=[\"0\", \"2\"]";
    let mut words = vec!["align", "--from", text(&run), "--out", text(&aligned), "--quiet"];
    for setting in
        ["align.alternations=2", "align.lower.warm_up_steps=0", "warm_up.epochs=2", other]
    {
        words.extend(["--set", setting]);
    }
    succeed(&words);
    succeed(&["finetune", "--from", text(&aligned), "--out", text(&tuned), "--quiet"]);
    let inputs = |run: &Path| -> Vec<NamedTensor> {
        tensors(run).into_iter().filter(|tensor| tensor.name.starts_with("input.")).collect()
    };
    assert_eq!(inputs(&run).len(), 3);
    assert_eq!(inputs(&run), inputs(&aligned));
    assert_eq!(inputs(&run), inputs(&tuned));

    let out = folder.path().join("image.bin");
    succeed(&["export", "--to", "firmware", "--from", text(&aligned), "--out", text(&out)]);
    let refused = run_export(&tuned, &out);
    assert!(
        refused.contains("expected the checkpoint of a pretrained or aligned run"),
        "{refused}"
    );
}

fn run_export(from: &Path, out: &Path) -> String {
    let refused = run(&["export", "--to", "firmware", "--from", text(from), "--out", text(out)]);
    assert_eq!(refused.code, Some(1), "{refused:?}");
    refused.stderr
}

#[test]
fn networks_that_do_not_fit_their_inputs_are_refused_before_anything_is_written() {
    let folder = tempfile::tempdir().unwrap();
    let data = recordings(folder.path());
    let out = folder.path().join("run");
    let settings = settings(&data);
    for (setting, expected) in [
        ("network.architecture=resnet18", "expected layers: windows are not images"),
        ("data.downstream.format=auto", "expected windows, the same as data.pretext.format"),
        ("network.layers=[\"dense\"]", "expected a list of 0 to 16 of"),
        ("network.layers=[]", "`network.layers`: there are none"),
        ("network.layers=[\"convolution 4 kernel 1x8\"]", "1x33 positions are left"),
        ("window.length=7", "expected at most its input's 1x7"),
        ("data.pretext.subjects=[3]", "expected a list of at most 256 texts"),
    ] {
        let mut words = vec!["pretrain", "--preset", "watch", "--out", text(&out)];
        words.extend(settings.iter().map(String::as_str));
        words.extend(["--set", setting]);
        let refused = run(&words);
        assert_eq!(refused.code, Some(2), "{setting}: {refused:?}");
        assert!(refused.stderr.contains(expected), "{setting}: {}", refused.stderr);
        assert!(!out.exists());
    }
}
