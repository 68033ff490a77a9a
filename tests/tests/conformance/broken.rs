//! Backends that are correct except for one fault.

use bissl_core::{
    AdamCoefficients, Bank, Evaluation, Group, LowerObjective, Register, RegisterFile,
    UpperObjective,
};

use crate::arrays::{Arrays, Missing};
use crate::losses::Losses;

/// The fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    ZeroMultiplies,
    CopyForgetsLast,
    CopyMoves,
    AxpbyIgnoresB,
    AxpbyReadsX,
    AxpbyReadsY,
    AxpbyInTwoPasses,
    DotsUnsymmetric,
    DotsReversed,
    DotsOfRegister,
    SegmentDotsInterleaved,
    SegmentFactorsShifted,
    SegmentFactorIsFirst,
    BankDotsReversed,
    CombineForgetsB,
    CombineReadsY,
    SketchAdvances,
    SketchIgnoresIndex,
    LowerAdvances,
    LowerFrozenForgetsHead,
    LowerFlipsCoordinate,
    LowerForgetsBias,
    LowerIsSum,
    LowerHeadHalved,
    UpperAdvances,
    UpperFrozenWrites,
    UpperAtUpperNextBatch,
    UpperAtUpperReadsLower,
    UpperForgetsSegment,
    UpperAtUpperDoubled,
    UpperHeadNegated,
    ProductUnsymmetric,
    ProductNormalised,
    ProductAccumulates,
    LinearizeAdvances,
    ProductAdvances,
    UpperRelinearizes,
    ProductDoubled,
    ProductNegated,
    ProductMissesRankOne,
    ProductMissesRidge,
    CrossProductNegated,
    LowerWritesMomentum,
    ProductWritesParameter,
    UpperLossDrifts,
    LowerLossHidesNan,
    LowerGradientMasksNan,
    UpperHidesNan,
    ProductMasksNan,
}

/// A correct backend with one fault.
pub(crate) struct Broken<L> {
    pub(crate) inner: Arrays<L, f64>,
    pub(crate) fault: Fault,
    /// Number of calls that the fault counts.
    count: u32,
}

impl<L: Losses> Broken<L> {
    pub(crate) fn new(fault: Fault) -> Self {
        Self { inner: Arrays::whole(), fault, count: 0 }
    }

    fn is(&self, fault: Fault) -> bool {
        self.fault == fault
    }

    /// Number of earlier calls, if this is the fault that counts.
    fn counted(&mut self, fault: Fault) -> u32 {
        let before = self.count;
        self.count += u32::from(self.is(fault));
        before
    }

    fn change(
        &mut self,
        register: Register,
        change: impl FnOnce(&mut Vec<f32>),
    ) -> Result<(), Missing> {
        let mut contents = self.inner.read(register)?.to_vec();
        change(&mut contents);
        self.inner.write(register, contents)
    }

    fn scale(&mut self, register: Register, factor: f32) -> Result<(), Missing> {
        self.change(register, |contents| contents.iter_mut().for_each(|x| *x *= factor))
    }
}

fn fill(range: std::ops::Range<usize>) -> impl FnOnce(&mut Vec<f32>) {
    move |contents| contents[range].fill(0.0)
}

/// What `max(x, 0)` written as `x > 0` does to a NaN.
fn mask(contents: &mut [f32]) {
    contents.iter_mut().filter(|x| x.is_nan()).for_each(|x| *x = 0.0);
}

impl<L: Losses> RegisterFile for Broken<L> {
    type Error = Missing;

    fn zero(&mut self, dst: Register) -> Result<(), Missing> {
        if self.is(Fault::ZeroMultiplies) { self.scale(dst, 0.0) } else { self.inner.zero(dst) }
    }

    fn copy(&mut self, src: Register, dst: Register) -> Result<(), Missing> {
        let last = self.inner.read(dst)?.last().copied();
        self.inner.copy(src, dst)?;
        match (self.fault, last) {
            (Fault::CopyForgetsLast, Some(last)) => {
                self.change(dst, |contents| *contents.last_mut().unwrap() = last)
            }
            (Fault::CopyMoves, _) => self.change(src, |contents| contents[0] = 0.0),
            _ => Ok(()),
        }
    }

