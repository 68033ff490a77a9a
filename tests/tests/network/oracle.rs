//! The same networks written a second time, as dual tensors over Burn's autodiff and operations.
//!
//! Shares nothing with the network under test but the names and shapes of the parameters. Every
//! operation is first order in reverse: a Hessian product is reverse over the forward tangent.

use bissl::kernels::Kernels;
use bissl::network::{Architecture, BackboneSettings, ParameterTable, Stem};
use burn_autodiff::Autodiff;
use burn_backend::TensorData;
use burn_backend::ops::ConvOptions;
use burn_tensor::module::conv2d;
use burn_tensor::{Int, Tensor};

use crate::support::Case;

type A<B> = Autodiff<B>;

/// A value and its tangent.
#[derive(Clone)]
struct Du<B: Kernels, const D: usize> {
    v: Tensor<A<B>, D>,
    t: Option<Tensor<A<B>, D>>,
}

/// `a + b` where either may be zero.
fn plus<B: Kernels, const D: usize>(
    a: Option<Tensor<A<B>, D>>,
    b: Option<Tensor<A<B>, D>>,
) -> Option<Tensor<A<B>, D>> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a + b),
        (a, b) => a.or(b),
    }
}

impl<B: Kernels, const D: usize> Du<B, D> {
    /// A linear map of value and tangent.
    fn linear<const E: usize>(self, f: impl Fn(Tensor<A<B>, D>) -> Tensor<A<B>, E>) -> Du<B, E> {
        Du { v: f(self.v), t: self.t.map(f) }
    }

    fn add(self, other: Self) -> Self {
        Self { v: self.v + other.v, t: plus(self.t, other.t) }
    }

    fn relu(self) -> Self {
        let off = self.v.clone().lower_equal_elem(0.0);
        self.linear(|x| x.mask_fill(off.clone(), 0.0))
    }
}

/// Named tensors of a flat vector.
struct Weights<'a, B: Kernels> {
    table: &'a ParameterTable,
    flat: Du<B, 1>,
}

