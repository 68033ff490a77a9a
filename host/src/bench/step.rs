//! `bench step`: time and memory of one gradient and of one product with either curvature.

use std::collections::BTreeSet;
use std::fmt;
use std::time::Instant;

use bissl_core::Stream;
use serde::Serialize;

use crate::backend::{BackendError, Work, dispatch};
use crate::config::RunConfig;
use crate::driver::{download, upload};
use crate::hash::hash;
use crate::kernels::{Kernels, Tensor, allocator, profile};
use crate::model::{architecture, method, networks, recompute};
use crate::network::{
    Curvature, Gradients, Linearization, LinearizationSettings, Network, TowerParameters,
};
use crate::report::Table;
use crate::report::statistics::median;

/// The report that `bench step` prints.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct StepReport {
    /// Backbone, width, stem and projector.
    pub network: String,
    /// Name of the backend.
    pub backend: String,
    /// Number of images, two views each.
    pub batch: usize,
    /// Width and height of the images in pixels.
    pub size: usize,
    /// Number of CPU threads.
    pub threads: usize,
    /// Whether products recompute the first-order cotangents.
    pub recompute: bool,
    /// Number of repetitions.
    pub repeats: u32,
    /// Seconds of the forward passes of both views, median.
    pub forward_s: f64,
    /// Seconds of loss and gradient, median.
    pub gradient_s: f64,
    /// Smallest and largest time of a gradient, relative to the median.
    pub gradient_spread: [f64; 2],
    /// Seconds of a Hessian linearisation.
    pub hessian_linearization_s: f64,
    /// Time of a product from a linearisation relative to a gradient, medians.
    pub hessian_product_over_gradient: f64,
    /// Smallest and largest time of a product, relative to the median.
    pub hessian_product_spread: [f64; 2],
    /// Seconds of a Gauss-Newton linearisation.
    pub gauss_newton_linearization_s: f64,
    /// As for the Hessian.
    pub gauss_newton_product_over_gradient: f64,
    /// As for the Hessian.
    pub gauss_newton_product_spread: [f64; 2],
    /// Hash of the bits of loss and gradient for each repetition.
    pub gradient_hashes: Vec<String>,
    /// Hash of the bits of the Hessian product for each repetition.
    pub hessian_product_hashes: Vec<String>,
    /// Hash of the bits of the Gauss-Newton product for each repetition.
    pub gauss_newton_product_hashes: Vec<String>,
    /// Peak bytes of a gradient, without parameters and images; 0 if unknown.
    pub gradient_bytes: usize,
    /// Peak bytes of linearisation and products relative to those of a gradient.
    pub hessian_memory_over_gradient: Option<f64>,
    /// The same for Gauss-Newton.
    pub gauss_newton_memory_over_gradient: Option<f64>,
    /// Time of one gradient by kernel.
    pub gradient_profile: Vec<Share>,
    /// Time of one Hessian product by kernel.
    pub hessian_product_profile: Vec<Share>,
}

/// Cost of one kernel within a piece of work.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Share {
    /// Name of the kernel, with its shape if that decides its speed.
    pub kernel: String,
    /// Number of calls.
    pub calls: u64,
    /// Seconds of all calls.
    pub seconds: f64,
    /// Share of the whole time.
    pub share: f64,
    /// Floating-point operations per second, two per multiply-accumulate; convolutions only.
    pub gflops: Option<f64>,
    /// Floating-point operations of all calls; 0 if they are not counted.
    pub flops: u64,
    /// Bytes that all calls must read and write at least; 0 if not counted.
    pub bytes: u64,
    /// Launches on a device.
    pub launches: u64,
}

