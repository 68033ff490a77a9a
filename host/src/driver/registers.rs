//! Named vectors as flat tensors.

use bissl_core::{AdamCoefficients, Bank, Group, Pairs, Register, Stream};
use burn_tensor::Tensor;

use super::{DriverError, download, upload};
use crate::data::streams;
use crate::kernels::Kernels;
use crate::network::ParameterTable;

const GROUPS: [Group; 4] =
    [Group::LowerBackbone, Group::PretextHead, Group::UpperBackbone, Group::DownstreamHead];

/// The vectors of a bilevel problem on one device.
///
/// A register that was never written reads as zeros, the initial value of momenta.
#[derive(Clone, Debug)]
pub struct Registers<B: Kernels> {
    device: B::Device,
    backbone: Space,
    pretext_head: Space,
    downstream_head: Space,
    slots: Vec<Option<Tensor<B, 1>>>,
    banks: [Vec<Option<Tensor<B, 1>>>; 2],
    sketches: Stream,
}

/// Bounds of the segments of one kind of vector.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Space {
    offsets: Vec<usize>,
    whole: [usize; 2],
}

impl Space {
    fn new(table: &ParameterTable) -> Self {
        Self { offsets: table.offsets(), whole: [0, table.len()] }
    }

    fn segments(&self) -> usize {
        self.offsets.len() - 1
    }
}

/// Index of a register among the slots; `None` for banks and for registers of general problems.
fn slot(register: Register) -> Option<usize> {
    let of = |group: Group| GROUPS.iter().position(|g| *g == group).expect("all groups listed");
    Some(match register {
        Register::Parameter(group) => of(group),
        Register::Momentum(group) => 4 + of(group),
        Register::SecondMoment(group) => 8 + of(group),
        Register::Solution => 12,
        Register::Residual => 13,
        Register::Direction => 14,
        Register::Product => 15,
        Register::PretextHeadGradient => 16,
        Register::DownstreamHeadGradient => 17,
        Register::DownstreamHeadDirect => 18,
        Register::Hypergradient | Register::DirectGradient | Register::Banked(..) => return None,
    })
}
const SLOTS: usize = 19;

/// Index of a bank among the banks.
fn of_bank(bank: Bank) -> usize {
    match bank {
        Bank::Basis => 0,
        Bank::BasisProduct => 1,
    }
}

impl<B: Kernels> Registers<B> {
    /// Registers for the given tables, all unwritten.
    pub fn new(
        device: B::Device,
        backbone: &ParameterTable,
        pretext_head: &ParameterTable,
        downstream_head: &ParameterTable,
        seed: u64,
    ) -> Self {
        Self {
            device,
            backbone: Space::new(backbone),
            pretext_head: Space::new(pretext_head),
            downstream_head: Space::new(downstream_head),
            slots: vec![None; SLOTS],
            banks: [Vec::new(), Vec::new()],
            sketches: Stream::new(seed, streams::SKETCH),
        }
    }

    /// The device that holds the vectors.
    pub fn device(&self) -> &B::Device {
        &self.device
    }

    /// The most scalars that a request exchanges: four per tensor, or a full bank and four.
    pub fn scalars(&self) -> usize {
        let segments = [&self.backbone, &self.pretext_head, &self.downstream_head];
        let segments = segments.iter().map(|space| space.segments()).max().unwrap_or(0);
        (Pairs::CAPACITY * segments).max(usize::from(u8::MAX) + Pairs::CAPACITY)
    }

    fn space(&self, register: Register) -> &Space {
        match register {
            Register::Parameter(group)
            | Register::Momentum(group)
            | Register::SecondMoment(group) => match group {
                Group::LowerBackbone | Group::UpperBackbone => &self.backbone,
                Group::PretextHead => &self.pretext_head,
                Group::DownstreamHead => &self.downstream_head,
            },
            Register::PretextHeadGradient => &self.pretext_head,
            Register::DownstreamHeadGradient | Register::DownstreamHeadDirect => {
                &self.downstream_head
            }
            _ => &self.backbone,
        }
    }

    fn place(&mut self, register: Register) -> Result<&mut Option<Tensor<B, 1>>, DriverError> {
        match (register, slot(register)) {
            (_, Some(slot)) => Ok(&mut self.slots[slot]),
            (Register::Banked(bank, index), _) => {
                let bank = &mut self.banks[of_bank(bank)];
                let index = usize::from(index);
                if bank.len() <= index {
                    bank.resize(index + 1, None);
                }
                Ok(&mut bank[index])
            }
            _ => Err(DriverError::NoRegister(register)),
        }
    }

    /// The vector, or zeros if it was never written.
    ///
    /// # Errors
    /// This kind of problem has no such register.
    pub fn get(&mut self, register: Register) -> Result<Tensor<B, 1>, DriverError> {
        let (len, device) = (self.space(register).whole[1], self.device.clone());
        let place = self.place(register)?;
        Ok(place.get_or_insert_with(|| Tensor::zeros([len], &device)).clone())
    }

    /// Takes the vector out, so that it is not shared and can be changed in place.
    fn take(&mut self, register: Register) -> Result<Tensor<B, 1>, DriverError> {
        let (len, device) = (self.space(register).whole[1], self.device.clone());
        Ok(self.place(register)?.take().unwrap_or_else(|| Tensor::zeros([len], &device)))
    }

    /// Overwrites a vector.
    ///
    /// # Errors
    /// This kind of problem has no such register.
    pub fn set(&mut self, register: Register, value: Tensor<B, 1>) -> Result<(), DriverError> {
        debug_assert_eq!(value.dims()[0], self.space(register).whole[1], "{register:?}");
        *self.place(register)? = Some(value);
        Ok(())
    }

