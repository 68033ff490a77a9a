//! A correct backend: f32 registers, derivatives by dual numbers over `T`.

use std::collections::HashMap;
use std::marker::PhantomData;

use bissl_core::{
    AdamCoefficients, Bank, Evaluation, Group, LowerObjective, Register, RegisterFile, Stream,
    UpperObjective,
};

use crate::losses::Losses;
use crate::number::{Dual, Number};

/// What this problem lacks.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Missing {
    Register(Register),
    Lengths(Register, Register),
    Operation(&'static str),
    /// The sensor delivered nothing.
    Sensor,
}

impl std::fmt::Display for Missing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{self:?}")
    }
}

/// Registers, and the losses `L` in the arithmetic of `T`.
pub(crate) struct Arrays<L, T> {
    pub(crate) registers: HashMap<Register, Vec<f32>>,
    /// Registers that the problem does not expose or does not have.
    pub(crate) refuses: fn(&Register) -> bool,
    pub(crate) sketches: bool,
    pub(crate) segments: bool,
    pub(crate) frozen: bool,
    /// Added to the index of products, for problems that draw their batches from elsewhere.
    pub(crate) product_offset: u32,
    /// Number of gradients and linearisations until the sensor fails.
    pub(crate) frames: u32,
    /// θ_P, φ_P, the upper variable and the batch of the products.
    pub(crate) linearized: Option<([Vec<f32>; 3], u32)>,
    kind: PhantomData<(L, T)>,
}

pub(crate) const GROUPS: [Group; 4] =
    [Group::LowerBackbone, Group::PretextHead, Group::UpperBackbone, Group::DownstreamHead];

impl<L: Losses, T: Number> Arrays<L, T> {
    fn length(register: Register) -> usize {
        use Register::{Momentum, Parameter, SecondMoment};
        match register {
            Parameter(Group::PretextHead)
            | Momentum(Group::PretextHead)
            | SecondMoment(Group::PretextHead)
            | Register::PretextHeadGradient => L::PRETEXT_HEAD,
            Parameter(Group::DownstreamHead)
            | Momentum(Group::DownstreamHead)
            | SecondMoment(Group::DownstreamHead)
            | Register::DownstreamHeadGradient
            | Register::DownstreamHeadDirect => L::DOWNSTREAM_HEAD,
            _ => L::SEGMENTS.iter().sum(),
        }
    }

    fn with(registers: &[Register]) -> Self {
        let mut draws = Stream::new(5, 9).at(0);
        let mut fill = |register: &Register| {
            let length = Self::length(*register);
            let contents = match register {
                Register::Parameter(_) => (0..length).map(|_| 0.4 * draws.normal()).collect(),
                Register::Momentum(_) | Register::SecondMoment(_) => vec![0.0; length],
                _ => vec![f32::NAN; length],
            };
            (*register, contents)
        };
        Self {
            registers: registers.iter().map(&mut fill).collect(),
            refuses: |_| false,
            sketches: true,
            segments: true,
            frozen: true,
            product_offset: 0,
            frames: u32::MAX,
            linearized: None,
            kind: PhantomData,
        }
    }

    /// A problem with every register and every operation but Adam.
    pub(crate) fn whole() -> Self {
        use Register::{
            Banked, DirectGradient, Direction, DownstreamHeadDirect, DownstreamHeadGradient,
            Hypergradient, Momentum, Parameter, PretextHeadGradient, Product, Residual,
            SecondMoment, Solution,
        };
        let mut all = vec![
            Solution,
            Residual,
            Direction,
            Product,
            PretextHeadGradient,
            DownstreamHeadGradient,
            DownstreamHeadDirect,
            Hypergradient,
            DirectGradient,
        ];
        for group in GROUPS {
            all.extend([Parameter(group), Momentum(group), SecondMoment(group)]);
        }
        for i in 0..4 {
            all.extend([Banked(Bank::Basis, i), Banked(Bank::BasisProduct, i)]);
        }
        Self::with(&all)
    }

