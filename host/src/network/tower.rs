//! A backbone with a head: gradients of a loss over one or more views.

use burn_tensor::Tensor;

use super::erased::Saved;
use super::loss::{Loss, value_and_gradient};
use super::sequence::{Network, Wanted};
use crate::kernels::Kernels;

/// A backbone and a head. Every view is a forward pass of its own with its own batch statistics.
#[derive(Clone, Copy, Debug)]
pub struct Tower<'a> {
    /// Maps images to features.
    pub backbone: &'a Network,
    /// Maps features to outputs.
    pub head: &'a Network,
}

/// Parameters of a tower.
#[derive(Clone, Debug)]
pub struct TowerParameters<B: Kernels> {
    /// The backbone's, flat.
    pub backbone: Tensor<B, 1>,
    /// The head's, flat.
    pub head: Tensor<B, 1>,
}

impl<B: Kernels> TowerParameters<B> {
    /// The parameters of a tower with the same backbone whose head is the first part of this one's.
    #[must_use]
    pub fn first(&self, tower: Tower<'_>) -> Self {
        let len = tower.head.parameters().len();
        Self { backbone: self.backbone.clone(), head: self.head.clone().slice(0..len) }
    }
}

/// Running statistics of backbone and head, flat.
pub type Running<B> = (Tensor<B, 1>, Tensor<B, 1>);

/// One view's forward pass.
#[derive(Debug)]
pub(super) struct View<B: Kernels> {
    pub(super) backbone: Vec<Saved>,
    pub(super) head: Vec<Saved>,
    pub(super) output: Tensor<B, 2>,
}

/// A loss, its gradients, and the batch statistics of its passes.
#[derive(Debug)]
pub struct Gradients<B: Kernels> {
    /// The loss.
    pub loss: f64,
    /// Gradient with respect to the backbone; `None` if it was not requested.
    pub backbone: Option<Tensor<B, 1>>,
    /// Gradient with respect to the head.
    pub head: Tensor<B, 1>,
    views: Vec<View<B>>,
}

impl<B: Kernels> Gradients<B> {
    /// Running statistics of backbone and head after this step, one view after the other.
    pub fn updated_statistics(&self, tower: Tower<'_>, running: Running<B>) -> Running<B> {
        self.views.iter().fold(running, |running, view| tower.updated(running, view))
    }
}

/// `[batch, feature]` as `[batch, feature, 1, 1]`, the layers' shape.
pub(super) fn as_features<B: Kernels>(x: Tensor<B, 2>) -> Tensor<B, 4> {
    let [batch, features] = x.dims();
    x.reshape([batch, features, 1, 1])
}

/// The inverse of [`as_features`].
pub(super) fn as_rows<B: Kernels>(x: Tensor<B, 4>) -> Tensor<B, 2> {
    let [batch, features, _, _] = x.dims();
    x.reshape([batch, features])
}

/// Adds an optional term to a sum.
pub(super) fn accumulate<B: Kernels>(sum: &mut Option<Tensor<B, 1>>, term: Option<Tensor<B, 1>>) {
    *sum = match (sum.take(), term) {
        (Some(sum), Some(term)) => Some(B::axpby(1.0, &term, 1.0, sum)),
        (sum, term) => sum.or(term),
    };
}

impl Tower<'_> {
    pub(super) fn view<B: Kernels>(&self, p: &TowerParameters<B>, x: Tensor<B, 4>) -> View<B> {
        let features = self.backbone.forward(&p.backbone, x);
        let output = self.head.forward(&p.head, features.y);
        View { backbone: features.saved, head: output.saved, output: as_rows(output.y) }
    }

    /// Outputs in training mode, `[batch, feature]` for each view, without the memory of a backward
    /// pass.
    pub fn outputs<B: Kernels>(
        &self,
        p: &TowerParameters<B>,
        views: &[Tensor<B, 4>],
    ) -> Vec<Tensor<B, 2>> {
        views.iter().map(|x| self.view(p, x.clone()).output).collect()
    }

    /// [`Tower::outputs`], and the running statistics of backbone and head after them, one view
    /// after the other.
    pub fn outputs_and_statistics<B: Kernels>(
        &self,
        p: &TowerParameters<B>,
        views: &[Tensor<B, 4>],
        mut running: Running<B>,
    ) -> (Vec<Tensor<B, 2>>, Running<B>) {
        let mut outputs = Vec::with_capacity(views.len());
        for x in views {
            let view = self.view(p, x.clone());
            running = self.updated(running, &view);
            outputs.push(view.output);
        }
        (outputs, running)
    }

    /// Running statistics of backbone and head after one more view.
    pub(super) fn updated<B: Kernels>(
        &self,
        (backbone, head): Running<B>,
        view: &View<B>,
    ) -> Running<B> {
        let backbone = self.backbone.updated_statistics(backbone, &view.backbone);
        (backbone, self.head.updated_statistics(head, &view.head))
    }

    /// Loss and gradients in training mode; `views`: `[batch, 3, height, width]` each.
    pub fn gradients<B: Kernels>(
        &self,
        p: &TowerParameters<B>,
        views: Vec<Tensor<B, 4>>,
        loss: &dyn Loss<B>,
        with_backbone: bool,
    ) -> Gradients<B> {
        let views: Vec<View<B>> = views.into_iter().map(|x| self.view(p, x)).collect();
        let outputs: Vec<_> = views.iter().map(|view| view.output.clone()).collect();
        let (loss, output_bars) = value_and_gradient(loss, &outputs);
        let (mut backbone, mut head) = (None, None);
        for (view, bar) in views.iter().zip(output_bars) {
            let wanted = Wanted { parameters: true, input: with_backbone, layers: false };
            let below = self.head.backward(&p.head, &view.head, as_features(bar), wanted);
            accumulate::<B>(&mut head, below.parameters);
            if let Some(feature_bar) = below.input.filter(|_| with_backbone) {
                let wanted = Wanted { parameters: true, input: false, layers: false };
                let bottom =
                    self.backbone.backward(&p.backbone, &view.backbone, feature_bar, wanted);
                accumulate::<B>(&mut backbone, bottom.parameters);
            }
        }
        let head = head.expect("a head has parameters and a batch has a view");
        Gradients { loss, backbone, head, views }
    }
}
