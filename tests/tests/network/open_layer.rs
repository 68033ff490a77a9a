//! Layers and backbones of another package, through what is public.

use bissl::kernels::{Kernels, Tensor};
use bissl::network::loss::gauss_newton_product;
use bissl::network::pretext::NtXent;
use bissl::network::{
    Builder, Cotangents, Curvature, Direction, Init, Layer, Layout, Network, Parameters, Passes,
    Shape, Unfit, mlp_head,
};

use crate::backend::{B, precision};
use crate::layers::Probe;
use crate::support::{Case, TEMPERATURE, central, dot, error, norm, shifted, tensor, values};

/// `y = s · ln(1 + eˣ)`, with one s for each channel of maps, or for each place of a token: smooth,
/// nonlinear in its input and in its parameters together.
#[derive(Clone, Debug)]
struct Softplus;

/// `y = s f(x)` with f, f′ and f″ at the input.
#[derive(Debug)]
struct Curve<B: Kernels> {
    value: Tensor<B, 4>,
    slope: Tensor<B, 4>,
    bend: Tensor<B, 4>,
}

/// s, spread over channels or places.
fn spread<B: Kernels>(p: Parameters<'_, B>, like: &Tensor<B, 4>) -> Tensor<B, 4> {
    let [_, channels, _, width] = like.dims();
    let factors = p.tensor::<1>(0).dims()[0];
    p.reshaped(0, if factors == channels { [1, channels, 1, 1] } else { [1, 1, 1, width] })
}

/// Σ over what [`spread`] spreads.
fn gathered<B: Kernels>(x: Tensor<B, 4>, factors: usize) -> Tensor<B, 4> {
    let [_, channels, _, _] = x.dims();
    let x = x.sum_dim(0).sum_dim(2);
    if factors == channels { x.sum_dim(3) } else { x }
}

impl Layer for Softplus {
    fn layout(&self, input: Shape) -> Result<Layout, Unfit> {
        let factors = match input {
            Shape::Maps { channels, .. } => channels,
            Shape::Tokens { width, .. } => width,
        };
        Ok(Layout::new(input).parameter("scale", &[factors], Init::One))
    }
}

impl<B: Kernels> Passes<B> for Softplus {
    type Saved = Curve<B>;

    fn forward(&self, p: Parameters<'_, B>, x: Tensor<B, 4>) -> (Tensor<B, 4>, Curve<B>) {
        let slope = (x.clone().neg().exp() + 1.0).recip();
        let bend = slope.clone() * (slope.clone().neg() + 1.0);
        let value = (x.exp() + 1.0).log();
        (value.clone() * spread(p, &value), Curve { value, slope, bend })
    }

    fn tangent(
        &self,
        p: Parameters<'_, B>,
        Curve { value, slope, .. }: &Curve<B>,
        x_dot: Option<&Tensor<B, 4>>,
        p_dot: Option<Parameters<'_, B>>,
    ) -> Option<Tensor<B, 4>> {
        let of_x = x_dot.map(|x_dot| slope.clone() * x_dot.clone() * spread(p, value));
        let of_p = p_dot.map(|p_dot| value.clone() * spread(p_dot, value));
        of_x.into_iter().chain(of_p).reduce(|a, b| a + b)
    }

    fn backward(
        &self,
        p: Parameters<'_, B>,
        Curve { value, slope, .. }: &Curve<B>,
        y_bar: &Tensor<B, 4>,
        out: &mut Cotangents<B>,
    ) -> Option<Tensor<B, 4>> {
        let factors = p.tensor::<1>(0).dims()[0];
        out.parameter(0, || gathered(value.clone() * y_bar.clone(), factors));
        out.input(|| slope.clone() * y_bar.clone() * spread(p, value))
    }

    fn backward_tangent(
        &self,
        p: Parameters<'_, B>,
        Curve { value, slope, bend }: &Curve<B>,
        Direction { x_dot, p_dot, y_bar_dot }: Direction<'_, B>,
        y_bar: &Tensor<B, 4>,
        out: &mut Cotangents<B>,
    ) -> Option<Tensor<B, 4>> {
        let factors = p.tensor::<1>(0).dims()[0];
        out.parameter(0, || {
            let first = value.clone() * y_bar_dot.clone();
            let sum = match x_dot {
                Some(x_dot) => first + slope.clone() * x_dot.clone() * y_bar.clone(),
                None => first,
            };
            gathered(sum, factors)
        });
        out.input(|| {
            let of_bar = slope.clone() * y_bar_dot.clone() * spread(p, value);
            let of_x =
                x_dot.map(|x_dot| bend.clone() * x_dot.clone() * y_bar.clone() * spread(p, value));
            let of_p = p_dot.map(|p_dot| slope.clone() * y_bar.clone() * spread(p_dot, value));
            [of_x, of_p].into_iter().flatten().fold(of_bar, |sum, term| sum + term)
        })
    }
}

