//! A pretext method and a downstream task of one's own, written outside the library, under its
//! driver.

use std::sync::Arc;

use bissl::data::Targets;
use bissl::driver::{Downstream, DownstreamTask, Networks, ProblemSettings, Sources};
use bissl::kernels::Kernels;
use bissl::network::dual::Dual;
use bissl::network::loss::Loss;
use bissl::network::pretext::{HeadNorm, Method, PretextTask, Projector};
use bissl::network::{
    Architecture, Builder, Curvature, Network, Shape, Stem, backbone, mlp_head, output_width,
};
use bissl_core::{
    Alternation, AlternationSettings, CgSettings, Completion, Coupling, Event,
    HypergradientSettings, Level, Optimizer, Progress, Schedule, SolverSettings, Training, drive,
};
use burn_autodiff::Autodiff;
use burn_tensor::{Tensor, TensorData};

use crate::backend::B;
use crate::conformance::{BATCH, obeys_every_law, problem};
use crate::support::{labelled, problem_settings, resnet, two_views};

/// Views that point the same way, in features that vary: 1 − cos(a, b), mean over the images, and
/// `spread` Σ over views and features of (variance − 1/d)² of the normalised rows.
#[derive(Clone, Copy, Debug)]
struct Cosine {
    spread: f64,
    width: usize,
}

impl PretextTask for Cosine {
    /// A head of its own width: the configured projector is not looked at.
    fn head(&self, projector: &Projector<'_>) -> Network {
        mlp_head(projector.features, &[10, self.width])
    }

    fn loss_label(&self) -> &'static str {
        "cosine distance"
    }
}

impl<B: Kernels> Method<B> for Cosine {
    fn loss(&self, _: Vec<Tensor<B, 2>>) -> Box<dyn Loss<B>> {
        Box::new(*self)
    }
}

impl<B: Kernels> Loss<B> for Cosine {
    /// Differences of the normalised rows, then the covariances of either view.
    fn inner(&self, outputs: Vec<Dual<Autodiff<B>, 2>>) -> Dual<Autodiff<B>, 2> {
        let [a, b] = outputs.try_into().unwrap_or_else(|_| panic!("two views"));
        let (a, b) = (a.normalize_rows(), b.normalize_rows());
        Dual::cat(vec![a.clone().minus(b.clone()), a.covariance(), b.covariance()])
    }

    /// ‖u − v‖² = 2 − 2 cos of unit vectors.
    fn outer(&self, variables: Dual<Autodiff<B>, 2>) -> Dual<Autodiff<B>, 1> {
        let [rows, features] = variables.value.dims();
        let batch = rows - 2 * features;
        let identity = Tensor::<Autodiff<B>, 2>::eye(features, &variables.value.device());
        let twice = Tensor::cat(vec![identity.clone(), identity], 0);
        let distances = variables.clone().map(|x| x.narrow(0, 0, batch)).square_sum();
        let variances = variables.map(|x| x.narrow(0, batch, 2 * features) * twice.clone());
        let aims = Dual::new(twice * (1.0 / features as f64), None);
        let spread = variances.minus(aims).square_sum();
        distances.scale(0.5 / batch as f64).plus(spread.scale(self.spread))
    }
}

/// Regression of a number that the class stands for, by squared error.
#[derive(Clone, Copy, Debug)]
struct Size {
    per_class: f32,
}

impl DownstreamTask for Size {
    fn outputs(&self) -> usize {
        1
    }

    /// Through six numbers; smooth, so that differences in f32 can judge it.
    fn head(&self, features: usize) -> Network {
        let builder = Builder::new(Shape::features(features)).linear("hidden", 6);
        builder.linear("size", self.outputs()).build().unwrap()
    }
}

impl<B: Kernels> Downstream<B> for Size {
    fn loss(&self, targets: &Targets) -> Box<dyn Loss<B>> {
        let Targets::Classes(classes) = targets else { panic!("one class an image") };
        let sizes = classes.iter().map(|class| self.per_class * *class as f32 - 0.5).collect();
        Box::new(SquaredError { sizes })
    }
}

