//! The effect of a port's rounding on accuracies and hypergradients.

use bissl_core::{
    CgSettings, ConfigError, Coupling, DriveError, Group, Hypergradient, HypergradientSettings,
    LowerObjective, Progress, Register, RegisterFile, SolverSettings, Training, drive,
};
use bissl_firmware::{
    Compact, DigitsDevice, Fault, FrameSource, Hyperparameters, Kernels, Program, SCALARS, Session,
    Settings, Stage, Tick,
};
use serde::Serialize;

use super::{BitsOutOfRange, FixedPoint};
use crate::{Comparison, Digits, Path, Stopped, compare_with};

/// The distance of a port's hypergradient from that of f32, in the same state and on the same
/// batches.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct HypergradientError {
    /// ‖G − G₃₂‖/‖G₃₂‖ of the whole hypergradient, with the direct term.
    pub whole: f32,
    /// The relative distance of the second-order correction alone, which the solve adds to the
    /// gradient at θ_P.
    pub correction: f32,
    /// ‖correction‖/‖G₃₂‖ in f32: the second-order part of the hypergradient.
    pub share: f32,
    /// Products of the solve in f32.
    pub products_exact: u32,
    /// Products of the port's solve.
    pub products: u32,
}

/// Figures of one seed.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct PortSeed {
    /// Seed of weights, batch order and augmentation.
    pub seed: u64,
    /// Accuracies of both paths, trained with the port from the first step.
    pub accuracies: Comparison,
    /// The error after pretraining and warm-up in f32; `None` for f32 itself.
    pub hypergradient: Option<HypergradientError>,
}

/// Figures of one kind of kernels.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PortReport {
    /// Bits of an operand of a matrix product; `None` for f32.
    pub bits: Option<u8>,
    /// Figures of each seed.
    pub seeds: Vec<PortSeed>,
}