/// Linear maps to another kind of shape.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Tokens {
    /// Every position of a map becomes a token.
    Split,
    /// The mean of all tokens, as features.
    Mean,
}

impl Tokens {
    fn value<B: Kernels>(self, x: Tensor<B, 4>) -> Tensor<B, 4> {
        match self {
            Self::Split => {
                let [batch, channels, height, width] = x.dims();
                x.reshape([batch, 1, channels, height * width]).swap_dims(2, 3)
            }
            Self::Mean => x.mean_dim(2).swap_dims(1, 3),
        }
    }
}

impl Layer for Tokens {
    fn layout(&self, input: Shape) -> Result<Layout, Unfit> {
        Ok(Layout::piecewise_linear(match self {
            Self::Split => {
                let (width, size) = input.maps()?;
                let [height, columns] =
                    size.ok_or_else(|| Unfit::new(input, "maps of a known size"))?;
                Shape::Tokens { count: height * columns, width }
            }
            Self::Mean => Shape::features(input.tokens()?.1),
        }))
    }
}

impl<B: Kernels> Passes<B> for Tokens {
    /// The input's shape.
    type Saved = [usize; 4];

    fn forward(&self, _: Parameters<'_, B>, x: Tensor<B, 4>) -> (Tensor<B, 4>, [usize; 4]) {
        let dims = x.dims();
        (self.value(x), dims)
    }

    fn tangent(
        &self,
        _: Parameters<'_, B>,
        _: &[usize; 4],
        x_dot: Option<&Tensor<B, 4>>,
        _: Option<Parameters<'_, B>>,
    ) -> Option<Tensor<B, 4>> {
        x_dot.map(|x_dot| self.value(x_dot.clone()))
    }

    fn backward(
        &self,
        _: Parameters<'_, B>,
        dims: &[usize; 4],
        y_bar: &Tensor<B, 4>,
        out: &mut Cotangents<B>,
    ) -> Option<Tensor<B, 4>> {
        out.input(|| match self {
            Self::Split => y_bar.clone().swap_dims(2, 3).reshape(*dims),
            Self::Mean => {
                let share = y_bar.clone().swap_dims(1, 3) * (1.0 / dims[2] as f64);
                share.repeat_dim(2, dims[2])
            }
        })
    }

    fn backward_tangent(
        &self,
        p: Parameters<'_, B>,
        dims: &[usize; 4],
        direction: Direction<'_, B>,
        _: &Tensor<B, 4>,
        out: &mut Cotangents<B>,
    ) -> Option<Tensor<B, 4>> {
        self.backward(p, dims, direction.y_bar_dot, out)
    }
}

/// Maps, residual sums, tokens and features, with layers of this file among the package's own.
pub(crate) fn own_backbone() -> Network {
    Builder::new([3, 8, 8])
        .conv("stem", 4, 3, 2)
        .batch_norm("norm")
        .layer("first", Softplus)
        .residual(|main| main.conv("block", 4, 3, 1).layer("block.curve", Softplus))
        .residual_sum(
            |main| main.conv("down", 6, 3, 2),
            |shortcut| shortcut.conv("projection", 6, 1, 2).batch_norm("projection.norm"),
        )
        .layer("patches", Tokens::Split)
        .layer("tokens", Softplus)
        .layer("mean", Tokens::Mean)
        .linear("last", 5)
        .build()
        .unwrap()
}

/// The case with the backbone's parameters moved.
fn moved(case: &Case<B>, step: f64, direction: &Tensor<B, 1>) -> Case<B> {
    let mut parameters = case.parameters.clone();
    parameters.backbone = shifted(&parameters.backbone, step, direction);
    let (backbone, head) = (case.backbone.clone(), case.head.clone());
    Case { backbone, head, parameters, views: case.views.clone() }
}

