//! What can fail in a driver.

use bissl_core::Register;
use thiserror::Error;

use crate::data::DataError;

/// What can fail while a request is performed.
#[derive(Debug, Error)]
pub enum DriverError {
    /// The request names a vector that this problem does not have.
    #[error("this problem has no register {0:?}")]
    NoRegister(Register),
    /// A batch could not be made.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The stage was given no batches of this kind.
    #[error("this stage has no {0} batches")]
    NoBatches(&'static str),
    /// A product was asked for before the batch was linearised.
    #[error("a product was asked for before a linearisation")]
    NotLinearized,
}