    /// What a small port has: no second moments, no banks, no sketches.
    pub(crate) fn device() -> Self {
        use Register::{Banked, DirectGradient, Hypergradient, SecondMoment};
        let refuses = |register: &Register| {
            matches!(register, SecondMoment(_) | Banked(..) | Hypergradient | DirectGradient)
        };
        Self { refuses, sketches: false, ..Self::whole() }
    }

    /// Only the four work registers are accessible; parameters and heads are private.
    pub(crate) fn bare() -> Self {
        use Register::{Direction, Product, Residual, Solution};
        let refuses =
            |register: &Register| ![Solution, Residual, Direction, Product].contains(register);
        Self { refuses, segments: false, frozen: false, ..Self::device() }
    }

    /// A register that an operation names.
    pub(crate) fn look(&self, register: Register) -> Result<&[f32], Missing> {
        if (self.refuses)(&register) {
            Err(Missing::Register(register))
        } else {
            self.read(register)
        }
    }

    pub(crate) fn read(&self, register: Register) -> Result<&[f32], Missing> {
        self.registers.get(&register).map(Vec::as_slice).ok_or(Missing::Register(register))
    }

    pub(crate) fn write(&mut self, register: Register, contents: Vec<f32>) -> Result<(), Missing> {
        let slot = self.registers.get_mut(&register).ok_or(Missing::Register(register))?;
        assert_eq!(slot.len(), contents.len(), "{register:?}");
        *slot = contents;
        Ok(())
    }

    pub(crate) fn pair(&self, x: Register, y: Register) -> Result<(&[f32], &[f32]), Missing> {
        let (left, right) = (self.look(x)?, self.look(y)?);
        if left.len() == right.len() { Ok((left, right)) } else { Err(Missing::Lengths(x, y)) }
    }

    fn numbers(&self, group: Group) -> Result<Vec<T>, Missing> {
        let values = self.read(Register::Parameter(group))?;
        Ok(values.iter().map(|x| T::new((*x).into())).collect())
    }

    fn read_sensor(&mut self) -> Result<(), Missing> {
        self.frames = self.frames.checked_sub(1).ok_or(Missing::Sensor)?;
        Ok(())
    }

    /// Reads the sensor for a gradient of this backbone.
    fn frame(&mut self, backbone: Option<Register>) -> Result<(), Missing> {
        self.read_sensor()?;
        match backbone {
            None if !self.frozen => Err(Missing::Operation("frozen backbone")),
            _ => Ok(()),
        }
    }

    /// The loss at (θ, φ); its gradients go to these registers.
    fn write_gradients(
        &mut self,
        [theta, phi]: [&[T]; 2],
        loss: impl Fn(&[Dual<T>], &[Dual<T>]) -> Dual<T>,
        backbone: Option<Register>,
        head: Register,
    ) -> Result<f32, Missing> {
        let (theta_d, phi_d) = (duals(theta, unit(None)), duals(phi, unit(None)));
        let (value, by_theta) = gradient(theta, |theta| loss(theta, &phi_d));
        if let Some(backbone) = backbone {
            self.write(backbone, by_theta)?;
        }
        let (_, by_phi) = gradient(phi, |phi| loss(&theta_d, phi));
        self.write(head, by_phi)?;
        Ok(value)
    }

    pub(crate) fn ranges() -> Vec<std::ops::Range<usize>> {
        let mut start = 0;
        let range = |length: &usize| {
            let range = start..start + length;
            start = range.end;
            range
        };
        L::SEGMENTS.iter().map(range).collect()
    }
}

/// `values` as duals with these slopes.
pub(crate) fn duals<T: Number>(values: &[T], slopes: impl Fn(usize) -> T) -> Vec<Dual<T>> {
    let dual = |(i, value): (usize, &T)| Dual { value: *value, slope: slopes(i) };
    values.iter().enumerate().map(dual).collect()
}