    /// Drops a vector. It reads as zeros again and takes no memory.
    ///
    /// # Errors
    /// This kind of problem has no such register.
    pub fn clear(&mut self, register: Register) -> Result<(), DriverError> {
        *self.place(register)? = None;
        Ok(())
    }

    /// Whether the vector was written.
    pub(crate) fn is_set(&self, register: Register) -> bool {
        match (slot(register), register) {
            (Some(slot), _) => self.slots[slot].is_some(),
            (None, Register::Banked(bank, index)) => {
                self.banks[of_bank(bank)].get(usize::from(index)).is_some_and(Option::is_some)
            }
            _ => false,
        }
    }

    /// Uploads a vector.
    ///
    /// # Errors
    /// This kind of problem has no such register.
    pub fn write(&mut self, register: Register, values: Vec<f32>) -> Result<(), DriverError> {
        let len = values.len();
        let tensor = upload(values, [len], &self.device);
        self.set(register, tensor)
    }

    /// Downloads a vector.
    ///
    /// # Errors
    /// This kind of problem has no such register.
    pub fn read(&mut self, register: Register) -> Result<Vec<f32>, DriverError> {
        Ok(download(&self.get(register)?))
    }

    fn dots_over(
        &mut self,
        pairs: &[(Register, Register)],
        whole: bool,
    ) -> Result<Vec<f64>, DriverError> {
        // Pairs from different spaces have different bounds; each run of equal spaces is read at
        // once.
        let mut dots = Vec::new();
        let mut rest = pairs;
        while let Some((first, _)) = rest.first() {
            let space = self.space(*first);
            let same = rest.iter().take_while(|(x, _)| self.space(*x) == space).count();
            let mut operands = Vec::with_capacity(same);
            for (x, y) in &rest[..same] {
                operands.push((self.get(*x)?, self.get(*y)?));
            }
            let operands: Vec<_> = operands.iter().map(|(x, y)| (x, y)).collect();
            let space = self.space(*first);
            let offsets = if whole { &space.whole[..] } else { &space.offsets[..] };
            dots.extend(B::segment_dots(&operands, offsets));
            rest = &rest[same..];
        }
        Ok(dots)
    }
}

impl<B: Kernels> bissl_core::RegisterFile for Registers<B> {
    type Error = DriverError;

    fn zero(&mut self, dst: Register) -> Result<(), DriverError> {
        self.clear(dst)
    }

    fn copy(&mut self, src: Register, dst: Register) -> Result<(), DriverError> {
        let value = self.get(src)?;
        self.set(dst, value)
    }

    fn axpby(&mut self, a: f32, x: Register, b: f32, y: Register) -> Result<(), DriverError> {
        let x = self.get(x)?;
        let target = self.take(y)?;
        self.set(y, B::axpby(f64::from(a), &x, f64::from(b), target))
    }

    fn dots(
        &mut self,
        pairs: &[(Register, Register)],
        scalars: &mut [f32],
    ) -> Result<(), DriverError> {
        for (scalar, dot) in scalars.iter_mut().zip(self.dots_over(pairs, true)?) {
            *scalar = dot as f32;
        }
        Ok(())
    }

    /// Reads all scalars at once.
    fn basis_dots(
        &mut self,
        pairs: &[(Register, Register)],
        bank: Bank,
        x: Register,
        scalars: &mut [f32],
    ) -> Result<(), DriverError> {
        let count = scalars.len() - pairs.len();
        let banked = (0..count).map(|i| (Register::Banked(bank, i as u8), x));
        let pairs: Vec<_> = pairs.iter().copied().chain(banked).collect();
        self.dots(&pairs, scalars)
    }

    fn segment_dots(
        &mut self,
        pairs: &[(Register, Register)],
        scalars: &mut [f32],
    ) -> Result<u32, DriverError> {
        let dots = self.dots_over(pairs, false)?;
        if dots.len() > scalars.len() {
            return Ok(0);
        }
        for (scalar, dot) in scalars.iter_mut().zip(&dots) {
            *scalar = *dot as f32;
        }
        Ok((dots.len() / pairs.len()) as u32)
    }

    fn segment_axpby(
        &mut self,
        scalars: &[f32],
        x: Register,
        b: f32,
        y: Register,
    ) -> Result<(), DriverError> {
        let offsets = self.space(y).offsets.clone();
        let x = self.get(x)?;
        let target = self.take(y)?;
        // A copy scaled by segment, followed by one update of the whole vector.
        let scaled = B::scale_segments(&x, &offsets, scalars);
        self.set(y, B::axpby(1.0, &scaled, f64::from(b), target))
    }

    fn adam(
        &mut self,
        group: Group,
        gradient: Register,
        c: &AdamCoefficients,
    ) -> Result<(), DriverError> {
        let gradient = self.get(gradient)?;
        let parameter = self.take(Register::Parameter(group))?;
        let first = self.take(Register::Momentum(group))?;
        let second = self.take(Register::SecondMoment(group))?;
        let (parameter, first, second) = B::adam(c, &gradient, parameter, first, second);
        self.set(Register::Parameter(group), parameter)?;
        self.set(Register::Momentum(group), first)?;
        self.set(Register::SecondMoment(group), second)
    }

    fn sketch(&mut self, dst: Register, index: u32) -> Result<(), DriverError> {
        let len = self.space(dst).whole[1];
        // Each element has its own index, so that its draw depends only on its position.
        let base = u64::from(index) << 32;
        let values = (0..len).map(|i| self.sketches.at(base | i as u64).normal()).collect();
        self.write(dst, values)
    }
}
