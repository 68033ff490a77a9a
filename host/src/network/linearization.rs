//! One batch at fixed parameters, kept for many products with the curvature of the backbone block.

use burn_tensor::Tensor;

use super::loss::{Loss, gauss_newton_product, hessian_product, value_and_gradient};
use super::sequence::{Backward, CotangentPair, Linearized, Wanted};
use super::tower::{Running, Tower, TowerParameters, View, accumulate, as_features, as_rows};
use crate::kernels::Kernels;
use crate::names::names;

names! {
    /// Which curvature operator of L^P a product applies.
    Curvature {
        /// The exact Hessian, possibly indefinite: six convolution passes per layer and product.
        Hessian = "hessian",
        /// Gauss-Newton, positive semi-definite: four convolution passes per layer and product.
        GaussNewton = "gauss-newton",
    }
}

/// What a product with the Hessian recomputes instead of storing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Recompute {
    /// Nothing.
    #[default]
    Nothing,
    /// The first-order cotangents: two more convolution passes per layer, one gradient's memory
    /// less.
    Cotangents,
}

/// What a linearisation is for. Converted from a [`Curvature`], it keeps all that its products can
/// use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinearizationSettings {
    /// The operator of the products.
    pub curvature: Curvature,
    /// What the products recompute.
    pub recompute: Recompute,
    /// Whether to compute the gradient too; products do not need it.
    pub with_gradient: bool,
}

impl From<Curvature> for LinearizationSettings {
    fn from(curvature: Curvature) -> Self {
        Self { curvature, recompute: Recompute::Nothing, with_gradient: false }
    }
}

/// The values and first-order cotangents of one batch.
///
/// A product costs only the tangent work. Memory:
///
/// - the activations of a gradient; piecewise linear layers need nothing else;
/// - for the Hessian as much again for the cotangents, unless they are recomputed;
/// - during a product as much again for the tangents.
pub struct Linearization<'a, B: Kernels> {
    tower: Tower<'a>,
    parameters: TowerParameters<B>,
    loss: Box<dyn Loss<B> + 'a>,
    curvature: Curvature,
    views: Vec<LinearizedView<B>>,
    value: f64,
    gradient: Option<Tensor<B, 1>>,
}

/// One tensor per layer, by slot.
type PerLayer<B> = Vec<Option<Tensor<B, 4>>>;

struct LinearizedView<B: Kernels> {
    view: View<B>,
    bars: FirstOrder<B>,
}

/// First-order cotangents of one view.
enum FirstOrder<B: Kernels> {
    /// The cotangents of every layer's output.
    Kept { backbone: PerLayer<B>, head: PerLayer<B> },
    /// The cotangent of the head's output, from which each product recomputes the others.
    Output(Tensor<B, 4>),
    /// Gauss-Newton needs none.
    Unused,
}

impl<'a, B: Kernels> Linearization<'a, B> {
    /// Linearises `loss` at `parameters` on `views`.
    pub fn new(
        tower: Tower<'a>,
        parameters: TowerParameters<B>,
        views: Vec<Tensor<B, 4>>,
        loss: Box<dyn Loss<B> + 'a>,
        settings: impl Into<LinearizationSettings>,
    ) -> Self {
        let LinearizationSettings { curvature, recompute, with_gradient } = settings.into();
        let views: Vec<_> = views.into_iter().map(|x| tower.view(&parameters, x)).collect();
        let outputs: Vec<_> = views.iter().map(|view| view.output.clone()).collect();
        let (value, bars) = value_and_gradient(loss.as_ref(), &outputs);
        let keeps = (curvature, recompute) == (Curvature::Hessian, Recompute::Nothing);
        let wanted = Wanted { parameters: with_gradient, input: false, layers: keeps };
        let mut gradient = None;
        let views = views
            .into_iter()
            .zip(bars.into_iter().map(as_features))
            .map(|(view, bar)| {
                let mut kept = None;
                if keeps || with_gradient {
                    let (head, backbone) =
                        first_order(tower, &parameters, &view, bar.clone(), wanted);
                    accumulate::<B>(&mut gradient, backbone.parameters);
                    let (backbone, head) = (backbone.y_bars, head.y_bars);
                    kept = keeps.then_some(FirstOrder::Kept { backbone, head });
                }
                let bars = match (kept, curvature) {
                    (Some(kept), _) => kept,
                    (None, Curvature::Hessian) => FirstOrder::Output(bar),
                    (None, Curvature::GaussNewton) => FirstOrder::Unused,
                };
                LinearizedView { view, bars }
            })
            .collect();
        Self { tower, parameters, loss, curvature, views, value, gradient }
    }

    /// Value of the loss.
    pub fn value(&self) -> f64 {
        self.value
    }

    /// Gradient of the loss with respect to the backbone, if it was requested.
    pub fn gradient(&self) -> Option<&Tensor<B, 1>> {
        self.gradient.as_ref()
    }

    /// Running statistics of backbone and head after the batch, one view after the other.
    pub fn updated_statistics(&self, running: Running<B>) -> Running<B> {
        let views = self.views.iter();
        views.fold(running, |running, view| self.tower.updated(running, &view.view))
    }

