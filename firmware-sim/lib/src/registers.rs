//! The vectors that the machines name, and the operations on them.

use bissl_core::{
    AdamCoefficients, Evaluation, Group, LowerObjective, Register, RegisterFile, Reply, Request,
    UpperObjective,
};

use crate::model::Layer;
use crate::plan::{Plan, Space};
use crate::problem::Session;
use crate::{Configuration, Fault, FrameSource, Kernels};

/// Two registers of one space.
enum Operands<'a> {
    /// x and y are different registers.
    Two(&'a [f32], &'a mut [f32]),
    /// x and y are the same register.
    One(&'a mut [f32]),
}

fn operands<'a>(
    plan: &Plan,
    memory: &'a mut [f32],
    x: Register,
    y: Register,
) -> Result<(Space, Operands<'a>), Fault> {
    let place = |register| plan.register(register).ok_or(Fault::RegisterMissing(register));
    let ((space, _), (other, span)) = (place(x)?, place(y)?);
    if space != other {
        return Err(Fault::RegistersDiffer(x, y));
    }
    if x == y {
        let vector = memory.get_mut(span.range()).ok_or(Fault::MemoryMismatch)?;
        return Ok((space, Operands::One(vector)));
    }
    let [x, y, ..] = plan.disjoint(memory, [Some(x), Some(y), None, None])?;
    Ok((space, Operands::Two(x, y)))
}

/// Floats of each segment of a space: every tensor of every layer.
fn segments<C: Configuration>(space: Space) -> impl Iterator<Item = usize> {
    let (layers, single): (&[Layer], _) = match space {
        Space::Backbone => (C::MODEL_REF.trained(), None),
        Space::PretextHead => (C::MODEL_REF.projector, None),
        Space::DownstreamHead => (&[], Some(C::MODEL_REF.classifier())),
    };
    let layers = layers.iter().copied().chain(single);
    layers.flat_map(|layer| [layer.weights(), layer.biases()]).filter(|floats| *floats > 0)
}

/// `y ← a x + b y`.
fn combine<K: Kernels<f32>>(kernels: &mut K, a: f32, b: f32, operands: Operands<'_>) {
    match operands {
        Operands::Two(x, y) => kernels.axpby(a, x, b, y),
        Operands::One(y) => {
            // A vector whose factor is 0 is not read, here as in the kernel.
            let factor = a + b;
            y.iter_mut().for_each(|y| *y = if factor == 0.0 { 0.0 } else { factor * *y });
        }
    }
}

fn dot<K: Kernels<f32>>(kernels: &mut K, operands: &Operands<'_>) -> f32 {
    match operands {
        Operands::Two(x, y) => kernels.dot(x, y),
        Operands::One(y) => kernels.dot(y, y),
    }
}

/// Splits the first `floats` floats off.
fn split<'a>(operands: Operands<'a>, floats: usize) -> Option<(Operands<'a>, Operands<'a>)> {
    Some(match operands {
        Operands::Two(x, y) => {
            let ((x, rest_x), (y, rest_y)) =
                (x.split_at_checked(floats)?, y.split_at_mut_checked(floats)?);
            (Operands::Two(x, y), Operands::Two(rest_x, rest_y))
        }
        Operands::One(y) => {
            let (y, rest) = y.split_at_mut_checked(floats)?;
            (Operands::One(y), Operands::One(rest))
        }
    })
}