impl<B: Kernels> Weights<'_, B> {
    fn find(&self, name: &str) -> Option<(usize, Vec<usize>)> {
        let segment = self.table.segments().iter().find(|segment| segment.name == name)?;
        Some((segment.offset, segment.shape.clone()))
    }

    fn get<const D: usize>(&self, name: &str) -> Du<B, D> {
        let (offset, shape) = self.find(name).unwrap_or_else(|| panic!("no parameter {name}"));
        let shape: [usize; D] = shape.try_into().unwrap();
        let len: usize = shape.iter().product();
        self.flat.clone().linear(|flat| flat.slice(offset..offset + len).reshape(shape))
    }

    fn conv(&self, name: &str, x: Du<B, 4>, stride: usize) -> Du<B, 4> {
        let w: Du<B, 4> = self.get(&format!("{name}.weight"));
        let [_, _, kernel, _] = w.v.dims();
        let options = ConvOptions::new([stride; 2], [kernel / 2; 2], [1, 1], 1);
        let conv = |x: &Tensor<A<B>, 4>, w: &Tensor<A<B>, 4>| {
            conv2d(x.clone(), w.clone(), None, options.clone())
        };
        let t = plus(x.t.map(|t| conv(&t, &w.v)), w.t.map(|t| conv(&x.v, &t)));
        Du { v: conv(&x.v, &w.v), t }
    }

    fn batch_norm(&self, name: &str, x: Du<B, 4>) -> Du<B, 4> {
        let spread = |c: Tensor<A<B>, 1>| {
            let [channels] = c.dims();
            c.reshape([1, channels, 1, 1])
        };
        let gamma = self.get::<1>(&format!("{name}.weight")).linear(spread);
        let beta = self.get::<1>(&format!("{name}.bias")).linear(spread);
        let mean = |x: Tensor<A<B>, 4>| x.mean_dim(0).mean_dim(2).mean_dim(3);
        let centred = x.v.clone() - mean(x.v);
        let deviation = (mean(centred.clone() * centred.clone()) + 1e-5).sqrt();
        let hat = centred / deviation.clone();
        let hat_t = x.t.map(|t| {
            let centred = t.clone() - mean(t);
            (centred.clone() - hat.clone() * mean(hat.clone() * centred)) / deviation
        });
        let t = plus(
            plus(hat_t.map(|t| t * gamma.v.clone()), gamma.t.map(|t| hat.clone() * t)),
            beta.t.map(|t| t.expand(hat.dims())),
        );
        Du { v: hat * gamma.v + beta.v, t }
    }

    fn linear(&self, name: &str, x: Du<B, 2>) -> Du<B, 2> {
        let w: Du<B, 2> = self.get(&format!("{name}.weight"));
        let product = |x: Tensor<A<B>, 2>, w: Tensor<A<B>, 2>| x.matmul(w.transpose());
        let t = plus(x.t.map(|t| product(t, w.v.clone())), w.t.map(|t| product(x.v.clone(), t)));
        let y = Du { v: product(x.v, w.v), t };
        let bias = format!("{name}.bias");
        if self.find(&bias).is_none() {
            return y;
        }
        let b = self.get::<1>(&bias).linear(|b| b.unsqueeze());
        let dims = y.v.dims();
        y.add(b.linear(|b: Tensor<A<B>, 2>| b.expand(dims)))
    }

    fn backbone(&self, settings: BackboneSettings, x: Du<B, 4>) -> Du<B, 2> {
        let stem_stride = if settings.stem == Stem::Small { 1 } else { 2 };
        let mut x = self.batch_norm("bn1", self.conv("conv1", x, stem_stride)).relu();
        if settings.stem == Stem::ImageNet {
            x = max_pool(x);
        }
        let stages = match settings.architecture {
            Architecture::ResNetSmall => vec![1, 1, 1],
            Architecture::ResNet18 => vec![2, 2, 2, 2],
            Architecture::ResNet34 | Architecture::ResNet50 => vec![3, 4, 6, 3],
        };
        let bottleneck = settings.architecture == Architecture::ResNet50;
        for (stage, blocks) in stages.into_iter().enumerate() {
            for block in 0..blocks {
                let name = format!("layer{}.{block}", stage + 1);
                let stride = if stage > 0 && block == 0 { 2 } else { 1 };
                let (first, second) = if bottleneck { (1, stride) } else { (stride, 1) };
                let y = self.conv(&format!("{name}.conv1"), x.clone(), first);
                let y = self.batch_norm(&format!("{name}.bn1"), y).relu();
                let y = self.conv(&format!("{name}.conv2"), y, second);
                let mut y = self.batch_norm(&format!("{name}.bn2"), y);
                if bottleneck {
                    y = self.conv(&format!("{name}.conv3"), y.relu(), 1);
                    y = self.batch_norm(&format!("{name}.bn3"), y);
                }
                let down = format!("{name}.downsample");
                if self.find(&format!("{down}.0.weight")).is_some() {
                    x = self.conv(&format!("{down}.0"), x, stride);
                    x = self.batch_norm(&format!("{down}.1"), x);
                }
                x = y.add(x).relu();
            }
        }
        x.linear(|x| {
            let [batch, channels, height, width] = x.dims();
            x.reshape([batch, channels, height * width]).mean_dim(2).reshape([batch, channels])
        })
    }

    fn projector(&self, mut x: Du<B, 2>) -> Du<B, 2> {
        for index in 0.. {
            x = self.linear(&format!("{}", 3 * index), x);
            let norm = format!("{}", 3 * index + 1);
            if self.find(&format!("{norm}.weight")).is_none() {
                break;
            }
            let [batch, features] = x.v.dims();
            let y = self.batch_norm(&norm, x.linear(|x| x.reshape([batch, features, 1, 1])));
            x = y.relu().linear(|x| x.reshape([batch, features]));
        }
        x
    }
}

/// 3 × 3, stride 2, padding 1: maximum over nine shifted images, the first of equal ones.
fn max_pool<B: Kernels>(x: Du<B, 4>) -> Du<B, 4> {
    let [batch, channels, height, width] = x.v.dims();
    let device = x.v.device();
    let pad = |x: Tensor<A<B>, 4>| {
        let side = Tensor::full([batch, channels, height, 1], -1e30, &device);
        let x = Tensor::cat(vec![side.clone(), x, side], 3);
        let edge = Tensor::full([batch, channels, 1, width + 2], -1e30, &device);
        Tensor::cat(vec![edge.clone(), x, edge], 2)
    };
    let indices = |start: usize, size: usize| {
        let out = size.div_ceil(2);
        let values: Vec<i64> = (0..out).map(|o| (start + 2 * o) as i64).collect();
        Tensor::<A<B>, 1, Int>::from_data(TensorData::new(values, [out]), &device)
    };
    let padded = x.linear(pad);
    let mut best: Option<Du<B, 4>> = None;
    for (ky, kx) in (0..9).map(|i| (i / 3, i % 3)) {
        let (rows, cols) = (indices(ky, height), indices(kx, width));
        let shifted = padded.clone().linear(|x| x.select(2, rows.clone()).select(3, cols.clone()));
        best = Some(match best {
            None => shifted,
            Some(best) => {
                let wins = shifted.v.clone().greater(best.v.clone());
                let t = best.t.zip(shifted.t).map(|(b, s)| b.mask_where(wins.clone(), s));
                Du { v: best.v.mask_where(wins, shifted.v), t }
            }
        });
    }
    best.unwrap()
}

