//! Random tensors and comparisons.

use std::sync::Arc;

use bissl::data::{Inputs, Labelled, Targets, TwoViews};
use bissl::driver::{Classification, Networks, ProblemSettings};
use bissl::kernels::{Kernels, Real};
use bissl::network::loss::Loss;
use bissl::network::multi_label::MultiLabel;
use bissl::network::pretext::{HeadNorm, Method, NtXent, PretextTask, Projector};
use bissl::network::{
    Architecture, BackboneSettings, Curvature, Linearization, LinearizationSettings, Network,
    Recompute, StatisticsUpdates, Stem, Tower, TowerParameters, backbone, classifier, mlp_head,
    output_width,
};
use bissl_core::Stream;
use burn_backend::TensorData;
use burn_tensor::Tensor;

/// Temperature of every NT-Xent here.
pub(crate) const TEMPERATURE: f64 = 0.5;

/// Normal numbers, the same on every backend.
pub(crate) fn noise(seed: u64, len: usize) -> Vec<f64> {
    let stream = Stream::new(seed, 0);
    (0..len).map(|i| f64::from(stream.at(i as u64).normal())).collect()
}

/// Height and width of the images of small problems.
pub(crate) const SIDE: usize = 8;

/// `batch` images of [`noise`].
pub(crate) fn pixels(seed: u64, batch: usize) -> Vec<f32> {
    noise(seed, batch * 3 * SIDE * SIDE).into_iter().map(|x| x as f32).collect()
}

/// The images of `seed` and of the seed after it.
pub(crate) fn two_views(seed: u64, batch: usize) -> TwoViews {
    let views = Inputs::Values([seed, seed + 1].map(|seed| pixels(seed, batch)));
    TwoViews { views, batch: batch as u32, shape: [3, SIDE, SIDE] }
}

/// Images of two classes in turn.
pub(crate) fn labelled(seed: u64, batch: usize) -> Labelled {
    let labels = Targets::Classes((0..batch as u32).map(|i| i % 2).collect());
    let images = Inputs::Values([pixels(seed, batch)]);
    Labelled { images, labels, batch: batch as u32, shape: [3, SIDE, SIDE] }
}

/// A tensor of `values`, rounded to the backend's element type.
pub(crate) fn tensor<B: Kernels, const D: usize>(
    values: &[f64],
    shape: [usize; D],
) -> Tensor<B, D> {
    let values: Vec<B::FloatElem> = values.iter().map(|v| Real::of(*v)).collect();
    Tensor::from_data(TensorData::new(values, shape), &B::Device::default())
}

/// A tensor of [`noise`].
pub(crate) fn random<B: Kernels, const D: usize>(seed: u64, shape: [usize; D]) -> Tensor<B, D> {
    tensor(&noise(seed, shape.iter().product()), shape)
}

/// The elements, row-major.
pub(crate) fn values<B: Kernels, const D: usize>(tensor: &Tensor<B, D>) -> Vec<f64> {
    tensor.to_data().iter::<f64>().collect()
}

/// `a + factor · b`.
pub(crate) fn shifted<B: Kernels, const D: usize>(
    a: &Tensor<B, D>,
    factor: f64,
    b: &Tensor<B, D>,
) -> Tensor<B, D> {
    a.clone() + b.clone() * factor
}

