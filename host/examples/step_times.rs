//! Times of one gradient and of one product with the curvature, ResNet-18 and SimCLR.
//!
//! `cargo run --release -p bissl --example step_times -- [batch] [side] [threads]`, by default 64
//! pairs of views of 32 pixels on 2 threads. Prints the best of three of everything; nothing else
//! should run meanwhile.

use std::time::Instant;

use bissl::kernels::Kernels;
use bissl::network::loss::NtXent;
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

/// Seconds of the fastest of some repetitions.
fn best<R>(mut work: impl FnMut() -> R) -> f64 {
    let time = |_| {
        let start = Instant::now();
        let result = work();
        B::wait(&Default::default());
        let elapsed = start.elapsed().as_secs_f64();
        drop(result);
        elapsed
    };
    (0..REPETITIONS).map(time).fold(f64::INFINITY, f64::min)
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
    println!("forward passes         {forward:7.3} s");
    println!("gradient               {gradient:7.3} s");
    let direction = noise(5, [backbone.parameters().len()]);
    for curvature in [Curvature::Hessian, Curvature::GaussNewton] {
        let start = Instant::now();
        let (parameters, views) = (parameters.clone(), views.clone());
        let at = Linearization::new(tower, parameters, views, Box::new(loss), curvature);
        let linearization = start.elapsed().as_secs_f64();
        let product = best(|| at.product(&direction));
        let ratio = product / gradient;
        println!("{curvature:?}: linearisation {linearization:7.3} s");
        println!("{curvature:?}: product       {product:7.3} s, {ratio:.2} gradients");
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
