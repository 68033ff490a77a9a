//! `DenseDriver`: the registers as f64 vectors.
//!
//! Scalars are f32 as everywhere; dots are accumulated in f64. Registers hold NaN until they are
//! written, and a factor of 0 reads nothing: a machine that relies on an unwritten vector, or a
//! driver that reads one behind a factor of 0, ends in NaN.

use std::collections::HashMap;

use bissl_core::{AdamCoefficients, Bank, Group, Operator, Register, RegisterFile};

use crate::matrix::{Matrix, dot};

/// What the dense driver can be asked wrongly.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum DenseError {
    /// A register that this problem does not have.
    Missing(Register),
    /// Two registers of different length in one operation.
    Lengths(Register, Register),
    /// An operation that this problem does not have.
    NoSuchOperation,
    /// More vectors were read than any machine of the kit needs: it is not going to end.
    Endless,
}

impl std::fmt::Display for DenseError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{self:?}")
    }
}

/// Registers over a problem `P`.
#[derive(Clone, Debug)]
pub(crate) struct DenseDriver<P> {
    pub(crate) problem: P,
    registers: HashMap<Register, Vec<f64>>,
    segments: HashMap<Register, Vec<usize>>,
    /// Applications of the operator, products and cross products so far.
    pub(crate) products: usize,
    reads: std::cell::Cell<usize>,
}

/// Makes a machine that goes round in circles a failing test instead of one that hangs.
const READS_MAX: usize = 100_000;

impl<P> DenseDriver<P> {
    pub(crate) fn new(problem: P) -> Self {
        let (registers, segments) = (HashMap::new(), HashMap::new());
        Self { problem, registers, segments, products: 0, reads: 0.into() }
    }

    /// Adds registers of length `n`, not yet written.
    pub(crate) fn unwritten(mut self, n: usize, registers: &[Register]) -> Self {
        for register in registers {
            self.registers.insert(*register, vec![f64::NAN; n]);
        }
        self
    }

    /// Adds or replaces a register.
    pub(crate) fn with(mut self, register: Register, contents: Vec<f64>) -> Self {
        self.registers.insert(register, contents);
        self
    }

    /// Splits a register into parameter tensors of these lengths; one tensor where not called.
    pub(crate) fn with_segments(mut self, register: Register, lengths: &[usize]) -> Self {
        assert_eq!(lengths.iter().sum::<usize>(), self.registers[&register].len());
        self.segments.insert(register, lengths.to_vec());
        self
    }

    /// The contents of a register that exists.
    pub(crate) fn read(&self, register: Register) -> &[f64] {
        &self.registers[&register]
    }

    /// The same, or the error that the machine's request deserves.
    pub(crate) fn look(&self, register: Register) -> Result<&Vec<f64>, DenseError> {
        self.reads.set(self.reads.get() + 1);
        if self.reads.get() > READS_MAX {
            return Err(DenseError::Endless);
        }
        self.registers.get(&register).ok_or(DenseError::Missing(register))
    }

    /// Overwrites a register of the same length.
    pub(crate) fn write(
        &mut self,
        register: Register,
        contents: Vec<f64>,
    ) -> Result<(), DenseError> {
        let slot = self.registers.get_mut(&register).ok_or(DenseError::Missing(register))?;
        if slot.len() != contents.len() {
            return Err(DenseError::Lengths(register, register));
        }
        *slot = contents;
        Ok(())
    }

    fn pair(&self, x: Register, y: Register) -> Result<(&Vec<f64>, &Vec<f64>), DenseError> {
        let (left, right) = (self.look(x)?, self.look(y)?);
        if left.len() == right.len() { Ok((left, right)) } else { Err(DenseError::Lengths(x, y)) }
    }

    fn ranges(&self, register: Register) -> Vec<std::ops::Range<usize>> {
        let whole = [self.read(register).len()];
        let lengths = self.segments.get(&register).map_or(&whole[..], |lengths| lengths);
        lengths
            .iter()
            .scan(0, |start, length| {
                let range = *start..*start + length;
                *start = range.end;
                Some(range)
            })
            .collect()
    }
}

/// `a x + b y`; a factor of 0 does not read its operand.
fn combined(a: f64, x: f64, b: f64, y: f64) -> f64 {
    match (a == 0.0, b == 0.0) {
        (true, true) => 0.0,
        (true, false) => b * y,
        (false, true) => a * x,
        (false, false) => a * x + b * y,
    }
}

impl<P> RegisterFile for DenseDriver<P> {
    type Error = DenseError;

    fn zero(&mut self, dst: Register) -> Result<(), DenseError> {
        let n = self.look(dst)?.len();
        self.write(dst, vec![0.0; n])
    }

