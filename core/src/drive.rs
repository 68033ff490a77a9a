//! The only loop: performs what a machine asks for until there is something to look at.

use core::fmt;

use crate::{
    Evaluation, Event, LowerObjective, Machine, Operator, Pending, RegisterFile, Reply, Request,
    UnexpectedReply, UpperObjective,
};

/// Performs requests.
pub trait Driver {
    /// What can fail.
    type Error;

    /// Performs one request. Scalars of the reply go to the front of `scalars`.
    fn perform(&mut self, request: &Request, scalars: &mut [f32]) -> Result<Reply, Self::Error>;
}

/// Why [`drive`] returned.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Progress<O> {
    /// The machine reports; call [`drive`] again to go on.
    Event(Event),
    /// The machine has ended.
    Done(O),
}

/// Why [`drive`] stopped.
#[derive(Clone, Copy, Debug, PartialEq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum DriveError<E> {
    /// The problem failed.
    Problem(E),
    /// This kind of problem cannot perform this request.
    Unsupported(Request),
    /// The workspace has `found` scalars; the request needs `needed`, which is more.
    ShortWorkspace {
        /// Scalars needed.
        needed: usize,
        /// Its length.
        found: usize,
    },
    /// The machine refused the reply.
    Reply(UnexpectedReply),
}

impl<E: fmt::Display> fmt::Display for DriveError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Problem(error) => write!(f, "{error}"),
            Self::Unsupported(request) => write!(f, "request not supported here: {request:?}"),
            Self::ShortWorkspace { needed, found } => {
                write!(f, "workspace of {found} scalars, needed {needed}")
            }
            Self::Reply(error) => write!(f, "{error}"),
        }
    }
}

impl<E: fmt::Debug + fmt::Display> core::error::Error for DriveError<E> {}

impl<E> From<UnexpectedReply> for DriveError<E> {
    fn from(error: UnexpectedReply) -> Self {
        Self::Reply(error)
    }
}

/// Runs `machine` to its next event or to its end.
///
/// An event is acknowledged when it is returned, so a machine stored at an event continues after
/// it. `scalars` must hold the longest reply: 4 and the capacity of a bank; with LARS twice, with
/// the layer-wise solver three times the number of segments.
///
/// # Errors
/// The driver's, or a refused reply, which is a fault of the driver.
pub fn drive<M: Machine, D: Driver<Error = DriveError<E>>, E>(
    machine: &mut M,
    driver: &mut D,
    scalars: &mut [f32],
) -> Result<Progress<M::Output>, DriveError<E>> {
    loop {
        match machine.pending() {
            Pending::Request(ticket, request) => {
                let reply = driver.perform(&request, scalars)?;
                machine.step(ticket, reply, scalars)?;
            }
            Pending::Event(ticket, event) => {
                machine.step(ticket, Reply::Ack, scalars)?;
                return Ok(Progress::Event(event));
            }
            Pending::Done(output) => return Ok(Progress::Done(output)),
        }
    }
}

/// The vector operations alone, for a driver of your own that performs the rest.
#[derive(Debug)]
pub struct Vectors<'a, P>(pub &'a mut P);

impl<P: RegisterFile> Driver for Vectors<'_, P> {
    type Error = DriveError<P::Error>;

    fn perform(&mut self, request: &Request, scalars: &mut [f32]) -> Result<Reply, Self::Error> {
        perform_on_registers(self.0, request, scalars)
    }
}

/// A linear system as a driver: vector operations and `Apply`.
#[derive(Debug)]
pub struct Linear<'a, P>(pub &'a mut P);

impl<P: Operator> Driver for Linear<'_, P> {
    type Error = DriveError<P::Error>;

    fn perform(&mut self, request: &Request, scalars: &mut [f32]) -> Result<Reply, Self::Error> {
        match *request {
            Request::Apply { src, dst } => acknowledged(self.0.apply(src, dst)),
            ref other => perform_on_registers(self.0, other, scalars),
        }
    }
}

/// A bilevel problem as a driver: vector operations, gradients, products.
#[derive(Debug)]
pub struct Training<'a, P>(pub &'a mut P);

impl<P> Driver for Training<'_, P>
where
    P: LowerObjective + UpperObjective,
{
    type Error = DriveError<P::Error>;

    fn perform(&mut self, request: &Request, scalars: &mut [f32]) -> Result<Reply, Self::Error> {
        match *request {
            Request::Gradient { evaluation, index, backbone, head } => {
                let loss = match evaluation {
                    Evaluation::Lower => self.0.lower_gradient(index, backbone, head),
                    at => self.0.upper_gradient(at, index, backbone, head),
                };
                front(scalars, 1)?[0] = loss.map_err(DriveError::Problem)?;
                Ok(Reply::Scalars(1))
            }
            Request::Linearize { index } => acknowledged(self.0.linearize(index)),
            Request::Product { src, dst } => acknowledged(self.0.product(src, dst)),
            Request::CrossProduct { src, dst } => acknowledged(self.0.cross_product(src, dst)),
            ref other => perform_on_registers(self.0, other, scalars),
        }
    }
}

fn perform_on_registers<P: RegisterFile>(
    file: &mut P,
    request: &Request,
    scalars: &mut [f32],
) -> Result<Reply, DriveError<P::Error>> {
    match *request {
        Request::Zero { dst } => acknowledged(file.zero(dst)),
        Request::Copy { src, dst } => acknowledged(file.copy(src, dst)),
        Request::Axpby { a, x, b, y } => acknowledged(file.axpby(a, x, b, y)),
        Request::Dots { ref pairs } => {
            let pairs = pairs.as_slice();
            file.dots(pairs, front(scalars, pairs.len())?).map_err(DriveError::Problem)?;
            Ok(Reply::Scalars(pairs.len() as u32))
        }
        Request::BasisDots { ref pairs, bank, count, x } => {
            let pairs = pairs.as_slice();
            let scalars = front(scalars, pairs.len() + usize::from(count))?;
            file.basis_dots(pairs, bank, x, scalars).map_err(DriveError::Problem)?;
            Ok(Reply::Scalars(scalars.len() as u32))
        }
        Request::Combine { bank, count, b, y } => {
            acknowledged(file.combine(bank, front(scalars, usize::from(count))?, b, y))
        }
        Request::SegmentDots { ref pairs } => {
            let pairs = pairs.as_slice();
            let segments = file.segment_dots(pairs, scalars).map_err(DriveError::Problem)?;
            Ok(Reply::Scalars(segments * pairs.len() as u32))
        }
        Request::SegmentAxpby { x, b, y } => acknowledged(file.segment_axpby(scalars, x, b, y)),
        Request::Adam { group, gradient, ref coefficients } => {
            acknowledged(file.adam(group, gradient, coefficients))
        }
        Request::Sketch { dst, index } => acknowledged(file.sketch(dst, index)),
        unsupported => Err(DriveError::Unsupported(unsupported)),
    }
}

fn acknowledged<E>(result: Result<(), E>) -> Result<Reply, DriveError<E>> {
    result.map(|()| Reply::Ack).map_err(DriveError::Problem)
}

fn front<E>(scalars: &mut [f32], needed: usize) -> Result<&mut [f32], DriveError<E>> {
    let found = scalars.len();
    scalars.get_mut(..needed).ok_or(DriveError::ShortWorkspace { needed, found })
}
