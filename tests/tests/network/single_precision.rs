//! A whole ResNet-18 in f32 against the same in f64.

use bissl::kernels::Kernels;
use bissl::network::{Architecture, Curvature, Stem};

use crate::support::{Case, error, resnet, values};

#[cfg(feature = "candle")]
type Single = bissl::kernels::Candle;
#[cfg(not(feature = "candle"))]
type Single = bissl::kernels::Flex;
type Double = bissl::kernels::NdArray;

/// Units near 0 take their other branch in f32; PyTorch's f32 is at 1.8e-3 to 4.8e-3 there.
const TOLERANCE: f64 = 5e-3;

struct Results {
    value: f64,
    gradient: Vec<f64>,
    hessian: Vec<f64>,
    gauss_newton: Vec<f64>,
}

fn results<B: Kernels>() -> Results {
    let settings = resnet(Architecture::ResNet18, 64, Stem::Small);
    let case = Case::<B>::new(settings, &[128, 64], (8, 16), 0.01, 3);
    let direction = case.direction(4);
    let at = case.linearize(Curvature::Hessian);
    let (value, gradient) = (at.value(), values(at.gradient().unwrap()));
    let hessian = values(&at.product(&direction));
    drop(at);
    let gauss_newton = values(&case.linearize(Curvature::GaussNewton).product(&direction));
    Results { value, gradient, hessian, gauss_newton }
}

#[test]
fn resnet_18_in_f32_agrees_with_f64() {
    let (single, double) = (results::<Single>(), results::<Double>());
    let errors = [
        ("loss", (single.value - double.value).abs() / double.value),
        ("gradient", error(&single.gradient, &double.gradient)),
        ("Hessian product", error(&single.hessian, &double.hessian)),
        ("Gauss-Newton product", error(&single.gauss_newton, &double.gauss_newton)),
    ];
    println!("{errors:?}");
    for (what, error) in errors {
        assert!(error <= TOLERANCE, "{what} differs by {error:e}");
    }
}
