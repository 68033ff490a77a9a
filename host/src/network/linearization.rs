//! One batch at fixed parameters, kept for many products with the curvature of the backbone block.

use burn_tensor::Tensor;

use super::loss::{Loss, gauss_newton_product, hessian_product, value_and_gradient};
use super::sequence::{Linearized, Want};
use super::tower::{Tower, TowerParameters, View, accumulate, as_features, as_rows};
use crate::kernels::Kernels;

/// Which curvature operator a product applies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Curvature {
    /// The exact Hessian, possibly indefinite: six convolution passes a layer and product.
    Hessian,
    /// Gauss-Newton, positive semi-definite: four.
    GaussNewton,
}

/// The values and first-order cotangents of one batch.
///
/// A product then costs the tangent work alone. Memory: the activations of a gradient, for the
/// Hessian as much again for the cotangents, and during a product as much again for the tangents; of
/// layers that are piecewise linear only the activations.
pub struct Linearization<'a, B: Kernels> {
    tower: Tower<'a>,
    parameters: TowerParameters<B>,
    loss: Box<dyn Loss<B> + 'a>,
    curvature: Curvature,
    views: Vec<LinearizedView<B>>,
    value: f64,
    gradient: Tensor<B, 1>,
}

/// One tensor a layer, by slot.
type PerLayer<B> = Vec<Option<Tensor<B, 4>>>;

struct LinearizedView<B: Kernels> {
    view: View<B>,
    backbone_bars: PerLayer<B>,
    head_bars: PerLayer<B>,
}

impl<'a, B: Kernels> Linearization<'a, B> {
    /// Linearises `loss` at `parameters` on `views`.
    pub fn new(
        tower: Tower<'a>,
        parameters: TowerParameters<B>,
        views: Vec<Tensor<B, 4>>,
        loss: Box<dyn Loss<B> + 'a>,
        curvature: Curvature,
    ) -> Self {
        let views: Vec<_> = views.into_iter().map(|x| tower.view(&parameters, x)).collect();
        let outputs: Vec<_> = views.iter().map(|view| view.output.clone()).collect();
        let (value, bars) = value_and_gradient(loss.as_ref(), &outputs);
        let layers = curvature == Curvature::Hessian;
        let mut gradient = None;
        let views = views
            .into_iter()
            .zip(bars)
            .map(|(view, bar)| {
                let want = Want { parameters: false, input: true, layers };
                let head =
                    tower.head.backward(&parameters.head, &view.head, as_features(bar), want);
                let feature_bar = head.input.expect("asked for");
                let want = Want { parameters: true, input: false, layers };
                let backbone = tower.backbone.backward(
                    &parameters.backbone,
                    &view.backbone,
                    feature_bar,
                    want,
                );
                accumulate::<B>(&mut gradient, backbone.parameters);
                LinearizedView { view, backbone_bars: backbone.y_bars, head_bars: head.y_bars }
            })
            .collect();
        let gradient = gradient.expect("a backbone has parameters and a batch has a view");
        Self { tower, parameters, loss, curvature, views, value, gradient }
    }

    /// The loss.
    pub fn value(&self) -> f64 {
        self.value
    }

    /// Its gradient with respect to the backbone.
    pub fn gradient(&self) -> &Tensor<B, 1> {
        &self.gradient
    }

    /// Curvature times `direction`, both of the backbone's length; heads do not move.
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
        let at = Linearized { saved: &view.view.head, y_bars: &view.head_bars };
        let want = Want { parameters: false, input: true, layers: false };
        let bar = as_features(output_bar_dot);
        let head = self.tower.head.backward_tangent(&p.head, at, head_dots, None, bar, want);
        let at = Linearized { saved: &view.view.backbone, y_bars: &view.backbone_bars };
        let want = Want { parameters: true, input: false, layers: false };
        let bar = head.input.expect("asked for");
        self.tower
            .backbone
            .backward_tangent(&p.backbone, at, backbone_dots, Some(direction), bar, want)
            .parameters
    }

    fn gauss_newton_term(&self, view: &View<B>, bar: Tensor<B, 2>) -> Option<Tensor<B, 1>> {
        let p = &self.parameters;
        let want = Want { parameters: false, input: true, layers: false };
        let head = self.tower.head.backward(&p.head, &view.head, as_features(bar), want);
        let want = Want { parameters: true, input: false, layers: false };
        let bar = head.input.expect("asked for");
        self.tower.backbone.backward(&p.backbone, &view.backbone, bar, want).parameters
    }
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