/// NT-Xent with the diagonal left out by a product with 0.
fn nt_xent<B: Kernels>(views: Vec<Du<B, 2>>, temperature: f64) -> Du<B, 1> {
    let tangents: Option<Vec<_>> = views.iter().map(|view| view.t.clone()).collect();
    let z = Du::<B, 2> {
        v: Tensor::cat(views.into_iter().map(|view| view.v).collect(), 0),
        t: tangents.map(|t| Tensor::cat(t, 0)),
    };
    let [rows, _] = z.v.dims();
    let device = z.v.device();
    let length = (z.v.clone() * z.v.clone()).sum_dim(1).sqrt();
    let u = z.v / length.clone();
    let u_t = z.t.map(|t| {
        let along = (u.clone() * t.clone()).sum_dim(1);
        (t - u.clone() * along) / length
    });
    // Products, because autodiff's backward pass of a division by a scalar rounds it to f32.
    let sharpness = 1.0 / temperature;
    let s = u.clone().matmul(u.clone().transpose()) * sharpness;
    let s_t = u_t.map(|t| {
        let half = t.matmul(u.transpose());
        (half.clone() + half.transpose()) * sharpness
    });
    let others = Tensor::<A<B>, 2>::eye(rows, &device).neg() + 1.0;
    let mut partner = vec![0.0f32; rows * rows];
    for i in 0..rows {
        partner[i * rows + (i + rows / 2) % rows] = 1.0;
    }
    let partner = TensorData::new(partner, [rows, rows]).convert::<B::FloatElem>();
    let partner = Tensor::<A<B>, 2>::from_data(partner, &device);
    let e = s.clone().exp() * others;
    let total = e.clone().sum_dim(1);
    let v = (total.clone().log() - (s * partner.clone()).sum_dim(1)).mean();
    let t = s_t.map(|t| {
        let expected = (e * t.clone()).sum_dim(1) / total;
        (expected - (t * partner).sum_dim(1)).mean()
    });
    Du { v, t }
}

/// Loss, gradient, and Hessian product of the backbone block.
pub(crate) struct Expected<B: Kernels> {
    pub(crate) value: f64,
    pub(crate) gradient: Tensor<B, 1>,
    pub(crate) product: Tensor<B, 1>,
}

/// What [`Case::linearize`] should give.
pub(crate) fn expected<B: Kernels>(
    case: &Case<B>,
    settings: BackboneSettings,
    direction: &Tensor<B, 1>,
) -> Expected<B> {
    let loss = |leaf: &Tensor<A<B>, 1>, tangent: Option<Tensor<A<B>, 1>>| {
        let flat = Du { v: leaf.clone(), t: tangent };
        let backbone = Weights { table: case.backbone.parameters(), flat };
        let flat = Du { v: Tensor::from_inner(case.parameters.head.clone()), t: None };
        let head = Weights { table: case.head.parameters(), flat };
        let outputs = case.views.iter().map(|view| {
            let x = Du { v: Tensor::from_inner(view.clone()), t: None };
            head.projector(backbone.backbone(settings, x))
        });
        nt_xent(outputs.collect(), crate::support::TEMPERATURE)
    };
    let leaf = Tensor::from_inner(case.parameters.backbone.clone()).require_grad();
    let value = loss(&leaf, None).v;
    let gradient = leaf.grad(&value.backward()).unwrap();
    let leaf = Tensor::from_inner(case.parameters.backbone.clone()).require_grad();
    let derivative = loss(&leaf, Some(Tensor::from_inner(direction.clone()))).t.unwrap();
    let product = leaf.grad(&derivative.backward()).unwrap();
    let value = value.inner().to_data().iter::<f64>().next().unwrap();
    Expected { value, gradient, product }
}
