//! Alternatives on a device: other solvers, other products, layers in flash.

use bissl_core::{
    CgSettings, LinearSolver, Mfac, MfacSettings, RecycledCg, RecycledCgSettings, Request,
};
use bissl_firmware::{
    Blocked, Configuration, Curvature, DigitsDevice, Fault, Hyperparameters, Lengths, Model, Plan,
    Settings, SmallDigitsDevice, Tick,
};
use bissl_firmware_sim::{Digits, SimulatedDevice, small_digits_weights};

const LENGTHS: Lengths = Lengths {
    pretrain: 60,
    warm_up: 10,
    alternations: 2,
    lower_steps: 5,
    upper_steps: 4,
    finetune: 5,
};

macro_rules! variant {
    ($name:ident, $solver:ty, $($field:ident: $value:expr),*) => {
        #[derive(Clone, Copy, Debug, PartialEq)]
        struct $name;

        impl Configuration for $name {
            const MODEL: Model = Model { $($field: $value,)* ..DigitsDevice::MODEL };
            type Memory = [f32; Plan::new(&Self::MODEL).floats];
            type Solver = $solver;
        }
    };
}

variant!(Recycling, RecycledCg, basis: 4, basis_products: 4);
variant!(Gradients, Mfac, basis: 4);
variant!(GaussNewton, bissl_core::ConjugateGradient, curvature: Curvature::GaussNewton);
variant!(FewFrames, bissl_core::ConjugateGradient, product_batch: 4);

/// Number of products, and the final hash.
fn train<C: Configuration>(solver: <C::Solver as LinearSolver>::Settings) -> (u32, u64) {
    let digits = Digits::embedded();
    let of = Hyperparameters { damping: 1.0, ..Hyperparameters::DEFAULT };
    let settings = Settings::with(3, LENGTHS, &of, solver).unwrap();
    let mut simulated: SimulatedDevice<C, _, _> =
        SimulatedDevice::new(digits.flash(), Blocked, settings);
    let mut products = 0;
    loop {
        match simulated.tick().unwrap() {
            Tick::Idle => return (products, simulated.device.hash().unwrap()),
            Tick::Performed(exchange) => {
                products += u32::from(matches!(exchange.request, Request::Product { .. }));
            }
            _ => {}
        }
    }
}

#[test]
fn solvers_that_keep_vectors_train_on_the_device() {
    let cg = CgSettings::new(1e-3, 20).unwrap();
    let (plain, hash) = train::<DigitsDevice>(cg);
    let recycled = RecycledCgSettings::new(cg, 4, 8).unwrap();
    let (products, other) = train::<Recycling>(recycled);
    assert!(products < plain, "{products} products with recycling, {plain} without");
    assert_ne!(other, hash);
    let (products, _) = train::<Gradients>(MfacSettings::new(4, 0.01).unwrap());
    assert_eq!(products, 0, "m-FAC asks for none");
}

#[test]
fn other_products_train_on_the_device() {
    let cg = || CgSettings::new(1e-3, 20).unwrap();
    let hashes =
        [train::<DigitsDevice>(cg()), train::<GaussNewton>(cg()), train::<FewFrames>(cg())];
    assert!(hashes.iter().all(|(products, _)| *products > 0), "{hashes:?}");
    assert_ne!(hashes[0].1, hashes[1].1);
    assert_ne!(hashes[0].1, hashes[2].1);
}

#[test]
fn layers_in_flash_need_their_weights_and_stay_as_they_are() {
    let weights = small_digits_weights().unwrap();
    let settings = Settings::new(1, LENGTHS).unwrap().from_flash();
    let run = |digits: &Digits| {
        let mut simulated: SimulatedDevice<SmallDigitsDevice, _, _> =
            SimulatedDevice::new(digits.flash(), Blocked, settings);
        loop {
            match simulated.tick() {
                Ok(Tick::Idle) => return simulated.device.hash(),
                Ok(_) => {}
                Err(fault) => return Err(fault),
            }
        }
    };
    let hash = run(&Digits::embedded().with_weights(&weights)).unwrap();
    let needed = weights.len() as u32;
    assert_eq!(run(&Digits::embedded()), Err(Fault::WeightsMissing { found: 0, needed }));
    // Two weights of the layer in flash: the first, and the last one before the trained layers.
    for place in [0, 64 * 16 + 15] {
        let mut other = weights.clone();
        other[place] += 0.5;
        assert_ne!(run(&Digits::embedded().with_weights(&other)), Ok(hash), "weight {place}");
    }
}
