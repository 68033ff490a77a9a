//! Settings outside their range build no machine, and the error names them.

use bissl_core::{
    AlternationSettings, BatchOrder, CgSettings, ConfigError, ConjugateGradient, Coupling,
    DescentSettings, Evaluation, HypergradientSettings, Level, Optimizer, Permutation, Schedule,
    SolverSettings, Stream,
};

use crate::protocol::{SGD, level};

/// The setting that was refused.
fn name<T: std::fmt::Debug>(result: Result<T, ConfigError>) -> &'static str {
    name_of(result.unwrap_err())
}

fn name_of(error: ConfigError) -> &'static str {
    match error {
        ConfigError::OutOfRange { name, .. } | ConfigError::Zero { name } => name,
        ConfigError::NeedsProximity { solver } => solver,
    }
}

/// Not allowed where a value has to be finite and at least 0.
const NOT_NON_NEGATIVE: [f32; 5] =
    [-1.0, -f32::MIN_POSITIVE, f32::NAN, f32::INFINITY, f32::NEG_INFINITY];

#[test]
fn conjugate_gradients_need_a_tolerance_below_one_and_an_iteration() {
    for tolerance in NOT_NON_NEGATIVE.into_iter().chain([1.0, 2.0]) {
        assert_eq!(name(CgSettings::new(tolerance, 5)), "tolerance");
    }
    assert_eq!(CgSettings::new(0.5, 0), Err(ConfigError::Zero { name: "iterations" }));
    for (tolerance, limit) in [(0.0, 1), (0.999, u16::MAX)] {
        assert!(CgSettings::new(tolerance, limit).is_ok());
    }
}

#[test]
fn hypergradients_need_a_proximity_and_sane_weights() {
    let build = |weight, damping, direct| {
        let coupling = Coupling::Proximity { weight };
        HypergradientSettings::new(coupling, damping, direct, SolverSettings::Identity)
    };
    let general = |damping, direct| {
        HypergradientSettings::new(Coupling::General, damping, direct, SolverSettings::Identity)
    };
    for bad in NOT_NON_NEGATIVE {
        assert_eq!(name(build(bad, 1.0, 1.0)), "proximity");
        assert_eq!(name(build(1.0, bad, 1.0)), "damping");
        assert_eq!(name(build(1.0, 1.0, bad)), "direct_weight");
        assert_eq!(name(general(bad, 1.0)), "damping");
        assert_eq!(name(general(1.0, bad)), "direct_weight");
    }
    assert_eq!(name(build(0.0, 1.0, 1.0)), "proximity");
    assert_eq!(name(build(f32::MAX, f32::MAX, 1.0)), "damping", "λ + δ has to be finite");
    assert_eq!(build(0.25, 0.0, 0.0).unwrap().proximity(), Some(0.25));
    assert_eq!(general(0.0, 0.0).unwrap().proximity(), None);
    assert!(general(f32::MAX, 0.0).is_ok());
}

#[test]
fn optimizers_need_coefficients_in_range() {
    let sgd = |momentum, weight_decay| Optimizer::Sgd { momentum, weight_decay }.validated();
    let lars = |momentum, weight_decay, trust| {
        Optimizer::Lars { momentum, weight_decay, trust }.validated()
    };
    let adamw = |beta1, beta2, epsilon, weight_decay| {
        Optimizer::Adamw { beta1, beta2, epsilon, weight_decay }.validated()
    };
    for bad in NOT_NON_NEGATIVE {
        assert_eq!(name(sgd(bad, 0.0)), "momentum");
        assert_eq!(name(sgd(0.0, bad)), "weight_decay");
        assert_eq!(name(lars(bad, 0.0, 0.1)), "momentum");
        assert_eq!(name(lars(0.0, bad, 0.1)), "weight_decay");
        assert_eq!(name(lars(0.0, 0.0, bad)), "trust");
        assert_eq!(name(adamw(bad, 0.9, 0.1, 0.0)), "beta1");
        assert_eq!(name(adamw(0.9, bad, 0.1, 0.0)), "beta2");
        assert_eq!(name(adamw(0.9, 0.9, bad, 0.0)), "epsilon");
        assert_eq!(name(adamw(0.9, 0.9, 0.1, bad)), "weight_decay");
    }
    assert_eq!(name(sgd(1.0, 0.0)), "momentum");
    assert_eq!(name(lars(0.5, 0.0, 0.0)), "trust");
    assert_eq!(name(adamw(0.5, 0.5, 0.0, 0.0)), "epsilon");
    assert_eq!(sgd(0.0, 0.0), Ok(Optimizer::Sgd { momentum: 0.0, weight_decay: 0.0 }));
    assert!(lars(0.0, 0.0, 0.1).is_ok() && adamw(0.0, 0.0, 0.1, 0.0).is_ok());
}

