//! The whole curvature matrix of a network with a few hundred parameters.

use bissl::network::{Architecture, Curvature, Stem};

use crate::backend::B;
use crate::eigen::{asymmetry, dense, eigenvalues};
use crate::support::{Case, resnet, tensor, values};

#[test]
fn gauss_newton_of_a_whole_network_has_no_negative_eigenvalue() {
    let settings = resnet(Architecture::ResNetSmall, 1, Stem::Small);
    let case = Case::<B>::new(settings, &[4, 3], (4, 6), 0.5, 21);
    let n = case.backbone.parameters().len();
    let spectrum = |curvature: Curvature| {
        let at = case.linearize(curvature);
        let matrix = dense(n, |unit| values(&at.product(&tensor(unit, [n]))));
        assert!(asymmetry(&matrix) <= 1e-11, "{curvature:?} is asymmetric");
        let spectrum = eigenvalues(&matrix);
        (spectrum[0], spectrum[n - 1])
    };
    let (bottom, top) = spectrum(Curvature::GaussNewton);
    assert!(bottom >= -1e-10 * top, "smallest eigenvalue {bottom:e}, largest {top:e}");
    let (bottom, top) = spectrum(Curvature::Hessian);
    assert!(bottom < -1e-3 * top, "the Hessian is indefinite here: {bottom:e}, {top:e}");
}