    fn axpby(&mut self, a: f32, x: Register, b: f32, y: Register) -> Result<(), Missing> {
        let (left, right) = self.inner.pair(x, y)?;
        let right = right.to_vec();
        let reads = |factor, register: &[f32]| {
            let term = |x: &f32| if factor == 0.0 { 0.0 * x } else { 0.0 };
            register.iter().map(term).collect::<Vec<f32>>()
        };
        let by_x = reads(a, left);
        let by_y = reads(b, &right);
        match self.fault {
            Fault::AxpbyIgnoresB if b != 0.0 => self.inner.axpby(a, x, 1.0, y),
            Fault::AxpbyInTwoPasses if x == y => {
                self.scale(y, b)?;
                self.scale(y, 1.0 + a)
            }
            fault => {
                self.inner.axpby(a, x, b, y)?;
                self.change(y, |contents| {
                    for ((y, by_x), by_y) in contents.iter_mut().zip(by_x).zip(by_y) {
                        match fault {
                            Fault::AxpbyReadsX => *y += by_x,
                            Fault::AxpbyReadsY => *y += by_y,
                            _ => {}
                        }
                    }
                })
            }
        }
    }

    fn dots(&mut self, pairs: &[(Register, Register)], scalars: &mut [f32]) -> Result<(), Missing> {
        self.inner.dots(pairs, scalars)?;
        match self.fault {
            Fault::DotsReversed => scalars.reverse(),
            Fault::DotsUnsymmetric => {
                for ((x, y), scalar) in pairs.iter().zip(scalars) {
                    let (x, y) = self.inner.pair(*x, *y)?;
                    *scalar += 0.01 * x[0] * y[1];
                }
            }
            // The order of the sum depends on the vector's place in memory.
            Fault::DotsOfRegister => {
                for ((x, y), scalar) in pairs.iter().zip(scalars) {
                    if *x == Register::Direction {
                        let (x, y) = self.inner.pair(*x, *y)?;
                        *scalar = x.iter().zip(y).rev().map(|(x, y)| x * y).sum();
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn segment_dots(
        &mut self,
        pairs: &[(Register, Register)],
        scalars: &mut [f32],
    ) -> Result<u32, Missing> {
        let count = self.inner.segment_dots(pairs, scalars)?;
        if self.is(Fault::SegmentDotsInterleaved) {
            let right = scalars.to_vec();
            for (i, right) in right.iter().take(count as usize * pairs.len()).enumerate() {
                let (pair, segment) = (i / count as usize, i % count as usize);
                scalars[segment * pairs.len() + pair] = *right;
            }
        }
        Ok(count)
    }

    fn segment_axpby(
        &mut self,
        scalars: &[f32],
        x: Register,
        b: f32,
        y: Register,
    ) -> Result<(), Missing> {
        let mut factors = scalars.to_vec();
        match self.fault {
            Fault::SegmentFactorsShifted => factors.rotate_left(1),
            Fault::SegmentFactorIsFirst => factors.fill(scalars[0]),
            _ => {}
        }
        self.inner.segment_axpby(&factors, x, b, y)
    }

    fn adam(&mut self, group: Group, g: Register, c: &AdamCoefficients) -> Result<(), Missing> {
        self.inner.adam(group, g, c)
    }

    fn basis_dots(
        &mut self,
        pairs: &[(Register, Register)],
        bank: Bank,
        x: Register,
        scalars: &mut [f32],
    ) -> Result<(), Missing> {
        self.inner.basis_dots(pairs, bank, x, scalars)?;
        if self.is(Fault::BankDotsReversed) {
            scalars[pairs.len()..].reverse();
        }
        Ok(())
    }

    fn combine(&mut self, bank: Bank, scalars: &[f32], b: f32, y: Register) -> Result<(), Missing> {
        match self.fault {
            Fault::CombineForgetsB if b != 0.0 => self.inner.combine(bank, scalars, 1.0, y),
            Fault::CombineReadsY => {
                self.scale(y, b)?;
                self.inner.combine(bank, scalars, 1.0, y)
            }
            _ => self.inner.combine(bank, scalars, b, y),
        }
    }

    fn sketch(&mut self, dst: Register, index: u32) -> Result<(), Missing> {
        let index = index + self.counted(Fault::SketchAdvances);
        self.inner.sketch(dst, if self.is(Fault::SketchIgnoresIndex) { 0 } else { index })
    }
}

impl<L: Losses> LowerObjective for Broken<L> {
    fn lower_gradient(
        &mut self,
        index: u32,
        backbone: Option<Register>,
        head: Register,
    ) -> Result<f32, Missing> {
        let mut index = index + self.counted(Fault::LowerAdvances);
        if self.is(Fault::ProductAdvances) {
            index += self.count;
        }
        let loss = match backbone {
            None if self.is(Fault::LowerFrozenForgetsHead) => {
                let kept = self.inner.read(head)?.to_vec();
                let loss = self.inner.lower_gradient(index, None, head)?;
                self.inner.write(head, kept)?;
                loss
            }
            backbone => self.inner.lower_gradient(index, backbone, head)?,
        };
        if let Some(backbone) = backbone {
            match self.fault {
                Fault::LowerFlipsCoordinate => self.change(backbone, |g| g[3] = -g[3])?,
                Fault::LowerForgetsBias => {
                    let last = Arrays::<L, f64>::ranges().pop().unwrap();
                    self.change(backbone, fill(last))?;
                }
                Fault::LowerIsSum => self.scale(backbone, 24.0)?,
                Fault::LowerGradientMasksNan => self.change(backbone, |contents| mask(contents))?,
                _ => {}
            }
        }
        match self.fault {
            Fault::LowerHeadHalved => self.scale(head, 0.5)?,
            Fault::LowerWritesMomentum => {
                self.change(Register::Momentum(Group::PretextHead), |m| m[0] += 1e-3)?;
            }
            _ => {}
        }
        // As a sum over the rows whose loss is a number has it.
        Ok(if self.is(Fault::LowerLossHidesNan) && loss.is_nan() { 0.0 } else { loss })
    }

    fn linearize(&mut self, index: u32) -> Result<(), Missing> {
        let index = index + self.counted(Fault::LinearizeAdvances);
        self.inner.linearize(index)
    }

    fn product(&mut self, src: Register, dst: Register) -> Result<(), Missing> {
        let v = self.inner.look(src)?.to_vec();
        let before = self.inner.look(dst)?.to_vec();
        self.inner.product(src, dst)?;
        self.counted(Fault::ProductAdvances);
        let norm_sq: f32 = v.iter().map(|x| x * x).sum();
        let sum: f32 = v.iter().sum();
        let fault = self.fault;
        if fault == Fault::ProductWritesParameter {
            self.change(Register::Parameter(Group::LowerBackbone), |p| p[0] += 1e-3)?;
        }
        if fault == Fault::ProductMasksNan {
            self.change(dst, |contents| mask(contents))?;
        }
        self.change(dst, |product| {
            for (i, y) in product.iter_mut().enumerate() {
                match fault {
                    Fault::ProductUnsymmetric => *y += 0.01 * v[(i + 1) % v.len()],
                    Fault::ProductNormalised => *y /= norm_sq.sqrt(),
                    Fault::ProductAccumulates => *y += 1e-3 * before[i],
                    Fault::ProductDoubled => *y *= 2.0,
                    Fault::ProductNegated => *y = -*y,
                    Fault::ProductMissesRankOne => *y -= 0.05 * sum,
                    Fault::ProductMissesRidge => *y -= 0.1 * v[i],
                    _ => {}
                }
            }
        })
    }

    fn cross_product(&mut self, src: Register, dst: Register) -> Result<(), Missing> {
        self.inner.cross_product(src, dst)?;
        if self.is(Fault::CrossProductNegated) { self.scale(dst, -1.0) } else { Ok(()) }
    }
}

impl<L: Losses> UpperObjective for Broken<L> {
    fn upper_gradient(
        &mut self,
        at: Evaluation,
        index: u32,
        backbone: Option<Register>,
        head: Register,
    ) -> Result<f32, Missing> {
        let at_upper = at == Evaluation::UpperAtUpper;
        let mut index = index + self.counted(Fault::UpperAdvances);
        index += u32::from(at_upper && self.is(Fault::UpperAtUpperNextBatch));
        let reads_lower = at_upper && self.is(Fault::UpperAtUpperReadsLower);
        let at = if reads_lower { Evaluation::UpperAtLower } else { at };
        let written = match backbone {
            None if self.is(Fault::UpperFrozenWrites) => Some(Register::Residual),
            backbone => backbone,
        };
        let mut loss = self.inner.upper_gradient(at, index, written, head)?;
        loss += 1e-6 * self.counted(Fault::UpperLossDrifts) as f32;
        if self.is(Fault::UpperRelinearizes) {
            self.inner.linearize(index + 7)?;
        }
        if self.is(Fault::UpperHeadNegated) {
            self.scale(head, -1.0)?;
        }
        if self.is(Fault::UpperHidesNan) && loss.is_nan() {
            loss = 0.0;
            written.map_or(Ok(()), |backbone| self.change(backbone, |contents| mask(contents)))?;
        }
        match (self.fault, written) {
            (Fault::UpperForgetsSegment, Some(backbone)) => {
                self.change(backbone, fill(Arrays::<L, f64>::ranges().remove(1)))
            }
            (Fault::UpperAtUpperDoubled, Some(backbone)) if at_upper => self.scale(backbone, 2.0),
            _ => Ok(()),
        }?;
        Ok(loss)
    }
}