    /// Curvature times `direction`, both of the backbone's length; the head's parameters stay
    /// fixed.
    pub fn product(&self, direction: &Tensor<B, 1>) -> Tensor<B, 1> {
        let p = &self.parameters;
        let mut tangents = Vec::with_capacity(self.views.len());
        let mut output_dots = Vec::with_capacity(self.views.len());
        for LinearizedView { view, .. } in &self.views {
            let Tower { backbone, head } = self.tower;
            let output_dot = match self.curvature {
                Curvature::Hessian => {
                    let (feature_dot, backbone_dots) =
                        backbone.tangent(&p.backbone, &view.backbone, None, Some(direction));
                    let (output_dot, head_dots) =
                        head.tangent(&p.head, &view.head, feature_dot, None);
                    tangents.push((backbone_dots, head_dots));
                    output_dot
                }
                Curvature::GaussNewton => {
                    let feature_dot =
                        backbone.tangent_output(&p.backbone, &view.backbone, None, Some(direction));
                    head.tangent_output(&p.head, &view.head, feature_dot, None)
                }
            };
            output_dots.push(as_rows(output_dot.expect("moving features move the output")));
        }
        let outputs: Vec<_> = self.views.iter().map(|v| v.view.output.clone()).collect();
        let mut sum = None;
        match self.curvature {
            Curvature::Hessian => {
                let bars = hessian_product(self.loss.as_ref(), &outputs, &output_dots);
                for ((view, bar), (backbone, head)) in self.views.iter().zip(bars).zip(tangents) {
                    let term = self.hessian_term(view, bar, (backbone, head), direction);
                    accumulate::<B>(&mut sum, term);
                }
            }
            Curvature::GaussNewton => {
                let bars = gauss_newton_product(self.loss.as_ref(), &outputs, &output_dots);
                for (view, bar) in self.views.iter().zip(bars) {
                    accumulate::<B>(&mut sum, self.gauss_newton_term(&view.view, bar));
                }
            }
        }
        sum.expect("a batch has a view")
    }

    fn hessian_term(
        &self,
        view: &LinearizedView<B>,
        output_bar_dot: Tensor<B, 2>,
        (backbone_dots, head_dots): (PerLayer<B>, PerLayer<B>),
        direction: &Tensor<B, 1>,
    ) -> Option<Tensor<B, 1>> {
        let p = &self.parameters;
        let Tower { backbone, head } = self.tower;
        let bar_dot = as_features(output_bar_dot);
        let below = Wanted { parameters: false, input: true, layers: false };
        let bottom = Wanted { parameters: true, input: false, layers: false };
        let direction = Some(direction);
        match &view.bars {
            FirstOrder::Kept { backbone: backbone_bars, head: head_bars } => {
                let at = Linearized { saved: &view.view.head, y_bars: head_bars };
                let above = head.backward_tangent(&p.head, at, head_dots, None, bar_dot, below);
                let at = Linearized { saved: &view.view.backbone, y_bars: backbone_bars };
                let bar_dot = above.input.expect("asked for");
                backbone
                    .backward_tangent(&p.backbone, at, backbone_dots, direction, bar_dot, bottom)
                    .parameters
            }
            FirstOrder::Output(bar) => {
                let bars = CotangentPair { value: bar.clone(), tangent: bar_dot };
                let saved = &view.view.head;
                let (bars, _) =
                    head.backward_and_tangent(&p.head, saved, head_dots, None, bars, below);
                let (bars, saved) = (bars.expect("asked for"), &view.view.backbone);
                backbone
                    .backward_and_tangent(
                        &p.backbone,
                        saved,
                        backbone_dots,
                        direction,
                        bars,
                        bottom,
                    )
                    .1
            }
            FirstOrder::Unused => unreachable!("products with the Hessian have cotangents"),
        }
    }

    fn gauss_newton_term(&self, view: &View<B>, bar: Tensor<B, 2>) -> Option<Tensor<B, 1>> {
        let wanted = Wanted { parameters: true, input: false, layers: false };
        first_order(self.tower, &self.parameters, view, as_features(bar), wanted).1.parameters
    }
}

/// Backward passes of head and backbone from a cotangent of the output. The head's parameters get
/// no cotangents; `wanted` applies to the backbone.
fn first_order<B: Kernels>(
    tower: Tower<'_>,
    p: &TowerParameters<B>,
    view: &View<B>,
    bar: Tensor<B, 4>,
    wanted: Wanted,
) -> (Backward<B>, Backward<B>) {
    let of_head = Wanted { parameters: false, input: true, layers: wanted.layers };
    let mut head = tower.head.backward(&p.head, &view.head, bar, of_head);
    let feature_bar = head.input.take().expect("asked for");
    let backbone = tower.backbone.backward(&p.backbone, &view.backbone, feature_bar, wanted);
    (head, backbone)
}

impl<B: Kernels> std::fmt::Debug for Linearization<'_, B> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Linearization")
            .field("curvature", &self.curvature)
            .field("views", &self.views.len())
            .field("value", &self.value)
            .finish_non_exhaustive()
    }
}
