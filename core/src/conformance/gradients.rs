//! Laws of the gradients that need no differences.

use super::probe::{Figure, Probe, apart, head, inverse, ratio, worst};
use crate::{Evaluation, Group, LowerObjective, Register, UpperObjective};
use Register::{Direction, Momentum, Parameter, Product, Residual, SecondMoment, Solution};

/// All groups.
const GROUPS: [Group; 4] =
    [Group::LowerBackbone, Group::PretextHead, Group::UpperBackbone, Group::DownstreamHead];

/// What is kept of a head's gradient, for which there is no second register: its square and its dot
/// with the head's parameters. `None` where the problem has no head.
type HeadPrint = Option<[f32; 2]>;

/// 0 for the same prints.
fn heads_apart(a: HeadPrint, b: HeadPrint) -> f32 {
    match (a, b) {
        (Some([a, c]), Some([b, d])) => worst(apart(a, b), apart(c, d)),
        (None, None) => 0.0,
        _ => f32::NAN,
    }
}

impl<P: LowerObjective + UpperObjective> Probe<'_, P> {
    fn head_print(&mut self, at: Evaluation) -> HeadPrint {
        let (group, gradient) = head(at);
        self.dots([(gradient, gradient), (gradient, Parameter(group))]).ok()
    }

    pub(super) fn gradient_repeats(&mut self, at: Evaluation) -> Figure<f32, P::Error> {
        let first = self.evaluate(at, 0, Solution)?;
        let first_head = self.head_print(at);
        self.evaluate(at, 1, Residual)?;
        self.poison(Solution, Residual)?;
        let again = self.evaluate(at, 0, Residual)?;
        let heads = heads_apart(first_head, self.head_print(at));
        let backbones = self.distance(Solution, Residual)?;
        Ok(worst(worst(apart(first, again), heads), backbones))
    }

    pub(super) fn frozen_backbone(&mut self, at: Evaluation) -> Figure<f32, P::Error> {
        let (group, gradient) = head(at);
        let pairs = [(gradient, gradient), (gradient, Parameter(group))];
        // The work registers hold one vector each, which the frozen gradient must leave alone.
        self.draw(1, Solution, Direction)?;
        for register in [Residual, Direction, Product] {
            self.copy(Solution, register)?;
        }
        let work = [Solution, Residual, Direction, Product].map(|register| (register, register));
        let before = self.dots(work)?;
        // Another batch, so that the head's gradient is not there already.
        self.evaluate_frozen(at, 1)?;
        let loss = self.evaluate_frozen(at, 0)?;
        let [square, along] = self.dots(pairs)?;
        let mut measured = 0.0;
        for (before, after) in before.into_iter().zip(self.dots(work)?) {
            measured = worst(measured, apart(before, after));
        }
        let whole = self.evaluate(at, 0, Residual)?;
        let [expected, expected_along] = self.dots(pairs)?;
        let size = libm::sqrtf(expected) * self.norm(Parameter(group))?;
        // Parameters of size 0 have no dot that could be wrong.
        let along = if size == 0.0 { 0.0 } else { ratio(along - expected_along, size) };
        let heads = worst(ratio(square - expected, expected), along);
        Ok(worst(worst(measured, apart(whole, loss)), heads))
    }

    pub(super) fn upper_evaluations_agree(&mut self) -> Figure<f32, P::Error> {
        let (lower, upper) = (Parameter(Group::LowerBackbone), Parameter(Group::UpperBackbone));
        self.keeping(upper, Solution, |probe| {
            probe.copy(lower, upper)?;
            let at_lower = probe.evaluate(Evaluation::UpperAtLower, 0, Residual)?;
            let head_at_lower = probe.head_print(Evaluation::UpperAtLower);
            let at_upper = probe.evaluate(Evaluation::UpperAtUpper, 0, Direction)?;
            let heads = heads_apart(head_at_lower, probe.head_print(Evaluation::UpperAtUpper));
            let backbones = probe.distance(Residual, Direction)?;
            Ok(worst(worst(apart(at_lower, at_upper), heads), backbones))
        })
    }

    pub(super) fn upper_evaluations_are_separate(&mut self) -> Figure<f32, P::Error> {
        let cases = [
            (Evaluation::UpperAtLower, Group::UpperBackbone),
            (Evaluation::UpperAtUpper, Group::LowerBackbone),
        ];
        let mut measured = 0.0;
        for (at, other) in cases {
            let figure = self.keeping(Parameter(other), Solution, |probe| {
                let before = probe.evaluate(at, 0, Residual)?;
                let factor = inverse(probe.norm(Residual)?);
                probe.axpby(factor, Residual, 1.0, Parameter(other))?;
                let after = probe.evaluate(at, 0, Direction)?;
                Ok(worst(apart(before, after), probe.distance(Residual, Direction)?))
            })?;
            measured = worst(measured, figure);
        }
        Ok(measured)
    }

    /// Squares of all parameters and optimiser states that there are.
    fn state_prints(&mut self) -> [[Option<f32>; 3]; 4] {
        GROUPS.map(|group| {
            [Parameter(group), Momentum(group), SecondMoment(group)]
                .map(|register| self.dot(register, register).ok())
        })
    }

    pub(super) fn parameters_and_momenta_untouched(&mut self) -> Figure<f32, P::Error> {
        self.draw(0, Solution, Direction)?;
        let theta = Parameter(Group::LowerBackbone);
        let theta_sq = self.dot(theta, theta)?;
        let before = self.state_prints();
        self.evaluate(Evaluation::Lower, 0, Residual)?;
        self.linearize(0)?;
        self.product(Solution, Direction)?;
        self.evaluate(Evaluation::UpperAtLower, 0, Residual)?;
        // Where the problem lacks it there is nothing to look at.
        let _ = self.evaluate(Evaluation::UpperAtUpper, 0, Residual);
        let mut measured = ratio(0.0, theta_sq);
        let after = self.state_prints();
        for (before, after) in before.iter().flatten().zip(after.iter().flatten()) {
            measured = match (before, after) {
                // What has never been written may be NaN, as long as it stays so.
                (Some(a), Some(b)) if a.to_bits() == b.to_bits() => measured,
                (Some(a), Some(b)) => worst(measured, apart(*a, *b)),
                (None, None) => measured,
                _ => f32::NAN,
            };
        }
        Ok(measured)
    }
}
