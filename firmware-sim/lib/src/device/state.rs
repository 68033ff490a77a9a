//! The state of a device as a stream of bytes.

use embedded_storage::nor_flash::{NorFlash, ReadNorFlash};

use super::{Device, Phase, SCALARS};
use crate::checkpoint::layout::POSITION_BYTES_MAX;
use crate::checkpoint::stream::{Reader, Source, StreamError, Writer};
use crate::problem::Session;
use crate::{Fault, FrameSource, Kernels, Stage};

/// All but the registers: phase, ticks, scalars, and the problem's seed, stage and linearisation.
type Position = (Phase, u64, [f32; SCALARS], u64, Stage, Option<u32>);

/// Numbers of variable length take at most half as much again as in memory.
const _: () = assert!(size_of::<Position>() / 2 * 3 <= POSITION_BYTES_MAX as usize);

/// Why a stream is no state.
pub(crate) enum StateError<E> {
    Stream(StreamError<E>),
    Undecodable,
}

impl<E> From<StreamError<E>> for StateError<E> {
    fn from(error: StreamError<E>) -> Self {
        Self::Stream(error)
    }
}

impl Device {
    /// The fault that stopped the device.
    pub(crate) fn failed(&self) -> Option<Fault> {
        match self.phase {
            Phase::Failed(fault) => Some(fault),
            _ => None,
        }
    }

    /// Writes everything that [`hash`](Self::hash) takes in.
    pub(crate) fn write<F: NorFlash>(
        &self,
        writer: &mut Writer<'_, F>,
    ) -> Result<(), StateError<F::Error>> {
        let problem = &self.problem;
        let mut result = Ok(());
        problem.registers.visit(&mut |segment| {
            for float in segment {
                if result.is_ok() {
                    result = writer.push(&float.to_bits().to_le_bytes());
                }
            }
        });
        result?;
        let position = (
            &self.phase,
            self.ticks,
            self.scalars,
            problem.seed,
            problem.stage,
            problem.linearized,
        );
        // The writer keeps an error of its own.
        postcard::serialize_with_flavor(&position, writer).map_err(|_| StateError::Undecodable)
    }

    /// Reads what [`write`](Self::write) wrote; without success the state is of no use.
    pub(crate) fn read<F: ReadNorFlash>(
        &mut self,
        reader: &mut Reader<'_, F>,
    ) -> Result<(), StateError<F::Error>> {
        let mut result = Ok(());
        self.problem.registers.visit_mut(&mut |segment| {
            for float in segment {
                let mut bytes = [0; 4];
                if result.is_ok() {
                    result = reader.take(&mut bytes);
                }
                *float = f32::from_bits(u32::from_le_bytes(bytes));
            }
        });
        result?;
        let source = Source { reader, number: [0; 8] };
        let mut deserializer = postcard::Deserializer::from_flavor(source);
        let position = <Position as serde::Deserialize>::deserialize(&mut deserializer);
        let (phase, ticks, scalars, seed, stage, linearized) =
            position.map_err(|_| StateError::Undecodable)?;
        self.phase = phase;
        self.ticks = ticks;
        self.scalars = scalars;
        self.problem.seed = seed;
        self.problem.stage = stage;
        self.problem.linearized = linearized;
        Ok(())
    }

    /// Puts the device at rest, whatever it did before.
    pub(crate) fn clear(&mut self) {
        self.problem.registers.visit_mut(&mut |segment| segment.fill(0.0));
        self.phase = Phase::Idle;
        self.ticks = 0;
        self.scalars = [0.0; SCALARS];
        self.problem.seed = 0;
        self.problem.stage = Stage::Pretrain;
        self.problem.linearized = None;
    }

    /// Computes the activations that are not stored: a linearisation is a function of the parameters,
    /// which do not move while it is used, and its number.
    pub(crate) fn rebuild<S: FrameSource, K: Kernels<f32>>(
        &mut self,
        source: &S,
        kernels: &mut K,
    ) -> Result<(), Fault> {
        let Some(index) = self.problem.linearized else { return Ok(()) };
        let mut session = Session { problem: &mut self.problem, source, kernels };
        let result = bissl_core::LowerObjective::linearize(&mut session, index);
        if let Err(fault) = result {
            self.phase = Phase::Failed(fault);
        }
        result
    }
}