    fn copy(&mut self, src: Register, dst: Register) -> Result<(), DenseError> {
        let (contents, _) = self.pair(src, dst)?;
        let contents = contents.clone();
        self.write(dst, contents)
    }

    fn axpby(&mut self, a: f32, x: Register, b: f32, y: Register) -> Result<(), DenseError> {
        let (left, right) = self.pair(x, y)?;
        let (a, b) = (f64::from(a), f64::from(b));
        let sum = left.iter().zip(right).map(|(x, y)| combined(a, *x, b, *y)).collect();
        self.write(y, sum)
    }

    fn dots(
        &mut self,
        pairs: &[(Register, Register)],
        scalars: &mut [f32],
    ) -> Result<(), DenseError> {
        assert_eq!(pairs.len(), scalars.len(), "the workspace is cut to the reply");
        for ((x, y), scalar) in pairs.iter().zip(scalars) {
            let (x, y) = self.pair(*x, *y)?;
            *scalar = dot(x, y) as f32;
        }
        Ok(())
    }

    fn segment_dots(
        &mut self,
        pairs: &[(Register, Register)],
        scalars: &mut [f32],
    ) -> Result<u32, DenseError> {
        let mut count = 0;
        let mut values = Vec::new();
        for (x, y) in pairs {
            // Work vectors serve several spaces: the segments are those of the operand that has
            // some.
            let split = if self.segments.contains_key(x) { *x } else { pairs[0].0 };
            let (left, right) = self.pair(*x, *y)?;
            let ranges = self.ranges(split);
            count = ranges.len();
            values.extend(ranges.into_iter().map(|r| dot(&left[r.clone()], &right[r]) as f32));
        }
        let Some(front) = scalars.get_mut(..values.len()) else { return Ok(0) };
        front.copy_from_slice(&values);
        Ok(count as u32)
    }

    fn segment_axpby(
        &mut self,
        scalars: &[f32],
        x: Register,
        b: f32,
        y: Register,
    ) -> Result<(), DenseError> {
        let (left, right) = self.pair(x, y)?;
        let mut sum = right.clone();
        for (range, a) in self.ranges(y).into_iter().zip(scalars) {
            for i in range {
                sum[i] = combined(f64::from(*a), left[i], f64::from(b), right[i]);
            }
        }
        self.write(y, sum)
    }

    fn adam(
        &mut self,
        group: Group,
        gradient: Register,
        coefficients: &AdamCoefficients,
    ) -> Result<(), DenseError> {
        let names =
            [Register::Parameter(group), Register::Momentum(group), Register::SecondMoment(group)];
        let gradient = self.look(gradient)?.clone();
        let mut vectors = [self.look(names[0])?, self.look(names[1])?, self.look(names[2])?]
            .map(|vector| vector.iter().map(|x| *x as f32).collect::<Vec<f32>>());
        let [parameter, first, second] = &mut vectors;
        for (i, g) in gradient.iter().enumerate() {
            coefficients.update(*g as f32, &mut parameter[i], &mut first[i], &mut second[i]);
        }
        for (name, vector) in names.into_iter().zip(vectors) {
            self.write(name, vector.into_iter().map(f64::from).collect())?;
        }
        Ok(())
    }

    fn sketch(&mut self, dst: Register, index: u32) -> Result<(), DenseError> {
        let n = self.look(dst)?.len();
        let mut draws = bissl_core::Stream::new(0, 99).at(u64::from(index));
        self.write(dst, crate::matrix::gaussian(&mut draws, n))
    }
}

/// A linear system alone.
impl Operator for DenseDriver<Matrix> {
    fn apply(&mut self, src: Register, dst: Register) -> Result<(), DenseError> {
        self.products += 1;
        let product = self.problem.times(self.look(src)?);
        self.write(dst, product)
    }
}

/// Vectors of each bank that [`linear`] has.
pub(crate) const BANKED: u8 = 16;

/// Both banks.
pub(crate) fn banks() -> Vec<Register> {
    [Bank::Basis, Bank::BasisProduct]
        .into_iter()
        .flat_map(|bank| (0..BANKED).map(move |i| Register::Banked(bank, i)))
        .collect()
}

/// The four work vectors and the banks of a solve of `a x = b`, b in place, the rest unwritten.
///
/// Each is two parameter tensors, so that a step length taken block by block would be another one.
pub(crate) fn linear(a: Matrix, b: Vec<f64>) -> DenseDriver<Matrix> {
    use Register::{Direction, Product, Residual, Solution};
    let n = b.len();
    let tensors = [n / 2, n - n / 2];
    let driver =
        DenseDriver::new(a).unwritten(n, &[Solution, Direction, Product]).unwritten(n, &banks());
    let driver = driver.with(Residual, b);
    [Solution, Direction, Product, Residual]
        .into_iter()
        .fold(driver, |driver, register| driver.with_segments(register, &tensors))
}
