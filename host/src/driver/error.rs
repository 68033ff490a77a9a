//! Errors of a driver.

use bissl_core::Register;
use thiserror::Error;

use crate::data::DataError;

/// Why a request could not be performed.
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
    /// A product was requested before a batch was linearised.
    #[error("a product was requested before a linearisation")]
    NotLinearized,
}