pub(crate) fn dot(a: &[f64], b: &[f64]) -> f64 {
    assert_eq!(a.len(), b.len(), "vectors of one length");
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

pub(crate) fn norm(a: &[f64]) -> f64 {
    dot(a, a).sqrt()
}

/// ‖found − expected‖ / ‖expected‖; 0 if both are zero.
pub(crate) fn error(found: &[f64], expected: &[f64]) -> f64 {
    assert_eq!(found.len(), expected.len(), "vectors of one length");
    let difference: Vec<f64> = found.iter().zip(expected).map(|(f, e)| f - e).collect();
    let difference = norm(&difference);
    if difference == 0.0 { 0.0 } else { difference / norm(expected) }
}

/// (f(+) − f(−)) / (2 step).
pub(crate) fn central(plus: &[f64], minus: &[f64], step: f64) -> Vec<f64> {
    plus.iter().zip(minus).map(|(p, m)| (p - m) / (2.0 * step)).collect()
}

/// Settings of a problem with nothing special about it.
pub(crate) fn problem_settings<B: Kernels>(
    pretext: Arc<dyn Method<B>>,
    curvature: Curvature,
) -> ProblemSettings<B> {
    ProblemSettings {
        pretext,
        downstream: Arc::new(Classification {
            classes: 2,
            multi_label: MultiLabel::default(),
            class_weights: None,
        }),
        curvature,
        recompute: Recompute::default(),
        statistics: StatisticsUpdates::LowerSteps,
        lasting: Vec::new(),
        seed: 1,
    }
}

/// A backbone with projector, parameters, and two views of a batch.
#[derive(Debug)]
pub(crate) struct Case<B: Kernels> {
    pub(crate) backbone: Network,
    pub(crate) head: Network,
    pub(crate) parameters: TowerParameters<B>,
    pub(crate) views: Vec<Tensor<B, 4>>,
}

impl<B: Kernels> Case<B> {
    /// `batch` random images of `side` pixels in two views. Parameters are the initial ones, moved
    /// by noise of size `perturbation`, so that no γ stays at 0 and no branch is silent.
    pub(crate) fn new(
        settings: BackboneSettings,
        projector: &[usize],
        (batch, side): (usize, usize),
        perturbation: f64,
        seed: u64,
    ) -> Self {
        let head = mlp_head(output_width(settings), projector);
        Self::of(backbone(settings), head, [batch, 3, side, side], perturbation, seed)
    }

    /// The same of any networks, on views of `[batch, channels, height, width]`.
    pub(crate) fn of(
        backbone: Network,
        head: Network,
        shape: [usize; 4],
        perturbation: f64,
        seed: u64,
    ) -> Self {
        let start = |network: &Network, salt: u16| {
            let initial = network.parameters().initial(Stream::new(seed, salt));
            let moved = initial.iter().zip(noise(seed + 1000 + u64::from(salt), initial.len()));
            let moved: Vec<f64> = moved
                .map(|(p, noise)| f64::from((f64::from(*p) + perturbation * noise) as f32))
                .collect();
            tensor(&moved, [moved.len()])
        };
        let parameters = TowerParameters { backbone: start(&backbone, 1), head: start(&head, 2) };
        let views = vec![random(seed + 2000, shape), random(seed + 2001, shape)];
        Self { backbone, head, parameters, views }
    }

    pub(crate) fn tower(&self) -> Tower<'_> {
        Tower { backbone: &self.backbone, head: &self.head }
    }

    /// A direction of the backbone's parameters.
    pub(crate) fn direction(&self, seed: u64) -> Tensor<B, 1> {
        random(seed, [self.backbone.parameters().len()])
    }

    pub(crate) fn linearize(&self, curvature: Curvature) -> Linearization<'_, B> {
        self.linearize_with(Box::new(NtXent { temperature: TEMPERATURE }), curvature)
    }

    pub(crate) fn linearize_with<'a>(
        &'a self,
        loss: Box<dyn Loss<B> + 'a>,
        curvature: Curvature,
    ) -> Linearization<'a, B> {
        let (parameters, views) = (self.parameters.clone(), self.views.clone());
        let settings = LinearizationSettings { with_gradient: true, ..curvature.into() };
        Linearization::new(self.tower(), parameters, views, loss, settings)
    }
}

pub(crate) const fn resnet(
    architecture: Architecture,
    width: usize,
    stem: Stem,
) -> BackboneSettings {
    BackboneSettings { architecture, width, stem }
}

/// The networks of a small problem with a task of two classes.
pub(crate) fn small_networks(pretext: &dyn PretextTask, projector: &[usize]) -> Networks {
    let settings = resnet(Architecture::ResNetSmall, 4, Stem::Small);
    let features = output_width(settings);
    let projector = Projector { features, widths: projector, norm: HeadNorm::Batch };
    Networks {
        backbone: backbone(settings),
        pretext_head: pretext.head(&projector),
        target_head: pretext.target_head(&projector),
        classifier: classifier(features, 2),
    }
}
