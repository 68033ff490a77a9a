//! Times of one gradient and of one product with the curvature, ResNet-18 and SimCLR.
//!
//! `cargo run --release -p bissl --example step_times -- [batch] [side] [threads]`, by default 64
//! pairs of views of 32 pixels on 2 threads. Prints the best of three of everything. On a busy
//! machine only processor time tells anything.

use std::time::Instant;

use bissl::kernels::Kernels;
use bissl::network::pretext::NtXent;
use bissl::network::{
    Architecture, BackboneSettings, Curvature, Linearization, Network, Stem, Tower,
    TowerParameters, backbone, mlp_head, output_width,
};
use bissl_core::Stream;
use burn_backend::TensorData;
use burn_tensor::Tensor;

#[cfg(feature = "flex")]
type B = bissl::kernels::Flex;
#[cfg(all(feature = "candle", not(feature = "flex")))]
type B = bissl::kernels::Candle;
#[cfg(all(feature = "cuda", not(any(feature = "flex", feature = "candle"))))]
type B = bissl::kernels::Cuda;
#[cfg(not(any(feature = "flex", feature = "candle", feature = "cuda")))]
type B = bissl::kernels::NdArray;

const REPETITIONS: usize = 3;
const TEMPERATURE: f64 = 0.5;

fn tensor<const D: usize>(values: Vec<f32>, shape: [usize; D]) -> Tensor<B, D> {
    let data = TensorData::new(values, shape);
    let data = data.convert::<<B as burn_backend::BackendTypes>::FloatElem>();
    Tensor::from_data(data, &Default::default())
}

fn noise<const D: usize>(domain: u16, shape: [usize; D]) -> Tensor<B, D> {
    let stream = Stream::new(0, domain);
    let len: usize = shape.iter().product();
    tensor((0..len).map(|i| stream.at(i as u64).normal()).collect(), shape)
}

fn initial(network: &Network, domain: u16) -> Tensor<B, 1> {
    let values = network.parameters().initial(Stream::new(0, domain));
    let len = values.len();
    tensor(values, [len])
}

/// What some work took.
#[derive(Clone, Copy)]
struct Cost {
    /// Seconds on the clock.
    elapsed: f64,
    /// Seconds of all processors together; 0 where `/proc` does not tell.
    processor: f64,
}

impl std::fmt::Display for Cost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:7.3} s, {:7.3} s of processor time", self.elapsed, self.processor)
    }
}

/// Seconds of processor time that this process has had: the 14th and 15th field of Linux's
/// `/proc/self/stat`, in hundredths.
fn processor_seconds() -> f64 {
    let text = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after_name = text.rsplit(')').next().unwrap_or_default();
    let ticks = after_name.split_whitespace().skip(11).take(2);
    ticks.filter_map(|field| field.parse::<f64>().ok()).sum::<f64>() / 100.0
}

/// Cost of some work, and what it gave.
fn cost<R>(work: impl FnOnce() -> R) -> (Cost, R) {
    let (start, processor) = (Instant::now(), processor_seconds());
    let result = work();
    B::wait(&Default::default());
    let elapsed = start.elapsed().as_secs_f64();
    (Cost { elapsed, processor: processor_seconds() - processor }, result)
}

/// The smallest cost of some repetitions, of either kind of time.
fn best<R>(mut work: impl FnMut() -> R) -> Cost {
    let costs = [(); REPETITIONS].map(|()| cost(&mut work).0);
    costs.into_iter().fold(costs[0], |best, cost| Cost {
        elapsed: best.elapsed.min(cost.elapsed),
        processor: best.processor.min(cost.processor),
    })
}

fn measure(batch: usize, side: usize) {
    let settings =
        BackboneSettings { architecture: Architecture::ResNet18, width: 64, stem: Stem::Small };
    let (backbone, head) = (backbone(settings), mlp_head(output_width(settings), &[512, 128]));
    let tower = Tower { backbone: &backbone, head: &head };
    let parameters = TowerParameters { backbone: initial(&backbone, 1), head: initial(&head, 2) };
    let views = [3, 4].map(|domain| noise(domain, [batch, 3, side, side])).to_vec();
    let loss = NtXent { temperature: TEMPERATURE };

    let forward = best(|| {
        views
            .iter()
            .map(|x| backbone.forward(&parameters.backbone, x.clone()).y)
            .collect::<Vec<_>>()
    });
    let gradient = best(|| tower.gradients(&parameters, views.clone(), &loss, true));
    println!("forward passes  {forward}");
    println!("gradient        {gradient}");
    let direction = noise(5, [backbone.parameters().len()]);
    for curvature in [Curvature::Hessian, Curvature::GaussNewton] {
        let (parameters, views) = (parameters.clone(), views.clone());
        let (linearization, at) =
            cost(|| Linearization::new(tower, parameters, views, Box::new(loss), curvature));
        let product = best(|| at.product(&direction));
        println!("{curvature:?}");
        println!("  linearisation {linearization}");
        println!("  product       {product}");
        println!(
            "  in gradients  {:7.2}    {:7.2}",
            product.elapsed / gradient.elapsed,
            product.processor / gradient.processor
        );
    }
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let mut number = |default: usize| match arguments.next() {
        Some(text) => text.parse().expect("a whole number"),
        None => default,
    };
    let (batch, side, threads) = (number(64), number(32), number(2));
    rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .build()
        .expect("threads can be started")
        .install(|| measure(batch, side));
}