/// One run of `work` by kernel, in descending order of time; the time outside kernels comes last.
fn profile<B: Kernels, R>(device: &B::Device, work: impl FnOnce() -> R) -> Vec<Share> {
    let start = Instant::now();
    let (_, entries) = profile::collect(|| {
        drop(work());
        B::wait(device);
    });
    let total = start.elapsed().as_secs_f64();
    if entries.is_empty() {
        return Vec::new();
    }
    let rest = total - entries.iter().map(|entry| entry.seconds).sum::<f64>();
    let mut shares: Vec<Share> = entries
        .into_iter()
        .map(|entry| Share {
            kernel: format!("{} {}", entry.operation, entry.shape).trim_end().to_owned(),
            calls: entry.calls,
            seconds: entry.seconds,
            share: entry.seconds / total,
            gflops: (entry.multiply_accumulates > 0)
                .then(|| 2e-9 * entry.multiply_accumulates as f64 / entry.seconds),
            flops: 2 * entry.multiply_accumulates,
            bytes: entry.bytes,
            launches: entry.launches,
        })
        .collect();
    shares.sort_by(|a, b| b.seconds.total_cmp(&a.seconds));
    let kernel = "no kernel".to_owned();
    let share = rest / total;
    let (flops, bytes, launches) = (0, 0, 0);
    shares.push(Share {
        kernel,
        calls: 1,
        seconds: rest,
        share,
        gflops: None,
        flops,
        bytes,
        launches,
    });
    shares
}

fn noise<B: Kernels, const D: usize>(
    domain: u16,
    shape: [usize; D],
    device: &B::Device,
) -> Tensor<B, D> {
    let stream = Stream::new(0, domain);
    let len: usize = shape.iter().product();
    upload((0..len).map(|i| stream.at(i as u64).normal()).collect(), shape, device)
}

fn initial<B: Kernels>(network: &Network, domain: u16, device: &B::Device) -> Tensor<B, 1> {
    let values = network.parameters().initial(Stream::new(0, domain));
    let len = values.len();
    upload(values, [len], device)
}

/// Hash of all bits, in hexadecimal.
fn bits<B: Kernels>(tensor: &Tensor<B, 1>) -> String {
    format!("{:016x}", hash(bytemuck::cast_slice(&download(tensor))))
}

fn gradient_bits<B: Kernels>(gradients: &Gradients<B>) -> String {
    let backbone = gradients.backbone.as_ref().map(bits).unwrap_or_default();
    let parts = [format!("{:016x}", gradients.loss.to_bits()), backbone, bits(&gradients.head)];
    format!("{:016x}", hash(parts.concat().as_bytes()))
}

/// Smallest and largest time relative to the median.
fn spread(times: &[f64]) -> [f64; 2] {
    let extreme = |choose: fn(f64, f64) -> f64| times.iter().copied().reduce(choose);
    [f64::min, f64::max].map(|choose| extreme(choose).unwrap_or(f64::NAN) / median(times))
}

/// Seconds of each repetition, and the largest peak. The time of `look`, which reads a result, does
/// not count.
fn repeated<B: Kernels, R>(
    repeats: u32,
    device: &B::Device,
    mut work: impl FnMut() -> R,
    mut look: impl FnMut(R),
) -> (Vec<f64>, usize) {
    let mut times = Vec::new();
    let mut peak = 0;
    for _ in 0..repeats {
        let start = Instant::now();
        let (bytes, result) = allocator::peak_of(|| {
            let result = work();
            B::wait(device);
            result
        });
        times.push(start.elapsed().as_secs_f64());
        peak = peak.max(bytes);
        look(result);
    }
    (times, peak)
}

/// Peak device memory of some work in bytes, from a run for this purpose alone; `None` on the host,
/// where the timed runs measure it.
fn watched_peak<B: Kernels>(device: &B::Device, work: impl FnOnce()) -> Option<usize> {
    if B::ON_HOST {
        return None;
    }
    allocator::watch::<B>(device);
    let (bytes, ()) = allocator::peak_of(work);
    allocator::unwatch();
    Some(bytes)
}

/// A linearisation and its products.
struct Products {
    linearization_s: f64,
    times: Vec<f64>,
    hashes: Vec<String>,
    bytes: usize,
}

/// The job of `bench step`.
#[derive(Debug)]
pub struct StepJob {
    /// Every setting.
    pub config: RunConfig,
    /// Repetitions of every measurement, at least 1; the report has medians.
    pub repeats: u32,
}