/// Why there is no report.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
pub enum PortError {
    /// There are no operands with this number of bits.
    #[error(transparent)]
    Bits(#[from] BitsOutOfRange),
    /// Settings out of range.
    #[error(transparent)]
    Settings(#[from] ConfigError),
    /// The device stopped during its training.
    #[error(transparent)]
    Stopped(#[from] Stopped),
    /// A hypergradient could not be computed.
    #[error("hypergradient: {0}")]
    Hypergradient(DriveError<Fault>),
}

impl From<Fault> for PortError {
    fn from(fault: Fault) -> Self {
        Self::Hypergradient(DriveError::Problem(fault))
    }
}

type Device = Program<DigitsDevice>;

/// λ, δ, tolerance and most products of the solve, as [`Settings::new`] has them.
const PROXIMITY: f32 = Hyperparameters::DEFAULT.proximity;
const DAMPING: f32 = Hyperparameters::DEFAULT.damping;
const TOLERANCE: f32 = 1e-2;
const PRODUCTS_MAX: u16 = 5;

/// Trains the shipped device on the digits, with f32 and with fixed-point kernels of each width in
/// `bits`, and measures their hypergradients.
///
/// # Errors
/// A width is out of range, or a device stopped.
pub fn port_report(
    digits: &Digits,
    bits: &[u8],
    settings: &[Settings],
) -> Result<Vec<PortReport>, PortError> {
    let ports = bits.iter().map(|bits| FixedPoint::new(*bits)).collect::<Result<Vec<_>, _>>()?;
    let mut exact = PortReport { bits: None, seeds: vec![] };
    let mut reports: Vec<_> =
        bits.iter().map(|bits| PortReport { bits: Some(*bits), seeds: vec![] }).collect();
    for settings in settings {
        let accuracies = train(digits, &Compact, settings)?;
        exact.seeds.push(PortSeed { seed: settings.seed, accuracies, hypergradient: None });
        let aligned = before_alignment(digits, *settings)?;
        for (report, port) in reports.iter_mut().zip(&ports) {
            let accuracies = train(digits, port, settings)?;
            let hypergradient = Some(error_of(&aligned, digits, settings, &mut port.clone())?);
            report.seeds.push(PortSeed { seed: settings.seed, accuracies, hypergradient });
        }
    }
    reports.insert(0, exact);
    Ok(reports)
}

fn train<K: Kernels<f32> + Clone>(
    digits: &Digits,
    kernels: &K,
    settings: &Settings,
) -> Result<Comparison, Stopped> {
    compare_with::<DigitsDevice, _>(digits, kernels.clone(), *settings, &mut |_, _| {})
}

/// The device at the start of the bilevel stage, trained in f32.
fn before_alignment(digits: &Digits, settings: Settings) -> Result<Device, Stopped> {
    let frames = digits.flash();
    let mut device = Device::new();
    device.begin(settings);
    loop {
        match device.tick(&frames, &mut Compact) {
            Ok(Tick::Begun(Stage::Align)) => return Ok(device),
            Ok(_) => {}
            Err(fault) => {
                return Err(Stopped { path: Path::Aligned, tick: device.ticks(), fault });
            }
        }
    }
}

/// The term that is computed.
#[derive(Clone, Copy)]
enum Term {
    Whole,
    Correction,
}

/// Registers of the backbone's length that no hypergradient uses.
const EXACT: Register = Register::Momentum(Group::LowerBackbone);
const KEPT: Register = Register::Momentum(Group::UpperBackbone);

fn error_of(
    device: &Device,
    digits: &Digits,
    settings: &Settings,
    port: &mut FixedPoint,
) -> Result<HypergradientError, PortError> {
    let frames = digits.flash();
    let mut figures = [(0.0, 0.0, 0, 0); 2];
    for (figure, term) in figures.iter_mut().zip([Term::Whole, Term::Correction]) {
        let mut device = device.clone();
        let mut compact = Compact;
        let mut session = device.session(settings, &frames, &mut compact);
        let products_exact = compute(&mut session, term)?;
        session.copy(KEPT, EXACT)?;
        let mut session = device.session(settings, &frames, port);
        let products = compute(&mut session, term)?;
        session.axpby(-1.0, EXACT, 1.0, KEPT)?;
        let mut squares = [0.0; 2];
        session.dots(&[(KEPT, KEPT), (EXACT, EXACT)], &mut squares)?;
        let [error, norm] = squares.map(f32::sqrt);
        *figure = (error, norm, products_exact, products);
    }
    let [whole, correction] = figures;
    Ok(HypergradientError {
        whole: whole.0 / whole.1,
        correction: correction.0 / correction.1,
        share: correction.1 / whole.1,
        products_exact: whole.2,
        products: whole.3,
    })
}

/// Computes one hypergradient of the first alternation's first upper step into [`KEPT`]; returns
/// the products of its solve.
fn compute<S: FrameSource, K: Kernels<f32>>(
    session: &mut Session<'_, DigitsDevice, S, K>,
    term: Term,
) -> Result<u32, PortError> {
    let direct_weight = match term {
        Term::Whole => 1.0,
        Term::Correction => 0.0,
    };
    session.linearize(0)?;
    let solver = SolverSettings::ConjugateGradient(CgSettings::new(TOLERANCE, PRODUCTS_MAX)?);
    let products = solve(session, solver, direct_weight)?;
    session.copy(Register::Solution, KEPT)?;
    if let Term::Correction = term {
        // Without a solve the implicit term is the gradient at θ_P.
        solve(session, SolverSettings::Identity, direct_weight)?;
        session.axpby(-1.0, Register::Solution, 1.0, KEPT)?;
    }
    Ok(products)
}

fn solve<S: FrameSource, K: Kernels<f32>>(
    session: &mut Session<'_, DigitsDevice, S, K>,
    solver: SolverSettings,
    direct_weight: f32,
) -> Result<u32, PortError> {
    let coupling = Coupling::Proximity { weight: PROXIMITY };
    let settings = HypergradientSettings::new(coupling, DAMPING, direct_weight, solver)?;
    let mut machine = Hypergradient::new(settings, 0);
    loop {
        let progress = drive(&mut machine, &mut Training(session), &mut [0.0; SCALARS])
            .map_err(PortError::Hypergradient)?;
        if let Progress::Done(record) = progress {
            return Ok(record.solve.products.into());
        }
    }
}