#[test]
fn schedules_need_a_rate_steps_and_a_warm_up_that_fits() {
    for bad in NOT_NON_NEGATIVE.into_iter().chain([0.0]) {
        assert_eq!(name(Schedule::new(bad, 0, 5, 0.5)), "learning_rate");
        assert_eq!(name(Schedule::constant(bad, 5)), "learning_rate");
    }
    for bad in NOT_NON_NEGATIVE.into_iter().chain([1.001]) {
        assert_eq!(name(Schedule::new(1.0, 0, 5, bad)), "floor");
    }
    assert_eq!(name(Schedule::new(1.0, 0, 0, 0.5)), "steps");
    assert_eq!(name(Schedule::new(1.0, 6, 5, 0.5)), "warm_up");
    assert!(Schedule::new(1.0, 5, 5, 0.0).is_ok());
}

#[test]
fn descent_needs_a_valid_optimizer_and_a_positive_limit() {
    let schedule = Schedule::constant(0.1, 2).unwrap();
    let build =
        |optimizer, clip| DescentSettings::new(Evaluation::Lower, optimizer, schedule, clip);
    for bad in NOT_NON_NEGATIVE.into_iter().chain([0.0]) {
        assert_eq!(name(build(SGD, Some(bad))), "clip");
    }
    let bad = Optimizer::Sgd { momentum: 1.0, weight_decay: 0.0 };
    assert_eq!(name(build(bad, None)), "momentum");
    assert!(build(SGD, None).is_ok());
}

fn hypergradient(coupling: Coupling) -> HypergradientSettings {
    HypergradientSettings::new(coupling, 0.0, 0.0, SolverSettings::Identity).unwrap()
}

#[test]
fn alternations_need_counts_valid_levels_and_a_proximity() {
    let proximity = hypergradient(Coupling::Proximity { weight: 1.0 });
    let good = level(SGD, 2, 1);
    let build = |count, lower, upper| AlternationSettings::new(count, lower, upper, proximity);
    assert_eq!(build(0, good, good), Err(ConfigError::Zero { name: "alternations" }));
    let none = Level { steps: 0, ..good };
    assert_eq!(build(1, none, good), Err(ConfigError::Zero { name: "lower_steps" }));
    assert_eq!(build(1, good, none), Err(ConfigError::Zero { name: "upper_steps" }));
    let bad = Level { clip: Some(-1.0), ..good };
    assert_eq!(name(build(1, bad, good)), "clip");
    assert_eq!(name(build(1, good, bad)), "clip");
    let general = hypergradient(Coupling::General);
    assert_eq!(name(AlternationSettings::new(1, good, good, general)), "proximity");
}

/// Found while this kit was written: the square of the number of alternations was limited instead.
#[test]
fn only_the_total_number_of_steps_limits_the_alternations() {
    let proximity = hypergradient(Coupling::Proximity { weight: 1.0 });
    let of = |steps| Level { steps, ..level(SGD, 1, 1) };
    assert!(AlternationSettings::new(100_000, of(1), of(1), proximity).is_ok());
    assert!(AlternationSettings::new(1 << 16, of((1 << 16) - 1), of(1), proximity).is_ok());
    for (lower, upper, expected) in [(1 << 16, 1, "lower_steps"), (1, 1 << 16, "upper_steps")] {
        let result = AlternationSettings::new(1 << 16, of(lower), of(upper), proximity);
        assert_eq!(name(result), expected);
    }
}