/// Measures with initial weights on noise, which cost the same as any others.
///
/// # Errors
/// The backend cannot be used.
pub fn step(job: StepJob) -> Result<StepReport, BackendError> {
    dispatch(job.config.backend, job)
}

impl Work for StepJob {
    type Output = StepReport;

    fn run<B: Kernels>(self, device: B::Device) -> StepReport {
        measure::<B>(&self.config, self.repeats, &device)
    }
}

fn measure<B: Kernels>(config: &RunConfig, repeats: u32, device: &B::Device) -> StepReport {
    let networks = networks(config, 10);
    let (tower, method) = (networks.pretext_tower(), method::<B>(config));
    let parameters = TowerParameters {
        backbone: initial::<B>(&networks.backbone, 1, device),
        head: initial::<B>(&networks.pretext_head, 2, device),
    };
    let (batch, [channels, height, width]) = (config.align.batch, config.input());
    let shape = [batch, channels, height, width];
    let views = [3, 4].map(|domain| noise::<B, 4>(domain, shape, device)).to_vec();
    // As at the start of a stage: a copy of the online network.
    let target = networks.target_tower().map(|tower| (tower, parameters.first(tower)));
    let beside = || target.as_ref().map(|(tower, parameters)| (*tower, parameters));
    let direction = noise::<B, 1>(5, [networks.backbone.parameters().len()], device);

    let gradient = || {
        let loss = method.loss_beside(beside(), &views);
        tower.gradients(&parameters, views.clone(), loss.as_ref(), true)
    };
    // The first step pays for threads and, on a device, for compiling kernels.
    drop(gradient());
    let forward = || {
        let pass = |x: &Tensor<B, 4>| tower.backbone.forward(&parameters.backbone, x.clone()).y;
        views.iter().map(pass).collect::<Vec<_>>()
    };
    let (forward, _) = repeated::<B, _>(repeats, device, forward, drop);
    let mut gradient_hashes = Vec::new();
    let (gradients, gradient_bytes) = repeated::<B, _>(repeats, device, gradient, |result| {
        gradient_hashes.push(gradient_bits(&result));
    });
    let watched = watched_peak::<B>(device, || drop(gradient()));
    let gradient_bytes = watched.unwrap_or(gradient_bytes);
    let gradient_s = median(&gradients);
    let linearize = |curvature| {
        let (parameters, views) = (parameters.clone(), views.clone());
        let recompute = recompute(config);
        let settings = LinearizationSettings { curvature, recompute, with_gradient: false };
        let loss = method.loss_beside(beside(), &views);
        Linearization::new(tower, parameters, views, loss, settings)
    };
    let products = |curvature| {
        let mut hashes = Vec::new();
        let (bytes, (linearization_s, times)) = allocator::peak_of(|| {
            let start = Instant::now();
            let at = linearize(curvature);
            B::wait(device);
            let linearization_s = start.elapsed().as_secs_f64();
            // Products measure times only; peaks of their own would hide that of the linearisation.
            let times: Vec<f64> = (0..repeats)
                .map(|_| {
                    let start = Instant::now();
                    let product = at.product(&direction);
                    B::wait(device);
                    let seconds = start.elapsed().as_secs_f64();
                    hashes.push(bits(&product));
                    seconds
                })
                .collect();
            (linearization_s, times)
        });
        let watched = watched_peak::<B>(device, || drop(linearize(curvature).product(&direction)));
        Products { linearization_s, times, hashes, bytes: watched.unwrap_or(bytes) }
    };
    let gradient_profile = profile::<B, _>(device, gradient);
    let hessian_product_profile = {
        let at = linearize(Curvature::Hessian);
        // The first product pays for the memory of the tangents.
        drop(at.product(&direction));
        profile::<B, _>(device, || at.product(&direction))
    };
    let hessian = products(Curvature::Hessian);
    let gauss_newton = products(Curvature::GaussNewton);
    let memory_ratio =
        |bytes: usize| (gradient_bytes > 0).then(|| bytes as f64 / gradient_bytes as f64);
    StepReport {
        network: architecture(config),
        backend: config.backend.to_string(),
        batch,
        size: config.image.size,
        threads: rayon::current_num_threads(),
        recompute: config.align.recompute,
        repeats,
        forward_s: median(&forward),
        gradient_s,
        gradient_spread: spread(&gradients),
        hessian_linearization_s: hessian.linearization_s,
        hessian_product_over_gradient: median(&hessian.times) / gradient_s,
        hessian_product_spread: spread(&hessian.times),
        gauss_newton_linearization_s: gauss_newton.linearization_s,
        gauss_newton_product_over_gradient: median(&gauss_newton.times) / gradient_s,
        gauss_newton_product_spread: spread(&gauss_newton.times),
        gradient_hashes,
        hessian_product_hashes: hessian.hashes,
        gauss_newton_product_hashes: gauss_newton.hashes,
        gradient_bytes,
        hessian_memory_over_gradient: memory_ratio(hessian.bytes),
        gauss_newton_memory_over_gradient: memory_ratio(gauss_newton.bytes),
        gradient_profile,
        hessian_product_profile,
    }
}