impl<C: Configuration, S: FrameSource, K: Kernels<f32>> Session<'_, C, S, K> {
    /// Performs a request; the scalars of its reply go to the front of `scalars`.
    ///
    /// The core's driver knows all requests. This one leaves out of the program those that the
    /// configuration never makes.
    pub(crate) fn perform(
        &mut self,
        request: &Request,
        scalars: &mut [f32],
    ) -> Result<Reply, Fault> {
        match request {
            Request::Zero { dst } => self.zero(*dst)?,
            Request::Copy { src, dst } => self.copy(*src, *dst)?,
            Request::Axpby { a, x, b, y } => self.axpby(*a, *x, *b, *y)?,
            Request::Dots { pairs } => {
                self.dots(pairs.as_slice(), scalars)?;
                return Ok(Reply::Scalars(pairs.as_slice().len() as u32));
            }
            Request::Gradient { evaluation, index, backbone, head } => {
                let loss = match evaluation {
                    Evaluation::Lower => self.lower_gradient(*index, *backbone, *head)?,
                    at => self.upper_gradient(*at, *index, *backbone, *head)?,
                };
                *scalars.first_mut().ok_or(Fault::ShortWorkspace)? = loss;
                return Ok(Reply::Scalars(1));
            }
            Request::Linearize { index } => self.linearize(*index)?,
            Request::Product { src, dst } => self.product(*src, *dst)?,
            Request::BasisDots { pairs, bank, count, x } if C::MODEL.basis > 0 => {
                let pairs = pairs.as_slice();
                let needed = pairs.len().saturating_add(usize::from(*count));
                let room = scalars.get_mut(..needed).ok_or(Fault::ShortWorkspace)?;
                self.basis_dots(pairs, *bank, *x, room)?;
                return Ok(Reply::Scalars(needed as u32));
            }
            Request::Combine { bank, count, b, y } if C::MODEL.basis > 0 => {
                let factors = scalars.get(..usize::from(*count)).ok_or(Fault::ShortWorkspace)?;
                self.combine(*bank, factors, *b, *y)?;
            }
            Request::SegmentDots { pairs } if C::SEGMENTS => {
                let pairs = pairs.as_slice();
                let segments = self.segment_dots(pairs, scalars)?;
                return Ok(Reply::Scalars(segments.saturating_mul(pairs.len() as u32)));
            }
            Request::SegmentAxpby { x, b, y } if C::SEGMENTS => {
                self.segment_axpby(scalars, *x, *b, *y)?;
            }
            unsupported => return Err(Fault::Unsupported(*unsupported)),
        }
        Ok(Reply::Ack)
    }
}

impl<C: Configuration, S: FrameSource, K: Kernels<f32>> RegisterFile for Session<'_, C, S, K> {
    type Error = Fault;

    fn zero(&mut self, dst: Register) -> Result<(), Fault> {
        let range = C::PLAN.span(dst)?.range();
        self.memory.get_mut(range).ok_or(Fault::MemoryMismatch)?.fill(0.0);
        Ok(())
    }

    fn copy(&mut self, src: Register, dst: Register) -> Result<(), Fault> {
        if let (_, Operands::Two(x, y)) = operands(&C::PLAN, self.memory, src, dst)? {
            y.iter_mut().zip(x).for_each(|(y, x)| *y = *x);
        }
        Ok(())
    }

    fn axpby(&mut self, a: f32, x: Register, b: f32, y: Register) -> Result<(), Fault> {
        let (_, operands) = operands(&C::PLAN, self.memory, x, y)?;
        combine(self.kernels, a, b, operands);
        Ok(())
    }

    fn dots(&mut self, pairs: &[(Register, Register)], scalars: &mut [f32]) -> Result<(), Fault> {
        for ((x, y), scalar) in pairs.iter().zip(scalars) {
            let (_, operands) = operands(&C::PLAN, self.memory, *x, *y)?;
            *scalar = dot(self.kernels, &operands);
        }
        Ok(())
    }

    fn segment_dots(
        &mut self,
        pairs: &[(Register, Register)],
        scalars: &mut [f32],
    ) -> Result<u32, Fault> {
        let mut room = scalars.iter_mut();
        let mut count = 0u32;
        for (x, y) in pairs {
            let (space, mut rest) = operands(&C::PLAN, self.memory, *x, *y)?;
            for floats in segments::<C>(space) {
                let (segment, behind) = split(rest, floats).ok_or(Fault::MemoryMismatch)?;
                rest = behind;
                *room.next().ok_or(Fault::ShortWorkspace)? = dot(self.kernels, &segment);
                count = count.saturating_add(1);
            }
        }
        Ok(count.checked_div(pairs.len() as u32).unwrap_or(0))
    }

    fn segment_axpby(
        &mut self,
        scalars: &[f32],
        x: Register,
        b: f32,
        y: Register,
    ) -> Result<(), Fault> {
        let (space, mut rest) = operands(&C::PLAN, self.memory, x, y)?;
        for (floats, i) in segments::<C>(space).zip(0..) {
            let (segment, behind) = split(rest, floats).ok_or(Fault::MemoryMismatch)?;
            rest = behind;
            let a = *scalars.get::<usize>(i).ok_or(Fault::ShortWorkspace)?;
            combine(self.kernels, a, b, segment);
        }
        Ok(())
    }

    fn adam(
        &mut self,
        group: Group,
        gradient: Register,
        coefficients: &AdamCoefficients,
    ) -> Result<(), Fault> {
        // There is no room for second moments on this device.
        Err(Fault::Unsupported(Request::Adam { group, gradient, coefficients: *coefficients }))
    }

    fn sketch(&mut self, dst: Register, index: u32) -> Result<(), Fault> {
        Err(Fault::Unsupported(Request::Sketch { dst, index }))
    }
}