/// A level of the stage below, as a program writes it into a constant.
const fn constant_level(steps: u32) -> Result<Level, ConfigError> {
    let optimizer = Optimizer::Sgd { momentum: 0.9, weight_decay: 0.01 };
    match Schedule::new(0.1, 1, 6, 0.01) {
        Ok(schedule) => Ok(Level { steps, optimizer, schedule, clip: Some(0.5) }),
        Err(error) => Err(error),
    }
}

/// A stage of two alternations, built when this is compiled.
const fn stage(
    coupling: Coupling,
    lower_steps: u32,
) -> Result<AlternationSettings<ConjugateGradient>, ConfigError> {
    let (Ok(solver), Ok(lower), Ok(upper)) =
        (CgSettings::new(0.25, 5), constant_level(lower_steps), constant_level(3))
    else {
        panic!("the solver and the rates are in range")
    };
    match HypergradientSettings::with_conjugate_gradient(coupling, 0.5, 1.0, solver) {
        Ok(of) => AlternationSettings::with_conjugate_gradient(2, lower, upper, of),
        Err(error) => Err(error),
    }
}

#[test]
fn a_stage_in_a_constant_is_the_one_that_is_made_when_a_program_runs() {
    const BY_PROXIMITY: Coupling = Coupling::Proximity { weight: 0.25 };
    const STAGE: AlternationSettings<ConjugateGradient> = match stage(BY_PROXIMITY, 3) {
        Ok(settings) => settings,
        Err(_) => panic!("settings in range"),
    };
    let solver = CgSettings::new(0.25, 5).unwrap();
    let of = HypergradientSettings::with_solver(BY_PROXIMITY, 0.5, 1.0, solver).unwrap();
    assert_eq!(AlternationSettings::new(2, level(SGD, 3, 2), level(SGD, 3, 2), of), Ok(STAGE));
}

#[test]
fn constants_refuse_what_programs_refuse() {
    const NO_STEPS: Result<AlternationSettings<ConjugateGradient>, ConfigError> =
        stage(Coupling::Proximity { weight: 0.25 }, 0);
    const NO_PROXIMITY: Result<AlternationSettings<ConjugateGradient>, ConfigError> =
        stage(Coupling::General, 3);
    assert_eq!((name(NO_STEPS), name(NO_PROXIMITY)), ("lower_steps", "proximity"));
    let solver = CgSettings::new(0.25, 5).unwrap();
    let weights = [-1.0, 0.0, f32::NAN, f32::INFINITY, f32::MAX, 0.5];
    for (weight, damping, direct) in weights
        .into_iter()
        .flat_map(|w| weights.map(|d| (w, d)))
        .flat_map(|(w, d)| weights.map(|g| (w, d, g)))
    {
        for coupling in [Coupling::Proximity { weight }, Coupling::General] {
            let constant = HypergradientSettings::with_conjugate_gradient;
            let program = HypergradientSettings::<ConjugateGradient>::with_solver;
            let [constant, program] = [constant, program]
                .map(|build| build(coupling, damping, direct, solver).map_err(name_of));
            assert_eq!(constant, program, "{coupling:?}, {damping}, {direct}");
        }
    }
}

#[test]
fn batches_need_items() {
    let stream = Stream::new(1, 1);
    assert_eq!(name(BatchOrder::new(stream, 5, 0)), "batch");
    assert_eq!(name(BatchOrder::new(stream, 5, 6)), "batch");
    assert!(BatchOrder::new(stream, 5, 5).is_ok());
    assert_eq!(name(Permutation::new(stream, 0, 0)), "len");
}