impl fmt::Display for StepReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let recompute = if self.recompute { ", cotangents computed anew" } else { "" };
        writeln!(
            f,
            "{}, {} images of {} px in two views, {} on {} threads, median of {}{recompute}",
            self.network, self.batch, self.size, self.backend, self.threads, self.repeats
        )?;
        let mut table = Table::new(["", "seconds", "gradients", "memory, gradients"]);
        let memory = |ratio: Option<f64>| ratio.map_or("-".to_owned(), |x| format!("{x:.2}"));
        let mut row = |name: &str, seconds: f64, bytes: Option<f64>| {
            let gradients = seconds / self.gradient_s;
            let cells = [format!("{seconds:.3}"), format!("{gradients:.2}"), memory(bytes)];
            table.row([name.to_owned()].into_iter().chain(cells));
        };
        row("forward passes", self.forward_s, None);
        row("gradient", self.gradient_s, (self.gradient_bytes > 0).then_some(1.0));
        row("Hessian linearisation", self.hessian_linearization_s, None);
        let seconds = self.hessian_product_over_gradient * self.gradient_s;
        row("Hessian product", seconds, self.hessian_memory_over_gradient);
        let seconds = self.gauss_newton_product_over_gradient * self.gradient_s;
        row("Gauss-Newton product", seconds, self.gauss_newton_memory_over_gradient);
        write!(f, "{table}")?;
        let [low, high] = self.gradient_spread;
        writeln!(f, "times of a gradient from {low:.2} to {high:.2} of the median")?;
        let distinct = |hashes: &[String]| hashes.iter().collect::<BTreeSet<_>>().len();
        writeln!(
            f,
            "distinct bits in {} repetitions: gradient {}, Hessian product {}, Gauss-Newton product {}",
            self.repeats,
            distinct(&self.gradient_hashes),
            distinct(&self.hessian_product_hashes),
            distinct(&self.gauss_newton_product_hashes)
        )?;
        if self.gradient_bytes > 0 {
            let mebibytes = self.gradient_bytes as f64 / f64::from(1 << 20);
            writeln!(f, "a gradient needs {mebibytes:.0} MiB")?;
        }
        let profiles = [
            ("gradient", &self.gradient_profile),
            ("Hessian product", &self.hessian_product_profile),
        ];
        for (name, shares) in profiles.into_iter().filter(|(_, shares)| !shares.is_empty()) {
            let mut table =
                Table::new([&*format!("one {name}"), "calls", "seconds", "share", "GFLOP/s"]);
            for share in shares {
                table.row([
                    share.kernel.clone(),
                    share.calls.to_string(),
                    format!("{:.3}", share.seconds),
                    format!("{:.1} %", 100.0 * share.share),
                    share.gflops.map_or("-".to_owned(), |g| format!("{g:.0}")),
                ]);
            }
            write!(f, "\n{table}")?;
        }
        Ok(())
    }
}