fn unit<T: Number>(coordinate: Option<usize>) -> impl Fn(usize) -> T {
    move |i| T::new(if Some(i) == coordinate { 1.0 } else { 0.0 })
}

/// Value and gradient of `loss` at `point`.
fn gradient<T: Number>(point: &[T], loss: impl Fn(&[Dual<T>]) -> Dual<T>) -> (f32, Vec<f32>) {
    let value = loss(&duals(point, unit(None))).value.value() as f32;
    let slope = |i| loss(&duals(point, unit(Some(i)))).slope.value() as f32;
    (value, (0..point.len()).map(slope).collect())
}

/// `a x + b y`; an operand whose factor is 0 is not read.
pub(crate) fn combined(a: f32, x: f32, b: f32, y: f32) -> f32 {
    let kept = if b == 0.0 { 0.0 } else { b * y };
    if a == 0.0 { kept } else { a * x + kept }
}

impl<L: Losses, T: Number> RegisterFile for Arrays<L, T> {
    type Error = Missing;

    fn zero(&mut self, dst: Register) -> Result<(), Missing> {
        let length = self.look(dst)?.len();
        self.write(dst, vec![0.0; length])
    }

    fn copy(&mut self, src: Register, dst: Register) -> Result<(), Missing> {
        let contents = self.pair(src, dst)?.0.to_vec();
        self.write(dst, contents)
    }

    fn axpby(&mut self, a: f32, x: Register, b: f32, y: Register) -> Result<(), Missing> {
        let (left, right) = self.pair(x, y)?;
        let sum = left.iter().zip(right).map(|(x, y)| combined(a, *x, b, *y)).collect();
        self.write(y, sum)
    }

    fn dots(&mut self, pairs: &[(Register, Register)], scalars: &mut [f32]) -> Result<(), Missing> {
        for ((x, y), scalar) in pairs.iter().zip(scalars) {
            let (x, y) = self.pair(*x, *y)?;
            *scalar = x.iter().zip(y).map(|(x, y)| x * y).sum();
        }
        Ok(())
    }

    fn segment_dots(
        &mut self,
        pairs: &[(Register, Register)],
        scalars: &mut [f32],
    ) -> Result<u32, Missing> {
        if !self.segments {
            return Err(Missing::Operation("segments"));
        }
        let count = L::SEGMENTS.len();
        if scalars.len() < count * pairs.len() {
            return Ok(0);
        }
        for ((x, y), scalars) in pairs.iter().zip(scalars.chunks_exact_mut(count)) {
            let (x, y) = self.pair(*x, *y)?;
            for (range, scalar) in Self::ranges().into_iter().zip(scalars) {
                *scalar = x[range.clone()].iter().zip(&y[range]).map(|(x, y)| x * y).sum();
            }
        }
        Ok(count as u32)
    }

    fn segment_axpby(
        &mut self,
        scalars: &[f32],
        x: Register,
        b: f32,
        y: Register,
    ) -> Result<(), Missing> {
        if !self.segments {
            return Err(Missing::Operation("segments"));
        }
        let (left, right) = self.pair(x, y)?;
        let mut sum = right.to_vec();
        for (range, a) in Self::ranges().into_iter().zip(scalars) {
            for i in range {
                sum[i] = combined(*a, left[i], b, right[i]);
            }
        }
        self.write(y, sum)
    }

    fn adam(&mut self, _: Group, _: Register, _: &AdamCoefficients) -> Result<(), Missing> {
        Err(Missing::Operation("Adam"))
    }

    fn sketch(&mut self, dst: Register, index: u32) -> Result<(), Missing> {
        if !self.sketches {
            return Err(Missing::Operation("sketches"));
        }
        let length = self.look(dst)?.len();
        let mut draws = Stream::new(0, 99).at(index.into());
        self.write(dst, (0..length).map(|_| draws.normal()).collect())
    }
}

