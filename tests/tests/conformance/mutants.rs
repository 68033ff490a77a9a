//! Each law finds the fault that it exists for.

use bissl_core::conformance::{self, Law, Outcome, Settings, Verdict};

use crate::broken::{Broken, Fault};
use crate::losses::{Logistic, Losses, Ridge};

/// Every fault, and the law that should find it.
const FAULTS: [(Fault, Law); 49] = [
    (Fault::ZeroMultiplies, Law::Zero),
    (Fault::CopyForgetsLast, Law::Copy),
    (Fault::CopyMoves, Law::Copy),
    (Fault::AxpbyIgnoresB, Law::Axpby),
    (Fault::AxpbyReadsX, Law::UnreadFactor),
    (Fault::AxpbyReadsY, Law::UnreadFactor),
    (Fault::AxpbyInTwoPasses, Law::AliasedAxpby),
    (Fault::DotsUnsymmetric, Law::DotsSymmetry),
    (Fault::DotsReversed, Law::DotsTogether),
    (Fault::DotsOfRegister, Law::DotsRepeat),
    (Fault::SegmentDotsInterleaved, Law::SegmentDots),
    (Fault::SegmentFactorsShifted, Law::SegmentAxpby),
    (Fault::SegmentFactorIsFirst, Law::SegmentAxpby),
    (Fault::BankDotsReversed, Law::BasisDots),
    (Fault::CombineForgetsB, Law::Combine),
    (Fault::CombineReadsY, Law::Combine),
    (Fault::SketchAdvances, Law::SketchRepeats),
    (Fault::SketchIgnoresIndex, Law::SketchVaries),
    (Fault::LowerAdvances, Law::LowerRepeats),
    (Fault::LowerFrozenForgetsHead, Law::LowerFrozen),
    (Fault::LowerFlipsCoordinate, Law::LowerDifferences),
    (Fault::LowerForgetsBias, Law::LowerDifferences),
    (Fault::LowerIsSum, Law::LowerDifferences),
    (Fault::LowerHeadHalved, Law::LowerHeadDifferences),
    (Fault::UpperAdvances, Law::UpperRepeats),
    (Fault::UpperFrozenWrites, Law::UpperFrozen),
    (Fault::UpperAtUpperNextBatch, Law::UpperAgree),
    (Fault::UpperAtUpperReadsLower, Law::UpperSeparate),
    (Fault::UpperForgetsSegment, Law::UpperDifferences),
    (Fault::UpperAtUpperDoubled, Law::UpperAtUpperDifferences),
    (Fault::UpperHeadNegated, Law::UpperHeadDifferences),
    (Fault::ProductUnsymmetric, Law::Symmetry),
    (Fault::ProductNormalised, Law::Linearity),
    (Fault::ProductAccumulates, Law::ProductRepeats),
    (Fault::LinearizeAdvances, Law::LinearizeRepeats),
    (Fault::ProductAdvances, Law::ProductPreserves),
    (Fault::UpperRelinearizes, Law::UpperPreserves),
    (Fault::ProductDoubled, Law::ProductDifferences),
    (Fault::ProductNegated, Law::ProductDifferences),
    (Fault::ProductMissesRankOne, Law::ProductDifferences),
    (Fault::ProductMissesRidge, Law::ProductDifferences),
    (Fault::CrossProductNegated, Law::CrossProductDifferences),
    (Fault::LowerWritesMomentum, Law::Untouched),
    (Fault::ProductWritesParameter, Law::Untouched),
    (Fault::UpperLossDrifts, Law::HypergradientRepeats),
    (Fault::LowerLossHidesNan, Law::NonFinite),
    (Fault::LowerGradientMasksNan, Law::NonFinite),
    (Fault::UpperHidesNan, Law::NonFinite),
    (Fault::ProductMasksNan, Law::NonFinite),
];

/// The verdict of `law` on a backend with `fault`.
fn verdict<L: Losses>(fault: Fault, law: Law, sketches: bool) -> Verdict {
    let settings = Settings { cross_product: L::GENERAL, ..Settings::DEFAULT };
    let mut problem = Broken::<L>::new(fault);
    problem.inner.sketches = sketches;
    match conformance::check(&mut problem, law, &settings, &mut [f32::NAN; 8]).unwrap() {
        Outcome::Judged(verdict) => verdict,
        other => panic!("{fault:?}: {other}"),
    }
}

fn every_fault_is_found(sketches: bool, skipped: &[Law]) {
    for (fault, law) in FAULTS.into_iter().filter(|(_, law)| !skipped.contains(law)) {
        let verdict = match law {
            Law::CrossProductDifferences => verdict::<Ridge>(fault, law, sketches),
            _ => verdict::<Logistic>(fault, law, sketches),
        };
        println!("{fault:?}: {verdict}");
        assert!(!verdict.holds(), "{fault:?}: {verdict}");
    }
}

#[test]
fn every_fault_is_found_by_the_law_meant_for_it() {
    every_fault_is_found(true, &[]);
}

/// Directions are then made of gradients and parameters.
#[test]
fn every_fault_is_found_without_sketches() {
    every_fault_is_found(false, &[Law::SketchRepeats, Law::SketchVaries]);
}

#[test]
fn every_law_has_a_fault() {
    // These two laws are about machines; `machines.rs` tests them.
    let machines = [Law::RefusedReply, Law::SameReplies];
    for law in Law::ALL.into_iter().filter(|law| !machines.contains(law)) {
        assert!(FAULTS.iter().any(|(_, meant)| *meant == law), "{law:?}");
    }
}
