//! What a computation reads back from its device.

use bissl::kernels::transfers;
use bissl::network::pretext::NtXent;
use bissl::network::{Architecture, Curvature, Stem};

use crate::backend::B;
use crate::support::{Case, TEMPERATURE, resnet};

#[test]
fn a_training_step_reads_its_loss_and_a_product_reads_nothing() {
    let settings = resnet(Architecture::ResNetSmall, 2, Stem::ImageNet);
    let case = Case::<B>::new(settings, &[6, 5], (4, 16), 0.1, 1);
    let count = |work: &mut dyn FnMut()| {
        let before = transfers();
        work();
        transfers() - before
    };
    let loss = NtXent { temperature: TEMPERATURE };
    let mut step = || {
        let _ = case.tower().gradients(&case.parameters, case.views.clone(), &loss, true);
    };
    assert_eq!(count(&mut step), 1);
    for curvature in [Curvature::Hessian, Curvature::GaussNewton] {
        let mut at = None;
        assert_eq!(count(&mut || at = Some(case.linearize(curvature))), 1, "{curvature:?}");
        let at = at.unwrap();
        let direction = case.direction(3);
        let mut products = || {
            let _ = at.product(&at.product(&direction));
        };
        assert_eq!(count(&mut products), 0, "{curvature:?}");
    }
}

#[test]
fn nothing_under_the_network_reads_but_through_the_door() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../host/src");
    // The CPU backends lend their memory, and that is what these files are for.
    let lenders = ["flex.rs", "candle.rs", "ndarray.rs", "transfer.rs"];
    let mut seen = 0;
    for folder in ["kernels", "kernels/cube", "network"] {
        for entry in std::fs::read_dir(root.join(folder)).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            if path.is_dir() || lenders.contains(&name.as_str()) {
                continue;
            }
            seen += 1;
            let text = std::fs::read_to_string(&path).unwrap();
            for call in ["into_data", "to_data", "into_scalar", "try_into_scalar"] {
                assert!(!text.contains(call), "{} calls {call}", path.display());
            }
        }
    }
    assert!(seen > 15, "found the sources");
}
