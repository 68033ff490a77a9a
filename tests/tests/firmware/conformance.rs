//! The device's problem obeys the laws of the core's conformance kit, in every configuration.

use bissl_core::DriveError;
use bissl_core::conformance::{self, Kit, Law, Outcome};
use bissl_firmware::{
    Blocked, Compact, Configuration, Curvature, DigitsDevice, Fault, Kernels, Lengths, Model, Plan,
    Program, SCALARS, Session, Settings, Stage, Tick,
};
use bissl_firmware_sim::Digits;

/// The laws that do not hold, and the number of laws that were judged.
fn broken<C, K>(kernels: &mut K) -> (Vec<String>, u32)
where
    C: Configuration<Solver = bissl_core::ConjugateGradient>,
    K: Kernels<f32>,
{
    let digits = Digits::embedded();
    let frames = digits.flash();
    // At a random start the curvature is so indefinite that a solve ends before its first step.
    let lengths = Lengths { pretrain: 100, warm_up: 20, ..Lengths::default() };
    let settings = Settings::new(1, lengths).unwrap();
    let mut device = Program::<C>::new();
    device.begin(settings);
    while device.tick(&frames, kernels).unwrap() != Tick::Begun(Stage::Align) {}
    let mut session = device.session(&settings, &frames, kernels);
    let mut broken = vec![];
    let mut scalars = [0.0; SCALARS];
    let kit =
        Kit::new(conformance::Settings::DEFAULT).with_product_gradient(Session::product_gradient);
    let summary = kit
        .run(&mut session, &Law::ALL, &mut scalars, |outcome: &Outcome<Fault>| {
            if outcome.is_broken() {
                broken.push(outcome.to_string());
            }
        })
        .unwrap_or_else(|error: DriveError<Fault>| panic!("{error}"));
    (broken, summary.hold)
}

#[test]
fn the_device_obeys_every_law_with_either_kind_of_loops() {
    for (broken, judged) in [broken::<Apart, _>(&mut Compact), broken::<Apart, _>(&mut Blocked)] {
        assert!(broken.is_empty(), "{broken:#?}");
        assert!(judged >= 20, "{judged} laws hold");
    }
}

/// The shipped network with separate memory for every register.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Apart;

impl Configuration for Apart {
    const MODEL: Model = Model { shared: false, ..DigitsDevice::MODEL };
    type Memory = [f32; Plan::new(&Self::MODEL).floats];
    type Solver = bissl_core::ConjugateGradient;
}

/// The same network with Gauss-Newton products.
#[derive(Clone, Copy, Debug, PartialEq)]
struct GaussNewton;

impl Configuration for GaussNewton {
    const MODEL: Model = Model { curvature: Curvature::GaussNewton, ..Apart::MODEL };
    type Memory = [f32; Plan::new(&Self::MODEL).floats];
    type Solver = bissl_core::ConjugateGradient;
}

#[test]
fn a_gauss_newton_product_is_no_difference_of_gradients_and_obeys_the_rest() {
    let (broken, _) = broken::<GaussNewton, _>(&mut Compact);
    assert_eq!(broken.len(), 1, "{broken:#?}");
    assert!(broken[0].contains("product-differences"), "{broken:#?}");
}