/// Of central differences through the whole network. The head's ReLUs ask for small steps.
fn step_and_tolerance() -> (f64, f64) {
    if precision::<B>().step < 1e-3 { (1e-7, 1e-6) } else { (1e-3, 5e-2) }
}

#[test]
fn an_own_layer_s_passes_agree_with_differences() {
    Probe::new("softplus", Softplus, [3, 4, 2, 5]).check();
    Probe::new("patches", Tokens::Split, [3, 4, 2, 5]).check();
}

#[test]
fn products_through_own_layers_agree_with_differences() {
    let (step, tolerance) = step_and_tolerance();
    for seed in 0..3 {
        let case = Case::<B>::of(own_backbone(), mlp_head(5, &[16, 5]), [4, 3, 8, 8], 0.2, seed);
        let direction = case.direction(seed + 7);
        let step = step * norm(&values(&case.parameters.backbone)) / norm(&values(&direction));
        let at = case.linearize(Curvature::Hessian);
        let [plus, minus] = [step, -step].map(|step| moved(&case, step, &direction));
        let [plus, minus] = [&plus, &minus].map(|case| case.linearize(Curvature::Hessian));

        let gradient = values(at.gradient().unwrap());
        let slope = dot(&gradient, &values(&direction));
        let difference = (plus.value() - minus.value()) / (2.0 * step);
        let off = (slope - difference).abs() / (norm(&gradient) * norm(&values(&direction)));
        assert!(off <= tolerance, "seed {seed}: gradient off by {off:e}");

        let [plus, minus] = [plus, minus].map(|at| values(at.gradient().unwrap()));
        let expected = central(&plus, &minus, step);
        let off = error(&values(&at.product(&direction)), &expected);
        assert!(off <= tolerance, "seed {seed}: Hessian product off by {off:e}");
    }
}

#[test]
fn gauss_newton_products_through_own_layers_agree_with_differences() {
    let (step, tolerance) = step_and_tolerance();
    let case = Case::<B>::of(own_backbone(), mlp_head(5, &[16, 5]), [4, 3, 8, 8], 0.2, 5);
    let outputs = |case: &Case<B>| case.tower().outputs(&case.parameters, &case.views);
    // J d, by differences of the outputs.
    let along = |direction: &Tensor<B, 1>| -> Vec<Tensor<B, 2>> {
        let size = norm(&values(&case.parameters.backbone)) / norm(&values(direction));
        let step = step * size;
        let [plus, minus] = [step, -step].map(|step| outputs(&moved(&case, step, direction)));
        plus.into_iter().zip(minus).map(|(p, m)| (p - m) * (0.5 / step)).collect()
    };
    let direction = case.direction(8);
    let loss = NtXent { temperature: TEMPERATURE };
    let curved = gauss_newton_product(&loss, &outputs(&case), &along(&direction));
    let found = values(&case.linearize(Curvature::GaussNewton).product(&direction));
    let chosen: Vec<usize> = (0..found.len()).step_by(7).collect();
    let expected: Vec<f64> = chosen
        .iter()
        .map(|&place| {
            let mut unit = vec![0.0; found.len()];
            unit[place] = 1.0;
            let moved = along(&tensor(&unit, [unit.len()]));
            moved.iter().zip(&curved).map(|(m, c)| dot(&values(m), &values(c))).sum()
        })
        .collect();
    let found: Vec<f64> = chosen.iter().map(|place| found[*place]).collect();
    let off = error(&found, &expected);
    assert!(off <= tolerance, "Gauss-Newton product off by {off:e}");
}

#[test]
fn an_own_layer_s_tensors_stand_in_the_table_at_their_place() {
    let network = own_backbone();
    let names: Vec<_> = network.parameters().segments().iter().map(|s| s.name.as_str()).collect();
    let expected = [
        "stem.weight",
        "norm.weight",
        "norm.bias",
        "first.scale",
        "block.weight",
        "block.curve.scale",
        "down.weight",
        "projection.weight",
        "projection.norm.weight",
        "projection.norm.bias",
        "tokens.scale",
        "last.weight",
        "last.bias",
    ];
    assert_eq!(names, expected);
    assert_eq!(network.input_shape(), [3, 8, 8].into());
    assert_eq!(network.output_shape(), Shape::features(5));
    assert_eq!(
        network.parameters().segments()[10].shape,
        [6],
        "a token is as wide as the maps were"
    );
}