struct SquaredError {
    sizes: Vec<f32>,
}

impl<B: Kernels> Loss<B> for SquaredError {
    fn inner(&self, outputs: Vec<Dual<Autodiff<B>, 2>>) -> Dual<Autodiff<B>, 2> {
        Dual::cat(outputs)
    }

    fn outer(&self, found: Dual<Autodiff<B>, 2>) -> Dual<Autodiff<B>, 1> {
        let rows = self.sizes.len();
        let data = TensorData::new(self.sizes.clone(), [rows, 1]).convert::<B::FloatElem>();
        let sizes = Tensor::from_data(data, &found.value.device());
        found.minus(Dual::new(sizes, None)).square_sum().scale(1.0 / rows as f64)
    }
}

const METHOD: Cosine = Cosine { spread: 0.3, width: 5 };
const TASK: Size = Size { per_class: 2.0 };

fn networks() -> Networks {
    let settings = resnet(Architecture::ResNetSmall, 4, Stem::Small);
    let features = output_width(settings);
    let projector = Projector { features, widths: &[8], norm: HeadNorm::Batch };
    Networks {
        backbone: backbone(settings),
        pretext_head: METHOD.head(&projector),
        target_head: None,
        classifier: TASK.head(features),
    }
}

fn settings(curvature: Curvature) -> ProblemSettings<B> {
    let downstream = Arc::new(TASK);
    ProblemSettings { downstream, ..problem_settings(Arc::new(METHOD), curvature) }
}

#[test]
fn a_method_and_a_task_of_ones_own_obey_every_law_with_either_operator() {
    for curvature in [Curvature::Hessian, Curvature::GaussNewton] {
        obeys_every_law(&networks(), settings(curvature));
    }
}

fn machine(alternations: u32) -> Alternation {
    let level = |steps: u32| Level {
        steps,
        optimizer: Optimizer::Sgd { momentum: 0.9, weight_decay: 0.0 },
        schedule: Schedule::constant(0.02, alternations * steps).unwrap(),
        clip: Some(1.0),
    };
    let solver = SolverSettings::ConjugateGradient(CgSettings::new(1e-3, 5).unwrap());
    let coupling = Coupling::Proximity { weight: 0.1 };
    let hypergradient = HypergradientSettings::new(coupling, 10.0, 1.0, solver).unwrap();
    let settings = AlternationSettings::new(alternations, level(6), level(6), hypergradient);
    Alternation::new(settings.unwrap())
}

#[test]
fn alternations_lower_both_losses_of_ones_own() {
    let networks = networks();
    let mut problem = problem(&networks, settings(Curvature::GaussNewton));
    problem.replace_sources(Sources {
        lower: Some(Box::new(|_| Ok(two_views(100, BATCH)))),
        product: Some(Box::new(|_| Ok(two_views(100, BATCH)))),
        upper: Some(Box::new(|_| Ok(labelled(900, BATCH)))),
    });
    let mut scalars = vec![0.0; problem.registers.scalars()];
    let mut machine = machine(3);
    let (mut lower, mut upper) = (Vec::new(), Vec::new());
    let completion = loop {
        match drive(&mut machine, &mut Training(&mut problem), &mut scalars).unwrap() {
            Progress::Event(Event::Step(step)) => lower.push(step.loss),
            Progress::Event(Event::UpperStep(step)) => {
                upper.push(step.hypergradient.loss_at_upper.unwrap());
            }
            Progress::Event(Event::Alternation { .. }) => {}
            Progress::Done(completion) => break completion,
        }
    };
    assert_eq!(completion, Completion::Finished);
    assert_eq!((lower.len(), upper.len()), (18, 18));
    for losses in [lower, upper] {
        assert!(losses[17] < 0.9 * losses[0], "{losses:?}");
    }
}
