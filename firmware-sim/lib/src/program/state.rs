//! The state of a device as a stream of bytes.

use embedded_storage::nor_flash::{NorFlash, ReadNorFlash};

use core::marker::PhantomData;

use super::{Given, Phase, Program, SCALARS};
use crate::checkpoint::layout::POSITION_BYTES_MAX;
use crate::checkpoint::stream::{Reader, Source, StreamError, Writer};
use crate::configuration::Memory;
use crate::problem::{Position, Session};
use crate::{Configuration, Fault, FrameSource, Kernels};

/// Everything but the registers: settings, phase, ticks, scalars, and the problem's position.
type Rest<S> = (Given<S>, Phase<S>, u64, [f32; SCALARS], Position);

/// Why a stream could not be written or read as a state.
pub(crate) enum StateError<E> {
    Stream(StreamError<E>),
    Undecodable,
}

impl<E> From<StreamError<E>> for StateError<E> {
    fn from(error: StreamError<E>) -> Self {
        Self::Stream(error)
    }
}

impl<C: Configuration> Program<C> {
    /// In serialised form, numbers of variable length take at most half as much again as in memory.
    const ROOM: () = assert!(size_of::<Rest<C::Solver>>() / 2 * 3 <= POSITION_BYTES_MAX as usize);

    /// The fault that stopped the device.
    pub(crate) fn failed(&self) -> Option<Fault> {
        match self.phase {
            Phase::Failed(fault) => Some(fault),
            _ => None,
        }
    }

    /// Whether a request was performed but the machine does not have its reply yet.
    pub(crate) fn between(&self) -> bool {
        self.performed
    }

    /// Writes everything that [`hash`](Self::hash) covers.
    pub(crate) fn write<F: NorFlash>(
        &self,
        writer: &mut Writer<'_, F>,
    ) -> Result<(), StateError<F::Error>> {
        const { Self::ROOM };
        for float in self.registers() {
            writer.push(&float.to_bits().to_le_bytes())?;
        }
        let position = (&self.settings, &self.phase, self.ticks, self.scalars, self.position);
        // The writer keeps its own error.
        postcard::serialize_with_flavor(&position, writer).map_err(|_| StateError::Undecodable)
    }

    /// Reads what [`write`](Self::write) wrote; after an error the state is meaningless.
    pub(crate) fn read<F: ReadNorFlash>(
        &mut self,
        reader: &mut Reader<'_, F>,
    ) -> Result<(), StateError<F::Error>> {
        for float in self.registers_mut() {
            let mut bytes = [0; 4];
            reader.take(&mut bytes)?;
            *float = f32::from_bits(u32::from_le_bytes(bytes));
        }
        let source = Source { reader, number: [0; 8] };
        let mut deserializer = postcard::Deserializer::from_flavor(source);
        let rest = <Rest<C::Solver> as serde::Deserialize>::deserialize(&mut deserializer);
        let (settings, phase, ticks, scalars, position) =
            rest.map_err(|_| StateError::Undecodable)?;
        self.settings = settings;
        self.phase = phase;
        self.ticks = ticks;
        self.scalars = scalars;
        self.position = position;
        Ok(())
    }

    /// Puts the device at rest, whatever it did before.
    pub(crate) fn clear(&mut self) {
        self.registers_mut().fill(0.0);
        self.settings = Given::Nothing;
        self.phase = Phase::Idle;
        self.performed = false;
        self.ticks = 0;
        self.scalars = [0.0; SCALARS];
        self.position = Position::NEW;
    }

    /// Computes the activations that are not stored. A linearisation is a function of its number
    /// and of the parameters, which do not move while it is in use.
    pub(crate) fn rebuild<S: FrameSource, K: Kernels<f32>>(
        &mut self,
        source: &S,
        kernels: &mut K,
    ) -> Result<(), Fault> {
        let Some(index) = self.position.linearized else { return Ok(()) };
        let Given::Settings(settings) = &self.settings else { return Ok(()) };
        let mut session = Session::<C, _, _> {
            memory: self.memory.floats_mut(),
            position: &mut self.position,
            settings,
            source,
            kernels,
            configuration: PhantomData,
        };
        let result = bissl_core::LowerObjective::linearize(&mut session, index);
        if let Err(fault) = result {
            self.phase = Phase::Failed(fault);
        }
        result
    }
}
