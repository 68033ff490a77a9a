//! The problem under test: its operations, told apart by whether it may lack them, and what laws
//! share.

use super::{Law, ProductGradient, Settings};
use crate::{
    DriveError, Evaluation, Group, LowerObjective, Register, RegisterFile, UpperObjective,
};
use Register::{Direction, Parameter, Product, Residual, Solution};

/// Why a law was not measured.
pub(super) enum Stop<E> {
    /// What a problem must have has failed.
    Failed(DriveError<E>),
    /// The problem lacks something that it may lack.
    Unsupported(E),
}

/// A law's figure, or why there is none.
pub(super) type Figure<T, E> = Result<T, Stop<E>>;

/// Maps the error of something that a problem must have.
pub(super) fn required<T, E>(result: Result<T, E>) -> Figure<T, E> {
    result.map_err(|error| Stop::Failed(DriveError::Problem(error)))
}

/// Maps the error of something that a problem may lack.
pub(super) fn optional<T, E>(result: Result<T, E>) -> Figure<T, E> {
    result.map_err(Stop::Unsupported)
}

/// The registers that every problem has.
const WORK: [Register; 4] = [Solution, Residual, Direction, Product];

/// Maps the error of an operation on these registers.
fn on<T, E>(registers: &[Register], result: Result<T, E>) -> Figure<T, E> {
    if registers.iter().all(|register| WORK.contains(register)) {
        required(result)
    } else {
        optional(result)
    }
}

/// |difference|/scale; NaN where there is nothing to compare.
pub(super) fn ratio(difference: f32, scale: f32) -> f32 {
    libm::fabsf(difference) / scale
}

/// 0 for the same scalars, otherwise their distance relative to the first.
pub(super) fn apart(a: f32, b: f32) -> f32 {
    if a == b { 0.0 } else { ratio(a - b, if a == 0.0 { 1.0 } else { libm::fabsf(a) }) }
}

/// The larger one; NaN if either is.
pub(super) fn worst(a: f32, b: f32) -> f32 {
    if a.is_nan() || a > b { a } else { b }
}

/// 1/norm, and 0 for a vector that is 0: it then adds nothing.
pub(super) fn inverse(norm: f32) -> f32 {
    if norm == 0.0 { 0.0 } else { 1.0 / norm }
}

/// The head of a loss, and the register of its gradient.
pub(super) fn head(at: Evaluation) -> (Group, Register) {
    match at {
        Evaluation::Lower => (Group::PretextHead, Register::PretextHeadGradient),
        _ => (Group::DownstreamHead, Register::DownstreamHeadGradient),
    }
}

/// A problem while one law is measured.
pub(super) struct Probe<'a, P: RegisterFile> {
    pub(super) problem: &'a mut P,
    pub(super) settings: &'a Settings,
    pub(super) gradient: ProductGradient<P>,
    pub(super) scalars: &'a mut [f32],
}

impl<P: RegisterFile> Probe<'_, P> {
    pub(super) fn zero(&mut self, dst: Register) -> Figure<(), P::Error> {
        on(&[dst], self.problem.zero(dst))
    }

    pub(super) fn copy(&mut self, src: Register, dst: Register) -> Figure<(), P::Error> {
        on(&[src, dst], self.problem.copy(src, dst))
    }

    pub(super) fn axpby(
        &mut self,
        a: f32,
        x: Register,
        b: f32,
        y: Register,
    ) -> Figure<(), P::Error> {
        on(&[x, y], self.problem.axpby(a, x, b, y))
    }

    pub(super) fn dots<const N: usize>(
        &mut self,
        pairs: [(Register, Register); N],
    ) -> Figure<[f32; N], P::Error> {
        let mut scalars = [f32::NAN; N];
        let result = self.problem.dots(&pairs, &mut scalars);
        let work = |register| WORK.contains(register);
        let all_work = pairs.iter().all(|(x, y)| work(x) && work(y));
        if all_work {
            required(result)?
        } else {
            optional(result)?
        }
        Ok(scalars)
    }

    pub(super) fn dot(&mut self, x: Register, y: Register) -> Figure<f32, P::Error> {
        let [dot] = self.dots([(x, y)])?;
        Ok(dot)
    }

    pub(super) fn norm(&mut self, x: Register) -> Figure<f32, P::Error> {
        Ok(libm::sqrtf(self.dot(x, x)?))
    }

    /// Every entry of `dst` becomes NaN; `src` is any vector of its length.
    pub(super) fn poison(&mut self, src: Register, dst: Register) -> Figure<(), P::Error> {
        self.axpby(f32::NAN, src, 0.0, dst)
    }

    /// ‖x − y‖/‖x‖, leaving the difference in `y`.
    pub(super) fn distance(&mut self, x: Register, y: Register) -> Figure<f32, P::Error> {
        self.axpby(-1.0, x, 1.0, y)?;
        let (difference, norm) = (self.norm(y)?, self.norm(x)?);
        Ok(ratio(difference, norm))
    }

    /// Runs `law` with a copy of `parameter` in `kept`, and always puts it back.
    pub(super) fn keeping<T>(
        &mut self,
        parameter: Register,
        kept: Register,
        law: impl FnOnce(&mut Self) -> Figure<T, P::Error>,
    ) -> Figure<T, P::Error> {
        self.copy(parameter, kept)?;
        let result = law(self);
        self.copy(kept, parameter)?;
        result
    }
}