impl<L: Losses, T: Number> LowerObjective for Arrays<L, T> {
    fn lower_gradient(
        &mut self,
        index: u32,
        backbone: Option<Register>,
        head: Register,
    ) -> Result<f32, Missing> {
        self.frame(backbone)?;
        let [theta, phi, upper] = [Group::LowerBackbone, Group::PretextHead, Group::UpperBackbone]
            .map(|group| self.numbers(group).unwrap());
        let upper = duals(&upper, unit(None));
        let loss = |theta: &[_], phi: &[_]| L::lower(theta, phi, &upper, index);
        self.write_gradients([&theta, &phi], loss, backbone, head)
    }

    fn linearize(&mut self, index: u32) -> Result<(), Missing> {
        self.read_sensor()?;
        let point = [Group::LowerBackbone, Group::PretextHead, Group::UpperBackbone]
            .map(|group| self.read(Register::Parameter(group)).unwrap().to_vec());
        self.linearized = Some((point, index.wrapping_add(self.product_offset)));
        Ok(())
    }

    fn product(&mut self, src: Register, dst: Register) -> Result<(), Missing> {
        let v = self.look(src)?.to_vec();
        let product = self.second_derivative(&v, Side::Lower)?;
        self.write(dst, product)
    }

    fn cross_product(&mut self, src: Register, dst: Register) -> Result<(), Missing> {
        if !L::GENERAL {
            return self.copy(src, dst);
        }
        let v = self.look(src)?.to_vec();
        self.look(dst)?;
        let product = self.second_derivative(&v, Side::Upper)?;
        self.write(dst, product.into_iter().map(|x| -x).collect())
    }
}

/// The variable by which the slope along v is differentiated.
#[derive(Clone, Copy, PartialEq)]
enum Side {
    Lower,
    Upper,
}

impl<L: Losses, T: Number> Arrays<L, T> {
    /// ∂/∂side (∂L/∂θ · v) at the linearised point.
    fn second_derivative(&self, v: &[f32], side: Side) -> Result<Vec<f32>, Missing> {
        let (point, index) = self.linearized.as_ref().ok_or(Missing::Operation("products"))?;
        let [theta, phi, upper] =
            point.each_ref().map(|v| v.iter().map(|x| T::new((*x).into())).collect::<Vec<T>>());
        let along_v = duals(&theta, |i| T::new(v[i].into()));
        let still = |values: &[T]| duals(&duals(values, unit(None)), unit(None));
        let phi = still(&phi);
        let upper_along = duals(&upper, unit(None));
        let slope = |i| {
            let (by_theta, by_upper) =
                if side == Side::Lower { (Some(i), None) } else { (None, Some(i)) };
            let theta = duals(&along_v, unit(by_theta));
            let upper = duals(&upper_along, unit(by_upper));
            L::lower(&theta, &phi, &upper, *index).slope.slope.value() as f32
        };
        Ok((0..theta.len()).map(slope).collect())
    }
}

impl<L: Losses, T: Number> UpperObjective for Arrays<L, T> {
    fn upper_gradient(
        &mut self,
        at: Evaluation,
        index: u32,
        backbone: Option<Register>,
        head: Register,
    ) -> Result<f32, Missing> {
        self.frame(backbone)?;
        let group = match at {
            Evaluation::UpperAtLower => Group::LowerBackbone,
            Evaluation::UpperAtUpper => Group::UpperBackbone,
            Evaluation::Lower => return Err(Missing::Operation("lower loss here")),
        };
        let (theta, phi) = (self.numbers(group)?, self.numbers(Group::DownstreamHead)?);
        let loss = |theta: &[_], phi: &[_]| L::upper(theta, phi, index);
        self.write_gradients([&theta, &phi], loss, backbone, head)
    }
}