impl<P: LowerObjective + UpperObjective> Probe<'_, P> {
    /// The law's figure; [`Law::limit`] is what it is compared with.
    pub(super) fn measure(&mut self, law: Law) -> Figure<f32, P::Error> {
        match law {
            Law::Zero => self.zero_overwrites(),
            Law::Copy => self.copy_makes_equal(),
            Law::Axpby => self.axpby_is_linear(),
            Law::UnreadFactor => self.factor_zero_reads_nothing(),
            Law::AliasedAxpby => self.axpby_of_one_register(),
            Law::DotsSymmetry => self.dots_are_an_inner_product(),
            Law::DotsTogether => self.dots_travel_together(),
            Law::DotsRepeat => self.dots_repeat(),
            Law::SegmentDots => self.segments_add_up(),
            Law::SegmentAxpby => self.segments_have_factors(),
            Law::BasisDots => self.bank_dots(),
            Law::Combine => self.bank_combines(),
            Law::SketchRepeats => self.sketch_repeats(),
            Law::SketchVaries => self.sketch_varies(),
            Law::LowerRepeats => self.gradient_repeats(Evaluation::Lower),
            Law::LowerFrozen => self.frozen_backbone(Evaluation::Lower),
            Law::LowerDifferences => self.backbone_slope(Evaluation::Lower),
            Law::LowerHeadDifferences => self.head_slope(Evaluation::Lower),
            Law::UpperRepeats => self.gradient_repeats(Evaluation::UpperAtLower),
            Law::UpperFrozen => self.frozen_backbone(Evaluation::UpperAtLower),
            Law::UpperAgree => self.upper_evaluations_agree(),
            Law::UpperSeparate => self.upper_evaluations_are_separate(),
            Law::UpperDifferences => self.backbone_slope(Evaluation::UpperAtLower),
            Law::UpperAtUpperDifferences => self.backbone_slope(Evaluation::UpperAtUpper),
            Law::UpperHeadDifferences => self.head_slope(Evaluation::UpperAtLower),
            Law::Symmetry => self.product_is_symmetric(),
            Law::Linearity => self.product_is_linear(),
            Law::ProductRepeats => self.product_repeats(),
            Law::LinearizeRepeats => self.linearize_repeats(),
            Law::ProductPreserves => self.product_preserves_gradients(),
            Law::UpperPreserves => self.upper_gradient_preserves_products(),
            Law::ProductDifferences => self.product_differences(),
            Law::CrossProductDifferences => self.cross_product_differences(),
            Law::Untouched => self.parameters_and_momenta_untouched(),
            Law::HypergradientRepeats => self.hypergradient_repeats(),
            Law::NonFinite => self.nan_travels(),
            Law::RefusedReply | Law::SameReplies => self.protocol(law),
        }
    }

    /// Batch number `offset` of the kit.
    pub(super) fn index(&self, offset: u32) -> u32 {
        self.settings.index.wrapping_add(offset)
    }

    /// A gradient of backbone and head on batch `offset` of the kit; returns the loss.
    pub(super) fn evaluate(
        &mut self,
        at: Evaluation,
        offset: u32,
        dst: Register,
    ) -> Figure<f32, P::Error> {
        let result = self.ask(at, offset, Some(dst));
        if at == Evaluation::UpperAtUpper { optional(result) } else { required(result) }
    }

    /// The same of the head alone.
    pub(super) fn evaluate_frozen(&mut self, at: Evaluation, offset: u32) -> Figure<f32, P::Error> {
        optional(self.ask(at, offset, None))
    }

    /// [`evaluate`](Self::evaluate), or the problem's own error.
    pub(super) fn ask(
        &mut self,
        at: Evaluation,
        offset: u32,
        backbone: Option<Register>,
    ) -> Result<f32, P::Error> {
        let (index, (_, head)) = (self.index(offset), head(at));
        match at {
            Evaluation::Lower => self.problem.lower_gradient(index, backbone, head),
            _ => self.problem.upper_gradient(at, index, backbone, head),
        }
    }

    /// The lower gradient on the batch of the products.
    pub(super) fn evaluate_linearized(
        &mut self,
        offset: u32,
        dst: Register,
    ) -> Figure<f32, P::Error> {
        let (index, (_, head)) = (self.index(offset), head(Evaluation::Lower));
        required((self.gradient)(self.problem, index, Some(dst), head))
    }

    pub(super) fn linearize(&mut self, offset: u32) -> Figure<(), P::Error> {
        let index = self.index(offset);
        required(self.problem.linearize(index))
    }

    pub(super) fn product(&mut self, src: Register, dst: Register) -> Figure<(), P::Error> {
        required(self.problem.product(src, dst))
    }

    /// A vector with nothing special about it, of the backbone's length; the same for the same
    /// `number` at the same parameters. Overwrites `scratch` and ends a linearisation.
    pub(super) fn draw(
        &mut self,
        number: u32,
        dst: Register,
        scratch: Register,
    ) -> Figure<(), P::Error> {
        if self.problem.sketch(dst, self.settings.sketch.wrapping_add(number)).is_ok() {
            return Ok(());
        }
        // Three weights a draw: independent also where all batches are the same.
        let (by_upper, by_parameter) = match number % 3 {
            0 => (1.0, 0.5),
            1 => (-0.6, 0.8),
            _ => (0.3, -0.7),
        };
        self.evaluate(Evaluation::Lower, number, dst)?;
        self.evaluate(Evaluation::UpperAtLower, number, scratch)?;
        let (lower, upper) = (self.norm(dst)?, self.norm(scratch)?);
        self.axpby(by_upper * inverse(upper), scratch, inverse(lower), dst)?;
        let theta = Parameter(Group::LowerBackbone);
        if let Ok(norm) = self.norm(theta) {
            self.axpby(by_parameter * inverse(norm), theta, 1.0, dst)?;
        }
        Ok(())
    }
}
